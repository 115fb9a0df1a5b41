//! The one place where an error becomes a status and an OperationOutcome (REQUIREMENTS
//! sections 3, 5 and 7). The texts say what was wrong and what would be right; they name no
//! path and nobody else's id.

pub mod oauth;

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};

use crate::auth::TokenError;
use crate::fhir::{IssueCode, OperationOutcome, Severity};
use crate::job::FailureReason;
use crate::job::bounds::BoundExceeded;
use crate::space::NoRoom;
use crate::{JobAbsent, OpenFileError};

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

    /// The code of its issue.
    pub fn code(&self) -> IssueCode {
        self.code
    }

    /// Seconds after which the client may try again.
    pub fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }

    /// There is no access token (G-8). `realm` is the base URL that it would be for.
    pub fn no_token(realm: &str) -> Self {
        let text = "An access token is needed; {base}/.well-known/smart-configuration says where to get one.";
        let error = Self::new(StatusCode::UNAUTHORIZED, IssueCode::Login, text);
        Self { challenge: Some(format!("Bearer realm=\"{realm}\"")), ..error }
    }

    /// The access token is not good, or not any more.
    pub fn bad_token(realm: &str, error: TokenError) -> Self {
        let (code, text) = match error {
            TokenError::Invalid => (IssueCode::Login, "The access token is not valid here; get another one."),
            TokenError::Expired => (IssueCode::Expired, "The access token has expired; get another one."),
        };
        let challenge = format!("Bearer realm=\"{realm}\", error=\"invalid_token\"");
        Self { challenge: Some(challenge), ..Self::new(StatusCode::UNAUTHORIZED, code, text) }
    }

    /// The access token stands where it should not, or more than once (RFC 6750 2 and 3.1).
    pub fn misplaced_token(realm: &str, text: &str) -> Self {
        let challenge = format!("Bearer realm=\"{realm}\", error=\"invalid_request\"");
        Self { challenge: Some(challenge), ..Self::new(StatusCode::BAD_REQUEST, IssueCode::Login, text) }
    }

    /// The application may not do this, whatever its token says.
    pub fn forbidden(text: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, IssueCode::Forbidden, text)
    }

    /// The tenant, or the application, is not known or not active.
    pub fn unknown_application() -> Self {
        let text =
            "The population application is not defined or not active; check the {tenant} in /r4/{tenant}.";
        Self::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
    }

    /// No job of that id, or somebody else's (P10).
    pub fn unknown_job() -> Self {
        let text =
            "The bulk data request id is not known; use the Content-Location that the kick-off answered.";
        Self::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
    }

    /// The job was cancelled, deleted or has expired (C5).
    pub fn deleted() -> Self {
        let text = "The bulk data request was cancelled or deleted, or has expired; start a new export.";
        Self::new(StatusCode::NOT_FOUND, IssueCode::Deleted, text)
    }

    /// The job has no such file.
    pub fn unknown_file() -> Self {
        let text = "The bulk data request has no such file; use the urls of its manifest.";
        Self::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
    }

    /// No route leads there.
    pub fn no_route() -> Self {
        let text = "There is nothing at this URL; GET {base}/metadata names what there is.";
        Self::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
    }

    /// The source has no such resource. Its id may name a patient and is not echoed (P12).
    pub fn unknown_resource() -> Self {
        let text = "There is no resource of this type with this id.";
        Self::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
    }

    /// The source cannot be asked now.
    pub fn busy(retry_after: u64) -> Self {
        let text = "The source is being indexed; try again after the Retry-After.";
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, IssueCode::Transient, text);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// The method is not one of those in `allow`.
    pub fn method_not_allowed(allow: &str) -> Self {
        let takes = if allow.is_empty() { "none" } else { allow };
        let text = format!("This URL does not take this method; it takes {takes}.");
        let error = Self::new(StatusCode::METHOD_NOT_ALLOWED, IssueCode::NotSupported, text);
        Self { allow: Some(allow.into()), ..error }
    }

    /// It is not the operator who asks.
    pub fn not_the_operator() -> Self {
        let text = "Send Authorization: Bearer with the operator's token; it stands in the file that \
                    admin.token_file names.";
        let error = Self::new(StatusCode::UNAUTHORIZED, IssueCode::Login, text);
        Self { challenge: Some("Bearer realm=\"operators\"".into()), ..error }
    }

    /// An order that is not carried out; the text says why.
    pub fn order_refused(text: String) -> Self {
        Self::new(StatusCode::CONFLICT, IssueCode::Conflict, text)
    }

    /// `Accept` excludes everything that can be answered; or a needed `Prefer` is missing.
    pub fn not_acceptable(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, IssueCode::Structure, text)
    }

    /// A condition of the request does not hold (RFC 9110, 13), and so nothing was done.
    pub fn precondition_failed(why: &str) -> Self {
        let text = format!("Nothing was done: {why}; read it again, and send the ETag that it has now.");
        Self::new(StatusCode::PRECONDITION_FAILED, IssueCode::Conflict, text)
    }

    /// The request is for another host than those that are answered for.
    pub fn misdirected() -> Self {
        let text = "This server asks nobody who they are, and so answers only for localhost, loopback addresses \
                    and the host of server.public_url; use one of them in the URL.";
        Self::new(StatusCode::MISDIRECTED_REQUEST, IssueCode::Security, text)
    }

    /// The URL cannot be understood.
    pub fn malformed_url(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, IssueCode::Structure, text)
    }

    /// The body of a POST cannot be understood.
    pub fn malformed_body(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, IssueCode::Structure, text)
    }

    /// The body of a POST is of another media type.
    pub fn unsupported_media_type(right: &str) -> Self {
        let text = format!("The body is of a media type that is not read here; send Content-Type: {right}.");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, IssueCode::Structure, text)
    }

    /// The body of a POST is compressed, or in another coding. It is not decoded: what is small may
    /// become huge.
    pub fn unsupported_content_coding() -> Self {
        let text = "The body is in a content coding that is not read here; send it without Content-Encoding.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, IssueCode::Structure, text)
    }

    /// The body of a POST is longer than `limit` bytes.
    pub fn body_too_long(limit: usize) -> Self {
        let text = format!("The body is too long; it may have {limit} bytes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, IssueCode::TooLong, text)
    }

    /// The body of a POST did not come to its end in time.
    pub fn body_too_slow() -> Self {
        let text = "The body did not come to its end in time; send the request again.";
        Self::new(StatusCode::REQUEST_TIMEOUT, IssueCode::Timeout, text)
    }

    /// The token that came is good, but its scopes do not reach so far (SCP-3, F-2, G-8). `realm` is
    /// the base URL that it is for.
    pub fn beyond_scopes(realm: &str, text: impl Into<String>) -> Self {
        let challenge = format!("Bearer realm=\"{realm}\", error=\"insufficient_scope\"");
        Self { challenge: Some(challenge), ..Self::new(StatusCode::FORBIDDEN, IssueCode::Security, text) }
    }

    /// The application may not export the whole system, or all patients (section 3's table).
    pub fn not_configured(export: &str) -> Self {
        let text = format!(
            "The population application is not configured for {export} export; use Group/{{id}}/$export \
             with one of its groups."
        );
        Self::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
    }

    /// Exports of all patients are switched off (K-15).
    pub fn patient_export_disabled() -> Self {
        let text = "Exports of all patients are not offered here; use Group/{id}/$export.";
        Self::new(StatusCode::NOT_IMPLEMENTED, IssueCode::NotFound, text)
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

    /// The URL is longer than `limit` bytes.
    pub fn url_too_long(limit: usize) -> Self {
        let text = format!("The URL is too long; it may have {limit} bytes.");
        Self::new(StatusCode::URI_TOO_LONG, IssueCode::TooLong, text)
    }

    /// The header fields together are longer than `limit` bytes.
    pub fn headers_too_long(limit: usize) -> Self {
        let text = format!("The header fields are too long; they may have {limit} bytes together.");
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, IssueCode::TooLong, text)
    }

    /// Too many requests of an address or of a client (G-11).
    pub fn too_many_requests(retry_after: u64) -> Self {
        let text = "There are too many requests from where you are; try again after the Retry-After.";
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, IssueCode::Throttled, text);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// Too many downloads are open (G-11).
    pub fn too_many_downloads(retry_after: u64) -> Self {
        let text = "Too many downloads are open; end one, or try again after the Retry-After.";
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, IssueCode::Throttled, text);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// Too many large bodies are being read (P13).
    pub fn too_many_bodies(retry_after: u64) -> Self {
        let text =
            "Too many large requests are being read; send a smaller one, or try again after the Retry-After.";
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, IssueCode::Throttled, text);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// Too many jobs (K-9).
    pub fn throttled(retry_after: u64) -> Self {
        let text = "Too many exports are queued or running; delete one, or try again after the Retry-After.";
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, IssueCode::Throttled, text);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// Too many jobs of this client, of which some are at `jobs`: it can delete one (K-9).
    pub fn too_many_jobs(jobs: Vec<String>, retry_after: u64) -> Self {
        let text = format!(
            "You have too many exports queued or running; delete one, or try again after the Retry-After. \
             Some of them: {}.",
            jobs.join(", ")
        );
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, IssueCode::Throttled, text);
        Self { retry_after: Some(retry_after), links: jobs, ..error }
    }

    /// Too many finished jobs of this client are kept, of which some are at `jobs` (P13).
    pub fn too_many_kept(jobs: Vec<String>, retry_after: u64) -> Self {
        let text = format!(
            "You have too many exports that are finished and still kept; delete those whose files you have, or \
             try again after the Retry-After. Some of them: {}.",
            jobs.join(", ")
        );
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, IssueCode::Throttled, text);
        Self { retry_after: Some(retry_after), links: jobs, ..error }
    }

    /// Too many jobs of this client are known, most of them deleted (P13).
    pub fn too_many_known(retry_after: u64) -> Self {
        let text = "You have started too many exports in the last weeks, and deleted ones are remembered for long; \
                    start fewer that ask for more, or ask the operator.";
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, IssueCode::Throttled, text);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// The client has the same export at `job` (C10).
    pub fn duplicate(job: String) -> Self {
        let text = format!("You have requested the same export already: poll it, or delete it first: {job}.");
        Self { links: vec![job], ..Self::new(StatusCode::CONFLICT, IssueCode::Duplicate, text) }
    }

    /// A job is polled too often (ST-4). The code is a transient one: the job itself is well.
    pub fn polled_too_often(retry_after: u64) -> Self {
        let text = "The export is polled too often; wait as long as each Retry-After says.";
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, IssueCode::Throttled, text);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// The job has no such page of its manifest.
    pub fn unknown_page() -> Self {
        let text = "The manifest has no such page; use the url of its link.";
        Self::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
    }

    /// No room for another export: now, which a client may try again, or ever.
    pub fn no_room(limit: NoRoom) -> Self {
        let (text, retry_after) = match limit {
            NoRoom::Disk { retry_after } => (
                "The disk has no room to store another export; delete exports that are no longer needed, \
                 then try again after the Retry-After.",
                retry_after,
            ),
            NoRoom::Quota { retry_after } => (
                "The exports take all the room that they may take together; delete those that are no longer \
                 needed, then try again after the Retry-After.",
                retry_after,
            ),
            NoRoom::TooLarge => {
                let text = "The export is larger than all exports together may be, and no deletion makes room \
                            for it; ask for less with _type, _since, _until or a Group.";
                return Self::new(StatusCode::UNPROCESSABLE_ENTITY, IssueCode::TooCostly, text);
            }
        };
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, IssueCode::NoStore, text);
        Self { retry_after: Some(retry_after.as_secs()), ..error }
    }

    /// The fault is ours.
    pub fn internal() -> Self {
        let text = "The server could not do this; try again, and tell the operator the reference id.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, IssueCode::Exception, text)
    }

    /// The deletion is recorded, but could not be confirmed on disk (P1).
    pub fn half_durable() -> Self {
        let text = "The deletion is recorded and will be carried out, but could not be confirmed on disk; \
                    the request answers 404 from now on.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, IssueCode::Exception, text)
    }

    /// The job failed for good: no transient issue code (ST-5, ST-6). What the client can
    /// mend is a 4xx (K-8), the same at the kick-off and afterwards.
    pub fn job_failed(reason: FailureReason) -> Self {
        let (status, code) = match reason {
            FailureReason::GroupNotFound | FailureReason::PatientNotFound => {
                (StatusCode::NOT_FOUND, IssueCode::NotFound)
            }
            FailureReason::GroupNested => (StatusCode::BAD_REQUEST, IssueCode::NotSupported),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, IssueCode::Processing),
        };
        Self::new(status, code, reason.text())
    }
}

