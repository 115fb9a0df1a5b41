//! `POST {base}/auth/token`: an access token for a client assertion (REQUIREMENTS 9.3 and 9.4). What
//! it answers is OAuth's (RFC 6749), errors too, and no OperationOutcome.

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Payload};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde_json::json;

use crate::audit::AuditedEvent;
use crate::auth::{Authority, IssuedToken, ScopeError, Scopes, TokenDenied, TokenIssuer};
use crate::http::input::form::Form;
use crate::http::middleware::forwarded::Client;
use crate::http::{Api, ApiError};
use crate::job::ClientId;
use crate::telemetry;

/// The one type of assertion that is taken (RFC 7523).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The one grant that is given.
const GRANT: &str = "client_credentials";

/// Seconds after which a client may try again when the memory of assertions is full.
const RETRY_AFTER: u64 = 30;

/// Why there is no token, as OAuth has it (RFC 6749 5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OAuthError {
    /// The request cannot be understood.
    InvalidRequest(String),
    /// The body is too long.
    TooLong,
    /// The body is in a content coding.
    Coded,
    /// Too many requests of an address: it may ask again after so many seconds.
    TooMany(u64),
    /// The client is not who it says, or nobody (T-5).
    InvalidClient(TokenDenied),
    /// Another grant than [`GRANT`].
    UnsupportedGrantType,
    /// The scopes cannot be read, or there is nothing among them that could be granted.
    InvalidScope(String),
    /// An assertion cannot be recorded now.
    Unavailable(TokenDenied),
    /// The fault is ours.
    ServerError,
}

/// `POST {base}/auth/token`.
pub async fn token(request: HttpRequest, payload: Payload, api: Data<Api>) -> Result<HttpResponse, ApiError> {
    let authority = api.authority()?;
    let issuer = api.issuer(&request)?;
    let admitted =
        request.extensions().get().map_or(Ok(()), |client: &Client| api.limits().admit_token_request(client));
    if let Err(refusal) = admitted {
        return Ok(OAuthError::TooMany(refusal.retry_after().unwrap_or(RETRY_AFTER)).response(&issuer));
    }
    Ok(match give(&request, payload, authority, &issuer).await {
        Ok((client, IssuedToken { token, expires_in }, granted)) => {
            let caller = api.asking(&request, Some(client));
            api.record(AuditedEvent::TokenIssued { caller, scopes: granted.len(), expires_in });
            uncached(StatusCode::OK).json(json!({
                "access_token": token,
                "token_type": "bearer",
                "expires_in": expires_in,
                "scope": granted.to_string(),
            }))
        }
        Err(error) => {
            telemetry::token_refused(error.reason());
            let caller = api.asking(&request, None);
            api.record(AuditedEvent::TokenRefused { caller, reason: error.reason() });
            tracing::info!(reason = error.reason(), "no access token was given");
            error.response(&issuer)
        }
    })
}

async fn give(
    request: &HttpRequest,
    payload: Payload,
    authority: &Authority,
    issuer: &TokenIssuer,
) -> Result<(ClientId, IssuedToken, Scopes), OAuthError> {
    let form = Form::read(request, payload).await?;
    let grant = form.required("grant_type")?;
    if grant != GRANT {
        return Err(OAuthError::UnsupportedGrantType);
    }
    if form.required("client_assertion_type")? != ASSERTION_TYPE {
        let text = format!("The client_assertion_type should be {ASSERTION_TYPE}.");
        return Err(OAuthError::InvalidRequest(text));
    }
    let assertion = form.required("client_assertion")?;
    let scope = form.get("scope").ok_or_else(|| OAuthError::missing("scope"))?;
    // RFC 6749 2.3: one way to authenticate, and this is not it.
    if request.headers().contains_key(header::AUTHORIZATION) {
        let text = "A client authenticates by its client_assertion alone; send no Authorization.";
        return Err(OAuthError::InvalidRequest(text.into()));
    }
    let client = form.get("client_id").filter(|client| !client.is_empty());
    let application =
        authority.authenticate(issuer, assertion, client).await.map_err(|denied| match denied {
            TokenDenied::Assertion(_) => OAuthError::InvalidClient(denied),
            TokenDenied::Unavailable(_) => OAuthError::Unavailable(denied),
        })?;
    let asked: Scopes =
        scope.parse().map_err(|error: ScopeError| OAuthError::InvalidScope(error.to_string()))?;
    let granted = asked.within(&application.scopes);
    if granted.is_empty() {
        let text =
            "None of these scopes can be granted to this client; it may read what it is registered for.";
        return Err(OAuthError::InvalidScope(text.into()));
    }
    if granted.is_too_long() {
        let text = "These scopes, with the restrictions that this client is registered with, are too many for \
                    one token; ask for fewer.";
        return Err(OAuthError::InvalidScope(text.into()));
    }
    let issued = authority.issue(issuer, &application.client_id, &granted).map_err(|error| {
        tracing::error!(%error, "an access token could not be signed");
        OAuthError::ServerError
    })?;
    tracing::info!(client = %application.client_id, tenant = %issuer.tenant, "an access token was given");
    Ok((application.client_id.clone(), issued, granted))
}

impl OAuthError {
    /// A parameter is not there.
    pub fn missing(name: &str) -> Self {
        Self::InvalidRequest(format!("The parameter {name} is missing."))
    }

    /// Its name in metrics and logs.
    fn reason(&self) -> &'static str {
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

    /// What is answered.
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
                format!("The grant_type should be {GRANT}."),
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

/// HTTP wants a challenge with each 401; which scheme it is does not matter to OAuth clients.
fn challenge(issuer: &TokenIssuer) -> String {
    format!("Bearer realm=\"{}\"", issuer.url)
}

/// An answer that nobody keeps (RFC 6749 5.1).
pub fn uncached(status: StatusCode) -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response.insert_header((header::PRAGMA, "no-cache"));
    response
}

/// The characters that a description may have (RFC 6749 5.2).
fn allowed(text: &str) -> String {
    let is_allowed = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
    text.chars().map(|c| if is_allowed(c) { c } else { '?' }).collect()
}
