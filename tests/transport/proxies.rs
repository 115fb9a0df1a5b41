//! What trusted proxies say is believed, and nobody else. The table of forms stands in
//! `src/http/middleware/forwarded/tests.rs`; here it is what comes of it.

use super::*;

/// A kick-off over a connection from 127.0.0.`last`; gives the answer's head.
fn kickoff(server: &Server, last: u8, fields: &str) -> String {
    let request = format!(
        "GET /r4/default/$export?_type=Patient HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\
         Prefer: respond-async\r\n{fields}\r\n"
    );
    let (status, head, body) = ask(&mut tcp_from(server, last).unwrap(), request.as_bytes());
    assert_eq!(status, 202, "{}", body.escape_ascii());
    head
}

fn origin(head: &str) -> String {
    field(head, "content-location").unwrap().split_once("/r4/").unwrap().0.to_string()
}

/// The addresses of clients that the log has, once it has as many requests.
fn logged(setup: &Setup, requests: usize) -> Vec<String> {
    let client = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["span"]["client"].as_str().unwrap_or_default().to_string()
    };
    eventually("the lines of the log", || {
        let log = setup.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains("\"answered\"")).map(client).collect();
        (lines.len() >= requests).then_some(lines)
    })
}

const X: &str = "X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\
                 X-Forwarded-Host: fhir.example.org\r\n";

#[test]
fn a_trusted_proxy_tells_the_address_and_the_origin_of_the_client() {
    let setup = Setup::new().set("server.trusted_proxies=127.0.0.2");
    let server = setup.start();
    let head = kickoff(&server, 2, X);
    assert_eq!(origin(&head), "https://fhir.example.org");
    assert!(field(&head, "strict-transport-security").is_some(), "TLS ends at the proxy: {head}");
    assert_eq!(logged(&setup, 1), ["192.0.2.7"]);
    // Over plain HTTP: no HSTS; what is malformed voids itself alone.
    let head = kickoff(&server, 2, &X.replace("https", "http"));
    assert_eq!(origin(&head), "http://fhir.example.org");
    assert_eq!(field(&head, "strict-transport-security"), None);
    let head = kickoff(&server, 2, &X.replace("192.0.2.7", "nonsense"));
    assert_eq!(origin(&head), "https://fhir.example.org");
    assert_eq!(logged(&setup, 3).last().unwrap(), "127.0.0.2");
    let head = kickoff(&server, 2, &X.replace("6.6.6.6", "nonsense"));
    assert_eq!(origin(&head), "https://fhir.example.org");
    assert_eq!(logged(&setup, 4).last().unwrap(), "192.0.2.7");
    // The other kind of field is the client's own.
    let head = kickoff(&server, 2, "Forwarded: for=6.6.6.6;host=evil.example\r\n");
    assert_eq!(origin(&head), format!("http://{}", address(&server)));
    assert_eq!(logged(&setup, 5).last().unwrap(), "127.0.0.2");
}

#[test]
fn forwarded_of_rfc_7239_is_believed_where_it_is_what_the_proxies_set() {
    let setup = Setup::new().set("server.trusted_proxies=127.0.0.0/30").set("server.proxy_fields=forwarded");
    let server = setup.start();
    let two = "Forwarded: for=6.6.6.6;host=evil, \
               for=\"[2001:db8::7]:4711\";proto=https;host=fhir.example.org\r\n\
               Forwarded: for=127.0.0.3;host=inner;proto=http\r\n";
    assert_eq!(origin(&kickoff(&server, 2, two)), "https://fhir.example.org");
    assert_eq!(logged(&setup, 1), ["2001:db8::7"]);
    assert_eq!(origin(&kickoff(&server, 2, X)), format!("http://{}", address(&server)));
    assert_eq!(origin(&kickoff(&server, 7, two)), format!("http://{}", address(&server)), "no proxy of ours");
    assert_eq!(logged(&setup, 3)[1..], ["127.0.0.2", "127.0.0.7"]);
}

#[test]
fn public_url_wins_over_every_proxy() {
    let setup = Setup::new()
        .set("server.trusted_proxies=127.0.0.0/8")
        .set("server.public_url=https://public.example.org");
    let server = setup.start();
    assert_eq!(origin(&kickoff(&server, 1, X)), "https://public.example.org");
    let head = kickoff(&server, 1, "");
    assert_eq!(origin(&head), "https://public.example.org");
    assert!(field(&head, "strict-transport-security").is_some(), "the proxy says nothing of TLS: {head}");
}

#[test]
fn whoever_is_no_trusted_proxy_changes_nothing() {
    let setup = Setup::new().set("server.trusted_proxies=127.0.0.2");
    let server = setup.start();
    let head = kickoff(&server, 1, X);
    assert_eq!(origin(&head), format!("http://{}", address(&server)));
    assert_eq!(field(&head, "strict-transport-security"), None);
    assert_eq!(logged(&setup, 1), ["127.0.0.1"]);
}

#[test]
fn clients_behind_a_proxy_are_limited_one_by_one() {
    let setup = Setup::new()
        .set("server.trusted_proxies=127.0.0.1")
        .set("limits.requests_per_second_per_address=1")
        .set("limits.connections_per_address=1");
    let server = setup.start();
    let from = |told: &str| {
        let request = format!(
            "GET /r4/default/metadata HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {told}\r\n\
             Connection: close\r\n\r\n"
        );
        ask(&mut tcp(&server), request.as_bytes()).0
    };
    // Whatever the client puts before what the proxy says of it, and where the proxy says nothing:
    // loopback is exempt, and the proxy is on loopback.
    for (told, another) in [
        ("6.6.6.6, 192.0.2.7", "192.0.2.8"),
        ("x, 192.0.2.17", "x, 192.0.2.18"),
        ("fe80::1%eth0, \"a, 192.0.2.27", "192.0.2.28"),
        ("192.0.2.37, unknown", "unknown, 192.0.2.38"),
    ] {
        let refused = (0..100).find(|_| from(told) == 429).expect("a refusal");
        assert!((10..=15).contains(&refused), "{told}: {refused}");
        assert_eq!(from(another), 200);
    }
    // The proxy may have as many connections as it likes.
    let held: Vec<_> = (0..20).map(|_| tcp(&server)).collect();
    assert_eq!(from("192.0.2.9"), 200);
    drop(held);
}
