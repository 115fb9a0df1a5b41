//! From the plan to the sealed directory, or to the failure.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use actix::{AsyncContext, Context};

use super::super::planners::Place;
use super::ExportJob;
use crate::erase::Ground;
use crate::export::{ExportError, Exporter, Plan, Work, read_request};
use crate::files::{self, Document};
use crate::hooks::Step;
use crate::job::{
    Completion, Effect, Event, ExportRequest, FailureReason, JobDocument, JobRecord, JobState, SealedPart,
    StateName,
};
use crate::space::NoRoom;
use crate::store::DurableChange;
use crate::telemetry;

impl ExportJob {
    /// The exporter of the job's tenant, if there still is such a tenant.
    pub(super) fn exporter(&self) -> Option<Arc<dyn Exporter>> {
        self.services.exporters.of(&self.record.as_ref()?.tenant)
    }

    /// Waits for its turn to be planned, and only then reads the request (P13).
    pub(super) fn make_plan(&mut self, ctx: &mut Context<Self>) {
        let place = self.services.planners.place();
        self.wait(ctx, place, |this, place, ctx| {
            // It may have ended meanwhile.
            let Some(dir) = this.dir.clone() else { return };
            this.block_in_directory(
                ctx,
                move || read_request(&*dir),
                |this, request, ctx| match request {
                    Ok(request) => this.plan(place, request, ctx),
                    Err(error) => this.fail_by(&error, ctx),
                },
            );
        });
    }

    fn plan(&mut self, place: Place, request: ExportRequest, ctx: &mut Context<Self>) {
        // A job without an exporter is refused or has failed before it comes here; so below.
        let Some(exporter) = self.exporter() else { return };
        // The exporter may take long over it and holds nothing of ours meanwhile.
        let cancel = self.over.clone();
        let plan = move || catch_unwind(AssertUnwindSafe(|| exporter.plan(&request, &cancel)));
        let (planners, fatal) = (self.services.planners.clone(), self.services.fatal.clone());
        let (id, over) = (self.id, self.over.clone());
        let deadline = self.services.config.export.cancel_deadline.0;
        let planned = async move { planners.run(place, id, plan, over, deadline).await };
        self.wait(ctx, planned, move |this, planned, ctx| match planned {
            Err(panic) => fatal.raise(&format!("panic in a job's task: {panic}")),
            Ok(planned) => this.plan_made(planned, ctx),
        });
    }

