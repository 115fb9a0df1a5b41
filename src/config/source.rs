//! `[source]`: where resources come from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::settings::without_slash;

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
