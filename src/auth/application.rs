//! A population application: a client of one tenant, with its keys and what it may have (RG-1).

use std::collections::BTreeSet;
use std::path::PathBuf;

use jsonwebtoken::jwk::JwkSet;

use super::Scopes;
use crate::job::{ClientId, Level, TenantId};

/// A registered application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// The tenant whose data it may have.
    pub tenant: TenantId,
    /// Its id at the token endpoint, unique within its tenant.
    pub client_id: ClientId,
    /// Its name for people.
    pub name: Option<String>,
    /// Whether it may do anything. An inactive application is answered like an unknown one.
    pub active: bool,
    /// Its public keys.
    pub keys: ClientKeys,
    /// The most scopes that it can be granted (SCP-1).
    pub scopes: Scopes,
    /// The Groups that it may export and read.
    pub groups: Groups,
    /// Whether it may export the whole system.
    pub system_export: bool,
    /// Whether it may export all patients (K-15).
    pub patient_export: bool,
    /// The most jobs of it that may be queued or running; `None` = the limit of any client.
    pub max_active_jobs: Option<usize>,
    /// Whether it may introspect tokens of its tenant.
    pub introspection: bool,
}

/// Where the public keys of an application are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientKeys {
    /// In the file of applications.
    Inline(JwkSet),
    /// In a file of their own.
    File(PathBuf),
    /// At a URL of the application (RG-2).
    Url(String),
}

/// Some Groups, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Groups {
    /// All Groups of the tenant.
    All,
    /// The Groups with these ids.
    Only(BTreeSet<String>),
}

impl Groups {
    /// Returns whether the Group with this id is included.
    pub fn has(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(ids) => ids.contains(id),
        }
    }
}

impl Application {
    /// Returns whether the application may call this operation, whatever its token's scopes are.
    pub fn may_export(&self, level: &Level) -> bool {
        match level {
            Level::System => self.system_export,
            Level::Patient => self.patient_export,
            Level::Group { id } => self.groups.has(id),
        }
    }
}
