//! The reaper: sweeps what is marked, at once when a job's actor says so and again after a
//! failure; and passes over everything on a timer or a hint: expiry, tombstones, receipts, the
//! scan for disagreements. A pass takes no input, is idempotent, leaves retries to the next one and
//! returns a status that can be shown.

mod backlog;
mod expiry;
mod orders;
mod own_files;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, SpawnHandle, WrapFuture};

use super::orchestrator::{Orchestrator, Tell};
use super::watcher::Watcher;
use super::{JobMessage, Services};
use crate::clock::JumpGuard;
use crate::erase::{NextSweep, SweepQueue};
use crate::erase::{Nominations, Sightings};
use crate::files::{FilesError, Inventory, Swept};
use crate::job::JobId;
use crate::telemetry::{self, PanicGuard};

pub use backlog::ReaperStatus;
pub use expiry::expires_at;
pub use orders::Order;
use own_files::OwnFiles;

/// Of the names that the server did not make, so many are logged in a pass.
const STRANGERS_NAMED: usize = 20;

/// Hints that come within this time are one.
const DEBOUNCE: Duration = Duration::from_millis(500);

/// The actor that sweeps, and passes over everything.
pub struct Reaper {
    services: Arc<Services>,
    orchestrator: Addr<Orchestrator>,
    queue: SweepQueue,
    /// Whether the queue waits for the committer, and a timer for the queue.
    is_looking: bool,
    sightings: Sightings,
    clock_guard: JumpGuard,
    /// Whether a hint waits for its pass; further ones are the same hint.
    hinted: Arc<AtomicBool>,
    /// The pass at the next expiry.
    next_expiry: Option<SpawnHandle>,
    scanning: bool,
    /// When the receipts were last looked through for what may be pruned.
    pruned: Option<Instant>,
    status: ReaperStatus,
    _watcher: Option<Watcher>,
    _guard: PanicGuard,
}

/// Sweep a marked job whose last writer is out.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Sweep(pub JobId);

/// Something changed in the job folders.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Hint;

/// An operator says that the clock is right; answers whether it was not believed.
#[derive(Message)]
#[rtype(result = "Option<bool>")]
pub struct ConfirmClock;

/// Asks for the status.
#[derive(Message)]
#[rtype(result = "Option<ReaperStatus>")]
pub struct GetStatus;

impl Reaper {
    pub(super) fn spawn(services: Arc<Services>, orchestrator: Addr<Orchestrator>) -> Addr<Self> {
        Self::create(|ctx| {
            let config = &services.config;
            let hinted = Arc::new(AtomicBool::new(false));
            let watcher =
                config.reaper.watch.then(|| Watcher::start(config, ctx.address(), hinted.clone())).flatten();
            let guard = services.fatal.on_panic("the reaper");
            let clock = JumpGuard::load(&config.storage.data_dir);
            Self {
                services,
                orchestrator,
                queue: SweepQueue::default(),
                is_looking: false,
                sightings: Sightings::default(),
                clock_guard: clock,
                hinted,
                next_expiry: None,
                scanning: false,
                pruned: None,
                status: ReaperStatus::default(),
                _watcher: watcher,
                _guard: guard,
            }
        })
    }

    fn tell(&self, job: JobId, message: JobMessage) {
        self.orchestrator.do_send(Tell { job, message });
    }

    /// Starts sweeps, at once or when the committer has nothing more urgent.
    fn sweep_next(&mut self, ctx: &mut Context<Self>) {
        let (committer, holds) = (&self.services.committer, self.services.eraser.holds().clone());
        loop {
            let now = Instant::now();
            match self.queue.next(now, committer.waiting(), |job| holds.grant_sweep(job)) {
                NextSweep::Nothing => return,
                NextSweep::LookAgain(wait) => {
                    if !std::mem::replace(&mut self.is_looking, true) {
                        ctx.run_later(wait, |this, ctx| {
                            this.is_looking = false;
                            this.sweep_next(ctx);
                        });
                    }
                    return;
                }
                NextSweep::Sweep(warrants) => {
                    let eraser = self.services.eraser.clone();
                    let sweep = tokio::task::spawn_blocking(move || eraser.erase(warrants));
                    ctx.spawn(sweep.into_actor(self).map(move |done, this, ctx| {
                        this.queue.sweep_ended();
                        match done {
                            Ok(Ok(results)) => {
                                for (job, (swept, result)) in results {
                                    this.swept(job, swept, result.err(), ctx);
                                }
                                this.sweep_next(ctx);
                            }
                            Ok(Err(error)) => this.services.fatal.raise(&error.to_string()),
                            Err(panic) => this.services.fatal.raise(&format!("panic in a sweep: {panic}")),
                        }
                    }));
                }
            }
        }
    }

