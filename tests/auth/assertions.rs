//! Assertions that get no token, each with what an attacker hopes for. What is told of them is one
//! thing for all that depends on who is known.

use serde_json::{Value, json};

use super::started;
use crate::support::Answer;
use crate::support::smart::{Client, Key, ask, jwks, jwt, now, part};

const UNKNOWN: &str = "not by a key of a client that is known here and active";

/// `invalid_client` (T-5), for a reason that has this in it.
fn assert_refused(answer: &Answer, reason: &str) {
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.header("www-authenticate").starts_with("Bearer realm="));
    let json = answer.json();
    assert_eq!(json["error"], "invalid_client");
    assert!(json["error_description"].as_str().unwrap().contains(reason), "{json}");
}

/// Sends what `make` makes of a good client's header and claims, and expects a refusal; the same
/// client gets a token all the same, before and after.
fn refused(reason: &str, make: impl FnOnce(&Client, Value, Value) -> String) {
    let (client, setup, server) = started("acme");
    assert_eq!(client.ask(&server, "system/*.rs").status, 200);
    let evil = make(&client, client.header(), client.claims(&server.base));
    assert_refused(&ask(&server.base, &evil, "system/*.rs"), reason);
    assert_eq!(client.ask(&server, "system/*.rs").status, 200);
    assert!(!setup.settled_log(&server).contains(&evil), "P12: the log has no assertions");
}

/// As `refused`, with another value in the claims.
fn refused_with(reason: &str, key: &str, value: Value) {
    refused(reason, |client, header, mut claims| {
        claims[key] = value;
        client.sign(&header, &claims)
    });
}

fn hmac(alg: &str, secret: &[u8], message: &[u8]) -> Vec<u8> {
    use aws_lc_rs::hmac::{HMAC_SHA256, HMAC_SHA384, Key, sign};
    let how = if alg == "HS256" { HMAC_SHA256 } else { HMAC_SHA384 };
    sign(&Key::new(how, secret), message).as_ref().to_vec()
}

#[test]
fn t_1_an_assertion_that_is_not_signed_is_refused() {
    refused("not signed with RS384 or ES384", |_, mut header, claims| {
        header["alg"] = "none".into();
        jwt(&header, &claims, |_| Vec::new())
    });
}

#[test]
fn t_1_an_assertion_without_its_signature_is_refused() {
    refused(UNKNOWN, |_, header, claims| jwt(&header, &claims, |_| Vec::new()));
}

#[test]
fn t_1_an_hmac_with_the_public_key_as_its_secret_is_refused() {
    for alg in ["HS256", "HS384"] {
        refused("not signed with RS384 or ES384", |client, mut header, claims| {
            header["alg"] = alg.into();
            jwt(&header, &claims, |message| hmac(alg, &client.key.public(), message))
        });
    }
}

#[test]
fn t_1_an_hmac_that_says_it_is_es384_is_refused() {
    refused(UNKNOWN, |client, header, claims| {
        jwt(&header, &claims, |message| hmac("HS384", &client.key.public(), message))
    });
}

#[test]
fn t_1_an_algorithm_that_does_not_fit_the_key_is_refused() {
    refused(UNKNOWN, |client, mut header, claims| {
        header["alg"] = "RS384".into();
        client.sign(&header, &claims)
    });
}

#[test]
fn t_1_es256_and_a_key_of_p_256_are_refused() {
    let (mut client, setup, server) = started("acme");
    client.key = Key::es256("key-1");
    setup.publish("acme.jwks.json", &jwks(&[&client.key]));
    assert_refused(&client.ask(&server, "system/*.rs"), "not signed with RS384 or ES384");
    let mut header = client.header();
    header["alg"] = "ES384".into();
    let evil = client.sign(&header, &client.claims(&server.base));
    assert_refused(&ask(&server.base, &evil, "system/*.rs"), UNKNOWN);
}

#[test]
fn t_1_any_crit_is_refused_and_so_is_null_where_something_is_said() {
    for crit in [json!(null), json!([]), json!(["exp"]), json!("exp"), json!(7)] {
        refused("or a crit", |client, mut header, claims| {
            header["crit"] = crit;
            client.sign(&header, &claims)
        });
    }
    for key in ["typ", "jku"] {
        refused("not a JWT of three parts", |client, mut header, claims| {
            header[key] = Value::Null;
            client.sign(&header, &claims)
        });
    }
    for key in ["nbf", "iat"] {
        refused_with("not a JWT of three parts", key, Value::Null);
    }
}

#[test]
fn t_1_a_signature_in_der_is_refused() {
    let (mut client, setup, server) = started("acme");
    client.key = Key::es384_der("key-1");
    setup.publish("acme.jwks.json", &jwks(&[&client.key]));
    assert_refused(&client.ask(&server, "system/*.rs"), UNKNOWN);
}

