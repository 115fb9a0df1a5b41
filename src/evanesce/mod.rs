//! The embedding API: a running instance with its own thread and its own actix system, usable from any async
//! runtime (DESIGN section 5). It is the one door: whatever HTTP, the control socket and `evanesce serve` do,
//! they do through it, and so can a host without them. What only they need is `pub(crate)` here.

mod download;
mod jobs;
mod orders;
mod pages;
mod source;

use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix::{Addr, System};
use futures_util::future::{Either, select};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::actors::{
    CancelReply, Canceller, Halt, JobMessage, Orchestrator, Services, Submit, SubmitError, Tell,
};
use crate::audit::{self, AuditedEvent};
use crate::builder::Builder;
use crate::clock::Clock;
use crate::config::Config;
use crate::job::{ClientId, ExportRequest, JobId, JobState, Kickoff, Receipt, TenantId};
use crate::lock::DirLock;
use crate::receipts::ReceiptsError;
use crate::telemetry::{self, Fatal};
use crate::view::LocalView;

pub(crate) use download::Download;
pub use download::{OpenFile, OpenFileError};
pub use jobs::{JobAbsent, JobOverview, JobOwner, JobSnapshot};
pub use orders::Readiness;
pub use pages::{ManifestPage, PageAbsent};
pub use source::SourceReadError;

/// The tenant of exports that are submitted by the host itself.
const DEFAULT_TENANT: &str = "default";

/// Why a job was not cancelled.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelled {
    /// When the cancellation was requested.
    pub at: Timestamp,
}

/// An export that is submitted, with all that can be said of it.
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
    /// A request, as a job with a new id and with the limits of any client.
    pub fn new(request: ExportRequest) -> Self {
        Self { job: JobId::random(), request, max_active_jobs: None }
    }
}

/// The actors and what they work with.
pub(crate) struct Running {
    pub(crate) services: Arc<Services>,
    pub(crate) orchestrator: Addr<Orchestrator>,
    pub(crate) system: System,
    /// The runtime of the actors.
    pub(crate) runtime: Handle,
    /// Held as long as the instance lives.
    pub(crate) _lock: Arc<DirLock>,
}

struct Inner {
    running: Running,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A running instance. Clones are handles on the same one; dropping the last one stops it as
/// [`Evanesce::stop`] does.
#[derive(Clone)]
pub struct Evanesce(Arc<Inner>);

impl Evanesce {
    pub(crate) fn new(running: Running, thread: JoinHandle<()>) -> Self {
        Self(Arc::new(Inner { running, thread: Mutex::new(Some(thread)) }))
    }

    /// Begins to set an instance up.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Queues an export for `owner`; resolves with its id when it is durably queued.
    pub async fn submit(&self, kickoff: Kickoff, owner: ClientId) -> Result<JobId, SubmitError> {
        let tenant = DEFAULT_TENANT.parse().expect("a constant that is a valid name");
        self.submit_for(tenant, kickoff, owner).await
    }

    /// As [`Evanesce::submit`], for a tenant.
    pub async fn submit_for(
        &self,
        tenant: TenantId,
        kickoff: Kickoff,
        owner: ClientId,
    ) -> Result<JobId, SubmitError> {
        let request = ExportRequest::new(tenant, owner, kickoff, self.services().clock.now());
        self.submit_as(Submission::new(request)).await
    }

    /// As [`Evanesce::submit`], with all that can be said of an export. A request has
    /// [`bounds`](crate::job::bounds).
    pub async fn submit_as(&self, submission: Submission) -> Result<JobId, SubmitError> {
        let Submission { job, request, max_active_jobs } = submission;
        request.check_bounds().inspect_err(|_| telemetry::kickoff_refused("too-costly"))?;
        let (reply, answer) = oneshot::channel();
        self.0.running.orchestrator.do_send(Submit { job, request, max_active_jobs, reply });
        let submitted = answer.await.unwrap_or(Err(SubmitError::Failed));
        submitted.inspect_err(|error| telemetry::kickoff_refused(error.name()))
    }

    /// Ends a job, whatever its state, and has its files erased. Resolves when the mark is
    /// durable and its URLs answer 404; the files go after that ([`Evanesce::wait_erased`]).
    /// Dropping the future gives up the answer, not the cancellation.
    pub async fn cancel(&self, job: JobId, by: ClientId) -> Result<Cancelled, CancelError> {
        self.cancel_as(job, by, Uuid::new_v4().to_string()).await
    }

    /// As [`Evanesce::cancel`], for a request with a name: the same request sent again gets
    /// the same answer until the files are gone.
    pub async fn cancel_as(
        &self,
        job: JobId,
        by: ClientId,
        request_id: String,
    ) -> Result<Cancelled, CancelError> {
        self.end(job, Canceller::Client(by), request_id).await
    }

    /// As [`Evanesce::cancel_as`], because the application that owns the job may do nothing any
    /// more: its receipt says `revoked`, and names nobody who asked.
    pub async fn revoke(&self, job: JobId, request_id: String) -> Result<Cancelled, CancelError> {
        self.end(job, Canceller::Revocation, request_id).await
    }

