//! Servers that are none, that lie, or that wish the client harm: a sentence, a code of its own, and
//! nothing that looks whole.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::json;

use super::*;

/// Exports from a server that answers a kick-off like this.
fn kickoff_answer(status: u16, fields: &'static str, body: &'static str) -> Ended {
    let server = ScriptedServer::new(move |_| answer(status, fields, body.as_bytes()));
    let out = OutFolder::new();
    let ended = out.export(&server.url(), &["--patience", "1s"]);
    assert!(out.names().is_empty(), "{:?}", out.names());
    ended
}

#[test]
fn a_wrong_url_is_said_to_be_one() {
    let out = OutFolder::new();
    out.export("fhir.example.org", &[]).failed(2, "is not a URL");
    out.export("https://h/r4/Patient/$export", &[]).failed(2, "names an operation");
    let refused = out.export("http://127.0.0.1:1/r4", &[]).failed(3, "nothing listens there");
    assert!(refused.stderr.contains("is the server running"), "{refused:?}");
    out.export("https://no-such-host.invalid/r4", &[]).failed(3, "no-such-host.invalid");
    let setup = Setup::new();
    let server = setup.start();
    let wrong = server.base.replace("/r4/default", "/fhir");
    out.export(&wrong, &[]).failed(5, "404");
}

#[test]
fn a_server_that_answers_html_is_no_fhir_server() {
    let page = "<!DOCTYPE html><title>Sign in</title>";
    for status in [200, 202, 404] {
        kickoff_answer(status, "Content-Type: text/html\r\n", page).failed(3, "with a web page");
    }
    for (body, said) in [(page, "with a web page"), ("{}", "transactionTime")] {
        let server = ScriptedServer::new(move |asked| match asked.target.as_str() {
            "/$export" => scripted::kicked_off(asked),
            _ => answer(200, "Content-Type: text/html\r\n", body.as_bytes()),
        });
        let out = OutFolder::new();
        let ended = out.export(&server.url(), &[]).failed(3, "answered 200 without a manifest: ");
        assert!(ended.stderr.contains(said) && ended.stderr.contains("asks again"), "{ended:?}");
        assert!(out.names().is_empty(), "{:?}", out.names());
    }
    kickoff_answer(202, "", "").failed(3, "without a Content-Location");
    kickoff_answer(202, "Content-Location: file:///etc/passwd\r\n", "")
        .failed(3, "without a Content-Location");
    kickoff_answer(301, "Location: ftp://elsewhere/r4\r\n", "").failed(3, "which is not a URL");
}

