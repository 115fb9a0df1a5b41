//! All settings, with types, defaults and units. Flags (`--set`) take precedence over the
//! environment (`EVANESCE_SECTION__KEY`), the environment over the file (TOML), and the file over
//! the defaults.

mod admin;
mod audit;
mod auth;
mod duration;
mod environment;
mod export;
mod keys;
mod limits;
mod networks;
#[cfg(feature = "cli")]
mod origins;
pub(crate) mod profile;
mod protocol;
mod receipts;
mod server;
mod settings;
mod source;
mod telemetry;
mod tenants;
mod tls;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::job::TenantId;
use crate::plain_file::{self, LinkPolicy, SETTINGS_BYTES};

pub use admin::AdminConfig;
pub use audit::AuditConfig;
pub use auth::{AuthConfig, AuthMode, OnDeactivation};
pub use duration::ConfigDuration;
pub use export::{DevicePolicy, ExportConfig, ReferencePolicy, StoredForm};
pub use keys::{EraseConfig, FileEncryption, KeysConfig};
pub use limits::LimitsConfig;
pub use networks::NetworkSet;
#[cfg(feature = "cli")]
pub(crate) use origins::{SettingOrigins, leaves};
pub use protocol::{ProtocolConfig, ProtocolProfile};
pub use receipts::ReceiptsConfig;
pub use server::{ProxyFields, ServerConfig};
pub use settings::{Config, DownloadConfig, ReaperConfig, RetentionConfig, StorageConfig};
pub(crate) use source::DEFAULT_FOLDER;
pub use source::{PageCache, SourceConfig};
pub use telemetry::TelemetryConfig;
pub use tenants::{TenantConfig, TenantSettings, TenantSource};
pub use tls::TlsConfig;

