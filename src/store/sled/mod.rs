//! The sled backend, and the only place that names sled.
//!
//! sled's `flush` is not an fsync on Linux (sled#1452, #1351): after each batch the log is flushed and
//! then synced through a second handle on the same file. `flush_async` is never used (sled#1308).
//! Keys: `m/format`; `m/head`, the end of the chain of receipts; `j/<job>`, a record; `p/<job><part>`,
//! a sealed part, and `p/<job><part><n>`, its files. All values are JSON and well below sled's blob
//! limit.

mod keys;

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, fstat, statat};
use serde::{Deserialize, Serialize};

use super::{EntryOutcome, Store, StoreEntry, StoreError, StoredJob};
use crate::files::is_full;
use crate::files::modes::close_modes;
use crate::hooks::{HookFault, HookStep, Hooks};
use crate::job::{JobId, JobRecord, OutputFile, SealedPart, StateName};
use crate::receipts::ChainHead;
use crate::telemetry;
use keys::{file_key, json, key, parse, part_key, record_key, split_key};

/// The format that this version writes. A store with a higher one is refused.
const FORMAT: u32 = 1;
const FORMAT_KEY: &[u8] = b"m/format";
const HEAD_KEY: &[u8] = b"m/head";

/// sled releases its lock a little after it is dropped (sled#1289).
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// How often new files of sled are looked for, to close them to others.
const CLOSE_EVERY: Duration = Duration::from_secs(60);

/// Bytes of page cache. The published view answers reads, so a little is enough.
const CACHE_BYTES: u64 = 16 << 20;

/// A store in a folder of its own.
pub struct SledStore {
    db: sled::Db,
    log: File,
    folder: PathBuf,
    /// When its files were last closed to others.
    closed: Instant,
    /// The data directory, wherever it is renamed to, and the place of the log in it.
    place: (File, PathBuf),
    /// What was read or written of a job before, which spares another read.
    known: HashMap<JobId, JobContent>,
    hooks: Hooks,
}

#[derive(Clone, Copy)]
struct JobContent {
    /// The revision of its record; 0 without a record.
    revision: u64,
    /// Whether it may have sealed parts.
    parts: bool,
}

/// A sealed part without its files, which have keys of their own.
#[derive(Serialize, Deserialize)]
struct PartHead {
    broken_lines: u64,
}

fn failed(operation: &'static str) -> impl FnOnce(sled::Error) -> StoreError {
    move |error| match &error {
        // What the system said: another disk, more room or more descriptors may help. A copy of
        // an error, which is what all but the first one get, has its kind alone.
        sled::Error::Io(e) if e.raw_os_error().is_some() || has_no_room(e) => io_failed(operation)(e),
        _ => StoreError::Damaged { place: format!("its files (to {operation})"), reason: error.to_string() },
    }
}

/// Removes unfinished snapshots. sled writes a snapshot beside the last one and renames it, but takes
/// an unfinished one for the newest: after a kill, or for want of room, it would never open again
/// (`get_snapshot_files` skips another name than the one that is written). Nothing is touched while
/// somebody has the store open.
fn remove_begun_snapshots(folder: &Path) -> io::Result<()> {
    let log = match File::open(folder.join("db")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        log => log?,
    };
    if log.try_lock().is_err() {
        return Ok(());
    }
    for entry in folder.read_dir()? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Fails if something else has the name of one of sled's files. sled would open it, and wait for the
/// other end of a FIFO. Other names are ignored.
fn check_kinds(folder: &Path) -> Result<(), StoreError> {
    let list = || -> std::io::Result<Option<String>> {
        for entry in folder.read_dir()? {
            let entry = entry?;
            let (name, kind) = (entry.file_name().to_string_lossy().into_owned(), entry.file_type()?);
            let fits = match name.as_str() {
                "blobs" => kind.is_dir(),
                "db" | "conf" => kind.is_file(),
                name if name.starts_with("snap.") => kind.is_file(),
                _ => true,
            };
            if !fits {
                return Ok(Some(name));
            }
        }
        Ok(None)
    };
    match list().map_err(io_failed("list the folder"))? {
        None => Ok(()),
        Some(name) => {
            let reason = format!("store/{name} is none of its files, but has the name of one; move it away");
            Err(StoreError::Failed { operation: "be opened", reason })
        }
    }
}

/// Runs code that reads the store's files, and catches the panics of sled at damaged ones.
fn guarded<T>(read: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        let reason = text.unwrap_or_else(|| "it cannot be read".into());
        Err(StoreError::Damaged { place: "its files".into(), reason })
    })
}

/// A copy has no number.
fn has_no_room(error: &io::Error) -> bool {
    is_full(error) || error.kind() == io::ErrorKind::FileTooLarge
}

