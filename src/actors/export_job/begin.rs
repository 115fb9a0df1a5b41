//! How a job's actor begins: a kick-off, a record that was passivated or found at a start,
//! a directory that nobody knows.

use std::sync::Arc;

use actix::Context;
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::super::orchestrator::Settled;
use super::super::planners::Place;
use super::super::{CancelReply, Seed, SubmitError};
use super::ExportJob;
use crate::export::{CHECK_PATIENCE, CancelToken, ExportError, Plan};
use crate::files::{self, Document, FilesError};
use crate::hooks::Step;
use crate::job::{
    Effect, Event, ExportRequest, FailureReason, JobId, JobRecord, JobState, MarkReason, OutputFile,
    RequestSummary, StateName,
};
use crate::space::{NoRoom, SpaceClaim};
use crate::store::{CommitError, CommitOutcome, DurableChange};
use crate::telemetry;
use crate::view::PublishedJob;

impl ExportJob {
    pub(super) fn begin(&mut self, ctx: &mut Context<Self>) {
        match self.seed.take() {
            Some(Seed::New { request, reply }) => self.check(request, reply, ctx),
            Some(Seed::Known(published)) => self.recall(&published, ctx),
            Some(Seed::Orphan) => self.mark_orphan(ctx),
            None => {}
        }
    }

    /// A kick-off: the exporter's look at it, room, directory, record, answer, plan (DESIGN
    /// section 3).
    pub(super) fn check(
        &mut self,
        mut request: Arc<ExportRequest>,
        reply: oneshot::Sender<Result<JobId, SubmitError>>,
        ctx: &mut Context<Self>,
    ) {
        let Some(exporter) = self.services.exporters.of(&request.tenant) else {
            return self.refuse(SubmitError::UnknownTenant, reply);
        };
        let (asked, given_up) = (request.clone(), CancelToken::new());
        let cancel = given_up.clone();
        let check = move || exporter.check(&asked, &cancel);
        let checked = tokio::time::timeout(CHECK_PATIENCE, tokio::task::spawn_blocking(check));
        self.wait(ctx, checked, move |this, checked, ctx| {
            let estimate = match checked {
                // Too late to be told: planning will meet it again.
                Err(_elapsed) => {
                    given_up.cancel();
                    Ok(None)
                }
                Ok(Ok(checked)) => checked.or_else(|error| error.reason().map_or(Ok(None), Err)),
                Ok(Err(_panic)) => Err(FailureReason::ExporterPanicked),
            };
            match estimate {
                Ok(estimate) => {
                    Arc::make_mut(&mut request).estimate = estimate;
                    this.create(request, reply, ctx);
                }
                Err(reason) => {
                    tracing::info!(?reason, "a kick-off was refused");
                    this.refuse(SubmitError::Refused(reason), reply);
                }
            }
        });
    }

    fn refuse(&self, error: SubmitError, reply: oneshot::Sender<Result<JobId, SubmitError>>) {
        self.orchestrator.do_send(Settled(self.id));
        // A caller that went away needs no answer.
        let _ = reply.send(Err(error));
    }

