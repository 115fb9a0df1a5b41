//! All files of an export, several at once. The threads are not waited for when the export is stopped
//! or fails: one may be in the middle of a read, and nothing that it still does has a consequence.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use super::content::CheckedContent;
use super::download;
use super::error::{ClientError, ClientErrorKind};
use super::folder::OutFolder;
use super::links::{FileLink, FileLinks};
use super::session::ExportSession;

/// How often the caller's signal and the time are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Has as many `files` as a plan lists in the folder. Returns what each holds, in the order of the plan.
pub fn load_all(
    session: &Arc<ExportSession>,
    folder: &Arc<OutFolder>,
    links: &Arc<FileLinks>,
    files: usize,
    parallel: usize,
) -> Result<Vec<CheckedContent>, ClientError> {
    let next = Arc::new(AtomicUsize::new(0));
    let (results, loaded) = mpsc::channel();
    for _ in 0..parallel.min(files) {
        let (session, folder, links) = (session.clone(), folder.clone(), links.clone());
        let (next, results) = (next.clone(), results.clone());
        let load = move || {
            while let Some((n, link)) = take(&next, &links) {
                let content = download::load(&session, &folder, &links, n, link);
                let is_over = content.is_err();
                // The receiver is gone when the export is over.
                if results.send((n, content)).is_err() || is_over {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("export".into()).spawn(load).map_err(|error| {
            ClientError::new(ClientErrorKind::Unusable, format!("cannot start a thread: {error}"))
        })?;
    }
    drop(results);
    // The threads that are left should end too.
    collect(session, &loaded, files).inspect_err(|_| session.abandon.stop())
}

fn collect(
    session: &ExportSession,
    loaded: &Receiver<(usize, Result<CheckedContent, ClientError>)>,
    files: usize,
) -> Result<Vec<CheckedContent>, ClientError> {
    let mut contents: Vec<Option<CheckedContent>> = vec![None; files];
    loop {
        match loaded.recv_timeout(LOOK) {
            Ok((n, content)) => contents[n] = Some(content?),
            Err(RecvTimeoutError::Timeout) => session.check()?,
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let whole: Option<Vec<_>> = contents.into_iter().collect();
    // A thread that ends without a result has panicked.
    whole.ok_or_else(|| ClientError::server("a file was not loaded, because of a mistake in this program"))
}

fn take(next: &AtomicUsize, links: &FileLinks) -> Option<(usize, FileLink)> {
    let n = next.fetch_add(1, Ordering::Relaxed);
    links.get(n).map(|link| (n, link))
}
