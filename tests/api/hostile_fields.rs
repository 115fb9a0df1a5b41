//! Hostile or broken header fields: each for a read, a status and a download.

use super::hostile::Expected::{Good, Library, Ours};
use super::hostile::{assert_unharmed, check};
use super::*;

const NOT_ACCEPTABLE: super::hostile::Expected = Ours(406, "structure");

#[test]
fn hostile_fields_are_refused_or_do_not_matter() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient");
    let at = |url: &str| url.split_once(raw::address(&server)).unwrap().1.to_string();
    let (request, file) = (at(&polling), at(&first_file(&manifest)));
    let group = "/r4/default/Group/All_Patients".to_string();
    let long = |n: usize| "x".repeat(n);
    let fields = [
        // Accept, whole and in pieces.
        ("Accept: application/xml".to_string(), NOT_ACCEPTABLE),
        ("Accept:".into(), Good(200)),
        ("Accept: \u{e9}".into(), NOT_ACCEPTABLE),
        ("Accept: */*;q=0".into(), NOT_ACCEPTABLE),
        ("Accept: ../../etc".into(), NOT_ACCEPTABLE),
        (format!("Accept: {}", "text/plain,".repeat(2000)), NOT_ACCEPTABLE),
        (format!("Accept: {}", long(20_000)), NOT_ACCEPTABLE),
        ("Accept: */*;q=0.001".into(), Good(200)),
        ("Accept: image/png\r\nAccept: */*".into(), Good(200)),
        ("Accept: */*, */*;q=0.5, nonsense".into(), Good(200)),
        // Conditions and ranges that are none.
        ("If-None-Match: nonsense".into(), Good(200)),
        ("If-None-Match: \"".into(), Good(200)),
        ("If-None-Match: \"a\", \"b\"\r\nIf-None-Match: \"c\"".into(), Good(200)),
        (format!("If-None-Match: {}", "\"x\",".repeat(4000)), Good(200)),
        ("If-Modified-Since: yesterday".into(), Good(200)),
        ("If-Match: \"x\"".into(), Ours(412, "conflict")),
        ("Range: bytes=".into(), Good(200)),
        ("Range: bytes=9-1".into(), Good(200)),
        ("Range: lines=1-2".into(), Good(200)),
        ("Range: bytes=0-0,2-2".into(), Good(200)),
        ("Range: bytes=18446744073709551616-".into(), Good(200)),
        ("Range: bytes=0-1\r\nIf-Range: nonsense".into(), Good(200)),
        // What would make another request of it.
        ("X-HTTP-Method-Override: DELETE".into(), Good(200)),
        ("X-Original-URL: /metrics".into(), Good(200)),
        ("X-Rewrite-URL: /metrics".into(), Good(200)),
        ("X-Forwarded-For: 127.0.0.1".into(), Good(200)),
        ("Forwarded: for=\"_x\";proto=https".into(), Good(200)),
        ("Authorization: Bearer x".into(), Good(200)),
        ("Authorization: Basic Og==\r\nAuthorization: Bearer y".into(), Good(200)),
        ("Cookie: a=b; c=d".into(), Good(200)),
        (format!("Cookie: {}", long(33_000)), Ours(431, "too-long")),
        ("Origin: null\r\nAccess-Control-Request-Method: DELETE".into(), Good(200)),
        // Preferences.
        ("Prefer: ;;;,,,===".into(), Good(200)),
        ("Prefer: respond-async; wait=-1".into(), Good(200)),
        ("Prefer: handling=\"".into(), Good(200)),
        (format!("Prefer: {}", "a,".repeat(5000)), Good(200)),
        ("Prefer: \u{e9}".into(), Good(200)),
        // Codings and connections.
        ("Accept-Encoding: *;q=0.0001".into(), Good(200)),
        ("Accept-Encoding: gzip;q=NaN, ,".into(), Good(200)),
        ("Accept-Language: ../..".into(), Good(200)),
        ("Accept-Charset: \u{0}".into(), Library(400)),
        ("TE: trailers, deflate;q=0.5".into(), Good(200)),
        ("Expect: nonsense".into(), Good(200)),
        ("Upgrade: websocket\r\nSec-WebSocket-Version: 13".into(), Good(200)),
        ("Content-Type: \u{ff}".into(), Good(200)),
        ("Content-Encoding: gzip".into(), Good(200)),
        ("Content-Length: 0\r\nContent-Length: 0".into(), Library(400)),
        ("Content-Length: +1".into(), Library(400)),
        ("Content-Length: 1e3".into(), Library(400)),
        ("Content-Length: 99999999999999999999".into(), Library(400)),
        ("Transfer-Encoding: chunked, identity".into(), Library(400)),
        ("Transfer-Encoding: gzip".into(), Library(400)),
        // Ids, names and lines.
        ("X-Request-Id: ".to_string() + &long(10_000), Good(200)),
        ("X-Request-Id: a\r\nX-Request-Id: b".into(), Good(200)),
        ("X-Request-Id: \u{1b}[31m".into(), Library(400)),
        ("opc-request-id: mine".into(), Good(200)),
        ("Host: y".into(), Library(400)),
        ("X-\u{e9}: 1".into(), Library(400)),
        ("X Y: 1".into(), Library(400)),
        ("X: a\rb".into(), Library(400)),
        ("X: a\nY: b".into(), Good(200)),
        ("\tX: folded".into(), Library(400)),
        (format!("{}: 1", long(40_000)), Ours(431, "too-long")),
        (format!("X: {}", long(200_000)), Library(431)),
    ];
    for path in [&group, &request, &file] {
        for (field, expected) in &fields {
            let head =
                format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{field}\r\n\r\n");
            check(&server, head.as_bytes(), *expected);
        }
    }
    assert_unharmed(&setup, &server);
    assert_eq!(get(&polling).status, 200, "no field has deleted it");
}

#[test]
fn who_the_client_says_that_we_are_is_in_no_url() {
    let setup = Setup::new();
    let server = setup.start();
    for field in [
        "Host: evil.example",
        "Host: localhost\r\nX-Forwarded-Host: evil.example",
        "Host: localhost\r\nForwarded: host=evil.example",
    ] {
        for path in ["metadata", "Group", "OperationDefinition", "$export"] {
            let head = format!(
                "GET /r4/default/{path} HTTP/1.1\r\n{field}\r\nPrefer: respond-async\r\nAccept: */*\r\nConnection: close\r\n\r\n"
            );
            let answer = raw::exchange(&server, head.as_bytes()).unwrap();
            let is_misdirected = field == "Host: evil.example";
            assert!(matches!((answer.status, is_misdirected), (421, true) | (200 | 202, false)), "{head}");
            let location = answer.header("content-location");
            let body = String::from_utf8(answer.body.clone()).unwrap();
            assert!(!location.contains("evil") && !body.contains("evil"), "{field} {path}");
        }
    }
}