    fn plan_made(
        &mut self,
        planned: std::thread::Result<Result<Plan, ExportError>>,
        ctx: &mut Context<Self>,
    ) {
        // It has none any more if it ended meanwhile.
        let Some(dir) = self.dir.clone() else { return };
        match planned {
            Ok(Ok(plan)) if self.state().is_some_and(|state| state.name().is_active()) => {
                let (id, bytes, space) = (self.id, plan.bytes, self.services.space.clone());
                // A plan may be many megabytes: its text is made where blocking is allowed.
                let write = move || {
                    bytes.map_or(Ok(()), |bytes| space.plan(id, bytes))?;
                    let content = Document::Plan.content(&plan);
                    let written = content.and_then(|content| dir.write_document(Document::Plan, &content));
                    Ok::<_, NoRoom>(written.map(|()| plan))
                };
                self.block_in_directory(ctx, write, |this, written, ctx| match written {
                    Ok(Ok(plan)) => {
                        this.services.hooks.reach(Step::PlanWritten);
                        this.planned(plan, ctx);
                    }
                    Ok(Err(error)) => this.fail_by(&error.into(), ctx),
                    Err(_no_room) => this.fail(FailureReason::StorageFull, ctx),
                });
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => self.fail_by(&error, ctx),
            Err(_panic) => self.fail(FailureReason::ExporterPanicked, ctx),
        }
    }

    pub(super) fn fail_by(&mut self, error: &ExportError, ctx: &mut Context<Self>) {
        // A job that was marked meanwhile has lost its directory to `trash/`: that is no failure.
        let is_active = self.state().is_some_and(|state| state.name().is_active());
        if let Some(reason) = error.reason().filter(|_| is_active) {
            tracing::error!(job = %self.id, %error, "an export failed");
            self.fail(reason, ctx);
        }
    }

    pub(super) fn planned(&mut self, plan: Plan, ctx: &mut Context<Self>) {
        let transaction_time = plan.transaction_time;
        self.plan = Some(plan);
        match self.state() {
            Some(JobState::Queued) => self.report(Event::Start { transaction_time }, ctx),
            Some(JobState::Running { .. }) => self.run_parts(ctx),
            _ => {}
        }
    }

    pub(super) fn run_parts(&mut self, ctx: &mut Context<Self>) {
        let Some(exporter) = self.exporter() else { return };
        let (Some(record), Some(request)) = (&self.record, &self.request) else { return };
        let (Some(plan), Some(dir)) = (&mut self.plan, &self.dir) else { return };
        if self.halted {
            return;
        }
        // They may be many megabytes: the workers get them, nobody keeps another copy.
        let parts = std::mem::take(&mut plan.parts);
        self.part_count = parts.len();
        self.partial.plan(self.part_count);
        let addr = ctx.address();
        let limits = &self.services.limits;
        let report = move |done| addr.do_send(done);
        let (tenant, progress) = (record.tenant.clone(), self.progress.clone());
        let work = Work::new(self.id, tenant, exporter, dir.clone(), limits, progress, report);
        let work = Arc::new(work.within(&request.access));
        self.work = Some(work.clone());
        let indexes: HashSet<_> = self.sealed.iter().map(|part| part.index).collect();
        self.progress.plan(parts.iter().map(|part| part.weight).fold(0, u64::saturating_add));
        let (sealed, open): (Vec<_>, Vec<_>) = (0u32..).zip(parts).partition(|(n, _)| indexes.contains(n));
        self.progress.advance(sealed.iter().map(|(_, part)| part.weight).fold(0, u64::saturating_add));
        if open.is_empty() {
            return self.report(Event::PartsSealed, ctx);
        }
        self.services.pool.enqueue(work, open);
    }

    pub(super) fn part_sealed(&mut self, part: SealedPart, ctx: &mut Context<Self>) {
        if !matches!(self.state(), Some(JobState::Running { .. })) {
            return;
        }
        let recorded = self.services.committer.submit(DurableChange::Seal(self.id, part.clone()));
        self.wait(ctx, recorded, |this, outcome, ctx| {
            if outcome.is_err() {
                return;
            }
            this.services.hooks.reach(Step::PartSealed);
            if this.request.as_ref().is_some_and(|request| request.partial_manifests) {
                this.partial.add(&part);
            }
            this.sealed.push(part);
            let (files, most) = (this.file_count(), this.services.config.export.max_files);
            if most > 0 && files > most {
                tracing::error!(job = %this.id, files, most, "an export has more files than export.max_files");
                return this.fail(FailureReason::TooLarge, ctx);
            }
            if this.plan.is_some() && this.sealed.len() == this.part_count {
                this.sealed.sort_by_key(|part| part.index);
                this.report(Event::PartsSealed, ctx);
            }
        });
    }

    /// Files that are sealed.
    fn file_count(&self) -> usize {
        self.sealed.iter().map(|part| part.files.len()).sum()
    }

    pub(super) fn stop_parts(&mut self) {
        self.over.cancel();
        if let Some(work) = &self.work {
            work.stop();
            self.services.pool.dismiss(self.id);
        }
        self.services.hooks.reach(Step::PartsStopped);
        self.dir = None;
        self.request = None;
        self.partial = Arc::default();
        self.plan = None;
    }

    /// Writes what the record is going to say. A failed export goes on without it when it
    /// cannot be written: the record alone then says so.
    pub(super) fn write_job_json(&mut self, rest: &'static [Effect], ctx: &mut Context<Self>) {
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
        let write = move || {
            let written = Document::Job.content(&document).and_then(|content| {
                files.open(id, files::Place::Building)?.write_document(Document::Job, &content)
            });
            (written, document)
        };
        self.block_in_directory(ctx, write, move |this, (written, document), ctx| match written {
            Err(error) if !is_failure => this.fail_by(&error.into(), ctx),
            written => {
                if let Err(error) = written {
                    tracing::warn!(job = %id, %error, "the failure could not be noted in the job's directory");
                }
                this.services.hooks.reach(Step::JobJsonWritten);
                if this.generation == generation {
                    if let JobState::Complete(completion) = document.record.state {
                        this.completion = Some(completion);
                    }
                    this.perform(rest, ctx);
                }
            }
        });
    }

    pub(super) fn move_to_ready(&mut self, ctx: &mut Context<Self>) {
        let Some(completion) = self.completion.take() else { return };
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

    /// One line for the operator: what was made, and how fast. A resumed export was written in
    /// more than one process: `written`, the time and the rate are of this one.
    pub(super) fn log_completion(&self, completion: &Completion) {
        let written = self.work.as_ref().map_or(0, |work| work.written().bytes);
        let running = self.progress.running(Instant::now());
        let milliseconds = u64::try_from(running.as_millis()).unwrap_or(u64::MAX);
        let rate = written.saturating_mul(1000) / milliseconds.max(1);
        let Completion { files, resources, bytes, .. } = completion;
        tracing::info!(
            job = %self.id,
            files,
            resources,
            bytes,
            stored = completion.stored_bytes(),
            written,
            milliseconds,
            bytes_per_second = rate,
            "an export is complete"
        );
    }

    /// Removes what a failed export wrote, until it is gone.
    pub(super) fn sweep_partials(&mut self, ctx: &mut Context<Self>) {
        let (id, eraser) = (self.id, self.services.eraser.clone());
        let generation = self.generation;
        let Ok(warrant) = eraser.holds().grant(id, Ground::FailedExport) else {
            let wait = self.services.config.reaper.interval.0;
            return self.wait(ctx, tokio::time::sleep(wait), move |this, (), ctx| {
                this.go_on(generation, &[Effect::SweepPartials], ctx);
            });
        };
        let sweep = move || eraser.sweep_partials(&warrant);
        self.block_in_directory(ctx, sweep, move |this, swept, ctx| match swept {
            Ok(()) => this.services.space.release(id),
            Err(error) => {
                let wait = this.services.config.reaper.retry_min.0;
                tracing::error!(job = %id, %error, ?wait, "the partial files of a failed export could not be removed");
                telemetry::sweep_failed(error.errno());
                this.wait(ctx, tokio::time::sleep(wait), move |this, (), ctx| {
                    this.go_on(generation, &[Effect::SweepPartials], ctx);
                });
            }
        });
    }
}
