//! The receipts of erasures (P9): an append-only file of JSON lines outside the store, each
//! line bound to the one before it by SHA-256. The chain shows that a line was changed,
//! removed or put in between; it can not show by itself that its last lines were cut off.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::job::{JobId, Receipt};

/// The name of the file in the data directory.
pub const FILE_NAME: &str = "receipts.ndjson";

/// The `previous` of the first line.
const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

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

/// One line of the file.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    receipt: &'a RawValue,
    /// The hash of the line before.
    previous: &'a str,
    /// SHA-256 in hex over `previous` and the bytes of `receipt`.
    hash: String,
}

fn hash(previous: &str, receipt: &str) -> String {
    hex::encode(Sha256::new().chain_update(previous).chain_update(receipt).finalize())
}

/// What a verified chain holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Receipts in it.
    pub count: u64,
    /// The hash of the last line.
    pub head: String,
    entries: HashMap<JobId, Entry>,
    length: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    offset: u64,
    gone_at: Timestamp,
}

/// Reads a chain from its beginning and checks every link. A last line without its newline
/// is a torn append that nobody was told of, and is not part of the chain.
pub fn verify(path: &Path) -> Result<Chain, ReceiptsError> {
    let mut chain = Chain { count: 0, head: GENESIS.into(), entries: HashMap::new(), length: 0 };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(chain),
        Err(e) => return Err(fail("open")(e)),
    };
    let mut reader = BufReader::new(file);
    let mut text = Vec::new();
    loop {
        text.clear();
        let read = reader.read_until(b'\n', &mut text).map_err(fail("read"))?;
        if !text.ends_with(b"\n") {
            return Ok(chain);
        }
        let broken = |reason: String| ReceiptsError::Broken { line: chain.count + 1, reason };
        let line: Line<'_> = serde_json::from_slice(&text).map_err(|e| broken(e.to_string()))?;
        if line.previous != chain.head {
            return Err(broken("it does not follow from the line before".into()));
        }
        if line.hash != hash(line.previous, line.receipt.get()) {
            return Err(broken("its content is not what its hash says".into()));
        }
        let receipt: Receipt = serde_json::from_str(line.receipt.get()).map_err(|e| broken(e.to_string()))?;
        chain.entries.insert(receipt.job, Entry { offset: chain.length, gone_at: receipt.gone_at });
        chain.head = line.hash;
        chain.count += 1;
        chain.length += read as u64;
    }
}

/// The receipt of a job in the file at `path`, which another process may be appending to.
pub fn read(path: &Path, job: JobId) -> Result<Option<Receipt>, ReceiptsError> {
    match verify(path)?.entries.get(&job) {
        Some(entry) => read_at(path, entry.offset).map(Some),
        None => Ok(None),
    }
}

fn read_at(path: &Path, offset: u64) -> Result<Receipt, ReceiptsError> {
    let read = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut text = Vec::new();
        BufReader::new(file).read_until(b'\n', &mut text)?;
        let line: Line<'_> = serde_json::from_slice(&text)?;
        Ok(serde_json::from_str(line.receipt.get())?)
    };
    read().map_err(fail("read"))
}

/// The open file of receipts.
pub struct Receipts {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    file: File,
    chain: Chain,
}

impl Receipts {
    /// Opens the receipts of a data directory, verifies the chain and cuts off a torn last
    /// line. A broken chain is an error: nothing is appended to it.
    pub fn open(data_dir: &Path) -> Result<Self, ReceiptsError> {
        let path = data_dir.join(FILE_NAME);
        let chain = verify(&path)?;
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(fail("open"))?;
        let tidy = |file: &mut File| {
            if file.metadata()?.len() != chain.length {
                tracing::warn!(
                    line = chain.count + 1,
                    "a torn receipt was cut off; its erasure is done again"
                );
                file.set_len(chain.length)?;
            }
            file.seek(SeekFrom::Start(chain.length))?;
            file.sync_all()?;
            File::open(data_dir)?.sync_all()
        };
        tidy(&mut file).map_err(fail("prepare"))?;
        Ok(Self { path, state: Mutex::new(State { file, chain }) })
    }

