//! What is logged, and its change while the server runs. Whatever is asked for, what clients send is not in
//! it (P12), unless a foreign crate is named.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Output;

use serde_json::Value;

use crate::audit::audit_of;
use crate::support::*;

/// Stands for a patient, and for a secret.
const PLANTED: &str = "Mrn-4711-Wintergreen";

fn log_level(setup: &Setup, arguments: &[&str]) -> Output {
    let mut command = evanesce_command();
    command.arg("log-level").args(arguments).arg("--data-dir").arg(setup.data_dir()).output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap().trim_end().to_string()
}

/// Whether a request is logged by a server that logs warnings.
fn is_logged(setup: &Setup, server: &Server) -> bool {
    let answer = get(&format!("{}/healthz", server.operators));
    // An order is told whatever else is; the log keeps the order of lines.
    let token = server.operator_token();
    let url = format!("{}/admin/log-level", server.operators);
    let filter = server.operator("admin/log-level").json()["filter"].clone();
    let body = serde_json::json!({"filter": filter}).to_string();
    let order = put(&url, &[("Authorization", &token)], &body);
    setup.wait_logged(&format!("\"request_id\":\"{}\"", order.header("x-request-id")));
    setup.log().contains(answer.header("x-request-id"))
}

#[test]
fn what_is_logged_changes_while_the_server_runs_and_can_be_reset() {
    let setup = Setup::new();
    let server = setup.start();
    assert_eq!(text(&log_level(&setup, &[])), "info (as at the start)");
    assert!(is_logged(&setup, &server));
    assert_eq!(
        text(&log_level(&setup, &["warn,evanesce::erase=debug"])),
        "warn,evanesce::erase=debug (info at the start)"
    );
    assert!(!is_logged(&setup, &server), "it is an info");
    let status = server.operator("admin/status").json();
    assert_eq!(status["log_filter"], "warn,evanesce::erase=debug");
    assert_eq!(text(&log_level(&setup, &["--reset"])), "info (as at the start)");
    assert!(is_logged(&setup, &server));

    // The same over HTTP.
    let url = format!("{}/admin/log-level", server.operators);
    let token = server.operator_token();
    let token = [("Authorization", &*token)];
    assert_eq!(put(&url, &token, r#"{"filter":"warn"}"#).json()["filter"], "warn");
    assert_eq!(send("GET", &url, &token).json(), serde_json::json!({"filter": "warn", "at_start": "info"}));
    assert!(!is_logged(&setup, &server));
    assert_eq!(send("DELETE", &url, &token).json()["filter"], "info");

    let actions = audit_of(&setup.data_dir(), &["export"]);
    assert_eq!(actions.matches("\"log-level\"").count(), 8, "each change is audited: {actions}");
}

#[test]
fn a_bad_filter_is_refused_with_a_sentence_and_changes_nothing() {
    let setup = Setup::new();
    let server = setup.start();
    // A target and its level in 1,001 bytes.
    let long = format!("{}=info", "a".repeat(996));
    assert_eq!(log_level(&setup, &[&long[1..]]).status.code(), Some(0), "1,000 bytes are not too many");
    assert_eq!(log_level(&setup, &["info"]).status.code(), Some(0));
    for bad in ["debgu", "evanesce=loud", "", "info,,=", &long] {
        let output = log_level(&setup, &[bad]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{bad}: {error}");
        assert!(error.contains("filter") && error.lines().count() == 1, "{bad}: {error}");
    }
    let url = format!("{}/admin/log-level", server.operators);
    let token = server.operator_token();
    let token = [("Authorization", &*token)];
    assert_eq!(put(&url, &token, r#"{"filter":"debgu"}"#).outcome(), (409, "conflict".into()));
    assert_eq!(put(&url, &token, r#"{"level":"debug"}"#).status, 400);
    assert_eq!(text(&log_level(&setup, &[])), "info (as at the start)");
    assert!(is_logged(&setup, &server));
}

#[test]
fn a_bad_filter_of_the_environment_is_told_and_not_used() {
    let setup = Setup::new();
    let mut command = setup.command();
    command.env("RUST_LOG", "loud");
    let server = setup.launch(command);
    let log = setup.settled_log(&server);
    assert!(log.contains("RUST_LOG is not used") && log.contains("job") | log.contains("ready"), "{log}");
    assert_eq!(text(&log_level(&setup, &[])), "info (as at the start)");
}

/// Sends what may name a patient, or is a secret, in every part of a request.
fn send_planted(server: &Server) {
    let token = format!("Bearer {PLANTED}");
    let named =
        [("Authorization", &*token), ("X-Request-Id", PLANTED), ("Cookie", PLANTED), KICKOFF[0], KICKOFF[1]];
    for path in [
        format!("$export?patient={PLANTED}"),
        format!("Group/{PLANTED}/$export"),
        format!("{PLANTED}?{PLANTED}"),
    ] {
        assert!(send("GET", &format!("{}/{path}", server.base), &named).status >= 400);
    }
    send("GET", &format!("{}/admin/status", server.operators), &named);
    let json = [KICKOFF[0], KICKOFF[1], ("Content-Type", "application/fhir+json")];
    assert!(post(&format!("{}/$export", server.base), &json, PLANTED).status >= 400);
    let address = server.base.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /{PLANTED} HTTP/1.1\r\n{PLANTED}\r\n\r\n").unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn p12_at_the_most_verbose_level_the_log_has_nothing_that_clients_send_and_no_token() {
    let setup = Setup::new();
    let mut command = setup.command();
    command.env("RUST_LOG", "trace");
    let server = setup.launch(command);
    send_planted(&server);
    let (polling, manifest) = server.export("$export?_type=Patient");
    download_all(&manifest);
    assert_eq!(delete(&polling).status, 202);
    setup.receipt(job_id(&polling));
    let log = setup.settled_log(&server);
    let token = server.operator_token();
    assert!(!log.contains(PLANTED) && !log.contains(token.strip_prefix("Bearer ").unwrap()));
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    for line in lines.filter(|line| !matches!(line["level"].as_str(), Some("INFO" | "WARN" | "ERROR"))) {
        assert!(line["target"].as_str().unwrap().starts_with("evanesce"), "{line}");
    }
    // Named, a foreign crate may say all: it is for machines without patients' data.
    text(&log_level(&setup, &["info,actix_http=trace,actix_web=trace"]));
    let said = || {
        send_planted(&server);
        setup.log().contains("\"level\":\"TRACE\"").then_some(())
    };
    eventually("a crate that is named says more", said);
}
