//! One job's actor. Messages line up in its mailbox; each is given to `job::transition` with
//! the state in memory, which changes at once, before anything is awaited. What the
//! transition asks for is then performed in its order; whatever has been overtaken by a later
//! transition when an await ends is dropped. This file is the frame; `begin`, `running`,
//! `last_out` and `ending` are what is performed.

mod begin;
mod ending;
mod last_out;
mod running;

use std::sync::Arc;

use actix::ActorContext as _;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use jiff::Timestamp;
use tokio::sync::oneshot;

use self::last_out::LastOut;
use super::audited::event_of;
use super::orchestrator::{Idle, Orchestrator, Settled};
use super::reaper::{Reaper, Sweep};
use super::{CancelReply, JobMessage, Seed, Services};
use crate::export::{CancelToken, PartDone, Plan, Work};
use crate::files::{ExportDir, Swept};
use crate::job::{
    Completion, Effect, Event, Failure, FailureReason, JobId, JobRecord, JobState, Mark, Refusal,
    RequestSummary, SealedPart, StateName, transition,
};
use crate::store::DurableChange;
use crate::telemetry::{self, PanicGuard};
use crate::view::{ExportProgress, PartialManifests, PublishedJob};

/// See the module.
pub(super) struct ExportJob {
    id: JobId,
    services: Arc<Services>,
    orchestrator: Addr<Orchestrator>,
    reaper: Addr<Reaper>,
    seed: Option<Seed>,
    /// Ahead of the store by what is being committed; `None` until the directory is made.
    record: Option<JobRecord>,
    /// Counts the changes of state, so that what was overtaken can be told.
    generation: u64,
    request: Option<Arc<RequestSummary>>,
    dir: Option<Arc<dyn ExportDir>>,
    plan: Option<Plan>,
    /// Fires when the export has ended, whether or not it is still being planned.
    over: CancelToken,
    /// How many parts the plan has, or had before the workers took them.
    part_count: usize,
    sealed: Vec<SealedPart>,
    /// The sums of a job that is finishing.
    completion: Option<Completion>,
    progress: Arc<ExportProgress>,
    partial: Arc<PartialManifests>,
    work: Option<Arc<Work>>,
    waiters: Vec<Waiter>,
    /// The answer to the request that marked the job, once there is one.
    mark_answer: Option<CancelReply>,
    last_out: LastOut,
    tally: Tally,
    /// Things being awaited.
    pending: u32,
    /// How many of them hold the directory.
    in_directory: u32,
    /// Messages handled that came through the orchestrator.
    handled: u64,
    halted: bool,
    _guard: PanicGuard,
}

/// A request that waits for the mark to be durable.
struct Waiter {
    request_id: String,
    reply: oneshot::Sender<CancelReply>,
}

/// What goes into the receipt.
#[derive(Default)]
struct Tally {
    /// The mark, when the job was swept.
    mark: Option<Mark>,
    swept: Swept,
    hidden_at: Option<Timestamp>,
    fenced_writers: u32,
    cut_downloads: u32,
    drained_downloads: u32,
    resumed: bool,
    /// Whether the mark made the record: an orphan.
    orphan: bool,
}

/// A message that came through the orchestrator.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Told(pub JobMessage);

/// The registry has let go.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Retire;

/// Stop exporting; the next start goes on.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Stop;

impl Message for PartDone {
    type Result = ();
}

impl ExportJob {
    pub fn spawn(
        id: JobId,
        seed: Seed,
        services: Arc<Services>,
        orchestrator: Addr<Orchestrator>,
        reaper: Addr<Reaper>,
    ) -> Addr<Self> {
        let guard = services.fatal.on_panic("a job's actor");
        let job = Self {
            id,
            services,
            orchestrator,
            reaper,
            seed: Some(seed),
            record: None,
            generation: 0,
            request: None,
            dir: None,
            plan: None,
            over: CancelToken::new(),
            part_count: 0,
            sealed: Vec::new(),
            completion: None,
            progress: Arc::default(),
            partial: Arc::default(),
            work: None,
            waiters: Vec::new(),
            mark_answer: None,
            last_out: LastOut::default(),
            tally: Tally::default(),
            pending: 0,
            in_directory: 0,
            handled: 0,
            halted: false,
            _guard: guard,
        };
        job.start()
    }

