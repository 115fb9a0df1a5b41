use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
};
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_700_000_000;
const AUDIENCE: &str = "https://h/r4/default/auth/token";
const EXPECTED: ExpectedClaims<'_> = ExpectedClaims { audience: AUDIENCE, client: None, now: NOW, skew: 60 };

fn header() -> Value {
    json!({"alg": "ES384", "kid": "k", "typ": "JWT"})
}

fn claims() -> Value {
    json!({"iss": "acme", "sub": "acme", "aud": AUDIENCE, "exp": NOW + 300, "jti": "j"})
}

fn with(mut json: Value, key: &str, value: Value) -> Value {
    json[key] = value;
    json
}

fn without(mut json: Value, key: &str) -> Value {
    json.as_object_mut().unwrap().remove(key);
    json
}

fn encode(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}.{}", encode(header.to_string()), encode(claims.to_string()), encode([0; 96]))
}

fn refusal(text: &str) -> Option<AssertionError> {
    ClientAssertion::read(text, &EXPECTED).err()
}

#[test]
fn t_6_an_assertion_may_be_good_for_five_minutes_and_the_skew_of_clocks() {
    for (exp, is_good) in [(-60, false), (-59, true), (0, true), (300, true), (360, true), (361, false)] {
        let assertion = unsigned(&header(), &with(claims(), "exp", json!(NOW + exp)));
        assert_eq!(refusal(&assertion).is_none(), is_good, "{exp}");
    }
    for exp in [json!(null), json!("soon"), json!(i64::MAX), json!(1e300), json!(-1)] {
        assert!(refusal(&unsigned(&header(), &with(claims(), "exp", exp.clone()))).is_some(), "{exp}");
    }
    let fraction = unsigned(&header(), &with(claims(), "exp", json!(NOW as f64 + 299.5)));
    assert_eq!(
        ClientAssertion::read(&fraction, &EXPECTED).unwrap().exp,
        NOW + 300,
        "rounded to be kept longer"
    );
    for claim in ["nbf", "iat"] {
        for (at, is_good) in [(-9999, true), (60, true), (61, false)] {
            let assertion = unsigned(&header(), &with(claims(), claim, json!(NOW + at)));
            assert_eq!(refusal(&assertion).is_none(), is_good, "{claim} {at}");
        }
    }
}

#[test]
fn t_1_what_is_wrong_with_an_assertion_itself_is_told() {
    use AssertionError as Refused;
    let header_cases = [
        ("alg", json!("none"), Refused::Algorithm),
        ("alg", json!("NONE"), Refused::Algorithm),
        ("alg", json!(""), Refused::Algorithm),
        ("alg", json!("HS256"), Refused::Algorithm),
        ("alg", json!("HS384"), Refused::Algorithm),
        ("alg", json!("RS256"), Refused::Algorithm),
        ("alg", json!("ES256"), Refused::Algorithm),
        ("alg", json!("PS384"), Refused::Algorithm),
        ("alg", json!("es384"), Refused::Algorithm),
        ("alg", json!(["ES384"]), Refused::Malformed),
        ("kid", json!(null), Refused::Header),
        ("kid", json!(""), Refused::Header),
        ("kid", json!("k".repeat(257)), Refused::Header),
        ("typ", json!("at+jwt"), Refused::Header),
        ("typ", json!(null), Refused::Malformed),
        ("jku", json!(null), Refused::Malformed),
        ("crit", json!(["exp"]), Refused::Header),
        ("crit", json!([]), Refused::Header),
        ("crit", json!(null), Refused::Header),
    ];
    for (key, value, expected) in header_cases {
        let assertion = unsigned(&with(header(), key, value.clone()), &claims());
        assert_eq!(refusal(&assertion), Some(expected), "{key} {value}");
    }
    let claims_cases = [
        ("iss", json!("other"), Refused::Subject),
        ("iss", json!(null), Refused::Subject),
        ("sub", json!("other"), Refused::Subject),
        ("sub", json!(null), Refused::Subject),
        ("aud", json!(null), Refused::Audience),
        ("aud", json!([]), Refused::Audience),
        ("aud", json!("https://h/r4/default"), Refused::Audience),
        ("aud", json!("https://h/r4/other/auth/token"), Refused::Audience),
        ("aud", json!(format!("{AUDIENCE}/")), Refused::Audience),
        ("aud", json!({"0": AUDIENCE}), Refused::Malformed),
        ("jti", json!(null), Refused::Name),
        ("jti", json!(""), Refused::Name),
        ("jti", json!("j".repeat(257)), Refused::Name),
        ("jti", json!(7), Refused::Malformed),
        ("nbf", json!(null), Refused::Malformed),
        ("iat", json!(null), Refused::Malformed),
    ];
    for (key, value, expected) in claims_cases {
        let assertion = unsigned(&header(), &with(claims(), key, value.clone()));
        assert_eq!(refusal(&assertion), Some(expected), "{key} {value}");
    }
    assert_eq!(refusal(&unsigned(&header(), &with(claims(), "aud", json!(["x", AUDIENCE])))), None);
    assert_eq!(refusal(&unsigned(&without(header(), "typ"), &claims())), None);
    let long = unsigned(&header(), &with(claims(), "more", json!("x".repeat(LONGEST))));
    assert_eq!(refusal(&long), Some(Refused::TooLong));
}

