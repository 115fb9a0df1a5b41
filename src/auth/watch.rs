//! Looks at the file of applications when something happens in its folder, when it is asked to,
//! and from time to time. An event is a hint (notify#412): it wakes, it never decides, and
//! whoever waits for one alone may wait for ever.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::{Applications, Reload};

/// Watches as long as it lives.
pub struct Watch {
    wake: Sender<Wake>,
    _watcher: Option<RecommendedWatcher>,
}

enum Wake {
    Look,
    End,
}

impl Watch {
    /// Watches the file of `applications`, and looks at it every `poll` whatever the events
    /// say. Each look that found a change is told to `tell`, on a thread of the watch's own.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(
        applications: Applications,
        poll: Duration,
        tell: impl Fn(Reload) + Send + 'static,
    ) -> io::Result<Self> {
        let (wake, woken) = mpsc::channel();
        let watcher = watcher(applications.path(), wake.clone());
        let look = move || loop {
            match woken.recv_timeout(poll) {
                Ok(Wake::Look) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Wake::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
            match applications.reload() {
                Reload::Unchanged => {}
                reload => tell(reload),
            }
        };
        std::thread::Builder::new().name("applications".into()).spawn(look)?;
        Ok(Self { wake, _watcher: watcher })
    }

    /// Looks at the file soon, whether or not something happened.
    pub fn look(&self) {
        // The thread is there as long as this is.
        let _ = self.wake.send(Wake::Look);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.wake.send(Wake::End);
    }
}

/// Hints at what happens in the folder of a file, and in that of the file that a link points to:
/// editors replace files by renames, and what is renamed is another file. `None`, with a warning,
/// where that cannot be had.
fn watcher(path: &Path, wake: Sender<Wake>) -> Option<RecommendedWatcher> {
    let hint = move |event: notify::Result<notify::Event>| {
        // Our own reading is no change, and an error may hide one.
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        if event.is_ok_and(|event| event.kind.is_access() && event.kind != written) {
            return;
        }
        // Nobody waits for it any more when the watch ends.
        let _ = wake.send(Wake::Look);
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
