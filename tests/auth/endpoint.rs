//! The token endpoint's form and its errors (REQUIREMENTS 9.4), and introspection (9.6).

use serde_json::json;

use super::{ALL, started};
use crate::support::smart::{ASSERTION_TYPE, Client, ask_form, jwks, post_form};
use crate::support::{KICKOFF, Setup, get, post, put};

#[test]
fn each_parameter_has_to_be_there_once_and_right() {
    let (client, setup, server) = started("acme");
    let assertion = client.assertion(&server.base);
    let good = [
        ("grant_type", "client_credentials"),
        ("scope", "system/*.rs"),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion.as_str()),
    ];
    let changed = |name: &str, value: &'static str| {
        good.iter().map(|pair| if pair.0 == name { (pair.0, value) } else { *pair }).collect::<Vec<_>>()
    };
    let without = |name: &str| good.iter().filter(|pair| pair.0 != name).copied().collect::<Vec<_>>();
    let twice = |name: &str| {
        good.iter().chain(good.iter().filter(|pair| pair.0 == name)).copied().collect::<Vec<_>>()
    };
    let names = ["grant_type", "scope", "client_assertion_type", "client_assertion"];
    let mut cases = Vec::new();
    for name in names {
        cases.push((without(name), "invalid_request"));
        cases.push((twice(name), "invalid_request"));
        if name != "scope" {
            cases.push((changed(name, ""), "invalid_request"));
        }
    }
    for grant in ["authorization_code", "password", "refresh_token", "CLIENT_CREDENTIALS"] {
        cases.push((changed("grant_type", grant), "unsupported_grant_type"));
    }
    cases.push((changed("client_assertion_type", "urn:other"), "invalid_request"));
    for (form, expected) in cases {
        let answer = ask_form(&server.base, &form);
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!(expected)), "{form:?}");
        assert!(!answer.json()["error_description"].as_str().unwrap().is_empty());
        assert_eq!((answer.header("cache-control"), answer.header("pragma")), ("no-store", "no-cache"));
    }
    let answer = ask_form(&server.base, &changed("client_assertion", "not a jwt"));
    assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid_client")));
    assert_eq!(ask_form(&server.base, &good).status, 200, "none of them used the assertion up");
    assert!(!setup.settled_log(&server).contains(&assertion));
}

#[test]
fn only_a_form_is_taken() {
    let (client, _setup, server) = started("acme");
    let url = format!("{}/auth/token", server.base);
    let assertion = client.assertion(&server.base);
    let form = format!(
        "grant_type=client_credentials&scope=system%2F*.rs&client_assertion={assertion}\
         &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
    );
    let json = json!({"grant_type": "client_credentials", "client_assertion": assertion}).to_string();
    for (content_type, body) in [
        ("application/json", json.as_str()),
        ("application/json", &form),
        ("text/plain", &form),
        ("application/x-www-form-urlencoded", "%zz=1"),
        ("application/x-www-form-urlencoded", "grant_type=%ff"),
        ("application/x-www-form-urlencoded", ""),
    ] {
        let answer = post(&url, &[("Content-Type", content_type)], body);
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{body}");
    }
    assert_eq!(post(&url, &[], &form).json()["error"], "invalid_request", "without a type");
    let content_type = ("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8");
    let answer = post(&url, &[content_type, ("Authorization", "Basic YTpi")], &form);
    assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")));
    assert_eq!(post(&url, &[content_type], &form).status, 200);
    let answer = get(&url);
    assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
    let elsewhere = url.replace("/r4/default/", "/r4/other/");
    assert_eq!(post(&elsewhere, &[content_type], &form).outcome(), (404, "not-found".into()));
}

#[test]
fn a_body_in_a_content_coding_is_refused_wherever_one_is_read() {
    let (client, _setup, server) = started("acme");
    let bearer = client.bearer(&server, "system/*.rs");
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let coded = ("Content-Encoding", "gzip");
    for url in ["auth/token", "auth/introspect"].map(|name| format!("{}/{name}", server.base)) {
        for coding in ["gzip", "GZIP", "identity, gzip", "x"] {
            let fields = [form, ("Content-Encoding", coding), ("Authorization", &bearer)];
            let answer = post(&url, &fields, "grant_type=client_credentials&token=x");
            // An introspection is for applications that may introspect.
            let expected = if url.ends_with("token") { 415 } else { 403 };
            assert_eq!(answer.status, expected, "{url} {coding}: {answer:?}");
            if expected == 415 {
                assert_eq!(answer.json()["error"], "invalid_request");
                let text = answer.json()["error_description"].as_str().unwrap().to_owned();
                assert!(text.contains("Content-Encoding"), "{text}");
            }
        }
        let answer = post(&url, &[form, ("Content-Encoding", "identity")], "grant_type=x");
        assert_ne!(answer.status, 415, "{url}");
    }
    let [accept, prefer] = KICKOFF;
    let json = ("Content-Type", "application/fhir+json");
    let fields = [json, ("Authorization", &bearer), accept, prefer, coded];
    let url = format!("{}/$export", server.base);
    assert_eq!(post(&url, &fields, "{}").outcome(), (415, "structure".into()));
    let token = server.operator_token();
    let pause = format!("{}/admin/reaper/pause", server.operators);
    let answer = put(&pause, &[("Authorization", &token), coded], r#"{"reason":"r"}"#);
    assert_eq!(answer.outcome(), (415, "structure".into()));
}

#[test]
fn g_11_too_many_token_requests_are_told_so_in_the_words_of_oauth() {
    let client = Client::new("acme");
    let setup = Setup::new()
        .smart_for(&client, ALL)
        .set("limits.token_requests_per_minute_per_address=2")
        .set("limits.exempt=");
    let server = setup.start();
    let answers: Vec<_> = (0..3).map(|_| client.ask(&server, "system/*.rs")).collect();
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 200, 429]);
    let refused = &answers[2];
    assert_eq!(refused.header("content-type"), "application/json");
    assert_eq!(refused.json()["error"], "temporarily_unavailable");
    assert!(refused.json()["error_description"].as_str().unwrap().contains("Retry-After"));
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u64>().unwrap()), "{refused:?}");
    assert_eq!(refused.header("cache-control"), "no-store");
}

