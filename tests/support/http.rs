//! Requests and their answers, as a client sees them.

use std::net::{SocketAddr, TcpStream};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketType, connect, socket};
use serde_json::Value;

use super::PATIENCE;

/// A connection of which the system holds about 64 KiB for us and no more: whoever sends more than
/// its own buffers hold finds out whether we read.
pub fn connect_to(address: SocketAddr) -> TcpStream {
    let stream = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    set_socket_recv_buffer_size(&stream, 64 << 10).unwrap();
    connect(&stream, &address).unwrap();
    stream.into()
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The severity and code of an OperationOutcome, and that it is one.
    pub fn issue(&self) -> (String, String) {
        assert_eq!(self.header("content-type"), "application/fhir+json", "{self:?}");
        let json = self.json();
        assert_eq!(json["resourceType"], "OperationOutcome");
        let text = |key: &str| json["issue"][0][key].as_str().unwrap().to_string();
        let issue = &json["issue"][0];
        assert!(!issue["details"]["text"].as_str().unwrap().is_empty());
        // Clients show one or the other; a success is to the letter of D-5.
        let is_success = issue["severity"] == "information";
        assert_eq!(
            issue["diagnostics"],
            if is_success { Value::Null } else { issue["details"]["text"].clone() }
        );
        (text("severity"), text("code"))
    }

    /// Status and issue code, for tables.
    pub fn outcome(&self) -> (u16, String) {
        (self.status, self.issue().1)
    }
}

/// What [`Answer::outcome`] gives, for comparisons.
pub fn outcome(status: u16, code: &str) -> (u16, String) {
    (status, code.to_string())
}

/// Sends a request without a body and reads the answer to its end.
pub fn send(method: &str, url: &str, headers: &[(&str, &str)]) -> Answer {
    try_send(method, url, headers).unwrap_or_else(|e| panic!("{method} {url}: {e}"))
}

/// Posts a body and reads the answer to its end.
pub fn post(url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    try_send_body("POST", url, headers, body).unwrap_or_else(|e| panic!("POST {url}: {e}"))
}

/// Puts a body and reads the answer to its end.
pub fn put(url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    try_send_body("PUT", url, headers, body).unwrap_or_else(|e| panic!("PUT {url}: {e}"))
}

/// As `send`; the error is that of the connection.
pub fn try_send(method: &str, url: &str, headers: &[(&str, &str)]) -> Result<Answer, ureq::Error> {
    try_send_body(method, url, headers, ())
}

fn try_send_body(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: impl ureq::AsSendBody,
) -> Result<Answer, ureq::Error> {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
    // No header but those given: an absent Accept is a case of its own (C3, C4).
    let agent: ureq::Agent = config.accept(ureq::config::AutoHeaderValue::None).build().into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = agent.run(request.body(body).unwrap())?;
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = response.body_mut().with_config().limit(1 << 30).read_to_vec()?;
    Ok(Answer { status, headers, body })
}

pub fn get(url: &str) -> Answer {
    send("GET", url, &[])
}

pub fn delete(url: &str) -> Answer {
    send("DELETE", url, &[])
}

pub const KICKOFF: [(&str, &str); 2] = [("Accept", "application/fhir+json"), ("Prefer", "respond-async")];
