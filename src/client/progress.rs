//! What an export tells while it runs.

use std::time::Duration;

/// Something that happened.
///
/// ```
/// use evanesce::client::ExportEvent;
///
/// let event = ExportEvent::FileBytes { name: "Patient.0001.ndjson", bytes: 4096 };
/// assert!(matches!(event, ExportEvent::FileBytes { bytes: 4096, .. }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportEvent<'a> {
    /// The server accepted the export.
    KickedOff {
        /// The polling URL.
        status_url: &'a str,
    },
    /// The folder has an export that was begun before, and it goes on.
    Resumed {
        /// The polling URL.
        status_url: &'a str,
    },
    /// The export runs at the server.
    Waiting {
        /// What the server says of its progress (`X-Progress`), fit for a terminal.
        progress: &'a str,
        /// When the server is asked again.
        delay: Duration,
    },
    /// Something failed that may succeed when it is tried again.
    Retrying {
        /// What failed, as a sentence.
        reason: &'a str,
        /// When it is tried again.
        delay: Duration,
    },
    /// The manifest is there.
    Manifest {
        /// How many files it has.
        files: usize,
        /// Their size in bytes, if the manifest tells that of each.
        bytes: Option<u64>,
    },
    /// A file is being loaded.
    FileStarted {
        /// Its name in the folder.
        name: &'a str,
        /// Its size in bytes, if the manifest tells it.
        bytes: Option<u64>,
        /// How many of them are there already, from an earlier run.
        have: u64,
    },
    /// A file's link is refused. The manifest is asked for again, which may have another one.
    LinkRefused {
        /// What was refused, as a sentence.
        reason: &'a str,
    },
    /// More of a file is there.
    FileBytes {
        /// Its name in the folder.
        name: &'a str,
        /// How many bytes are there now.
        bytes: u64,
    },
    /// A file is whole, verified and durable.
    FileDone {
        /// Its name in the folder.
        name: &'a str,
        /// How many bytes it has.
        bytes: u64,
        /// How many resources it has.
        count: u64,
    },
    /// The server was asked to delete or to cancel the export.
    Deleted {
        /// Its answer, as a sentence.
        answer: &'a str,
    },
}

/// Is told what happens. Its method is called by several threads and must not block for long.
///
/// ```
/// use evanesce::client::{ExportEvent, ExportProgress};
///
/// struct Files(std::sync::atomic::AtomicUsize);
/// impl ExportProgress for Files {
///     fn on_event(&self, event: ExportEvent<'_>) {
///         if let ExportEvent::FileDone { .. } = event {
///             self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
///         }
///     }
/// }
/// ```
pub trait ExportProgress: Send + Sync + 'static {
    /// Something happened.
    fn on_event(&self, event: ExportEvent<'_>);
}

/// Ignores what happens.
///
/// ```
/// use evanesce::client::{ExportEvent, ExportProgress, SilentProgress};
///
/// SilentProgress.on_event(ExportEvent::Deleted { answer: "nobody is told" });
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct SilentProgress;

impl ExportProgress for SilentProgress {
    fn on_event(&self, _: ExportEvent<'_>) {}
}
