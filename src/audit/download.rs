//! The record of one download: its start when it is made, its end when it is dropped, whatever
//! dropped it.

use std::sync::Arc;

use super::{AuditLog, AuditedCaller, AuditedEvent, DownloadEnding};
use crate::job::JobId;

/// Records the end of a download when it is dropped. The body of the answer holds it, tells it of
/// each chunk, and says so when it came to its end or was cut.
pub struct AuditedDownload {
    log: Arc<AuditLog>,
    caller: AuditedCaller,
    job: JobId,
    file: String,
    bytes: u64,
    /// Bytes that make the whole, if their number is known before.
    length: Option<u64>,
    ending: Option<DownloadEnding>,
}

impl AuditLog {
    /// Records the start of a download. `file` is the name in the job's record, not that of the
    /// URL; `length` is that of the body in bytes, if it is known: a download that handed out so
    /// many is whole. One of unknown length is whole when [`AuditedDownload::finished`] says so.
    pub fn download(
        self: &Arc<Self>,
        caller: AuditedCaller,
        job: JobId,
        file: &str,
        length: Option<u64>,
    ) -> AuditedDownload {
        self.record(AuditedEvent::DownloadBegan { caller: caller.clone(), job, file: file.into() });
        AuditedDownload { log: self.clone(), caller, job, file: file.into(), bytes: 0, length, ending: None }
    }
}

impl AuditedDownload {
    /// So many bytes more were handed to the connection.
    pub fn sent(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// The body came to its end.
    pub fn finished(&mut self) {
        self.ending = Some(DownloadEnding::Whole);
    }

    /// The file was taken away: its job was deleted, or expired long ago.
    pub fn cut(&mut self) {
        self.ending = Some(DownloadEnding::Cut);
    }
}

impl Drop for AuditedDownload {
    fn drop(&mut self) {
        let ending = match (self.length, self.ending) {
            (Some(length), _) if length == self.bytes => DownloadEnding::Whole,
            (_, Some(DownloadEnding::Cut)) => DownloadEnding::Cut,
            (None, Some(ending)) => ending,
            _ => DownloadEnding::BrokenOff,
        };
        let (caller, file) = (std::mem::take(&mut self.caller), std::mem::take(&mut self.file));
        let (job, bytes) = (self.job, self.bytes);
        self.log.record(AuditedEvent::DownloadEnded { caller, job, file, bytes, ending });
    }
}
