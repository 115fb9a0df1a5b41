//! An assertion is taken once (T-2): one after the other, at once, and over a crash.

use std::os::unix::fs::PermissionsExt;

use super::{ALL, started};
use crate::support::Setup;
use crate::support::smart::{Client, ask};

fn assert_used(answer: &crate::support::Answer) {
    let json = answer.json();
    assert_eq!((answer.status, json["error"].as_str()), (401, Some("invalid_client")), "{json}");
    assert!(json["error_description"].as_str().unwrap().contains("used before"), "{json}");
}

#[test]
fn t_2_an_assertion_is_taken_once() {
    let (client, _setup, server) = started("acme");
    let assertion = client.assertion(&server.base);
    assert_eq!(ask(&server.base, &assertion, "system/*.rs").status, 200);
    for scope in ["system/*.rs", "system/Patient.rs"] {
        assert_used(&ask(&server.base, &assertion, scope));
    }
}

#[test]
fn t_2_an_assertion_with_a_wrong_signature_does_not_use_a_jti_up() {
    let (client, _setup, server) = started("acme");
    let claims = client.claims(&server.base);
    let mallory = Client::new("acme");
    let evil = mallory.sign(&mallory.header(), &claims);
    assert_eq!(ask(&server.base, &evil, "system/*.rs").status, 401);
    assert_eq!(ask(&server.base, &client.sign(&client.header(), &claims), "system/*.rs").status, 200);
}

#[test]
fn t_2_of_twenty_that_send_the_same_assertion_at_once_one_gets_a_token() {
    let (client, _setup, server) = started("acme");
    for _ in 0..5 {
        let assertion = client.assertion(&server.base);
        let start = std::sync::Barrier::new(20);
        let statuses: Vec<_> = std::thread::scope(|scope| {
            let send = || {
                start.wait();
                ask(&server.base, &assertion, "system/*.rs").status
            };
            let threads: Vec<_> = (0..20).map(|_| scope.spawn(send)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 19, "{statuses:?}");
    }
}

#[test]
fn t_2_an_assertion_is_known_after_a_kill() {
    let client = Client::new("acme");
    let setup = Setup::new().smart_for(&client, ALL).set("server.public_url=http://fhir.test");
    let assertions: Vec<_> = (0..5).map(|_| client.assertion("http://fhir.test/r4/default")).collect();
    let mut used: Vec<&str> = Vec::new();
    for assertion in &assertions {
        let server = setup.start();
        for used in used.iter().copied() {
            assert_used(&ask(&server.base, used, "system/*.rs"));
        }
        assert_eq!(ask(&server.base, assertion, "system/*.rs").status, 200);
        server.kill();
        used.push(assertion.as_str());
    }
    let folder = setup.data_dir().join("auth");
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        let bytes = std::fs::read(entry.path()).unwrap();
        assert!(!bytes.windows(4).any(|four| four == b"acme"), "{entry:?} names a client");
    }
}

#[test]
fn when_no_assertion_can_be_remembered_no_token_is_given() {
    let client = Client::new("acme");
    let setup = Setup::new().smart_for(&client, ALL).set("auth.max_replay_entries=2");
    let server = setup.start();
    let first = client.assertion(&server.base);
    assert_eq!(ask(&server.base, &first, "system/*.rs").status, 200);
    assert_eq!(client.ask(&server, "system/*.rs").status, 200);
    let answer = client.ask(&server, "system/*.rs");
    assert_eq!((answer.status, answer.header("retry-after")), (503, "30"), "{answer:?}");
    assert_eq!(answer.json()["error"], "temporarily_unavailable");
    assert_used(&ask(&server.base, &first, "system/*.rs"));
}
