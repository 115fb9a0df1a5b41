//! The levels of the `$export` operation.

use serde::{Deserialize, Serialize};

/// Which `$export` operation was called.
///
/// ```
/// let level = evanesce::Level::Group { id: "diabetics".into() };
/// assert_ne!(level, evanesce::Level::Patient);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// `{base}/$export`: everything.
    System,
    /// `{base}/Patient/$export`: the compartments of all patients and what they refer to (K-10).
    Patient,
    /// `{base}/Group/{id}/$export`: the same of the group's members.
    Group {
        /// The id of the Group resource, or `All_Patients`.
        id: String,
    },
}

/// The group that is always there: every patient (K-15).
pub const ALL_PATIENTS: &str = "All_Patients";
