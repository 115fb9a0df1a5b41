//! Who exports for which tenant: the host's exporters, and for the rest of the configured
//! tenants the built-in one over the tenant's folder, with an index of its own.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::StartError;
use crate::config::{Config, DEFAULT_FOLDER, FileEncryption, PageCache};
use crate::export::{Exporter, Exporters, ServedTenants, SourceExporter, SourceOptions};
use crate::index::{self, Index, IndexCipher, IndexOptions};
use crate::job::TenantId;
use crate::keys;
use crate::source::{NdjsonFolder, ServedFolder, Source, SourceError};

/// The folders that the built-in exporter reads, and what the host gave.
pub(super) struct TenantExporters {
    folders: Vec<(TenantId, NdjsonFolder)>,
    hosts: Exporters,
}

impl TenantExporters {
    /// Opens the folders of all tenants that the host has no exporter for; nothing is made.
    pub fn open(
        config: &Config,
        common: Option<Arc<dyn Exporter>>,
        own: BTreeMap<TenantId, Arc<dyn Exporter>>,
    ) -> Result<Self, StartError> {
        // A host that names no tenant in the settings has those that it has exporters for.
        let is_hosts = config.tenants.is_empty() && (common.is_some() || !own.is_empty());
        let configured = if is_hosts { Vec::new() } else { config.tenant_ids() };
        let mut folders = Vec::new();
        for tenant in configured.iter().filter(|id| common.is_none() && !own.contains_key(id)) {
            folders.push((tenant.clone(), open_folder(config, tenant)?));
        }
        let mut hosts = Exporters::default();
        for (tenant, exporter) in own {
            hosts = hosts.with_own(tenant, exporter);
        }
        if let Some(common) = common {
            let only = ServedTenants::Only(configured.into_iter().collect());
            hosts = hosts.with_common(common, if is_hosts { ServedTenants::All } else { only });
        }
        Ok(Self { folders, hosts })
    }

    /// Removes the indexes of tenants that have none any more and starts keeping the others.
    /// Only the owner of the data directory may do it.
    pub fn start(self, config: &Config) -> Result<(Exporters, Vec<ServedFolder>), StartError> {
        let kept: HashSet<_> = self.folders.iter().map(|(tenant, _)| tenant.clone()).collect();
        index::remove_leftovers(&config.storage.data_dir, &kept);
        let (mut exporters, mut served) = (self.hosts, Vec::new());
        let cipher = Arc::new(
            match config.storage.encryption {
                FileEncryption::Aes256Gcm => IndexCipher::open(&keys::epochs_folder(config)),
                FileEncryption::None => Ok(IndexCipher::none()),
            }
            .map_err(|error| StartError::System { operation: "use index.key", error })?,
        );
        for (tenant, folder) in self.folders {
            let (exporter, one) = built_in(folder, &tenant, config, &cipher)?;
            exporters = exporters.with_own(tenant, Arc::new(exporter));
            served.push(one);
        }
        Ok((exporters, served))
    }
}

fn open_folder(config: &Config, tenant: &TenantId) -> Result<NdjsonFolder, StartError> {
    let folder = config.tenant(tenant).source.folder;
    NdjsonFolder::open(&folder).map_err(|error| unusable(config, tenant, error))
}

/// Names the setting that the tenant has its folder from.
fn unusable(config: &Config, tenant: &TenantId, error: SourceError) -> StartError {
    let has_own = config.tenants.get(tenant).is_some_and(|own| own.source.folder.is_some());
    let setting = if has_own { format!("tenants.{tenant}.source.folder") } else { "--source".into() };
    let folder = config.tenant(tenant).source.folder;
    let is_missing =
        matches!(&error, SourceError::Unreadable { error, .. } if error.kind() == io::ErrorKind::NotFound);
    if is_missing && !has_own && folder == Path::new(DEFAULT_FOLDER) {
        return StartError::NoSource(folder);
    }
    StartError::Source { setting, error: error.into() }
}

/// Returns the exporter of a tenant's folder, and what is in the folder.
fn built_in(
    folder: NdjsonFolder,
    tenant: &TenantId,
    config: &Config,
    cipher: &Arc<IndexCipher>,
) -> Result<(SourceExporter, ServedFolder), StartError> {
    let system = |operation| move |error| StartError::System { operation, error };
    let source = config.tenant(tenant).source;
    let snapshot = folder.snapshot().map_err(|error| unusable(config, tenant, error))?;
    if snapshot.files.is_empty() {
        tracing::warn!(%tenant, "the source has no files to read: exports will be empty");
    }
    let served = ServedFolder {
        tenant: tenant.clone(),
        folder: source.folder.clone(),
        files: snapshot.files.len(),
        bytes: snapshot.files.iter().map(|file| file.size).sum(),
    };
    let options = IndexOptions {
        folder: config.storage.data_dir.join(index::FOLDER).join(tenant.as_str()),
        bases: config.bases(tenant),
        cipher: cipher.clone(),
    };
    let index = Index::open(Arc::new(folder), options).map_err(system("make the index's folder"))?;
    let options = SourceOptions {
        part_bytes: config.export.part_bytes,
        max_file_bytes: config.export.max_file_bytes,
        references: config.export.references,
        devices: config.export.devices(config.protocol.profile),
        drop_pages: source.page_cache == PageCache::Drop,
    };
    let exporter = SourceExporter::new(index, options, source.watch);
    Ok((exporter.map_err(system("start the index's thread"))?, served))
}
