//! What there is to export: tenants, their Groups, and single resources.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Evanesce;
use crate::export::{ExportError, Exporter, GroupName};
use crate::fhir::ResourceType;
use crate::job::TenantId;

/// How long is waited for the source; one that is read for the first time takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the source did not answer.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// let folder = tempfile::tempdir()?;
/// let builder = Evanesce::builder().data_dir(folder.path());
/// let evanesce = builder.exporter_for("north".parse()?, example::Patients).start().await?;
/// assert_eq!(evanesce.groups(&"south".parse()?).await.err(), Some(SourceReadError::UnknownTenant));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SourceReadError {
    /// There is no such tenant.
    #[error("there is no such tenant")]
    UnknownTenant,
    /// It is being indexed, or did not answer within 10 seconds; try again.
    #[error("the source is busy")]
    Busy,
    /// It cannot be read. The log says why.
    #[error("the source cannot be read")]
    Failed,
}

impl Evanesce {
    /// Returns the tenants that are known by name: those of the settings, and those with an exporter of their
    /// own.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// let folder = tempfile::tempdir()?;
    /// let builder = Evanesce::builder().data_dir(folder.path());
    /// let evanesce = builder.exporter_for("north".parse()?, example::Patients).start().await?;
    /// assert!(evanesce.tenants().contains(&"north".parse()?));
    /// # Ok(())
    /// # }
    /// ```
    pub fn tenants(&self) -> BTreeSet<TenantId> {
        let (config, exporters) = (self.config(), &self.services().exporters);
        let named = config.tenant_ids().into_iter().chain(exporters.own_tenants().cloned());
        named.filter(|tenant| exporters.of(tenant).is_some()).collect()
    }

    /// Returns the Groups of a tenant, in the order of their ids.
    ///
    /// # Errors
    /// There is no such tenant, or its source cannot be asked.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// let groups = evanesce.groups(&"default".parse()?).await?;
    /// assert_eq!((&*groups[0].id, groups[0].name.as_deref()), ("g", Some("The three")));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn groups(&self, tenant: &TenantId) -> Result<Arc<Vec<GroupName>>, SourceReadError> {
        self.ask_source(tenant, |exporter| exporter.groups()).await
    }

    /// Returns a resource as JSON; `None` if there is none with this id, or the exporter gives out none of
    /// its type. The built-in one gives out Groups and Binaries.
    ///
    /// # Errors
    /// There is no such tenant, or its source cannot be asked.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// let group = ResourceType::of("Group").expect("a type of FHIR");
    /// assert!(evanesce.resource(&"default".parse()?, group, "g").await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn resource(
        &self,
        tenant: &TenantId,
        resource_type: ResourceType,
        id: &str,
    ) -> Result<Option<Vec<u8>>, SourceReadError> {
        let id = id.to_owned();
        self.ask_source(tenant, move |exporter| exporter.read(resource_type, &id)).await
    }

    /// Asks the exporter of a tenant, on a thread for calls that block.
    pub(crate) async fn ask_source<T: Send + 'static>(
        &self,
        tenant: &TenantId,
        question: impl FnOnce(&dyn Exporter) -> Result<T, ExportError> + Send + 'static,
    ) -> Result<T, SourceReadError> {
        let exporter = self.services().exporters.of(tenant).ok_or(SourceReadError::UnknownTenant)?;
        let asked = self.blocking_pool().spawn_blocking(move || question(&*exporter));
        let answered = self.within(PATIENCE, asked).await.ok_or(SourceReadError::Busy)?;
        match answered {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(ExportError::Busy | ExportError::Cancelled)) => Err(SourceReadError::Busy),
            Ok(Err(error)) => {
                tracing::error!(%error, "the source could not be read");
                Err(SourceReadError::Failed)
            }
            Err(_) => {
                tracing::error!("the exporter panicked over a read");
                Err(SourceReadError::Failed)
            }
        }
    }
}
