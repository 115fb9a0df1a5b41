//! The reaper's actor: performs what [`ReaperCore`] decides, on a timer, on a hint, at once when a
//! job's actor says so, and on an operator's order.

use std::sync::Arc;

use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, ResponseActFuture, SpawnHandle,
    WrapFuture,
};

use super::orchestrator::{Orchestrator, SendToJob};
use super::watcher::FolderWatcher;
use super::{JobMessage, Services};
use crate::clock::{ClockReading, JumpGuard};
use crate::erase::{
    OrderError, ReaperAction, ReaperCore, ReaperInput, ReaperStatus, ReaperSurroundings, ended_epochs, prune,
};
use crate::hooks::HookStep;
use crate::receipts::ReceiptEntry;
use crate::store::DurableChange;
use crate::telemetry::PanicGuard;

/// The actor that sweeps, and passes over everything.
pub struct Reaper {
    services: Arc<Services>,
    orchestrator: Addr<Orchestrator>,
    core: ReaperCore,
    /// The pass at the next expiry.
    next_pass: Option<SpawnHandle>,
    _watcher: Option<FolderWatcher>,
    _guard: PanicGuard,
}

impl Message for ReaperInput {
    type Result = ();
}

/// An operator says that the clock is right; answers whether it was not believed.
#[derive(Message)]
#[rtype(result = "bool")]
pub struct ConfirmClock;

/// Asks for the status.
#[derive(Message)]
#[rtype(result = "Option<ReaperStatus>")]
pub struct GetStatus;

/// An order, as the entry that the chain gets: a pause, a resume, a hold or a release. Answers when the
/// order is durable; after a pause, when nobody unlinks any more, too.
#[derive(Message)]
#[rtype(result = "Result<(), OrderError>")]
pub struct OperatorOrder(pub ReceiptEntry);

/// Turns the epoch of the keys, as an operator asks. Answers when its end is recorded.
#[derive(Message)]
#[rtype(result = "Result<(), String>")]
pub struct TurnEpoch;

impl Reaper {
    pub(super) fn spawn(services: Arc<Services>, orchestrator: Addr<Orchestrator>) -> Addr<Self> {
        Self::create(|ctx| {
            let config = &services.config;
            let watch = || FolderWatcher::start(config, ctx.address());
            Self {
                _watcher: config.reaper.watch.then(watch).flatten(),
                _guard: services.fatal.on_panic("the reaper"),
                core: ReaperCore::new(JumpGuard::load(&config.storage.data_dir)),
                services,
                orchestrator,
                next_pass: None,
            }
        })
    }

    fn take_in(&mut self, input: ReaperInput, ctx: &mut Context<Self>) {
        let actions = self.ask(|core, around| core.handle(input, around));
        actions.into_iter().for_each(|action| self.perform(action, ctx));
    }

    /// Asks the core something.
    fn ask<T>(&mut self, ask: impl FnOnce(&mut ReaperCore, ReaperSurroundings<'_>) -> T) -> T {
        let clocks = ClockReading::take(&self.services.clock);
        ask(&mut self.core, self.services.around_reaper(&clocks))
    }

    fn perform(&mut self, action: ReaperAction, ctx: &mut Context<Self>) {
        let services = self.services.clone();
        match action {
            ReaperAction::Sweep(warrants) => self.block(ctx, move || {
                services.eraser.erase(warrants).map(ReaperInput::Swept).map_err(|error| error.to_string())
            }),
            ReaperAction::Survey(clock_guard) => self.block(ctx, move || {
                let (look, inventory) = services.survey(clock_guard).take();
                Ok(ReaperInput::Surveyed(look, inventory))
            }),
            ReaperAction::After(wait, input) => drop(ctx.notify_later(input, wait)),
            ReaperAction::NextPass(wait) => {
                if let Some(pass) = self.next_pass.take() {
                    ctx.cancel_future(pass);
                }
                self.next_pass = wait.map(|wait| ctx.notify_later(ReaperInput::Pass, wait));
            }
            ReaperAction::Tell(job, input) => {
                self.orchestrator.do_send(SendToJob { job, message: JobMessage::Input(input) });
            }
            // A failure ends the process.
            ReaperAction::Commit(change) => drop(services.committer.submit(change)),
            ReaperAction::Prune => {
                let prune = async move {
                    let Services { receipts, audit, committer, config, clock, .. } = &*services;
                    let pruned = prune(receipts, audit, committer, config, clock.now()).await;
                    let panicked = |panic| services.fatal.raise(&format!("panic while pruning: {panic}"));
                    pruned.unwrap_or_else(panicked);
                };
                ctx.spawn(prune.into_actor(self));
            }
            ReaperAction::TurnEpoch => {
                let turn = turn_epoch(services).into_actor(self);
                ctx.spawn(turn.map(|turned, this, ctx| this.take_in(ReaperInput::Turned(turned.err()), ctx)));
            }
            ReaperAction::GiveUp(reason) => services.fatal.raise(reason),
        }
    }

    /// Runs what blocks on another thread, and takes in what it comes to.
    fn block(
        &mut self,
        ctx: &mut Context<Self>,
        task: impl FnOnce() -> Result<ReaperInput, String> + Send + 'static,
    ) {
        ctx.spawn(tokio::task::spawn_blocking(task).into_actor(self).map(|done, this, ctx| match done {
            Ok(Ok(input)) => this.take_in(input, ctx),
            Ok(Err(error)) => this.services.fatal.raise(&error),
            Err(panic) => this.services.fatal.raise(&format!("panic in a task of the reaper: {panic}")),
        }));
    }
}

impl Actor for Reaper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.take_in(ReaperInput::Pass, ctx);
        let interval = self.services.config.reaper.interval.0;
        ctx.run_interval(interval, |this, ctx| this.take_in(ReaperInput::Pass, ctx));
    }
}

