//! Section 4: the status of an export.

use std::str::FromStr;

use super::*;

/// A server with an export that goes on slowly and does not end, and its polling URL.
fn running() -> (Setup, Server, String) {
    let setup = Setup::new().set("export.max_bytes_per_second=100000").braked(200_000);
    let server = setup.start();
    let polling = server.kickoff("$export");
    (setup, server, polling)
}

#[test]
fn st_1_a_running_export_is_a_202_without_a_body() {
    let (_setup, _server, polling) = running();
    let answer = get(&polling);
    assert_eq!((answer.status, answer.body.len()), (202, 0));
}

/// Also C20.
#[test]
fn st_2_progress_is_a_share_with_one_decimal_that_only_grows() {
    let (_setup, _server, polling) = running();
    let mut last = 0.0;
    eventually("progress", || {
        let text = get(&polling).header("x-progress").to_string();
        let number = text.strip_suffix("% complete").unwrap();
        assert!(number.split_once('.').is_some_and(|(_, decimal)| decimal.len() == 1) && text.len() < 100);
        let progress: f64 = number.parse().unwrap();
        assert!((last..100.0).contains(&progress), "{last} {progress}");
        last = progress;
        (progress > 5.0).then_some(())
    });
}

#[test]
fn st_3_retry_after_is_whole_seconds_that_suit_the_export() {
    let (_setup, server, polling) = running();
    let seconds: u64 = get(&polling).header("retry-after").parse().unwrap();
    assert!((1..=30).contains(&seconds));
    let small = server.kickoff("$export?_type=Slot");
    let answer = get(&small);
    assert!(answer.status == 200 || answer.header("retry-after") == "1", "{answer:?}");
}

/// Also C21.
#[test]
fn st_5_a_failed_export_is_an_error_with_an_outcome() {
    let setup = Setup::new();
    let server = setup.start_with(&["--fault", "write:5:ever:12"]);
    let polling = server.kickoff("$export");
    let answer = eventually("the failure", || Some(get(&polling)).filter(|answer| answer.status != 202));
    assert_eq!(answer.outcome(), outcome(500, "processing"));
    assert_eq!(get(&polling).outcome(), outcome(500, "processing"), "it stays so");
}

#[test]
fn st_6_a_failed_export_has_no_transient_code_and_a_refused_poll_has_one() {
    const TRANSIENT: [&str; 7] =
        ["transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled"];
    let setup = Setup::new().set("protocol.poll_interval=1h");
    let server = setup.start_with(&["--fault", "write:5:ever:12"]);
    let polling = server.kickoff("$export");
    let failed = eventually("the failure", || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        Some(get(&polling)).filter(|answer| answer.status != 202)
    });
    assert!(!TRANSIENT.contains(&failed.issue().1.as_str()), "{failed:?}");
    let refused = eventually("a refusal", || Some(get(&polling)).filter(|answer| answer.status == 429));
    assert!(TRANSIENT.contains(&refused.issue().1.as_str()), "{refused:?}");
}

#[test]
fn st_7_a_complete_export_is_a_200_with_the_manifest_and_its_end() {
    let setup = Setup::new().set("retention.completed=1h");
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    let answer = get(&polling);
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let expires = actix_web::http::header::HttpDate::from_str(answer.header("expires")).unwrap();
    let expires: std::time::SystemTime = expires.into();
    let left = expires.duration_since(std::time::SystemTime::now()).unwrap().as_secs();
    assert!((3500..=3600).contains(&left), "{left}");
}

#[test]
fn st_8_what_could_not_be_exported_is_told_in_error_files() {
    let folder = source_of(&[r#"{"resourceType":"Patient","id":"p"}"#, "{broken"]);
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let (polling, manifest) = server.export("$export");
    assert_eq!(get(&polling).status, 200);
    assert_eq!(types(&manifest), ["Patient"]);
    let errors = items(&manifest, "error");
    assert_eq!((errors.len(), &errors[0]["type"]), (1, &"OperationOutcome".into()));
    let line = get(errors[0]["url"].as_str().unwrap()).json();
    assert_eq!(
        (&line["resourceType"], line["issue"].as_array().unwrap().len()),
        (&"OperationOutcome".into(), 1)
    );
}

#[test]
fn st_10_after_delete_the_polling_url_is_not_found() {
    let (_setup, _server, polling) = running();
    assert_eq!(delete(&polling).status, 202);
    assert_eq!(get(&polling).outcome(), outcome(404, "deleted"));
}

#[test]
fn st_11_every_row_of_the_error_table() {
    let setup = Setup::new();
    let server = setup.start();
    let polling = server.kickoff("$export");
    let unknown = format!("{}/bulk-api/request/00000000-0000-4000-8000-000000000000", server.base);
    let html = ("Accept", "text/html");
    for (url, headers, status, code) in [
        (polling.replace("/default/", "/nobody/"), &[][..], 404, "not-found"),
        (unknown.clone(), &[], 404, "not-found"),
        (format!("{unknown}x"), &[], 404, "not-found"),
        (polling.clone(), &[html], 406, "structure"),
        // Accept comes before the job.
        (unknown, &[html], 406, "structure"),
    ] {
        for method in ["GET", "DELETE"] {
            assert_eq!(send(method, &url, headers).outcome(), outcome(status, code), "{method} {url}");
        }
    }
    assert_eq!(delete(&polling).status, 202);
    assert_eq!(get(&polling).outcome(), outcome(404, "deleted"));
}

#[test]
fn c2_prefer_is_ignored_on_status_and_delete() {
    let setup = Setup::new();
    let server = setup.start();
    let polling = server.kickoff("$export");
    for prefer in ["respond-async", "nonsense"] {
        assert!(matches!(send("GET", &polling, &[("Prefer", prefer)]).status, 200 | 202));
    }
    assert_eq!(send("DELETE", &polling, &[("Prefer", "nonsense")]).status, 202);
}

/// Also INF-11.
#[test]
fn inf_10_11_cancel_as_inferno_does_it() {
    let setup = Setup::new();
    let server = setup.start();
    let polling = server.kickoff("Patient/$export");
    let json = [("Accept", "application/json")];
    assert_eq!(send("DELETE", &polling, &json).status, 202);
    for method in ["GET", "DELETE"] {
        let answer = send(method, &polling, &json);
        assert_eq!((answer.status, &answer.json()["resourceType"]), (404, &"OperationOutcome".into()));
    }
}
