//! `[protocol]`: whose rules apply. What a profile says of parameters and types is in `profile`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigDuration;

/// `[protocol]`: whose rules apply where the standard and its model differ.
///
/// ```
/// use evanesce::config::Config;
///
/// let config = Config::load(None, &["protocol.profile=soarian".into()])?;
/// assert!(config.protocol.refuses_duplicates());
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ProtocolConfig {
    /// Whose rules hold. Default `standard`.
    pub profile: ProtocolProfile,
    /// Whether all patients may be exported by `Patient/$export`; if not, it answers 501 and
    /// Groups alone can be exported (K-15). Default true.
    pub patient_export: bool,
    /// Whether an export that the client has already, active or complete, is refused with 409
    /// (C10). Default: true in the profile `soarian`, else false.
    pub refuse_duplicates: Option<bool>,
    /// The time between two polls of a job in the long run. 20 may come at once; more get 429 (ST-4).
    /// `0s` = no limit. Default `250ms`.
    pub poll_interval: ConfigDuration,
}

impl ProtocolConfig {
    /// Returns whether a repeated export is refused.
    pub fn refuses_duplicates(&self) -> bool {
        self.refuse_duplicates.unwrap_or(self.profile == ProtocolProfile::Soarian)
    }
}

/// Whose rules apply.
///
/// ```
/// use evanesce::config::{Config, ProtocolProfile};
///
/// let config = Config::load(None, &["protocol.profile=soarian".into()])?;
/// assert_eq!(config.protocol.profile, ProtocolProfile::Soarian);
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ProtocolProfile {
    /// The Bulk Data Access IG's.
    Standard,
    /// Those of Oracle Health's Soarian Clinicals: its parameters and types (K-16 to K-18),
    /// kick-offs by GET only, `Accept` and `Prefer` demanded of status and delete requests too
    /// (C2, C3), and no export twice (C10).
    Soarian,
}

impl Default for ProtocolConfig {
    fn default() -> Self {
        Self {
            profile: ProtocolProfile::Standard,
            patient_export: true,
            refuse_duplicates: None,
            poll_interval: ConfigDuration(Duration::from_millis(250)),
        }
    }
}
