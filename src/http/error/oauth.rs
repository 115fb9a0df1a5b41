//! The errors of OAuth's endpoints (RFC 6749), which are no OperationOutcomes.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde_json::json;

use crate::auth::{TokenDenied, TokenIssuer};
use crate::http::operations::description::{AnswerHeader, BodyContent, content};

/// The only grant that is supported.
pub const GRANT: &str = "client_credentials";

/// Seconds after which a client may try again when the memory of assertions is full.
pub const RETRY_AFTER: u64 = 30;

/// The header field with which no cache of HTTP/1.0 keeps an answer.
pub const NO_CACHE: AnswerHeader = ("Pragma", "no-cache");
/// The body of an error.
pub const REFUSED: &[BodyContent] = &[content("application/json", "OAuthError")];

/// Why there is no token, in OAuth's terms (RFC 6749 5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OAuthError {
    /// The request cannot be understood.
    InvalidRequest(String),
    /// The body is too long.
    TooLong,
    /// The body is in a content coding.
    Coded,
    /// Too many requests from an address, which may ask again after so many seconds.
    TooMany(u64),
    /// The client is unknown, or not who it says (T-5).
    InvalidClient(TokenDenied),
    /// Another grant than [`GRANT`].
    UnsupportedGrantType,
    /// The scopes cannot be read, or none of them can be granted.
    InvalidScope(String),
    /// An assertion cannot be recorded now.
    Unavailable(TokenDenied),
    /// The fault is ours.
    ServerError,
}

impl OAuthError {
    /// A parameter is missing.
    pub fn missing(name: &str) -> Self {
        Self::InvalidRequest(format!("The parameter {name} is missing."))
    }

    /// Returns its name in metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) | Self::TooLong | Self::Coded => "invalid-request",
            Self::TooMany(_) => "too-many",
            Self::InvalidClient(TokenDenied::Assertion(error)) => error.name(),
            Self::UnsupportedGrantType => "grant-type",
            Self::InvalidScope(_) => "scope",
            Self::InvalidClient(TokenDenied::Unavailable(_)) | Self::Unavailable(_) => "unavailable",
            Self::ServerError => "server-error",
        }
    }

    /// Returns the answer.
    pub fn response(&self, issuer: &TokenIssuer) -> HttpResponse {
        let (status, error, description) = match self {
            Self::InvalidRequest(text) => (StatusCode::BAD_REQUEST, "invalid_request", text.clone()),
            Self::TooLong => {
                (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", "The body is too long.".into())
            }
            Self::Coded => {
                let text = "The body is in a content coding; send it without Content-Encoding.";
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request", text.into())
            }
            Self::TooMany(_) => {
                let text = "There are too many requests for tokens; try again after the Retry-After.";
                (StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", text.into())
            }
            Self::InvalidClient(denied) => (StatusCode::UNAUTHORIZED, "invalid_client", denied.to_string()),
            Self::UnsupportedGrantType => (
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                format!("The grant_type must be {GRANT}."),
            ),
            Self::InvalidScope(text) => (StatusCode::BAD_REQUEST, "invalid_scope", text.clone()),
            Self::Unavailable(_) => {
                let text = "No assertion can be recorded now; try again after the Retry-After.";
                (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", text.into())
            }
            Self::ServerError => {
                let text = "The server could not do this; try again.";
                (StatusCode::INTERNAL_SERVER_ERROR, "server_error", text.into())
            }
        };
        let mut response = uncached(status);
        match self {
            Self::InvalidClient(_) => response.insert_header((header::WWW_AUTHENTICATE, challenge(issuer))),
            Self::Unavailable(_) => response.insert_header((header::RETRY_AFTER, RETRY_AFTER)),
            Self::TooMany(seconds) => response.insert_header((header::RETRY_AFTER, *seconds)),
            _ => &mut response,
        };
        response.json(json!({"error": error, "error_description": allowed(&description)}))
    }
}

/// Returns the challenge that HTTP demands with each 401; OAuth clients do not care about the scheme.
fn challenge(issuer: &TokenIssuer) -> String {
    format!("Bearer realm=\"{}\"", issuer.url)
}

/// Returns an answer that is not cached (RFC 6749 5.1).
pub fn uncached(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response.insert_header((header::PRAGMA, "no-cache"));
    response
}

/// Replaces the characters that a description may not have (RFC 6749 5.2).
fn allowed(text: &str) -> String {
    let is_allowed = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
    text.chars().map(|c| if is_allowed(c) { c } else { '?' }).collect()
}
