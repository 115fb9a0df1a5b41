//! The record of a job: what the store holds. Only ids, instants, counts and reasons; no
//! parameter, no file content, nothing that could name a patient (P12).

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ClientId, Completion, Failure, InvalidName, JobId, TenantId, Tombstone};

/// What the store knows of one job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobRecord {
    /// The job.
    pub id: JobId,
    /// Whose data it exports.
    pub tenant: TenantId,
    /// Who may see it.
    pub owner: ClientId,
    /// Counts the changes of this record from 1; a commit must bring the next one.
    pub revision: u64,
    /// When the kick-off was received.
    pub submitted_at: Timestamp,
    /// Where it stands.
    pub state: JobState,
}

impl JobRecord {
    /// The record after a change to `state`.
    pub fn next(&self, state: JobState) -> Self {
        Self { revision: self.revision + 1, state, ..self.clone() }
    }
}

/// Where a job stands. Life only goes forward: each state's [`StateName`] is greater than
/// those that can precede it.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// let state = evanesce.wait_finished(job).await;
/// assert!(state.as_ref().is_some_and(|state| state.finished_at().is_some()));
/// match state {
///     Some(JobState::Complete(completion)) => assert_eq!(completion.resources, 3),
///     Some(JobState::Failed(failure)) => println!("{}", failure.reason.text()),
///     _ => println!("it was deleted"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum JobState {
    /// Accepted, not planned yet.
    Queued,
    /// Planned; parts are being written.
    Running {
        /// The instant whose view of the source is exported (MF-1).
        transaction_time: Timestamp,
    },
    /// Every part is sealed; the directory is on its way to `ready/`. Never stored.
    Finishing {
        /// As in `Running`.
        transaction_time: Timestamp,
    },
    /// Could not be exported; the answer stays until it expires or is deleted.
    Failed(Failure),
    /// Files can be downloaded.
    Complete(Completion),
    /// Its files are marked for deletion and answer 404 (P1, P2).
    Marked(Mark),
    /// Its files are gone; a tombstone.
    Erased(Tombstone),
}

impl JobState {
    /// Returns the state without its details.
    pub fn name(&self) -> StateName {
        match self {
            Self::Queued => StateName::Queued,
            Self::Running { .. } => StateName::Running,
            Self::Finishing { .. } => StateName::Finishing,
            Self::Failed(_) => StateName::Failed,
            Self::Complete(_) => StateName::Complete,
            Self::Marked(_) => StateName::Marked,
            Self::Erased(_) => StateName::Erased,
        }
    }

    /// Returns when a complete or failed job came to its end; its time to live counts from then
    /// (P8).
    pub fn finished_at(&self) -> Option<Timestamp> {
        match self {
            Self::Complete(completion) => Some(completion.completed_at),
            Self::Failed(failure) => Some(failure.at),
            _ => None,
        }
    }
}

/// The states in the order of life: the later of two witnesses wins.
///
/// ```
/// use evanesce::StateName;
///
/// assert!(StateName::Running.is_active() && StateName::Marked.is_deleted());
/// assert!(StateName::Complete < StateName::Marked, "life only goes forward");
/// assert_eq!("running".parse::<StateName>()?, StateName::Running);
/// # Ok::<_, evanesce::InvalidName>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "see JobState")]
pub enum StateName {
    Queued,
    Running,
    Finishing,
    Failed,
    Complete,
    Marked,
    Erased,
}

impl StateName {
    /// All states, in the order of life.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Finishing,
        Self::Failed,
        Self::Complete,
        Self::Marked,
        Self::Erased,
    ];

    /// Returns whether work may still be going on.
    pub fn is_active(self) -> bool {
        self <= Self::Finishing
    }

    /// Returns whether the job answers 404 `deleted` (P2).
    pub fn is_deleted(self) -> bool {
        self >= Self::Marked
    }

    /// Returns the name in lower case, as in metrics and receipts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Finishing => "finishing",
            Self::Failed => "failed",
            Self::Complete => "complete",
            Self::Marked => "marked",
            Self::Erased => "erased",
        }
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for StateName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == name);
        found
            .ok_or(InvalidName::new("state (queued, running, finishing, failed, complete, marked or erased)"))
    }
}

