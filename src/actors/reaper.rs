//! The reaper's actor: performs what [`ReaperCore`] decides, on a timer, on a hint, at once when a
//! job's actor says so, and on an operator's order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, SpawnHandle, WrapFuture};
use tokio::sync::oneshot;

use super::orchestrator::{Orchestrator, Tell};
use super::prune::{prune, prune_audit};
use super::watcher::Watcher;
use super::{JobMessage, Services};
use crate::clock::{ClockReading, JumpGuard};
use crate::erase::{OrderError, ReaperAction, ReaperCore, ReaperStatus, ReaperSurroundings, Survey};
use crate::job::JobId;
use crate::receipts::ReceiptEntry;
use crate::standing::OwnFiles;
use crate::store::DurableChange;
use crate::telemetry::PanicGuard;

/// Hints that come within this time are one.
const DEBOUNCE: Duration = Duration::from_millis(500);

/// The actor that sweeps, and passes over everything.
pub struct Reaper {
    services: Arc<Services>,
    orchestrator: Addr<Orchestrator>,
    core: ReaperCore,
    clock_guard: JumpGuard,
    /// Whether a hint waits for its pass; further ones are the same hint.
    hinted: Arc<AtomicBool>,
    /// The pass at the next expiry.
    next_pass: Option<SpawnHandle>,
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

/// An order, as the entry that the chain gets: a pause, a resume, a hold or a release.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Order {
    /// What is ordered.
    pub entry: ReceiptEntry,
    /// Resolves when the order is durable; after a pause, when nobody unlinks any more, too.
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
                core: ReaperCore::default(),
                hinted,
                next_pass: None,
            }
        })
    }

    /// Gives something to the core, and performs what it asks for.
    fn run(
        &mut self,
        ctx: &mut Context<Self>,
        input: impl FnOnce(&mut ReaperCore, ReaperSurroundings<'_>) -> Vec<ReaperAction>,
    ) {
        let services = self.services.clone();
        for action in input(&mut self.core, services.reaper_surroundings()) {
            self.perform(action, ctx);
        }
    }

    fn pass(&mut self, ctx: &mut Context<Self>) {
        self.hinted.store(false, Ordering::Release);
        let is_steady = self.clock_guard.is_steady(ClockReading::take(&self.services.clock));
        self.run(ctx, |core, around| core.pass(is_steady, around));
    }

    fn perform(&mut self, action: ReaperAction, ctx: &mut Context<Self>) {
        let services = self.services.clone();
        let tell = |job, message| self.orchestrator.do_send(Tell { job, message });
        match action {
            ReaperAction::Sweep(warrants) => {
                let erase = move || services.eraser.erase(warrants);
                self.block(ctx, erase, |this, results, ctx| match results {
                    Ok(results) => this.run(ctx, |core, around| core.swept(results, around)),
                    Err(error) => this.services.fatal.raise(&error.to_string()),
                });
            }
            ReaperAction::Survey => {
                let survey = Survey {
                    own_files: OwnFiles::new(&services.standing, &services.receipts, &services.audit),
                    files: services.files.clone(),
                    space: services.space.clone(),
                    clock_guard: self.clock_guard.clone(),
                    data_dir: services.config.storage.data_dir.clone(),
                };
                self.block(
                    ctx,
                    move || survey.take(),
                    |this, (look, inventory), ctx| {
                        this.run(ctx, |core, around| core.surveyed(look, inventory, around));
                        this.note_backlog();
                    },
                );
            }
            ReaperAction::LookAgain(wait) => {
                ctx.run_later(wait, |this, ctx| this.run(ctx, ReaperCore::look_again));
            }
            ReaperAction::RetryAfter(wait) => {
                ctx.run_later(wait, |this, ctx| this.run(ctx, ReaperCore::retry_due));
            }
            ReaperAction::Pass => self.pass(ctx),
            ReaperAction::PassAfter(wait) => {
                if let Some(handle) = self.next_pass.take() {
                    ctx.cancel_future(handle);
                }
                self.next_pass = wait.map(|wait| ctx.run_later(wait, |this, ctx| this.pass(ctx)));
            }
            ReaperAction::Expire(job) => tell(job, JobMessage::Expire),
            ReaperAction::Orphan(job) => tell(job, JobMessage::Orphan),
            ReaperAction::Lost(job) => tell(job, JobMessage::Lost),
            ReaperAction::SweepDone(job, swept, error) => tell(job, JobMessage::SweepDone { swept, error }),
            // Nobody waits for these two; a failure ends the process anyway.
            ReaperAction::Forget(job) => drop(services.committer.submit(DurableChange::Forget(job))),
            ReaperAction::Mend => drop(services.committer.submit(DurableChange::Mend)),
            ReaperAction::Prune => {
                let now = services.clock.now();
                ctx.spawn(prune(services.clone(), now).into_actor(self));
                ctx.spawn(prune_audit(services, now).into_actor(self));
            }
            ReaperAction::GiveUp(reason) => services.fatal.raise(reason),
        }
    }

    /// Runs what blocks on another thread, then goes on with `then`.
    fn block<T: Send + 'static>(
        &mut self,
        ctx: &mut Context<Self>,
        task: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(&mut Self, T, &mut Context<Self>) + 'static,
    ) {
        ctx.spawn(tokio::task::spawn_blocking(task).into_actor(self).map(|done, this, ctx| match done {
            Ok(done) => then(this, done, ctx),
            Err(panic) => this.services.fatal.raise(&format!("panic in a task of the reaper: {panic}")),
        }));
    }

    fn note_backlog(&mut self) {
        let services = self.services.clone();
        self.core.note_backlog(services.space.ended(), services.reaper_surroundings());
    }
}

impl Services {
    fn reaper_surroundings(&self) -> ReaperSurroundings<'_> {
        ReaperSurroundings {
            now: self.clock.now(),
            changes_waiting: self.committer.waiting(),
            view: self.view(),
            receipts: &*self.receipts,
            holds: self.eraser.holds(),
            config: &self.config,
        }
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
        self.run(ctx, |core, around| core.sweep(job, around));
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
        Some(self.core.status().clone())
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
        let settled = async move {
            noted.await.ok()?;
            holds.settle(&entry).await;
            Some(entry)
        };
        ctx.spawn(settled.into_actor(self).map(|settled, this, ctx| {
            if let Some(entry) = settled {
                this.run(ctx, |core, _| core.ordered(&entry));
                let _ = reply.send(Ok(()));
            }
        }));
    }
}
