//! Reloads the file of applications when something happens in its folder, on request, and from time
//! to time. An event is only a hint (notify#412): it wakes the thread and decides nothing, because
//! an event may never come.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::{Applications, ReloadOutcome};

/// Watches until it is dropped.
pub struct Watch {
    wake: Sender<WatchSignal>,
    _watcher: Option<RecommendedWatcher>,
}

enum WatchSignal {
    Look,
    End,
}

impl Watch {
    /// Watches the file of `applications`, and reloads it every `poll` whatever the events say.
    /// Each reload that found a change is passed to `tell`, on the watch's own thread.
    ///
    /// # Errors
    /// Fails if the thread cannot be started.
    pub fn start(
        applications: Applications,
        poll: Duration,
        tell: impl Fn(ReloadOutcome) + Send + 'static,
    ) -> io::Result<Self> {
        let (wake, woken) = mpsc::channel();
        let watcher = watcher(applications.path(), wake.clone());
        let look = move || loop {
            match woken.recv_timeout(poll) {
                Ok(WatchSignal::Look) | Err(RecvTimeoutError::Timeout) => {}
                Ok(WatchSignal::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
            match applications.reload() {
                ReloadOutcome::Unchanged => {}
                reload => tell(reload),
            }
        };
        std::thread::Builder::new().name("applications".into()).spawn(look)?;
        Ok(Self { wake, _watcher: watcher })
    }

    /// Requests a reload soon.
    #[cfg(feature = "cli")]
    pub fn reload_soon(&self) {
        // The thread lives as long as the watch.
        let _ = self.wake.send(WatchSignal::Look);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.wake.send(WatchSignal::End);
    }
}

/// Watches the folder of a file, and the folder of the file that a link points to: editors replace
/// files by renames, and a renamed file is another file. Returns `None`, with a warning, if that is
/// not possible.
fn watcher(path: &Path, wake: Sender<WatchSignal>) -> Option<RecommendedWatcher> {
    let hint = move |event: notify::Result<notify::Event>| {
        // Reading is not a change, but an error may hide one.
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        if event.is_ok_and(|event| event.kind.is_access() && event.kind != written) {
            return;
        }
        // The receiver is gone when the watch has ended.
        let _ = wake.send(WatchSignal::Look);
    };
    let start = || {
        let mut watcher = notify::recommended_watcher(hint)?;
        for folder in folders(path) {
            watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        }
        Ok::<_, notify::Error>(watcher)
    };
    start()
        .inspect_err(|error| {
            tracing::warn!(%error, "the file of applications is not watched: changes take effect later");
        })
        .ok()
}

fn folders(path: &Path) -> BTreeSet<PathBuf> {
    let target = path.canonicalize().ok();
    let folder = |path: &Path| match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    [Some(folder(path)), target.map(|path| folder(&path))].into_iter().flatten().collect()
}
