//! All settings, and the sections of what is kept: storage, downloads, retention and the reaper. Each setting
//! has its default and its unit. The other sections have files of their own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

use super::tenants::{self, TenantConfig};
use super::{
    AdminConfig, AuthConfig, ConfigDuration, EraseConfig, ExportConfig, FileEncryption, KeysConfig,
    LimitsConfig, ProtocolConfig, ServerConfig, SourceConfig, TlsConfig,
};
use crate::job::TenantId;

/// Parses a URL that paths are appended to. A slash at its end is removed.
pub(super) fn without_slash<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let url = Option::<String>::deserialize(deserializer)?;
    Ok(url.map(|url| url.strip_suffix('/').map_or_else(|| url.clone(), str::to_string)))
}

/// All settings.
///
/// ```
/// use evanesce::config::{Config, ConfigDuration};
///
/// let config = Config::load(None, &["export.workers=2".into(), "retention.completed=1h".into()])?;
/// assert_eq!(config.export.workers, 2);
/// assert_eq!(config.retention.completed, ConfigDuration(std::time::Duration::from_secs(3600)));
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[server]`: where and how to listen.
    pub server: ServerConfig,
    /// `[auth]`: access tokens and the clients that may have them.
    pub auth: AuthConfig,
    /// `[tls]`: the certificate of the server. The files are read again when they change; a pair that cannot
    /// be used is refused, and the one before it stays in use.
    pub tls: TlsConfig,
    /// `[limits]`: connections, requests, and how long a client may take over each step. By address means by
    /// IPv4 address or by IPv6 /64.
    pub limits: LimitsConfig,
    /// `[protocol]`: whose rules apply where the standard and its model differ.
    pub protocol: ProtocolConfig,
    /// `[storage]`: where exports are kept, and how much room they may take.
    pub storage: StorageConfig,
    /// `[source]`: where resources come from.
    pub source: SourceConfig,
    /// `[export]`: how exports run, what they may hold and how much of it.
    pub export: ExportConfig,
    /// `[download]`: what happens to the open downloads of a job that ends, and compression on the way.
    pub download: DownloadConfig,
    /// `[retention]`: how long things are kept.
    pub retention: RetentionConfig,
    /// `[reaper]`: the sweeper of marked files.
    pub reaper: ReaperConfig,
    /// `[erase]`: what becomes of the keys of jobs.
    pub erase: EraseConfig,
    /// `[keys]`: where the keys of epochs are kept.
    pub keys: KeysConfig,
    /// `[admin]`: the listener for operators, beside the one for clients.
    pub admin: AdminConfig,
    /// `[tenants.NAME]`: one tenant, at `/r4/NAME`. What its section does not say is as the global sections
    /// have it. Without any such section there is one tenant, `default`, over `[source]`.
    #[serde(deserialize_with = "tenants::named")]
    #[cfg_attr(feature = "cli", schemars(with = "BTreeMap<String, TenantConfig>"))]
    pub tenants: BTreeMap<TenantId, TenantConfig>,
    /// `[receipts]`: where a head of the receipts is kept elsewhere.
    pub receipts: super::ReceiptsConfig,
    /// `[audit]`: the audit log in the data directory.
    pub audit: super::AuditConfig,
    /// `[telemetry]`: spans for an OpenTelemetry collector.
    pub telemetry: super::TelemetryConfig,
}

/// `[storage]`: where exports are kept.
///
/// ```
/// use evanesce::config::Config;
///
/// let config = Config::load(None, &["storage.data_dir=/var/lib/evanesce".into()])?;
/// assert_eq!(config.storage.data_dir, std::path::Path::new("/var/lib/evanesce"));
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// The data directory. Only one process at a time can use it. Default `evanesce-data`.
    pub data_dir: PathBuf,
    /// Bytes that must stay free on its file system beside what running exports will still write. A
    /// kick-off that would leave less gets 503. 0 = the file system is not asked. Default 1 GiB.
    pub min_free: u64,
    /// The most bytes of one tenant's files: those of complete exports, of running ones including what
    /// they will still write, and of deleted ones until they are erased. A kick-off above that gets
    /// 503, or 422 if it could never fit. 0 = unlimited. Default 0.
    pub max_bytes: u64,
    /// Whether the files of new jobs are encrypted: `aes-256-gcm` or `none`. Default `aes-256-gcm`.
    pub encryption: FileEncryption,
}

