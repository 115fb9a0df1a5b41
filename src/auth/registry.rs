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

use serde::Deserialize;
use serde_json::Value;

use super::public_keys::public_keys_of;
use super::{Application, ClientKeys, Groups, Scopes};
use crate::job::{ClientId, TenantId};
use crate::plain_file::{self, LinkPolicy, SETTINGS_BYTES};

/// The applications of all tenants.
#[derive(Debug, Default)]
pub struct Registry {
    applications: HashMap<(TenantId, ClientId), Arc<Application>>,
}

/// Why a file of applications cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The file cannot be read.
    #[error("the file of applications {0} cannot be read: {1}")]
    Unreadable(PathBuf, io::Error),
    /// The file is malformed.
    #[error("the file of applications, line {line}: {reason}")]
    Malformed {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong, without the text of the line: Groups may be named after patients (P12).
        reason: String,
    },
    /// An application is not acceptable.
    #[error("the file of applications, line {line}: {client_id} {reason}")]
    Application {
        /// The line of its table, counted from 1.
        line: usize,
        /// The application's id.
        client_id: ClientId,
        /// What is wrong, and what would be right.
        reason: String,
    },
}

impl Registry {
    /// Reads a file.
    #[cfg(feature = "cli")]
    pub fn open(path: &Path) -> Result<Self, RegistryError> {
        let text = plain_file::read_text(path, LinkPolicy::Follow, SETTINGS_BYTES);
        let text = text.map_err(|error| RegistryError::Unreadable(path.into(), error))?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("")), None)
    }

    /// Parses the text of a file in `folder`, which relative key files start from. Refuses an
    /// application of a tenant that is not among `tenants`, if they are given.
    pub(crate) fn parse(
        text: &str,
        folder: &Path,
        tenants: Option<&BTreeSet<TenantId>>,
    ) -> Result<Self, RegistryError> {
        let file: ApplicationsFile =
            toml_edit::de::from_str(text).map_err(|error| RegistryError::Malformed {
                line: line_at(text, error.span().map(|span| span.start)),
                reason: error.message().replace('\n', "; "),
            })?;
        let mut applications = HashMap::new();
        for (index, entry) in file.application.into_iter().enumerate() {
            let client_id = entry.client_id.clone();
            let refuse = |reason| {
                let line = line_of(text, index);
                RegistryError::Application { line, client_id: client_id.clone(), reason }
            };
            let application = entry.application(folder).map_err(refuse)?;
            let tenant = application.tenant.clone();
            if let Some(tenants) = tenants.filter(|tenants| !tenants.contains(&tenant)) {
                let tenants = tenants.iter().map(TenantId::as_str).collect::<Vec<_>>().join(", ");
                return Err(refuse(format!("is of the tenant {tenant}; there are: {tenants}")));
            }
            let key = (tenant, client_id.clone());
            if let Some(twice) = applications.insert(key, Arc::new(application)) {
                return Err(refuse(format!("is duplicated in the tenant {}", twice.tenant)));
            }
        }
        Ok(Self { applications })
    }

    /// Returns the application with this id in a tenant, active or not.
    pub fn find(&self, tenant: &TenantId, client_id: &ClientId) -> Option<Arc<Application>> {
        self.applications.get(&(tenant.clone(), client_id.clone())).cloned()
    }

    /// Returns all applications, in no particular order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Application>> {
        self.applications.values()
    }
}

/// Returns the line of the application with this index.
fn line_of(text: &str, index: usize) -> usize {
    let begins_at = || {
        let document = toml_edit::Document::parse(text).ok()?;
        let tables = document.get("application")?.as_array_of_tables()?;
        Some(tables.get(index)?.span()?.start)
    };
    line_at(text, begins_at())
}

/// Returns the line of a byte, counted from 1; the first line if the byte is unknown.
fn line_at(text: &str, byte: Option<usize>) -> usize {
    let before = byte.and_then(|byte| text.get(..byte)).unwrap_or_default();
    before.matches('\n').count() + 1
}

