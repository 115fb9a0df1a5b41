//! Records one download: its start when the value is created, its end when it is dropped.

use std::sync::Arc;

use super::{AuditLog, AuditedCaller, DownloadEnding, RequestEvent};
use crate::job::JobId;

/// Records the end of a download when it is dropped. The body of the answer owns it, and reports each
/// chunk, the end and a cut to it.
pub struct AuditedDownload {
    log: Arc<AuditLog>,
    caller: AuditedCaller,
    job: JobId,
    file: String,
    bytes: u64,
    /// The length of the whole body, if known.
    length: Option<u64>,
    ending: Option<DownloadEnding>,
}

impl AuditLog {
    /// Records the start of a download. `file` is the name in the job's record, not that of the URL.
    /// `length` is that of the body in bytes, if known: the download is whole when so many were sent. A
    /// download of unknown length is whole after [`AuditedDownload::finished`].
    pub fn download(
        self: &Arc<Self>,
        caller: AuditedCaller,
        job: JobId,
        file: &str,
        length: Option<u64>,
    ) -> AuditedDownload {
        self.record(RequestEvent::DownloadBegan { caller: caller.clone(), job, file: file.into() });
        AuditedDownload { log: self.clone(), caller, job, file: file.into(), bytes: 0, length, ending: None }
    }
}

impl AuditedDownload {
    /// Adds bytes that were handed to the connection.
    pub fn sent(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Notes that the body came to its end.
    pub fn finished(&mut self) {
        self.ending = Some(DownloadEnding::Whole);
    }

    /// Notes that the file was taken away, because its job was deleted or expired long ago.
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
        self.log.record(RequestEvent::DownloadEnded { caller, job, file, bytes, ending });
    }
}
