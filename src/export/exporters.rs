//! Which exporter serves which tenant. Each exporter is wrapped in [`WithNotices`]. A tenant
//! without an exporter does not exist: its kick-offs are refused, and its interrupted jobs fail.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Exporter, WithNotices};
use crate::job::TenantId;

/// The exporters of an instance, by tenant.
#[derive(Default)]
pub struct Exporters {
    own: HashMap<TenantId, Arc<dyn Exporter>>,
    common: Option<(Arc<dyn Exporter>, ServedTenants)>,
}

/// The tenants that share the common exporter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServedTenants {
    /// Every tenant without an exporter of its own.
    All,
    /// The tenants of this set without an exporter of their own.
    Only(HashSet<TenantId>),
}

impl ServedTenants {
    fn has(&self, tenant: &TenantId) -> bool {
        match self {
            Self::All => true,
            Self::Only(tenants) => tenants.contains(tenant),
        }
    }
}

impl Exporters {
    /// Adds an exporter for `tenant` alone.
    pub fn with_own(mut self, tenant: TenantId, exporter: Arc<dyn Exporter>) -> Self {
        self.own.insert(tenant, Arc::new(WithNotices::new(exporter)));
        self
    }

    /// Sets the exporter for tenants without an exporter of their own.
    pub fn with_common(mut self, exporter: Arc<dyn Exporter>, served: ServedTenants) -> Self {
        self.common = Some((Arc::new(WithNotices::new(exporter)), served));
        self
    }

    /// Returns the exporter of a tenant, or `None` if the tenant does not exist.
    pub fn of(&self, tenant: &TenantId) -> Option<Arc<dyn Exporter>> {
        let common = || self.common.as_ref().filter(|(_, served)| served.has(tenant)).map(|(it, _)| it);
        self.own.get(tenant).or_else(common).cloned()
    }

    /// Returns the tenants with an exporter of their own.
    pub fn own_tenants(&self) -> impl Iterator<Item = &TenantId> {
        self.own.keys()
    }

    /// Tells each exporter that the instance is going down ([`Exporter::stop`]).
    pub fn stop(&self) {
        let common = self.common.iter().map(|(exporter, _)| exporter);
        self.own.values().chain(common).for_each(|exporter| exporter.stop());
    }
}
