//! What the job's life asks for and is done at once.

use std::sync::Arc;
use std::time::Duration;

use actix::{AsyncContext, Context};

use super::super::orchestrator::{Idle, Settled};
use super::super::reaper::Sweep;
use super::ExportJob;
use crate::export::{FenceReport, StuckWriter};
use crate::hooks::HookStep;
use crate::job::life::{Action, FencePatience, Input, Task};
use crate::job::{JobState, MarkReason, StateName};
use crate::telemetry;

/// How often a writer inside a system call is asked again for its files.
const ASK_AGAIN: Duration = Duration::from_millis(100);

impl ExportJob {
    pub(super) fn perform(&mut self, action: Action, ctx: &mut Context<Self>) {
        match action {
            Action::Start(task) => self.begin(task, ctx),
            Action::Accept => self.accept(),
            Action::Refuse => self.refuse(),
            Action::Settle => self.orchestrator.do_send(Settled(self.id)),
            Action::Entered { from, state } => self.entered(from, &state),
            Action::PauseWriters => self.work.iter().for_each(|work| work.pause()),
            Action::StopParts => self.stop_parts(),
            Action::RunParts => self.run_parts(ctx),
            Action::HaltParts => self.halt_parts(),
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
            Action::Fence => self.fence(ctx),
            Action::DownloadsCut(downloads) => {
                tracing::warn!(job = %self.id, downloads, "downloads of a job that ended were cut");
                telemetry::downloads_cut(downloads);
            }
            Action::LastOneOut => self.services.hooks.reach(HookStep::LastOneOut),
            Action::Sweep => self.reaper.do_send(Sweep(self.id)),
            Action::Retire => self.orchestrator.do_send(Idle { job: self.id, handled: self.handled }),
        }
    }

    fn begin(&mut self, task: Task, ctx: &mut Context<Self>) {
        match task {
            Task::Create => self.create(ctx),
            Task::TakeTurn(turn) => self.take_turn(turn, ctx),
            Task::ReadRequest => self.read_request(ctx),
            Task::Plan => self.make_plan(ctx),
            Task::WritePlan => self.write_plan(ctx),
            Task::ReadDocuments => self.read_documents(ctx),
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

    fn entered(&self, from: StateName, state: &JobState) {
        let Some(record) = self.life.record() else { return };
        let to = state.name();
        self.services.space.follow(self.id, &record.tenant, state);
        telemetry::job_reached(to.as_str());
        let mark = if let JobState::Marked(mark) = state { Some(mark) } else { None };
        let request_id = mark.and_then(|mark| mark.request_id.as_ref());
        match mark.map(|mark| mark.reason) {
            Some(MarkReason::Orphan) => {
                tracing::warn!(job = %self.id, "a directory without a record: it is erased as an orphan");
            }
            Some(MarkReason::Lost) => {
                tracing::error!(job = %self.id, "the files of a complete job are gone, and nobody asked for it");
            }
            _ => {}
        }
        tracing::info!(job = %self.id, %from, %to, request_id, "job");
    }

    fn stop_parts(&mut self) {
        self.over.cancel();
        self.halt_parts();
        self.services.hooks.reach(HookStep::PartsStopped);
        self.dir = None;
        self.request = None;
        self.partial = Arc::default();
        self.plan = None;
    }

    fn halt_parts(&self) {
        if let Some(work) = &self.work {
            work.stop();
            self.services.pool.dismiss(self.id);
        }
    }

    /// Takes files away from writers that are still there when the deadline is over.
    fn fence(&mut self, ctx: &mut Context<Self>) {
        let Some(work) = &self.work else { return };
        let FenceReport { closed, busy } = work.fence();
        self.services.pool.abandon(self.id);
        for StuckWriter { part, worker } in &closed {
            tracing::error!(job = %self.id, part, worker, "a writer outlived its job's cancel deadline and was fenced");
        }
        let stuck: Vec<_> = busy.iter().filter(|writer| !self.stuck.contains(writer)).collect();
        for StuckWriter { part, worker } in &stuck {
            tracing::error!(
                job = %self.id, part, worker,
                "a writer is stuck in a system call: its names go, its job is not erased before it returns"
            );
        }
        telemetry::fenced(closed.len(), stuck.len());
        self.stuck = busy;
        self.take_in(Input::Fenced { closed: closed.len(), stuck: self.stuck.len() }, ctx);
    }
}
