//! The applications in force: the file as it was when it was last right. A version with a
//! mistake, an empty one and a file that is gone are refused and told, and the version before
//! stays in force: a mistake of the operator locks nobody out and lets nobody in. When to look
//! is [`Watch`](super::Watch)'s matter, what is done about those that went is `revocation`'s.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::{Application, ClientKeys, Registry, RegistryError, public_keys};
use crate::job::{ClientId, TenantId};
use crate::plain_file::{LinkPolicy, SETTINGS_BYTES, read, read_text};
use crate::telemetry;

/// A file that is being written is let alone until it looks the same this long.
const SETTLE: Duration = Duration::from_millis(50);

/// Looks at a file that never comes to rest before it is taken as it is.
const LOOKS: u32 = 40;

/// See the module. Clones are handles on the same applications.
#[derive(Clone)]
pub struct Applications(Arc<Shared>);

struct Shared {
    path: PathBuf,
    tenants: Option<BTreeSet<TenantId>>,
    current: RwLock<Current>,
    /// What was looked at last, in force or not; held by whoever reloads.
    seen: Mutex<Look>,
}

struct Current {
    registry: Registry,
    stale: Option<Arc<str>>,
}

/// An application that was active and is not any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Departed {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its name.
    pub client_id: ClientId,
}

/// What a second look at the file gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// Nothing had changed since the last look.
    Unchanged,
    /// What is there now is in force.
    Taken {
        /// Those that were active before and are not now, by tenant and name.
        departed: Vec<Departed>,
    },
    /// What is there now cannot be used; what was in force stays.
    Refused {
        /// Why, with the line; also [`Applications::stale`].
        reason: Arc<str>,
    },
}

/// What stood in the file and in the key files that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    text: Result<String, String>,
    keys: Vec<(PathBuf, Result<Vec<u8>, String>)>,
}

impl Look {
    fn at(path: &Path, registry: &Registry) -> Self {
        let text = read_text(path, LinkPolicy::Follow, SETTINGS_BYTES).map_err(|error| error.to_string());
        Self { text, keys: Self::keys(registry) }
    }

    fn keys(registry: &Registry) -> Vec<(PathBuf, Result<Vec<u8>, String>)> {
        let files = registry.all().filter_map(|application| match &application.keys {
            ClientKeys::File(path) => Some(path.clone()),
            ClientKeys::Inline(_) | ClientKeys::Url(_) => None,
        });
        let files: BTreeSet<_> = files.collect();
        let read = |path: &PathBuf| {
            read(path, LinkPolicy::Follow, SETTINGS_BYTES).map_err(|error| error.to_string())
        };
        files.into_iter().map(|path| (path.clone(), read(&path))).collect()
    }
}

impl Applications {
    /// The applications of a file; those of tenants that are not among `tenants` make an error,
    /// if they are given.
    pub fn open(path: &Path, tenants: Option<BTreeSet<TenantId>>) -> Result<Self, RegistryError> {
        let text = read_text(path, LinkPolicy::Follow, SETTINGS_BYTES);
        let text = text.map_err(|error| RegistryError::Unreadable(path.into(), error))?;
        let registry = Registry::parse(&text, folder_of(path), tenants.as_ref())?;
        let seen = Look { text: Ok(text), keys: Look::keys(&registry) };
        warn_of(path, &seen);
        let current = RwLock::new(Current { registry, stale: None });
        Ok(Self(Arc::new(Shared { path: path.into(), tenants, current, seen: Mutex::new(seen) })))
    }

    /// The active application of that name in a tenant. What is not active is not there. One
    /// whose file or key file was read anew is another `Arc`: what is kept of its keys is old.
    pub fn find(&self, tenant: &TenantId, client_id: &ClientId) -> Option<Arc<Application>> {
        self.0.current.read().registry.find(tenant, client_id).filter(|application| application.active)
    }

    /// Why the file as it is now is not in force, if it is not.
    pub fn stale(&self) -> Option<Arc<str>> {
        self.0.current.read().stale.clone()
    }

    /// Whether something else is in force than what stands in the file now.
    pub fn is_stale(&self) -> bool {
        self.stale().is_some()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Looks at the file, and takes what is there if it is right and has come to rest. Blocks
    /// for some time when it has changed.
    pub fn reload(&self) -> Reload {
        let mut seen = self.0.seen.lock();
        if self.look() == *seen {
            return Reload::Unchanged;
        }
        *seen = self.settled();
        let reload = self.take(&mut seen);
        match &reload {
            Reload::Taken { departed } => {
                let departed = departed.len();
                tracing::info!(departed, "the applications were read anew");
                telemetry::applications_read("taken", false);
            }
            Reload::Refused { reason } => {
                tracing::error!(%reason, "the applications are refused: those before stay in force");
                telemetry::applications_read("refused", true);
            }
            Reload::Unchanged => {}
        }
        reload
    }

    fn look(&self) -> Look {
        Look::at(&self.0.path, &self.0.current.read().registry)
    }

    /// An editor that writes in place shows half a file for a moment, and half a file may look
    /// right: two looks must show the same.
    fn settled(&self) -> Look {
        let mut look = self.look();
        for _ in 0..LOOKS {
            std::thread::sleep(SETTLE);
            let again = self.look();
            if again == look {
                break;
            }
            look = again;
        }
        look
    }

    fn take(&self, look: &mut Look) -> Reload {
        warn_of(&self.0.path, look);
        let before = &self.0.current;
        match self.read(look) {
            Ok(registry) => {
                look.keys = Look::keys(&registry);
                let mut current = before.write();
                let departed = departed(&current.registry, &registry);
                *current = Current { registry, stale: None };
                Reload::Taken { departed }
            }
            Err(reason) => {
                let reason: Arc<str> = reason.into();
                before.write().stale = Some(reason.clone());
                Reload::Refused { reason }
            }
        }
    }

    fn read(&self, look: &Look) -> Result<Registry, String> {
        let path = &self.0.path;
        let unreadable =
            |error| format!("the file of applications {} cannot be read: {error}", path.display());
        let text = look.text.as_ref().map_err(unreadable)?;
        // What a program leaves that truncates a file and is stopped before it writes.
        if text.trim().is_empty() {
            return Err("the file of applications is empty; a comment alone is no application".into());
        }
        let registry = Registry::parse(text, folder_of(path), self.0.tenants.as_ref());
        registry.map_err(|error| error.to_string())
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Those that are active in one registry and not in the next.
fn departed(before: &Registry, after: &Registry) -> Vec<Departed> {
    let is_active = |one: &Application| {
        after.find(&one.tenant, &one.client_id).is_some_and(|application| application.active)
    };
    let gone = before.all().filter(|one| one.active && !is_active(one));
    let mut departed: Vec<_> =
        gone.map(|one| Departed { tenant: one.tenant.clone(), client_id: one.client_id.clone() }).collect();
    departed.sort();
    departed
}

/// Says what is no reason to refuse a file, and had better not be.
fn warn_of(path: &Path, look: &Look) {
    for path in std::iter::once(path).chain(look.keys.iter().map(|(path, _)| path.as_path())) {
        let mode = std::fs::metadata(path).map(|metadata| metadata.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o022 != 0) {
            let path = path.display();
            tracing::warn!(%path, "others than the owner can write who may have the data: chmod go-w");
        }
    }
    for (path, bytes) in &look.keys {
        let keys = bytes
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|bytes| public_keys(bytes).map_err(|error| error.to_string()));
        if let Err(error) = keys {
            tracing::warn!(path = %path.display(), error, "a file of keys cannot be used");
        }
    }
}
