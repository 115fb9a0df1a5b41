//! The record of a job: what the store holds. Only ids, instants, counts and reasons; no
//! parameter, no file content, nothing that could name a patient (P12).

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ClientId, Completion, JobId, TenantId, Tombstone};

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
        f.write_str(self.as_str())
    }
}

/// Why and when a job failed.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce) = example::host().await?;
/// let (tenant, owner) = ("default".parse()?, "me".parse()?);
/// let request = ExportRequest::new(tenant, owner, Kickoff::system(), evanesce.now());
/// let no_patients = ExportRequest { access: ExportAccess::of_types([].into())?, ..request };
/// let job = evanesce.submit_as(Submission::new(no_patients)).await?;
/// let Some(JobState::Failed(failure)) = evanesce.wait_finished(job).await else { panic!() };
/// assert_eq!(failure.reason, FailureReason::AccessExceeded);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// When; the time to live counts from here (P8).
    pub at: Timestamp,
    /// Why.
    pub reason: FailureReason,
}

/// Why a job failed. A closed list, so that no message can carry patient data (P12).
///
/// ```
/// println!("{}", evanesce::FailureReason::SourceChanged.text());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// A source file is not the one that was planned any more.
    SourceChanged,
    /// The source could not be read.
    SourceUnreadable,
    /// There is no such group, or it is not one of actual, active members.
    GroupNotFound,
    /// The group has groups as members.
    GroupNested,
    /// A patient that is asked for is not known, or no member of the group.
    PatientNotFound,
    /// The exporter gave resources that the export may not hold.
    AccessExceeded,
    /// The exporter gave an error.
    ExporterFailed,
    /// The exporter panicked.
    ExporterPanicked,
    /// There was no room for the output.
    StorageFull,
    /// It has more files than an export may have, or a document of it is longer than may be.
    TooLarge,
    /// The output could not be written.
    StorageFailed,
    /// The job's directory is not there any more.
    DirectoryLost,
    /// Its tenant is not configured any more.
    TenantRemoved,
}

impl FailureReason {
    /// The sentence shown to the client: what happened and what to do.
    pub fn text(self) -> &'static str {
        match self {
            Self::SourceChanged => "The source data changed while it was being exported. Start a new export.",
            Self::SourceUnreadable => {
                "The source data could not be read. Start a new export when the operator has mended it."
            }
            Self::GroupNotFound => {
                "The group is not defined or not active; use the id of an active Group with actual members, or All_Patients."
            }
            Self::GroupNested => {
                "The group has groups as members, which is not supported; list the patients themselves as its members."
            }
            Self::PatientNotFound => {
                "A patient that the parameter patient names is not known, or is no member of the group; name patients of this export only."
            }
            Self::AccessExceeded => {
                "The export was stopped: it would have held resources that are not for this client. Ask the operator."
            }
            Self::ExporterFailed => "The export failed. Start a new export, or ask the operator.",
            Self::ExporterPanicked => "The export failed by an internal fault. Ask the operator.",
            Self::StorageFull => {
                "There was no room to store the export. Delete exports that are no longer needed, then start a new one."
            }
            Self::TooLarge => {
                "The export has more files, or a longer plan, than one export may have. Ask for less with _type, _since, _until or a Group, or ask the operator for larger parts."
            }
            Self::StorageFailed => "The export could not be stored. Ask the operator.",
            Self::DirectoryLost => {
                "The stored export is not there any more. Start a new export, and tell the operator."
            }
            Self::TenantRemoved => "Exports of this tenant are not offered any more. Ask the operator.",
        }
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
/// assert_eq!(evanesce::MarkReason::Deleted.as_str(), "deleted");
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
