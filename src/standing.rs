//! Checks whether the files that the running server holds open are still in the data directory. What
//! was removed, renamed or replaced is still open, but the next start would not find it. Each pass of
//! the reaper checks, and `/readyz` is red while something is missing.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use crate::audit::{self, AuditLog};
use crate::files::DirPlace;
use crate::lock::{self, DirLock};
use crate::receipts::{self, ReceiptChain};

/// The log of the store. Without it no commit survives the process.
pub const STORE: &str = "store/db";

/// The name of the data directory itself in [`OwnFileBaseline::missing`].
const DATA_DIR: &str = ".";

/// The server's own files in the data directory, as they were at the start.
pub struct OwnFileBaseline {
    data_dir: PathBuf,
    kept: Vec<(&'static str, FileIdentity)>,
    /// The lock's owner may be dropped before this is.
    lock: Weak<DirLock>,
}

/// The outcome of a check of the server's own files.
#[derive(Debug, PartialEq, Eq)]
pub enum OwnFilesLook {
    /// These names are missing or mean something else; empty if all is well.
    Missing(Vec<&'static str>),
    /// Why nothing can be promised any more.
    Fatal(&'static str),
}

/// Identifies a file, whatever its name.
type FileIdentity = (u64, u64);

fn identity(metadata: &Metadata) -> FileIdentity {
    (metadata.dev(), metadata.ino())
}

impl OwnFileBaseline {
    /// Notes the files that are there now.
    ///
    /// # Errors
    /// Fails if a file is missing.
    pub fn note(data_dir: &Path, lock: &Arc<DirLock>) -> io::Result<Self> {
        let places = DirPlace::ALL.map(DirPlace::name);
        let names = [DATA_DIR, STORE].into_iter().chain(places);
        let note = |name| Ok((name, identity(&std::fs::symlink_metadata(data_dir.join(name))?)));
        let kept = names.map(note).collect::<io::Result<_>>()?;
        Ok(Self { data_dir: data_dir.into(), kept, lock: Arc::downgrade(lock) })
    }

    /// Checks the files, and creates a missing lock anew. Blocks.
    pub fn look(&self) -> OwnFilesLook {
        let mut missing = self.missing();
        // Once more: it may have been renamed between two names.
        if missing.contains(&DATA_DIR) || self.missing().contains(&DATA_DIR) {
            // What is in its place is somebody else's.
            return OwnFilesLook::Missing(missing);
        }
        if missing.contains(&STORE) {
            return OwnFilesLook::Fatal("the store was removed or replaced under the running server");
        }
        match self.lock.upgrade().map(|lock| lock.keep()) {
            None | Some(Ok(true)) => {}
            Some(Err(error)) if error.kind() == io::ErrorKind::ResourceBusy => {
                return OwnFilesLook::Fatal("another process has taken the data directory");
            }
            Some(made) => {
                tracing::error!(?made, "the lock of the data directory was removed or replaced");
                missing.push(lock::FILE_NAME);
            }
        }
        OwnFilesLook::Missing(missing)
    }

    /// Returns the names that are missing, or mean something else.
    fn missing(&self) -> Vec<&'static str> {
        let stands = |name: &str, kept: &FileIdentity| {
            std::fs::symlink_metadata(self.data_dir.join(name)).is_ok_and(|now| identity(&now) == *kept)
        };
        self.kept.iter().filter(|(name, kept)| !stands(name, kept)).map(|(name, _)| *name).collect()
    }
}

/// All of the server's own files that a pass checks: those in the data directory, the receipts and the
/// audit log.
pub struct OwnFiles {
    standing: Arc<OwnFileBaseline>,
    receipts: Arc<dyn ReceiptChain>,
    audit: Arc<AuditLog>,
}

impl OwnFiles {
    /// Combines these witnesses.
    pub fn new(
        standing: &Arc<OwnFileBaseline>,
        receipts: &Arc<dyn ReceiptChain>,
        audit: &Arc<AuditLog>,
    ) -> Self {
        Self { standing: standing.clone(), receipts: receipts.clone(), audit: audit.clone() }
    }

    /// Checks the files, and begins a missing audit log anew. Blocks.
    pub fn look(&self) -> OwnFilesLook {
        let mut missing = match self.standing.look() {
            OwnFilesLook::Missing(missing) => missing,
            fatal => return fatal,
        };
        missing.extend((!self.receipts.is_in_place()).then_some(receipts::FILE_NAME));
        missing.extend((!self.audit.attend()).then_some(audit::FOLDER));
        OwnFilesLook::Missing(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_renamed_or_replaced_is_missing_until_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        for name in ["building", "ready", "trash", "store"] {
            std::fs::create_dir_all(data_dir.join(name)).unwrap();
        }
        std::fs::write(data_dir.join(STORE), "log").unwrap();
        let lock = Arc::new(DirLock::take(&data_dir).unwrap().unwrap());
        let standing = OwnFileBaseline::note(&data_dir, &lock).unwrap();
        assert_eq!(standing.missing(), [""; 0]);
        std::fs::remove_dir(data_dir.join("trash")).unwrap();
        assert_eq!(standing.missing(), ["trash"]);
        std::fs::rename(data_dir.join("ready"), data_dir.join("ready.old")).unwrap();
        std::fs::create_dir(data_dir.join("ready")).unwrap();
        assert_eq!(standing.missing(), ["ready", "trash"]);
        std::fs::remove_dir(data_dir.join("ready")).unwrap();
        std::fs::rename(data_dir.join("ready.old"), data_dir.join("ready")).unwrap();
        std::fs::rename(data_dir.join("store"), data_dir.join("store.old")).unwrap();
        assert_eq!(standing.missing(), [STORE, "trash"]);
        assert!(matches!(standing.look(), OwnFilesLook::Fatal(_)));
        std::fs::rename(&data_dir, folder.path().join("elsewhere")).unwrap();
        assert_eq!(standing.look(), OwnFilesLook::Missing(vec![".", STORE, "building", "ready", "trash"]));
    }

    #[test]
    fn a_lock_that_is_removed_is_made_again_and_one_that_another_process_took_is_fatal() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path();
        for name in ["building", "ready", "trash", "store"] {
            std::fs::create_dir(data_dir.join(name)).unwrap();
        }
        std::fs::write(data_dir.join(STORE), "log").unwrap();
        let lock = Arc::new(DirLock::take(data_dir).unwrap().unwrap());
        let standing = OwnFileBaseline::note(data_dir, &lock).unwrap();
        std::fs::remove_file(data_dir.join(lock::FILE_NAME)).unwrap();
        assert_eq!(standing.look(), OwnFilesLook::Missing(vec![lock::FILE_NAME]));
        assert_eq!(standing.look(), OwnFilesLook::Missing(Vec::new()));
        assert!(DirLock::take(data_dir).unwrap().is_none(), "nobody else gets it");
        std::fs::remove_file(data_dir.join(lock::FILE_NAME)).unwrap();
        let other = DirLock::take(data_dir).unwrap().unwrap();
        assert!(matches!(standing.look(), OwnFilesLook::Fatal(_)));
        drop(other);
    }
}
