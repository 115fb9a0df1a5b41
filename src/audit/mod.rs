//! The audit log: who did what, as R4 AuditEvents in hash-chained NDJSON files, `audit/` in the
//! data directory. Recording never fails a request and never waits for the disk: one `write` of a
//! whole line, so that a kill loses nothing that was recorded; a thread of the log syncs, so that a
//! power loss loses what `audit.sync_interval` says at most. What could not be written is counted,
//! and the log says itself that it is missing. The proof of an erasure is its receipt (P9).

mod describe;
mod download;
mod event;
mod flood;
mod line;
mod open;
mod retention;
mod sync;
#[cfg(test)]
mod tests;
mod walk;
mod witness;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

#[cfg(test)]
use crate::chain::ChainHead;
use crate::clock::Clock;
use crate::config::AuditConfig;
use sync::SharedLog;

pub use download::AuditedDownload;
pub use event::{AuditedCaller, AuditedEvent, DownloadEnding};
pub use line::LineFacts;
pub use walk::{AuditLine, AuditSummary, ChainBreak, walk};
pub use witness::{LastWitnessed, WitnessedDeletion, deletions, latest};

/// The name of the folder in the data directory.
pub const FOLDER: &str = "audit";

/// Why the log cannot be read, or not be used.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {name}: {source}")]
#[allow(unnameable_types, reason = "only converted into what is public")]
pub struct AuditError {
    operation: &'static str,
    name: String,
    source: io::Error,
}

impl AuditError {
    /// Of an operation on the last name of `path`.
    fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        move |source| Self { operation, name, source }
    }
}

/// The log of an instance, or none, if `audit.enabled` is false.
pub struct AuditLog(Option<OpenLog>);

struct OpenLog {
    shared: Arc<SharedLog>,
    syncer: Mutex<Option<JoinHandle<()>>>,
}

impl AuditLog {
    /// A log that records nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Opens the log of a data directory, which is locked by this process. A line that a crash had
    /// torn is cut off; a last file that does not hold together is left as it is, and another one
    /// begun: both are recorded.
    ///
    /// # Errors
    /// The folder or a file cannot be made or read, or there is no thread.
    pub fn open(data_dir: &Path, settings: &AuditConfig, clock: Clock) -> Result<Self, AuditError> {
        if !settings.enabled {
            return Ok(Self::off());
        }
        let dir: PathBuf = data_dir.join(FOLDER);
        let (writer, found) = open::open(&dir, settings)?;
        let (shared, syncer) =
            SharedLog::start(writer, settings, clock).map_err(AuditError::at("start the thread of", &dir))?;
        let log = Self(Some(OpenLog { shared, syncer: Mutex::new(Some(syncer)) }));
        for event in found {
            log.record(event);
        }
        Ok(log)
    }

    /// Records an event. An error is not the caller's: it is counted and logged, [`is_healthy`]
    /// says so, and the next event that can be written is preceded by one that tells how many are
    /// missing.
    ///
    /// [`is_healthy`]: Self::is_healthy
    pub fn record(&self, event: AuditedEvent) {
        if let Some(open) = &self.0 {
            open.shared.record(&event);
        }
    }

    /// Whether what is recorded is being written and synced. After a failed write that is so again
    /// when one succeeds; after a failed sync only after the next start.
    pub fn is_healthy(&self) -> bool {
        self.0.as_ref().is_none_or(|open| open.shared.writer().is_healthy())
    }

    /// Looks whether the files stand in their place; another one is begun if not. A log of which
    /// nothing is known to be wrong is healthy again. Blocks.
    pub fn attend(&self) -> bool {
        let Some(open) = &self.0 else { return true };
        open.shared.attend().unwrap_or_else(|error| {
            tracing::error!(%error, "the audit log is not in its place, and cannot be begun anew");
            false
        })
    }

    /// The end of the chain; `None` if there is no log.
    #[cfg(test)]
    pub fn head(&self) -> Option<ChainHead> {
        self.0.as_ref().map(|open| open.shared.writer().head())
    }

    /// Removes the files in which all is from before `before`, after an event that says so is
    /// durable. Gives their number. Blocks.
    ///
    /// # Errors
    /// A file could not be synced or removed; what is left goes at the next time.
    pub fn prune(&self, before: jiff::Timestamp) -> Result<usize, AuditError> {
        self.0.as_ref().map_or(Ok(0), |open| retention::prune(&open.shared, before))
    }

    /// Syncs what was recorded and ends the thread.
    pub fn close(&self) {
        let Some(open) = &self.0 else { return };
        open.shared.close();
        if let Some(syncer) = open.syncer.lock().take() {
            // A panic of it has been logged, and is no reason for another.
            let _ = syncer.join();
        }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.close();
    }
}
