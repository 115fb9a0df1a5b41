//! The settings, by section, each with its default and its unit.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::tenants::{self, TenantConfig};
use super::{AdminConfig, AuthConfig, ConfigDuration, ExportConfig, LimitsConfig, NetworkSet, TlsConfig};
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
    /// `[admin]`: the listener for operators, beside the one for clients.
    pub admin: AdminConfig,
    /// `[tenants.NAME]`: one tenant, at `/r4/NAME`. What its section does not say is as the global sections
    /// have it. Without any such section there is one tenant, `default`, over `[source]`.
    #[serde(deserialize_with = "tenants::named")]
    #[cfg_attr(feature = "cli", schemars(with = "BTreeMap<String, TenantConfig>"))]
    pub tenants: BTreeMap<TenantId, TenantConfig>,
    /// `[audit]`: the audit log in the data directory.
    pub audit: super::AuditConfig,
    /// `[telemetry]`: spans for an OpenTelemetry collector.
    pub telemetry: super::TelemetryConfig,
}

/// `[server]`: where and how to listen.
///
/// ```
/// use evanesce::config::Config;
///
/// let config = Config::load(None, &["server.public_url=https://fhir.example.org/".into()])?;
/// assert_eq!(config.server.public_url.as_deref(), Some("https://fhir.example.org"));
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address to listen on; port 0 takes a free one. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// The scheme, host and port of the URLs that clients are given, such as
    /// `https://fhir.example.org`. Default: the address listened on.
    #[serde(deserialize_with = "without_slash")]
    pub public_url: Option<String>,
    /// Proxies that are trusted about the clients behind them. Header fields of anybody else change
    /// neither its address nor its URLs. Networks such as `10.0.0.0/8,192.0.2.7`. Default: none.
    pub trusted_proxies: NetworkSet,
    /// The fields that these proxies set on each request, replacing what the client sent. Default
    /// `x-forwarded`.
    pub proxy_fields: ProxyFields,
    /// How long browsers must use only TLS with this host, sent to TLS clients
    /// (`Strict-Transport-Security`). `0s` = not sent. Default `365days`.
    pub hsts_max_age: ConfigDuration,
    /// Threads that answer requests. Default 2.
    pub workers: usize,
    /// How long a stopping server waits for answers to finish. Default `30s`.
    pub shutdown_grace: ConfigDuration,
    /// Longest URL in bytes; longer ones get 414. Default 8192.
    pub max_url_bytes: usize,
    /// Longest body of a POST in bytes; longer ones get 413. Default 1 MiB.
    pub max_body_bytes: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            trusted_proxies: NetworkSet::default(),
            proxy_fields: ProxyFields::XForwarded,
            hsts_max_age: ConfigDuration::seconds(365 * 24 * 3600),
            workers: 2,
            shutdown_grace: ConfigDuration::seconds(30),
            max_url_bytes: 8192,
            max_body_bytes: 1 << 20,
        }
    }
}

/// The fields in which proxies describe their clients. The other fields are never read: a client
/// may send them, and most proxies forward them unchanged.
///
/// ```
/// use evanesce::config::{Config, ProxyFields};
///
/// let config = Config::load(None, &["server.proxy_fields=forwarded".into()])?;
/// assert_eq!(config.server.proxy_fields, ProxyFields::Forwarded);
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ProxyFields {
    /// `X-Forwarded-For`, `-Proto`, `-Host` and `-Port`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

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
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self { data_dir: "evanesce-data".into(), min_free: 1 << 30, max_bytes: 0 }
    }
}

/// The folder that is read when none is set: it is there in a clone of the project.
pub(crate) const DEFAULT_FOLDER: &str = "data/sample";

/// `[source]`: where resources come from.
///
/// ```
/// use evanesce::config::Config;
///
/// let config = Config::load(None, &["source.folder=/srv/fhir".into(), "source.watch=false".into()])?;
/// assert!(!config.source.watch);
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct SourceConfig {
    /// A folder of FHIR R4 NDJSON files. Default `data/sample`.
    pub folder: PathBuf,
    /// The base URL of the server that the files come from: absolute references under it count as
    /// relative ones (K-12). Default: none.
    #[serde(deserialize_with = "without_slash")]
    pub base_url: Option<String>,
    /// Whether file system events bring the index up to date before a kick-off does. Default true.
    pub watch: bool,
    /// Whether pages of the source stay in the page cache when they have been copied. Default
    /// `keep`.
    pub page_cache: PageCache,
}

/// What happens to the source's pages in the page cache.
///
/// ```
/// use evanesce::config::{Config, PageCache};
///
/// let config = Config::load(None, &["source.page_cache=drop".into()])?;
/// assert_eq!(config.source.page_cache, PageCache::Drop);
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PageCache {
    /// They stay, so the next export of the same source is faster.
    Keep,
    /// They are dropped, so other programs keep theirs.
    Drop,
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self { folder: DEFAULT_FOLDER.into(), base_url: None, watch: true, page_cache: PageCache::Keep }
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
