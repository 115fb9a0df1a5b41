//! Work on the file of receipts for the pages: off the threads that answer requests, one walk at a time, and
//! no longer than somebody waits for it (P13).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::web;
use tokio::sync::Semaphore;

use crate::console::error::ConsoleError;
use crate::console::visit::Visit;
use crate::receipts::{self, ReceiptsError};

/// A walk reads the whole file, which may be long: the disk and a core are for exports.
static WALKS: Semaphore = Semaphore::const_new(1);

/// How long to wait for the walk of somebody else.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tells a walk that nobody waits for it any more.
#[derive(Clone, Default)]
pub struct WalkEnd(Arc<AtomicBool>);

impl WalkEnd {
    /// Fails if nobody waits any more.
    pub fn check(&self) -> Result<(), ReceiptsError> {
        if self.0.load(Ordering::Relaxed) {
            let source = std::io::Error::other("nobody waits for it any more");
            return Err(ReceiptsError::Io { operation: "walk over", source });
        }
        Ok(())
    }
}

/// Ends the walk when it is dropped.
struct EndOnDrop(WalkEnd);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// Returns the path of the receipts.
pub fn file(visit: &Visit) -> PathBuf {
    visit.evanesce().config().storage.data_dir.join(receipts::FILE_NAME)
}

/// Runs a walk, which blocks and looks at its end. Ends it if the caller is dropped.
///
/// # Errors
/// Fails if another walk takes too long.
pub async fn run<T: Send + 'static>(
    walk: impl FnOnce(&WalkEnd) -> T + Send + 'static,
) -> Result<T, ConsoleError> {
    let permit = tokio::time::timeout(PATIENCE, WALKS.acquire()).await;
    let permit = permit.map_err(|_| ConsoleError::Busy)?.map_err(|_| ConsoleError::Internal)?;
    let end = WalkEnd::default();
    let _end = EndOnDrop(end.clone());
    let done = web::block(move || {
        // Held until the walk has ended, not only until nobody waits for it.
        let _permit = permit;
        walk(&end)
    });
    done.await.map_err(|_| ConsoleError::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn p13_one_walk_runs_at_a_time_and_ends_when_nobody_waits() {
        let (begun, begins) = std::sync::mpsc::channel();
        let first = run(move |end| {
            begun.send(()).unwrap();
            while end.check().is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let has_begun = async {
            while begins.try_recv().is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = first => panic!("it waits until nobody waits for it"),
            () = has_begun => assert_eq!(WALKS.available_permits(), 0),
        }
        assert_eq!(run(|_| 7).await.unwrap(), 7, "the first one has ended");
    }
}