    async fn end(&self, job: JobId, by: Canceller, request_id: String) -> Result<Cancelled, CancelError> {
        let (reply, answer) = oneshot::channel();
        let message = JobMessage::Cancel { by, request_id, reply };
        self.0.running.orchestrator.do_send(Tell { job, message });
        match answer.await {
            Ok(CancelReply::Accepted { at }) => Ok(Cancelled { at }),
            Ok(CancelReply::AlreadyDeleted) => Err(CancelError::AlreadyDeleted),
            Ok(CancelReply::NotFound) => Err(CancelError::NotFound),
            Ok(CancelReply::HalfDurable) => Err(CancelError::HalfDurable),
            Err(_) => Err(CancelError::Stopped),
        }
    }

    /// Resolves when the job is erased, with its receipt; `None` if there is no such job (any
    /// more). Waits for ever if nobody ends the job.
    pub async fn wait_erased(&self, job: JobId) -> Result<Option<Receipt>, ReceiptsError> {
        let gone = |view: &LocalView| match view.get(job) {
            None => Some(()),
            Some(published) => matches!(published.record.state, JobState::Erased(_)).then_some(()),
        };
        self.services().view().wait_for(gone).await;
        self.services().receipts.find(job)
    }

    /// Resolves with the state of a job when it is complete, failed or deleted; `None` if
    /// there is no such job.
    pub async fn wait_finished(&self, job: JobId) -> Option<JobState> {
        let finished = |view: &LocalView| match view.get(job) {
            None => Some(None),
            Some(published) => {
                let state = published.record.state.clone();
                (!state.name().is_active()).then_some(Some(state))
            }
        };
        self.services().view().wait_for(finished).await
    }

    /// Stops the instance: exports stop between two writes and go on at the next start; what
    /// was submitted to the store is committed; the lock is released. Resolves when all of
    /// that is done, after `grace` at the latest for workers that do not stop.
    pub async fn stop(&self, grace: Duration) {
        let inner = self.0.clone();
        let (done, stopped) = oneshot::channel();
        std::thread::spawn(move || {
            inner.stop(grace);
            let _ = done.send(());
        });
        let _ = stopped.await;
    }

    /// Returns the settings.
    pub fn config(&self) -> &Config {
        &self.services().config
    }

    /// Returns the wall time, by the clock that the instance was given.
    pub fn now(&self) -> Timestamp {
        self.services().clock.now()
    }

    /// The wall clock.
    pub(crate) fn clock(&self) -> &Clock {
        &self.services().clock
    }

    /// How to give up.
    pub(crate) fn fatal(&self) -> &Fatal {
        &self.services().fatal
    }

    /// Records what somebody did, or was refused.
    pub(crate) fn record(&self, event: AuditedEvent) {
        self.services().audit.record(event);
    }

    /// Records the start of a download, and its end when the record is dropped ([`audit::AuditedDownload`]).
    pub(crate) fn record_download(
        &self,
        caller: audit::AuditedCaller,
        job: JobId,
        file: &str,
        length: Option<u64>,
    ) -> audit::AuditedDownload {
        self.services().audit.download(caller, job, file, length)
    }

    /// How long it takes until there may be room for another export of the tenant.
    pub(crate) fn room_expected_in(&self, tenant: &TenantId) -> Duration {
        self.services().space.retry_after(tenant)
    }

    fn services(&self) -> &Services {
        &self.0.running.services
    }

    /// The runtime of the actors, which has no time for what blocks.
    fn runtime(&self) -> &Handle {
        &self.0.running.runtime
    }

    /// Where a call that blocks runs: in the caller's runtime, so that those of the actors do not wait for it.
    fn blocking_pool(&self) -> Handle {
        Handle::try_current().unwrap_or_else(|_| self.runtime().clone())
    }

    /// Waits for `what` at most so long, whatever runtime the caller has; `None` if that was too short.
    async fn within<T>(&self, patience: Duration, what: impl Future<Output = T>) -> Option<T> {
        let timer = self.runtime().spawn(async move { tokio::time::sleep(patience).await });
        let end = timer.abort_handle();
        match select(pin!(what), timer).await {
            Either::Left((done, _)) => {
                end.abort();
                Some(done)
            }
            Either::Right(_) => None,
        }
    }
}

impl Inner {
    fn stop(&self, grace: Duration) {
        // Kept until the end: whoever else stops it waits for that too.
        let mut running = self.thread.lock();
        let Some(thread) = running.take() else { return };
        let Running { services, orchestrator, system, .. } = &self.running;
        // Before anybody waits for it to be idle: an actor may be about to queue a job's parts.
        services.pool.close();
        orchestrator.do_send(Halt);
        services.exporters.stop();
        if !services.pool.wait_idle(grace) {
            tracing::warn!("workers did not stop in time; their parts run again at the next start");
        }
        system.stop();
        // A task that hangs, in a source that does not answer, must not hold up the end.
        let until = Instant::now() + grace;
        while !thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        services.committer.close();
        services.audit.record(AuditedEvent::Stopped);
        services.audit.close();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let grace = self.running.services.config.export.cancel_deadline.0;
        self.stop(grace);
    }
}
