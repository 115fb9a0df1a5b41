//! The receipts of erasures (P9), and the durable memory of holds and pauses: an append-only
//! file of JSON lines outside the store, each line bound to the one before it by SHA-256. The
//! chain shows that a line was changed, removed or put in between. That its last lines were cut
//! off only somebody can tell who has kept a [`ChainHead`] of it: the store does, and the log.

mod audit_event;
mod chain;
mod entry;
mod known;
mod mend;
mod prune;
mod salvage;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};

use crate::hooks::{Fault, Hooks, Step};
use crate::job::{JobId, Receipt};
use crate::plain_file::{LinkPolicy, open_with};
use crate::telemetry;
use known::Known;

pub use crate::chain::{ChainHash, ChainHead, InvalidHash};
pub use audit_event::audit_event;
pub use chain::{ReceiptLine, ReceiptSummary, read, verify, walk};
pub use entry::{Hold, Pause, ReceiptEntry};
pub use prune::PruneDue;

/// The name of the file in the data directory.
pub const FILE_NAME: &str = "receipts.ndjson";

/// The name of the file that a pruning writes before it takes the other one's place.
const NEW_NAME: &str = "receipts.ndjson.new";

/// Why receipts cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptsError {
    /// The file could not be read or written.
    #[error("{operation} receipts.ndjson: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What went wrong.
        source: io::Error,
    },
    /// A line does not follow from the one before it.
    #[error("receipts.ndjson, line {line}: {reason}")]
    Broken {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
}

fn fail(operation: &'static str) -> impl FnOnce(io::Error) -> ReceiptsError {
    move |source| ReceiptsError::Io { operation, source }
}

/// The open file of receipts.
pub struct ReceiptChain {
    data_dir: PathBuf,
    /// The end of the chain. Locked before `durable`, where both are.
    end: Mutex<End>,
    /// What is on stable storage; nobody who asks waits for an fsync.
    durable: RwLock<Durable>,
    /// See [`ReceiptChain::pruned_until`].
    pruned_until: Option<Timestamp>,
    hooks: Hooks,
}

struct End {
    file: Arc<File>,
    head: ChainHead,
    bytes: u64,
    /// Set by an error after which the file's content is not known: nothing is appended any more.
    failed: bool,
}

struct Durable {
    /// The file that the offsets are of.
    file: Arc<File>,
    checkpoint: Option<ChainHead>,
    known: Known,
}

impl ReceiptChain {
    /// Opens the receipts of a data directory, verifies the chain and cuts off a torn last
    /// line. A broken chain is an error: nothing is appended to it.
    pub fn open(data_dir: &Path) -> Result<Self, ReceiptsError> {
        prune::remove_new(data_dir).map_err(fail("remove what a pruning left of"))?;
        let path = data_dir.join(FILE_NAME);
        let mut known = Known::default();
        let chain = walk(&path, |item| {
            known.note(&item.entry, item.head.count, item.bytes.start);
            Ok::<_, ReceiptsError>(())
        })?;
        if let Err(error) = chain.confirm() {
            // What is missing cannot be brought back, and deletions go on.
            tracing::error!(%error, "the end of the receipts was cut off");
            telemetry::receipts_gap();
        }
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = open_with(options, &path, LinkPolicy::Refuse).map_err(fail("open"))?;
        let tidy = |file: &mut File| {
            if file.metadata()?.len() != chain.bytes {
                let count = chain.head.count;
                tracing::warn!(count, "a torn receipt was cut off; its erasure is done again");
                file.set_len(chain.bytes)?;
            }
            file.seek(SeekFrom::Start(chain.bytes))?;
            file.sync_all()?;
            File::open(data_dir)?.sync_all()
        };
        tidy(&mut file).map_err(fail("prepare"))?;
        let file = Arc::new(file);
        let end = End { file: file.clone(), head: chain.head, bytes: chain.bytes, failed: false };
        let durable = Durable { file, checkpoint: chain.checkpoint, known };
        let (end, durable) = (Mutex::new(end), RwLock::new(durable));
        let pruned_until = chain.checkpoint.map(|_| chain.first.unwrap_or(Timestamp::MAX));
        Ok(Self { data_dir: data_dir.into(), end, durable, pruned_until, hooks: Hooks::default() })
    }

    /// The same, with the breakpoints and faults of tests.
    pub fn with_hooks(self, hooks: Hooks) -> Self {
        Self { hooks, ..self }
    }

    fn path(&self) -> PathBuf {
        self.data_dir.join(FILE_NAME)
    }

    /// Appends entries, syncs the file and gives the new head, which is logged as well: a
    /// collected log is a witness that nobody on this machine can change. After an error
    /// nothing more can be appended: the caller ends the process, and the next start cuts off
    /// what was torn.
    pub fn append(&self, entries: &[ReceiptEntry]) -> Result<ChainHead, ReceiptsError> {
        let heads = self.append_each(entries)?;
        Ok(heads.last().copied().unwrap_or_else(|| self.head()))
    }