#[test]
fn an_outcome_is_told_in_the_servers_words_which_cannot_control_the_terminal() {
    let outcome = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-supported","diagnostics":"No\u001b[2J system exports\u0007 \u202ehere."}]}"#;
    let ended = kickoff_answer(400, "Content-Type: application/fhir+json\r\n", outcome);
    let ended = ended.failed(5, "answered 400: No [2J system exports here.");
    assert!(!ended.stderr.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{ended:?}");
    // What may go away is waited for, and then told.
    let busy = r#"{"resourceType":"OperationOutcome","issue":[{"code":"throttled","details":{"text":"Too many."}}]}"#;
    let ended = kickoff_answer(429, "Retry-After: 9999\r\n", busy).failed(3, "Too many.");
    assert!(ended.stderr.contains("asks to come again in 9999 s"), "{ended:?}");
}

#[test]
fn p13_what_is_too_long_is_not_believed() {
    let server = ScriptedServer::new(|_| {
        let body = vec![b' '; 2 << 20];
        answer(202, "", &body)
    });
    OutFolder::new().export(&server.url(), &[]).failed(3, "more than 1048576 bytes");
}

/// Exports files of which the manifest does not say the truth.
fn lie(item: Value, text: &[u8]) -> Ended {
    let server = ScriptedServer::with_files(vec![(item, text.to_vec())]);
    let out = OutFolder::new();
    let ended = out.export(&server.url(), &[]);
    assert!(out.names().is_empty(), "nothing is left: {:?}", out.names());
    assert_eq!(server.count("/file/0"), 2, "it was tried twice");
    ended
}

#[test]
fn a_file_that_is_not_what_the_manifest_says_is_thrown_away() {
    let text = b"{\"resourceType\":\"Patient\"}\n";
    let said = lie(json!({"type": "Patient", "count": 2}), text);
    said.failed(7, "it has 1 resources, the manifest says 2").stderr.contains("thrown away");
    let wrong = json!({"sha256": "00".repeat(32)});
    lie(json!({"type": "Patient", "extension": wrong}), text).failed(7, "its SHA-256 is not the one");
    let (short, long) = (json!({"fileSize": 5}), json!({"fileSize": 500}));
    lie(json!({"type": "Patient", "extension": short}), text).failed(7, "more bytes than the manifest says");
    lie(json!({"type": "Patient", "extension": long}), text)
        .failed(7, "it has 27 bytes, the manifest says 500");
    lie(json!({"type": "Patient"}), b"<html>sign in</html>").failed(7, "line 1 is not a JSON object");
    lie(json!({"type": "Patient"}), b"{\"a\":1}\n{\"b\":").failed(7, "cut off");
}

#[test]
fn p13_no_file_is_written_outside_the_folder() {
    let file = |name: &str| (json!({"type": name}), b"{}\n".to_vec());
    let names = ["../../../tmp/evil", "/etc/evil", "..", "a/b", "Patient\u{0}", "Patient.0001.ndjson"];
    let server = ScriptedServer::with_files(names.map(file).into());
    let out = OutFolder::new();
    out.export(&server.url(), &[]).succeeded();
    let expected: Vec<_> = ["manifest.json".into()]
        .into_iter()
        .chain((1..=6).map(|n| format!("resources.000{n}.ndjson")))
        .collect();
    assert_eq!(out.names(), expected);
    assert_eq!(std::fs::read_dir(out.path().parent().unwrap()).unwrap().count(), 1, "nothing beside it");
}

#[test]
fn p13_a_server_that_never_comes_to_an_end_is_left() {
    let waiting = ScriptedServer::new(|asked| match asked.target.as_str() {
        "/$export" => scripted::kicked_off(asked),
        _ => answer(202, "X-Progress: \u{1b}[31m1%\r\nRetry-After: 0\r\n", b""),
    });
    let out = OutFolder::new();
    let ended = out.export(&waiting.url(), &["--timeout", "2s"]).failed(8, "longer than --timeout");
    assert!(!ended.stderr.contains('\u{1b}'), "{ended:?}");
    let circles = ScriptedServer::new(|asked| match asked.target.as_str() {
        "/$export" => scripted::kicked_off(asked),
        _ => answer(302, &format!("Location: {}/status\r\n", asked.base), b""),
    });
    let out = OutFolder::new();
    out.export(&circles.url(), &[]).failed(3, "more than 5 redirects");
    assert_eq!(circles.count("/status"), 6);
}

#[test]
fn retry_after_may_be_a_date_of_the_servers_clock() {
    let polls = AtomicUsize::new(0);
    let server = ScriptedServer::new(move |asked| match asked.target.as_str() {
        "/$export" => scripted::kicked_off(asked),
        _ if polls.fetch_add(1, Ordering::SeqCst) > 0 => json_answer(200, &scripted::manifest(Vec::new())),
        _ => {
            let fields =
                "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:49:39 GMT\r\n";
            answer(202, fields, b"")
        }
    });
    let began = Instant::now();
    let ended = OutFolder::new().export(&server.url(), &[]).succeeded();
    assert!(began.elapsed().as_secs_f64() >= 2.0, "{ended:?}");
    assert!(ended.stderr.contains("next look in 2.0 s"), "{ended:?}");
}

#[test]
fn what_fails_for_a_while_is_tried_again() {
    let n = AtomicUsize::new(0);
    let server = ScriptedServer::new(move |asked| {
        let n = n.fetch_add(1, Ordering::SeqCst);
        match (asked.target.as_str(), n) {
            ("/$export", 0) => answer(503, "Retry-After: 1\r\n", b""),
            ("/$export", _) => scripted::kicked_off(asked),
            ("/status", 2) => answer(502, "", b"<html>bad gateway</html>"),
            ("/status", 3) => json_answer(
                500,
                &json!({"resourceType": "OperationOutcome",
                "issue": [{"code": "transient"}]}),
            ),
            ("/status", _) => {
                let url = format!("{}/file", asked.base);
                json_answer(200, &scripted::manifest(vec![json!({"type": "Patient", "url": url})]))
            }
            (_, 5) => answer(429, "Retry-After: 0\r\n", b""),
            _ => answer(200, "", b"{}\n"),
        }
    });
    let out = OutFolder::new();
    let began = Instant::now();
    out.export(&server.url(), &[]).succeeded();
    assert!(began.elapsed().as_secs_f64() >= 1.0, "Retry-After was kept to");
    assert_eq!(server.asked().len(), 7);
}

#[test]
fn an_export_that_failed_is_told_and_the_next_one_begins_anew() {
    let outcome = json!({"resourceType": "OperationOutcome",
        "issue": [{"code": "processing", "details": {"text": "The disk is full."}}]});
    let server = ScriptedServer::new(move |asked| match asked.target.as_str() {
        "/$export" => scripted::kicked_off(asked),
        _ => json_answer(500, &outcome),
    });
    let out = OutFolder::new();
    out.export(&server.url(), &[]).failed(5, "the export failed: ").stderr.contains("The disk is full.");
    out.export(&server.url(), &[]).failed(5, "The disk is full.");
    assert_eq!(server.count("/$export"), 2);
}
