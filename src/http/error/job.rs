//! Jobs that are not there, have failed, or cannot be deleted, and files that they do not have.

use actix_web::http::StatusCode;

use super::ApiError;
use crate::fhir::IssueCode;
use crate::job::FailureReason;
use crate::{CancelError, JobAbsent, OpenFileError};

impl ApiError {
    /// There is no job of that id, or it is somebody else's (P10).
    pub fn unknown_job() -> Self {
        let text =
            "The bulk data request id is not known; use the Content-Location that the kick-off returned.";
        Self::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
    }

    /// The job was cancelled or deleted, or has expired (C5).
    pub fn deleted() -> Self {
        let text = "The bulk data request was cancelled or deleted, or has expired; start a new export.";
        Self::new(StatusCode::NOT_FOUND, IssueCode::Deleted, text)
    }

    /// The job was not deleted, so it has no receipt.
    pub fn not_deleted() -> Self {
        let text = "The bulk data request was not deleted, so there is no receipt; DELETE it first.";
        Self::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
    }

    /// The job has no such file.
    pub fn unknown_file() -> Self {
        let text = "The bulk data request has no such file; use the urls of its manifest.";
        Self::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
    }

    /// The manifest of the job has no such page.
    pub fn unknown_page() -> Self {
        let text = "The manifest has no such page; use the url of its link.";
        Self::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
    }

    /// The client has the same export at `job` (C10).
    pub fn duplicate(job: String) -> Self {
        let text = format!("You have requested the same export already: poll it, or delete it first: {job}.");
        Self { links: vec![job], ..Self::new(StatusCode::CONFLICT, IssueCode::Duplicate, text) }
    }

    /// The job failed for good: no transient issue code (ST-5, ST-6). What the client can mend is a 4xx (K-8),
    /// the same at the kick-off and afterwards.
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

impl From<JobAbsent> for ApiError {
    fn from(absent: JobAbsent) -> Self {
        match absent {
            JobAbsent::Unknown => Self::unknown_job(),
            JobAbsent::Deleted => Self::deleted(),
        }
    }
}

impl From<CancelError> for ApiError {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::AlreadyDeleted => Self::deleted(),
            CancelError::NotFound => Self::unknown_job(),
            // P1: recorded, but not confirmed on disk.
            CancelError::HalfDurable => {
                let text = "The deletion is recorded and will be carried out, but could not be confirmed on disk; \
                            the request answers 404 from now on.";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, IssueCode::Exception, text)
            }
            CancelError::Stopped => Self::internal(),
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
