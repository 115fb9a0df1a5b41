//! Requests that mean harm, or that nobody meant: the server answers each with a 4xx (or
//! closes the connection), never with a 5xx, never keeps anybody waiting, and goes on.

use std::sync::OnceLock;

use super::openapi::Documented;
use super::raw::exchange;
use super::*;

/// Who answers, and what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Expected {
    /// Our routes: an OperationOutcome with this status and code, and a request id.
    Ours(u16, &'static str),
    /// Our routes, with success.
    Good(u16),
    /// The HTTP library, before there is a request that could be routed: a bare status
    /// without a body. Nothing of ours has run.
    Library(u16),
    /// The connection ends without an answer: the request never came to its end.
    Closed,
}
use Expected::{Closed, Good, Library, Ours};

const GOOD: &str = "Host: localhost\r\nAccept: application/json\r\nPrefer: respond-async\r\n";

/// Sends it, and looks whether the answer is the expected one, and one that is documented.
pub fn check(server: &Server, request: &[u8], expected: Expected) {
    let what = raw::shown(request);
    let answer = exchange(server, request);
    match expected {
        Closed => assert!(answer.is_none(), "{what}: {answer:?}"),
        Library(status) => {
            let answer = answer.unwrap_or_else(|| panic!("{what}: no answer"));
            assert_eq!((answer.status, answer.body.len()), (status, 0), "{what}: {answer:?}");
            assert_eq!(answer.header("x-request-id"), "", "{what}: the library has no ids");
        }
        Good(status) | Ours(status, _) => {
            let answer = answer.unwrap_or_else(|| panic!("{what}: no answer"));
            assert!(is_uuid(answer.header("x-request-id")), "{what}: {answer:?}");
            assert_eq!(answer.header("x-request-id"), answer.header("opc-request-id"), "{what}");
            assert_eq!(answer.status, status, "{what}: {}", raw::shown(&answer.body));
            assert!(is_documented(server, request, status), "{what}: {status} is not documented");
            if let Ours(_, code) = expected {
                assert_eq!(answer.issue(), ("error".into(), code.into()), "{what}");
                assert!(answer.body.len() < 2000, "{what}: nothing is echoed without bounds");
                assert!(answer.body.iter().all(|b| *b >= 0x20), "{what}: one line, nothing raw");
            }
        }
    }
}

/// Whether the OpenAPI document has such an answer to the request.
fn is_documented(server: &Server, request: &[u8], status: u16) -> bool {
    static DOCUMENTED: OnceLock<Documented> = OnceLock::new();
    let documented = DOCUMENTED.get_or_init(|| Documented::by(server));
    let text = String::from_utf8_lossy(request);
    let mut words = text.trim_start().split([' ', '\r']);
    let (method, url) = (words.next().unwrap(), words.next().unwrap());
    // Absolute form, RFC 9112 section 3.2.2.
    let path = url.strip_prefix("http://").map_or(url, |rest| &rest[rest.find('/').unwrap()..]);
    documented.allows(method, path, status)
}

/// As `check`, for a request line and more header fields.
pub fn check_line(server: &Server, line: &str, fields: &str, expected: Expected) {
    let request = format!("{line}\r\n{GOOD}Connection: close\r\n{fields}\r\n");
    check(server, request.as_bytes(), expected);
}

/// The server still does its work, and nothing went wrong inside.
pub fn assert_unharmed(setup: &Setup, server: &Server) {
    assert_eq!(exported(&server.export("$export?_type=Patient").1)["Patient"].len(), 30);
    let log = setup.settled_log(server);
    assert!(!log.contains("panicked"), "{log}");
    // The HTTP library calls a client's mistake an error of its own; nothing of ours does.
    let ours = |line: &&str| line.contains("\"ERROR\"") && line.contains("\"target\":\"evanesce");
    assert_eq!(log.lines().find(ours), None);
}