/// A request that asks for more than one export may (P13).
impl From<BoundExceeded> for ApiError {
    fn from(exceeded: BoundExceeded) -> Self {
        Self::new(StatusCode::BAD_REQUEST, IssueCode::TooCostly, exceeded.to_string())
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
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        for link in &self.links {
            if let Ok(link) = HeaderValue::from_str(&format!("<{link}>; rel=\"related\"")) {
                response.headers_mut().append(header::LINK, link);
            }
        }
        let challenge = self.challenge.as_deref().and_then(|text| HeaderValue::from_str(text).ok());
        if let Some(challenge) = challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(allow) = self.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response
    }
}

impl From<JobAbsent> for ApiError {
    fn from(absent: JobAbsent) -> Self {
        match absent {
            JobAbsent::Unknown => Self::unknown_job(),
            JobAbsent::Deleted => Self::deleted(),
        }
    }
}

impl From<OpenFileError> for ApiError {
    fn from(error: OpenFileError) -> Self {
        match error {
            OpenFileError::Job(absent) => absent.into(),
            OpenFileError::UnknownFile => Self::unknown_file(),
            OpenFileError::Unreadable => Self::internal(),
        }
    }
}

/// An OperationOutcome as a response (G-10, G-12).
pub fn outcome_response(status: StatusCode, outcome: &OperationOutcome) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, FHIR_JSON))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(outcome.to_json())
}