#[test]
fn what_cannot_be_granted_is_an_invalid_scope() {
    let client = Client::new("acme");
    let setup = Setup::new().smart_for(&client, "scopes = 'system/Patient.rs system/Group.r'");
    let server = setup.start();
    for scope in [
        "",
        "  ",
        "launch fhirUser",
        "system/Nonsense.read",
        "system/*.write",
        "system/Observation.rs",
        "é\"\\",
    ] {
        let answer = client.ask(&server, scope);
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_scope")), "{scope}");
        let description = answer.json()["error_description"].as_str().unwrap().to_owned();
        let is_allowed = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        assert!(description.chars().all(is_allowed), "{description}");
    }
    let answer = client.ask(&server, "system/*.read");
    assert_eq!(answer.json()["scope"], "system/Patient.read system/Group.r");
}

#[test]
fn a_token_is_introspected_for_those_who_may() {
    let (acme, watch) = (Client::new("acme"), Client::new("watch"));
    let setup = Setup::new();
    for client in [&acme, &watch] {
        setup.publish(&format!("{}.jwks.json", client.id), &jwks(&[&client.key]));
    }
    let applications = format!(
        "{}{}",
        acme.registered(ALL),
        watch.registered("scopes = 'system/Patient.rs'\nintrospection = true")
    );
    let setup = setup.smart(&applications);
    let server = setup.start();
    let url = format!("{}/auth/introspect", server.base);
    let token = acme.token(&server, "system/*.rs");
    let ask = |bearer: &str, form: &[(&str, &str)]| post_form(&url, &[("Authorization", bearer)], form);
    let watching = watch.bearer(&server, "system/*.rs");
    let answer = ask(&watching, &[("token", &token), ("token_type_hint", "access_token")]);
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"));
    let json = answer.json();
    assert_eq!((&json["active"], &json["client_id"]), (&json!(true), &json!("acme")));
    assert_eq!(json["scope"], "system/*.rs");
    assert!(json["exp"].as_i64().unwrap() > crate::support::smart::now());
    let tampered = format!("{}x", token);
    for other in [tampered.as_str(), "garbage", "a.b.c"] {
        assert_eq!(ask(&watching, &[("token", other)]).json(), json!({"active": false}), "{other}");
    }
    assert_eq!(ask(&watching, &[]).json()["error"], "invalid_request");
    let own = format!("Bearer {token}");
    assert_eq!(ask(&own, &[("token", &token)]).outcome(), (403, "forbidden".into()));
    assert_eq!(post_form(&url, &[], &[("token", &token)]).outcome(), (401, "login".into()));
    assert!(!setup.settled_log(&server).contains(&token), "P12: the log has no tokens");
}

#[test]
fn the_metrics_count_what_was_given_and_what_was_refused_and_why() {
    let (client, _setup, server) = started("acme");
    client.token(&server, "system/*.rs");
    Client::new("nobody").ask(&server, "system/*.rs");
    let metrics = server.metrics();
    for line in [
        "evanesce_tokens_issued_total 1",
        "evanesce_tokens_refused_total{reason=\"unknown\"} 1",
        "evanesce_replay_entries 1",
        "evanesce_fsync_seconds_count{what=\"replay\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
}

#[test]
fn the_openapi_document_says_which_operations_take_a_token() {
    let (_client, _setup, server) = started("acme");
    let root = server.base.split("/r4/").next().unwrap();
    let document = get(&format!("{root}/openapi.json")).json();
    assert_eq!(document["components"]["securitySchemes"]["smart"]["scheme"], "bearer");
    let operation = |path: &str, method: &str| document["paths"][path][method].clone();
    let export = operation("/r4/{tenant}/$export", "get");
    assert_eq!(export["security"], json!([{"smart": []}]));
    assert!(export["responses"]["401"]["headers"].get("WWW-Authenticate").is_some());
    let token = operation("/r4/{tenant}/auth/token", "post");
    assert!(token.get("security").is_none() && token["responses"].get("401").is_some());
    let form = &token["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]["$ref"];
    assert_eq!(form, "#/components/schemas/TokenRequest");
    let open = operation("/r4/{tenant}/metadata", "get");
    assert!(open.get("security").is_none() && open["responses"].get("401").is_none());
}
