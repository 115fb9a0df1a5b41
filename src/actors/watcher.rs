//! Watches the three job folders and hints to the reaper that something changed there. A
//! hint wakes, it never decides: events get lost under load (notify#412), the scan is the
//! truth.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::Addr;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::reaper::{Hint, Reaper};
use crate::config::Config;
use crate::files::DirPlace;

/// Watches as long as it lives.
pub struct Watcher {
    _watcher: RecommendedWatcher,
}

impl Watcher {
    /// Watches the job folders, not what is in them: our own writes would wake us for ever.
    /// `None`, with a warning, where the platform cannot: the reaper's interval does without.
    /// One hint is given until `hinted` is reset.
    pub fn start(config: &Config, reaper: Addr<Reaper>, hinted: Arc<AtomicBool>) -> Option<Self> {
        let hint = move |event: notify::Result<notify::Event>| {
            let access_only = event.is_ok_and(|event| event.kind.is_access());
            if !access_only && !hinted.swap(true, Ordering::AcqRel) {
                reaper.do_send(Hint);
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
            Ok(watcher) => Some(Self { _watcher: watcher }),
            Err(error) => {
                tracing::warn!(%error, "cannot watch the data directory; it is scanned every reaper.interval");
                None
            }
        }
    }
}
