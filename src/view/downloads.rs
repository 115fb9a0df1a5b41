//! The open downloads of a job, which can be counted, awaited and cut (P4).

use std::sync::Arc;
use std::time::Duration;

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

    /// Resolves when no download is open. Those that are open at the time of the call may take as
    /// long as `grace`; then they are cut.
    pub fn end_within(self: Arc<Self>, grace: Duration) -> impl Future<Output = EndedDownloads> {
        // Not when the future is first polled: whoever was told meanwhile may have come to an end.
        let open = self.open();
        async move {
            if tokio::time::timeout(grace, self.drained()).await.is_ok() {
                return EndedDownloads { drained: open, cut: 0 };
            }
            let cut = self.cut();
            self.drained().await;
            EndedDownloads { drained: open.saturating_sub(cut), cut }
        }
    }

    /// Ends all open downloads, and returns their number. Their clients see a failed transfer.
    pub fn cut(&self) -> u32 {
        // Before: they begin to leave at once, on other threads.
        let open = self.open();
        self.cut.cancel();
        open
    }
}

/// How the downloads of a job that ended have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndedDownloads {
    /// Downloads that ended by themselves.
    pub drained: u32,
    /// Downloads that were cut.
    pub cut: u32,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn downloads_end_by_themselves_within_their_grace_or_are_cut_and_still_waited_for() {
        let (patient, short) = (Duration::from_secs(3600), Duration::from_millis(10));
        let downloads = Arc::new(OpenDownloads::default());
        assert_eq!(downloads.clone().end_within(Duration::ZERO).await, EndedDownloads::default());
        let ticket = DownloadTicket::new(downloads.clone());
        let ended = downloads.clone().end_within(patient);
        // Between the call and its first poll.
        drop(ticket);
        assert_eq!(ended.await, EndedDownloads { drained: 1, cut: 0 });

        let [first, second] = [(); 2].map(|()| DownloadTicket::new(downloads.clone()));
        tokio::spawn(async move {
            drop(first);
            // A stream notices that it was cut, and needs a moment to close its file.
            second.cut().cancelled().await;
            tokio::task::yield_now().await;
        });
        assert_eq!(downloads.clone().end_within(short).await, EndedDownloads { drained: 1, cut: 1 });
        assert_eq!(downloads.open(), 0);
    }
}
