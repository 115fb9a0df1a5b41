//! What comes of a commit that another process was ahead of. The record as it stands decides, and
//! what was asked for here is asked again. Life only goes forward: a completion, and files that are
//! gone, are facts on disk, and are recorded over whatever state came before them.

use super::super::{JobRecord, JobState, MarkReason, StateName, TransitionEffect};
use super::ending::Waiter;
use super::{Action, Life, Surroundings, Task};

impl Life {
    /// The record was stale; `stored` is what stands in its place. `is_newer`: it has changed here
    /// since, and that was not committed.
    pub(super) fn reload(&mut self, stored: Option<Box<JobRecord>>, is_newer: bool, around: Surroundings) {
        let Some(ours) = self.record.take() else { return };
        let name = stored.as_ref().map(|stored| stored.state.name());
        let stands = match (&ours.state, name) {
            (JobState::Complete(_), Some(name)) => name.is_active(),
            (JobState::Erased(_), Some(name)) => name < StateName::Erased,
            _ => false,
        };
        if let (true, Some(stored)) = (stands, &stored) {
            self.tally.has_receipt |= ours.state.name() == StateName::Erased && !is_newer;
            self.record = Some(JobRecord { revision: stored.revision, ..ours });
            return self.submit();
        }
        self.adopt(&ours, stored.map(|stored| *stored), around);
        for Waiter { by, request_id, caller } in std::mem::take(&mut self.waiters) {
            self.cancel(by, request_id, caller, around);
        }
        match ours.state {
            JobState::Marked(mark) if mark.reason == MarkReason::Expired => self.expire(around),
            JobState::Marked(mark) if mark.reason == MarkReason::Lost => self.look_for_files(),
            _ => {}
        }
    }

    /// Takes the record for right, as at a start; but an export that is under way is another
    /// process's, and is left to it.
    fn adopt(&mut self, ours: &JobRecord, stored: Option<JobRecord>, around: Surroundings) {
        let from = ours.state.name();
        if from.is_active() {
            self.actions.push(Action::Settle);
        }
        if from == StateName::Queued {
            self.actions.push(Action::Refuse);
        }
        self.actions.push(Action::StopParts);
        self.record = stored;
        let Some(state) = self.state().cloned() else { return };
        let name = state.name();
        self.actions.push(Action::Entered { from, state });
        match name {
            StateName::Queued | StateName::Running | StateName::Finishing => {
                self.export.is_elsewhere = true;
            }
            StateName::Failed => {
                self.perform(&[TransitionEffect::AwaitLastOut, TransitionEffect::SweepPartials], around)
            }
            StateName::Marked => {
                self.tally.resumed = true;
                self.start(Task::FindMark);
            }
            StateName::Complete | StateName::Erased => {}
        }
    }
}
