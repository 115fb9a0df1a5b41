//! Access tokens: where a server gives them, how one is asked for, and how one is replaced before it
//! expires or when the server refuses it (REQUIREMENTS sections 9.1, 9.3 and 9.4).

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;
use ureq::http::Method;
use url::{Url, form_urlencoded};

use super::error::{AttemptError, ClientError, ClientErrorKind};
use super::options::{BackendClient, Credentials};
use super::request;
use super::transport::{PlainRequest, SmallAnswer, Transport, parse_url, read_small, retry_after, shown};
use super::words::words;
use crate::plain_file::{self, LinkPolicy};
use crate::smart;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Longest answer of discovery and of the token endpoint in bytes.
const LONGEST_ANSWER: u64 = 1 << 20;

/// Longest token in bytes.
const LONGEST_TOKEN: usize = 64 << 10;

/// A token is replaced this long before it expires, or a fifth of its life if that is less.
const MARGIN: Duration = Duration::from_secs(30);

/// Has the token that requests carry. Threads share one.
pub struct TokenKeeper {
    credentials: Credentials,
    base: Url,
    current: Mutex<Option<HeldToken>>,
    /// The token endpoint, once it was found.
    endpoint: Mutex<Option<TokenEndpoint>>,
}

/// A token endpoint. Its audience is the URL to the letter, which parsing may change.
#[derive(Clone)]
struct TokenEndpoint {
    url: Url,
    audience: String,
}

impl TokenEndpoint {
    fn parse(text: &str, relative_to: Option<&Url>) -> Result<Self, String> {
        let url = parse_url(text, relative_to)?;
        let is_absolute = Url::parse(text).is_ok();
        let audience = if is_absolute { text.to_owned() } else { url.to_string() };
        Ok(Self { url, audience })
    }
}

#[derive(Clone)]
struct HeldToken {
    text: String,
    /// When another one is asked for. `None` if its end is unknown.
    renewal: Option<Instant>,
}

impl TokenKeeper {
    /// Creates a keeper that has no token yet.
    pub fn new(credentials: Credentials, base: &Url) -> Self {
        Self { credentials, base: base.clone(), current: Mutex::default(), endpoint: Mutex::default() }
    }

    /// Returns a token that is good for a while, or `None` if the client has no credentials. Blocks while
    /// another one is asked for.
    pub fn token(&self, transport: &Transport) -> Result<Option<String>, AttemptError> {
        let mut current = self.current.lock();
        if let Some(held) = &*current
            && held.renewal.is_none_or(|renewal| Instant::now() < renewal)
        {
            return Ok(Some(held.text.clone()));
        }
        *current = self.obtain(transport)?;
        Ok(current.as_ref().map(|held| held.text.clone()))
    }

    /// Returns another token in place of one that the server refused, or `None` if there is no other.
    pub fn replacement(&self, refused: &str, transport: &Transport) -> Result<Option<String>, AttemptError> {
        let mut current = self.current.lock();
        // Another thread may have replaced it meanwhile.
        if current.as_ref().is_none_or(|held| held.text == refused) {
            *current = self.obtain(transport)?;
        }
        Ok(current.as_ref().map(|held| held.text.clone()).filter(|text| text != refused))
    }

    /// Returns what could be done about a refused token.
    pub fn advice(&self) -> &'static str {
        match self.credentials {
            Credentials::None => "it wants an access token: give --client-id and --key, or --token-file",
            Credentials::Token(_) | Credentials::TokenFile(_) => {
                "the token may have expired: get another one, and run the same command again, which goes on \
                 where this one stopped"
            }
            Credentials::Backend(_) => {
                "ask the server's operator what this client may have, or ask for another --scope"
            }
        }
    }

    fn obtain(&self, transport: &Transport) -> Result<Option<HeldToken>, AttemptError> {
        match &self.credentials {
            Credentials::None => Ok(None),
            Credentials::Token(text) => Ok(Some(HeldToken { text: checked(text)?, renewal: None })),
            Credentials::TokenFile(file) => {
                let text = plain_file::read(file, LinkPolicy::Follow, LONGEST_TOKEN as u64);
                let text = text.map_err(|error| {
                    ClientError::unusable(format!("cannot read the token {}: {error}", file.display()))
                })?;
                let text = checked(String::from_utf8_lossy(&text).trim())?;
                Ok(Some(HeldToken { text, renewal: None }))
            }
            Credentials::Backend(backend) => {
                let endpoint = self.endpoint(backend, transport)?;
                request_token(backend, &endpoint, transport).map(Some)
            }
        }
    }

    fn endpoint(
        &self,
        backend: &BackendClient,
        transport: &Transport,
    ) -> Result<TokenEndpoint, AttemptError> {
        let mut known = self.endpoint.lock();
        if let Some(endpoint) = &*known {
            return Ok(endpoint.clone());
        }
        let endpoint = match &backend.token_url {
            Some(text) => TokenEndpoint::parse(text, None)
                .map_err(|wrong| ClientError::unusable(format!("the token endpoint {text} {wrong}")))?,
            None => discover(&self.base, transport)?,
        };
        Ok(known.insert(endpoint).clone())
    }
}

/// Checks that a token fits into a header field (RFC 6750, 2.1).
fn checked(token: &str) -> Result<String, ClientError> {
    let is_good = (1..=LONGEST_TOKEN).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    is_good.then(|| token.to_owned()).ok_or_else(|| {
        let message = "the access token is not one: it is empty, too long, or has spaces or other bytes";
        ClientError::unusable(message)
    })
}

