//! Which exporter serves which tenant. Around each stands [`WithNotices`]. A tenant that none
//! serves is not there: kick-offs of it are refused, and its interrupted jobs fail.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Exporter, WithNotices};
use crate::job::TenantId;

/// See the module.
#[derive(Default)]
pub struct Exporters {
    own: HashMap<TenantId, Arc<dyn Exporter>>,
    common: Option<(Arc<dyn Exporter>, Served)>,
}

/// Whom an exporter serves that several tenants have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    /// Every tenant that has none of its own.
    All,
    /// Those of these that have none of their own.
    Only(HashSet<TenantId>),
}

impl Served {
    fn has(&self, tenant: &TenantId) -> bool {
        match self {
            Self::All => true,
            Self::Only(tenants) => tenants.contains(tenant),
        }
    }
}

impl Exporters {
    /// The same, with one for `tenant` alone.
    pub fn with_own(mut self, tenant: TenantId, exporter: Arc<dyn Exporter>) -> Self {
        self.own.insert(tenant, Arc::new(WithNotices::new(exporter)));
        self
    }

    /// The same, with one for those that have none of their own.
    pub fn with_common(mut self, exporter: Arc<dyn Exporter>, served: Served) -> Self {
        self.common = Some((Arc::new(WithNotices::new(exporter)), served));
        self
    }

    /// The exporter of a tenant; `None` if there is no such tenant.
    pub fn of(&self, tenant: &TenantId) -> Option<Arc<dyn Exporter>> {
        let common = || self.common.as_ref().filter(|(_, served)| served.has(tenant)).map(|(it, _)| it);
        self.own.get(tenant).or_else(common).cloned()
    }

    /// The tenants that have one of their own.
    pub fn own_tenants(&self) -> impl Iterator<Item = &TenantId> {
        self.own.keys()
    }

    /// Tells each that the instance is going down ([`Exporter::stop`]).
    pub fn stop(&self) {
        let common = self.common.iter().map(|(exporter, _)| exporter);
        self.own.values().chain(common).for_each(|exporter| exporter.stop());
    }
}
