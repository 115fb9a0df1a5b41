//! Host injection: whatever a client says of the host, no URL that is given to anybody has it.

use serde_json::Value;

use super::*;
use crate::support::smart::Client;

/// The ways in which a client can say where it believes to be: the beginning of the request's
/// target, and header fields.
fn tricks() -> Vec<(&'static str, String)> {
    let host = |value: &str| format!("Host: {value}\r\n");
    let with = |field: &str| format!("Host: localhost\r\n{field}\r\n");
    vec![
        ("", host("evil.example")),
        ("", host("evil.example:80")),
        ("", host("user:pass@evil.example")),
        ("", host("evil.example/path")),
        ("", host("evil.example?x=")),
        ("", host("evil.example#")),
        ("", host("127.0.0.1@evil.example")),
        ("", host("[evil.example]")),
        ("", host("\"><script>alert(1)</script>evil.example")),
        ("", host("")),
        ("", host("a\r\nHost: evil.example")),
        ("", with("X-Forwarded-Host: evil.example")),
        (
            "",
            with("X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.1"),
        ),
        ("", with("X-Forwarded-Port: 666\r\nX-Forwarded-Prefix: /evil.example")),
        ("", with("Forwarded: host=evil.example;proto=https;for=127.0.0.1")),
        (
            "",
            with(
                "X-Host: evil.example\r\nX-Original-Host: evil.example\r\nX-HTTP-Host-Override: evil.example",
            ),
        ),
        ("", with("X-Original-URL: http://evil.example/\r\nX-Rewrite-URL: http://evil.example/")),
        ("http://evil.example", host("x")),
        ("https://evil.example", host("evil.example")),
        ("http://user@evil.example", host("x")),
        ("//evil.example", host("x")),
        ("", String::new()),
    ]
}

/// Everything that a request was answered: head and body, as text.
fn answer(server: &Server, method: &str, prefix: &str, path: &str, fields: &str) -> (u16, String) {
    let request = format!(
        "{method} {prefix}{path} HTTP/1.1\r\n{fields}Accept: application/fhir+json\r\n\
         Prefer: respond-async\r\nConnection: close\r\n\r\n"
    );
    let mut stream = tcp(server);
    stream.write_all(request.as_bytes()).unwrap();
    let bytes = read_all(&mut stream);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    (text.split(' ').nth(1).map_or(0, |status| status.parse().unwrap()), text)
}

/// All URLs in a JSON document.
fn urls(json: &Value, found: &mut Vec<String>) {
    match json {
        Value::String(text) if text.starts_with("http") => found.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| urls(value, found)),
        Value::Object(values) => values.values().for_each(|value| urls(value, found)),
        _ => {}
    }
}

/// Whether a request says that it is for this machine.
fn is_local(prefix: &str, fields: &str) -> bool {
    !prefix.starts_with("http") && (fields.is_empty() || fields.starts_with("Host: localhost\r\n"))
}

/// What a server answers of which each URL should begin with `own`. With a token it answers for all
/// hosts, without one for those of this machine alone.
fn check_all(server: &Server, own: &str, token: Option<&str>) {
    let authorization = token.unwrap_or("Bearer none");
    let url = format!("{}/$export?_type=Patient,Group", server.base);
    let kickoff = send("GET", &url, &[KICKOFF[0], KICKOFF[1], ("Authorization", authorization)]);
    let polling = kickoff.header("content-location").to_string();
    let poll = || send("GET", &polling, &[("Authorization", authorization)]);
    eventually("the export", || (poll().status == 200).then_some(()));
    let polling = format!("/r4{}", polling.split_once("/r4").unwrap().1);
    let (mut answered, mut misdirected) = (0, 0);
    for (prefix, fields) in tricks() {
        let is_meant = token.is_some() || is_local(prefix, &fields);
        let fields = format!("{fields}Authorization: {authorization}\r\n");
        for (method, path) in [
            ("GET", "/r4/default/$export?_type=Patient"),
            ("GET", "/r4/default/Group/All_Patients/$export"),
            ("GET", polling.as_str()),
            ("GET", "/r4/default/metadata"),
            ("GET", "/r4/default/.well-known/smart-configuration"),
            ("GET", "/r4/default/OperationDefinition"),
            ("GET", "/r4/default/OperationDefinition/export"),
            ("GET", "/r4/default/Group"),
            ("GET", "/r4/default/Group/nobody"),
            ("GET", "/openapi.json"),
            ("GET", "/nowhere"),
            ("DELETE", "/r4/default/bulk-api/request/nothing"),
            ("PUT", "/r4/default/$export"),
        ] {
            let (status, text) = answer(server, method, prefix, path, &fields);
            let what = format!("{method} {prefix}{path} with {fields:?}: {text}");
            assert!(!text.contains("evil") && !text.contains(":666"), "{what}");
            assert!(status < 500, "{what}");
            // What is no HTTP is a 400.
            assert!(is_meant != (status == 421) || status == 400, "{what}");
            answered += usize::from((200..300).contains(&status));
            misdirected += usize::from(status == 421);
            if let Some(location) = field(&text, "content-location") {
                assert!(location.starts_with(own), "{what}");
            }
            check_urls(&text, path, own);
        }
    }
    match token {
        Some(_) => assert!(answered > 100 && misdirected == 0, "most of them are answered: {answered}"),
        None => assert!(answered > 40 && misdirected > 100, "{answered}, {misdirected}"),
    }
}

