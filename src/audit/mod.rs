//! The audit log: who did what, as R4 AuditEvents in hash-chained NDJSON files below `audit/` in the
//! data directory. Recording never fails a request and never waits for the disk. Each line is one
//! `write`, so a kill loses nothing; a thread syncs, so a power loss loses at most
//! `audit.sync_interval`. Events that could not be written are counted, and the log itself records that
//! they are missing. The proof of an erasure is its receipt (P9).

mod describe;
#[cfg(feature = "server")]
mod download;
mod event;
mod file;
mod flood;
mod line;
mod open;
#[cfg(feature = "server")]
mod requests;
mod retention;
mod sync;
#[cfg(test)]
mod tests;
#[cfg(feature = "cli")]
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

#[cfg(feature = "server")]
pub use download::AuditedDownload;
pub use event::AuditedEvent;
#[cfg(feature = "cli")]
pub use line::LineFacts;
#[cfg(feature = "server")]
pub use requests::{AuditedCaller, DownloadEnding, RequestEvent};
#[cfg(feature = "cli")]
pub use walk::{AuditLine, AuditSummary, ChainBreak, walk};
pub use witness::{LastWitnessed, WitnessedDeletion, deletions, latest};

/// The name of the folder in the data directory.
pub const FOLDER: &str = "audit";

/// Why the log cannot be read or used.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {name}: {source}")]
#[allow(unnameable_types, reason = "only converted into what is public")]
pub struct AuditError {
    operation: &'static str,
    name: String,
    source: io::Error,
}

impl AuditError {
    /// Creates the error of an operation on the last name of `path`.
    fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        move |source| Self { operation, name, source }
    }
}

/// The log of an instance, which records nothing if `audit.enabled` is false.
pub struct AuditLog(Option<OpenLog>);

struct OpenLog {
    shared: Arc<SharedLog>,
    syncer: Mutex<Option<JoinHandle<()>>>,
}

impl AuditLog {
    /// Creates a log that records nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Opens the log of a data directory, which this process must have locked. A torn last line is cut
    /// off. A broken last file is left as it is, and another one begun. Both are recorded.
    ///
    /// # Errors
    /// Fails if the folder or a file cannot be created or read, or the thread cannot be started.
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

    /// Records an event. Errors are not the caller's: they are counted and logged, [`is_healthy`] turns
    /// false, and the next event that can be written is preceded by one with the number of lost events.
    ///
    /// [`is_healthy`]: Self::is_healthy
    pub fn record(&self, event: impl Into<AuditedEvent>) {
        if let Some(open) = &self.0 {
            open.shared.record(&event.into());
        }
    }

    /// Returns whether events are being written and synced. A failed write is healed by the next one
    /// that succeeds, a failed sync only by the next start.
    pub fn is_healthy(&self) -> bool {
        self.0.as_ref().is_none_or(|open| open.shared.writer().is_healthy())
    }

    /// Returns whether the files are in their place, and begins another one if not. A log with nothing
    /// wrong is healthy again. Blocks.
    pub fn attend(&self) -> bool {
        let Some(open) = &self.0 else { return true };
        open.shared.attend().unwrap_or_else(|error| {
            tracing::error!(%error, "the audit log is not in its place, and cannot be begun anew");
            false
        })
    }

    /// Returns the end of the chain, or `None` if nothing is recorded.
    #[cfg(test)]
    pub fn head(&self) -> Option<ChainHead> {
        self.0.as_ref().map(|open| open.shared.writer().head())
    }

    /// Removes the files whose events are all older than `before`, after an event that announces it is
    /// durable. Returns their number. Blocks.
    ///
    /// # Errors
    /// Fails if a file cannot be synced or removed. The next call removes what is left.
    pub fn prune(&self, before: jiff::Timestamp) -> Result<usize, AuditError> {
        self.0.as_ref().map_or(Ok(0), |open| retention::prune(&open.shared, before))
    }

    /// Syncs what was recorded and ends the thread.
    pub fn close(&self) {
        let Some(open) = &self.0 else { return };
        open.shared.close();
        if let Some(syncer) = open.syncer.lock().take() {
            // A panic of the thread has been logged. It must not cause another.
            let _ = syncer.join();
        }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.close();
    }
}