    fn create(
        &mut self,
        request: Arc<ExportRequest>,
        reply: oneshot::Sender<Result<JobId, SubmitError>>,
        ctx: &mut Context<Self>,
    ) {
        let (id, files, asked) = (self.id, self.services.files.clone(), request.clone());
        let (fatal, space) = (self.services.fatal.clone(), self.services.space.clone());
        let eraser = self.services.eraser.clone();
        let claim = SpaceClaim { tenant: request.tenant.clone(), progress: self.progress.clone() };
        let make = move || {
            space.reserve(id, claim, asked.estimate)?;
            let made = files.create(id, &asked).inspect_err(|_| {
                // Nobody was told of it; what cannot be removed now is left to the reaper as an
                // orphan. Only a failed fsync is an error here, and that is final.
                if let Err(error) = eraser.discard(id) {
                    fatal.raise(&error.to_string());
                }
                space.release(id);
            });
            Ok::<_, NoRoom>(made)
        };
        self.block_in_directory(ctx, make, move |this, made, ctx| {
            let dir = match made {
                Ok(Ok(dir)) => dir,
                Err(no_room) => return this.refuse(no_room.into(), reply),
                Ok(Err(error)) => {
                    tracing::error!(job = %id, %error, "a job's directory could not be made");
                    if error.is_sync() {
                        return this.services.fatal.raise(&error.to_string());
                    }
                    let retry_after = this.services.space.retry_after(&request.tenant);
                    let full = error.is_full().then(|| NoRoom::Disk { retry_after }.into());
                    return this.refuse(full.unwrap_or(SubmitError::Failed), reply);
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
            // From here on it is in the directory, and not in memory (P13).
            let summary = Arc::new(RequestSummary::of(&request));
            this.request = Some(summary.clone());
            let mut published = PublishedJob::new(record.clone(), Some(summary), Arc::new([]));
            published.progress = this.progress.clone();
            published.partial = this.partial.clone();
            this.record = Some(record);
            let committed = this.services.committer.submit(DurableChange::New(published));
            this.wait(ctx, committed, move |this, outcome: Result<CommitOutcome, CommitError>, ctx| {
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
    pub(super) fn recall(&mut self, published: &PublishedJob, ctx: &mut Context<Self>) {
        self.record = Some(published.record.clone());
        self.request = published.request.clone();
        self.progress = published.progress.clone();
        self.partial = published.partial.clone();
        match &published.record.state {
            JobState::Queued | JobState::Running { .. } | JobState::Finishing { .. } => {
                self.sealed = published.parts.to_vec();
                self.resume(ctx);
            }
            JobState::Marked(mark) => {
                self.tally.resumed = true;
                self.recall_answer(mark.at, ctx);
            }
            JobState::Failed(_) => self.perform(&[Effect::SweepPartials], ctx),
            JobState::Complete(_) | JobState::Erased(_) => {}
        }
    }

    /// The start moved the directory to `trash/`, or could not: who sends the DELETE again is told
    /// so, and then the job goes on to its end.
    fn recall_answer(&mut self, at: Timestamp, ctx: &mut Context<Self>) {
        let (id, files) = (self.id, self.services.files.clone());
        let has_left = move |place| match files.open(id, place) {
            Err(error) if error.is_missing() => true,
            Err(error) => {
                tracing::warn!(job = %id, %error, "it cannot be told whether a marked directory was moved");
                false
            }
            Ok(_) => false,
        };
        let moved = move || [files::Place::Building, files::Place::Ready].into_iter().all(has_left);
        self.block(ctx, moved, move |this, moved, ctx| {
            this.mark_answer =
                Some(if moved { CancelReply::Accepted { at } } else { CancelReply::HalfDurable });
            this.acknowledge();
            this.perform(&[Effect::AwaitLastOut, Effect::Sweep], ctx);
        });
    }

    /// Takes an interrupted export up again: sealed parts are kept, partial files removed.
    pub(super) fn resume(&mut self, ctx: &mut Context<Self>) {
        let place = self.services.planners.resuming();
        self.wait(ctx, place, |this, place, ctx| this.read_documents(place, ctx));
    }

    fn read_documents(&mut self, place: Place, ctx: &mut Context<Self>) {
        let (id, files, eraser) = (self.id, self.services.files.clone(), self.services.eraser.clone());
        let sealed: Vec<_> = self.sealed.iter().flat_map(|part| part.files.clone()).collect();
        let look = move || {
            let dir = files.open(id, files::Place::Building)?;
            for file in &sealed {
                dir.check_file(&file.stored_name(), file.stored_bytes())?;
            }
            let keep: Vec<_> = sealed.iter().map(OutputFile::stored_name).collect();
            eraser.remove_unrecorded(id, &*dir, &keep)?;
            let request = dir.read_document(Document::Request)?;
            let request = request.and_then(|text| serde_json::from_slice::<ExportRequest>(&text).ok());
            let summary = request.map(|request| RequestSummary::of(&request));
            let plan = dir.read_document(Document::Plan)?;
            let plan = plan.and_then(|text| serde_json::from_slice::<Plan>(&text).ok());
            Ok::<_, FilesError>((dir, summary, plan))
        };
        self.block_in_directory(ctx, look, |this, found, ctx| {
            let _place = place;
            let (dir, summary, plan) = match found {
                Ok(found) => found,
                Err(error) => {
                    tracing::error!(job = %this.id, %error, "an interrupted export cannot be resumed");
                    let lost = error.is_missing().then_some(FailureReason::DirectoryLost);
                    let reason = lost.or_else(|| ExportError::from(error).reason());
                    let reason = reason.unwrap_or(FailureReason::StorageFailed);
                    return this.fail(reason, ctx);
                }
            };
            let Some(summary) = summary else {
                tracing::error!(job = %this.id, "request.json is missing or damaged");
                return this.fail(FailureReason::DirectoryLost, ctx);
            };
            this.dir = Some(dir);
            if this.exporter().is_none() {
                tracing::error!(job = %this.id, "the tenant of an interrupted export is not there any more");
                return this.fail(FailureReason::TenantRemoved, ctx);
            }
            this.request = Some(Arc::new(summary));
            match plan {
                Some(plan) => {
                    if let Some(bytes) = plan.bytes {
                        this.services.space.resume(this.id, bytes);
                    }
                    this.planned(plan, ctx);
                }
                None => this.make_plan(ctx),
            }
        });
    }

    pub(super) fn mark_orphan(&mut self, ctx: &mut Context<Self>) {
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
}
