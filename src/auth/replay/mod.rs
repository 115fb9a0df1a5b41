//! The memory of assertions, so that each is taken once (T-2), over restarts too. An assertion is
//! known from the moment it is claimed, and durable before its token is answered: one thread writes
//! what has come together and syncs it once. Nothing is forgotten that could be good again: when
//! the memory is full, claims are refused.
//!
//! Two generations: entries are added to the newer one, and when all of the older one have expired
//! it goes as a whole, with its files. What was the latest expiry among those forgotten is kept:
//! should the clock go back, assertions up to that one are refused, because nobody knows of them.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::folder::AuthFolder;
use super::replay_file::{AssertionId, ReplayGeneration, ReplayRecord, read_all};
use crate::job::TenantId;
use crate::plain_file;
use crate::telemetry::{self, FatalHandler};

/// The assertions that were taken, in memory and on disk.
pub struct ReplayMemory {
    memory: Arc<Mutex<KnownAssertions>>,
    /// There until it is dropped.
    writer: Option<(Sender<PendingClaim>, JoinHandle<()>)>,
}

/// Why an assertion cannot be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It was claimed before, or would not be known if it was.
    #[error("the assertion was used before")]
    Used,
    /// The memory is full.
    #[error("too many assertions are remembered")]
    Full,
    /// It could not be made durable.
    #[error("the assertion could not be recorded")]
    NotDurable,
}

struct KnownAssertions {
    /// In seconds of Unix time, by what is known of an assertion, until when it is good.
    newer: HashMap<AssertionId, i64>,
    older: HashMap<AssertionId, i64>,
    /// The latest expiry among those forgotten.
    forgotten: i64,
    limit: usize,
}

/// An entry that waits for the disk.
struct PendingClaim {
    record: ReplayRecord,
    done: oneshot::Sender<bool>,
}

impl KnownAssertions {
    fn len(&self) -> usize {
        self.newer.len() + self.older.len()
    }

    /// Takes an assertion that is good until `exp`, unless it was taken before.
    fn claim(&mut self, id: AssertionId, exp: i64, now: i64) -> Result<(), ReplayError> {
        if exp <= self.forgotten || self.newer.contains_key(&id) || self.older.contains_key(&id) {
            return Err(ReplayError::Used);
        }
        if self.len() >= self.limit {
            self.forget_expired(now);
            if self.len() >= self.limit {
                return Err(ReplayError::Full);
            }
        }
        self.newer.insert(id, exp);
        Ok(())
    }

    fn forget_expired(&mut self, now: i64) {
        let mut forgotten = self.forgotten;
        for entries in [&mut self.newer, &mut self.older] {
            entries.retain(|_, exp| {
                let is_over = *exp < now;
                forgotten = if is_over { forgotten.max(*exp) } else { forgotten };
                !is_over
            });
        }
        self.forgotten = forgotten;
    }

    /// Forgets the older generation, if all of it has expired.
    fn rotate(&mut self, now: i64) -> bool {
        let latest = self.older.values().copied().max().unwrap_or(i64::MIN);
        if latest >= now {
            return false;
        }
        self.forgotten = self.forgotten.max(latest);
        self.older = std::mem::take(&mut self.newer);
        true
    }
}

impl ReplayMemory {
    /// Reads what earlier processes took, and starts the thread. `window` is how long an
    /// assertion can be good at the most, `limit` how many may be remembered; `now` tells the
    /// time in seconds of Unix time.
    ///
    /// # Errors
    /// Those of the folder: its files cannot be read, or a new one cannot be made.
    pub fn open(
        folder: AuthFolder,
        window: Duration,
        limit: usize,
        now: impl Fn() -> i64 + Send + 'static,
        fatal: FatalHandler,
    ) -> io::Result<Self> {
        let read = read_all(&folder)?;
        let mut memory = KnownAssertions {
            newer: HashMap::new(),
            older: HashMap::new(),
            forgotten: read.forgotten,
            limit,
        };
        memory.older.extend(read.records.iter().map(|record| (record.id, record.exp)));
        memory.forget_expired(now());
        let newer = ReplayGeneration::create(&folder, read.next, memory.forgotten)?;
        let older = read.generations;
        let memory = Arc::new(Mutex::new(memory));
        let (writer, claims) = channel();
        let files =
            ReplayWriter { folder, memory: memory.clone(), newer, older, window, began: Instant::now() };
        let thread = std::thread::Builder::new().name("replay".into()).spawn(move || {
            let _guard = fatal.on_panic("the memory of assertions");
            if let Err(error) = files.run(&claims, &now) {
                fatal.raise(&format!("the memory of assertions cannot be synced: {error}"));
            }
        })?;
        Ok(Self { memory, writer: Some((writer, thread)) })
    }