#[test]
fn hostile_urls_get_an_outcome_and_do_no_harm() {
    let setup = Setup::new();
    let server = setup.start();
    let b = "/r4/default";
    let id = "6ccfb23c-34ff-4f4f-9f77-d54b92e10bd4";
    let not_found = Ours(404, "not-found");
    let structure = Ours(400, "structure");
    let long = |n: usize| "x".repeat(n);
    let parameters = "&_type=Patient".repeat(500);
    let nonsense: String = (0..1000).map(|n| format!("&p{n}={n}")).collect();
    for (path, expected) in [
        // Percent escapes that are none; NUL; not UTF-8; overlong UTF-8; surrogates.
        (format!("{b}/$export?_type=%"), structure),
        (format!("{b}/$export?_type=%2"), structure),
        (format!("{b}/$export?_type=%g0"), structure),
        (format!("{b}/$export?_type=%%50atient"), structure),
        (format!("{b}/$export?_type=%ff%fe"), structure),
        (format!("{b}/$export?_type=%c0%ae"), structure),
        (format!("{b}/$export?_type=%ed%a0%80"), structure),
        (format!("{b}/$export?_type=%00"), Ours(400, "invalid")),
        (format!("{b}/$export?_type=Patient%00"), Ours(400, "invalid")),
        (format!("{b}/$export?_type=Patient%0d%0aSet-Cookie:x"), Ours(400, "invalid")),
        (format!("{b}/$export?%0d%0aX:=1"), Ours(400, "not-supported")),
        (format!("{b}/$export?_type=%3Cscript%3Ealert(1)%3C/script%3E"), Ours(400, "invalid")),
        (format!("{b}/$export?_type=%F0%9F%92%A9"), Ours(400, "invalid")),
        (format!("{b}/$export?_type=Patient';DROP+TABLE+jobs--"), Ours(400, "invalid")),
        (format!("{b}/$export?_type=${{jndi:ldap://x}}"), Ours(400, "invalid")),
        (format!("{b}/$export?_outputFormat={}", long(3000)), Ours(400, "invalid")),
        (format!("{b}/$export?{}", long(3000)), Ours(400, "not-supported")),
        (format!("{b}/$export?{}=1", "%f0%9f%92%a9".repeat(300)), Ours(400, "not-supported")),
        (format!("{b}/$export?{}", "&".repeat(5000)), Good(202)),
        (format!("{b}/$export?{}", "=".repeat(5000)), Ours(400, "not-supported")),
        (format!("{b}/$export?{parameters}"), Good(202)),
        (format!("{b}/$export?{nonsense}"), Ours(414, "too-long")),
        (format!("{b}/$export?_type={}", "Patient,".repeat(900)), Ours(400, "invalid")),
        (format!("{b}/$export?{}", long(8192)), Ours(414, "too-long")),
        (format!("{b}/{}", long(60_000)), Ours(414, "too-long")),
        (format!("{b}/bulk-api/request/{}", long(8100)), not_found),
        (format!("{b}/$export?_since={}", long(3000)), Ours(400, "invalid")),
        (format!("{b}/$export?_since=2024-01-01T00:00:00.{}Z", "9".repeat(7000)), Good(202)),
        (format!("{b}/$export?_until=%F0%9F%92%A9"), Ours(400, "invalid")),
        (format!("{b}/$export?_until=%0d%0aSet-Cookie:x"), Ours(400, "invalid")),
        // Groups.
        (format!("{b}/Group/%ff/$export"), structure),
        (format!("{b}/Group/%ed%a0%80/$export"), structure),
        (format!("{b}/Group/%/$export"), structure),
        (format!("{b}/Group/%%41ll_Patients/$export"), structure),
        (format!("{b}/Group//$export"), not_found),
        (format!("{b}/Group/All_Patients/../$export"), not_found),
        (format!("{b}/Group%2fAll_Patients/$export"), not_found),
        (format!("{b}/Group/{}/$export", long(8192)), Ours(414, "too-long")),
        // Paths.
        ("/".into(), not_found),
        ("//".into(), not_found),
        ("/r4".into(), not_found),
        ("/r4/".into(), not_found),
        ("/r4//$export".into(), not_found),
        (format!("/{b}/$export"), not_found),
        (format!("{b}///$export"), not_found),
        (format!("{b}/./$export"), not_found),
        (format!("{b}/x/../$export"), not_found),
        (format!("{b}/%2e%2e/default/$export"), not_found),
        (format!("{b}/..%2fdefault/$export"), not_found),
        (format!("{b}%2f$export"), not_found),
        (format!("{b};jsessionid=1/$export"), not_found),
        (format!("{b}/$export;x"), not_found),
        (format!("{b}/$export%00"), not_found),
        (format!("{b}/$export%20"), not_found),
        ("/r4/Default/$export".into(), not_found),
        ("/r4/default%00/$export".into(), not_found),
        ("/r4/%64efault/$export".into(), Good(202)),
        ("/r4/%ff/$export".into(), not_found),
        (format!("/r4/{}/$export", long(1000)), not_found),
        ("/r4/../../../etc/passwd".into(), not_found),
        ("/..%2f..%2f..%2fetc%2fpasswd".into(), not_found),
        (format!("{b}/bulk-api/request/{id}/"), not_found),
        (format!("{b}/bulk-api/request/{id}/.."), not_found),
        (format!("{b}/bulk-api/request/"), not_found),
        (format!("{b}/bulk-api/request/%ff"), not_found),
        (format!("{b}/bulk-api/request/{id}%0a"), not_found),
        (format!("{b}/bulk-api/request/{id}?x=%"), not_found),
        (format!("{b}/bulk-api/request/{}", long(36)), not_found),
        (format!("{b}/Export/DeleteRequest?request=%ff"), structure),
        (format!("{b}/Export/DeleteRequest?request={}", long(4000)), not_found),
        (format!("{b}/Export/DeleteRequest?request={id}%00"), not_found),
        (format!("{b}/Export/DeleteRequest?request=../{id}"), not_found),
        (format!("{b}/metadata?_format=%"), structure),
        ("/metrics/../r4".into(), not_found),
        ("/healthz/".into(), not_found),
    ] {
        check_line(&server, &format!("GET {path} HTTP/1.1"), "", expected);
    }
    assert_unharmed(&setup, &server);
    let log = setup.settled_log(&server);
    assert!(!log.contains("script") && !log.contains("DROP"), "P12: parameters are not logged");
}

