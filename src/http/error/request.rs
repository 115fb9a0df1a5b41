//! Requests that cannot be understood, or ask for what there is not.

use actix_web::http::StatusCode;

use super::ApiError;
use crate::fhir::IssueCode;

impl ApiError {
    /// No route leads to the URL.
    pub fn no_route() -> Self {
        let text = "There is nothing at this URL; GET {base}/metadata names what there is.";
        Self::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
    }

    /// The source has no such resource. Its id may name a patient and is not echoed (P12).
    pub fn unknown_resource() -> Self {
        let text = "There is no resource of this type with this id.";
        Self::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
    }

    /// The method is not one of those in `allow`.
    pub fn method_not_allowed(allow: &str) -> Self {
        let takes = if allow.is_empty() { "none" } else { allow };
        let text = format!("This URL does not take this method; it takes {takes}.");
        let error = Self::new(StatusCode::METHOD_NOT_ALLOWED, IssueCode::NotSupported, text);
        Self { allow: Some(allow.into()), ..error }
    }

    /// `Accept` excludes everything that can be answered, or a needed `Prefer` is missing.
    pub fn not_acceptable(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, IssueCode::Structure, text)
    }

    /// A condition of the request does not hold (RFC 9110, 13); nothing was done.
    pub fn precondition_failed(why: &str) -> Self {
        let text = format!("Nothing was done: {why}; read it again, and send the ETag that it has now.");
        Self::new(StatusCode::PRECONDITION_FAILED, IssueCode::Conflict, text)
    }

    /// The URL cannot be understood.
    pub fn malformed_url(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, IssueCode::Structure, text)
    }

    /// The body cannot be understood.
    pub fn malformed_body(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, IssueCode::Structure, text)
    }

    /// The body is of another media type.
    pub fn unsupported_media_type(right: &str) -> Self {
        let text = format!("The body is of a media type that is not read here; send Content-Type: {right}.");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, IssueCode::Structure, text)
    }

    /// The body is compressed, or in another coding. Bodies are not decoded: a small one may become huge.
    pub fn unsupported_content_coding() -> Self {
        let text = "The body is in a content coding that is not read here; send it without Content-Encoding.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, IssueCode::Structure, text)
    }

    /// A parameter has a value that makes no sense.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, IssueCode::Invalid, text)
    }

    /// A parameter, or its repetition, is not supported.
    pub fn unsupported_parameter(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, IssueCode::NotSupported, text)
    }

    /// A resource type is not exported (C9).
    pub fn unsupported_type(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, IssueCode::NotSupported, text)
    }
}