/// Returns the token endpoint that a server announces (SC-1).
fn discover(base: &Url, transport: &Transport) -> Result<TokenEndpoint, AttemptError> {
    let mut url = base.clone();
    url.set_path(&format!("{}/.well-known/smart-configuration", base.path().trim_end_matches('/')));
    let fields = vec![("accept", "application/json".into())];
    let request = PlainRequest { method: Method::GET, url: &url, fields, body: &[], is_stream: false };
    let answer = read_small(&url, transport.send(request)?, LONGEST_ANSWER)?;
    let place = shown(&url);
    let none =
        |what: String| ClientError::server(format!("{place} {what}; give the endpoint with --token-url"));
    if let Some(failure) = transient(&answer, &place) {
        return Err(failure);
    }
    if answer.status != 200 {
        return Err(none(format!("answered {}, so the server names no token endpoint", answer.status)).into());
    }
    let configuration: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let endpoint = configuration["token_endpoint"].as_str();
    let endpoint = endpoint.ok_or_else(|| none("names no token_endpoint".into()))?;
    Ok(TokenEndpoint::parse(endpoint, Some(&url))
        .map_err(|wrong| none(format!("names a token_endpoint that {}", words(&wrong, 100))))?)
}

/// Asks for an access token once, as a client of SMART Backend Services. Returns the server's whole answer: the
/// token, what it allows and for how many seconds. Blocks.
///
/// # Errors
/// Fails if the server cannot be reached, names no token endpoint, or gives the client no token.
///
/// ```no_run
/// use evanesce::client::{BackendClient, ClientKey, access_token};
///
/// let key = ClientKey::from_text(&std::fs::read("client-key.pem")?, None)?;
/// let answer = access_token("https://fhir.example.org/r4", &BackendClient::new("acme", key), None, false)?;
/// println!("{}", answer["access_token"]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn access_token(
    base: &str,
    client: &BackendClient,
    authorities: Option<&Path>,
    insecure_http: bool,
) -> Result<Value, ClientError> {
    let base = request::base(base)?;
    let transport = Transport::new(&base, insecure_http, authorities)?;
    let keeper = TokenKeeper::new(Credentials::None, &base);
    let endpoint = keeper.endpoint(client, &transport);
    let answer = endpoint.and_then(|endpoint| ask(client, &endpoint, &transport));
    answer.map_err(AttemptError::into_error)
}

/// Asks for a token. Returns it with the time of its renewal.
fn request_token(
    backend: &BackendClient,
    endpoint: &TokenEndpoint,
    transport: &Transport,
) -> Result<HeldToken, AttemptError> {
    let asked = Instant::now();
    let answer = ask(backend, endpoint, transport)?;
    let life = answer["expires_in"].as_u64().map(Duration::from_secs);
    let renewal = life.and_then(|life| asked.checked_add(life - MARGIN.min(life / 5)));
    let text = answer["access_token"].as_str().unwrap_or_default().to_owned();
    Ok(HeldToken { text, renewal })
}

/// Asks for a token with a new assertion (T-2: each is good once). Returns the answer, which has one.
fn ask(
    backend: &BackendClient,
    endpoint: &TokenEndpoint,
    transport: &Transport,
) -> Result<Value, AttemptError> {
    let TokenEndpoint { url: endpoint, audience } = endpoint;
    let expires = smart::expires(Timestamp::now());
    let assertion = backend.key.assertion(&backend.client_id, audience, expires);
    let assertion = assertion.map_err(|error| ClientError::unusable(error.to_string()))?;
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("scope", &backend.scope)
        .append_pair("client_assertion_type", ASSERTION_TYPE)
        .append_pair("client_assertion", &assertion)
        .finish();
    let fields = vec![
        ("accept", "application/json".into()),
        ("content-type", "application/x-www-form-urlencoded".into()),
    ];
    let request =
        PlainRequest { method: Method::POST, url: endpoint, fields, body: form.as_bytes(), is_stream: false };
    let answer = read_small(endpoint, transport.send(request)?, LONGEST_ANSWER)?;
    let place = shown(endpoint);
    if let Some(failure) = transient(&answer, &place) {
        return Err(failure);
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if !matches!(answer.status, 200 | 201) {
        return Err(refused(&place, answer.status, &body).into());
    }
    let token = body["access_token"].as_str().ok_or_else(|| {
        ClientError::server(format!("{place} answered {} without an access_token", answer.status))
    })?;
    checked(token).map_err(|error| ClientError::server(format!("{place}: {error}")))?;
    Ok(body)
}

/// Returns the failure of an answer that may be another one later.
fn transient(answer: &SmallAnswer, place: &str) -> Option<AttemptError> {
    let is_transient = matches!(answer.status, 429 | 502..=504);
    is_transient.then(|| {
        let message = format!("{place} answered {}, so there is no access token", answer.status);
        AttemptError::Transient(ClientError::server(message), retry_after(&answer.headers))
    })
}

fn refused(place: &str, status: u16, body: &Value) -> ClientError {
    let text = |key: &str| body[key].as_str().map(|text| words(text, 200));
    let reason = match (text("error"), text("error_description")) {
        (Some(error), Some(description)) => format!("{error}: {description}"),
        (Some(error), None) => error,
        (None, _) => "without saying why".into(),
    };
    let message = format!(
        "{place} gives no access token ({status}, {reason}); is the client registered there with this key \
         and this scope?"
    );
    ClientError::new(ClientErrorKind::Unauthorized, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_into_a_header_field() {
        assert_eq!(checked("abc.DEF-123").unwrap(), "abc.DEF-123");
        assert!(checked(&"a".repeat(LONGEST_TOKEN)).is_ok());
        for bad in ["", "a b", "a\nb", "a\r\nX-Evil: 1", "é", &"a".repeat(LONGEST_TOKEN + 1)] {
            assert!(checked(bad).is_err(), "{bad:.10}");
        }
    }
}
