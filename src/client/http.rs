//! Exchanges with the server as the client that the user is: with the token where it may go, another
//! token when it is refused, and redirects of reads.
//!
//! The token goes to the origin of the base URL and to those that the user trusts; to another one only
//! if the manifest says that its files require it (F-1). A redirect to another origin never gets it
//! (F-6).

use ureq::http::{HeaderMap, Method, Response};
use ureq::{Body, http};
use url::{Origin, Url};

use super::error::{AttemptError, ClientError, ClientErrorKind};
use super::links::FileLink;
use super::options::ExportOptions;
use super::tokens::TokenKeeper;
use super::transport::{
    PlainRequest, SmallAnswer, Transport, header_of, parse_url, read_small, retry_after, shown,
};
use super::words::{self, LONGEST_TEXT, words};

/// The most redirects of one request.
const MOST_REDIRECTS: usize = 5;

/// Longest body in bytes of an answer that is neither a manifest nor a file.
pub const LONGEST_OUTCOME: u64 = 1 << 20;

/// Issue codes of failures that are not for ever (ST-6).
const TRANSIENT_CODES: [&str; 7] =
    ["transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled"];

/// Which origins get the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPolicy {
    /// The server's own and the trusted ones.
    Trusted,
    /// That of the URL, whatever it is: the manifest demands it.
    Demanded,
    /// None.
    Withheld,
}

/// A request to the server.
pub struct ClientRequest<'a> {
    pub method: Method,
    pub url: &'a Url,
    pub fields: Vec<(&'static str, String)>,
    pub body: &'a [u8],
    pub token: TokenPolicy,
    pub is_stream: bool,
}

impl<'a> ClientRequest<'a> {
    /// Returns a request without a body.
    pub fn new(method: Method, url: &'a Url, accept: &str) -> Self {
        let fields = vec![("accept", accept.to_owned())];
        Self { method, url, fields, body: &[], token: TokenPolicy::Trusted, is_stream: false }
    }
}

/// Speaks to a server.
pub struct HttpClient {
    transport: Transport,
    tokens: TokenKeeper,
    trusted: Vec<Origin>,
}

impl HttpClient {
    /// Creates the client of the options, for the server at `base`.
    ///
    /// # Errors
    /// Fails if an option cannot be used.
    pub fn new(options: &ExportOptions, base: &Url) -> Result<Self, ClientError> {
        let transport = Transport::new(base, options.insecure_http, options.authorities.as_deref())?;
        let mut trusted = vec![base.origin()];
        for text in &options.trusted {
            let url = parse_url(text, None);
            let url =
                url.map_err(|wrong| ClientError::unusable(format!("the trusted URL {text} {wrong}")))?;
            trusted.push(url.origin());
        }
        Ok(Self { transport, tokens: TokenKeeper::new(options.credentials.clone(), base), trusted })
    }

    /// Makes an exchange and reads the answer, whose body may have `limit` bytes.
    pub fn small(&self, request: ClientRequest<'_>, limit: u64) -> Result<SmallAnswer, AttemptError> {
        let url = request.url.clone();
        read_small(&url, self.open(request)?, limit)
    }