    fn state(&self) -> Option<&JobState> {
        self.record.as_ref().map(|record| &record.state)
    }

    fn now(&self) -> Timestamp {
        self.services.clock.now()
    }

    /// Awaits `future`, then goes on with `then`.
    fn wait<T: 'static>(
        &mut self,
        ctx: &mut Context<Self>,
        future: impl Future<Output = T> + 'static,
        then: impl FnOnce(&mut Self, T, &mut Context<Self>) + 'static,
    ) {
        self.pending += 1;
        ctx.spawn(future.into_actor(self).map(|value, this, ctx| {
            this.pending -= 1;
            then(this, value, ctx);
            this.settle(ctx);
        }));
    }

    /// Runs what blocks on another thread, then goes on with `then`.
    fn block<T: Send + 'static>(
        &mut self,
        ctx: &mut Context<Self>,
        task: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(&mut Self, T, &mut Context<Self>) + 'static,
    ) {
        let fatal = self.services.fatal.clone();
        self.wait(ctx, tokio::task::spawn_blocking(task), move |this, done, ctx| match done {
            Ok(value) => then(this, value, ctx),
            Err(panic) => fatal.raise(&format!("panic in a job's task: {panic}")),
        });
    }

    /// As `block`, for what holds the directory: the job is not erased before it is out (P4).
    fn block_in_directory<T: Send + 'static>(
        &mut self,
        ctx: &mut Context<Self>,
        task: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(&mut Self, T, &mut Context<Self>) + 'static,
    ) {
        self.in_directory += 1;
        self.block(ctx, task, |this, value, ctx| {
            this.in_directory -= 1;
            then(this, value, ctx);
        });
    }

    /// After everything that happens: is the last one out, is there nothing left to do?
    fn settle(&mut self, ctx: &mut Context<Self>) {
        self.check_last_out(ctx);
        let at_rest = match self.state() {
            None => self.seed.is_none(),
            Some(state) => {
                matches!(state.name(), StateName::Complete | StateName::Failed | StateName::Erased)
            }
        };
        if at_rest && self.pending == 0 && !self.last_out.is_waiting() {
            self.orchestrator.do_send(Idle { job: self.id, handled: self.handled });
        }
    }

    /// Gives an event to the state machine and performs what it asks for.
    fn apply(&mut self, event: Event, ctx: &mut Context<Self>) -> Result<(), Refusal> {
        let record = self.record.as_mut().ok_or(Refusal::Stale)?;
        let (state, effects) = transition(&record.state, event)?;
        if state != record.state {
            let (before, after) = (record.state.name(), state.name());
            let request_id = match &state {
                JobState::Marked(mark) => mark.request_id.clone(),
                _ => None,
            };
            record.state = state;
            self.generation += 1;
            if before != after {
                self.services.space.follow(self.id, &record.tenant, &record.state);
                telemetry::job_reached(after.as_str());
                tracing::info!(job = %self.id, from = %before, to = %after, request_id, "job");
            }
            if before.is_active() && !after.is_active() {
                self.orchestrator.do_send(Settled(self.id));
            }
        }
        self.perform(effects, ctx);
        Ok(())
    }

    /// As `apply`, for news that may come too late, which is no error.
    fn report(&mut self, event: Event, ctx: &mut Context<Self>) {
        if let Err(refusal) = self.apply(event, ctx) {
            tracing::debug!(job = %self.id, %refusal, "news that came too late");
        }
    }

    fn fail(&mut self, reason: FailureReason, ctx: &mut Context<Self>) {
        let at = self.now();
        self.report(Event::Fail(Failure { at, reason }), ctx);
    }

    /// Performs effects in order. One that is awaited goes on with the rest when it is done,
    /// unless the job has gone on by then.
    fn perform(&mut self, mut effects: &'static [Effect], ctx: &mut Context<Self>) {
        while let Some((effect, rest)) = effects.split_first() {
            match effect {
                Effect::PauseWriters => {
                    if let Some(work) = &self.work {
                        work.pause();
                    }
                }
                Effect::StopParts => self.stop_parts(),
                Effect::Acknowledge => self.acknowledge(),
                Effect::RunParts => self.run_parts(ctx),
                Effect::Sweep => self.reaper.do_send(Sweep(self.id)),
                // These four are the committer's: it performs them in this order for a whole batch.
                Effect::AppendReceipt | Effect::Commit | Effect::MoveToTrash | Effect::Publish => {
                    let is_of_commit =
                        |e: &Effect| matches!(e, Effect::Commit | Effect::MoveToTrash | Effect::Publish);
                    let skipped = rest.iter().take_while(|e| is_of_commit(e)).count();
                    return self.commit(&rest[skipped..], ctx);
                }
                Effect::AwaitLastOut => return self.await_last_out(rest, ctx),
                Effect::WriteJobJson => return self.write_job_json(rest, ctx),
                Effect::MoveToReady => return self.move_to_ready(ctx),
                Effect::SweepPartials => return self.sweep_partials(ctx),
            }
            effects = rest;
        }
    }

    /// Goes on with `rest` if the job is still where it was at `generation`.
    fn go_on(&mut self, generation: u64, rest: &'static [Effect], ctx: &mut Context<Self>) {
        if self.generation == generation {
            self.perform(rest, ctx);
        }
    }

    fn commit(&mut self, rest: &'static [Effect], ctx: &mut Context<Self>) {
        let Some(change) = self.next_change() else { return };
        let generation = self.generation;
        let is_mark = matches!(change, DurableChange::Mark(_) | DurableChange::MarkNew(_));
        let event = event_of(&change);
        let committed = self.services.committer.submit(change);
        self.wait(ctx, committed, move |this, outcome, ctx| {
            // After an error the process is ending; nobody may be told anything.
            let Ok(outcome) = outcome else { return };
            event.into_iter().for_each(|event| this.services.audit.record(event));
            if is_mark {
                this.marked(&outcome);
            }
            match this.state() {
                Some(JobState::Complete(completion)) => this.log_completion(completion),
                Some(JobState::Erased(erasure)) => {
                    let took = crate::clock::between(erasure.marked_at, erasure.gone_at);
                    telemetry::erased(took, this.tally.swept.files, this.tally.swept.bytes);
                }
                _ => {}
            }
            this.go_on(generation, rest, ctx);
        });
    }

    /// The record as the next change of the committer.
    fn next_change(&mut self) -> Option<DurableChange> {
        let orphan = std::mem::take(&mut self.tally.orphan);
        let record = self.record.as_mut()?;
        if orphan {
            return Some(DurableChange::MarkNew(PublishedJob::new(record.clone(), None, Arc::new([]))));
        }
        record.revision += 1;
        let record = record.clone();
        Some(match &record.state {
            JobState::Complete(_) => {
                let parts = std::mem::take(&mut self.sealed).into();
                DurableChange::Complete(record, parts)
            }
            JobState::Marked(Mark { failure: None, .. }) => DurableChange::Mark(record),
            JobState::Erased(erasure) => {
                let receipt = self.receipt(&record, erasure);
                DurableChange::Erase(record, Box::new(receipt))
            }
            _ => DurableChange::Update(record),
        })
    }
}

