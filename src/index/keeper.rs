//! Brings an index up to date in the background: at the start, and when the file system hints at a
//! change. A kick-off scans anyway, and then finds little to do.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::{BuildError, Index};

/// How long it must be quiet before a change is read: a file is written in many pieces.
const QUIET: Duration = Duration::from_millis(200);

/// The longest wait for a change to come to rest.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keeps an index up to date until it is dropped.
pub struct IndexKeeper {
    index: Arc<Index>,
    /// Sends the hints. The thread ends when this is dropped.
    _watch: Option<Box<dyn Send + Sync>>,
}

impl IndexKeeper {
    /// Starts a thread that looks at the source now and, if `watch` is set, after each change.
    pub fn start(index: Arc<Index>, watch: bool) -> io::Result<Self> {
        let (hint, hints) = channel();
        let hint = move || {
            // A thread that has ended needs no hint.
            let _ = hint.send(());
        };
        let watch = watch.then(|| index.source().watch(Box::new(hint))).flatten();
        let kept = Arc::downgrade(&index);
        std::thread::Builder::new().name("index".into()).spawn(move || keep(&kept, &hints))?;
        Ok(Self { index, _watch: watch })
    }
}

impl Drop for IndexKeeper {
    fn drop(&mut self) {
        self.index.close();
    }
}

fn keep(index: &Weak<Index>, hints: &Receiver<()>) {
    loop {
        let Some(index) = index.upgrade() else { return };
        match index.look() {
            Ok(_) => {}
            Err(BuildError::Closed) => return,
            Err(error) => tracing::warn!(%error, "the index could not be brought up to date"),
        }
        drop(index);
        if hints.recv().is_err() {
            return;
        }
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            match hints.recv_timeout(QUIET) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}