fn io_failed<E: Borrow<io::Error>>(operation: &'static str) -> impl FnOnce(E) -> StoreError {
    move |e| {
        let (e, reason) = (e.borrow(), e.borrow().to_string());
        if has_no_room(e) {
            StoreError::Full { operation, reason }
        } else {
            StoreError::Failed { operation, reason }
        }
    }
}

impl SledStore {
    /// Opens the store in `folder`, and creates it if it is missing.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        // sled would make it readable for everybody.
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_failed("make the folder"))?;
        check_kinds(folder)?;
        let config = sled::Config::new().path(folder).cache_capacity(CACHE_BYTES);
        let began = Instant::now();
        let db = loop {
            remove_begun_snapshots(folder).map_err(io_failed("remove what was left of a snapshot"))?;
            match guarded(|| Ok(config.open()))? {
                Ok(db) => break db,
                Err(sled::Error::Io(e)) if is_lock_conflict(&e) => {
                    if began.elapsed() > LOCK_PATIENCE {
                        return Err(StoreError::InUse);
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(e) => return Err(failed("open")(e)),
            }
        };
        let log = File::open(folder.join("db")).map_err(io_failed("open the log"))?;
        close_modes(folder).map_err(io_failed("close to others"))?;
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = File::open(parent.unwrap_or(Path::new("."))).map_err(io_failed("open its place"))?;
        let place = (parent, Path::new(folder.file_name().unwrap_or_default()).join("db"));
        let (known, closed, folder) = (HashMap::new(), Instant::now(), folder.to_path_buf());
        let mut store = Self { db, log, folder, closed, place, known, hooks: Hooks::default() };
        guarded(|| store.check_format())?;
        // What a killed process left may be readable and yet not durable.
        guarded(|| store.sync())?;
        File::open(&store.folder).and_then(|dir| dir.sync_all()).map_err(io_failed("sync the folder"))?;
        Ok(store)
    }

    /// As [`open`](Self::open), with the breakpoints and faults of tests.
    pub fn with_hooks(self, hooks: Hooks) -> Self {
        Self { hooks, ..self }
    }

    fn check_format(&mut self) -> Result<(), StoreError> {
        let Some(found) = self.db.get(FORMAT_KEY).map_err(failed("read the format"))? else {
            self.db.insert(FORMAT_KEY, FORMAT.to_string().as_bytes()).map_err(failed("write the format"))?;
            return self.sync();
        };
        let text = String::from_utf8_lossy(&found);
        match text.parse::<u32>() {
            Ok(found) if found <= FORMAT => Ok(()),
            Ok(found) => Err(StoreError::Newer { found, known: FORMAT }),
            Err(e) => Err(StoreError::Damaged { place: "m/format".into(), reason: e.to_string() }),
        }
    }

    /// Makes everything that was applied durable. P1 rests on this order.
    fn sync(&mut self) -> Result<(), StoreError> {
        self.db.flush().map_err(failed("flush"))?;
        self.hooks.reach(HookStep::LogFlushed);
        let synced = self
            .hooks
            .fault(HookFault::Fsync)
            .and_then(|()| telemetry::timed_sync("store", || self.log.sync_data()));
        synced.map_err(io_failed("sync the log"))?;
        // What nobody can open again is not durable, however well it is synced.
        let (data_dir, path) = &self.place;
        let there = statat(data_dir, path, AtFlags::SYMLINK_NOFOLLOW);
        let stands = fstat(&self.log)
            .and_then(|open| Ok((open.st_dev, open.st_ino) == there.map(|it| (it.st_dev, it.st_ino))?));
        if !stands.unwrap_or(false) {
            let reason = "its log was removed or replaced".into();
            return Err(StoreError::Failed { operation: "go on", reason });
        }
        self.hooks.reach(HookStep::LogSynced);
        Ok(())
    }

    fn known(&self, job: JobId) -> Result<JobContent, StoreError> {
        if let Some(known) = self.known.get(&job) {
            return Ok(*known);
        }
        let revision = match self.db.get(record_key(job)).map_err(failed("read a record"))? {
            Some(value) => parse::<JobRecord>(&record_key(job), &value)?.revision,
            None => 0,
        };
        Ok(JobContent { revision, parts: revision > 0 })
    }

    fn remove_parts(&self, batch: &mut sled::Batch, job: JobId) -> Result<(), StoreError> {
        for key in self.db.scan_prefix(key(b'p', job)).keys() {
            batch.remove(key.map_err(failed("list parts"))?);
        }
        Ok(())
    }
}

