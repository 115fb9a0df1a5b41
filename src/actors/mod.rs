//! The actors, which decide nothing: the orchestrator finds or wakes the actor of a job, that one
//! performs what the job's [`life`](crate::job::life) asks for, the reaper performs what
//! [`erase`](crate::erase) decides, the watcher hints. They all run on one thread; what blocks runs
//! elsewhere.

mod export_job;
mod orchestrator;
mod reaper;
mod registry;
mod watcher;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::admission::PendingKickoff;
use crate::audit::AuditLog;
use crate::clock::{Clock, ClockReading, JumpGuard};
use crate::config::Config;
use crate::erase::{DiskSurvey, Eraser, ReaperSurroundings};
use crate::export::{Exporters, PlanQueue, Pool, WriteLimits};
use crate::files::Files;
use crate::hooks::Hooks;
use crate::job::life::Input;
use crate::keys::KeyStore;
use crate::receipts::ReceiptChain;
use crate::source::ServedFolder;
use crate::space::SpaceReservations;
use crate::standing::{OwnFileBaseline, OwnFiles};
use crate::store::Committer;
use crate::telemetry::FatalHandler;
use crate::view::{LocalView, PublishedJob};

pub use crate::job::life::{CancelReply, Canceller};
pub use orchestrator::{HaltExports, Orchestrator, SendToJob, SubmitJob};
pub use reaper::{ConfirmClock, GetStatus, OperatorOrder, Reaper, TurnEpoch};

/// What the actors work with.
pub struct Services {
    /// All settings.
    pub config: Config,
    /// Job directories.
    pub files: Arc<dyn Files>,
    /// The keys of jobs.
    pub keys: Arc<KeyStore>,
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
    /// The folders that the built-in exporter reads, as they were at the start.
    #[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "a host says itself what it serves"))]
    pub served_folders: Vec<ServedFolder>,
    /// Whose turn it is to plan.
    pub plans: Arc<PlanQueue>,
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
    /// Returns the published view.
    pub fn view(&self) -> &LocalView {
        self.committer.view()
    }

    /// Returns what the reaper looks at.
    fn around_reaper<'a>(&'a self, clocks: &'a ClockReading) -> ReaperSurroundings<'a> {
        ReaperSurroundings {
            clocks,
            instant: Instant::now(),
            changes_waiting: self.committer.waiting(),
            view: self.view(),
            receipts: &*self.receipts,
            holds: self.eraser.holds(),
            space: &self.space,
            turn_due: self.keys.turn_due(self.config.erase.epoch.0),
            config: &self.config,
        }
    }

    /// Returns what a pass of the reaper looks at on disk.
    fn survey(&self, clock_guard: JumpGuard) -> DiskSurvey {
        DiskSurvey {
            own_files: OwnFiles::new(&self.standing, &self.receipts, &self.audit),
            files: self.files.clone(),
            space: self.space.clone(),
            clock_guard,
            data_dir: self.config.storage.data_dir.clone(),
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
    /// Anything else that happened to the job.
    Input(Input),
}

/// How an actor of a job begins.
pub(crate) enum ActorSeed {
    /// A kick-off.
    New(PendingKickoff),
    /// A record that was passivated, or found at a start.
    Known(Arc<PublishedJob>),
    /// A directory that nobody knows.
    Orphan,
}
