//! One job's actor. Messages line up in its mailbox; each is given to `job::transition` with
//! the state in memory, which changes at once, before anything is awaited. What the
//! transition asks for is then performed in its order; whatever has been overtaken by a later
//! transition when an await ends is dropped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use actix::ActorContext as _;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::last_out::LastOut;
use super::orchestrator::{Idle, Orchestrator, Settled};
use super::reaper::{Reaper, Sweep, expires_at};
use super::{CancelReply, JobMessage, Seed, Services};
use crate::export::{ExportError, PartDone, Plan, Work};
use crate::files::{Document, ExportDir, FilesError, Place, Swept};
use crate::hooks::Step;
use crate::job::{
    Completion, Effect, Erasure, Event, ExportRequest, Failure, FailureReason, JobDocument, JobId, JobRecord,
    JobState, Mark, MarkReason, Receipt, Refusal, SealedPart, StateName, SweepFailure, transition,
};
use crate::store::{Change, CommitError, Outcome, Progress, Published};
use crate::telemetry::{self, PanicGuard};

/// See the module.
pub(super) struct ExportJob {
    pub(super) id: JobId,
    pub(super) services: Arc<Services>,
    orchestrator: Addr<Orchestrator>,
    reaper: Addr<Reaper>,
    seed: Option<Seed>,
    /// Ahead of the store by what is being committed; `None` until the directory is made.
    record: Option<JobRecord>,
    /// Counts the changes of state, so that what was overtaken can be told.
    pub(super) generation: u64,
    request: Option<Arc<ExportRequest>>,
    dir: Option<Arc<dyn ExportDir>>,
    plan: Option<Plan>,
    sealed: Vec<SealedPart>,
    progress: Arc<Progress>,
    pub(super) work: Option<Arc<Work>>,
    waiters: Vec<Waiter>,
    /// The answer to the request that marked the job, once there is one.
    mark_answer: Option<CancelReply>,
    pub(super) last_out: LastOut,
    pub(super) tally: Tally,
    /// Things being awaited.
    pending: u32,
    /// How many of them hold the directory.
    pub(super) in_directory: u32,
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
pub(super) struct Tally {
    swept: Swept,
    hidden_at: Option<Timestamp>,
    pub fenced_writers: u32,
    pub cut_downloads: u32,
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
            sealed: Vec::new(),
            progress: Arc::default(),
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

    pub(super) fn state(&self) -> Option<&JobState> {
        self.record.as_ref().map(|record| &record.state)
    }

    fn now(&self) -> Timestamp {
        self.services.clock.now()
    }

    // ---- awaiting ----

    /// Awaits `future`, then goes on with `then`.
    pub(super) fn wait<T: 'static>(
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
    pub(super) fn block_in_directory<T: Send + 'static>(
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
        if at_rest && self.pending == 0 {
            self.orchestrator.do_send(Idle { job: self.id, handled: self.handled });
        }
    }

