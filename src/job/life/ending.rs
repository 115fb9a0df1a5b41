//! The second half of a life, from the mark to the receipt: who is answered what, when the last
//! one is out (P4), and when the job looks again at what time or a scan says of it.

use jiff::Timestamp;

use super::super::{
    JobEvent, JobRecord, JobState, Mark, MarkReason, Receipt, StateName, SweepCounts, SweepFailure,
    Tombstone, TransitionEffect,
};
use super::{Action, CancelReply, Canceller, DrainGrace, FencePatience, Life, Surroundings, Task};
use crate::clock::after;

/// A request that waits for the mark to be durable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Waiter {
    pub by: Canceller,
    pub request_id: String,
    pub caller: u64,
}

/// What a job waits for before its files go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct LastOut {
    /// The state whose effects go on when the last one is out.
    pub leaving: Option<StateName>,
    /// Writers inside a system call, which nobody can take their file from.
    stuck: usize,
    /// Whether names were unlinked under such a writer.
    pub swept_early: bool,
}

/// What goes into the receipt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Tally {
    /// The mark, when the job was swept.
    mark: Option<Mark>,
    pub swept: SweepCounts,
    hidden_at: Option<Timestamp>,
    fenced_writers: u32,
    cut_downloads: u32,
    drained_downloads: u32,
    pub resumed: bool,
    /// Whether the mark makes the record: an orphan.
    pub is_orphan: bool,
    /// Whether the receipt is in the chain, though the record of the erasure was stale.
    pub has_receipt: bool,
}

impl Life {
    fn mark(&mut self, reason: MarkReason, around: Surroundings) {
        let mark = self.new_mark(reason, around);
        self.report(JobEvent::Mark(mark), around);
    }

    fn new_mark(&self, reason: MarkReason, around: Surroundings) -> Mark {
        let was = self.name().unwrap_or(StateName::Queued);
        Mark { reason, by: None, at: around.now, request_id: None, was, failure: None }
    }

