//! `[audit]`: what the audit log records.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ConfigDuration, ConfigError};

/// `[audit]`: the audit log in the data directory.
///
/// ```
/// use evanesce::config::Config;
///
/// let config = Config::load(None, &["audit.retention=7years".into()])?;
/// assert!(config.audit.enabled && config.audit.retention > config.retention.receipts);
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Whether events are recorded. Default true.
    pub enabled: bool,
    /// Size in bytes at which a new file is begun. A new one also begins with each day in UTC that has
    /// events. At least 4096. Default 64 MiB.
    pub max_file_bytes: u64,
    /// How long events are kept. Whole files are removed, once a day. At least `1day`. Default `6years
    /// 1day`, as for receipts.
    pub retention: ConfigDuration,
    /// How many requests without a valid token, token requests included, are recorded one by one per
    /// minute. More are only counted, so that strangers cannot fill the disk. Default 60.
    pub max_refusals: u64,
    /// How long a recorded event may be unsynced, and so lost by a power loss. A crash of the process
    /// loses nothing. At least `10ms`. Default `1s`.
    pub sync_interval: ConfigDuration,
}

impl Default for AuditConfig {
    fn default() -> Self {
        let retention = super::RetentionConfig::default().receipts;
        let (max_file_bytes, max_refusals, sync_interval) = (64 << 20, 60, ConfigDuration::seconds(1));
        Self { enabled: true, max_file_bytes, retention, max_refusals, sync_interval }
    }
}

impl AuditConfig {
    /// Refuses values that make no sense.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.max_file_bytes < 4096 {
            let reason = format!("is {}, should be at least 4096", self.max_file_bytes);
            return Err(ConfigError::Value { key: "audit.max_file_bytes", reason });
        }
        let day = Duration::from_secs(24 * 3600);
        for (key, time, least) in [
            ("audit.retention", self.retention, day),
            ("audit.sync_interval", self.sync_interval, Duration::from_millis(10)),
        ] {
            if time.0 < least {
                let reason = format!("is {time:?}, should be at least {:?}", ConfigDuration(least));
                return Err(ConfigError::Value { key, reason });
            }
        }
        Ok(())
    }
}
