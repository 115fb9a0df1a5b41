//! `[tenants.NAME]`: the tenants, each with a source and limits of its own. The global sections
//! apply where a tenant's section says nothing. [`Config::tenant`] joins the two, also for tenants
//! without a section. Who may act for a tenant is not decided here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::settings::without_slash;
use super::{Config, ConfigError, PageCache, SourceConfig, wrong_base_url};
use crate::fhir::reference::BaseUrls;
use crate::job::TenantId;

/// The only tenant if none is configured.
const DEFAULT: &str = "default";

/// `[tenants.NAME]`: one tenant. NAME is the `{tenant}` of `/r4/{tenant}`.
///
/// ```
/// use evanesce::config::Config;
///
/// let config = Config::load(None, &["tenants.north.max_active_jobs=3".into()])?;
/// let north = "north".parse().unwrap();
/// assert_eq!(config.tenants[&north].max_active_jobs, Some(3));
/// assert_eq!(config.tenant_ids(), [north.clone()]);
/// assert_eq!(config.tenants[&north].max_bytes, None);
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct TenantConfig {
    /// `[tenants.NAME.source]`
    pub source: TenantSource,
    /// Jobs of the tenant that may be queued or running; a kick-off above that gets 429. 0 = no
    /// such limit. Default: `export.max_active_jobs_per_tenant`.
    pub max_active_jobs: Option<usize>,
    /// Jobs of one of its clients that may be queued or running; a kick-off above that gets 429
    /// with links to them. 0 = no such limit. Default: `export.max_active_jobs_per_client`.
    pub max_active_jobs_per_client: Option<usize>,
    /// Finished jobs of one of its clients that are kept; a kick-off that could make more of them
    /// gets 429. 0 = no such limit. Default: `export.max_finished_jobs_per_client`.
    pub max_finished_jobs_per_client: Option<usize>,
    /// Bytes that the files of the tenant may take. 0 = unlimited. Default: `storage.max_bytes`.
    pub max_bytes: Option<u64>,
    /// Bytes a second that its exports together may write. 0 = unlimited. Default:
    /// `export.max_bytes_per_second_per_tenant`.
    pub max_bytes_per_second: Option<u64>,
    /// Whether all its patients may be exported by `Patient/$export` (K-15). Default:
    /// `protocol.patient_export`.
    pub patient_export: Option<bool>,
}

/// `[tenants.NAME.source]`: where the tenant's resources come from.
///
/// ```
/// use evanesce::config::Config;
///
/// let config = Config::load(None, &["tenants.north.source.folder=/srv/north".into()])?;
/// let north = &config.tenants[&"north".parse().unwrap()];
/// assert_eq!((north.source.folder.is_some(), north.source.watch), (true, None));
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct TenantSource {
    /// A folder of FHIR NDJSON files; other tenants may have the same. Default: `source.folder`.
    pub folder: Option<PathBuf>,
    /// The base URL of the server that the files come from (K-12). Default: `source.base_url`.
    #[serde(deserialize_with = "without_slash")]
    pub base_url: Option<String>,
    /// Whether file system events bring the index up to date before a kick-off does. Default:
    /// `source.watch`.
    pub watch: Option<bool>,
    /// Whether pages of the source stay in the page cache. Default: `source.page_cache`.
    pub page_cache: Option<PageCache>,
}

/// The settings of a tenant: its section over the global ones.
///
/// ```
/// use evanesce::config::Config;
///
/// let config = Config::load(None, &["tenants.north.source.folder=/srv/north".into(), "storage.max_bytes=1000".into()])?;
/// let north = config.tenant(&"north".parse().unwrap());
/// assert_eq!((north.max_bytes, north.source.folder), (1000, "/srv/north".into()));
/// # Ok::<_, evanesce::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSettings {
    /// Where its resources come from.
    pub source: SourceConfig,
    /// Jobs of it that may be queued or running; 0 = no such limit.
    pub max_active_jobs: usize,
    /// Jobs of one of its clients that may be queued or running; 0 = no such limit.
    pub max_active_jobs_per_client: usize,
    /// Finished jobs of one of its clients that are kept; 0 = no such limit.
    pub max_finished_jobs_per_client: usize,
    /// Bytes that its files may take; 0 = unlimited.
    pub max_bytes: u64,
    /// Bytes a second that its exports together may write; 0 = unlimited.
    pub max_bytes_per_second: u64,
    /// Whether all its patients may be exported at once (K-15).
    pub patient_export: bool,
}

