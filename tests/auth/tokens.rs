//! Access tokens: what is asked without one, and the ones that are none.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{ALL, started};
use crate::support::smart::{Client, Key, jwt, part};
use crate::support::{Answer, KICKOFF, Setup, eventually, get, send};

/// A status request with these header fields.
fn status(base: &str, headers: &[(&str, &str)]) -> Answer {
    send("GET", &format!("{base}/bulk-api/request/{}", uuid::Uuid::new_v4()), headers)
}

fn with_token(base: &str, token: &str) -> Answer {
    status(base, &[("Authorization", &format!("Bearer {token}"))])
}

fn assert_invalid(answer: &Answer) {
    assert_eq!(answer.outcome(), (401, "login".into()));
    assert!(answer.header("www-authenticate").ends_with("error=\"invalid_token\""), "{answer:?}");
}

/// Header and claims of a token.
fn decoded(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|text| URL_SAFE_NO_PAD.decode(text).unwrap());
    let mut json = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (json(), json())
}

#[test]
fn g_8_a_request_without_a_token_is_told_where_and_not_that_it_is_wrong() {
    let (_client, _setup, server) = started("acme");
    let realm = format!("Bearer realm=\"{}\"", server.base);
    for headers in [&[][..], &[("Authorization", "Basic YTpi")], &[("Authorization", "")]] {
        let answer = status(&server.base, headers);
        assert_eq!(answer.outcome(), (401, "login".into()), "{headers:?}");
        assert_eq!(answer.header("www-authenticate"), realm, "{headers:?}");
    }
    let answer = send("POST", &format!("{}/$export", server.base), &KICKOFF);
    assert_eq!(answer.outcome(), (401, "login".into()));
}

#[test]
fn g_8_the_scheme_is_written_in_any_case() {
    let (client, _setup, server) = started("acme");
    let token = client.token(&server, "system/*.rs");
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let answer = status(&server.base, &[("Authorization", &format!("{scheme} {token}"))]);
        assert_eq!(answer.outcome(), (404, "not-found".into()));
    }
}

#[test]
fn g_8_a_token_that_was_tampered_with_is_none() {
    let (client, _setup, server) = started("acme");
    let token = client.token(&server, "system/Patient.read");
    assert_eq!(with_token(&server.base, &token).status, 404, "it is good");
    let parts: Vec<_> = token.split('.').collect();
    let (header, claims) = decoded(&token);
    let more = |json: &Value, key: &str, value: Value| {
        let mut json = json.clone();
        json[key] = value;
        part(&json)
    };
    let flipped = {
        let mut signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        signature[50] ^= 1;
        URL_SAFE_NO_PAD.encode(signature)
    };
    let unsigned = format!("{}.{}.", more(&header, "alg", json!("none")), parts[1]);
    for evil in [
        format!("{}.{}.{}", parts[0], more(&claims, "scope", json!("system/*.rs")), parts[2]),
        format!("{}.{}.{}", parts[0], more(&claims, "sub", json!("other")), parts[2]),
        format!("{}.{}.{}", parts[0], more(&claims, "exp", json!(i64::MAX)), parts[2]),
        format!("{}.{}.{}", more(&header, "x", json!(1)), parts[1], parts[2]),
        format!("{}.{}.{flipped}", parts[0], parts[1]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}.x"),
        format!("{token}x"),
        unsigned,
        "invalidToken".into(),
        "x".repeat(20_000),
    ] {
        assert_invalid(&with_token(&server.base, &evil));
    }
}

#[test]
fn g_8_a_token_that_somebody_else_signed_is_none() {
    let (client, _setup, server) = started("acme");
    let (header, claims) = decoded(&client.token(&server, "system/*.rs"));
    assert_eq!(header["alg"], "ES384");
    // With the client's own key, under our key's name and under its own.
    let mut of_client = header.clone();
    of_client["kid"] = client.key.kid.clone().into();
    for header in [&header, &of_client] {
        assert_invalid(&with_token(&server.base, &jwt(header, &claims, |message| client.key.sign(message))));
    }
    // With our public key as the secret.
    let keys = get(&format!("{}/auth/jwks", server.base)).json();
    let secret = URL_SAFE_NO_PAD.decode(keys["keys"][0]["x"].as_str().unwrap()).unwrap();
    for alg in ["HS256", "HS384"] {
        let mut header = header.clone();
        header["alg"] = alg.into();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA384, &secret);
        let evil = jwt(&header, &claims, |message| aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec());
        assert_invalid(&with_token(&server.base, &evil));
    }
    // An assertion, which is a good JWT for another purpose.
    assert_invalid(&with_token(&server.base, &client.assertion(&server.base)));
}

#[test]
fn g_8_a_token_in_the_url_and_two_tokens_are_refused() {
    let (client, _setup, server) = started("acme");
    let bearer = client.bearer(&server, "system/*.rs");
    let token = bearer.strip_prefix("Bearer ").unwrap();
    let twice = [("Authorization", bearer.as_str()), ("Authorization", bearer.as_str())];
    let polling = format!("{}/bulk-api/request/{}", server.base, uuid::Uuid::new_v4());
    for answer in [
        status(&server.base, &twice),
        send("GET", &format!("{polling}?access_token={token}"), &[]),
        send("GET", &format!("{polling}?access%5ftoken={token}"), &twice[..1]),
    ] {
        assert_eq!(answer.outcome(), (400, "login".into()));
        assert!(answer.header("www-authenticate").ends_with("error=\"invalid_request\""));
    }
}

