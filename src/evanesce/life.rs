//! The life of a job, as whoever owns it has it: submit and cancel. `watch` waits for what becomes of it.

use jiff::Timestamp;
use tokio::sync::oneshot;
use tracing::Span;
use uuid::Uuid;

use super::{DEFAULT_TENANT, Evanesce};
use crate::actors::{CancelReply, Canceller, JobMessage, SendToJob, SubmitJob};
use crate::admission::SubmitError;
use crate::job::{ClientId, ExportRequest, JobId, Kickoff, TenantId};
use crate::telemetry;

/// Why a job was not cancelled.
///
/// ```
/// use evanesce::CancelError;
///
/// let error = CancelError::AlreadyDeleted;
/// assert_eq!(error.to_string(), "the job was deleted before");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CancelError {
    /// There is no such job.
    #[error("there is no such job")]
    NotFound,
    /// It was cancelled, deleted or expired before.
    #[error("the job was deleted before")]
    AlreadyDeleted,
    /// The mark is durable in the store, but not on disk as well: the deletion will be done,
    /// but cannot be promised twice over.
    #[error("the deletion is recorded, but could not be confirmed on disk")]
    HalfDurable,
    /// The instance is going down; ask again after the next start.
    #[error("the instance is going down")]
    Stopped,
}

/// A mark that is durable, in the store and on disk (P1).
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// let cancelled: CancelledJob = evanesce.cancel(job, "me".parse()?).await?;
/// assert!(cancelled.at <= evanesce.now());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CancelledJob {
    /// When the cancellation was requested.
    pub at: Timestamp,
}

/// An export that is submitted, with all that can be said of it.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce) = example::host().await?;
/// let (tenant, owner) = ("default".parse()?, "me".parse()?);
/// let request = ExportRequest::new(tenant, owner, Kickoff::system(), evanesce.now());
/// let one = Submission { max_active_jobs: Some(1), ..Submission::new(request) };
/// assert_eq!(evanesce.submit_as(one.clone()).await?, one.job);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// The job that it is going to be; no other has this id.
    pub job: JobId,
    /// What to export, for whom, and what the export may hold ([`ExportRequest::access`]).
    pub request: ExportRequest,
    /// Jobs that its owner may have queued or running; 0 = no such limit, `None` = as many as
    /// any client of its tenant.
    pub max_active_jobs: Option<usize>,
}

impl Submission {
    /// Creates the submission of a request, with a new job id and the limits of any client.
    pub fn new(request: ExportRequest) -> Self {
        Self { job: JobId::random(), request, max_active_jobs: None }
    }
}

impl Evanesce {
    /// Queues an export for `owner`; resolves with its id when it is durably queued.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// let job = evanesce.submit(Kickoff::system(), "me".parse()?).await?;
    /// assert_eq!(evanesce.job(&"me".parse::<ClientId>()?.into(), job).await?.id(), job);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn submit(&self, kickoff: Kickoff, owner: ClientId) -> Result<JobId, SubmitError> {
        let tenant = DEFAULT_TENANT.parse().expect("a constant that is a valid name");
        self.submit_for(tenant, kickoff, owner).await
    }

    /// Queues an export as [`Evanesce::submit`] does, for a tenant.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// let job = evanesce.submit_for("north".parse()?, Kickoff::system(), "me".parse()?).await?;
    /// let owner = JobOwner { tenant: "north".parse()?, client: "me".parse()? };
    /// assert!(evanesce.job(&owner, job).await.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn submit_for(
        &self,
        tenant: TenantId,
        kickoff: Kickoff,
        owner: ClientId,
    ) -> Result<JobId, SubmitError> {
        let request = ExportRequest::new(tenant, owner, kickoff, self.services().clock.now());
        self.submit_as(Submission::new(request)).await
    }

    /// As [`Evanesce::submit`], with all that can be said of an export. What a request may
    /// hold has bounds; one beyond them is [`SubmitError::Exceeded`].
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// let (tenant, owner) = ("default".parse()?, "me".parse()?);
    /// let request = ExportRequest::new(tenant, owner, Kickoff::system(), evanesce.now());
    /// let nothing = ExportRequest { access: ExportAccess::of_types([].into())?, ..request };
    /// let job = evanesce.submit_as(Submission::new(nothing)).await?;
    /// let state = evanesce.wait_finished(job).await;
    /// assert!(matches!(state, Some(JobState::Failed(Failure { reason: FailureReason::AccessExceeded, .. }))));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn submit_as(&self, submission: Submission) -> Result<JobId, SubmitError> {
        let Submission { job, request, max_active_jobs } = submission;
        request.check_bounds().inspect_err(|_| telemetry::kickoff_refused("too-costly"))?;
        let (reply, answer) = oneshot::channel();
        let asked_in = Span::current();
        self.0.running.orchestrator.do_send(SubmitJob { job, request, max_active_jobs, asked_in, reply });
        let submitted = answer.await.unwrap_or(Err(SubmitError::Failed));
        submitted.inspect_err(|error| telemetry::kickoff_refused(error.name()))
    }

    /// Ends a job, whatever its state, and has its files erased. Resolves when the mark is
    /// durable and its URLs answer 404; the files go after that ([`Evanesce::wait_erased`]).
    /// Dropping the future gives up the answer, not the cancellation.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce, job) = example::complete().await?;
    /// evanesce.cancel(job, "me".parse()?).await?;
    /// // From here on the files go, whatever happens to this process.
    /// assert_eq!(evanesce.cancel(job, "me".parse()?).await, Err(CancelError::AlreadyDeleted));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cancel(&self, job: JobId, by: ClientId) -> Result<CancelledJob, CancelError> {
        self.cancel_as(job, by, Uuid::new_v4().to_string()).await
    }

    /// As [`Evanesce::cancel`], for a request with a name: the same request sent again gets
    /// the same answer until the files are gone.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce, job) = example::complete().await?;
    /// let once = evanesce.cancel_as(job, "me".parse()?, "request-7".into()).await?;
    /// assert!(once.at <= evanesce.now());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cancel_as(
        &self,
        job: JobId,
        by: ClientId,
        request_id: String,
    ) -> Result<CancelledJob, CancelError> {
        self.end(job, Canceller::Client(by), request_id).await
    }

    /// As [`Evanesce::cancel_as`], because the application that owns the job may do nothing any
    /// more: its receipt says `revoked`, and names nobody who asked.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce, job) = example::complete().await?;
    /// evanesce.revoke(job, "request-8".into()).await?;
    /// let receipt = evanesce.wait_erased(job).await?.expect("it was there");
    /// assert_eq!(receipt.reason, MarkReason::Revoked);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn revoke(&self, job: JobId, request_id: String) -> Result<CancelledJob, CancelError> {
        self.end(job, Canceller::Revocation, request_id).await
    }

    async fn end(&self, job: JobId, by: Canceller, request_id: String) -> Result<CancelledJob, CancelError> {
        let (reply, answer) = oneshot::channel();
        let message = JobMessage::Cancel { by, request_id, reply };
        self.0.running.orchestrator.do_send(SendToJob { job, message });
        match answer.await {
            Ok(CancelReply::Accepted { at }) => Ok(CancelledJob { at }),
            Ok(CancelReply::AlreadyDeleted) => Err(CancelError::AlreadyDeleted),
            Ok(CancelReply::NotFound) => Err(CancelError::NotFound),
            Ok(CancelReply::HalfDurable) => Err(CancelError::HalfDurable),
            Err(_) => Err(CancelError::Stopped),
        }
    }
}
