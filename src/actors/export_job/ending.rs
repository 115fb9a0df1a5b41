//! Records on their way to the store, and from the mark to the files that are gone: each task begins one
//! thing elsewhere, and says what it came to.

use std::time::Duration;

use actix::Context;

use super::ExportJob;
use crate::audit::AuditedEvent;
use crate::clock::between;
use crate::hooks::HookStep;
use crate::job::life::{Commit, DrainGrace, End, SweepEnd};
use crate::job::{SealedPart, StateName, SweepCounts};
use crate::store::{CommitOutcome, DurableChange};
use crate::telemetry;

impl ExportJob {
    pub(super) fn commit(&mut self, commit: Commit, ctx: &mut Context<Self>) {
        let told = commit.clone();
        let committed = self.services.committer.submit(self.session.change(commit));
        self.wait(ctx, committed, move |this, outcome| {
            // After an error the process is ending; nobody may be told anything.
            let (moved, swept) = match outcome.ok()? {
                CommitOutcome::Done => (true, SweepCounts::default()),
                CommitOutcome::Swept(swept) => (true, swept),
                CommitOutcome::NotMoved(reason) => {
                    tracing::error!(job = %this.id, reason, "marked, but not moved to trash/; its sweep tries again");
                    (false, SweepCounts::default())
                }
                CommitOutcome::Stale(stored) => {
                    tracing::warn!(job = %this.id, "another process changed the record of a job first");
                    return Some(End::Stale { stored });
                }
            };
            this.tell_committed(&told);
            Some(End::Committed { of: told.record().state.name(), moved, swept })
        });
    }

    pub(super) fn record_part(&mut self, part: SealedPart, ctx: &mut Context<Self>) {
        let recorded = self.services.committer.submit(DurableChange::Seal(self.id, part.clone()));
        self.wait(ctx, recorded, |this, outcome| {
            outcome.ok()?;
            this.services.hooks.reach(HookStep::PartSealed);
            Some(End::PartRecorded { files: this.session.seal(part) })
        });
    }

    /// Tells the audit log, the operator and the metrics of a record that is durable.
    fn tell_committed(&mut self, commit: &Commit) {
        let record = commit.record();
        AuditedEvent::of_record(record).into_iter().for_each(|event| self.services.audit.record(event));
        self.log.committed(commit, &self.session, self.services.clock.now());
        if let Commit::Erase(_, receipt) = commit {
            telemetry::erased(between(receipt.marked_at, receipt.gone_at), receipt.files, receipt.bytes);
        }
    }

    pub(super) fn await_downloads(&mut self, of: StateName, grace: DrainGrace, ctx: &mut Context<Self>) {
        let config = &self.services.config.download;
        let grace = match grace {
            DrainGrace::Deletion => config.delete_grace.0,
            DrainGrace::Expiry => config.expiry_drain.0,
        };
        let published = self.services.view().get(self.id);
        let downloads = published.map_or_else(Default::default, |published| published.downloads.clone());
        self.wait(ctx, downloads.end_within(grace), move |_, ended| {
            Some(End::DownloadsGone { of, drained: ended.drained, cut: ended.cut })
        });
    }

    /// Removes what a failed export wrote.
    pub(super) fn sweep_partials(&mut self, ctx: &mut Context<Self>) {
        self.block(ctx, self.services.eraser.partials_sweep(self.id), |this, ended| {
            if ended == SweepEnd::Done {
                this.services.space.release(this.id);
            }
            Some(End::PartialsSwept(ended))
        });
    }

    pub(super) fn await_retry(&mut self, after: SweepEnd, ctx: &mut Context<Self>) {
        let config = &self.services.config.reaper;
        let patience = match after {
            SweepEnd::Refused => config.interval.0,
            SweepEnd::Failed => config.retry_min.0,
            SweepEnd::Done => Duration::ZERO,
        };
        self.wait(ctx, tokio::time::sleep(patience), |_, ()| Some(End::RetryDue));
    }

    /// Unlinks the names of stuck writers.
    pub(super) fn sweep_early(&mut self, ctx: &mut Context<Self>) {
        self.block(ctx, self.services.eraser.early_sweep(self.id), |this, early| match early {
            Ok(early) => Some(End::SweptEarly { swept: early.swept, refused: early.refused }),
            Err(error) => this.give_up(error),
        });
    }

    pub(super) fn find_mark(&mut self, ctx: &mut Context<Self>) {
        let (id, eraser) = (self.id, self.services.eraser.clone());
        self.block(ctx, move || eraser.is_moved(id), |_, moved| Some(End::MarkFound { moved }));
    }

    pub(super) fn look_for_files(&mut self, ctx: &mut Context<Self>) {
        let (id, eraser) = (self.id, self.services.eraser.clone());
        self.block(ctx, move || eraser.has_files(id), |_, found| Some(End::FilesFound(found)));
    }
}
