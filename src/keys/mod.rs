//! The keys that jobs are encrypted with, kept where they can really be destroyed: a destroyed key
//! takes with it every copy of what it encrypted (P14). This room knows neither directories nor
//! erasures; [`erase`](crate::erase) decides when a key goes.

mod epoch_keys;
mod slots;
mod store;

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::config::Config;
use crate::hooks::Hooks;
use crate::job::{JobId, KeyDestruction};
use crate::plain_file::{self, LinkPolicy};

pub use epoch_keys::{EpochKey, EpochKeyFiles, EpochKeys};
pub use store::{KeyStore, KeyStoreStatus};

/// The name of the folder in the data directory.
pub const FOLDER: &str = "keys";

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// The data key of one job. It is wiped from memory when dropped.
#[derive(Clone)]
pub struct JobKey(Zeroizing<[u8; KEY_BYTES]>);

impl JobKey {
    /// Creates a key of these bytes.
    #[cfg(any(test, feature = "breakpoints"))]
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JobKey(..)")
    }
}

/// What is known of a job's key.
#[derive(Debug, Clone)]
pub enum KeyState {
    /// It is there.
    Live(JobKey),
    /// It was destroyed.
    #[allow(dead_code, reason = "an erasure is told when by `destroy`; only tests ask here")]
    Destroyed(KeyDestruction),
    /// The keys are whole and there is none of this job: it was never encrypted, or its key is gone.
    Absent,
    /// Nobody can say: the key of the epoch is not there, or the file of keys is damaged.
    Unavailable,
}

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(unnameable_types, reason = "only converted into what is public")]
pub enum KeysError {
    /// A file of keys could not be read or written.
    #[error("{operation} {name}: {source}")]
    Io {
        /// The operation that failed.
        operation: &'static str,
        /// The name of the file, relative to its folder.
        name: String,
        /// What went wrong.
        source: io::Error,
    },
    /// The system has no randomness.
    #[error("the system has no randomness for a key")]
    NoRandomness,
    /// The job has a key already.
    #[error("{job} has a key already")]
    Exists {
        /// The job.
        job: JobId,
    },
    /// The key of the epoch went while it was used.
    #[error("the key of epoch {epoch} went away")]
    EpochKeyLost {
        /// The epoch.
        epoch: u64,
    },
    /// The keys were only looked at.
    #[error("the keys were only looked at")]
    NotInUse,
}

/// Opens the keys of the data directory of these settings, as [`KeyStore::open`] does.
///
/// # Errors
/// As [`KeyStore::open`].
pub fn open(config: &Config, clock: Clock, hooks: Hooks) -> Result<KeyStore, KeysError> {
    KeyStore::open(&folder(config), provider(config)?, clock, hooks)
}

/// Looks at them, as [`KeyStore::look`] does.
///
/// # Errors
/// As [`KeyStore::look`].
#[cfg(any(feature = "cli", feature = "breakpoints"))]
pub fn look(config: &Config) -> Result<KeyStore, KeysError> {
    KeyStore::look(&folder(config), provider(config)?, Clock::system())
}

fn folder(config: &Config) -> PathBuf {
    config.storage.data_dir.join(FOLDER)
}

/// Returns where the keys of epochs are.
fn provider(config: &Config) -> Result<Box<dyn EpochKeys>, KeysError> {
    Ok(Box::new(EpochKeyFiles::open(&epochs_folder(config))?))
}

/// Returns the folder of the keys of epochs.
pub fn epochs_folder(config: &Config) -> PathBuf {
    config.keys.folder.clone().unwrap_or_else(|| folder(config))
}

impl KeysError {
    fn io(operation: &'static str, name: &str) -> impl FnOnce(io::Error) -> Self + use<> {
        let name = name.to_owned();
        move |source| Self::Io { operation, name, source }
    }
}

/// Keeps what kind of error the file system had, so that a full disk is one.
impl From<KeysError> for io::Error {
    fn from(error: KeysError) -> Self {
        match &error {
            KeysError::Io { source, .. } => Self::new(source.kind(), error),
            _ => Self::other(error),
        }
    }
}

/// Overwrites a file with zeros, durably, and unlinks it. The unlink is durable after a sync of the
/// folder. A file that is gone is a success.
fn overwrite(path: &Path) -> io::Result<()> {
    let file = match plain_file::open_with(OpenOptions::new().write(true), path, LinkPolicy::Refuse) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let zeros = [0; 1 << 16];
    let (mut at, length) = (0, file.metadata()?.len());
    while at < length {
        let bytes = zeros.len().min(usize::try_from(length - at).unwrap_or(zeros.len()));
        file.write_all_at(&zeros[..bytes], at)?;
        at += bytes as u64;
    }
    file.sync_all()?;
    plain_file::remove(path)
}

/// The keys of jobs. Calls that change something block, and have made it durable when they return.
pub trait JobKeys: Send + Sync {
    /// Makes a random key for a job that has none.
    ///
    /// # Errors
    /// Fails if it cannot be kept durably. Then the job has no key.
    fn create(&self, job: JobId) -> Result<JobKey, KeysError>;

    /// Returns what is known of a job's key. Does not block.
    fn find(&self, job: JobId) -> KeyState;

    /// Destroys keys. Returns for each job when that was, also if it was before; `None` for a job that
    /// has no key.
    ///
    /// # Errors
    /// Fails if it is not certain that all are destroyed. It may be tried again.
    fn destroy(&self, jobs: &[JobId]) -> Result<Vec<Option<KeyDestruction>>, KeysError>;
}
