//! The reaper: sweeps what is marked, at once when a job's actor says so and again after a
//! failure; and passes over everything on a timer or a hint: expiry, tombstones, receipts, the
//! scan for disagreements. A pass takes no input, is idempotent, leaves retries to the next one and
//! returns a status that can be shown.

mod backlog;
mod expiry;
mod orders;
mod own_files;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, SpawnHandle, WrapFuture};

use super::orchestrator::{Orchestrator, Tell};
use super::watcher::Watcher;
use super::{JobMessage, Services};
use crate::clock::JumpGuard;
use crate::files::{FilesError, Inventory, Swept};
use crate::job::{JobId, JobState};
use crate::reconcile::{Nominations, Sightings};
use crate::telemetry::{self, PanicGuard};

pub use backlog::ReaperStatus;
pub use expiry::expires_at;
pub use orders::{Order, OrderError};
use own_files::OwnFiles;

/// Sweeps at once: unlinking waits on the device, and each sweep has a few unlinks in flight.
const SWEEPS: usize = 2;

/// Of the names that the server did not make, so many are logged in a pass.
const STRANGERS_NAMED: usize = 20;

/// Jobs of one sweep at the most: they share its fsync.
const JOBS_A_SWEEP: usize = 32;

/// Acknowledgements come first: a sweep waits this long at the most while the ledger has
/// changes waiting, for the device and the processor are the same.
const DEFERENCE: Duration = Duration::from_millis(20);

/// How often a sweep that waits looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Hints that come within this time are one.
const DEBOUNCE: Duration = Duration::from_millis(500);

/// See the module.
pub struct Reaper {
    services: Arc<Services>,
    orchestrator: Addr<Orchestrator>,
    waiting: VecDeque<JobId>,
    sweeping: HashSet<JobId>,
    sweeps: usize,
    /// Jobs whose files are gone, until that is published.
    gone: HashSet<JobId>,
    /// Marked jobs that would be swept if they were not held.
    held_back: HashSet<JobId>,
    /// Jobs whose hold is being made durable.
    holding: HashSet<JobId>,
    paused: bool,
    /// Since when a sweep waits for the ledger.
    deferring: Option<Instant>,
    retries: HashMap<JobId, Retry>,
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

#[derive(Debug, Clone, Copy)]
struct Retry {
    attempts: u32,
    due: Instant,
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
            let paused = services.receipts.pause().is_some();
            let clock = JumpGuard::load(&config.storage.data_dir);
            Self {
                services,
                orchestrator,
                waiting: VecDeque::new(),
                sweeping: HashSet::new(),
                sweeps: 0,
                gone: HashSet::new(),
                held_back: HashSet::new(),
                holding: HashSet::new(),
                paused,
                deferring: None,
                retries: HashMap::new(),
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

    /// Starts sweeps, at once or when the ledger has nothing more urgent.
    fn sweep_next(&mut self, ctx: &mut Context<Self>) {
        self.hold_back();
        if self.paused || self.waiting.is_empty() || self.sweeps >= SWEEPS || self.deferring.is_some() {
            return;
        }
        self.deferring = Some(Instant::now());
        self.sweep_or_defer(ctx);
    }

    fn sweep_or_defer(&mut self, ctx: &mut Context<Self>) {
        let patient = self.deferring.is_some_and(|since| since.elapsed() < DEFERENCE);
        if patient && self.services.ledger.waiting() > 0 {
            ctx.run_later(LOOK_AGAIN, |this, ctx| this.sweep_or_defer(ctx));
            return;
        }
        self.deferring = None;
        // An order may have come meanwhile.
        self.hold_back();
        if !self.paused {
            self.start_sweeps(ctx);
        }
    }

    /// Starts sweeps up to the cap.
    fn start_sweeps(&mut self, ctx: &mut Context<Self>) {
        while self.sweeps < SWEEPS && !self.waiting.is_empty() {
            let count = self.waiting.len().min(JOBS_A_SWEEP);
            let jobs: Vec<_> = self.waiting.drain(..count).collect();
            self.sweeping.extend(&jobs);
            self.sweeps += 1;
            let (files, swept) = (self.services.files.clone(), jobs.clone());
            let sweep = tokio::task::spawn_blocking(move || {
                // For a mark whose directory could not be moved, or a leftover elsewhere.
                let moved = files.move_to_trash(&swept)?;
                let mut results = files.sweep(&swept)?;
                // The mark in the store is warrant enough where there can be no other.
                let left = swept.iter().zip(moved).zip(&mut results);
                for ((job, _), result) in left.filter(|((_, moved), _)| moved.is_err()) {
                    let (swept, in_place) = files.sweep_in_place(*job)?;
                    result.0 += swept;
                    result.1 = std::mem::replace(&mut result.1, Ok(())).and(in_place);
                }
                Ok::<_, FilesError>(results)
            });
            ctx.spawn(sweep.into_actor(self).map(move |done, this, ctx| {
                this.sweeps -= 1;
                match done {
                    Ok(Ok(results)) => {
                        for (job, (swept, result)) in jobs.into_iter().zip(results) {
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

    fn swept(&mut self, job: JobId, swept: Swept, error: Option<FilesError>, ctx: &mut Context<Self>) {
        self.sweeping.remove(&job);
        match &error {
            None => {
                self.retries.remove(&job);
                self.gone.insert(job);
                self.status.swept += 1;
            }
            Some(error) => {
                self.status.failed += 1;
                telemetry::sweep_failed(error.errno());
                let config = &self.services.config.reaper;
                let attempts = self.retries.get(&job).map_or(0, |retry| retry.attempts) + 1;
                let wait =
                    config.retry_min.0.saturating_mul(1 << (attempts - 1).min(20)).min(config.retry_max.0);
                tracing::error!(%job, attempts, %error, ?wait, "a sweep failed and will be tried again");
                self.retries.insert(job, Retry { attempts, due: Instant::now() + wait });
                ctx.run_later(wait, |this, ctx| this.retry_due(ctx));
            }
        }
        let error = error.map(|error| error.to_string());
        self.tell(job, JobMessage::SweepDone { swept, error });
    }

    fn retry_due(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let due: Vec<_> =
            self.retries.iter().filter(|(_, retry)| retry.due <= now).map(|(job, _)| *job).collect();
        for job in due {
            self.queue(job);
        }
        self.sweep_next(ctx);
    }

    fn queue(&mut self, job: JobId) {
        if !self.sweeping.contains(&job) && !self.waiting.contains(&job) {
            self.waiting.push_back(job);
        }
    }

    /// One pass; the scan's result is compared when it comes.
    fn pass(&mut self, ctx: &mut Context<Self>) {
        self.hinted.store(false, Ordering::Release);
        let view = self.services.view();
        self.gone
            .retain(|job| view.get(*job).is_some_and(|job| !matches!(job.record.state, JobState::Erased(_))));
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
            self.queue(job);
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
        self.queue(job);
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
