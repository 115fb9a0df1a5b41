//! The life of one job, as a state machine without I/O, clock or threads: what happened goes in,
//! what is to be done comes out. The actor in `actors/export_job` performs the [`Action`]s and
//! tells how they ended; the model in `tests/model` searches every order in which that can be.
//!
//! Every change of state is [`transition`]'s. The state changes at once, before anything is
//! awaited; effects follow in the transition's order, each after the end of the one before.
//! An effect that ends after the state has changed again is not followed by anything.

mod action;
mod ending;
mod export;
mod reload;

use std::time::Duration;

use jiff::Timestamp;

use self::ending::{LastOut, Tally, Waiter};
use self::export::ExportRun;
use super::{
    Failure, FailureReason, JobEvent, JobId, JobRecord, JobState, Mark, StateName, TransitionEffect,
    TransitionRefusal, transition,
};

pub use action::{
    Action, CancelReply, Canceller, Commit, DrainGrace, End, FencePatience, Input, NewJob, PlanShape,
    SweepEnd, Task, Turn,
};

/// The settings that decide something in a job's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LifeRules {
    /// How long a finished job is kept.
    pub retention: Duration,
    /// Files that an export may have; 0 = any number.
    pub max_files: usize,
}

/// What a job's surroundings are like when something happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Surroundings {
    /// The wall clock.
    pub now: Timestamp,
    /// Workers at a part of the job.
    pub writers: usize,
    /// Open downloads of its files.
    pub downloads: u32,
}

/// One job, from its kick-off or from where a record says that it stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Life {
    job: JobId,
    rules: LifeRules,
    /// Ahead of the store by what is being committed; `None` until the directory is made.
    record: Option<JobRecord>,
    /// Whether the job has begun to live: it was submitted, recalled or found.
    has_begun: bool,
    /// Effects of the state that follow when the one that is awaited ends.
    rest: &'static [TransitionEffect],
    export: ExportRun,
    waiters: Vec<Waiter>,
    /// The answer to the request that marked the job, once there is one.
    mark_answer: Option<CancelReply>,
    last_out: LastOut,
    tally: Tally,
    /// Whether a [`Task::LookForFiles`] is under way: there is one at a time (P13).
    looks_for_files: bool,
    /// Whether a record is being committed. The next one waits: it follows what is stored by then.
    is_committing: bool,
    /// Whether the record has changed since.
    is_commit_due: bool,
    /// Tasks that have not ended.
    awaited: u32,
    /// How many of them hold the directory: the job is not erased before they are out (P4).
    in_directory: u32,
    /// What came out since the last input.
    actions: Vec<Action>,
}

impl Life {
    /// Returns a job of which nothing is known yet.
    pub fn new(job: JobId, rules: LifeRules) -> Self {
        Self {
            job,
            rules,
            record: None,
            has_begun: false,
            rest: &[],
            export: ExportRun::default(),
            waiters: Vec::new(),
            mark_answer: None,
            last_out: LastOut::default(),
            tally: Tally::default(),
            looks_for_files: false,
            is_committing: false,
            is_commit_due: false,
            awaited: 0,
            in_directory: 0,
            actions: Vec::new(),
        }
    }

    /// Returns the record as it is going to be stored.
    pub fn record(&self) -> Option<&JobRecord> {
        self.record.as_ref()
    }

    /// Returns where the job stands.
    pub fn state(&self) -> Option<&JobState> {
        self.record.as_ref().map(|record| &record.state)
    }

    /// Returns whether the job may still export here.
    pub fn is_active(&self) -> bool {
        self.name().is_some_and(StateName::is_active) && !self.export.is_elsewhere
    }

    /// Returns whether the job waits for nothing and nobody: its actor may go.
    pub fn is_idle(&self) -> bool {
        let is_settled = match self.name() {
            None => self.has_begun,
            Some(name) => matches!(name, StateName::Complete | StateName::Failed | StateName::Erased),
        };
        is_settled && self.awaited == 0 && self.last_out.leaving.is_none()
    }

    /// Takes in what happened and returns what is to be done, in this order.
    pub fn handle(&mut self, input: Input, around: Surroundings) -> Vec<Action> {
        self.take_in(input, around);
        self.check_last_out(around);
        if self.is_idle() {
            self.actions.push(Action::Retire);
        }
        std::mem::take(&mut self.actions)
    }

