//! The first half of a life: kick-off, plan, parts, the sealed directory, or the failure.

use super::super::{Completion, FailureReason, JobEvent, JobRecord, JobState, StateName, TransitionEffect};
use super::{Action, Commit, Life, NewJob, PlanShape, Surroundings, Task, Turn};

/// How far an export is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct ExportRun {
    /// Parts of the plan, once there is one.
    parts: Option<usize>,
    /// Parts that are recorded as sealed.
    sealed: usize,
    /// Files of these parts.
    files: usize,
    /// No part begins any more: the instance goes down.
    pub halted: bool,
    /// Another process exports, as the record says.
    pub is_elsewhere: bool,
    /// The sums of a job that is finishing.
    completion: Option<Completion>,
}

impl Life {
    /// The directory is made and room reserved: the job is there.
    pub(super) fn created(&mut self, new: NewJob) {
        let NewJob { tenant, owner, submitted_at } = new;
        let state = JobState::Queued;
        let record = JobRecord { id: self.job, tenant, owner, revision: 1, submitted_at, state };
        self.record = Some(record.clone());
        self.start(Task::Commit(Commit::New(record)));
    }

    /// A job that was passivated, or found at a start.
    pub(super) fn recall(&mut self, record: JobRecord, sealed: usize, files: usize, around: Surroundings) {
        let name = record.state.name();
        self.record = Some(record);
        match name {
            StateName::Queued | StateName::Running | StateName::Finishing => {
                (self.export.sealed, self.export.files) = (sealed, files);
                self.start(Task::TakeTurn(Turn::Resume));
            }
            StateName::Failed => self.perform(&[TransitionEffect::SweepPartials], around),
            StateName::Marked => {
                self.tally.resumed = true;
                self.start(Task::FindMark);
            }
            StateName::Complete | StateName::Erased => {}
        }
    }

    /// Only whose turn it is reads its documents (P13); a job that has ended meanwhile does not.
    pub(super) fn turn_came(&mut self, turn: Turn) {
        if self.is_active() {
            self.start(match turn {
                Turn::Plan => Task::ReadRequest,
                Turn::Resume => Task::ReadDocuments,
            });
        }
    }

    /// The plan is on disk.
    pub(super) fn planned(&mut self, plan: PlanShape, around: Surroundings) {
        self.export.parts = Some(plan.parts);
        match self.name().filter(|_| self.is_active()) {
            Some(StateName::Queued) => {
                self.report(JobEvent::Start { transaction_time: plan.transaction_time }, around);
            }
            Some(StateName::Running) => self.perform(&[TransitionEffect::RunParts], around),
            _ => {}
        }
    }

    pub(super) fn run_parts(&mut self, around: Surroundings) {
        if !self.export.halted {
            self.actions.push(Action::RunParts);
            self.check_sealed(around);
        }
    }

    /// A part is durable and recorded.
    pub(super) fn part_recorded(&mut self, files: usize, around: Surroundings) {
        self.export.sealed += 1;
        self.export.files += files;
        if self.rules.max_files > 0 && self.export.files > self.rules.max_files {
            return self.fail(FailureReason::TooLarge, around);
        }
        self.check_sealed(around);
    }

    fn check_sealed(&mut self, around: Surroundings) {
        if self.is_active() && self.export.parts == Some(self.export.sealed) {
            self.report(JobEvent::PartsSealed, around);
        }
    }

    pub(super) fn write_job_json(&mut self) {
        let Some(record) = &self.record else { return };
        self.start(Task::WriteJobJson(record.clone()));
    }

    /// A failed export goes on without `job.json` if that cannot be written: the record alone then
    /// says so.
    pub(super) fn job_json_written(
        &mut self,
        of: StateName,
        written: Result<Option<Completion>, Option<FailureReason>>,
        around: Surroundings,
    ) {
        match written {
            Err(reason) if of != StateName::Failed => self.fail_by(reason, around),
            written => {
                if self.name() == Some(of) {
                    self.export.completion = written.ok().flatten();
                }
                self.go_on(of, self.rest, around);
            }
        }
    }

    pub(super) fn move_to_ready(&mut self) {
        if let Some(completion) = self.export.completion.take() {
            self.start(Task::MoveToReady(completion));
        }
    }
}
