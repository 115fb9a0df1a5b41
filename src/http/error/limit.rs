//! More than may be asked, at once or at all (P13).

use actix_web::http::StatusCode;

use super::ApiError;
use crate::fhir::IssueCode;
use crate::job::bounds::BoundExceeded;
use crate::space::NoRoom;

impl ApiError {
    fn throttled_by(text: impl Into<String>, retry_after: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, IssueCode::Throttled, text).after(retry_after)
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

    /// The body is longer than `limit` bytes.
    pub fn body_too_long(limit: usize) -> Self {
        let text = format!("The body is too long; it may have {limit} bytes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, IssueCode::TooLong, text)
    }

    /// The body did not arrive in time.
    pub fn body_too_slow() -> Self {
        let text = "The body did not arrive in time; send the request again.";
        Self::new(StatusCode::REQUEST_TIMEOUT, IssueCode::Timeout, text)
    }

    /// Too many requests of an address or of a client (G-11).
    pub fn too_many_requests(retry_after: u64) -> Self {
        let text =
            "Too many requests come from your address or this client; try again after the Retry-After.";
        Self::throttled_by(text, retry_after)
    }

    /// Too many downloads are open (G-11).
    pub fn too_many_downloads(retry_after: u64) -> Self {
        let text = "Too many downloads are open; end one, or try again after the Retry-After.";
        Self::throttled_by(text, retry_after)
    }

    /// Too many large bodies are being read (P13).
    pub fn too_many_bodies(retry_after: u64) -> Self {
        let text =
            "Too many large requests are being read; send a smaller one, or try again after the Retry-After.";
        Self::throttled_by(text, retry_after)
    }

    /// Too many jobs are queued or running (K-9).
    pub fn throttled(retry_after: u64) -> Self {
        let text = "Too many exports are queued or running; delete one, or try again after the Retry-After.";
        Self::throttled_by(text, retry_after)
    }

    /// Too many jobs of this client are queued or running, some of them at `jobs`: it can delete one (K-9).
    pub fn too_many_jobs(jobs: Vec<String>, retry_after: u64) -> Self {
        let text = format!(
            "You have too many exports queued or running; delete one, or try again after the Retry-After. \
             Some of them: {}.",
            jobs.join(", ")
        );
        Self { links: jobs, ..Self::throttled_by(text, retry_after) }
    }

    /// Too many finished jobs of this client are kept, some of them at `jobs` (P13).
    pub fn too_many_kept(jobs: Vec<String>, retry_after: u64) -> Self {
        let text = format!(
            "You have too many exports that are finished and still kept; delete those whose files you have, or \
             try again after the Retry-After. Some of them: {}.",
            jobs.join(", ")
        );
        Self { links: jobs, ..Self::throttled_by(text, retry_after) }
    }

    /// Too many jobs of this client are known, most of them deleted (P13).
    pub fn too_many_known(retry_after: u64) -> Self {
        let text = "You have started too many exports in the last weeks, and deleted ones are remembered for long; \
                    start fewer that ask for more, or ask the operator.";
        Self::throttled_by(text, retry_after)
    }

    /// A job is polled too often (ST-4). The code is a transient one: the job itself is well.
    pub fn polled_too_often(retry_after: u64) -> Self {
        let text = "The export is polled too often; wait as long as each Retry-After says.";
        Self::throttled_by(text, retry_after)
    }

    /// The source cannot be asked now.
    pub fn busy(retry_after: u64) -> Self {
        let text = "The source is being indexed; try again after the Retry-After.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, IssueCode::Transient, text).after(retry_after)
    }

    /// There is no room for another export: now, when a client may try again, or ever.
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
        error.after(retry_after.as_secs())
    }
}

/// The request asks for more than one export may.
impl From<BoundExceeded> for ApiError {
    fn from(exceeded: BoundExceeded) -> Self {
        Self::new(StatusCode::BAD_REQUEST, IssueCode::TooCostly, exceeded.to_string())
    }
}