    fn take_in(&mut self, input: Input, around: Surroundings) {
        match input {
            Input::Submitted => {
                self.has_begun = true;
                self.start(Task::Create);
            }
            Input::Recalled { record, sealed, files } => {
                self.has_begun = true;
                self.recall(record, sealed, files, around);
            }
            Input::Orphan => self.mark_orphan(around),
            Input::Cancel { by, request_id, caller } => self.cancel(by, request_id, caller, around),
            Input::Expire => self.expire(around),
            Input::Lost => self.look_for_files(),
            Input::SweepDone { swept, error } => self.sweep_done(swept, error, around),
            Input::Halt => {
                self.export.halted = true;
                self.actions.push(Action::HaltParts);
            }
            Input::PartDone(Ok(part)) => {
                if self.is_active() && self.name() == Some(StateName::Running) {
                    self.start(Task::RecordPart(part));
                }
            }
            Input::PartDone(Err(reason)) => self.fail_by(reason, around),
            Input::FenceDue { of } => {
                if self.last_out.leaving == Some(of) {
                    self.actions.push(Action::Fence);
                }
            }
            Input::Fenced { closed, stuck } => self.fenced(closed, stuck),
            Input::Ended(end) => {
                self.awaited -= 1;
                self.in_directory -= u32::from(end.held_directory());
                self.ended(end, around);
            }
        }
    }

    /// Goes on with what a task has come to.
    fn ended(&mut self, end: End, around: Surroundings) {
        match end {
            End::Created(Ok(new)) => self.created(new),
            End::Created(Err(())) => self.actions.extend([Action::Settle, Action::Refuse]),
            End::TurnCame(turn) => self.turn_came(turn),
            End::RequestRead(read) => match read {
                Ok(()) if self.is_active() => self.start(Task::Plan),
                Ok(()) => {}
                Err(reason) => self.fail_by(reason, around),
            },
            End::PlanMade(made) => match made {
                Ok(()) if self.is_active() => self.start(Task::WritePlan),
                Ok(()) => {}
                Err(reason) => self.fail_by(reason, around),
            },
            End::PlanWritten(written) => match written {
                Ok(plan) => self.planned(plan, around),
                Err(reason) => self.fail_by(reason, around),
            },
            End::DocumentsRead(read) => match read {
                Ok(Some(plan)) => self.planned(plan, around),
                Ok(None) if self.is_active() => self.start(Task::TakeTurn(Turn::Plan)),
                Ok(None) => {}
                Err(reason) => self.fail_by(Some(reason), around),
            },
            End::PartRecorded { files } => self.part_recorded(files, around),
            End::JobJsonWritten { of, written } => self.job_json_written(of, written, around),
            End::MovedToReady(moved) => match moved {
                Ok(completion) => self.report(JobEvent::Completed(completion), around),
                Err(reason) => self.fail_by(reason, around),
            },
            End::Committed { of, moved, swept } => {
                let is_due = self.commit_ended();
                self.committed(of, moved, swept, around);
                if is_due {
                    self.submit();
                }
            }
            End::Stale { stored } => {
                let is_due = self.commit_ended();
                self.reload(stored, is_due, around);
            }
            End::DownloadsGone { of, drained, cut } => self.downloads_gone(of, drained, cut),
            End::PartialsSwept(swept) => {
                if swept != SweepEnd::Done && self.name() == Some(StateName::Failed) {
                    self.start(Task::AwaitRetry(swept));
                }
            }
            End::RetryDue => self.go_on(StateName::Failed, &[TransitionEffect::SweepPartials], around),
            End::SweptEarly { swept, refused } => {
                self.tally.swept += swept;
                self.last_out.swept_early &= !refused;
            }
            End::MarkFound { moved } => self.mark_found(moved, around),
            End::FilesFound(found) => self.files_found(found, around),
        }
    }

    fn name(&self) -> Option<StateName> {
        self.state().map(JobState::name)
    }

    /// Begins what takes a while.
    fn start(&mut self, task: Task) {
        self.awaited += 1;
        self.in_directory += u32::from(task.holds_directory());
        self.actions.push(Action::Start(task));
    }

