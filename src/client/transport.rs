//! One HTTP exchange: which URLs may be spoken to, TLS, time limits, bounded bodies, and what an
//! error means. It knows nothing of tokens and of FHIR.
//!
//! Plain http is spoken only from and to this machine, unless the options allow it: an export is
//! patient data, and a token is a key to it (G-2).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{HeaderMap, Method, Request, Response, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Error};
use url::{Host, Url};

use super::error::{AttemptError, ClientError, ClientErrorKind};
use super::words::{LONGEST_TEXT, words};
use crate::plain_file::{self, LinkPolicy, SETTINGS_BYTES};

/// How long a connection may take, and how long the sending of a request.
const CONNECT: Duration = Duration::from_secs(30);

/// How long a server may think before it answers. A kick-off may take a while.
const THINK: Duration = Duration::from_secs(120);

/// How long a server may be silent within an answer.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a body that is held in memory may take.
const SMALL_BODY: Duration = Duration::from_secs(120);

/// Longest URL in bytes.
pub const LONGEST_URL: usize = 16 << 10;

/// Makes exchanges. Clones share connections.
pub struct Transport {
    agent: Agent,
    allowed: PlainHttp,
}

/// Where plain http may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlainHttp {
    Nowhere,
    Loopback,
    Anywhere,
}

/// A request with all its fields.
pub struct PlainRequest<'a> {
    pub method: Method,
    pub url: &'a Url,
    pub fields: Vec<(&'static str, String)>,
    /// The body. Empty is none.
    pub body: &'a [u8],
    /// Whether the answer's body is streamed, so that only silence limits its time.
    pub is_stream: bool,
}

/// An answer whose body is in memory.
#[derive(Debug)]
pub struct SmallAnswer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl SmallAnswer {
    /// Returns a field, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        header_of(&self.headers, name)
    }
}

/// Returns a field, or an empty text.
pub fn header_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

impl Transport {
    /// Creates the transport for a server.
    ///
    /// # Errors
    /// Fails if `base` may not be spoken to, or the file of authorities has no certificate.
    pub fn new(base: &Url, insecure_http: bool, authorities: Option<&Path>) -> Result<Self, ClientError> {
        let allowed = match base.scheme() {
            _ if insecure_http => PlainHttp::Anywhere,
            "http" if is_loopback(base) => PlainHttp::Loopback,
            _ => PlainHttp::Nowhere,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
        if let Some(file) = authorities {
            tls = tls.root_certs(certificates(file)?);
        }
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            // Redirects are followed one by one, with a look at where they lead.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("evanesce/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_send_request(Some(CONNECT))
            .timeout_send_body(Some(SILENCE))
            .timeout_recv_response(Some(THINK))
            .timeout_per_read(Some(SILENCE))
            .max_idle_connections_per_host(64);
        let transport = Self { agent: config.build().into(), allowed };
        transport.check(base).map_err(|error| ClientError::unusable(error.to_string()))?;
        Ok(transport)
    }

    /// Checks that a URL may be spoken to.
    pub fn check(&self, url: &Url) -> Result<(), ClientError> {
        let is_allowed = match (url.scheme(), self.allowed) {
            ("https", _) | ("http", PlainHttp::Anywhere) => true,
            ("http", PlainHttp::Loopback) => is_loopback(url),
            _ => false,
        };
        if is_allowed && url.has_host() {
            return Ok(());
        }
        Err(ClientError::server(format!(
            "{} is not https: patient data and tokens go to other machines over https only; use an https URL, \
             or --insecure-http if nobody else is on the network",
            shown(url)
        )))
    }

    /// Makes one exchange, whatever its status. The body is still to be read.
    pub fn send(&self, request: PlainRequest<'_>) -> Result<Response<Body>, AttemptError> {
        self.check(request.url)?;
        let mut head = Request::builder().method(request.method).uri(request.url.as_str());
        // Coded bodies are decoded by whoever asks for them.
        for (name, value) in request.fields {
            head = head.header(name, value);
        }
        let failed = |error| classify(request.url, error);
        let limit = (!request.is_stream).then_some(SMALL_BODY);
        let built = |error: ureq::http::Error| failed(Error::Http(error));
        let answer = if request.body.is_empty() {
            let request = self.agent.configure_request(head.body(()).map_err(built)?);
            self.agent.run(request.timeout_recv_body(limit).build())
        } else {
            let request = self.agent.configure_request(head.body(request.body).map_err(built)?);
            self.agent.run(request.timeout_recv_body(limit).build())
        };
        answer.map_err(failed)
    }
}

/// Reads a body of at most `limit` bytes into memory.
pub fn read_small(url: &Url, answer: Response<Body>, limit: u64) -> Result<SmallAnswer, AttemptError> {
    let (head, mut body) = answer.into_parts();
    let body = match body.with_config().limit(limit).read_to_vec() {
        Err(Error::BodyExceedsLimit(_)) => {
            let message = format!("{} answered more than {limit} bytes, which is not believable", shown(url));
            return Err(ClientError::server(message).into());
        }
        body => body.map_err(|error| classify(url, error))?,
    };
    Ok(SmallAnswer { status: head.status.as_u16(), headers: head.headers, body })
}

/// Returns a URL as people may see it: without what may be a secret in its query.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // They fail only for URLs that have none.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.set_query(None);
    url.set_fragment(None);
    words(url.as_str(), LONGEST_TEXT)
}

