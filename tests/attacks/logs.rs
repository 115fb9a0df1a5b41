//! Nobody writes lines of their own into the log.

use std::process::Command;

use serde_json::Value;

use super::ask;
use crate::support::*;

const FORGED: &str = "forged-line-4711";

/// Requests whose every part would like to begin a line of the log.
fn be_hostile(server: &Server) {
    let forged = format!("%0d%0a2026-01-01T00:00:00Z  INFO {FORGED}");
    let json = format!("%22%7d%0a%7b%22message%22:%22{FORGED}%22%7d");
    for text in [&forged, &json] {
        for path in [
            format!("/r4/default/bulk-api/request/{text}"),
            format!("/r4/{text}/metadata"),
            format!("/r4/default/Group/{text}/$export"),
            format!("/r4/default/$export?_type={text}"),
            format!("/r4/default/$export?{text}=1"),
            format!("/{text}"),
        ] {
            ask(server, &format!("GET {} HTTP/1.1", path.replace(' ', "%20")), "");
        }
    }
    for value in [
        format!("\u{b}{FORGED}"),
        format!("a\u{85}{FORGED}"),
        format!("\u{1b}[2K{FORGED}"),
        format!("x\",\"message\":\"{FORGED}"),
        format!("\u{2028}{FORGED}"),
    ] {
        for name in ["X-Request-Id", "User-Agent", "Authorization", "Accept", "Prefer", "Host", "Origin"] {
            ask(server, "GET /r4/default/$export HTTP/1.1", &format!("{name}: {value}\r\n"));
        }
    }
    let bare = format!("X-Request-Id: a\r{FORGED}\r\n");
    ask(server, "GET /r4/default/$export HTTP/1.1", &bare);
}

#[test]
fn each_line_of_a_json_log_is_an_object_of_the_servers_own() {
    let setup = Setup::new();
    let server = setup.start();
    be_hostile(&server);
    let log = setup.settled_log(&server);
    assert!(log.lines().count() > 20);
    for line in log.lines() {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_ne!(object["message"], FORGED, "{line}");
    }
    assert!(!log.contains(FORGED), "what clients send is not logged as it stands");
}

#[test]
fn each_line_of_a_log_for_people_begins_with_a_time() {
    let setup = Setup::new();
    let command = setup.command();
    let mut text = Command::new(command.get_program());
    // The last of them counts for the tests, and may be given once.
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_owned()).collect();
    let place = arguments.iter().position(|argument| argument == "--log-format").unwrap();
    text.args(&arguments[..place]).args(&arguments[place + 2..]);
    let server = setup.launch(text);
    be_hostile(&server);
    let log = setup.settled_log(&server);
    assert!(log.lines().count() > 20);
    for line in log.lines() {
        assert!(line.starts_with("20") && line.as_bytes().get(10) == Some(&b'T'), "{line:?}");
    }
    assert!(!log.contains(FORGED), "what clients send is not logged as it stands");
}
