//! How exports are encrypted, where the keys of epochs are kept, and how long an epoch lasts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigDuration, ConfigError};

/// How the files of jobs are stored.
///
/// ```
/// use evanesce::config::{Config, FileEncryption};
///
/// let config = Config::load(None, &["storage.encryption=none".into()])?;
/// assert_eq!(config.storage.encryption, FileEncryption::None);
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub enum FileEncryption {
    /// Encrypted with a key of the job, which is destroyed with the job.
    #[default]
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
    /// As they are.
    #[serde(rename = "none")]
    None,
}

/// `[erase]`: what becomes of the keys of jobs.
///
/// ```
/// use evanesce::config::Config;
///
/// let config = Config::load(None, &["erase.epoch=12h".into()])?;
/// assert_eq!(config.erase.epoch.0.as_secs(), 43_200);
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct EraseConfig {
    /// How long an epoch lasts. At its end the keys of the jobs that are left are wrapped anew and the old
    /// epoch's key is destroyed: no copy of anything opens a job any more that was erased in it. Default `24h`.
    pub epoch: ConfigDuration,
}

impl Default for EraseConfig {
    fn default() -> Self {
        Self { epoch: ConfigDuration::seconds(24 * 3600) }
    }
}

impl EraseConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.epoch.0.as_millis() < 100 {
            let reason = format!("is {:?}, should be at least 100ms", self.epoch);
            return Err(ConfigError::Value { key: "erase.epoch", reason });
        }
        Ok(())
    }
}

/// `[keys]`: where the keys of epochs are kept.
///
/// ```
/// use evanesce::config::Config;
///
/// let config = Config::load(None, &["keys.folder=/mnt/keys/evanesce".into()])?;
/// assert_eq!(config.keys.folder.as_deref(), Some(std::path::Path::new("/mnt/keys/evanesce")));
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct KeysConfig {
    /// A folder for the keys of epochs, best on another device than the data directory and in no backup of it.
    /// Default: `keys/` in the data directory.
    pub folder: Option<PathBuf>,
}
