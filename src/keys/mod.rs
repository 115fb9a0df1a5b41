//! The keys that jobs are encrypted with, kept where they can really be destroyed: a destroyed key
//! takes with it every copy of what it encrypted (P14). This room knows neither directories nor
//! erasures; [`erase`](crate::erase) decides when a key goes.

use std::fmt;
use std::io;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::job::JobId;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// The data key of one job. It is wiped from memory when dropped.
#[derive(Clone)]
pub struct JobKey(Zeroizing<[u8; KEY_BYTES]>);

impl JobKey {
    /// Creates a key of these bytes.
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

/// The destruction of a job's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyDestruction {
    /// When the wrapped key was overwritten, durably.
    pub at: Timestamp,
    /// The epoch whose key had wrapped it. Once that is destroyed too, no copy of anything opens the job.
    pub epoch: u64,
}

/// What is known of a job's key.
#[derive(Debug, Clone)]
pub enum KeyState {
    /// It is there.
    Live(JobKey),
    /// It was destroyed.
    Destroyed(KeyDestruction),
    /// The keys are whole and there is none of this job: it was never encrypted, or its key is gone.
    Absent,
    /// Nobody can say: the key of the epoch is not there, or the file of keys is damaged.
    Unavailable,
}

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
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
