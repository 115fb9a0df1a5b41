//! The one place where an error becomes a status and an OperationOutcome (REQUIREMENTS sections 3, 5 and 7).
//! The constructors stand in `access` (who may), `request` (what cannot be understood), `job` (what an export
//! or its files cannot do) and `limit` (how much may be asked). Each text says what was wrong and what would be
//! right; it names no path and nobody else's id.

mod access;
mod job;
mod limit;
pub mod oauth;
mod request;

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};

use crate::fhir::{IssueCode, OperationOutcome, Severity};

/// The media type of everything but manifests and NDJSON (G-10).
pub const FHIR_JSON: &str = "application/fhir+json";

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: IssueCode,
    text: String,
    retry_after: Option<u64>,
    allow: Option<String>,
    links: Vec<String>,
    /// `WWW-Authenticate` (G-8).
    challenge: Option<String>,
}

impl ApiError {
    fn new(status: StatusCode, code: IssueCode, text: impl Into<String>) -> Self {
        let (retry_after, allow, links, challenge) = (None, None, Vec::new(), None);
        Self { status, code, text: text.into(), retry_after, allow, links, challenge }
    }

    /// Returns the error with a `Retry-After` of so many seconds.
    fn after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// Returns the error with a `WWW-Authenticate`.
    fn challenging(self, challenge: String) -> Self {
        Self { challenge: Some(challenge), ..self }
    }

    /// Returns the code of its issue.
    pub fn code(&self) -> IssueCode {
        self.code
    }

    /// Returns the seconds after which the client may try again.
    pub fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }

    /// The fault is ours.
    pub fn internal() -> Self {
        let text = "The server could not do this; try again, and tell the operator the reference id.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, IssueCode::Exception, text)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let severity = if self.status.is_server_error() { Severity::Fatal } else { Severity::Error };
        let outcome = OperationOutcome::new(severity, self.code, &self.text).with_reference();
        let mut response = outcome_response(self.status, &outcome);
        let mut add = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().append(name, value);
            }
        };
        if let Some(seconds) = self.retry_after {
            add(header::RETRY_AFTER, &seconds.to_string());
        }
        for link in &self.links {
            add(header::LINK, &format!("<{link}>; rel=\"related\""));
        }
        if let Some(challenge) = &self.challenge {
            add(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(allow) = &self.allow {
            add(header::ALLOW, allow);
        }
        response
    }
}

/// Returns an OperationOutcome as a response (G-10, G-12).
pub fn outcome_response(status: StatusCode, outcome: &OperationOutcome) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, FHIR_JSON))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(outcome.to_json())
}