#[test]
fn hostile_heads_and_bodies_get_a_refusal_and_do_no_harm() {
    let setup = Setup::new();
    let server = setup.start();
    let url = "/r4/default/$export";
    let polling = server.kickoff("$export?_type=Patient");
    let request = polling.split_once(raw::address(&server)).unwrap().1;
    let long = |n: usize| "x".repeat(n);
    let fields: String = (0..90).map(|n| format!("X-{n}: {}\r\n", long(400))).collect();
    let many: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    let prefers = "Prefer: x, y\r\n".repeat(50);
    let ranges = format!("Range: bytes={}\r\n", "0-1,".repeat(2000));
    for (line, fields, expected) in [
        // Methods and versions.
        (format!("BREW {url} HTTP/1.1"), "", Ours(405, "not-supported")),
        (format!("get {url} HTTP/1.1"), "", Ours(405, "not-supported")),
        (format!("TRACE {url} HTTP/1.1"), "", Ours(405, "not-supported")),
        (format!("CONNECT {url} HTTP/1.1"), "", Ours(405, "not-supported")),
        (format!("{} {url} HTTP/1.1", long(5000)), "", Ours(405, "not-supported")),
        (format!("GET {url} HTTP/1.0"), "", Good(202)),
        (format!("GET {url} HTTP/2.0"), "", Library(400)),
        (format!("GET {url} HTTP/9"), "", Library(400)),
        (format!("GET {url}"), "", Library(400)),
        (format!("G\u{0}T {url} HTTP/1.1"), "", Library(400)),
        (format!("GET  {url} HTTP/1.1"), "", Library(400)),
        (format!("GET {url}\t HTTP/1.1"), "", Library(400)),
        ("GET  HTTP/1.1".into(), "", Library(400)),
        ("HELO example.org".into(), "", Library(400)),
        // The URL in other forms.
        (format!("GET http://evil.example{url} HTTP/1.1"), "", Ours(421, "security")),
        ("GET * HTTP/1.1".into(), "", Ours(404, "not-found")),
        ("OPTIONS * HTTP/1.1".into(), "", Ours(404, "not-found")),
        ("GET r4/default HTTP/1.1".into(), "", Library(400)),
        (format!("GET {url}#fragment HTTP/1.1"), "", Good(202)),
        (format!("GET {url}\u{1} HTTP/1.1"), "", Library(400)),
        (format!("GET {url}?_type=\u{e9} HTTP/1.1"), "", Library(400)),
        // Header fields.
        (format!("GET {url} HTTP/1.1"), "NoColon\r\n", Library(400)),
        (format!("GET {url} HTTP/1.1"), ": empty\r\n", Library(400)),
        (format!("GET {url} HTTP/1.1"), "Bad Name: x\r\n", Library(400)),
        (format!("GET {url} HTTP/1.1"), "X: a\u{0}b\r\n", Library(400)),
        (format!("GET {url} HTTP/1.1"), "X: a\u{1}b\r\n", Library(400)),
        (format!("GET {url} HTTP/1.1"), " folded: x\r\n", Library(400)),
        (format!("GET {url} HTTP/1.1"), &fields, Ours(431, "too-long")),
        (format!("GET {url} HTTP/1.1"), &many, Library(431)),
        (format!("GET {url} HTTP/1.1"), "Accept: \u{e9}\u{fffd}\r\n", Good(202)),
        (format!("GET {url} HTTP/1.1"), &prefers, Good(202)),
        (format!("GET {request} HTTP/1.1"), &ranges, Good(200)),
        (format!("GET {request} HTTP/1.1"), "Accept: ;;;,,,q=\r\n", Good(200)),
        (format!("GET {request} HTTP/1.1"), "Content-Length: -1\r\n\r\n", Library(400)),
        (format!("GET {request} HTTP/1.1"), "Content-Length: 1\r\nContent-Length: 2\r\n", Library(400)),
        (
            format!("GET {request} HTTP/1.1"),
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            Library(400),
        ),
        (format!("GET {request} HTTP/1.1"), "Transfer-Encoding: nonsense\r\n", Library(400)),
        (format!("GET {request} HTTP/1.1"), "Transfer-Encoding: chunked\r\n\r\nnonsense", Good(200)),
        (format!("GET {request} HTTP/1.1"), "Content-Length: 100000\r\n\r\nshort", Good(200)),
        (format!("POST {url} HTTP/1.1"), "Content-Length: 5\r\n\r\n{\"x\":", Ours(415, "structure")),
        (format!("GET {request} HTTP/1.1"), "Expect: 100-continue\r\n", Good(200)),
        (format!("GET {request} HTTP/1.1"), "Upgrade: h2c\r\nConnection: upgrade\r\n", Good(200)),
    ] {
        check_line(&server, &line, fields, expected);
    }
    assert_unharmed(&setup, &server);
}