/// A job's mark for deletion: every file in its directory, sealed or partial, known or not.
///
/// ```
/// use evanesce::{JobState, Mark, MarkReason, StateName};
///
/// fn is_cancelled(state: &JobState) -> bool {
///     matches!(state, JobState::Marked(Mark { reason: MarkReason::Cancelled, .. }))
/// }
///
/// let mark = Mark {
///     reason: MarkReason::Cancelled,
///     by: Some("me".parse()?),
///     at: jiff::Timestamp::now(),
///     request_id: None,
///     was: StateName::Running,
///     failure: None,
/// };
/// assert!(is_cancelled(&JobState::Marked(mark)));
/// # Ok::<_, evanesce::InvalidName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// Why.
    pub reason: MarkReason,
    /// Who asked, if a client did.
    pub by: Option<ClientId>,
    /// When it was asked.
    pub at: Timestamp,
    /// The request that asked; the same request sent again gets its 202, not a 404.
    pub request_id: Option<String>,
    /// The state that the mark ended.
    pub was: StateName,
    /// The last sweep that failed, if one did (P5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<SweepFailure>,
}

/// Why a job's files are marked for deletion.
///
/// ```
/// use evanesce::MarkReason;
///
/// assert_eq!(MarkReason::Deleted.to_string(), "deleted");
/// assert_eq!("expired".parse::<MarkReason>()?, MarkReason::Expired);
/// # Ok::<_, evanesce::InvalidName>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkReason {
    /// A client ended a job that was not done yet.
    Cancelled,
    /// A client deleted a finished job.
    Deleted,
    /// Its time to live was over.
    Expired,
    /// A directory without a record.
    Orphan,
    /// A record without its directory.
    Lost,
    /// Found in `trash/` without its mark: the store had lost its tail.
    Recovered,
    /// The application that owns it was deactivated or removed.
    Revoked,
}

impl MarkReason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::Cancelled,
        Self::Deleted,
        Self::Expired,
        Self::Orphan,
        Self::Lost,
        Self::Recovered,
        Self::Revoked,
    ];

    /// What a client's DELETE is called for a job in the state `was`.
    pub(crate) fn of_client(was: StateName) -> Self {
        if was.is_active() { Self::Cancelled } else { Self::Deleted }
    }

    /// Returns the reason in lower case, as in metrics and receipts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Deleted => "deleted",
            Self::Expired => "expired",
            Self::Orphan => "orphan",
            Self::Lost => "lost",
            Self::Recovered => "recovered",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for MarkReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for MarkReason {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        let found = Self::ALL.into_iter().find(|reason| reason.as_str() == name);
        found.ok_or(InvalidName::new(
            "reason (cancelled, deleted, expired, orphan, lost, recovered or revoked)",
        ))
    }
}

/// The last sweep of a marked job that failed (P5).
///
/// ```
/// use evanesce::{JobState, SweepFailure};
///
/// /// What an operator wants to know of a job whose files do not go.
/// fn stuck(state: &JobState) -> Option<&SweepFailure> {
///     match state {
///         JobState::Marked(mark) => mark.failure.as_ref(),
///         _ => None,
///     }
/// }
///
/// assert_eq!(stuck(&JobState::Queued), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SweepFailure {
    /// Sweeps that failed so far.
    pub attempts: u32,
    /// When the last one did.
    pub at: Timestamp,
    /// What it said: an operation and an error, no path outside the data directory.
    pub error: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_reasons_are_read_as_they_are_shown_and_written() {
        for state in StateName::ALL {
            assert_eq!(state.to_string().parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for reason in MarkReason::ALL {
            assert_eq!(reason.to_string().parse(), Ok(reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
        assert!(StateName::ALL.is_sorted());
        let error = "Running".parse::<StateName>().unwrap_err().to_string();
        assert!(error.starts_with("not a valid state (queued, running,"), "{error}");
        assert!("".parse::<MarkReason>().is_err());
    }
}