/// Each URL below `/r4` in a body is one of this server.
fn check_urls(text: &str, path: &str, own: &str) {
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let Ok(json) = serde_json::from_str::<Value>(body) else { return };
    let mut found = Vec::new();
    urls(&json, &mut found);
    for url in found.iter().filter(|url| url.contains("/r4/default")) {
        assert!(url.starts_with(own), "{path}: {url}");
    }
    if path.contains("/bulk-api/request/") && text.starts_with("HTTP/1.1 200") {
        assert!(json["request"].as_str().unwrap().starts_with(own), "{json}");
        assert!(json["output"][0]["url"].as_str().unwrap().starts_with(own), "{json}");
    }
    if path == "/openapi.json" && text.starts_with("HTTP/1.1 200") {
        assert_eq!(json["servers"][0]["url"], own);
    }
}

/// A server that asks for tokens, and one.
fn smart(settings: &[&str]) -> (Setup, Server, String) {
    let client = Client::new("acme");
    let rest = "scopes = 'system/*.rs'\ngroups = '*'\nsystem_export = true\npatient_export = true";
    let setup =
        settings.iter().fold(Setup::new(), |setup, setting| setup.set(setting)).smart_for(&client, rest);
    let server = setup.start();
    let token = client.bearer(&server, "system/*.rs");
    (setup, server, token)
}

#[test]
fn no_client_changes_the_host_of_a_url_that_is_given() {
    let (_setup, server, token) = smart(&[]);
    check_all(&server, &format!("http://{}", address(&server)), Some(&token));
}

#[test]
fn no_client_changes_the_host_where_other_proxies_are_trusted() {
    let (_setup, server, token) = smart(&["server.trusted_proxies=10.0.0.0/8"]);
    check_all(&server, &format!("http://{}", address(&server)), Some(&token));
}

#[test]
fn without_authentication_requests_for_other_hosts_are_misdirected() {
    let setup = Setup::new().set("server.trusted_proxies=127.0.0.1");
    let server = setup.start();
    let (status, text) = answer(&server, "GET", "", "/r4/default/metadata", "Host: evil.example\r\n");
    assert_eq!(status, 421);
    assert!(text.contains("OperationOutcome") && text.contains("\"security\""), "{text}");
    drop(server);
    let setup = Setup::new();
    let server = setup.start();
    check_all(&server, &format!("http://{}", address(&server)), None);
    for path in ["/healthz", "/readyz", "/openapi.json", "/nowhere"] {
        assert_eq!(answer(&server, "GET", "", path, "Host: evil.example\r\n").0, 421, "{path}");
    }
    // The operators' listener is on loopback in any case.
    let (_setup, server, _) = smart(&[]);
    let operators: SocketAddr = server.operators.strip_prefix("http://").unwrap().parse().unwrap();
    for (host, status) in [("evil.example", 421), ("localhost", 200), ("127.0.0.1:1", 200)] {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let mut stream = patient(TcpStream::connect(operators).unwrap());
        assert_eq!(ask(&mut stream, request.as_bytes()).0, status, "{host}");
    }
}

#[test]
fn not_even_a_trusted_proxy_changes_public_url() {
    let setup = Setup::new()
        .set("server.trusted_proxies=127.0.0.1")
        .set("server.public_url=https://public.example.org");
    let server = setup.start();
    let fields =
        "Host: public.example.org:8443\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: http\r\n";
    let (status, text) = answer(&server, "GET", "", "/r4/default/$export?_type=Patient", fields);
    assert_eq!(status, 202);
    assert!(text.to_ascii_lowercase().contains("content-location: https://public.example.org/r4/"), "{text}");
}