    /// A directory without a record, unless the job has begun otherwise: then it is no orphan.
    pub(super) fn mark_orphan(&mut self, around: Surroundings) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        let unknown = "unknown";
        self.record = Some(JobRecord {
            id: self.job,
            tenant: unknown.parse().expect("a constant that is a valid name"),
            owner: unknown.parse().expect("a constant that is a valid name"),
            revision: 1,
            submitted_at: around.now,
            state: JobState::Queued,
        });
        self.tally.is_orphan = true;
        self.mark(MarkReason::Orphan, around);
    }

    pub(super) fn cancel(&mut self, by: Canceller, request_id: String, caller: u64, around: Surroundings) {
        let Some(was) = self.name() else {
            return self.actions.push(Action::Answer { caller, reply: CancelReply::NotFound });
        };
        let (reason, client) = match &by {
            Canceller::Client(client) => (MarkReason::of_client(was), Some(client.clone())),
            Canceller::Revocation => (MarkReason::Revoked, None),
        };
        let mark = Mark { by: client, request_id: Some(request_id.clone()), ..self.new_mark(reason, around) };
        // Before the event: acknowledging may be the first thing it does.
        self.waiters.push(Waiter { by, request_id, caller });
        if self.apply(JobEvent::Mark(mark), around).is_err() {
            // It waits for the answer of the request that came first, if that is not out yet.
            self.acknowledge();
        }
    }

    /// A record is durable and published; `moved`: so is its place in `trash/`, if it is a mark's.
    pub(super) fn committed(&mut self, of: StateName, moved: bool, swept: SweepCounts, around: Surroundings) {
        let (of_new, marks) =
            (of == StateName::Queued, of == StateName::Marked && self.mark_answer.is_none());
        if of_new {
            self.actions.push(Action::Accept);
            return self.start(Task::TakeTurn(super::Turn::Plan));
        }
        if let (true, Some(JobState::Marked(mark))) = (marks, self.state()) {
            let accepted = CancelReply::Accepted { at: mark.at };
            self.tally.hidden_at = Some(around.now);
            self.tally.swept += swept;
            self.mark_answer = Some(if moved { accepted } else { CancelReply::HalfDurable });
        }
        self.go_on(of, self.rest, around);
    }

    /// The start moved the directory to `trash/`, or could not: who sends the DELETE again is told
    /// so, and then the job goes on to its end.
    pub(super) fn mark_found(&mut self, moved: bool, around: Surroundings) {
        let Some(JobState::Marked(Mark { at, .. })) = self.state() else { return };
        let accepted = CancelReply::Accepted { at: *at };
        self.mark_answer = Some(if moved { accepted } else { CancelReply::HalfDurable });
        self.acknowledge();
        self.perform(&[TransitionEffect::AwaitLastOut, TransitionEffect::Sweep], around);
    }

    /// Answers everybody who asked for the deletion: the request that made the mark gets its
    /// answer, all others hear that it was deleted already (D-8).
    pub(super) fn acknowledge(&mut self) {
        let (marked_by, is_erased) = match self.state() {
            Some(JobState::Marked(mark)) => (mark.request_id.clone(), false),
            Some(JobState::Erased(_)) => (None, true),
            _ => return,
        };
        if self.mark_answer.is_none() && !is_erased {
            return;
        }
        for Waiter { request_id, caller, .. } in std::mem::take(&mut self.waiters) {
            let own = marked_by.as_ref() == Some(&request_id);
            let reply = self.mark_answer.clone().filter(|_| own).unwrap_or(CancelReply::AlreadyDeleted);
            self.actions.push(Action::Answer { caller, reply });
        }
        self.actions.push(Action::Acknowledged);
    }

    /// Goes on when the last writer and the last download are out.
    pub(super) fn await_last_out(&mut self, around: Surroundings) {
        let Some(of) = self.name() else { return };
        // Its names stand elsewhere now, as after the deletion of a failed job.
        (self.last_out.leaving, self.last_out.swept_early) = (Some(of), false);
        if self.last_out.stuck > 0 {
            // They were asked on behalf of what has been overtaken, and nobody goes on with that.
            self.actions.push(Action::FenceLater { of, patience: FencePatience::AskAgain });
        } else if around.writers > 0 {
            self.actions.push(Action::FenceLater { of, patience: FencePatience::Deadline });
        }
        if around.downloads > 0 {
            let grace = match self.state() {
                Some(JobState::Marked(mark)) if mark.reason != MarkReason::Expired => DrainGrace::Deletion,
                _ => DrainGrace::Expiry,
            };
            self.start(Task::AwaitDownloads { of, grace });
        }
    }

    /// Goes on if nobody is left.
    pub(super) fn check_last_out(&mut self, around: Surroundings) {
        let is_out = self.in_directory == 0
            && around.writers == 0
            && self.last_out.stuck == 0
            && around.downloads == 0;
        if is_out && let Some(of) = self.last_out.leaving.take() {
            self.actions.push(Action::LastOneOut);
            self.go_on(of, self.rest, around);
        }
    }

    /// The deadline was over. A writer inside a system call keeps its file until that returns; its
    /// names are unlinked all the same, and the job is not erased before.
    pub(super) fn fenced(&mut self, closed: usize, stuck: usize) {
        self.tally.fenced_writers += u32::try_from(closed).unwrap_or(u32::MAX);
        self.last_out.stuck = stuck;
        let Some(of) = self.last_out.leaving.filter(|_| stuck > 0) else { return };
        self.actions.push(Action::FenceLater { of, patience: FencePatience::AskAgain });
        if of == StateName::Marked && !std::mem::replace(&mut self.last_out.swept_early, true) {
            self.start(Task::SweepEarly);
        }
    }

    pub(super) fn downloads_gone(&mut self, of: StateName, drained: u32, cut: u32) {
        // A failed job that was deleted meanwhile waits for them once more.
        if self.name() == Some(of) {
            self.tally.drained_downloads += drained;
            self.tally.cut_downloads += cut;
            if cut > 0 {
                self.actions.push(Action::DownloadsCut(cut));
            }
        }
    }

    pub(super) fn sweep_done(&mut self, swept: SweepCounts, error: Option<String>, around: Surroundings) {
        self.tally.swept += swept;
        let Some(JobState::Marked(mark)) = self.state() else { return };
        let event = match error {
            Some(error) => {
                let attempts = mark.failure.as_ref().map_or(0, |failure| failure.attempts) + 1;
                JobEvent::SweepFailed(SweepFailure { attempts, at: around.now, error })
            }
            None => {
                JobEvent::Swept(Tombstone { reason: mark.reason, marked_at: mark.at, gone_at: around.now })
            }
        };
        self.tally.mark = Some(mark.clone());
        self.report(event, around);
    }

    /// Returns the receipt of this job's erasure (P9), without the instant of the last byte.
    pub(super) fn receipt(&self, record: &JobRecord, erasure: &Tombstone) -> Receipt {
        let Tally { mark, swept, .. } = &self.tally;
        let failure = mark.as_ref().and_then(|mark| mark.failure.as_ref());
        Receipt {
            job: record.id,
            tenant: record.tenant.clone(),
            owner: record.owner.clone(),
            reason: erasure.reason,
            was: mark.as_ref().map_or(StateName::Marked, |mark| mark.was),
            by: mark.as_ref().and_then(|mark| mark.by.clone()),
            request_id: mark.as_ref().and_then(|mark| mark.request_id.clone()),
            submitted_at: record.submitted_at,
            marked_at: erasure.marked_at,
            hidden_at: self.tally.hidden_at,
            last_byte_at: None,
            gone_at: erasure.gone_at,
            key: swept.key,
            files: swept.files,
            bytes: swept.bytes,
            planted_links: swept.planted_links,
            failed_sweeps: failure.map_or(0, |failure| failure.attempts),
            last_error: failure.map(|failure| failure.error.clone()),
            fenced_writers: self.tally.fenced_writers,
            cut_downloads: self.tally.cut_downloads,
            drained_downloads: self.tally.drained_downloads,
            resumed: self.tally.resumed,
        }
    }

    pub(super) fn expire(&mut self, around: Surroundings) {
        let finished_at = self.state().and_then(JobState::finished_at);
        if finished_at.is_some_and(|at| after(at, self.rules.retention) <= around.now) {
            self.mark(MarkReason::Expired, around);
        }
    }

    /// A scan did not find the directory of a complete job: a second look, unless one is under way.
    pub(super) fn look_for_files(&mut self) {
        if self.name() == Some(StateName::Complete) && !std::mem::replace(&mut self.looks_for_files, true) {
            self.start(Task::LookForFiles);
        }
    }

    /// The second look has ended.
    pub(super) fn files_found(&mut self, found: bool, around: Surroundings) {
        self.looks_for_files = false;
        if !found && self.name() == Some(StateName::Complete) {
            self.mark(MarkReason::Lost, around);
        }
    }
}
