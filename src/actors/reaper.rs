//! The reaper: performs what [`erase`](crate::erase) decides. It sweeps what is marked, at once when
//! a job's actor says so and again after a failure; and passes over everything on a timer or a hint.
//! A pass takes no input, is idempotent, leaves retries to the next one and returns a status.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, SpawnHandle, WrapFuture};
use tokio::sync::oneshot;

use super::orchestrator::{Orchestrator, Tell};
use super::prune::{prune, prune_audit};
use super::watcher::Watcher;
use super::{JobMessage, Services};
use crate::clock::{ClockReading, JumpGuard, between};
use crate::erase::{
    DueJobs, NextSweep, Nominations, OrderError, ReaperStatus, Sightings, Survey, SweepQueue, SweepResult,
};
use crate::files::Inventory;
use crate::job::JobId;
use crate::receipts::{self, ReceiptEntry};
use crate::standing::{OwnFiles, OwnFilesLook};
use crate::store::{CommitError, DurableChange};
use crate::telemetry::{self, PanicGuard};

/// Hints that come within this time are one.
const DEBOUNCE: Duration = Duration::from_millis(500);

/// How often receipts and the audit log are pruned, from the first pass on.
const PRUNE_EVERY: Duration = Duration::from_secs(24 * 3600);

/// The actor that sweeps, and passes over everything.
pub struct Reaper {
    services: Arc<Services>,
    orchestrator: Addr<Orchestrator>,
    queue: SweepQueue,
    /// Whether a timer waits to look at the queue again.
    is_looking: bool,
    sightings: Sightings,
    clock_guard: JumpGuard,
    /// Whether a hint waits for its pass; further ones are the same hint.
    hinted: Arc<AtomicBool>,
    /// The pass at the next expiry.
    next_expiry: Option<SpawnHandle>,
    is_scanning: bool,
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

/// An order, as the entry that the chain gets: a pause, a resume, a hold or a release. It is in
/// force before it is durable and until its end is durable, and answered when it is; a pause also
/// when nobody unlinks any more.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Order {
    /// What is ordered.
    pub entry: ReceiptEntry,
    /// Resolves when the order is durable.
    pub reply: oneshot::Sender<Result<(), OrderError>>,
}

impl Reaper {
    pub(super) fn spawn(services: Arc<Services>, orchestrator: Addr<Orchestrator>) -> Addr<Self> {
        Self::create(|ctx| {
            let config = &services.config;
            let hinted = Arc::new(AtomicBool::new(false));
            let watch = || Watcher::start(config, ctx.address(), hinted.clone());
            Self {
                _watcher: config.reaper.watch.then(watch).flatten(),
                _guard: services.fatal.on_panic("the reaper"),
                clock_guard: JumpGuard::load(&config.storage.data_dir),
                services,
                orchestrator,
                queue: SweepQueue::default(),
                is_looking: false,
                sightings: Sightings::default(),
                hinted,
                next_expiry: None,
                is_scanning: false,
                pruned: None,
                status: ReaperStatus::default(),
            }
        })
    }

    fn tell(&self, job: JobId, message: JobMessage) {
        self.orchestrator.do_send(Tell { job, message });
    }

