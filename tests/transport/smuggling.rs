//! Request smuggling: where a proxy before this server could see another end of a request than the
//! server does, the request is refused, and nothing behind it is answered. Where there is but one
//! reading, exactly what was sent is answered.

use super::*;

/// A request that must never be seen as one: it stands where a body is.
const HIDDEN: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The statuses of everything that is answered to the bytes.
fn answered(server: &Server, request: &str) -> Vec<u16> {
    let mut stream = tcp(server);
    stream.write_all(request.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    statuses(&read_all(&mut stream))
}

/// How often the hidden request was answered, whatever the client got to see of that.
fn healthz(setup: &Setup, server: &Server) -> usize {
    setup.settled_log(server).matches("\"operation\":\"healthz\"").count()
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_answered() {
    let setup = Setup::new();
    let server = setup.start();
    let get = "GET /r4/default/metadata HTTP/1.1\r\nHost: localhost\r\n";
    let length = HIDDEN.len();
    let chunked = "Transfer-Encoding: chunked\r\n";
    for fields in [
        // Two lengths, in each combination.
        format!("Content-Length: {length}\r\n{chunked}"),
        format!("{chunked}Content-Length: {length}\r\n"),
        format!("Content-Length: 0\r\n{chunked}"),
        format!("Content-Length: 0\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: {length}\r\nContent-Length: 0\r\n"),
        format!("Content-Length: {length}, 0\r\n"),
        format!("Content-Length: +{length}\r\n"),
        format!("Content-Length: -{length}\r\n"),
        format!("Content-Length: 0x{length:x}\r\n"),
        format!("Content-Length: {length} 0\r\n"),
        format!("Content-Length: {length}a\r\n"),
        "Content-Length: 99999999999999999999999\r\n".into(),
        "Content-Length: \r\n".into(),
        // Transfer-Encoding in disguise.
        "Transfer-Encoding: xchunked\r\n".into(),
        "Transfer-Encoding: chunked, identity\r\n".into(),
        "Transfer-Encoding: gzip\r\n".into(),
        "Transfer-Encoding: \"chunked\"\r\n".into(),
        "Transfer-Encoding: chunked;q=1\r\n".into(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".into(),
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n".into(),
        "Transfer-Encoding : chunked\r\n".into(),
        "Transfer-Encoding\t: chunked\r\n".into(),
        " Transfer-Encoding: chunked\r\n".into(),
        "Transfer-Encoding:\r\n chunked\r\n".into(),
        "Transfer-Encoding: \u{b}chunked\r\n".into(),
        "X: y\r\n Content-Length: 5\r\n".into(),
        "Transfer\u{0}-Encoding: chunked\r\n".into(),
        "X: a\u{0}b\r\n".into(),
        "X: a\rContent-Length: 5\r\n".into(),
        "Content-Length : 5\r\n".into(),
        "Content Length: 5\r\n".into(),
    ] {
        let got = answered(&server, &format!("{get}{fields}\r\n{HIDDEN}"));
        assert!(matches!(got[..], [] | [400] | [501]), "{fields:?}: {got:?}");
    }
    assert_eq!(healthz(&setup, &server), 0);
}

#[test]
fn chunks_that_are_none_end_the_connection() {
    let setup = Setup::new();
    let server = setup.start();
    let post = "POST /r4/default/$export HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nPrefer: respond-async\r\n\
                Content-Type: application/fhir+json\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "x\r\n",
        "-1\r\n",
        "+1\r\na\r\n",
        "0x1\r\na\r\n",
        " 1\r\na\r\n",
        "1 1\r\na\r\n",
        "1\na\n",
        "\r\n",
        "1\r\nab\r\n",
        "ffffffffffffffff1\r\n",
        "10000000000000000\r\n",
        "1\u{0}\r\na\r\n",
        "1\r\na\n0\r\n\r\n",
        ";x\r\n",
    ] {
        let got = answered(&server, &format!("{post}{body}0\r\n\r\n{HIDDEN}"));
        assert!(matches!(got[..], [] | [400]), "{body:?}: {got:?}");
    }
    assert_eq!(healthz(&setup, &server), 0);
}

#[test]
fn exactly_what_was_sent_is_answered() {
    let setup = Setup::new();
    let server = setup.start();
    let get = "GET /r4/default/metadata HTTP/1.1\r\nHost: localhost\r\n";
    let length = HIDDEN.len();
    let chunk = format!("{length:x}\r\n{HIDDEN}\r\n0\r\n\r\n");
    for (request, expected) in [
        // Bodies that belong to the request before them.
        (format!("{get}Content-Length: {length}\r\n\r\n{HIDDEN}"), &[200][..]),
        (format!("{get}Transfer-Encoding: chunked\r\n\r\n{chunk}"), &[200]),
        (format!("{get}Transfer-Encoding: Chunked\r\n\r\n{chunk}"), &[200]),
        (format!("{get}Transfer-Encoding: chunked\r\n\r\n{length:x};x=y\r\n{HIDDEN}\r\n0\r\n\r\n"), &[200]),
        (format!("{get}transfer-encoding:chunked\r\n\r\n000{chunk}"), &[200]),
    ] {
        assert_eq!(answered(&server, &request), expected, "{request:?}");
    }
    assert_eq!(healthz(&setup, &server), 0);
    // Two requests are two, and the second of them is seen behind a body that ends.
    assert_eq!(answered(&server, &format!("{get}\r\n{HIDDEN}")), [200, 200]);
    let chunked = format!("{get}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n{HIDDEN}");
    let got = answered(&server, &chunked);
    assert!(matches!(got[..], [200] | [200, 200]), "{got:?}");
    assert!(healthz(&setup, &server) <= 2);
}

#[test]
fn heads_of_other_shapes_are_refused_or_read_in_their_only_way() {
    let setup = Setup::new();
    let server = setup.start();
    for (request, expected) in [
        // A line may end so (RFC 9112, 2.2), and then each of them does.
        ("GET /healthz HTTP/1.1\nHost: localhost\n\n", &[200][..]),
        ("\nGET /healthz HTTP/1.1\nHost: localhost\n\n", &[200]),
        ("\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", &[200]),
        ("\r\n\r\n\r\n", &[]),
        ("GET /healthz\u{0} HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
        ("GET /healthz HTTP/1.1\r\r\nHost: localhost\r\n\r\n", &[400]),
        ("GET /healthz HTTP/1.1 \r\nHost: localhost\r\n\r\n", &[400]),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nGET /healthz HTTP/1.1\r\n\r\n", &[400]),
        ("GET\u{b}/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
        ("\u{0}GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX\u{7f}: y\r\n\r\n", &[400]),
        ("GET /healthz HTTP/0.9\r\n\r\n", &[400]),
        ("GET /healthz HTTP/1.1\r\n\r\n", &[400]),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: y\r\n\r\n", &[400]),
    ] {
        assert_eq!(answered(&server, request), expected, "{request:?}");
    }
}