    /// Makes an exchange. The body is still to be read.
    pub fn open(&self, request: ClientRequest<'_>) -> Result<Response<Body>, AttemptError> {
        let mut url = request.url.clone();
        let gets_token = |url: &Url| match request.token {
            TokenPolicy::Trusted => self.trusted.contains(&url.origin()),
            TokenPolicy::Demanded => {
                url.origin() == request.url.origin() || self.trusted.contains(&url.origin())
            }
            TokenPolicy::Withheld => false,
        };
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.authorized(&request, &url, gets_token(&url))?;
            let Some(next) = redirect(&request.method, &url, answer.status().as_u16(), answer.headers())?
            else {
                return Ok(answer);
            };
            url = next;
        }
        let message = format!("{} leads through more than {MOST_REDIRECTS} redirects", shown(request.url));
        Err(ClientError::server(message).into())
    }

    /// Makes one exchange, and another one with another token if the first is refused.
    fn authorized(
        &self,
        request: &ClientRequest<'_>,
        url: &Url,
        gets_token: bool,
    ) -> Result<Response<Body>, AttemptError> {
        let send = |token: Option<&str>| {
            let mut fields = request.fields.clone();
            if let Some(token) = token {
                fields.push(("authorization", format!("Bearer {token}")));
            }
            let ClientRequest { method, body, is_stream, .. } = request;
            let method = method.clone();
            self.transport.send(PlainRequest { method, url, fields, body, is_stream: *is_stream })
        };
        let token = if gets_token { self.tokens.token(&self.transport)? } else { None };
        let answer = send(token.as_deref())?;
        if answer.status() != http::StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        match token.map(|refused| self.tokens.replacement(&refused, &self.transport)).transpose()?.flatten() {
            Some(token) => send(Some(&token)),
            None => Ok(answer),
        }
    }

    /// Returns the error of a file's link that the server refuses, that of a new manifest too.
    pub fn refused_link(&self, link: &FileLink, answer: &SmallAnswer) -> ClientError {
        let (name, answered) = (&link.planned.name, answered(&link.planned.url, answer));
        let message = format!("the server does not give {name}, which its manifest names: {answered}");
        match (answer.status, link.token) {
            (401 | 403, TokenPolicy::Trusted | TokenPolicy::Demanded) => ClientError::new(
                ClientErrorKind::Unauthorized,
                format!("{message}; {}", self.tokens.advice()),
            ),
            _ => ClientError::new(
                ClientErrorKind::Export,
                format!("{message}; tell its operator, or begin another export with --restart"),
            ),
        }
    }

    /// Returns what an answer means that is not the one that was hoped for.
    pub fn refusal(&self, url: &Url, answer: &SmallAnswer, doing: &str) -> AttemptError {
        let status = answer.status;
        let outcome = words::outcome(&answer.body);
        if outcome.is_none() && words::is_html(answer.header("content-type"), &answer.body) && status < 500 {
            return ClientError::server(format!(
                "{} answered {status} with a web page and not with FHIR; is the URL the base of a FHIR \
                 server, such as https://fhir.example.org/r4?",
                shown(url)
            ))
            .into();
        }
        let message = format!("{doing}: {}", answered(url, answer));
        if outcome.is_none() && matches!(status, 404 | 405) {
            let message =
                format!("{message}, and no OperationOutcome; is the URL the base of a FHIR server?");
            return ClientError::server(message).into();
        }
        if matches!(status, 401 | 403) {
            let advice = self.tokens.advice();
            let message = format!("{message}; {advice}");
            return ClientError::new(ClientErrorKind::Unauthorized, message).into();
        }
        let error = ClientError::new(ClientErrorKind::Export, message);
        let codes = outcome.map(|outcome| outcome.codes).unwrap_or_default();
        let is_transient = matches!(status, 408 | 425 | 429 | 502..=504)
            || status >= 500
                && (codes.is_empty() || codes.iter().any(|code| TRANSIENT_CODES.contains(&code.as_str())));
        if is_transient {
            AttemptError::Transient(error, retry_after(&answer.headers))
        } else {
            AttemptError::Final(error)
        }
    }
}

/// Returns what a URL answered, as a part of a sentence.
pub fn answered(url: &Url, answer: &SmallAnswer) -> String {
    format!("{} answered {}{}", shown(url), answer.status, words::said(&answer.body))
}

/// Returns where a redirect leads, or `None` if the answer is none that is followed. Only reads are
/// repeated elsewhere.
fn redirect(
    method: &Method,
    url: &Url,
    status: u16,
    headers: &HeaderMap,
) -> Result<Option<Url>, ClientError> {
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = header_of(headers, "location");
    let place = shown(url);
    let next = parse_url(location, Some(url)).map_err(|_| {
        let location = words(location, 100);
        ClientError::server(format!("{place} redirects to '{location}', which is not a URL"))
    })?;
    if method != Method::GET {
        let next = words(&shown(&next), LONGEST_TEXT);
        return Err(ClientError::server(format!("{place} redirects to {next}; give that URL instead")));
    }
    Ok(Some(next))
}