    /// Takes an assertion whose signature is verified; resolves when that is durable. Of two
    /// equal ones exactly one is taken. Once claimed it stays so, also if the future is dropped.
    /// `exp` is until when it is good, skew included, in seconds of Unix time.
    pub async fn claim(
        &self,
        tenant: &TenantId,
        issuer: &str,
        jti: &str,
        exp: i64,
        now: i64,
    ) -> Result<(), ReplayError> {
        let id = id(tenant, issuer, jti);
        self.memory.lock().claim(id, exp, now)?;
        let (done, is_durable) = oneshot::channel();
        let (writer, _) = self.writer.as_ref().ok_or(ReplayError::NotDurable)?;
        let sent = writer.send(PendingClaim { record: ReplayRecord { id, exp }, done });
        sent.map_err(|_| ReplayError::NotDurable)?;
        if is_durable.await.unwrap_or(false) { Ok(()) } else { Err(ReplayError::NotDurable) }
    }
}

impl Drop for ReplayMemory {
    /// Waits for the thread: the files are free for another memory then.
    fn drop(&mut self) {
        if let Some((writer, thread)) = self.writer.take() {
            drop(writer);
            // A panic of it was raised by its guard.
            let _ = thread.join();
        }
    }
}

/// What is kept of an assertion. Each part stands with its length, so that no two of them run
/// into each other.
fn id(tenant: &TenantId, issuer: &str, jti: &str) -> AssertionId {
    let mut hash = Sha256::new();
    for part in [tenant.as_str(), issuer, jti] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut id = AssertionId::default();
    id.copy_from_slice(&hash.finalize()[..size_of::<AssertionId>()]);
    id
}

/// How often the thread looks whether its file is still in its place.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The thread that writes.
struct ReplayWriter {
    folder: AuthFolder,
    memory: Arc<Mutex<KnownAssertions>>,
    newer: ReplayGeneration,
    /// What the older generation stands in: several files after restarts.
    older: Vec<String>,
    window: Duration,
    /// When the newer generation began.
    began: Instant,
}

impl ReplayWriter {
    /// Until nobody can claim any more; or an error after which it is not known what is durable.
    fn run(mut self, claims: &Receiver<PendingClaim>, now: &dyn Fn() -> i64) -> io::Result<()> {
        loop {
            let wait = self.window.saturating_sub(self.began.elapsed()).min(LOOK_EVERY);
            let mut batch = match claims.recv_timeout(wait) {
                Ok(claim) => vec![claim],
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            batch.extend(claims.try_iter());
            self.mend()?;
            self.write(batch)?;
            if self.began.elapsed() >= self.window {
                self.rotate(now())?;
            }
            telemetry::replay_entries(self.memory.lock().len());
        }
    }

    /// Writes all that is remembered anew, if the file was removed or replaced: the next process
    /// would take an assertion twice.
    fn mend(&mut self) -> io::Result<()> {
        if self.newer.stands_in(&self.folder) {
            return Ok(());
        }
        let (records, forgotten) = {
            let memory = self.memory.lock();
            let all = memory.older.iter().chain(&memory.newer);
            let records: Vec<_> = all.map(|(id, exp)| ReplayRecord { id: *id, exp: *exp }).collect();
            (records, memory.forgotten)
        };
        let write = || {
            self.folder.make()?;
            let mut next = ReplayGeneration::create(&self.folder, self.newer.number + 1, forgotten)?;
            next.append(&records)?;
            Ok::<_, io::Error>(next)
        };
        match write() {
            Ok(next) => {
                next.sync()?;
                tracing::error!(
                    assertions = records.len(),
                    "the memory of assertions was removed: it was written anew"
                );
                self.older.push(self.newer.name());
                self.newer = next;
            }
            Err(error) => {
                tracing::error!(%error, "the memory of assertions is not in its place, and cannot be put there")
            }
        }
        Ok(())
    }

    fn write(&mut self, batch: Vec<PendingClaim>) -> io::Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let written = self.newer.append(batch.iter().map(|claim| &claim.record));
        if let Err(error) = &written {
            // A full disk may have room again for the next one.
            tracing::error!(%error, "assertions could not be recorded: no tokens for them");
        } else {
            telemetry::timed_sync("replay", || self.newer.sync())?;
        }
        for claim in batch {
            // Whoever asked may have gone.
            let _ = claim.done.send(written.is_ok());
        }
        Ok(())
    }

    /// Begins a new generation and removes the files of the oldest one.
    fn rotate(&mut self, now: i64) -> io::Result<()> {
        self.began = Instant::now();
        let forgotten = {
            let mut memory = self.memory.lock();
            if !memory.rotate(now) {
                return Ok(());
            }
            memory.forgotten
        };
        let next = match ReplayGeneration::create(&self.folder, self.newer.number + 1, forgotten) {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%error, "no new file for assertions could be made: the old one goes on");
                return Ok(());
            }
        };
        let gone = std::mem::replace(&mut self.older, vec![self.newer.name()]);
        self.newer = next;
        for name in gone {
            if let Err(error) = plain_file::remove(&self.folder.path(&name)) {
                tracing::warn!(%error, "an old file of assertions could not be removed; the next start does");
            }
        }
        self.folder.sync()
    }
}

#[cfg(test)]
mod tests;