    /// Gives an event to `transition` and performs what it asks for.
    fn apply(&mut self, event: JobEvent, around: Surroundings) -> Result<(), TransitionRefusal> {
        let record = self.record.as_mut().ok_or(TransitionRefusal::Stale)?;
        let (state, effects) = transition(&record.state, event)?;
        if state == record.state {
            // The chain of the state goes on; this is beside it.
            self.acknowledge();
            return Ok(());
        }
        let (from, to) = (record.state.name(), state.name());
        record.state = state;
        if from != to {
            self.actions.push(Action::Entered { from, state: record.state.clone() });
        }
        if from.is_active() && !to.is_active() {
            self.actions.push(Action::Settle);
        }
        self.perform(effects, around);
        Ok(())
    }

    /// As `apply`, for news that may come too late, which is no error.
    fn report(&mut self, event: JobEvent, around: Surroundings) {
        // Life has gone on; the news is harmless.
        let _ = self.apply(event, around);
    }

    fn fail(&mut self, reason: FailureReason, around: Surroundings) {
        if self.is_active() {
            self.report(JobEvent::Fail(Failure { at: around.now, reason }), around);
        }
    }

    /// Fails the job, unless it was told to stop.
    fn fail_by(&mut self, reason: Option<FailureReason>, around: Surroundings) {
        if let Some(reason) = reason {
            self.fail(reason, around);
        }
    }

    /// Performs effects in order, up to one that is awaited.
    fn perform(&mut self, mut effects: &'static [TransitionEffect], around: Surroundings) {
        while let Some((effect, rest)) = effects.split_first() {
            self.rest = rest;
            match effect {
                TransitionEffect::PauseWriters => self.actions.push(Action::PauseWriters),
                TransitionEffect::StopParts => self.actions.push(Action::StopParts),
                TransitionEffect::Acknowledge => self.acknowledge(),
                TransitionEffect::RunParts => return self.run_parts(around),
                TransitionEffect::Sweep => self.actions.push(Action::Sweep),
                TransitionEffect::AppendReceipt
                | TransitionEffect::Commit
                | TransitionEffect::MoveToTrash
                | TransitionEffect::Publish => {
                    return self.commit(effects);
                }
                TransitionEffect::AwaitLastOut => return self.await_last_out(around),
                TransitionEffect::WriteJobJson => return self.write_job_json(),
                TransitionEffect::MoveToReady => return self.move_to_ready(),
                TransitionEffect::SweepPartials => return self.start(Task::SweepPartials),
            }
            effects = rest;
        }
    }

    /// Performs `effects` if the job is still in the state that they belong to.
    fn go_on(&mut self, of: StateName, effects: &'static [TransitionEffect], around: Surroundings) {
        if self.name() == Some(of) {
            self.perform(effects, around);
        }
    }

    /// The committer performs its effects in their order, for a whole batch; the rest waits for it.
    fn commit(&mut self, effects: &'static [TransitionEffect]) {
        let is_committers = |effect: &&TransitionEffect| {
            matches!(
                effect,
                TransitionEffect::AppendReceipt
                    | TransitionEffect::Commit
                    | TransitionEffect::MoveToTrash
                    | TransitionEffect::Publish
            )
        };
        self.rest = &effects[effects.iter().take_while(is_committers).count()..];
        self.submit();
    }

    /// A commit has ended. Returns whether another one waits for that.
    fn commit_ended(&mut self) -> bool {
        self.is_committing = false;
        std::mem::take(&mut self.is_commit_due)
    }

    /// Submits the record, whose revision follows the stored one, or lets it wait for the commit that
    /// is under way.
    fn submit(&mut self) {
        if std::mem::replace(&mut self.is_committing, true) {
            self.is_commit_due = true;
            return;
        }
        let is_orphan = std::mem::take(&mut self.tally.is_orphan);
        let Some(record) = &mut self.record else { return };
        if !is_orphan {
            record.revision += 1;
        }
        let record = record.clone();
        let commit = match &record.state {
            JobState::Complete(_) => Commit::Complete(record),
            JobState::Marked(_) if is_orphan => Commit::MarkNew(record),
            JobState::Marked(Mark { failure: None, .. }) => Commit::Mark(record),
            // The receipt comes first, so it is in the chain though the record was stale (P9).
            JobState::Erased(_) if self.tally.has_receipt => Commit::Update(record),
            JobState::Erased(erasure) => {
                let receipt = self.receipt(&record, erasure);
                Commit::Erase(record, Box::new(receipt))
            }
            _ => Commit::Update(record),
        };
        self.start(Task::Commit(commit));
    }
}

#[cfg(test)]
mod tests;