impl Actor for ExportJob {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.begin(ctx);
        self.settle(ctx);
    }
}

impl Handler<Told> for ExportJob {
    type Result = ();

    fn handle(&mut self, Told(message): Told, ctx: &mut Self::Context) {
        self.handled += 1;
        match message {
            JobMessage::Cancel { by, request_id, reply } => self.cancel(by, request_id, reply, ctx),
            JobMessage::Expire => self.expire(ctx),
            // A job that has an actor is no orphan.
            JobMessage::Orphan => {}
            JobMessage::Lost => self.check_lost(ctx),
            JobMessage::SweepDone { swept, error } => self.sweep_done(swept, error, ctx),
        }
        self.settle(ctx);
    }
}

impl Handler<PartDone> for ExportJob {
    type Result = ();

    fn handle(&mut self, PartDone { result }: PartDone, ctx: &mut Self::Context) {
        match result {
            Ok(part) => self.part_sealed(part, ctx),
            Err(Some(reason)) => self.fail(reason, ctx),
            Err(None) => {}
        }
        self.settle(ctx);
    }
}

impl Handler<Stop> for ExportJob {
    type Result = ();

    fn handle(&mut self, _: Stop, _: &mut Self::Context) {
        self.halted = true;
        if let Some(work) = &self.work {
            work.stop();
            self.services.pool.dismiss(self.id);
        }
    }
}

impl Handler<Retire> for ExportJob {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