impl Handler<ReaperInput> for Reaper {
    type Result = ();

    fn handle(&mut self, input: ReaperInput, ctx: &mut Self::Context) {
        self.take_in(input, ctx);
    }
}

impl Handler<GetStatus> for Reaper {
    type Result = Option<ReaperStatus>;

    fn handle(&mut self, _: GetStatus, _: &mut Self::Context) -> Self::Result {
        Some(self.ask(ReaperCore::status))
    }
}

impl Handler<ConfirmClock> for Reaper {
    type Result = bool;

    fn handle(&mut self, _: ConfirmClock, ctx: &mut Self::Context) -> Self::Result {
        let (was_doubted, actions) = self.ask(ReaperCore::confirm_clock);
        actions.into_iter().for_each(|action| self.perform(action, ctx));
        was_doubted
    }
}

impl Handler<OperatorOrder> for Reaper {
    type Result = ResponseActFuture<Self, Result<(), OrderError>>;

    fn handle(&mut self, OperatorOrder(entry): OperatorOrder, _: &mut Self::Context) -> Self::Result {
        let services = self.services.clone();
        let order =
            async move { services.eraser.holds().order(&entry, &services.committer).await.map(|()| entry) };
        Box::pin(
            order
                .into_actor(self)
                .map(|taken, this, ctx| taken.map(|entry| this.take_in(ReaperInput::Ordered(entry), ctx))),
        )
    }
}

impl Handler<TurnEpoch> for Reaper {
    type Result = ResponseActFuture<Self, Result<(), String>>;

    fn handle(&mut self, _: TurnEpoch, _: &mut Self::Context) -> Self::Result {
        if let Err(refusal) = self.ask(ReaperCore::begin_turn) {
            return Box::pin(std::future::ready(Err(refusal.to_string())).into_actor(self));
        }
        let turn = turn_epoch(self.services.clone()).into_actor(self);
        Box::pin(turn.map(|turned, this, ctx| {
            this.take_in(ReaperInput::Turned(turned.clone().err()), ctx);
            turned
        }))
    }
}

/// Turns the epoch, and records the ends of epochs that are not recorded yet.
async fn turn_epoch(services: Arc<Services>) -> Result<(), String> {
    let turning = services.clone();
    let turn = move || turning.keys.turn(|job| turning.receipts.has(job));
    let turned = tokio::task::spawn_blocking(turn).await.map_err(|panic| panic.to_string())?;
    turned.map_err(|error| error.to_string())?;
    for entry in ended_epochs(&services.keys, &*services.receipts, services.clock.now()) {
        tracing::info!(?entry, "an epoch of the keys has ended");
        let noted = services.committer.submit(DurableChange::Note(entry)).await;
        noted.map_err(|_| "the end of the epoch could not be recorded")?;
        services.hooks.reach(HookStep::EpochNoted);
    }
    Ok(())
}