#[test]
fn t_1_an_assertion_that_was_changed_after_it_was_signed_is_refused() {
    refused(UNKNOWN, |client, header, claims| {
        let good = client.sign(&header, &claims);
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let header = signed.split_once('.').unwrap().0;
        let mut claims = claims;
        claims["jti"] = "another".into();
        format!("{header}.{}.{signature}", part(&claims))
    });
}

#[test]
fn t_1_the_token_url_of_another_tenant_is_not_ours() {
    refused("aud", |client, header, mut claims| {
        let aud = claims["aud"].as_str().unwrap().replace("/r4/default/", "/r4/other/");
        claims["aud"] = aud.into();
        client.sign(&header, &claims)
    });
}

#[test]
fn t_1_the_aud_may_be_one_of_several() {
    let (client, _setup, server) = started("acme");
    let mut claims = client.claims(&server.base);
    claims["aud"] = json!(["https://elsewhere/token", claims["aud"]]);
    let assertion = client.sign(&client.header(), &claims);
    assert_eq!(ask(&server.base, &assertion, "system/*.rs").status, 200);
}

#[test]
fn t_1_an_assertion_that_has_expired_is_refused() {
    refused_with("expired", "exp", json!(now() - 61));
}

#[test]
fn t_1_an_assertion_that_is_not_good_yet_is_refused() {
    refused_with("not good yet", "nbf", json!(now() + 120));
    refused_with("not good yet", "iat", json!(now() + 120));
}

#[test]
fn t_6_an_assertion_that_is_good_for_longer_than_five_minutes_is_refused() {
    refused_with("more than 5 minutes", "exp", json!(now() + 370));
}

#[test]
fn t_3_iss_sub_and_client_id_are_one() {
    refused_with("iss and sub", "sub", json!("other"));
    refused_with("iss and sub", "iss", json!("other"));
    let (client, _setup, server) = started("acme");
    let assertion = client.assertion(&server.base);
    let mut form = vec![
        ("grant_type", "client_credentials"),
        ("scope", "system/*.rs"),
        ("client_assertion_type", crate::support::smart::ASSERTION_TYPE),
        ("client_assertion", &assertion),
        ("client_id", "other"),
    ];
    assert_refused(&crate::support::smart::ask_form(&server.base, &form), "client_id");
    form[4].1 = "acme";
    assert_eq!(crate::support::smart::ask_form(&server.base, &form).status, 200);
}

#[test]
fn t_4_a_jku_leads_nowhere_but_to_the_registered_url() {
    let mallory = Key::es384("key-1");
    refused(UNKNOWN, |_, mut header, claims| {
        // Nobody listens there, and nobody asks.
        header["jku"] = "http://127.0.0.1:1/evil.json".into();
        header["jwk"] = mallory.jwk();
        jwt(&header, &claims, |message| mallory.sign(message))
    });
}

#[test]
fn t_4_two_keys_of_one_name_are_none() {
    let (client, setup, server) = started("acme");
    let other = Key::es384("key-1");
    setup.publish("acme.jwks.json", &jwks(&[&client.key, &other]));
    assert_refused(&client.ask(&server, "system/*.rs"), UNKNOWN);
    let of_rsa = Key::rs384("key-1");
    setup.publish("acme.jwks.json", &jwks(&[&client.key, &of_rsa]));
    assert_eq!(client.ask(&server, "system/*.rs").status, 200, "only one of them can be meant");
}

#[test]
fn t_5_whether_a_client_exists_does_not_show() {
    let (client, setup, server) = started("acme");
    setup.publish("acme.jwks.json", &jwks(&[&client.key]));
    let strangers = [
        ("unknown", Client::new("nobody")),
        ("no name of a client", Client::new("../etc/passwd")),
        ("another key", Client::new("acme")),
        ("a key of another name", Client { id: "acme".into(), key: Key::es384("key-9") }),
        ("a key of another kind", Client { id: "acme".into(), key: Key::rs384("key-1") }),
    ];
    let answers: Vec<_> = strangers
        .iter()
        .map(|(who, stranger)| {
            let answer = stranger.ask(&server, "system/*.rs");
            assert_refused(&answer, UNKNOWN);
            (who, answer.json())
        })
        .collect();
    for (who, json) in &answers {
        assert_eq!(*json, answers[0].1, "{who}");
    }
}

#[test]
fn a_huge_assertion_is_refused_before_anything_is_done_with_it() {
    refused("too long", |client, header, mut claims| {
        claims["more"] = "x".repeat(20_000).into();
        client.sign(&header, &claims)
    });
    let (client, _setup, server) = started("acme");
    let mut claims = client.claims(&server.base);
    claims["more"] = "x".repeat(200_000).into();
    let answer = ask(&server.base, &client.sign(&client.header(), &claims), "system/*.rs");
    assert_eq!((answer.status, &answer.json()["error"]), (413, &json!("invalid_request")));
}

#[test]
fn an_access_token_is_no_assertion() {
    let (client, _setup, server) = started("acme");
    let token = client.token(&server, "system/*.rs");
    assert_eq!(ask(&server.base, &token, "system/*.rs").status, 401);
}
