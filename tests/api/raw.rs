//! Requests that no client library would send, over a plain connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use ureq::http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

/// The host and port of a server.
pub fn address(server: &Server) -> &str {
    server.base.strip_prefix("http://").unwrap().split('/').next().unwrap()
}

/// A connection on which nothing may take longer than [`PATIENCE`].
pub fn connect(server: &Server) -> TcpStream {
    let stream = connect_to(address(server).parse().unwrap());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends a GET with these lines of its head, and reads the head of the answer.
pub fn begin(server: &Server, url: &str, version: &str, fields: &str) -> (TcpStream, Answer) {
    let mut stream = connect(server);
    let path = url.split_once(address(server)).unwrap().1;
    write!(stream, "GET {path} HTTP/{version}\r\nHost: localhost\r\n{fields}\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    (stream, parse(&head))
}

/// Sends the bytes, says that no more will come, and reads the first answer; `None` if the
/// server closed the connection without one. A server that says nothing has failed the test.
pub fn exchange(server: &Server, request: &[u8]) -> Option<Answer> {
    let mut stream = connect(server);
    // A server may refuse before it has read everything.
    let _ = stream.write_all(request);
    let _ = stream.shutdown(Shutdown::Write);
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => break,
            Err(e) => panic!("{e}: {}\n{}", shown(request), shown(&bytes)),
        }
    }
    (!bytes.is_empty()).then(|| parse(&bytes))
}

/// The first answer in `bytes`, after those that are provisional.
pub fn parse(bytes: &[u8]) -> Answer {
    let bytes = bytes.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(bytes);
    let end = bytes
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no head: {}", shown(bytes)));
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
        headers
            .append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let body = &bytes[end + 4..];
    let length = headers.get("content-length").and_then(|v| v.to_str().unwrap().parse().ok());
    Answer { status, headers, body: body[..body.len().min(length.unwrap_or(usize::MAX))].to_vec() }
}

/// Bytes for a message, not too many.
pub fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(300)].escape_ascii().to_string()
}
