//! What a job's life asks for: done at once here, or begun, so that its end comes back.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::super::orchestrator::{ActorIdle, JobSettled};
use super::ExportJob;
use crate::admission::PendingKickoff;
use crate::erase::ReaperInput;
use crate::hooks::HookStep;
use crate::job::life::{Action, End, FencePatience, Input, Task};
use crate::job::{JobState, MarkReason, StateName};
use crate::telemetry;

/// How often a writer inside a system call is asked again for its files.
const ASK_AGAIN: Duration = Duration::from_millis(100);

impl ExportJob {
    pub(super) fn perform(&mut self, action: Action, ctx: &mut Context<Self>) {
        match action {
            Action::Start(task) => self.begin(task, ctx),
            Action::Accept => {
                self.services.hooks.reach(HookStep::QueuedCommitted);
                telemetry::job_reached(StateName::Queued.as_str());
                if let Some((kickoff, record)) = self.kickoff.take().zip(self.life.record()) {
                    self.log.kicked_off(record, kickoff.asked_in());
                    kickoff.accept(self.id);
                }
            }
            Action::Refuse => self.kickoff.take().into_iter().for_each(PendingKickoff::refuse),
            Action::Settle => self.orchestrator.do_send(JobSettled(self.id)),
            Action::Entered { state, .. } => self.entered(&state),
            Action::PauseWriters => self.session.pause(),
            Action::StopParts => {
                self.session.end(&self.services.pool);
                self.services.hooks.reach(HookStep::PartsStopped);
            }
            Action::RunParts => self.run_parts(ctx),
            Action::HaltParts => self.session.halt(&self.services.pool),
            Action::Answer { caller, reply } => {
                if let Some(waiting) = self.callers.remove(&caller) {
                    // A caller that went away needs no answer.
                    let _ = waiting.send(reply);
                }
            }
            Action::Acknowledged => self.services.hooks.reach(HookStep::Acknowledged),
            Action::FenceLater { of, patience } => {
                let patience = match patience {
                    FencePatience::Deadline => self.services.config.export.cancel_deadline.0,
                    FencePatience::AskAgain => ASK_AGAIN,
                };
                ctx.run_later(patience, move |this, ctx| this.take_in(Input::FenceDue { of }, ctx));
            }
            Action::Fence => {
                if let Some((closed, stuck)) = self.session.fence(&self.services.pool) {
                    self.take_in(Input::Fenced { closed, stuck }, ctx);
                }
            }
            Action::DownloadsCut(downloads) => {
                tracing::warn!(job = %self.id, downloads, "downloads of a job that ended were cut");
                telemetry::downloads_cut(downloads);
            }
            Action::LastOneOut => self.services.hooks.reach(HookStep::LastOneOut),
            Action::Sweep => self.reaper.do_send(ReaperInput::Sweep(self.id)),
            Action::Retire => self.orchestrator.do_send(ActorIdle { job: self.id, handled: self.handled }),
        }
    }

    fn begin(&mut self, task: Task, ctx: &mut Context<Self>) {
        match task {
            Task::Create => self.create(ctx),
            Task::TakeTurn(turn) => self.take_turn(turn, ctx),
            Task::ReadRequest => {
                self.life.record().into_iter().for_each(|record| self.log.started(record));
                self.read_request(ctx);
            }
            Task::Plan => self.make_plan(ctx),
            Task::WritePlan => self.write_plan(ctx),
            Task::ReadDocuments => {
                let sealed = self.session.sealed().len();
                self.life.record().into_iter().for_each(|record| self.log.resumed(record, sealed));
                self.read_documents(ctx);
            }
            Task::RecordPart(part) => self.record_part(part, ctx),
            Task::WriteJobJson(record) => self.write_job_json(record, ctx),
            Task::MoveToReady(completion) => self.move_to_ready(completion, ctx),
            Task::Commit(commit) => self.commit(commit, ctx),
            Task::AwaitDownloads { of, grace } => self.await_downloads(of, grace, ctx),
            Task::SweepPartials => self.sweep_partials(ctx),
            Task::AwaitRetry(after) => self.await_retry(after, ctx),
            Task::SweepEarly => self.sweep_early(ctx),
            Task::FindMark => self.find_mark(ctx),
            Task::LookForFiles => self.look_for_files(ctx),
        }
    }

    /// Awaits `future`, which a task of the job's life stands for. Without an end the process ends.
    pub(super) fn wait<T: 'static>(
        &mut self,
        ctx: &mut Context<Self>,
        future: impl Future<Output = T> + 'static,
        end: impl FnOnce(&mut Self, T) -> Option<End> + 'static,
    ) {
        ctx.spawn(future.into_actor(self).map(|value, this, ctx| {
            if let Some(end) = end(this, value) {
                this.take_in(Input::Ended(end), ctx);
                drop(this.session.take_handover());
            }
        }));
    }

    /// As `wait`, for what blocks: it runs on another thread.
    pub(super) fn block<T: Send + 'static>(
        &mut self,
        ctx: &mut Context<Self>,
        task: impl FnOnce() -> T + Send + 'static,
        end: impl FnOnce(&mut Self, T) -> Option<End> + 'static,
    ) {
        self.wait(ctx, tokio::task::spawn_blocking(task), move |this, done| match done {
            Ok(value) => end(this, value),
            Err(panic) => this.give_up(format!("panic in a job's task: {panic}")),
        });
    }

    /// Ends the process: nothing comes after it.
    pub(super) fn give_up(&self, reason: impl ToString) -> Option<End> {
        self.services.fatal.raise(&reason.to_string());
        None
    }

    /// Tells the room, the metrics and the operator of a new state.
    fn entered(&mut self, state: &JobState) {
        let Some(record) = self.life.record() else { return };
        self.services.space.follow(self.id, &record.tenant, state);
        telemetry::job_reached(state.name().as_str());
        let mark = if let JobState::Marked(mark) = state { Some(mark.reason) } else { None };
        match mark {
            Some(MarkReason::Orphan) => {
                tracing::warn!(job = %self.id, "a directory without a record is erased as an orphan");
            }
            Some(MarkReason::Lost) => {
                tracing::error!(job = %self.id, "the files of a complete job are gone, and nobody asked for it");
            }
            _ => {}
        }
        self.log.entered(record, &self.session);
    }
}