/// Parses scopes. The error names the first bad scope without what follows its `?`, which may name
/// a patient (P12).
fn scopes(text: &str) -> Result<Scopes, String> {
    for scope in text.split_ascii_whitespace() {
        if let Err(error) = scope.parse::<Scopes>() {
            return Err(match scope.split_once('?') {
                None => format!("has bad scopes: {error}"),
                Some((scope, _)) => format!("has a scope {scope}?... that cannot be read or not be enforced"),
            });
        }
    }
    text.parse().map_err(|error| format!("has bad scopes: {error}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApplicationsFile {
    #[serde(default)]
    application: Vec<ApplicationEntry>,
}

/// An application as it is written in the file. What is not written is not allowed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApplicationEntry {
    client_id: ClientId,
    tenant: TenantId,
    name: Option<String>,
    #[serde(default = "yes")]
    active: bool,
    scopes: String,
    #[serde(default)]
    groups: GroupList,
    #[serde(default)]
    system_export: bool,
    #[serde(default)]
    patient_export: bool,
    max_active_jobs: Option<usize>,
    #[serde(default)]
    introspection: bool,
    jwks: Option<Value>,
    jwks_file: Option<PathBuf>,
    jwks_url: Option<String>,
}

fn yes() -> bool {
    true
}

/// `"*"` or a list of ids.
#[derive(Deserialize)]
#[serde(untagged)]
enum GroupList {
    Ids(BTreeSet<String>),
    Wildcard(String),
}

impl Default for GroupList {
    fn default() -> Self {
        Self::Ids(BTreeSet::new())
    }
}

impl ApplicationEntry {
    /// Checks the entry and builds the application. Fails with what is wrong and what would be
    /// right.
    fn application(self, folder: &Path) -> Result<Application, String> {
        let keys = match (self.jwks, self.jwks_file, self.jwks_url) {
            (Some(jwks), None, None) => {
                let keys = public_keys_of(&jwks).map_err(|error| format!("has a bad jwks: {error}"))?;
                ClientKeys::Inline(keys.keys)
            }
            (None, Some(file), None) => ClientKeys::File(folder.join(file)),
            (None, None, Some(url)) => ClientKeys::Url(url),
            _ => return Err("should have one of jwks, jwks_file and jwks_url".into()),
        };
        let groups = match self.groups {
            GroupList::Ids(ids) => Groups::Only(ids),
            GroupList::Wildcard(text) if text == "*" => Groups::All,
            GroupList::Wildcard(_) => {
                return Err("has groups that are neither \"*\" nor a list of ids".into());
            }
        };
        Ok(Application {
            scopes: scopes(&self.scopes)?,
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
        let tenants = BTreeSet::from(["t".parse().unwrap(), "u".parse().unwrap()]);
        Registry::parse(text, Path::new("/etc/evanesce"), Some(&tenants))
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
    fn a_mistake_is_told_without_what_may_name_a_patient() {
        let group = format!("{LEAST}jwks_file = 'a'\ngroups = ['smith'");
        let restriction = LEAST.replace("*.rs", "Observation.rs?patient.name=smith") + "jwks_file = 'a'";
        for text in [group, restriction] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains("line ") && !error.contains("smith"), "{error}");
        }
    }

    #[test]
    fn a_file_with_a_mistake_is_refused_with_what_it_is() {
        let cases = [
            (LEAST.to_owned(), "should have one of jwks, jwks_file and jwks_url"),
            (format!("{LEAST}jwks_file = 'a'\njwks_url = 'b'"), "should have one of"),
            (format!("{LEAST}jwks_file = 'a'\ngroups = 'all'"), "neither"),
            (format!("{LEAST}jwks_file = 'a'\ngroup = 'all'"), "group"),
            (
                format!("{LEAST}jwks_file = 'a'\n{LEAST}jwks_file = 'a'"),
                "line 6: a is duplicated in the tenant t",
            ),
            (format!("# v\n{}jwks_file = 'a'", LEAST.replace("'t'", "'v'")), "line 2: a is of the tenant v"),
            (LEAST.replace("'t'", "'v'") + "jwks_file = 'a'", "there are: t, u"),
            (format!("{LEAST}jwks_file = 'a'\nname = 3"), "line 6"),
            (LEAST.replace("*.rs", "*.sr") + "jwks_file = 'a'", "line 1: a has bad scopes: 'system/*.sr'"),
            (LEAST.replace("'t'", "'t/u'"), "tenant"),
        ];
        for (text, expected) in cases {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
