//! `[receipts]`: what keeps the receipts from going back in time.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// `[receipts]`: where a head of the receipts is kept elsewhere.
///
/// ```
/// use evanesce::config::Config;
///
/// let config = Config::load(None, &["receipts.witness=/mnt/witness/evanesce.head".into()])?;
/// assert_eq!(config.receipts.witness.as_deref(), Some("/mnt/witness/evanesce.head"));
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ReceiptsConfig {
    /// A file or a URL (`https://`, `http://`) with signed tree heads, of which the last one counts, on a
    /// machine or a device that no backup of the data directory goes back with. A file is written after each
    /// receipt; a URL is only read. A start whose receipts do not go through that head is refused: the data
    /// directory is older than erasures that were done. Default: none, and an older data directory cannot be
    /// told from the newest one.
    pub witness: Option<String>,
}

impl ReceiptsConfig {
    /// Refuses values that make no sense.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.witness.as_deref() == Some("") {
            let reason = "is empty, should be a file or a URL".into();
            return Err(ConfigError::Value { key: "receipts.witness", reason });
        }
        Ok(())
    }
}
