//! The open downloads of a job, which can be counted, awaited and cut (P4).

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The open downloads of one job.
#[derive(Debug)]
pub struct OpenDownloads {
    open: watch::Sender<u32>,
    cut: CancellationToken,
}

impl Default for OpenDownloads {
    fn default() -> Self {
        Self { open: watch::Sender::new(0), cut: CancellationToken::new() }
    }
}

impl OpenDownloads {
    /// Returns the number of open downloads.
    pub fn open(&self) -> u32 {
        *self.open.borrow()
    }

    /// Resolves when no download is open.
    pub async fn drained(&self) {
        let mut open = self.open.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = open.wait_for(|open| *open == 0).await;
    }

    /// Ends all open downloads, and returns their number. Their clients see a failed transfer.
    pub fn cut(&self) -> u32 {
        // Before: they begin to leave at once, on other threads.
        let open = self.open();
        self.cut.cancel();
        open
    }
}

/// One open download. Dropping it ends the download.
#[derive(Debug)]
pub struct DownloadTicket {
    downloads: Arc<OpenDownloads>,
}

impl DownloadTicket {
    /// Registers a download.
    pub(super) fn new(downloads: Arc<OpenDownloads>) -> Self {
        downloads.open.send_modify(|open| *open += 1);
        Self { downloads }
    }

    /// Fires when the download must end at once.
    pub fn cut(&self) -> &CancellationToken {
        &self.downloads.cut
    }
}

impl Drop for DownloadTicket {
    fn drop(&mut self) {
        self.downloads.open.send_modify(|open| *open -= 1);
    }
}