impl Config {
    /// Returns the base URLs below which references in a tenant's source are relative (K-12): the
    /// base of the server that the source comes from, and the tenant's own under
    /// `server.public_url`.
    pub(crate) fn bases(&self, tenant: &TenantId) -> BaseUrls {
        let own = self.server.public_url.as_ref().map(|url| format!("{url}/r4/{tenant}"));
        let own = own.unwrap_or_default();
        BaseUrls::new(self.tenant(tenant).source.base_url).and(&own)
    }

    /// Returns the settings of a tenant; those of a tenant without a section are the global ones.
    /// It does not check that the tenant exists.
    pub fn tenant(&self, tenant: &TenantId) -> TenantSettings {
        let none = TenantConfig::default();
        let own = self.tenants.get(tenant).unwrap_or(&none);
        let (source, global) = (&own.source, &self.source);
        TenantSettings {
            source: SourceConfig {
                folder: source.folder.as_ref().unwrap_or(&global.folder).clone(),
                base_url: source.base_url.as_ref().or(global.base_url.as_ref()).cloned(),
                watch: source.watch.unwrap_or(global.watch),
                page_cache: source.page_cache.unwrap_or(global.page_cache),
            },
            max_active_jobs: own.max_active_jobs.unwrap_or(self.export.max_active_jobs_per_tenant),
            max_active_jobs_per_client: own
                .max_active_jobs_per_client
                .unwrap_or(self.export.max_active_jobs_per_client),
            max_finished_jobs_per_client: own
                .max_finished_jobs_per_client
                .unwrap_or(self.export.max_finished_jobs_per_client),
            max_bytes: own.max_bytes.unwrap_or(self.storage.max_bytes),
            max_bytes_per_second: own
                .max_bytes_per_second
                .unwrap_or(self.export.max_bytes_per_second_per_tenant),
            patient_export: own.patient_export.unwrap_or(self.protocol.patient_export),
        }
    }

    /// Returns the tenants: those with a section, or `default` if there is none.
    pub fn tenant_ids(&self) -> Vec<TenantId> {
        if self.tenants.is_empty() {
            return vec![DEFAULT.parse().expect("a constant that is a valid name")];
        }
        self.tenants.keys().cloned().collect()
    }

    pub(super) fn check_tenants(&self) -> Result<(), ConfigError> {
        for (tenant, own) in &self.tenants {
            if let Some(reason) = own.source.base_url.as_deref().and_then(wrong_base_url) {
                let (tenant, key) = (tenant.clone(), "source.base_url");
                return Err(ConfigError::Tenant { tenant, key, reason });
            }
        }
        Ok(())
    }
}

