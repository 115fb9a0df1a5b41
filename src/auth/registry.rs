//! The file of population applications (TOML), one `[[application]]` each:
//!
//! ```toml
//! [[application]]
//! client_id = "acme-analytics"
//! tenant = "default"
//! scopes = "system/*.rs"
//! groups = ["cohort-1"]        # or "*"
//! patient_export = true
//! jwks_url = "https://acme.example/jwks.json"   # or jwks_file, or jwks
//! ```

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonwebtoken::jwk::JwkSet;
use serde::Deserialize;

use super::{Application, ClientKeys, Groups};
use crate::job::{ClientId, TenantId};

/// The applications of all tenants.
#[derive(Debug, Default)]
pub struct Registry {
    applications: HashMap<(TenantId, ClientId), Arc<Application>>,
}

/// Why a file of applications cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It cannot be read.
    #[error("the file of applications {0} cannot be read: {1}")]
    Unreadable(PathBuf, io::Error),
    /// It is not what it should be.
    #[error("the file of applications: {0}")]
    Malformed(#[from] toml_edit::de::Error),
    /// An application makes no sense.
    #[error("the file of applications: {client_id} {reason}")]
    Application {
        /// Which.
        client_id: ClientId,
        /// What is wrong, and what would be right.
        reason: String,
    },
}

impl Registry {
    /// Reads a file.
    pub fn open(path: &Path) -> Result<Self, RegistryError> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| RegistryError::Unreadable(path.into(), error))?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("")))
    }

    /// Reads the text of a file in `folder`, where its key files are looked for.
    fn parse(text: &str, folder: &Path) -> Result<Self, RegistryError> {
        let file: File = toml_edit::de::from_str(text)?;
        let mut applications = HashMap::new();
        for entry in file.application {
            let application = entry.application(folder)?;
            let key = (application.tenant.clone(), application.client_id.clone());
            if let Some(twice) = applications.insert(key, Arc::new(application)) {
                let reason = format!("is there twice in the tenant {}", twice.tenant);
                return Err(RegistryError::Application { client_id: twice.client_id.clone(), reason });
            }
        }
        Ok(Self { applications })
    }

    /// The application of that name in a tenant, active or not.
    pub fn find(&self, tenant: &TenantId, client_id: &ClientId) -> Option<Arc<Application>> {
        self.applications.get(&(tenant.clone(), client_id.clone())).cloned()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    application: Vec<Entry>,
}

/// An application as it is written. What is not said is not allowed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    client_id: ClientId,
    tenant: TenantId,
    name: Option<String>,
    #[serde(default = "yes")]
    active: bool,
    scopes: String,
    #[serde(default)]
    groups: Listed,
    #[serde(default)]
    system_export: bool,
    #[serde(default)]
    patient_export: bool,
    max_active_jobs: Option<usize>,
    #[serde(default)]
    introspection: bool,
    jwks: Option<JwkSet>,
    jwks_file: Option<PathBuf>,
    jwks_url: Option<String>,
}

fn yes() -> bool {
    true
}

/// `"*"` or a list of ids.
#[derive(Deserialize)]
#[serde(untagged)]
enum Listed {
    Ids(BTreeSet<String>),
    Wildcard(String),
}

impl Default for Listed {
    fn default() -> Self {
        Self::Ids(BTreeSet::new())
    }
}

impl Entry {
    fn application(self, folder: &Path) -> Result<Application, RegistryError> {
        let client_id = self.client_id.clone();
        let refuse = |reason: String| RegistryError::Application { client_id: client_id.clone(), reason };
        let keys = match (self.jwks, self.jwks_file, self.jwks_url) {
            (Some(jwks), None, None) => ClientKeys::Inline(jwks),
            (None, Some(file), None) => ClientKeys::File(folder.join(file)),
            (None, None, Some(url)) => ClientKeys::Url(url),
            _ => return Err(refuse("should have one of jwks, jwks_file and jwks_url".into())),
        };
        let groups = match self.groups {
            Listed::Ids(ids) => Groups::Only(ids),
            Listed::Wildcard(text) if text == "*" => Groups::All,
            Listed::Wildcard(_) => {
                return Err(refuse("has groups that are neither \"*\" nor a list of ids".into()));
            }
        };
        Ok(Application {
            scopes: self.scopes.parse().map_err(|error| refuse(format!("has bad scopes: {error}")))?,
            tenant: self.tenant,
            client_id: self.client_id,
            name: self.name,
            active: self.active,
            keys,
            groups,
            system_export: self.system_export,
            patient_export: self.patient_export,
            max_active_jobs: self.max_active_jobs,
            introspection: self.introspection,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Level;

    fn parse(text: &str) -> Result<Registry, RegistryError> {
        Registry::parse(text, Path::new("/etc/evanesce"))
    }

    const LEAST: &str = "[[application]]\nclient_id = 'a'\ntenant = 't'\nscopes = 'system/*.rs'\n";

    #[test]
    fn what_is_not_said_is_not_allowed() {
        let registry = parse(&format!("{LEAST}jwks_file = 'a.json'")).unwrap();
        let find =
            |tenant: &str, client: &str| registry.find(&tenant.parse().unwrap(), &client.parse().unwrap());
        let application = find("t", "a").unwrap();
        assert!(application.active);
        assert_eq!(application.keys, ClientKeys::File("/etc/evanesce/a.json".into()));
        for level in [Level::System, Level::Patient, Level::Group { id: "g".into() }] {
            assert!(!application.may_export(&level), "{level:?}");
        }
        assert!(find("t", "b").is_none() && find("u", "a").is_none());
        let more =
            format!("{LEAST}jwks_url = 'https://h/k'\ngroups = '*'\nsystem_export = true\nactive = false");
        let registry = parse(&more).unwrap();
        let application = registry.find(&"t".parse().unwrap(), &"a".parse().unwrap()).unwrap();
        assert!(!application.active && application.may_export(&Level::System));
        assert!(application.may_export(&Level::Group { id: "g".into() }));
        assert!(!application.may_export(&Level::Patient));
    }

    #[test]
    fn a_file_with_a_mistake_is_refused_with_what_it_is() {
        let cases = [
            (LEAST.to_owned(), "should have one of jwks, jwks_file and jwks_url"),
            (format!("{LEAST}jwks_file = 'a'\njwks_url = 'b'"), "should have one of"),
            (format!("{LEAST}jwks_file = 'a'\ngroups = 'all'"), "neither"),
            (format!("{LEAST}jwks_file = 'a'\ngroup = 'all'"), "group"),
            (format!("{LEAST}jwks_file = 'a'\n{LEAST}jwks_file = 'a'"), "a is there twice in the tenant t"),
            (LEAST.replace("*.rs", "*.sr") + "jwks_file = 'a'", "a has bad scopes: 'system/*.sr'"),
            (LEAST.replace("'t'", "'t/u'"), "tenant"),
        ];
        for (text, expected) in cases {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