#[test]
fn g_8_a_token_that_has_expired_says_so() {
    let client = Client::new("acme");
    let setup = Setup::new().smart_for(&client, ALL).set("auth.token_lifetime=1s");
    let server = setup.start();
    let answer = client.ask(&server, "system/*.rs");
    assert_eq!(answer.json()["expires_in"], 1);
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let answer = eventually("the end of the token", || {
        let answer = with_token(&server.base, &token);
        (answer.status == 401).then_some(answer)
    });
    assert_eq!(answer.outcome(), (401, "expired".into()));
    assert!(answer.header("www-authenticate").ends_with("error=\"invalid_token\""));
}

#[test]
fn a_token_is_for_one_tenant_and_whether_there_is_another_does_not_show() {
    let (client, _setup, server) = started("acme");
    let token = client.token(&server, "system/*.rs");
    for tenant in ["other", "DEFAULT", "default%2f", "a%22b"] {
        let base = server.base.replace("/r4/default", &format!("/r4/{tenant}"));
        assert_invalid(&with_token(&base, &token));
        assert_eq!(status(&base, &[]).outcome(), (401, "login".into()), "{tenant}");
    }
}

#[test]
fn an_application_that_is_gone_or_not_active_is_as_an_unknown_tenant() {
    let client = Client::new("acme");
    let setup = Setup::new().smart_for(&client, ALL).set("server.public_url=http://fhir.test");
    let server = setup.start();
    let base = "http://fhir.test/r4/default";
    let token =
        |base: &str, local: &str| crate::support::smart::ask(local, &client.assertion(base), "system/*.rs");
    let good = token(base, &server.base).json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(with_token(&server.base, &good).issue().1, "not-found");
    let unknown_job = with_token(&server.base, &good).json()["issue"][0]["details"]["text"].clone();
    drop(server);
    for applications in ["", &client.registered(&format!("{ALL}\nactive = false"))] {
        setup.register(applications);
        let server = setup.start();
        let answer = with_token(&server.base, &good);
        assert_eq!(answer.outcome(), (404, "not-found".into()));
        let text = answer.json()["issue"][0]["details"]["text"].clone();
        assert_ne!(text, unknown_job);
        assert!(text.as_str().unwrap().contains("application is not defined or not active"), "{text}");
        let answer = token(base, &server.base);
        assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid_client")));
    }
}

#[test]
fn what_an_application_may_have_less_now_its_token_allows_no_more() {
    let (acme, watch) = (Client::new("acme"), Client::new("watch"));
    let setup = Setup::new().set("server.public_url=http://fhir.test");
    for client in [&acme, &watch] {
        let keys = crate::support::smart::jwks(&[&client.key]);
        setup.publish(&format!("{}.jwks.json", client.id), &keys);
    }
    let both = |scopes: &str| {
        let watch = watch.registered("scopes = 'system/*.rs'\nintrospection = true");
        format!("{}{watch}", acme.registered(&format!("scopes = '{scopes}'")))
    };
    let setup = setup.smart(&both("system/*.rs"));
    let server = setup.start();
    let base = "http://fhir.test/r4/default";
    let token = |client: &Client, local: &str| {
        let answer = crate::support::smart::ask(local, &client.assertion(base), "system/*.rs");
        answer.json()["access_token"].as_str().unwrap().to_owned()
    };
    let (token, watching) = (token(&acme, &server.base), format!("Bearer {}", token(&watch, &server.base)));
    drop(server);
    for (registered, expected) in [("system/Patient.rs", json!("system/Patient.rs")), ("", json!(null))] {
        setup.register(&both(registered));
        let server = setup.start();
        let url = format!("{}/auth/introspect", server.base);
        let headers = [("Authorization", watching.as_str())];
        let answer = crate::support::smart::post_form(&url, &headers, &[("token", &token)]);
        assert_eq!(answer.json()["scope"], expected, "{answer:?}");
    }
}

#[test]
fn the_host_of_a_request_does_not_say_who_gives_tokens() {
    let (client, _setup, server) = started("acme");
    let headers = [("Host", "evil.example")];
    let url = format!("{}/.well-known/smart-configuration", server.base);
    assert_eq!(send("GET", &url, &headers).json()["token_endpoint"], format!("{}/auth/token", server.base));
    let token = client.token(&server, "system/*.rs");
    assert_eq!(decoded(&token).1["iss"], server.base);
}

#[test]
fn a_key_that_is_old_signs_no_more_and_is_erased_when_its_tokens_are() {
    let client = Client::new("acme");
    let setup = Setup::new().smart_for(&client, ALL);
    let setup = setup.set("auth.token_lifetime=1s").set("auth.key_rotation=1s").set("auth.clock_skew=0s");
    let server = setup.start();
    let token = client.token(&server, "system/*.rs");
    let kid = decoded(&token).0["kid"].as_str().unwrap().to_owned();
    let file = setup.data_dir().join("auth/keys.json");
    eventually("the end of the key", || {
        let is_gone = !std::fs::read_to_string(&file).unwrap().contains(&kid);
        is_gone.then_some(())
    });
    let keys = get(&format!("{}/auth/jwks", server.base)).json();
    assert!(keys["keys"].as_array().unwrap().iter().all(|key| key["kid"] != json!(kid)));
    assert_invalid(&with_token(&server.base, &token));
    assert_ne!(decoded(&client.token(&server, "system/*.rs")).0["kid"], json!(kid));
}

#[test]
fn tokens_and_keys_outlive_a_restart() {
    let client = Client { id: "acme".into(), key: Key::rs384("key-1") };
    let setup = Setup::new().smart_for(&client, ALL).set("server.public_url=http://fhir.test");
    let server = setup.start();
    let assertion = client.assertion("http://fhir.test/r4/default");
    let answer = crate::support::smart::ask(&server.base, &assertion, "system/*.rs");
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    server.kill();
    let server = setup.start();
    assert_eq!(with_token(&server.base, &token).outcome(), (404, "not-found".into()));
}
