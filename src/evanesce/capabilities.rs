//! What clients can ask of exports. The CapabilityStatement and the OperationDefinitions of HTTP say
//! the same (CP-2, CP-5).

use super::Evanesce;
use crate::config::ProtocolProfile;
use crate::config::profile::{exported_under, taken_by};
use crate::fhir::{ExportParameter, ResourceType, search};
use crate::job::{Level, TenantId};

/// What a tenant's exports can be asked for, by the protocol's rules and the settings. HTTP refuses
/// everything else. A host that submits exports itself decides for itself.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce) = example::host().await?;
/// let capabilities = evanesce.capabilities(&"default".parse()?).expect("it has an exporter");
/// let [observation, value_set] = ["Observation", "ValueSet"].map(|name| ResourceType::of(name).unwrap());
/// assert!(capabilities.offers(&Level::Patient));
/// assert!(capabilities.exports(observation, &Level::Patient));
/// assert!(!capabilities.exports(value_set, &Level::Patient) && capabilities.exports(value_set, &Level::System));
/// assert!(capabilities.parameters().any(|name| name == "_typeFilter"));
/// assert!(capabilities.filters(observation).any(|filter| filter == ("status", "token")));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportCapabilities {
    profile: ProtocolProfile,
    has_patient_export: bool,
}

impl ExportCapabilities {
    /// Returns whether there are exports of this level (K-15).
    pub fn offers(&self, level: &Level) -> bool {
        *level != Level::Patient || self.has_patient_export
    }

    /// Returns whether an export of this level may hold resources of a type.
    pub fn exports(&self, resource_type: ResourceType, level: &Level) -> bool {
        resource_type.is_exported_at(level) && exported_under(self.profile, resource_type)
    }

    /// Returns the names of the parameters of a kick-off.
    pub fn parameters(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.export_parameters().map(|parameter| parameter.name)
    }

    /// Returns the search parameters that `_typeFilter` takes for a type, each with its kind, such as
    /// `token`. There are none if the parameter is not taken, or the type is not exported.
    pub fn filters(
        &self,
        resource_type: ResourceType,
    ) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        let has_filters = self.parameters().any(|name| name == "_typeFilter");
        let is_filtered = has_filters && self.exports(resource_type, &Level::System);
        let filters = search::parameters(resource_type).filter(move |_| is_filtered);
        filters.map(|(name, kind)| (name, kind.as_str()))
    }

    /// Returns the parameters of a kick-off with what is said of them.
    pub(crate) fn export_parameters(&self) -> impl Iterator<Item = &'static ExportParameter> + use<> {
        taken_by(self.profile)
    }
}

impl Evanesce {
    /// Returns what exports of a tenant can be asked for, or `None` if there is no such tenant.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// let mut config = config::Config::default();
    /// # let folder = tempfile::tempdir()?;
    /// # config.storage.data_dir = folder.path().into();
    /// config.protocol.patient_export = false;
    /// let evanesce = Evanesce::builder().config(config).exporter(example::Patients).start().await?;
    /// let capabilities = evanesce.capabilities(&"default".parse()?).expect("it has an exporter");
    /// assert!(capabilities.offers(&Level::System) && !capabilities.offers(&Level::Patient));
    /// # Ok(())
    /// # }
    /// ```
    pub fn capabilities(&self, tenant: &TenantId) -> Option<ExportCapabilities> {
        self.services().exporters.of(tenant)?;
        let config = self.config();
        let has_patient_export = config.tenant(tenant).patient_export;
        Some(ExportCapabilities { profile: config.protocol.profile, has_patient_export })
    }
}