#[test]
fn t_3_a_client_id_in_the_form_is_that_of_the_assertion() {
    let assertion = unsigned(&header(), &claims());
    let read = |client| {
        ClientAssertion::read(&assertion, &ExpectedClaims { client, ..EXPECTED }).map(|read| read.client)
    };
    assert_eq!(read(Some("acme")), Ok("acme".into()));
    assert_eq!(read(Some("other")), Err(AssertionError::Subject));
}

#[test]
fn what_is_no_jwt_is_refused() {
    let (header_text, claims_text) = (header().to_string(), claims().to_string());
    let twice = |text: &str, more: &str| format!("{},{more}}}", text.strip_suffix('}').unwrap());
    let (h, c) = (encode(&header_text), encode(&claims_text));
    for bad in [
        String::new(),
        ".".into(),
        "..".into(),
        format!("{h}.{c}"),
        format!("{h}.{c}.a.b"),
        format!("{h}=.{c}.AA"),
        format!("{h} .{c}.AA"),
        format!("{}.{c}.AA", encode("[]")),
        format!("{}.{c}.AA", encode(format!("{header_text}x"))),
        format!("{}.{c}.AA", encode(twice(&header_text, "\"alg\":\"none\""))),
        format!("{h}.{}.AA", encode(twice(&claims_text, "\"sub\":\"acme\""))),
        format!("{h}.{}.AA", encode([0xff, 0xfe])),
    ] {
        assert_eq!(refusal(&bad), Some(AssertionError::Malformed), "{bad}");
    }
}

