//! Why a job failed, in words for its client (P12).

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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
/// println!("{}", evanesce::FailureReason::SourceChanged);
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

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