/// Returns whether a URL leads to this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Turns an error of the library into a sentence, and says whether another attempt may help.
pub fn classify(url: &Url, error: Error) -> AttemptError {
    let place = shown(url);
    if let Some(reason) = tls_reason(&error) {
        return ClientError::server(format!(
            "the TLS connection to {place} failed: {reason}; if the server has a certificate of a private \
             authority, give that with --ca"
        ))
        .into();
    }
    let message = match &error {
        Error::Timeout(_) => {
            let message = format!("{place} did not answer in time");
            return AttemptError::Transient(ClientError::new(ClientErrorKind::TimedOut, message), None);
        }
        Error::HostNotFound => format!("cannot find the host of {place}; is the URL right?"),
        Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            format!(
                "cannot connect to {place}: nothing listens there; is the server running, the port right?"
            )
        }
        Error::Io(error) => format!("the connection to {place} failed: {}", words(&error.to_string(), 200)),
        other => {
            let reason = words(&other.to_string(), 200);
            let message = format!("{place} cannot be spoken to: {reason}; is it an HTTP server?");
            let is_final = matches!(
                other,
                Error::Http(_) | Error::BadUri(_) | Error::LargeResponseHeader(..) | Error::InvalidProxyUrl
            );
            if is_final {
                return ClientError::server(message).into();
            }
            message
        }
    };
    AttemptError::Transient(ClientError::server(message), None)
}

/// Returns why TLS failed, if it did and will fail again.
fn tls_reason(error: &Error) -> Option<String> {
    let reason = match error {
        Error::Rustls(error) => error.to_string(),
        Error::Tls(reason) => (*reason).to_owned(),
        Error::Io(error) => error.get_ref()?.downcast_ref::<rustls::Error>()?.to_string(),
        _ => return None,
    };
    Some(words(&reason, 200))
}

/// Reads the certificates of a PEM file.
fn certificates(file: &Path) -> Result<RootCerts, ClientError> {
    let cannot = |error: &dyn std::fmt::Display| {
        ClientError::unusable(format!("cannot use the certificates {}: {error}", file.display()))
    };
    let pem = plain_file::read(file, LinkPolicy::Follow, SETTINGS_BYTES).map_err(|error| cannot(&error))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| cannot(&error))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(cannot(&"there is none in the file"));
    }
    Ok(RootCerts::from(certificates))
}

/// Parses a URL that a server or a user gave.
///
/// # Errors
/// Fails with what is wrong with it.
pub fn parse_url(text: &str, relative_to: Option<&Url>) -> Result<Url, String> {
    if text.len() > LONGEST_URL {
        return Err(format!("is longer than {LONGEST_URL} bytes"));
    }
    let url = relative_to.map_or_else(|| Url::parse(text), |base| base.join(text));
    let url = url.map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("is neither http nor https".into());
    }
    Ok(url)
}

/// Returns the seconds that `Retry-After` asks for: a number or a date (RFC 9110, 10.2.3).
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = header_of(headers, header::RETRY_AFTER.as_str()).trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    // The server's own clock, if it tells it, is the one that the date is of.
    let date = httpdate::parse_http_date(header_of(headers, header::DATE.as_str()));
    let now = date.unwrap_or_else(|_| std::time::SystemTime::now());
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(base: &str, insecure: bool, url: &str) -> bool {
        let base = Url::parse(base).unwrap();
        Transport::new(&base, insecure, None).is_ok_and(|it| it.check(&Url::parse(url).unwrap()).is_ok())
    }

    #[test]
    fn g_2_plain_http_is_spoken_on_this_machine_only() {
        assert!(allows("http://127.0.0.1:8080/r4", false, "http://localhost:9/x"));
        assert!(allows("http://[::1]/r4", false, "https://example.org/"));
        assert!(allows("https://example.org/r4", false, "https://files.example.org/"));
        assert!(!allows("http://example.org/r4", false, "http://example.org/"));
        assert!(!allows("https://example.org/r4", false, "http://example.org/"), "a downgrade");
        assert!(!allows("https://example.org/r4", false, "http://127.0.0.1/"), "of another machine's choice");
        assert!(!allows("http://127.0.0.1/r4", false, "http://10.0.0.1/"));
        assert!(!allows("https://example.org/r4", true, "file:///etc/passwd"));
        assert!(allows("http://example.org/r4", true, "http://example.org/"));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |fields: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.insert(*name, value.parse().unwrap());
            }
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(after(&[]), None);
        assert_eq!(after(&[("retry-after", "120")]), Some(120));
        assert_eq!(after(&[("retry-after", " 0 ")]), Some(0));
        assert_eq!(after(&[("retry-after", "soon")]), None);
        assert_eq!(after(&[("retry-after", "-1")]), None);
        assert_eq!(after(&[date, ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")]), Some(30));
        assert_eq!(after(&[date, ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]), Some(0));
    }

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        let url = Url::parse("https://me:word@h/file?X-Signature=abc#x").unwrap();
        assert_eq!(shown(&url), "https://h/file");
    }

    #[test]
    fn p13_only_short_http_urls_are_urls() {
        let base = Url::parse("https://h/r4/default/x").unwrap();
        assert_eq!(parse_url("/a", Some(&base)).unwrap().as_str(), "https://h/a");
        for bad in ["file:///etc/passwd", "ftp://h/", "data:,x", "/a", ""] {
            assert!(parse_url(bad, None).is_err(), "{bad}");
        }
        let long = format!("https://h/{}", "a".repeat(LONGEST_URL));
        assert!(parse_url(&long[..LONGEST_URL], None).is_ok());
        assert!(parse_url(&long, None).is_err());
    }
}
