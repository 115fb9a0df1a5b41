//! The applications in force: the last valid version of their file. A version with a mistake, an
//! empty one and a missing file are refused and logged, and the version before stays in force. So
//! an operator's mistake locks nobody out and lets nobody in. [`Watch`](super::Watch) decides when
//! to look, and `revocation` what happens to the jobs of removed applications.

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

/// How long a file that is being written must stay unchanged before it is read.
const SETTLE: Duration = Duration::from_millis(50);

/// The most waits for a file that keeps changing. It is then read as it is.
const LOOKS: u32 = 40;

/// The applications in force. Clones are handles to the same ones.
#[derive(Clone)]
pub struct Applications(Arc<SharedApplications>);

struct SharedApplications {
    path: PathBuf,
    tenants: Option<BTreeSet<TenantId>>,
    current: RwLock<ApplicationsInForce>,
    /// What was read last, in force or not. Locked while reloading.
    seen: Mutex<FileSnapshot>,
}

struct ApplicationsInForce {
    registry: Registry,
    stale: Option<Arc<str>>,
}

/// An application that is no longer active.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeactivatedApplication {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its id.
    pub client_id: ClientId,
}

/// The result of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// Nothing has changed.
    Unchanged,
    /// The file's content is now in force.
    Taken {
        /// Applications that were active before and are no longer, by tenant and id.
        departed: Vec<DeactivatedApplication>,
    },
    /// The file's content cannot be used. What was in force stays.
    Refused {
        /// Why, with the line; also [`Applications::stale`].
        reason: Arc<str>,
    },
}

/// The contents of the file and of the key files that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileSnapshot {
    text: Result<String, String>,
    keys: Vec<(PathBuf, Result<Vec<u8>, String>)>,
}

impl FileSnapshot {
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
    /// Opens a file of applications. Fails if one is of a tenant that is not among `tenants`, if
    /// they are given.
    pub fn open(path: &Path, tenants: Option<BTreeSet<TenantId>>) -> Result<Self, RegistryError> {
        let text = read_text(path, LinkPolicy::Follow, SETTINGS_BYTES);
        let text = text.map_err(|error| RegistryError::Unreadable(path.into(), error))?;
        let registry = Registry::parse(&text, folder_of(path), tenants.as_ref())?;
        let seen = FileSnapshot { text: Ok(text), keys: FileSnapshot::keys(&registry) };
        warn_of(path, &seen);
        let current = RwLock::new(ApplicationsInForce { registry, stale: None });
        Ok(Self(Arc::new(SharedApplications { path: path.into(), tenants, current, seen: Mutex::new(seen) })))
    }

    /// Returns the active application with this id in a tenant. A reload of its file or key file
    /// creates a new `Arc`, so a cache of its keys can notice that it is old.
    pub fn find(&self, tenant: &TenantId, client_id: &ClientId) -> Option<Arc<Application>> {
        self.0.current.read().registry.find(tenant, client_id).filter(|application| application.active)
    }

    /// Returns all applications, active or not, in no order.
    #[cfg(feature = "console")]
    pub(crate) fn all(&self) -> Vec<Arc<Application>> {
        self.0.current.read().registry.all().cloned().collect()
    }

    /// Returns why the current file is not in force, if it is not.
    #[cfg(any(test, feature = "breakpoints", feature = "console"))]
    pub fn stale(&self) -> Option<Arc<str>> {
        self.0.current.read().stale.clone()
    }

    /// Returns whether the current file is not in force.
    #[cfg(any(test, feature = "breakpoints"))]
    pub fn is_stale(&self) -> bool {
        self.stale().is_some()
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Reads the file, and takes it over if it is valid and no longer changing. Blocks for a while
    /// if it has changed.
    pub fn reload(&self) -> ReloadOutcome {
        let mut seen = self.0.seen.lock();
        if self.read_snapshot() == *seen {
            return ReloadOutcome::Unchanged;
        }
        *seen = self.settled();
        let reload = self.take(&mut seen);
        match &reload {
            ReloadOutcome::Taken { departed } => {
                let departed = departed.len();
                tracing::info!(departed, "the applications were reloaded");
                telemetry::applications_read("taken", false);
            }
            ReloadOutcome::Refused { reason } => {
                tracing::error!(%reason, "the applications are refused: those before stay in force");
                telemetry::applications_read("refused", true);
            }
            ReloadOutcome::Unchanged => {}
        }
        reload
    }

    fn read_snapshot(&self) -> FileSnapshot {
        FileSnapshot::at(&self.0.path, &self.0.current.read().registry)
    }

    /// An editor that writes in place exposes half a file for a moment, which may look valid. So
    /// two reads must agree.
    fn settled(&self) -> FileSnapshot {
        let mut look = self.read_snapshot();
        for _ in 0..LOOKS {
            std::thread::sleep(SETTLE);
            let again = self.read_snapshot();
            if again == look {
                break;
            }
            look = again;
        }
        look
    }

    fn take(&self, look: &mut FileSnapshot) -> ReloadOutcome {
        warn_of(&self.0.path, look);
        let before = &self.0.current;
        match self.read(look) {
            Ok(registry) => {
                look.keys = FileSnapshot::keys(&registry);
                let mut current = before.write();
                let departed = departed(&current.registry, &registry);
                *current = ApplicationsInForce { registry, stale: None };
                ReloadOutcome::Taken { departed }
            }
            Err(reason) => {
                let reason: Arc<str> = reason.into();
                before.write().stale = Some(reason.clone());
                ReloadOutcome::Refused { reason }
            }
        }
    }

    fn read(&self, look: &FileSnapshot) -> Result<Registry, String> {
        let path = &self.0.path;
        let unreadable =
            |error| format!("the file of applications {} cannot be read: {error}", path.display());
        let text = look.text.as_ref().map_err(unreadable)?;
        // A program leaves an empty file if it truncates it and stops before it writes.
        if text.trim().is_empty() {
            return Err("the file of applications is empty; a comment alone is not an application".into());
        }
        let registry = Registry::parse(text, folder_of(path), self.0.tenants.as_ref());
        registry.map_err(|error| error.to_string())
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Returns the applications that are active in one registry and not in the next.
fn departed(before: &Registry, after: &Registry) -> Vec<DeactivatedApplication> {
    let is_active = |one: &Application| {
        after.find(&one.tenant, &one.client_id).is_some_and(|application| application.active)
    };
    let gone = before.all().filter(|one| one.active && !is_active(one));
    let mut departed: Vec<_> = gone
        .map(|one| DeactivatedApplication { tenant: one.tenant.clone(), client_id: one.client_id.clone() })
        .collect();
    departed.sort();
    departed
}

/// Warns of what is acceptable but not advisable.
fn warn_of(path: &Path, look: &FileSnapshot) {
    for path in std::iter::once(path).chain(look.keys.iter().map(|(path, _)| path.as_path())) {
        let mode = std::fs::metadata(path).map(|metadata| metadata.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o022 != 0) {
            let path = path.display();
            tracing::warn!(%path, "others than the owner can write the file of applications; chmod go-w it");
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