impl SledStore {
    /// Adds an entry to a batch, unless it is stale.
    fn add(&mut self, entry: &StoreEntry, batch: &mut sled::Batch) -> Result<EntryOutcome, StoreError> {
        match entry {
            StoreEntry::Record(record) => {
                let job = record.id;
                let mut known = self.known(job)?;
                if record.revision != known.revision + 1 {
                    return Ok(EntryOutcome::Stale);
                }
                known.revision = record.revision;
                batch.insert(record_key(job), json(record));
                if record.state.name() == StateName::Erased && known.parts {
                    self.remove_parts(batch, job)?;
                    known.parts = false;
                }
                self.known.insert(job, known);
            }
            StoreEntry::Part(job, part) => {
                let known = JobContent { parts: true, ..self.known(*job)? };
                let head = PartHead { broken_lines: part.broken_lines };
                batch.insert(part_key(*job, part.index), json(&head));
                for (n, file) in (0u32..).zip(&part.files) {
                    batch.insert(file_key(*job, part.index, n), json(file));
                }
                self.known.insert(*job, known);
            }
            StoreEntry::Forget(job) => {
                batch.remove(record_key(*job));
                self.remove_parts(batch, *job)?;
                self.known.remove(job);
            }
            StoreEntry::Head(head) => batch.insert(HEAD_KEY, json(head)),
        }
        Ok(EntryOutcome::Applied)
    }
}

impl Store for SledStore {
    fn commit(&mut self, entries: &[StoreEntry]) -> Result<Vec<EntryOutcome>, StoreError> {
        let mut batch = sled::Batch::default();
        let outcomes = entries.iter().map(|entry| self.add(entry, &mut batch));
        let outcomes = outcomes.collect::<Result<_, _>>()?;
        // sled makes files when it likes, and as the process's umask has it.
        if self.closed.elapsed() >= CLOSE_EVERY {
            self.closed = Instant::now();
            close_modes(&self.folder).map_err(io_failed("close to others"))?;
        }
        self.db.apply_batch(batch).map_err(failed("apply a batch"))?;
        self.hooks.reach(HookStep::BatchApplied);
        self.sync()?;
        Ok(outcomes)
    }

    fn load(&self) -> Result<Vec<StoredJob>, StoreError> {
        guarded(|| self.read(b"j/", b"p/"))
    }

    fn load_job(&self, job: JobId) -> Result<Option<StoredJob>, StoreError> {
        guarded(|| Ok(self.read(&record_key(job), &key(b'p', job))?.pop()))
    }

    /// Only one process can open sled.
    fn is_shared(&self) -> bool {
        false
    }

    fn head(&self) -> Result<Option<ChainHead>, StoreError> {
        guarded(|| {
            let found = self.db.get(HEAD_KEY).map_err(failed("read the head of the receipts"))?;
            found.map(|value| parse(HEAD_KEY, &value)).transpose()
        })
    }
}

impl SledStore {
    /// Reads the jobs whose records and parts have keys that begin so.
    fn read(&self, records: &[u8], parts: &[u8]) -> Result<Vec<StoredJob>, StoreError> {
        let mut jobs = BTreeMap::new();
        for item in self.db.scan_prefix(records) {
            let (key, value) = item.map_err(failed("list records"))?;
            let record: JobRecord = parse(&key, &value)?;
            jobs.insert(record.id, StoredJob { record, parts: Vec::new() });
        }
        // The keys sort a part before its files, and parts as the plan does.
        for item in self.db.scan_prefix(parts) {
            let (key, value) = item.map_err(failed("list parts"))?;
            let (job, index, is_file) = split_key(&key)?;
            let Some(stored) = jobs.get_mut(&job) else { continue };
            if !is_file {
                let head: PartHead = parse(&key, &value)?;
                stored.parts.push(SealedPart { index, files: Vec::new(), broken_lines: head.broken_lines });
            } else if let Some(part) = stored.parts.last_mut().filter(|part| part.index == index) {
                part.files.push(parse::<OutputFile>(&key, &value)?);
            }
        }
        Ok(jobs.into_values().collect())
    }
}

fn is_lock_conflict(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_over_a_damaged_file_is_an_error_that_says_what_to_do() {
        let panic = guarded::<()>(|| panic!("page {} is no page", 7)).unwrap_err().to_string();
        assert!(panic.contains("page 7 is no page") && panic.contains("fsck --rebuild"), "{panic}");
        let corruption = failed("open")(sled::Error::Unsupported("another size".into())).to_string();
        assert!(corruption.contains("fsck --rebuild"), "{corruption}");
        for number in [27, 28, 122] {
            let full = io::Error::from_raw_os_error(number);
            let copy = io::Error::new(full.kind(), full.to_string());
            for error in [full, copy].map(|error| failed("open")(sled::Error::Io(error))) {
                assert!(matches!(error, StoreError::Full { .. }), "{error}");
                let text = error.to_string();
                assert!(text.contains(&format!("os error {number}")) && !text.contains("fsck"), "{text}");
            }
        }
    }
}
