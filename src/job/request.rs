//! What a client asked for. Kick-off parameters may name a patient, so a request lives in
//! the job's directory and in memory, never in the store or in a log (P12).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ClientId, TenantId};

/// Which `$export` operation was called.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// `{base}/$export`: everything.
    System,
    /// `{base}/Patient/$export`: the compartments of all patients and what they refer to (K-10).
    Patient,
    /// `{base}/Group/{id}/$export`: the same of the group's members.
    Group {
        /// The id of the Group resource, or [`ALL_PATIENTS`].
        id: String,
    },
}

/// The group that is always there: every patient (K-15).
pub const ALL_PATIENTS: &str = "All_Patients";

/// One export request, as accepted at the kick-off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRequest {
    /// Whose data.
    pub tenant: TenantId,
    /// Who asked, and alone may see the job (P10).
    pub owner: ClientId,
    /// The full kick-off URL as received, for the manifest's `request` (MF-2, C7).
    pub url: String,
    /// The operation.
    pub level: Level,
    /// The types of `_type`, without repeats; empty means all that the level exports.
    pub types: Vec<String>,
    /// Only resources changed later than this, and those of unknown age (`_since`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only resources changed earlier than this, and those of unknown age (`_until`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// When the kick-off was received.
    pub submitted_at: Timestamp,
    /// Bytes that the export was expected to write at the most when it was accepted; `None` if
    /// nobody could tell. Room is kept for them across a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<u64>,
}
