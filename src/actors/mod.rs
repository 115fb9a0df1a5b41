//! The actors, thin: the orchestrator finds or wakes the actor of a job, the export job
//! performs what `job::transition` asks for, the reaper sweeps, the watcher hints. They all
//! run on one thread; what blocks runs elsewhere.

mod admission;
mod audited;
mod export_job;
mod orchestrator;
mod planners;
mod prune;
mod reaper;
mod watcher;
mod witnesses;

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::audit::AuditLog;
use crate::clock::Clock;
use crate::config::Config;
use crate::erase::Eraser;
use crate::export::{Exporters, Pool, WriteLimits};
use crate::files::{Files, SweepCounts};
use crate::hooks::Hooks;
use crate::job::bounds::BoundExceeded;
use crate::job::{ExportRequest, FailureReason, JobId};
use crate::receipts::ReceiptChain;
use crate::space::{NoRoom, SpaceReservations};
use crate::standing::OwnFileBaseline;
use crate::store::Committer;
use crate::telemetry::FatalHandler;
use crate::view::LocalView;

pub use crate::job::life::{CancelReply, Canceller};
pub use orchestrator::{Halt, Orchestrator, Submit, Tell};
pub use planners::Planners;
pub use reaper::{ConfirmClock, GetStatus, Order};
pub use witnesses::DiskWitnesses;

/// What the actors work with.
pub struct Services {
    /// All settings.
    pub config: Config,
    /// Job directories.
    pub files: Arc<dyn Files>,
    /// What performs erasures, and who grants the warrants.
    pub eraser: Arc<Eraser>,
    /// What should stand in the data directory.
    pub standing: Arc<OwnFileBaseline>,
    /// The audit log.
    pub audit: Arc<AuditLog>,
    /// The chain of receipts.
    pub receipts: Arc<dyn ReceiptChain>,
    /// Who has which room.
    pub space: Arc<SpaceReservations>,
    /// The writer of the store.
    pub committer: Committer,
    /// What produces the bytes, for which tenant.
    pub exporters: Exporters,
    /// Who makes the plans.
    pub planners: Arc<Planners>,
    /// The workers.
    pub pool: Pool,
    /// What writers obey.
    pub limits: WriteLimits,
    /// Wall time.
    pub clock: Clock,
    /// Breakpoints of tests.
    pub hooks: Hooks,
    /// How to give up.
    pub fatal: FatalHandler,
}

impl Services {
    /// The published view.
    pub fn view(&self) -> &LocalView {
        self.committer.view()
    }
}

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
    /// `export.max_active_jobs` are active.
    #[error("too many exports are queued or running")]
    TooManyJobs,
    /// As many of the tenant are active as it may have.
    #[error("too many exports of the tenant are queued or running")]
    TenantBusy,
    /// As many of the client are active as it may have; some of them.
    #[error("too many exports of the client are queued or running")]
    ClientBusy(Vec<JobId>),
    /// As many of the client are active or kept as it may have; some of those that are kept.
    #[error("too many finished exports of the client are kept")]
    TooManyKept(Vec<JobId>),
    /// As many of the client are known, deleted ones included, as may be.
    #[error("too many exports of the client are known")]
    TooManyKnown,
    /// It asks for more than one export may have.
    #[error(transparent)]
    Exceeded(#[from] BoundExceeded),
    /// The same export is active or complete, as this job.
    #[error("the same export is there already: {0}")]
    Duplicate(JobId),
    /// There is no such tenant.
    #[error("there is no such tenant")]
    UnknownTenant,
    /// There is no room for it, or could never be.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The exporter refused it.
    #[error("the export was refused: {}", .0.text())]
    Refused(FailureReason),
    /// The job could not be recorded.
    #[error("the export could not be recorded")]
    Failed,
}

impl SubmitError {
    /// The reason's name, as in metrics.
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

/// A message to one job's actor.
pub enum JobMessage {
    /// End the job and erase what it wrote. Never refused for load.
    Cancel {
        /// Who asks.
        by: Canceller,
        /// Which request asks.
        request_id: String,
        /// Where the answer goes.
        reply: oneshot::Sender<CancelReply>,
    },
    /// Its time to live may be over.
    Expire,
    /// It may be a directory without a record.
    Orphan,
    /// It may be a complete job without a directory.
    Lost,
    /// A sweep ended.
    SweepDone {
        /// What it removed.
        swept: SweepCounts,
        /// What went wrong, if something did.
        error: Option<String>,
    },
}

/// How an actor of a job begins.
pub(crate) enum Seed {
    /// A kick-off.
    New { request: Arc<ExportRequest>, reply: oneshot::Sender<Result<JobId, SubmitError>> },
    /// A record that was passivated, or found at a start.
    Known(Arc<crate::view::PublishedJob>),
    /// A directory that nobody knows.
    Orphan,
}