#[test]
fn what_is_no_request_is_refused_or_dropped() {
    let setup = Setup::new();
    let server = setup.start();
    let head = "GET /r4/default/metadata HTTP/1.1\r\nHost: localhost\r\n";
    let endless = format!("{head}X: {}", "x".repeat(400_000));
    let unfinished = format!("{head}Content-Length: 10\r\n");
    let upload = |method: &str| {
        let head = format!(
            "{method} /r4/default/metadata HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n"
        );
        [head.into_bytes(), vec![b'x'; 8_000_000]].concat()
    };
    let smuggled = format!("{head}Content-Length: 0\r\n\r\nGET /r4/default/$export HTTP/1.1\r\n\r\n");
    for (request, expected) in [
        (&b""[..], Closed),
        (b"\r\n\r\n", Closed),
        (b"\0\0\0\0", Library(400)),
        (b"GET", Closed),
        (b"GET / HTTP/1.1\r\nHost: localhost", Closed),
        (unfinished.as_bytes(), Closed),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 as TLS begins", Library(400)),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Library(400)),
        (b"GET /r4/default/metadata\r\n\r\n", Library(400)),
        (&[0xff; 100_000], Library(400)),
        (endless.as_bytes(), Library(431)),
        (smuggled.as_bytes(), Good(200)),
        // Bodies that nobody wants.
        (&upload("GET"), Good(200)),
        (&upload("POST"), Ours(405, "not-supported")),
        (b"GET /r4/default/metadata HTTP/1.1\n\n", Library(400)),
        (b"\r\nGET /r4/default/metadata HTTP/1.1\r\n\r\n", Library(400)),
    ] {
        check(&server, request, expected);
    }
    assert_unharmed(&setup, &server);
}

#[test]
fn a_client_that_never_ends_its_head_is_sent_away() {
    use std::io::{Read, Write};
    let setup = Setup::new().set("limits.head_timeout=1s");
    let server = setup.start();
    let mut stream = raw::connect(&server);
    stream.write_all(b"GET /r4/default/metadata HTTP/1.1\r\nHost: localhost\r\n").unwrap();
    // Others are served meanwhile.
    assert_eq!(get(&format!("{}/metadata", server.base)).status, 200);
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(raw::parse(&bytes).status, 408);
}