    /// As [`ReceiptChain::append`]; gives the head that each entry came to.
    pub fn append_each(&self, entries: &[ReceiptEntry]) -> Result<Vec<ChainHead>, ReceiptsError> {
        let mut end = self.end.lock();
        if end.failed {
            return Err(fail("append to")(io::Error::other("it failed before; only a new start can go on")));
        }
        if let Err(error) = self.mend(&mut end, Timestamp::now()) {
            // Where it still has a name somewhere it can be found and put back.
            tracing::error!(%error, "the receipts are not in their place, and cannot be put there");
            let has_name = end.file.metadata().is_ok_and(|open| open.nlink() > 0 && open.len() == end.bytes);
            if !has_name {
                end.failed = true;
                return Err(fail("append to")(error));
            }
        }
        let (mut head, mut text, mut places) = (end.head, Vec::new(), Vec::with_capacity(entries.len()));
        for entry in entries {
            let offset = end.bytes + text.len() as u64;
            let (line, next) = chain::line(head, entry);
            text.extend(line);
            head = next;
            places.push((entry, head, offset));
        }
        let written = (&*end.file).write_all(&text).and_then(|()| {
            self.hooks.reach(Step::ReceiptWritten);
            self.hooks.fault(Fault::Fsync)?;
            telemetry::timed_sync("receipts", || end.file.sync_data())
        });
        end.failed = written.is_err();
        written.map_err(fail("append to"))?;
        end.head = head;
        end.bytes += text.len() as u64;
        let mut durable = self.durable.write();
        for (entry, head, offset) in &places {
            durable.known.note(entry, head.count, *offset);
        }
        tracing::info!(entries = entries.len(), count = head.count, head = %head.hash, "receipts appended");
        Ok(places.into_iter().map(|(_, head, _)| head).collect())
    }

    /// The end of the chain.
    pub fn head(&self) -> ChainHead {
        self.end.lock().head
    }

    /// Looks for a head that the chain once had. `None` if it is there, or if it is in the
    /// pruned part, of which nothing can be told; else what is there in its place: the entry
    /// of that count, or the last one of a chain that is shorter.
    pub fn missing(&self, expected: ChainHead) -> Result<Option<ChainHead>, ReceiptsError> {
        let head = self.head();
        let checkpoint = self.durable.read().checkpoint;
        let first = checkpoint.unwrap_or(ChainHead::EMPTY);
        let found = match expected.count {
            count if count >= head.count => head,
            count if count < first.count => return Ok(None),
            count if count == first.count => first,
            count => {
                let lines_before = count - first.count - 1 + u64::from(checkpoint.is_some());
                self.head_behind(lines_before, count).map_err(fail("read"))?
            }
        };
        Ok((found != expected).then_some(found))
    }

    /// The head at the line behind so many others: their ends are counted, which is cheaper
    /// than to keep all hashes or offsets in memory for a question of a start after a crash.
    fn head_behind(&self, lines: u64, count: u64) -> io::Result<ChainHead> {
        let mut input = BufReader::new(File::open(self.path())?);
        for _ in 0..lines {
            input.skip_until(b'\n')?;
        }
        Ok(ChainHead { count, hash: chain::read_hash(input)? })
    }

    /// Whether the job has a receipt.
    pub fn has(&self, job: JobId) -> bool {
        self.durable.read().known.erasure(job).is_some()
    }

    /// Until when receipts may have been pruned, as this process found the chain: of an erasure
    /// before that it knows nothing. `None` if all that there ever were are there.
    pub fn pruned_until(&self) -> Option<Timestamp> {
        self.pruned_until
    }

    /// Whether the chain says that what lay behind `expected` is missing.
    pub fn tells_gap(&self, expected: ChainHead) -> bool {
        self.durable.read().known.gap() == Some(expected)
    }

    /// The jobs that were erased at `since` or later, to the microsecond.
    pub fn erased_since(&self, since: Timestamp) -> Vec<JobId> {
        self.durable.read().known.erased_since(since)
    }

    /// The receipt of a job, if it was erased and the receipt is not pruned.
    pub fn find(&self, job: JobId) -> Result<Option<Receipt>, ReceiptsError> {
        let place = {
            let durable = self.durable.read();
            durable.known.erasure(job).map(|offset| (durable.file.clone(), offset))
        };
        let Some((file, offset)) = place else { return Ok(None) };
        match chain::read_line_at(&file, offset).map_err(fail("read"))? {
            ReceiptEntry::Erasure(receipt) => Ok(Some(*receipt)),
            _ => Err(fail("read")(io::Error::other("another entry stands where a receipt was written"))),
        }
    }

    /// The hold on a job, if one is in force.
    pub fn hold_of(&self, job: JobId) -> Option<Hold> {
        self.durable.read().known.hold_of(job).cloned()
    }

    /// All holds in force.
    pub fn holds(&self) -> Vec<Hold> {
        self.durable.read().known.holds()
    }

    /// The pause of the reaper, if one is in force.
    pub fn pause(&self) -> Option<Pause> {
        self.durable.read().known.pause().cloned()
    }
}
