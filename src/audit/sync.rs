//! What callers and the syncing thread share. A caller holds the lock for one write. The thread never
//! holds it while it syncs.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::AuditedEvent;
use super::flood::RefusalFlood;
use super::writer::LogWriter;
use crate::clock::Clock;
use crate::config::AuditConfig;
use crate::telemetry;

/// The log that callers and the thread share.
pub struct SharedLog {
    state: Mutex<SyncState>,
    wake: Condvar,
    clock: Clock,
}

struct SyncState {
    writer: LogWriter,
    flood: RefusalFlood,
    closed: bool,
}

impl SharedLog {
    /// Starts the thread, which syncs at most once in `audit.sync_interval`.
    pub fn start(
        writer: LogWriter,
        settings: &AuditConfig,
        clock: Clock,
    ) -> io::Result<(Arc<Self>, JoinHandle<()>)> {
        let (interval, flood) = (settings.sync_interval.0, RefusalFlood::new(settings.max_refusals));
        let state = Mutex::new(SyncState { writer, flood, closed: false });
        let shared = Arc::new(Self { state, wake: Condvar::new(), clock });
        let run = {
            let shared = shared.clone();
            move || shared.sync_until_closed(interval)
        };
        let thread = std::thread::Builder::new().name("audit".into()).spawn(run)?;
        Ok((shared, thread))
    }

    /// Locks the writer.
    pub fn writer(&self) -> parking_lot::MappedMutexGuard<'_, LogWriter> {
        MutexGuard::map(self.state.lock(), |state| &mut state.writer)
    }

    /// Returns the wall time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Records an event, or counts it if it could not be written.
    pub fn record(&self, event: &AuditedEvent) {
        let mut state = self.state.lock();
        // Under the lock, so that events are in the order of their instants.
        let now = self.now();
        let (withheld, is_admitted) = state.flood.admit(event, now);
        if let Some(events) = withheld {
            write(&mut state.writer, &AuditedEvent::Withheld { events }, now);
        }
        if is_admitted {
            write(&mut state.writer, event, now);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Returns whether the files are in their place, and begins another one if not.
    pub fn attend(&self) -> io::Result<bool> {
        let now = self.now();
        let stands = self.writer().attend(now);
        self.wake.notify_one();
        stands
    }

    /// Makes the thread sync once more and end.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_one();
    }

    fn sync_until_closed(&self, interval: Duration) {
        let mut state = self.state.lock();
        loop {
            while state.writer.unsynced.is_empty() && !state.closed {
                self.wake.wait(&mut state);
            }
            let closed = state.closed;
            let files = std::mem::take(&mut state.writer.unsynced);
            let folder = std::mem::take(&mut state.writer.folder_unsynced).then(|| state.writer.dir.clone());
            let synced = MutexGuard::unlocked(&mut state, || {
                let folder = folder.map(File::open).transpose()?;
                telemetry::timed_sync("audit", || {
                    folder.map_or(Ok(()), |folder| folder.sync_all())?;
                    files.iter().try_for_each(|file| file.sync_data())
                })
            });
            if let Err(error) = synced {
                telemetry::audit_lost();
                tracing::error!(%error, "the audit log cannot be synced: a power loss may take events");
                state.writer.sync_failed = true;
            }
            if closed {
                return;
            }
            let until = Instant::now() + interval;
            while !state.closed && !self.wake.wait_until(&mut state, until).timed_out() {}
        }
    }
}

/// Writes an event. Errors are counted, and the first is logged.
fn write(writer: &mut LogWriter, event: &AuditedEvent, now: Timestamp) {
    match writer.record(event, now) {
        Ok(()) => telemetry::audited(event.kind()),
        Err(error) => {
            telemetry::audit_lost();
            if writer.lost == 0 {
                let kind = event.kind();
                tracing::error!(%error, kind, "the audit log cannot be written: events are lost");
            }
            writer.lost += 1;
        }
    }
}