impl Default for StorageConfig {
    fn default() -> Self {
        let encryption = FileEncryption::default();
        Self { data_dir: "evanesce-data".into(), min_free: 1 << 30, max_bytes: 0, encryption }
    }
}

/// `[download]`: what happens to the open downloads of a job that ends, and compression on the way.
///
/// ```
/// use evanesce::config::Config;
///
/// let config = Config::load(None, &["download.delete_grace=1s".into()])?;
/// assert!(config.download.delete_grace < config.download.expiry_drain);
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct DownloadConfig {
    /// How long they may go on after a DELETE before they are cut. Default `5s`.
    pub delete_grace: ConfigDuration,
    /// How long they may go on after an expiry before they are cut. Default `10min`.
    pub expiry_drain: ConfigDuration,
    /// The compression level for clients that want another form of a file than the stored one: 1 to 9.
    /// 0 = no compression, so that such a client gets the stored form or plain text. Default 1.
    pub compression_level: u8,
}

impl Default for DownloadConfig {
    fn default() -> Self {
        Self {
            delete_grace: ConfigDuration::seconds(5),
            expiry_drain: ConfigDuration::seconds(600),
            compression_level: 1,
        }
    }
}

/// `[retention]`: how long things are kept.
///
/// ```
/// use evanesce::config::Config;
///
/// let config = Config::load(None, &["retention.completed=2h".into()])?;
/// assert!(config.retention.completed < config.retention.tombstones);
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RetentionConfig {
    /// Files of a finished job, and the answer of a failed one, counted from its end.
    /// Default `24h`.
    pub completed: ConfigDuration,
    /// Tombstones: how long a deleted job answers `deleted`. Default `30days`.
    pub tombstones: ConfigDuration,
    /// Receipts, holds and pauses included, counted from the event that they record. Not less than
    /// `tombstones`. Default `6years 1day`: HIPAA demands six years of documentation (45 CFR 164.316),
    /// which can be half a day longer than six times 365.25 days.
    pub receipts: ConfigDuration,
    /// How long a directory without a record is left alone. Default `1h`.
    pub orphan_grace: ConfigDuration,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        const HOUR: u64 = 3600;
        // 365.25 days, as in `6years`.
        const YEAR: u64 = 8766 * HOUR;
        Self {
            completed: ConfigDuration::seconds(24 * HOUR),
            tombstones: ConfigDuration::seconds(30 * 24 * HOUR),
            receipts: ConfigDuration::seconds(6 * YEAR + 24 * HOUR),
            orphan_grace: ConfigDuration::seconds(HOUR),
        }
    }
}

/// `[reaper]`: the sweeper of marked files.
///
/// ```
/// use evanesce::config::Config;
///
/// let config = Config::load(None, &["reaper.alarm_after=5min".into()])?;
/// assert!(config.reaper.interval < config.reaper.alarm_after);
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ReaperConfig {
    /// Time between two passes. Marks are swept at once, without waiting for a pass. Default `30s`.
    pub interval: ConfigDuration,
    /// First wait after a failed sweep; it doubles up to `retry_max`. Default `1s`.
    pub retry_min: ConfigDuration,
    /// Longest wait after a failed sweep. Default `5min`.
    pub retry_max: ConfigDuration,
    /// Whether file system events start a pass early. Default true.
    pub watch: bool,
    /// The age at which an unswept mark turns `/readyz` red. Default `15min`.
    pub alarm_after: ConfigDuration,
}

impl Default for ReaperConfig {
    fn default() -> Self {
        Self {
            interval: ConfigDuration::seconds(30),
            retry_min: ConfigDuration::seconds(1),
            retry_max: ConfigDuration::seconds(300),
            watch: true,
            alarm_after: ConfigDuration::seconds(900),
        }
    }
}
