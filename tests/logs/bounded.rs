//! Whatever a client sends, a line of the log and an event of the audit log stay short (P13), and
//! have none of it as it stands (P12).

use std::fmt::Write;

use crate::api::raw;
use crate::support::smart::{ASSERTION_TYPE, Client, ask_form, jwt};
use crate::support::*;

/// The longest line of the log that a request may make, in bytes.
const LONGEST_LINE: usize = 600;

/// The longest event of the audit log, in bytes.
const LONGEST_EVENT: usize = 2500;

/// What clients say that would like to be read in a log.
const MARK: &str = "SMITH";

/// Text of that many bytes.
fn long(bytes: usize) -> String {
    MARK.repeat(bytes / MARK.len())
}

/// Requests of which one part is as long as the server takes, or longer.
fn requests(bearer: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut ask = |line: String, fields: &str, body: &str| {
        let mut head = format!("{line} HTTP/1.1\r\n{fields}");
        if !fields.contains("Host") {
            head.push_str("Host: localhost\r\n");
        }
        write!(head, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        all.push(head);
    };
    let asks = [String::new(), format!("Authorization: {bearer}\r\n")];
    for ask_as in &asks {
        for bytes in [20, 8_000, 30_000, 60_000] {
            let text = long(bytes);
            ask(format!("{text} /r4/default/metadata"), ask_as, "");
            ask(format!("{text} /r4/default/$export"), ask_as, "");
            ask(format!("{text} /"), ask_as, "");
            for path in [
                format!("/{text}"),
                format!("/r4/{text}/metadata"),
                format!("/r4/{text}/$export"),
                format!("/r4/default/Group/{text}/$export"),
                format!("/r4/default/Group/{text}"),
                format!("/r4/default/Binary/{text}?request={text}&proof={text}"),
                format!("/r4/default/bulk-api/request/{text}"),
                format!("/r4/default/bulk-api/download/{text}/{text}"),
                format!("/r4/default/$export?_type={text}"),
                format!("/r4/default/$export?{text}=x"),
                format!("/r4/default/$export?access_token={text}"),
                format!("/r4/default/Export/DeleteRequest?request={text}"),
                format!("/{}/%0a", text.replace("IT", "%00")),
            ] {
                for method in ["GET", "DELETE", "POST"] {
                    ask(format!("{method} {path}"), &format!("{ask_as}Prefer: respond-async\r\n"), "");
                }
            }
            for name in [
                "X-Request-Id",
                "User-Agent",
                "Accept",
                "Prefer",
                "Host",
                "Origin",
                "Range",
                "If-None-Match",
                "Accept-Encoding",
                "Content-Type",
                "Content-Encoding",
                "X-Forwarded-For",
                "Forwarded",
                "Referer",
                "Expect",
                "Authorization",
                "Authorization: Bearer",
            ] {
                let colon = if name.contains(':') { "" } else { ":" };
                for line in ["GET /r4/default/$export", "POST /r4/default/auth/token", "GET /r4/default/x"] {
                    let other = if name.starts_with("Auth") { "" } else { ask_as };
                    ask(line.into(), &format!("{other}{name}{colon} {text}\r\n"), "");
                }
            }
            let json = format!("{ask_as}Content-Type: application/fhir+json\r\nPrefer: respond-async\r\n");
            for parameter in [
                format!(r#"{{"name":"{text}","valueString":"{text}"}}"#),
                format!(r#"{{"name":"_type","valueString":"{text}"}}"#),
                format!(r#"{{"name":"_type","{text}":"{text}"}}"#),
                format!(r#"{{"name":"patient","valueReference":{{"reference":"Patient/{text}"}}}}"#),
                format!(r#"{{"name":"_typeFilter","valueString":"Patient?{text}"}}"#),
            ] {
                let body = format!(r#"{{"resourceType":"Parameters","parameter":[{parameter}]}}"#);
                ask("POST /r4/default/Patient/$export".into(), &json, &body);
            }
            ask("POST /r4/default/$export".into(), &json, &format!(r#"{{"resourceType":"{text}"}}"#));
        }
    }
    all
}

/// Token requests of clients that are not known, each with one long part.
fn ask_for_tokens(server: &Server) {
    let client = Client::new(MARK);
    for text in [20, 256, 3_000, 11_000].map(long) {
        let (header, claims) = (client.header(), client.claims(&server.base));
        let with = |json: &serde_json::Value, key: &str| {
            let mut json = json.clone();
            json[key] = text.clone().into();
            json
        };
        let mut named = claims.clone();
        (named["iss"], named["sub"]) = (text.clone().into(), text.clone().into());
        let mut assertions = vec![text.clone(), client.sign(&header, &named)];
        assertions.extend(
            ["alg", "kid", "typ", "jku", "crit"].map(|key| client.sign(&with(&header, key), &claims)),
        );
        assertions.extend(["iss", "sub", "aud", "jti"].map(|key| client.sign(&header, &with(&claims, key))));
        assertions.push(jwt(&header, &claims, |_| text.clone().into_bytes()));
        for assertion in &assertions {
            let form = [
                ("grant_type", "client_credentials"),
                ("scope", text.as_str()),
                ("client_assertion_type", ASSERTION_TYPE),
                ("client_assertion", assertion),
            ];
            ask_form(&server.base, &form);
        }
        for name in ["grant_type", "client_assertion_type", "client_id", "scope", text.as_str()] {
            ask_form(&server.base, &[(name, &text), ("client_assertion", &text)]);
        }
    }
}

#[test]
fn p13_the_longest_line_of_the_log_and_the_longest_audit_event_are_short_whatever_is_sent() {
    let client = Client::new("acme");
    let all = "scopes = 'system/*.rs'\ngroups = '*'\nsystem_export = true\npatient_export = true";
    let setup = Setup::new().smart_for(&client, all).set("audit.max_refusals=1000000");
    let server = setup.start();
    let bearer = client.bearer(&server, "system/*.rs");
    for request in requests(&bearer) {
        raw::exchange(&server, request.as_bytes());
    }
    ask_for_tokens(&server);
    for (name, value) in [("reason", long(60_000)), (MARK, long(30_000))] {
        let body = format!("{{\"{name}\":\"{value}\"}}");
        let url = format!("{}/admin/reaper/pause", server.operators);
        put(&url, &[("Authorization", &format!("Bearer {}", long(30_000)))], &body);
    }
    let log = setup.settled_log(&server);
    server.kill();

    assert!(log.lines().count() > 500);
    let longest = log.lines().max_by_key(|line| line.len()).unwrap();
    assert!(longest.len() <= LONGEST_LINE, "{} bytes: {longest:.1000}", longest.len());
    assert!(!log.contains(MARK), "P12");
    let events: String = std::fs::read_dir(setup.data_dir().join("audit"))
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    assert!(events.lines().count() > 100);
    let longest = events.lines().max_by_key(|line| line.len()).unwrap();
    assert!(longest.len() <= LONGEST_EVENT, "{} bytes: {longest:.3000}", longest.len());
    assert!(!events.contains(MARK), "P12");
}