    fn sweep_next(&mut self, ctx: &mut Context<Self>) {
        let (waiting, holds) = (self.services.committer.waiting(), self.services.eraser.holds().clone());
        loop {
            match self.queue.next(Instant::now(), waiting, |job| holds.grant_sweep(job)) {
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
                                results.into_iter().for_each(|(job, result)| this.swept(job, result, ctx));
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

    fn swept(&mut self, job: JobId, (swept, result): SweepResult, ctx: &mut Context<Self>) {
        let error = result.err();
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
        self.tell(job, JobMessage::SweepDone { swept, error: error.map(|error| error.to_string()) });
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
        if !std::mem::replace(&mut self.is_scanning, true) {
            let survey = Survey {
                files: self.services.files.clone(),
                space: self.services.space.clone(),
                own_files: OwnFiles::new(
                    &self.services.standing,
                    &self.services.receipts,
                    &self.services.audit,
                ),
                clock_guard: self.clock_guard.clone(),
                data_dir: self.services.config.storage.data_dir.clone(),
            };
            let scan = tokio::task::spawn_blocking(move || survey.take());
            ctx.spawn(scan.into_actor(self).map(|scanned, this, ctx| {
                this.is_scanning = false;
                match scanned {
                    Ok((look, inventory)) => {
                        this.note_missing(look);
                        inventory.into_iter().for_each(|inventory| this.compare(&inventory, ctx));
                    }
                    Err(panic) => this.services.fatal.raise(&format!("panic in a scan: {panic}")),
                }
            }));
        }
    }

    /// Tells jobs whose time is over, and forgets tombstones (P2, P8). The next time to be over has
    /// a pass of its own.
    fn expire(&mut self, ctx: &mut Context<Self>) {
        let (now, services) = (self.services.clock.now(), self.services.clone());
        let is_steady = self.clock_guard.is_steady(ClockReading::take(&services.clock));
        telemetry::clock_held(!is_steady);
        self.status.note_pass(now, is_steady);
        if !is_steady || services.eraser.holds().is_paused() {
            return;
        }
        if self.pruned.is_none_or(|last| last.elapsed() >= PRUNE_EVERY) {
            self.pruned = Some(Instant::now());
            ctx.spawn(prune(services.clone(), now).into_actor(self));
            ctx.spawn(prune_audit(services.clone(), now).into_actor(self));
        }
        let jobs = services.view().all();
        let jobs = jobs.iter().map(|job| (job.record.id, &job.record.state));
        let is_held = |job| services.eraser.holds().is_held(job);
        let DueJobs { expired, forgotten, next_expiry } =
            DueJobs::at(now, jobs, &services.config.retention, is_held);
        for job in expired {
            self.tell(job, JobMessage::Expire);
        }
        for job in forgotten {
            // Nobody waits for it; a failure ends the process anyway.
            drop(services.committer.submit(DurableChange::Forget(job)));
        }
        if let Some(handle) = self.next_expiry.take() {
            ctx.cancel_future(handle);
        }
        let wait = next_expiry.map(|at| between(now, at));
        let soon = wait.filter(|wait| *wait < services.config.reaper.interval.0);
        self.next_expiry = soon.map(|wait| ctx.run_later(wait, |this, ctx| this.pass(ctx)));
    }

    fn compare(&mut self, inventory: &Inventory, ctx: &mut Context<Self>) {
        let grace = self.services.config.retention.orphan_grace.0;
        let receipts = self.services.receipts.clone();
        let has_receipt = |job| receipts.has(job);
        let view = self.services.view();
        let Nominations { orphans, leftovers, lost } =
            self.sightings.compare(inventory, view, has_receipt, grace, Instant::now());
        orphans.into_iter().for_each(|job| self.tell(job, JobMessage::Orphan));
        lost.into_iter().for_each(|job| self.tell(job, JobMessage::Lost));
        leftovers.into_iter().for_each(|job| self.queue.add(job));
        self.sweep_next(ctx);
        self.status.note_scan(inventory, self.sightings.count());
        self.note_backlog();
    }

    /// Shows what is missing until a pass finds it again, and has the receipts written anew.
    fn note_missing(&mut self, look: OwnFilesLook) {
        let missing = match look {
            OwnFilesLook::Fatal(reason) => return self.services.fatal.raise(reason),
            OwnFilesLook::Missing(missing) => missing,
        };
        if missing.contains(&receipts::FILE_NAME) {
            // Nobody waits for it; a failure ends the process anyway.
            drop(self.services.committer.submit(DurableChange::Mend));
        }
        telemetry::missing_files(missing.len());
        self.status.note_missing(missing);
    }

    /// Counts what is marked and not erased yet, for status and metrics.
    fn note_backlog(&mut self) {
        let Services { clock, eraser, receipts, space, config, .. } = &*self.services;
        let jobs = self.services.view().all();
        let jobs = jobs.iter().map(|job| (job.record.id, &job.record.state));
        let status = &mut self.status;
        let is_held = |job| eraser.holds().is_held(job);
        let age = status.note_marks(clock.now(), jobs, is_held, config.reaper.alarm_after.0);
        status.pause = receipts.pause();
        status.held = receipts.holds().len();
        status.bytes = space.ended();
        telemetry::backlog(status.marked, status.bytes, age, status.orphans, status.strangers);
        telemetry::orders(status.pause.is_some(), status.held);
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

impl Handler<Order> for Reaper {
    type Result = ();

    fn handle(&mut self, Order { entry, reply }: Order, ctx: &mut Self::Context) {
        let holds = self.services.eraser.holds().clone();
        if let Err(refusal) = holds.admit(&entry) {
            // A caller that went away needs no answer; nor does one below.
            let _ = reply.send(Err(refusal));
            return;
        }
        let noted = self.services.committer.submit(DurableChange::Note(entry.clone()));
        let done = async move {
            noted.await?;
            holds.settle(&entry).await;
            Ok::<_, CommitError>(entry)
        };
        ctx.spawn(done.into_actor(self).map(|done, this, ctx| {
            let Ok(entry) = done else { return };
            tracing::warn!(order = entry.kind(), job = ?entry.job(), "an operator's order");
            if let ReceiptEntry::Release { job, .. } = &entry {
                this.queue.release(*job);
            }
            if matches!(entry, ReceiptEntry::Release { .. } | ReceiptEntry::Resume { .. }) {
                // Something's time may be over.
                this.pass(ctx);
            }
            let _ = reply.send(Ok(()));
        }));
    }
}