/// Parses the sections by their names. The error names a bad one.
pub(super) fn named<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<TenantId, TenantConfig>, D::Error> {
    let sections = BTreeMap::<String, TenantConfig>::deserialize(deserializer)?;
    let named = |(name, section): (String, TenantConfig)| match name.parse() {
        Ok(tenant) => Ok((tenant, section)),
        Err(error) => Err(D::Error::custom(format!("[tenants.{name:?}]: {name:?} is {error}"))),
    };
    sections.into_iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::load;

    fn id(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    #[test]
    fn without_a_section_there_is_one_tenant_over_the_source() {
        let config = load("[source]\nfolder = 'f'\n[storage]\nmax_bytes = 7", &[], &[]).unwrap();
        assert_eq!(config.tenant_ids(), [id("default")]);
        let tenant = config.tenant(&id("default"));
        assert_eq!((&tenant.source, tenant.max_bytes), (&config.source, 7));
        assert!(tenant.patient_export);
    }

    #[test]
    fn a_tenant_has_what_its_section_says_and_else_what_all_have() {
        let file = "
            [source]
            folder = 'all'
            base_url = 'https://all.example.org'
            watch = false
            [export]
            max_active_jobs_per_client = 4
            max_finished_jobs_per_client = 8
            max_active_jobs_per_tenant = 5
            max_bytes_per_second_per_tenant = 6
            [storage]
            max_bytes = 7
            [protocol]
            patient_export = false
            [tenants.b]
            [tenants.a]
            max_active_jobs = 1
            max_active_jobs_per_client = 0
            max_finished_jobs_per_client = 9
            max_bytes = 2
            max_bytes_per_second = 3
            patient_export = true
            source = { folder = 'a', base_url = 'https://a.example.org', watch = true, page_cache = 'drop' }";
        let config = load(file, &[], &[]).unwrap();
        assert_eq!(config.tenant_ids(), [id("a"), id("b")]);
        let own = TenantSettings {
            source: SourceConfig {
                folder: "a".into(),
                base_url: Some("https://a.example.org".into()),
                watch: true,
                page_cache: PageCache::Drop,
            },
            max_active_jobs: 1,
            max_active_jobs_per_client: 0,
            max_finished_jobs_per_client: 9,
            max_bytes: 2,
            max_bytes_per_second: 3,
            patient_export: true,
        };
        assert_eq!(config.tenant(&id("a")), own);
        let global = TenantSettings {
            source: config.source.clone(),
            max_active_jobs: 5,
            max_active_jobs_per_client: 4,
            max_finished_jobs_per_client: 8,
            max_bytes: 7,
            max_bytes_per_second: 6,
            patient_export: false,
        };
        for other in ["b", "default"] {
            assert_eq!(config.tenant(&id(other)), global, "{other}");
        }
    }

    #[test]
    fn g_1_flags_and_the_environment_name_tenants_too_and_a_uuid_or_a_dot_is_a_name() {
        let uuid = "0a5b7c9d-1234-4abc-9def-0123456789ab";
        let source = format!("tenants.{uuid}.source.folder=u");
        let limit = format!("tenants.{uuid}.max_bytes=9");
        let environment = [("EVANESCE_TENANTS__EAST__MAX_ACTIVE_JOBS", "3")];
        let file = "[tenants.'north.west']\nmax_bytes = 1\n[tenants.South]\nmax_bytes = 2";
        let config = load(file, &environment, &[&source, &limit]).unwrap();
        assert_eq!(config.tenant_ids(), [uuid, "South", "east", "north.west"].map(id));
        let tenant = config.tenant(&id(uuid));
        assert_eq!((tenant.source.folder, tenant.max_bytes), ("u".into(), 9));
        assert_eq!(config.tenant(&id("east")).max_active_jobs, 3);
        assert_eq!(config.tenant(&id("north.west")).max_bytes, 1);
        let sets = ["tenants.UPPER.source.folder=u"];
        assert_eq!(load("", &[], &sets).unwrap().tenant_ids(), [id("UPPER")]);
    }

    #[test]
    fn what_is_no_tenant_or_senseless_in_one_is_refused_with_its_name() {
        let long = format!("[tenants.{}]", "x".repeat(129));
        let cases: [(&str, &[&str], &str); 9] = [
            ("[tenants.'a/b']", &[], "\"a/b\" is not a valid tenant"),
            ("[tenants.'..']", &[], "not dots alone"),
            ("[tenants.'']", &[], "\"\" is not a valid tenant"),
            (&long, &[], "1 to 128 characters"),
            ("[tenants.a]\nmax_byte = 1", &[], "max_byte"),
            ("", &["tenants.a.source.folders=f"], "folders"),
            ("", &["tenants.a.source.base_url=https://h//"], "tenants.a.source.base_url should be a URL"),
            ("", &["tenants.a.source.page_cache=lose"], "lose"),
            ("", &["tenants.a.max_active_jobs=many"], "many"),
        ];
        for (file, sets, expected) in cases {
            let error = load(file, &[], sets).unwrap_err().to_string();
            assert!(error.contains(expected), "{file:?} {sets:?}: {error}");
        }
    }

    #[test]
    fn settings_that_are_written_down_are_read_again() {
        let config = load("", &[], &["tenants.a.source.folder=f", "tenants.a.max_bytes=3"]).unwrap();
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
    }
}
