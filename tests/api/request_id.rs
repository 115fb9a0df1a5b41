//! The ids of requests (G-6): ours, unique, on every answer and in the log; never the client's.

use std::collections::HashSet;

use super::*;

#[test]
fn every_answer_has_an_id_of_ours_that_the_log_has_too() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient");
    let file = first_file(&manifest);
    let root = server.base.strip_suffix("/r4/default").unwrap();
    let at = |path: &str| format!("{}/{path}", server.base);
    let mut ids = HashSet::new();
    for round in 0..4 {
        for (method, url) in [
            ("GET", at("$export")),
            ("GET", at("$export?_type=Nonsense")),
            ("POST", at("$export")),
            ("GET", polling.clone()),
            ("HEAD", polling.clone()),
            ("GET", file.clone()),
            ("HEAD", file.clone()),
            ("DELETE", file.clone()),
            ("GET", at("bulk-api/request/unknown")),
            ("GET", at("Export/DeleteRequest")),
            ("GET", at("metadata")),
            ("GET", at("nothing")),
            ("GET", at(&"x".repeat(9000))),
            ("GET", format!("{root}/healthz")),
            ("GET", format!("{root}/readyz")),
            ("GET", format!("{}/healthz", server.operators)),
            ("GET", format!("{}/metrics", server.operators)),
            ("GET", format!("{root}/nothing")),
            ("GET", format!("{root}/{}", "x".repeat(9000))),
            ("DELETE", if round == 3 { polling.clone() } else { at("bulk-api/request/x") }),
        ] {
            let theirs = "client-request-id-0123456789";
            let headers = [("X-Request-Id", theirs), ("opc-request-id", theirs), KICKOFF[0], KICKOFF[1]];
            let headers = if url == file { &headers[..2] } else { &headers };
            let answer = send(method, &url, headers);
            let id = answer.header("x-request-id").to_string();
            assert!(is_uuid(&id), "{method} {url}: {answer:?}");
            assert_eq!(answer.header("opc-request-id"), id, "{method} {url}");
            assert!(answer.headers.values().all(|value| value != theirs), "never echoed as ours");
            assert_eq!(answer.headers.get_all("x-request-id").iter().count(), 1);
            assert!(answer.status < 500, "{method} {url}");
            assert!(ids.insert(id), "unique");
            if url.len() > 9000 {
                assert_eq!(answer.outcome(), outcome(414, "too-long"));
            }
        }
    }
    assert!(ids.len() > 50);
    let logged: HashSet<String> = eventually("the log lines", || {
        let log = setup.log();
        let answered = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let answered = answered.filter(|line| line["message"] == "answered");
        let logged: HashSet<_> =
            answered.map(|line| line["span"]["request_id"].as_str().unwrap().to_string()).collect();
        ids.is_subset(&logged).then_some(logged)
    });
    assert!(logged.len() >= ids.len());

    // The receipt names the request that deleted the job.
    let by = setup.receipt(job_id(&polling))["request_id"].as_str().unwrap().to_string();
    assert!(ids.contains(&by));
}

#[test]
fn what_the_client_calls_its_request_is_logged_under_a_name_of_its_own() {
    let setup = Setup::new();
    let mut command = setup.command();
    command.env("RUST_LOG", "debug,actix_http=off,sled=off");
    let server = setup.launch(command);
    // P12: what may be anything is logged as its hash.
    let anything = format!("mine \"{}\\", "x".repeat(500));
    for (theirs, logged) in [
        (anything.as_str(), "sha256:"),
        ("6b1f0e3c-5d0a-4b8e-9a57-0f6f1c2d3e4f", "6b1f0e3c-5d0a-4b8e-9a57-0f6f1c2d3e4f"),
    ] {
        let answer = send("GET", &format!("{}/metadata", server.base), &[("X-Request-Id", theirs)]);
        let id = answer.header("x-request-id").to_string();
        let line = eventually("the log line", || {
            let log = setup.log();
            let mut lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            lines.find(|line| line["client_request_id"].is_string() && line["span"]["request_id"] == id)
        });
        let named = line["client_request_id"].as_str().unwrap();
        assert!(named.starts_with(logged) && named.len() < 100, "{line}");
    }
    assert!(!setup.settled_log(&server).contains("mine"));
}