/// Why settings cannot be used, and where they were given.
///
/// ```
/// use evanesce::config::{Config, ConfigError};
///
/// let refused = Config::load(None, &["export.workers=0".into()]);
/// assert!(matches!(refused, Err(ConfigError::Value { key: "export.workers", .. })));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file, a variable or a `--set` is wrong.
    #[error("configuration: {0}")]
    Invalid(#[from] config::ConfigError),
    /// A variable of the environment names no setting, or has a wrong value.
    #[error("configuration: the variable {name} is wrong: {reason}")]
    Variable {
        /// The variable.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file of settings cannot be read.
    #[error("configuration: cannot read {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// `--set` does not have the form `section.key=value`.
    #[error("configuration: --set {0:?} should be section.key=value, such as --set export.workers=4")]
    Set(String),
    /// A value makes no sense.
    #[error("configuration: {key} {reason}")]
    Value {
        /// The setting.
        key: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// A value of a tenant makes no sense.
    #[error("configuration: tenants.{tenant}.{key} {reason}")]
    Tenant {
        /// The tenant.
        tenant: TenantId,
        /// The setting in its section.
        key: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
}

impl Config {
    /// Reads the settings from a TOML file, the environment and `section.key=value` texts.
    ///
    /// ```
    /// use evanesce::config::Config;
    ///
    /// assert!(Config::load(None, &["export.workers=none".into()]).is_err());
    /// ```
    pub fn load(file: Option<&Path>, sets: &[String]) -> Result<Self, ConfigError> {
        Self::load_from(file, &environment::settings(std::env::vars_os())?, sets)
    }

    fn load_from(
        file: Option<&Path>,
        environment: &environment::VariableMap,
        sets: &[String],
    ) -> Result<Self, ConfigError> {
        let mut builder = config::Config::builder();
        if let Some(file) = file {
            // The parser's error for a missing file comes below, with its name.
            if let Err(error) = plain_file::read(file, LinkPolicy::Follow, SETTINGS_BYTES)
                && plain_file::is_strange(&error)
            {
                return Err(ConfigError::File(file.into(), error));
            }
            builder = builder.add_source(config::File::from(file).format(config::FileFormat::Toml));
        }
        builder = builder.add_source(environment::source(environment.clone()));
        for set in sets {
            let (key, value) = parts_of_set(set)?;
            builder = builder.set_override(key, value)?;
        }
        let config: Self = builder.build()?.try_deserialize()?;
        config.check()?;
        Ok(config)
    }

    /// Refuses values that the server could not work with.
    ///
    /// ```
    /// let mut config = evanesce::config::Config::default();
    /// assert!(config.check().is_ok());
    /// config.export.workers = 0;
    /// assert!(config.check().is_err());
    /// ```
    pub fn check(&self) -> Result<(), ConfigError> {
        let at_least = |key, value: u64, least: u64| {
            let reason = format!("is {value}, should be at least {least}");
            if value >= least { Ok(()) } else { Err(ConfigError::Value { key, reason }) }
        };
        self.admin.check()?;
        at_least("server.workers", self.server.workers as u64, 1)?;
        at_least("server.max_url_bytes", self.server.max_url_bytes as u64, 256)?;
        at_least("export.workers", self.export.workers as u64, 1)?;
        at_least("export.max_file_bytes", self.export.max_file_bytes, 4096)?;
        at_least("export.part_bytes", self.export.part_bytes, 4096)?;
        at_least("export.max_active_jobs", self.export.max_active_jobs as u64, 1)?;
        if self.export.nice > 19 {
            let reason = format!("is {}, should be at most 19", self.export.nice);
            return Err(ConfigError::Value { key: "export.nice", reason });
        }
        let level = self.export.compression_level.unwrap_or(1);
        let hardest = if self.export.stored == StoredForm::Zstd { 19 } else { 9 };
        if !(1..=hardest).contains(&level) {
            let reason = format!("is {level}, should be 1 to 9 for gzip, 1 to 19 for zstd");
            return Err(ConfigError::Value { key: "export.compression_level", reason });
        }
        if self.download.compression_level > 9 {
            let reason = format!("is {}, should be at most 9", self.download.compression_level);
            return Err(ConfigError::Value { key: "download.compression_level", reason });
        }
        let reaper = &self.reaper;
        for (key, time) in [("reaper.interval", reaper.interval), ("reaper.retry_min", reaper.retry_min)] {
            if time.0 < Duration::from_millis(10) {
                return Err(ConfigError::Value {
                    key,
                    reason: format!("is {time:?}, should be at least 10ms"),
                });
            }
        }
        if reaper.retry_max < reaper.retry_min {
            let reason = "should not be less than reaper.retry_min".into();
            return Err(ConfigError::Value { key: "reaper.retry_max", reason });
        }
        let retention = &self.retention;
        if retention.receipts < retention.tombstones {
            let reason = format!(
                "is {:?}, should not be less than retention.tombstones, which is {:?}: a deleted job \
                 is known by its receipt when the store has lost it",
                retention.receipts, retention.tombstones
            );
            return Err(ConfigError::Value { key: "retention.receipts", reason });
        }
        if let Some(reason) = self.source.base_url.as_deref().and_then(wrong_base_url) {
            return Err(ConfigError::Value { key: "source.base_url", reason });
        }
        self.check_tenants()?;
        if let Some(url) = &self.server.public_url {
            let http = after_scheme(url);
            if http.is_none_or(|rest| rest.is_empty() || rest.contains(['/', '?', '#', ' '])) {
                let reason = "should be scheme, host and port, such as https://fhir.example.org".into();
                return Err(ConfigError::Value { key: "server.public_url", reason });
            }
        }
        self.audit.check()?;
        self.receipts.check()?;
        self.erase.check()?;
        self.telemetry.check()?;
        self.auth.check(&self.server)?;
        self.check_transport()?;
        self.check_limits()
    }
}

/// Splits `section.key=value`.
fn parts_of_set(set: &str) -> Result<(&str, &str), ConfigError> {
    let parts = set.split_once('=').filter(|(key, _)| key.contains('.'));
    parts.ok_or_else(|| ConfigError::Set(set.into()))
}

/// Returns what follows the scheme of an HTTP URL.
fn after_scheme(url: &str) -> Option<&str> {
    url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))
}

/// Returns what is wrong with the base URL of a source, if anything.
fn wrong_base_url(url: &str) -> Option<String> {
    let is_wrong = after_scheme(url)
        .is_none_or(|rest| rest.is_empty() || rest.ends_with('/') || rest.contains(['?', '#', ' ']));
    is_wrong.then(|| "should be a URL without a slash at the end, such as https://fhir.example.org/r4".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn load(
        file: &str,
        environment: &[(&str, &str)],
        sets: &[&str],
    ) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("evanesce.toml");
        std::fs::write(&path, file).unwrap();
        let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
        let sets: Vec<_> = sets.iter().map(|set| set.to_string()).collect();
        Config::load_from(Some(&path), &environment::settings(environment)?, &sets)
    }

    #[test]
    fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
        let file =
            "[export]\nworkers = 3\nmax_file_bytes = 5000\npart_bytes = 6000\n[retention]\ncompleted = '2h'";
        let environment =
            [("EVANESCE_EXPORT__MAX_FILE_BYTES", "7000"), ("EVANESCE_EXPORT__PART_BYTES", "8000")];
        let config = load(file, &environment, &["export.part_bytes=9000", "reaper.watch=false"]).unwrap();
        assert_eq!(config.export.workers, 3);
        assert_eq!(config.export.max_file_bytes, 7000);
        assert_eq!(config.export.part_bytes, 9000);
        assert!(!config.reaper.watch);
        assert_eq!(config.retention.completed, ConfigDuration::seconds(7200));
        assert_eq!(config.retention.tombstones, RetentionConfig::default().tombstones);
    }

    #[test]
    fn networks_are_a_list_in_a_file_and_a_text_with_commas_in_a_flag() {
        let address = |text: &str| text.parse().unwrap();
        let file = "[server]\ntrusted_proxies = ['10.0.0.0/8', 'fd00::1']";
        let flag = ["server.trusted_proxies=10.0.0.0/8, fd00::1"];
        for config in [load(file, &[], &[]).unwrap(), load("", &[], &flag).unwrap()] {
            let proxies = config.server.trusted_proxies;
            for inside in ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1"] {
                assert!(proxies.contains(address(inside)), "{inside}");
            }
            for outside in ["11.1.2.3", "fd00::2", "127.0.0.1"] {
                assert!(!proxies.contains(address(outside)), "{outside}");
            }
        }
        let config = load("", &[], &["limits.exempt="]).unwrap();
        assert!(
            config.limits.exempt.is_empty() && LimitsConfig::default().exempt.contains(address("127.9.9.9"))
        );
    }

    #[test]
    fn a_slash_at_the_end_of_a_base_url_is_none_of_it() {
        let sets = [
            "server.public_url=https://h:1/",
            "source.base_url=https://s/r4/",
            "tenants.t.source.base_url=https://t/r4/",
        ];
        let config = load("", &[], &sets).unwrap();
        assert_eq!(config.server.public_url.as_deref(), Some("https://h:1"));
        assert_eq!(config.source.base_url.as_deref(), Some("https://s/r4"));
        assert_eq!(config.tenant(&"t".parse().unwrap()).source.base_url.as_deref(), Some("https://t/r4"));
    }

    #[test]
    fn receipts_are_kept_for_six_years_whatever_the_leap_days() {
        let kept = RetentionConfig::default().receipts;
        assert_eq!(format!("{kept:?}"), "6years 1day");
        let years = |from: &str, to: &str| {
            let [from, to] = [from, to].map(|text| text.parse::<jiff::Timestamp>().unwrap());
            crate::clock::between(from, to)
        };
        assert!(kept.0 >= years("2023-12-31T00:00:00Z", "2029-12-31T00:00:00Z"));
        assert!(kept.0 >= years("2019-06-01T00:00:00Z", "2025-06-01T00:00:00Z"));
    }

    #[test]
    fn what_is_unknown_or_senseless_is_refused_with_its_name() {
        let cases: [(&str, &[&str], &str); 44] = [
            ("[export]\nworker = 3", &[], "worker"),
            ("[exports]\nworkers = 3", &[], "exports"),
            ("", &["export.workers=0"], "export.workers"),
            ("", &["export.workers=many"], "many"),
            ("", &["export.nice=20"], "at most 19"),
            ("", &["export.nice=-1"], "export.nice"),
            ("", &["export.stored=brotli"], "brotli"),
            ("", &["export.compression_level=0"], "export.compression_level is 0"),
            ("", &["export.stored=gzip", "export.compression_level=10"], "1 to 9 for gzip"),
            ("", &["export.stored=zstd", "export.compression_level=20"], "1 to 19 for zstd"),
            ("", &["export.checksums=sha256"], "sha256"),
            ("", &["download.compression_level=10"], "at most 9"),
            ("", &["export.max_bytes_per_second_per_job=fast"], "fast"),
            ("", &["workers=1"], "section.key=value"),
            ("", &["retention.completed=soon"], "soon"),
            ("", &["server.listen=0.0.0.0:80", "auth.mode=none"], "loopback only; use auth.mode=smart"),
            ("", &["auth.mode=basic"], "basic"),
            ("", &["auth.token_lifetime=301s"], "should be 1s to 300s"),
            ("", &["auth.key_rotation=1min"], "auth.key_rotation is 1m, should be 300s"),
            ("", &["auth.clock_skew=10min"], "auth.clock_skew"),
            ("", &["auth.max_replay_entries=0"], "auth.max_replay_entries is 0"),
            ("", &["auth.jwks_max_bytes=1"], "auth.jwks_max_bytes"),
            ("", &["auth.jwks_timeout=0s"], "auth.jwks_timeout"),
            (
                "",
                &["server.listen=0.0.0.0:80"],
                "give tls.certificate and tls.key, or name in server.trusted",
            ),
            ("", &["server.trusted_proxies=10.0.0.0/8,proxy"], "\"proxy\" is not a network"),
            ("", &["server.proxy_fields=via"], "via"),
            ("", &["tls.certificate=a.pem"], "tls.key is missing"),
            ("", &["tls.key=a.pem"], "tls.certificate is missing"),
            ("", &["tls.client_ca=a.pem"], "tls.certificate is missing"),
            ("", &["limits.backlog=0"], "limits.backlog is 0"),
            ("", &["limits.connections=-1"], "limits.connections"),
            ("", &["server.public_url=example.org/x"], "server.public_url"),
            ("", &["reaper.retry_max=20ms"], "reaper.retry_max"),
            ("", &["erase.epoch=99ms"], "erase.epoch"),
            ("", &["export.references=some"], "some"),
            ("", &["source.base_url=https://h/fhir//"], "source.base_url"),
            ("", &["source.page_cache=lose"], "lose"),
            ("", &["audit.max_file_bytes=4095"], "audit.max_file_bytes is 4095"),
            ("", &["audit.retention=1h"], "audit.retention is 1h, should be at least 1day"),
            ("", &["audit.sync_interval=1ms"], "audit.sync_interval is 1ms"),
            ("", &["auth.on_deactivation=ask"], "ask"),
            ("", &["auth.on_deactivation=cancel"], "set auth.applications"),
            ("", &["auth.applications=/"], "auth.applications should name a file"),
            ("", &["retention.receipts=29days"], "less than retention.tombstones, which is 30days"),
        ];
        for (file, sets, expected) in cases {
            let error = load(file, &[], sets).unwrap_err().to_string();
            assert!(error.contains(expected), "{sets:?}: {error}");
        }
    }
}