    fn swept(&mut self, job: JobId, swept: Swept, error: Option<FilesError>, ctx: &mut Context<Self>) {
        match &error {
            None => {
                self.queue.swept(job);
                self.status.swept += 1;
            }
            Some(error) => {
                self.status.failed += 1;
                telemetry::sweep_failed(error.errno());
                let config = &self.services.config.reaper;
                let (min, max) = (config.retry_min.0, config.retry_max.0);
                let (attempts, wait) = self.queue.failed(job, Instant::now(), min, max);
                tracing::error!(%job, attempts, %error, ?wait, "a sweep failed and will be tried again");
                ctx.run_later(wait, |this, ctx| this.retry_due(ctx));
            }
        }
        let error = error.map(|error| error.to_string());
        self.tell(job, JobMessage::SweepDone { swept, error });
    }

    fn retry_due(&mut self, ctx: &mut Context<Self>) {
        self.queue.retry_due(Instant::now());
        self.sweep_next(ctx);
    }

    /// One pass; the scan's result is compared when it comes.
    fn pass(&mut self, ctx: &mut Context<Self>) {
        self.hinted.store(false, Ordering::Release);
        self.services.eraser.holds().forget_erased();
        self.retry_due(ctx);
        self.expire(ctx);
        if self.scanning {
            return;
        }
        self.scanning = true;
        let (files, space) = (self.services.files.clone(), self.services.space.clone());
        let (clock, data_dir) = (self.clock_guard.clone(), self.services.config.storage.data_dir.clone());
        let own = OwnFiles::of(&self.services);
        let scan = tokio::task::spawn_blocking(move || {
            if let Err(error) = clock.save(&data_dir) {
                tracing::warn!(%error, "what the clock shows could not be kept for the next start");
            }
            if let Err(error) = files.restore_ballast() {
                tracing::warn!(%error, "there is no ballast: deletions may fail when the disk is full");
            }
            if let Err(error) = space.measure() {
                tracing::warn!(error, "it cannot be told how much of the disk is free");
            }
            (own.look(), files.inventory())
        });
        ctx.spawn(scan.into_actor(self).map(|scanned, this, ctx| {
            this.scanning = false;
            if let Ok((look, _)) = &scanned {
                this.note_missing(look);
            }
            match scanned {
                Ok((_, Ok(inventory))) => this.compare(&inventory, ctx),
                Ok((_, Err(error))) => {
                    telemetry::scan_failed();
                    tracing::error!(%error, "the data directory could not be scanned; the next pass tries again");
                }
                Err(panic) => this.services.fatal.raise(&format!("panic in a scan: {panic}")),
            }
        }));
    }

    fn compare(&mut self, inventory: &Inventory, ctx: &mut Context<Self>) {
        let grace = self.services.config.retention.orphan_grace.0;
        let view = self.services.view();
        let receipts = self.services.receipts.clone();
        let has_receipt = |job| receipts.has(job);
        let nominations = self.sightings.compare(inventory, view, has_receipt, grace, Instant::now());
        let Nominations { orphans, leftovers, lost } = nominations;
        for job in orphans {
            self.tell(job, JobMessage::Orphan);
        }
        for job in lost {
            self.tell(job, JobMessage::Lost);
        }
        for job in leftovers {
            tracing::warn!(%job, "a directory of an erased job was brought back: it is removed");
            self.queue.add(job);
        }
        self.sweep_next(ctx);
        if self.status.strangers < inventory.strangers.len() {
            let strangers = inventory.strangers.len();
            let names = &inventory.strangers[..strangers.min(STRANGERS_NAMED)];
            tracing::warn!(strangers, ?names, "names that this server did not make; they are left alone");
        }
        self.status.strangers = inventory.strangers.len();
        self.status.orphans = self.sightings.count();
        self.note_backlog();
    }
}

impl Actor for Reaper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.pass(ctx);
        ctx.run_interval(self.services.config.reaper.interval.0, |this, ctx| this.pass(ctx));
    }
}

impl Handler<Sweep> for Reaper {
    type Result = ();

    fn handle(&mut self, Sweep(job): Sweep, ctx: &mut Self::Context) {
        self.queue.add(job);
        self.sweep_next(ctx);
    }
}

impl Handler<Hint> for Reaper {
    type Result = ();

    fn handle(&mut self, _: Hint, ctx: &mut Self::Context) {
        ctx.run_later(DEBOUNCE, |this, ctx| this.pass(ctx));
    }
}

impl Handler<GetStatus> for Reaper {
    type Result = Option<ReaperStatus>;

    fn handle(&mut self, _: GetStatus, _: &mut Self::Context) -> Self::Result {
        self.note_backlog();
        Some(self.status.clone())
    }
}

impl Handler<ConfirmClock> for Reaper {
    type Result = Option<bool>;

    fn handle(&mut self, _: ConfirmClock, ctx: &mut Self::Context) -> Self::Result {
        let was_held = self.clock_guard.confirm();
        if was_held {
            tracing::warn!("an operator confirmed the clock: expiry goes on");
            self.pass(ctx);
        }
        Some(was_held)
    }
}
