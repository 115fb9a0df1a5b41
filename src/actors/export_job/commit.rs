//! Records on their way to the store: the job's own change, and what is told of it when it is
//! durable.

use std::sync::Arc;
use std::time::Instant;

use actix::Context;

use super::super::audited::event_of;
use super::ExportJob;
use crate::hooks::HookStep;
use crate::job::life::{Commit, End};
use crate::job::{Completion, JobState, Receipt, SealedPart, SweepCounts};
use crate::store::{CommitOutcome, DurableChange};
use crate::telemetry;
use crate::view::PublishedJob;

impl ExportJob {
    pub(super) fn commit(&mut self, commit: Commit, ctx: &mut Context<Self>) {
        let state = commit.record().state.clone();
        let change = self.change(commit);
        let (event, receipt) = (event_of(&change), receipt_of(&change));
        let committed = self.services.committer.submit(change);
        self.wait(ctx, committed, move |this, outcome| {
            // After an error the process is ending; nobody may be told anything.
            let (moved, swept) = match outcome.ok()? {
                CommitOutcome::Done => (true, SweepCounts::default()),
                CommitOutcome::Swept(swept) => (true, swept),
                CommitOutcome::NotMoved(reason) => {
                    tracing::error!(job = %this.id, reason, "marked, but not moved to trash; the reaper goes on trying");
                    (false, SweepCounts::default())
                }
                CommitOutcome::Stale(stored) => {
                    tracing::warn!(job = %this.id, "another process changed the record of a job first");
                    return Some(End::Stale { stored });
                }
            };
            event.into_iter().for_each(|event| this.services.audit.record(event));
            if let JobState::Complete(completion) = &state {
                this.log_completion(completion);
            }
            if let Some(receipt) = receipt {
                let took = crate::clock::between(receipt.marked_at, receipt.gone_at);
                telemetry::erased(took, receipt.files, receipt.bytes);
            }
            Some(End::Committed { of: state.name(), moved, swept })
        });
    }

    fn change(&mut self, commit: Commit) -> DurableChange {
        match commit {
            Commit::New(record) => {
                let mut published = PublishedJob::new(record, self.request.clone(), Arc::new([]));
                published.progress = self.progress.clone();
                published.partial = self.partial.clone();
                DurableChange::New(published)
            }
            Commit::Update(record) => DurableChange::Update(record),
            Commit::Complete(record) => {
                // They stay as long as the actor does: a record that is stale is committed again.
                DurableChange::Complete(record, self.sealed.as_slice().into())
            }
            Commit::Mark(record) => DurableChange::Mark(record),
            Commit::MarkNew(record) => DurableChange::MarkNew(PublishedJob::new(record, None, Arc::new([]))),
            Commit::Erase(record, mut receipt) => {
                receipt.last_byte_at = self.work.as_ref().and_then(|work| work.written().last);
                DurableChange::Erase(record, receipt)
            }
        }
    }

    pub(super) fn record_part(&mut self, part: SealedPart, ctx: &mut Context<Self>) {
        let recorded = self.services.committer.submit(DurableChange::Seal(self.id, part.clone()));
        self.wait(ctx, recorded, |this, outcome| {
            outcome.ok()?;
            this.services.hooks.reach(HookStep::PartSealed);
            if this.request.as_ref().is_some_and(|request| request.partial_manifests) {
                this.partial.add(&part);
            }
            let files = part.files.len();
            this.sealed.push(part);
            Some(End::PartRecorded { files })
        });
    }

    /// One line for the operator: what was made, and how fast. A resumed export was written in
    /// more than one process: `written`, the time and the rate are of this one.
    fn log_completion(&self, completion: &Completion) {
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
}

fn receipt_of(change: &DurableChange) -> Option<Box<Receipt>> {
    if let DurableChange::Erase(_, receipt) = change { Some(receipt.clone()) } else { None }
}