/// A key of P-384 with its JWK, and what signs with it.
fn key_pair(kid: &str) -> (EcdsaKeyPair, Value) {
    let how = &ECDSA_P384_SHA384_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(how, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(how, document.as_ref()).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(48);
    let jwk = json!({"kty": "EC", "crv": "P-384", "kid": kid, "x": encode(x), "y": encode(y)});
    (pair, jwk)
}

fn signed(header: &Value, pair: &EcdsaKeyPair) -> String {
    let message = format!("{}.{}", encode(header.to_string()), encode(claims().to_string()));
    let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    format!("{message}.{}", encode(signature.as_ref()))
}

fn verifies(text: &str, registered: &ClientKeys, keys: &[&Value]) -> bool {
    let keys: JwkSet = serde_json::from_value(json!({"keys": keys})).unwrap();
    ClientAssertion::read(text, &EXPECTED).unwrap().is_signed_by(registered, &keys)
}

#[test]
fn t_4_exactly_one_registered_key_fits_and_jku_is_the_registered_url() {
    let (pair, jwk) = key_pair("k");
    let (_, other) = key_pair("k");
    let file = ClientKeys::File("k.json".into());
    let url = ClientKeys::Url("https://acme/jwks".into());
    let text = signed(&header(), &pair);
    assert!(verifies(&text, &file, &[&jwk]));
    let rsa = json!({"kty": "RSA", "kid": "k", "n": encode([0xc5; 256]), "e": "AQAB"});
    let secret = json!({"kty": "oct", "kid": "k", "k": "AAAA"});
    let of_other_name = with(other.clone(), "kid", json!("l"));
    let unnamed = without(other.clone(), "kid");
    assert!(verifies(&text, &file, &[&rsa, &secret, &of_other_name, &unnamed, &jwk]), "one fits");
    assert!(!verifies(&text, &file, &[]), "none");
    assert!(!verifies(&text, &file, &[&jwk, &other]), "two of one name");
    assert!(!verifies(&text, &file, &[&jwk, &jwk]), "one of them twice");
    assert!(!verifies(&text, &file, &[&with(jwk.clone(), "kid", json!("l"))]));
    for (key, value, is_good) in [
        ("alg", json!("ES384"), true),
        ("alg", json!("ES256"), false),
        ("alg", json!("RS384"), false),
        ("use", json!("sig"), true),
        ("use", json!("enc"), false),
        ("key_ops", json!(["verify"]), true),
        ("key_ops", json!(["encrypt"]), false),
        ("crv", json!("P-256"), false),
        ("kty", json!("RSA"), false),
        ("x", json!(encode([1; 32])), false),
    ] {
        assert_eq!(
            verifies(&text, &file, &[&with(jwk.clone(), key, value.clone())]),
            is_good,
            "{key} {value}"
        );
    }
    for (jku, registered, is_good) in [
        ("https://acme/jwks", &url, true),
        ("https://acme/jwks/", &url, false),
        ("https://evil/jwks", &url, false),
        ("https://acme/jwks", &file, false),
    ] {
        let text = signed(&with(header(), "jku", json!(jku)), &pair);
        assert_eq!(verifies(&text, registered, &[&jwk]), is_good, "{jku}");
    }
}

#[test]
fn a_signature_is_of_these_bytes_by_this_key_and_in_the_form_of_jws() {
    let (pair, jwk) = key_pair("k");
    let file = ClientKeys::File("k.json".into());
    let text = signed(&header(), &pair);
    let (message, signature) = text.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let resigned = |bytes: &[u8]| format!("{message}.{}", encode(bytes));
    assert!(verifies(&resigned(&signature), &file, &[&jwk]));
    assert!(!verifies(&resigned(&[]), &file, &[&jwk]));
    assert!(!verifies(&resigned(&[0; 96]), &file, &[&jwk]), "r = s = 0 (CVE-2022-21449)");
    assert!(!verifies(&resigned(&[&signature[..], &[0]].concat()), &file, &[&jwk]));
    let mut flipped = signature;
    flipped[95] ^= 1;
    assert!(!verifies(&resigned(&flipped), &file, &[&jwk]));
    let document = pair.to_pkcs8v1().unwrap();
    let der = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, document.as_ref()).unwrap();
    assert!(!verifies(&signed(&header(), &der), &file, &[&jwk]), "DER");
    let (_, other) = key_pair("k");
    assert!(!verifies(&text, &file, &[&other]));
}

#[test]
fn an_rsa_key_has_at_least_2048_bits() {
    assert_eq!(public_keys::bits(&[]), 0);
    assert_eq!(public_keys::bits(&[0, 0]), 0);
    assert_eq!(public_keys::bits(&[0, 1, 0]), 9);
    let can = |n: &[u8]| {
        let key = json!({"kty": "RSA", "kid": "k", "n": encode(n), "e": "AQAB"});
        public_keys::algorithm(&serde_json::from_value(key).unwrap()) == Ok(Algorithm::RS384)
    };
    assert!(can(&[0x80; 256]) && can(&[0xff; 512]));
    assert!(!can(&[0x7f; 256]) && !can(&[0xff; 128]));
    assert!(!can(&[&[0; 200], &[0xff; 128][..]].concat()), "zeros in front do not count");
}

#[test]
fn a_pretended_verification_takes_as_long_as_a_real_one() {
    let least = |work: &dyn Fn()| {
        let time = |_| {
            let began = std::time::Instant::now();
            work();
            began.elapsed()
        };
        (0..50).map(time).min().unwrap()
    };
    let (_, jwk) = key_pair("k");
    let ec = DecodingKey::from_jwk(&serde_json::from_value(jwk).unwrap()).unwrap();
    let rsa = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let rsa = DecodingKey::from_rsa_der(rsa.public_key().as_ref());
    for (alg, key, length) in [("ES384", ec, 96), ("RS384", rsa, 256)] {
        let header = with(header(), "alg", json!(alg));
        let (header, claims) = (encode(header.to_string()), encode(claims().to_string()));
        let text = format!("{header}.{claims}.{}", encode(vec![1; length]));
        let assertion = ClientAssertion::read(&text, &EXPECTED).unwrap();
        let real = least(&|| assert!(!assertion.verify(&key)));
        let pretended = least(&|| assertion.pretend());
        assert!(pretended * 2 > real && real * 2 > pretended, "{alg}: {real:?}, {pretended:?}");
    }
}
