//! From the mark to the receipt: who is answered what, and when the job looks again at what
//! time or a scan says of it.

use actix::Context;
use tokio::sync::oneshot;

use super::super::{CancelReply, Canceller};
use super::{ExportJob, Waiter};
use crate::erase::expires_at;
use crate::files::{Place, Swept};
use crate::hooks::Step;
use crate::job::{
    ClientId, Erasure, Event, JobRecord, JobState, Mark, MarkReason, Receipt, StateName, SweepFailure,
};
use crate::store::CommitOutcome;

impl ExportJob {
    pub(super) fn mark(&self, reason: MarkReason, by: Option<ClientId>, request_id: Option<String>) -> Mark {
        let was = self.state().map_or(StateName::Queued, JobState::name);
        Mark { reason, by, at: self.now(), request_id, was, failure: None }
    }

    pub(super) fn cancel(
        &mut self,
        by: Canceller,
        request_id: String,
        reply: oneshot::Sender<CancelReply>,
        ctx: &mut Context<Self>,
    ) {
        let Some(was) = self.state().map(JobState::name) else {
            // A caller that went away needs no answer; so below.
            let _ = reply.send(CancelReply::NotFound);
            return;
        };
        let (reason, by) = match by {
            Canceller::Client(client) => (MarkReason::of_client(was), Some(client)),
            Canceller::Revocation => (MarkReason::Revoked, None),
        };
        let mark = self.mark(reason, by, Some(request_id.clone()));
        // Before the event: acknowledging may be the first thing it does.
        self.waiters.push(Waiter { request_id, reply });
        if self.apply(Event::Mark(mark), ctx).is_err() {
            // It waits for the answer of the request that came first, if that is not out yet.
            self.acknowledge();
        }
    }

    /// The mark is durable and published.
    pub(super) fn marked(&mut self, outcome: &CommitOutcome) {
        let Some(JobState::Marked(mark)) = self.state() else { return };
        let at = mark.at;
        self.tally.hidden_at = Some(self.now());
        self.mark_answer = Some(match outcome {
            CommitOutcome::Done => CancelReply::Accepted { at },
            CommitOutcome::Swept(swept) => {
                self.tally.swept += *swept;
                CancelReply::Accepted { at }
            }
            CommitOutcome::NotMoved(reason) => {
                tracing::error!(job = %self.id, reason, "marked, but not moved to trash; the reaper goes on trying");
                CancelReply::HalfDurable
            }
        });
    }

    /// Answers everybody who asked for the deletion: the request that made the mark gets its
    /// answer, all others hear that it was deleted already (D-8).
    pub(super) fn acknowledge(&mut self) {
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
        self.services.hooks.reach(Step::Acknowledged);
    }

    pub(super) fn sweep_done(&mut self, swept: Swept, error: Option<String>, ctx: &mut Context<Self>) {
        self.tally.swept += swept;
        let Some(JobState::Marked(mark)) = self.state() else { return };
        let event = match error {
            Some(error) => {
                let attempts = mark.failure.as_ref().map_or(0, |failure| failure.attempts) + 1;
                Event::SweepFailed(SweepFailure { attempts, at: self.now(), error })
            }
            None => Event::Swept(Erasure { reason: mark.reason, marked_at: mark.at, gone_at: self.now() }),
        };
        self.tally.mark = Some(mark.clone());
        self.report(event, ctx);
    }

    /// The receipt of this job's erasure (P9).
    pub(super) fn receipt(&mut self, record: &JobRecord, erasure: &Erasure) -> Receipt {
        let mark = self.tally.mark.take();
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
            last_byte_at: self.work.as_ref().and_then(|work| work.written().last),
            gone_at: erasure.gone_at,
            files: tally.swept.files,
            bytes: tally.swept.bytes,
            planted_links: tally.swept.planted_links,
            failed_sweeps: failure.as_ref().map_or(0, |failure| failure.attempts),
            last_error: failure.map(|failure| failure.error),
            fenced_writers: tally.fenced_writers,
            cut_downloads: tally.cut_downloads,
            drained_downloads: tally.drained_downloads,
            resumed: tally.resumed,
        }
    }

    pub(super) fn expire(&mut self, ctx: &mut Context<Self>) {
        let retention = self.services.config.retention.completed.0;
        let due = self.state().and_then(|state| expires_at(state, retention));
        if due.is_some_and(|due| due <= self.now()) {
            let mark = self.mark(MarkReason::Expired, None, None);
            self.report(Event::Mark(mark), ctx);
        }
    }

    /// The second look at a complete job whose directory a scan did not find.
    pub(super) fn check_lost(&mut self, ctx: &mut Context<Self>) {
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
