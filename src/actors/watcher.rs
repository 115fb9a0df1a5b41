//! Watches the three job folders and hints to the reaper that something changed there. A
//! hint wakes, it never decides: events get lost under load (notify#412), the scan is the
//! truth.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use futures_util::FutureExt;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::reaper::Reaper;
use crate::config::Config;
use crate::erase::ReaperInput;
use crate::files::DirPlace;

/// Hints that come within this time are one.
const DEBOUNCE: Duration = Duration::from_millis(500);

/// Watches as long as it lives.
pub struct FolderWatcher {
    _watcher: RecommendedWatcher,
}

impl FolderWatcher {
    /// Watches the job folders, not what is in them: our own writes would wake us for ever. Returns
    /// `None`, with a warning, where the platform cannot: the reaper's interval does without.
    pub fn start(config: &Config, reaper: Addr<Reaper>) -> Option<Self> {
        let changes = Arc::new(Notify::new());
        let changed = changes.clone();
        let hint = move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|event| event.kind.is_access()) {
                changed.notify_one();
            }
        };
        let start = || {
            let mut watcher = notify::recommended_watcher(hint)?;
            for place in DirPlace::ALL {
                watcher.watch(&config.storage.data_dir.join(place.name()), RecursiveMode::NonRecursive)?;
            }
            Ok::<_, notify::Error>(watcher)
        };
        match start() {
            Ok(watcher) => {
                actix::spawn(pass_on(changes, reaper));
                Some(Self { _watcher: watcher })
            }
            Err(error) => {
                tracing::warn!(%error, "the data directory cannot be watched; it is scanned every reaper.interval");
                None
            }
        }
    }
}

/// Asks for a pass some time after a change; what changes in between needs no other one.
async fn pass_on(changes: Arc<Notify>, reaper: Addr<Reaper>) {
    loop {
        changes.notified().await;
        tokio::time::sleep(DEBOUNCE).await;
        let _ = changes.notified().now_or_never();
        reaper.do_send(ReaperInput::Pass);
    }
}
