//! A record without its instants and names: what a store or a view of the model holds, and the way
//! to and from what the real `Life` takes.

use evanesce::job::{
    Completion, Failure, FailureReason, JobRecord, JobState, Mark, MarkReason, StateName, SweepFailure,
    Tombstone,
};
use jiff::Timestamp;

use super::actor::job;

/// A `JobState` as far as it decides anything here: hashable, and no instants in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    pub name: StateName,
    /// Why it is marked.
    pub reason: Option<MarkReason>,
    /// The DELETE that marked it, from 1; 0 if none did.
    pub request: u8,
    pub failed_sweeps: u8,
}

impl Record {
    pub fn new(name: StateName) -> Self {
        Self { name, reason: None, request: 0, failed_sweeps: 0 }
    }

    /// A record that a start finds to be marked.
    pub fn marked(reason: MarkReason) -> Self {
        Self { reason: Some(reason), ..Self::new(StateName::Marked) }
    }

    pub fn of(state: &JobState) -> Self {
        let mut record = Self::new(state.name());
        if let JobState::Marked(mark) = state {
            record.reason = Some(mark.reason);
            record.request =
                mark.request_id.as_deref().map_or(0, |id| id.parse().expect("an id that `delete` gave"));
            record.failed_sweeps = mark.failure.as_ref().map_or(0, |failure| failure.attempts as u8);
        }
        record
    }

    /// The record of which a life is recalled.
    pub fn record(self) -> JobRecord {
        JobRecord {
            id: job(),
            tenant: "tenant".parse().expect("a valid name"),
            owner: "client".parse().expect("a valid name"),
            revision: 1,
            submitted_at: Timestamp::UNIX_EPOCH,
            state: self.state(),
        }
    }

    fn state(self) -> JobState {
        match self.name {
            StateName::Queued => JobState::Queued,
            StateName::Running => JobState::Running { transaction_time: Timestamp::UNIX_EPOCH },
            StateName::Finishing => JobState::Finishing { transaction_time: Timestamp::UNIX_EPOCH },
            StateName::Failed => JobState::Failed(failure()),
            StateName::Complete => JobState::Complete(completion()),
            StateName::Marked => JobState::Marked(Mark {
                failure: (self.failed_sweeps > 0).then(|| sweep_failure(self.failed_sweeps)),
                reason: self.reason.expect("a marked record has a reason"),
                by: None,
                at: Timestamp::UNIX_EPOCH,
                request_id: (self.request > 0).then(|| self.request.to_string()),
                was: StateName::Running,
            }),
            StateName::Erased => JobState::Erased(erasure()),
        }
    }
}

pub fn completion() -> Completion {
    Completion::of(&[], Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH)
}

pub fn failure() -> Failure {
    Failure { at: Timestamp::UNIX_EPOCH, reason: FailureReason::ExporterFailed }
}

pub fn sweep_failure(attempts: u8) -> SweepFailure {
    SweepFailure { attempts: attempts.into(), at: Timestamp::UNIX_EPOCH, error: "unlinkat: EIO".into() }
}

pub fn erasure() -> Tombstone {
    Tombstone {
        reason: MarkReason::Deleted,
        marked_at: Timestamp::UNIX_EPOCH,
        gone_at: Timestamp::UNIX_EPOCH,
    }
}