    // ---- the life of the job ----

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
    pub(super) fn perform(&mut self, mut effects: &'static [Effect], ctx: &mut Context<Self>) {
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
                // These four are the ledger's: it performs them in this order for a whole batch.
                Effect::AppendReceipt | Effect::Commit | Effect::MoveToTrash | Effect::Publish => {
                    let ledgers =
                        |e: &Effect| matches!(e, Effect::Commit | Effect::MoveToTrash | Effect::Publish);
                    let skipped = rest.iter().take_while(|e| ledgers(e)).count();
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
        let is_mark = matches!(change, Change::Mark(_) | Change::MarkNew(_));
        let committed = self.services.ledger.submit(change);
        self.wait(ctx, committed, move |this, outcome, ctx| {
            // After an error the process is ending; nobody may be told anything.
            let Ok(outcome) = outcome else { return };
            if is_mark {
                this.marked(&outcome);
            }
            if let Some(JobState::Erased(erasure)) = this.state() {
                let took = crate::clock::between(erasure.marked_at, erasure.gone_at);
                telemetry::erased(took, this.tally.swept.files, this.tally.swept.bytes);
            }
            this.go_on(generation, rest, ctx);
        });
    }

    /// The record as the next change of the ledger.
    fn next_change(&mut self) -> Option<Change> {
        let orphan = std::mem::take(&mut self.tally.orphan);
        let record = self.record.as_mut()?;
        if orphan {
            return Some(Change::MarkNew(Published::new(record.clone(), None, Arc::new([]))));
        }
        record.revision += 1;
        let record = record.clone();
        Some(match &record.state {
            JobState::Complete(_) => {
                let parts = std::mem::take(&mut self.sealed).into();
                Change::Complete(record, parts)
            }
            JobState::Marked(Mark { failure: None, .. }) => Change::Mark(record),
            JobState::Erased(erasure) => {
                let receipt = self.receipt(&record, erasure);
                Change::Erase(record, Box::new(receipt))
            }
            _ => Change::Update(record),
        })
    }

    // ---- beginning ----

    fn begin(&mut self, ctx: &mut Context<Self>) {
        match self.seed.take() {
            Some(Seed::New { request, reply }) => self.create(request, reply, ctx),
            Some(Seed::Known(published)) => self.recall(&published, ctx),
            Some(Seed::Orphan) => self.mark_orphan(ctx),
            None => {}
        }
    }

    /// A kick-off: directory, record, answer, plan (DESIGN section 3).
    fn create(
        &mut self,
        request: Arc<ExportRequest>,
        reply: oneshot::Sender<Result<JobId, super::SubmitError>>,
        ctx: &mut Context<Self>,
    ) {
        let (id, files, asked) = (self.id, self.services.files.clone(), request.clone());
        let make = move || {
            files.create(id, &asked).inspect_err(|_| {
                // Nobody was told of it; what cannot be removed now is an orphan.
                let moved = files.move_to_trash(&[id]).and_then(|moved| moved.into_iter().collect());
                if let Err(error) = moved.and_then(|()| files.sweep(id, &mut Swept::default())) {
                    tracing::warn!(job = %id, %error, "a half-made directory is left to the reaper");
                }
            })
        };
        self.block_in_directory(ctx, make, move |this, made, ctx| {
            let dir = match made {
                Ok(dir) => dir,
                Err(error) => {
                    tracing::error!(job = %id, %error, "a job's directory could not be made");
                    let full = error.is_full();
                    // A caller that went away needs no answer.
                    let _ = reply.send(Err(if full {
                        super::SubmitError::StorageFull
                    } else {
                        super::SubmitError::Failed
                    }));
                    this.orchestrator.do_send(Settled(id));
                    return;
                }
            };
            let record = JobRecord {
                id,
                tenant: request.tenant.clone(),
                owner: request.owner.clone(),
                revision: 1,
                submitted_at: request.submitted_at,
                state: JobState::Queued,
            };
            this.dir = Some(dir);
            this.request = Some(request.clone());
            let mut published = Published::new(record.clone(), Some(request), Arc::new([]));
            published.progress = this.progress.clone();
            this.record = Some(record);
            let committed = this.services.ledger.submit(Change::New(published));
            this.wait(ctx, committed, move |this, outcome: Result<Outcome, CommitError>, ctx| {
                if outcome.is_err() {
                    return;
                }
                this.services.hooks.reach(Step::QueuedCommitted);
                telemetry::job_reached(StateName::Queued.as_str());
                // A caller that went away can still find the job, or let it expire.
                let _ = reply.send(Ok(id));
                this.make_plan(ctx);
            });
        });
    }

    /// A job that was passivated, or found at a start.
    fn recall(&mut self, published: &Published, ctx: &mut Context<Self>) {
        self.record = Some(published.record.clone());
        self.request = published.request.clone();
        self.progress = published.progress.clone();
        match &published.record.state {
            JobState::Queued | JobState::Running { .. } | JobState::Finishing { .. } => {
                self.sealed = published.parts.to_vec();
                self.resume(ctx);
            }
            JobState::Marked(mark) => {
                self.mark_answer = Some(CancelReply::Accepted { at: mark.at });
                self.tally.resumed = true;
                self.perform(&[Effect::AwaitLastOut, Effect::Sweep], ctx);
            }
            JobState::Failed(_) => self.perform(&[Effect::SweepPartials], ctx),
            JobState::Complete(_) | JobState::Erased(_) => {}
        }
    }

    /// Takes an interrupted export up again: sealed parts are kept, partial files removed.
    fn resume(&mut self, ctx: &mut Context<Self>) {
        let (id, files) = (self.id, self.services.files.clone());
        let names: Vec<_> =
            self.sealed.iter().flat_map(|part| &part.files).map(|file| file.name.clone()).collect();
        let look = move || {
            let dir = files.open(id, Place::Building)?;
            dir.remove_all_but(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
            let request = dir.read_document(Document::Request)?;
            let plan = dir.read_document(Document::Plan)?;
            Ok::<_, FilesError>((dir, request, plan))
        };
        self.block_in_directory(ctx, look, |this, found, ctx| {
            let (dir, request, plan) = match found {
                Ok(found) => found,
                Err(error) => {
                    tracing::error!(job = %this.id, %error, "an interrupted export cannot be resumed");
                    return this.fail(FailureReason::DirectoryLost, ctx);
                }
            };
            let Some(request) = request.and_then(|text| serde_json::from_slice::<ExportRequest>(&text).ok())
            else {
                tracing::error!(job = %this.id, "request.json is missing or damaged");
                return this.fail(FailureReason::DirectoryLost, ctx);
            };
            this.dir = Some(dir);
            this.request = Some(Arc::new(request));
            match plan.and_then(|text| serde_json::from_slice::<Plan>(&text).ok()) {
                Some(plan) => this.planned(plan, ctx),
                None => this.make_plan(ctx),
            }
        });
    }

    fn mark_orphan(&mut self, ctx: &mut Context<Self>) {
        // The second look: the record may have been published since the scan.
        if let Some(published) = self.services.view().get(self.id) {
            return self.recall(&published, ctx);
        }
        let now = self.now();
        let unknown = "unknown";
        self.record = Some(JobRecord {
            id: self.id,
            tenant: unknown.parse().expect("a constant that is a valid name"),
            owner: unknown.parse().expect("a constant that is a valid name"),
            revision: 1,
            submitted_at: now,
            state: JobState::Queued,
        });
        self.tally.orphan = true;
        tracing::warn!(job = %self.id, "a directory without a record: it is erased as an orphan");
        let mark = self.mark(MarkReason::Orphan, None, None);
        self.report(Event::Mark(mark), ctx);
    }

    // ---- exporting ----

    fn make_plan(&mut self, ctx: &mut Context<Self>) {
        let (Some(request), Some(dir)) = (self.request.clone(), self.dir.clone()) else { return };
        let exporter = self.services.exporter.clone();
        // The exporter may take long over it and holds nothing of ours meanwhile.
        let plan = move || catch_unwind(AssertUnwindSafe(|| exporter.plan(&request)));
        self.block(ctx, plan, |this, planned, ctx| match planned {
            Ok(Ok(plan)) if this.state().is_some_and(|state| state.name().is_active()) => {
                let content = serde_json::to_vec(&plan).expect("a plan has string keys only");
                let write = move || dir.write_document(Document::Plan, &content);
                this.block_in_directory(ctx, write, |this, written, ctx| match written {
                    Ok(()) => {
                        this.services.hooks.reach(Step::PlanWritten);
                        this.planned(plan, ctx);
                    }
                    Err(error) => this.fail_by(&error.into(), ctx),
                });
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => this.fail_by(&error, ctx),
            Err(_panic) => this.fail(FailureReason::ExporterPanicked, ctx),
        });
    }

    fn fail_by(&mut self, error: &ExportError, ctx: &mut Context<Self>) {
        if let Some(reason) = error.reason() {
            tracing::error!(job = %self.id, %error, "an export failed");
            self.fail(reason, ctx);
        }
    }

    fn planned(&mut self, plan: Plan, ctx: &mut Context<Self>) {
        let transaction_time = plan.transaction_time;
        self.plan = Some(plan);
        match self.state() {
            Some(JobState::Queued) => self.report(Event::Start { transaction_time }, ctx),
            Some(JobState::Running { .. }) => self.run_parts(ctx),
            _ => {}
        }
    }

    fn run_parts(&mut self, ctx: &mut Context<Self>) {
        let (Some(plan), Some(dir)) = (&self.plan, &self.dir) else { return };
        if self.halted {
            return;
        }
        let addr = ctx.address();
        let (exporter, limits) = (self.services.exporter.clone(), &self.services.limits);
        let report = move |done| addr.do_send(done);
        let work = Work::new(self.id, exporter, dir.clone(), limits, self.progress.clone(), report);
        let work = Arc::new(work);
        self.work = Some(work.clone());
        let is_sealed = |index| self.sealed.iter().any(|part| part.index == index);
        let (sealed, open): (Vec<_>, Vec<_>) =
            (0u32..).zip(plan.parts.clone()).partition(|(n, _)| is_sealed(*n));
        self.progress.plan(plan.parts.iter().map(|part| part.weight).sum());
        self.progress.advance(sealed.iter().map(|(_, part)| part.weight).sum());
        if open.is_empty() {
            return self.report(Event::PartsSealed, ctx);
        }
        self.services.pool.enqueue(work, open);
    }

    fn part_sealed(&mut self, part: SealedPart, ctx: &mut Context<Self>) {
        if !matches!(self.state(), Some(JobState::Running { .. })) {
            return;
        }
        let recorded = self.services.ledger.submit(Change::Seal(self.id, part.clone()));
        self.wait(ctx, recorded, |this, outcome, ctx| {
            if outcome.is_err() {
                return;
            }
            this.services.hooks.reach(Step::PartSealed);
            this.sealed.push(part);
            if this.plan.as_ref().is_some_and(|plan| plan.parts.len() == this.sealed.len()) {
                this.sealed.sort_by_key(|part| part.index);
                this.report(Event::PartsSealed, ctx);
            }
        });
    }

    fn stop_parts(&mut self) {
        if let Some(work) = &self.work {
            work.stop();
            self.services.pool.dismiss(self.id);
        }
        self.dir = None;
        self.request = None;
        self.plan = None;
    }

    // ---- finishing and failing ----

    /// Writes what the record is going to say. A failed export goes on without it when it
    /// cannot be written: the record alone then says so.
    fn write_job_json(&mut self, rest: &'static [Effect], ctx: &mut Context<Self>) {
        let (Some(record), id, files) = (self.record.clone(), self.id, self.services.files.clone()) else {
            return;
        };
        let generation = self.generation;
        let finishing = match record.state {
            JobState::Finishing { transaction_time } => {
                Some(Completion::of(&self.sealed, transaction_time, self.now()))
            }
            _ => None,
        };
        let state = finishing.map_or(record.state.clone(), JobState::Complete);
        let is_failure = state.name() == StateName::Failed;
        let parts = if is_failure { Vec::new() } else { self.sealed.clone() };
        let document = JobDocument { record: JobRecord { state, ..record }, parts };
        let content = serde_json::to_vec(&document).expect("a job document has string keys only");
        let write = move || files.open(id, Place::Building)?.write_document(Document::Job, &content);
        self.block_in_directory(ctx, write, move |this, written, ctx| match written {
            Err(error) if !is_failure => this.fail_by(&error.into(), ctx),
            written => {
                if let Err(error) = written {
                    tracing::warn!(job = %id, %error, "the failure could not be noted in the job's directory");
                }
                this.services.hooks.reach(Step::JobJsonWritten);
                if this.generation == generation {
                    if let JobState::Complete(completion) = document.record.state {
                        this.last_out.completion = Some(completion);
                    }
                    this.perform(rest, ctx);
                }
            }
        });
    }

    fn move_to_ready(&mut self, ctx: &mut Context<Self>) {
        let Some(completion) = self.last_out.completion.take() else { return };
        let (id, files) = (self.id, self.services.files.clone());
        self.block_in_directory(
            ctx,
            move || files.move_to_ready(id),
            |this, moved, ctx| match moved {
                Ok(()) => this.report(Event::Completed(completion), ctx),
                Err(error) if error.is_sync() => this.services.fatal.raise(&error.to_string()),
                Err(error) => this.fail_by(&error.into(), ctx),
            },
        );
    }

    /// Removes what a failed export wrote, until it is gone.
    fn sweep_partials(&mut self, ctx: &mut Context<Self>) {
        let (id, files) = (self.id, self.services.files.clone());
        let generation = self.generation;
        self.block_in_directory(ctx, move || files.sweep_partials(id), move |this, swept, ctx| {
            if let Err(error) = swept {
                let wait = this.services.config.reaper.retry_min.0;
                tracing::error!(job = %id, %error, ?wait, "the partial files of a failed export could not be removed");
                telemetry::sweep_failed();
                this.wait(ctx, tokio::time::sleep(wait), move |this, (), ctx| {
                    this.go_on(generation, &[Effect::SweepPartials], ctx);
                });
            }
        });
    }

    // ---- ending ----

    fn mark(&self, reason: MarkReason, by: Option<crate::job::ClientId>, request_id: Option<String>) -> Mark {
        let was = self.state().map_or(StateName::Queued, JobState::name);
        Mark { reason, by, at: self.now(), request_id, was, failure: None }
    }

    fn cancel(
        &mut self,
        by: crate::job::ClientId,
        request_id: String,
        reply: oneshot::Sender<CancelReply>,
        ctx: &mut Context<Self>,
    ) {
        let Some(was) = self.state().map(JobState::name) else {
            // A caller that went away needs no answer; so below.
            let _ = reply.send(CancelReply::NotFound);
            return;
        };
        let mark = self.mark(MarkReason::of_client(was), Some(by), Some(request_id.clone()));
        // Before the event: acknowledging may be the first thing it does.
        self.waiters.push(Waiter { request_id, reply });
        if self.apply(Event::Mark(mark), ctx).is_err() {
            // It waits for the answer of the request that came first, if that is not out yet.
            self.acknowledge();
        }
    }

    /// The mark is durable and published.
    fn marked(&mut self, outcome: &Outcome) {
        let Some(JobState::Marked(mark)) = self.state() else { return };
        let at = mark.at;
        self.tally.hidden_at = Some(self.now());
        self.mark_answer = Some(match outcome {
            Outcome::Done => CancelReply::Accepted { at },
            Outcome::NotMoved(reason) => {
                tracing::error!(job = %self.id, reason, "marked, but not moved to trash; the reaper goes on trying");
                CancelReply::HalfDurable
            }
        });
    }

    /// Answers everybody who asked for the deletion: the request that made the mark gets its
    /// answer, all others hear that it was deleted already (D-8).
    fn acknowledge(&mut self) {
        let marked_by = match self.state() {
            Some(JobState::Marked(mark)) => mark.request_id.clone(),
            Some(JobState::Erased(_)) => None,
            _ => return,
        };
        let erased = matches!(self.state(), Some(JobState::Erased(_)));
        if self.mark_answer.is_none() && !erased {
            return;
        }
        for waiter in self.waiters.drain(..) {
            let own = marked_by.as_ref() == Some(&waiter.request_id);
            let answer = self.mark_answer.clone().filter(|_| own).unwrap_or(CancelReply::AlreadyDeleted);
            let _ = waiter.reply.send(answer);
        }
    }

    fn sweep_done(&mut self, swept: Swept, error: Option<String>, ctx: &mut Context<Self>) {
        self.tally.swept += swept;
        let Some(JobState::Marked(mark)) = self.state() else { return };
        let event = match error {
            Some(error) => {
                let attempts = mark.failure.as_ref().map_or(0, |failure| failure.attempts) + 1;
                Event::SweepFailed(SweepFailure { attempts, at: self.now(), error })
            }
            None => Event::Swept(Erasure { reason: mark.reason, marked_at: mark.at, gone_at: self.now() }),
        };
        self.last_out.mark = Some(mark.clone());
        self.report(event, ctx);
    }

    /// The receipt of this job's erasure (P9).
    fn receipt(&mut self, record: &JobRecord, erasure: &Erasure) -> Receipt {
        let mark = self.last_out.mark.take();
        let failure = mark.as_ref().and_then(|mark| mark.failure.clone());
        let tally = &self.tally;
        Receipt {
            job: record.id,
            tenant: record.tenant.clone(),
            owner: record.owner.clone(),
            reason: erasure.reason,
            was: mark.as_ref().map_or(StateName::Marked, |mark| mark.was),
            by: mark.as_ref().and_then(|mark| mark.by.clone()),
            request_id: mark.and_then(|mark| mark.request_id),
            submitted_at: record.submitted_at,
            marked_at: erasure.marked_at,
            hidden_at: tally.hidden_at,
            last_byte_at: self.work.as_ref().and_then(|work| work.last_write()),
            gone_at: erasure.gone_at,
            files: tally.swept.files,
            bytes: tally.swept.bytes,
            planted_links: tally.swept.planted_links,
            failed_sweeps: failure.as_ref().map_or(0, |failure| failure.attempts),
            last_error: failure.map(|failure| failure.error),
            fenced_writers: tally.fenced_writers,
            cut_downloads: tally.cut_downloads,
            resumed: tally.resumed,
        }
    }

    fn expire(&mut self, ctx: &mut Context<Self>) {
        let retention = self.services.config.retention.completed.0;
        let due = self.state().and_then(|state| expires_at(state, retention));
        if due.is_some_and(|due| due <= self.now()) {
            let mark = self.mark(MarkReason::Expired, None, None);
            self.report(Event::Mark(mark), ctx);
        }
    }

    /// The second look at a complete job whose directory a scan did not find.
    fn check_lost(&mut self, ctx: &mut Context<Self>) {
        if !matches!(self.state(), Some(JobState::Complete(_))) {
            return;
        }
        let (id, files) = (self.id, self.services.files.clone());
        self.block(ctx, move || files.open(id, Place::Ready).map(drop), |this, opened, ctx| {
            let complete = matches!(this.state(), Some(JobState::Complete(_)));
            if complete && opened.is_err_and(|error| error.is_missing()) {
                tracing::error!(job = %this.id, "the files of a complete job are gone, and nobody asked for it");
                let mark = this.mark(MarkReason::Lost, None, None);
                this.report(Event::Mark(mark), ctx);
            }
        });
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
