//! From a kick-off to a job. [`KickoffAdmission`] decides by the limits of jobs at once and by what was
//! asked for before (K-9, C10); the orchestrator asks it in the message that inserts the job, so that of
//! two kick-offs at once only one gets the last place. [`JobCreator`] then lets the exporter look at the
//! request, reserves room and makes the directory.

mod creation;
mod limits;
mod pending;

use crate::job::bounds::BoundExceeded;
use crate::job::{FailureReason, JobId};
use crate::space::NoRoom;

pub use creation::{CreationError, JobCreator};
pub use limits::{JobLimits, KickoffAdmission};
pub use pending::PendingKickoff;

/// Why a kick-off was not accepted.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce) = example::host().await?;
/// let (tenant, owner) = ("default".parse()?, "me".parse()?);
/// let request = ExportRequest::new(tenant, owner, Kickoff::system(), evanesce.now());
/// let none = Submission { max_active_jobs: Some(0), ..Submission::new(request) };
/// println!("{:?}", evanesce.submit_as(none).await.map_err(|error| error.name()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// As many exports are queued or running as `export.max_active_jobs` allows.
    #[error("too many exports are queued or running")]
    TooManyJobs,
    /// As many exports of the tenant are queued or running as it may have.
    #[error("too many exports of the tenant are queued or running")]
    TenantBusy,
    /// As many exports of the client are queued or running as it may have. Names some of them.
    #[error("too many exports of the client are queued or running")]
    ClientBusy(Vec<JobId>),
    /// As many exports of the client are active or kept as it may have. Names some of those kept.
    #[error("too many finished exports of the client are kept")]
    TooManyKept(Vec<JobId>),
    /// As many exports of the client are known, deleted ones included, as may be.
    #[error("too many exports of the client are known")]
    TooManyKnown,
    /// The request asks for more than one export may have.
    #[error(transparent)]
    Exceeded(#[from] BoundExceeded),
    /// The same export is active or complete, as this job.
    #[error("the same export is there already: {0}")]
    Duplicate(JobId),
    /// There is no such tenant.
    #[error("there is no such tenant")]
    UnknownTenant,
    /// There is no room for the export, or could never be.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The exporter refused the export.
    #[error("the export was refused: {}", .0.text())]
    Refused(FailureReason),
    /// The job could not be recorded.
    #[error("the export could not be recorded")]
    Failed,
}

impl SubmitError {
    /// Returns the reason's name in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooManyJobs => "too-many-jobs",
            Self::TenantBusy => "tenant-busy",
            Self::ClientBusy(_) => "client-busy",
            Self::TooManyKept(_) => "too-many-kept",
            Self::TooManyKnown => "too-many-known",
            Self::Exceeded(_) => "too-costly",
            Self::Duplicate(_) => "duplicate",
            Self::NoRoom(limit) => limit.name(),
            Self::UnknownTenant => "unknown-tenant",
            Self::Refused(_) => "exporter",
            Self::Failed => "failed",
        }
    }
}