    /// Appends receipts and syncs the file. After an error nothing more can be appended: the
    /// caller ends the process, and the next start cuts off what was torn.
    pub fn append(&self, receipts: &[&Receipt]) -> Result<(), ReceiptsError> {
        let mut state = self.state.lock();
        let mut text = Vec::new();
        for receipt in receipts {
            let body = serde_json::value::to_raw_value(receipt).expect("a receipt always serializes");
            let next = hash(&state.chain.head, body.get());
            let line = Line { receipt: &body, previous: &state.chain.head, hash: next.clone() };
            let offset = state.chain.length + text.len() as u64;
            serde_json::to_writer(&mut text, &line).expect("a line always serializes");
            text.push(b'\n');
            state.chain.entries.insert(receipt.job, Entry { offset, gone_at: receipt.gone_at });
            state.chain.head = next;
            state.chain.count += 1;
        }
        state.file.write_all(&text).and_then(|()| state.file.sync_data()).map_err(fail("append to"))?;
        state.chain.length += text.len() as u64;
        Ok(())
    }

    /// Whether the job has a receipt.
    pub fn has(&self, job: JobId) -> bool {
        self.state.lock().chain.entries.contains_key(&job)
    }

    /// The jobs that were erased at `since` or later.
    pub fn erased_since(&self, since: Timestamp) -> Vec<JobId> {
        let state = self.state.lock();
        state.chain.entries.iter().filter(|(_, entry)| entry.gone_at >= since).map(|(job, _)| *job).collect()
    }

    /// The receipt of a job, if it was erased.
    pub fn find(&self, job: JobId) -> Result<Option<Receipt>, ReceiptsError> {
        let entry = self.state.lock().chain.entries.get(&job).copied();
        entry.map(|entry| read_at(&self.path, entry.offset)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{MarkReason, StateName};

    fn receipt(files: u64) -> Receipt {
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        Receipt {
            job: JobId::random(),
            tenant: "default".parse().unwrap(),
            owner: "client".parse().unwrap(),
            reason: MarkReason::Deleted,
            was: StateName::Complete,
            by: None,
            request_id: None,
            submitted_at: at,
            marked_at: at,
            hidden_at: None,
            last_byte_at: None,
            gone_at: at,
            files,
            bytes: 0,
            planted_links: 0,
            failed_sweeps: 0,
            last_error: None,
            fenced_writers: 0,
            cut_downloads: 0,
            resumed: false,
        }
    }

    #[test]
    fn receipts_are_chained_over_reopening_and_found_by_their_job() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, c) = (receipt(1), receipt(2), receipt(3));
        Receipts::open(dir.path()).unwrap().append(&[&a, &b]).unwrap();
        let receipts = Receipts::open(dir.path()).unwrap();
        receipts.append(&[&c]).unwrap();
        assert_eq!(verify(&dir.path().join(FILE_NAME)).unwrap().count, 3);
        for one in [a, b, c] {
            assert_eq!(receipts.find(one.job).unwrap(), Some(one));
        }
        assert_eq!(receipts.find(JobId::random()).unwrap(), None);
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_the_chain_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        Receipts::open(dir.path()).unwrap().append(&[&receipt(1)]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], &whole[..whole.len() / 2]].concat()).unwrap();
        Receipts::open(dir.path()).unwrap().append(&[&receipt(2)]).unwrap();
        assert_eq!(verify(&path).unwrap().count, 2);
    }

    #[test]
    fn a_changed_or_missing_line_breaks_the_chain() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        Receipts::open(dir.path()).unwrap().append(&[&receipt(17), &receipt(2), &receipt(3)]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for damaged in [
            text.replace("\"files\":17", "\"files\":16"),
            text.lines().skip(1).map(|line| format!("{line}\n")).collect(),
            text.lines().step_by(2).map(|line| format!("{line}\n")).collect(),
        ] {
            std::fs::write(&path, damaged).unwrap();
            assert!(matches!(verify(&path), Err(ReceiptsError::Broken { .. })));
            assert!(Receipts::open(dir.path()).is_err());
        }
    }
}
