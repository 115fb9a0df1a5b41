//! The store and the receipts: the real ones, or copies of them if nothing may be changed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use tempfile::TempDir;

use super::{FindingOutcome, FsckError, FsckFinding, RepairMode, failed};
use crate::config::Config;
use crate::erase::reconcile::ReconcileError;
use crate::job::{JobId, JobState, Mark, MarkReason};
use crate::plain_file::{self, LinkPolicy};
use crate::receipts::{self, HeadWitness, ReceiptChain, ReceiptFile, ReceiptsError};
use crate::store::{SledStore, Store, StoreEntry, StoreError, StoredJob};

/// The name of the store's folder in the data directory.
const STORE: &str = "store";

/// The opened store and receipts.
pub struct FsckEvidence {
    pub store: Box<dyn Store>,
    pub receipts: Arc<dyn ReceiptChain>,
    /// The folder of the copies.
    _copy: Option<TempDir>,
}

impl FsckEvidence {
    /// Opens both. Returns `None`, with a finding, if one of them cannot be used and may not be
    /// rebuilt.
    pub fn open(
        data_dir: &Path,
        leave: RepairMode,
        now: Timestamp,
        findings: &mut Vec<FsckFinding>,
    ) -> Result<Option<Self>, FsckError> {
        let copy = (leave == RepairMode::Look).then(|| copy(data_dir)).transpose();
        let copy = copy.map_err(failed("copy the store and the receipts"))?;
        let place = copy.as_ref().map_or(data_dir, TempDir::path);
        let receipts = open_receipts(place, leave, now, findings)?;
        let store = open_store(place, leave, now, findings)?;
        let (Some(store), Some(receipts)) = (store, receipts) else { return Ok(None) };
        Ok(Some(Self { store, receipts: Arc::new(receipts), _copy: copy }))
    }
}

/// Compares the receipts with the head that is kept elsewhere. What is older than that is not repaired: what
/// was erased since is not known here.
pub fn check_witness(config: &Config, receipts: &dyn ReceiptChain) -> Option<FsckFinding> {
    let witness = config.receipts.witness.as_deref().map(HeadWitness::new)?;
    witness.check(receipts).err().map(|error| FsckFinding {
        what: error.to_string(),
        cause: "the data directory was restored, or its machine went back in time; or the witness is not there",
        cure: "receipts replay --from FILE, with a newer copy of the receipts; a start is refused until then",
        outcome: FindingOutcome::Left,
    })
}

/// Marks jobs whose files differ from their record.
pub fn give_up(
    store: &mut dyn Store,
    jobs: &[JobId],
    stored: &BTreeMap<JobId, StoredJob>,
    now: Timestamp,
) -> Result<(), FsckError> {
    let mark = |job: &JobId| {
        let record = &stored.get(job)?.record;
        let was = record.state.name();
        let mark = Mark { reason: MarkReason::Lost, by: None, at: now, request_id: None, was, failure: None };
        Some(StoreEntry::Record(record.next(JobState::Marked(mark))))
    };
    let marks: Vec<_> = jobs.iter().filter_map(mark).collect();
    if !marks.is_empty() {
        store.commit(&marks).map_err(ReconcileError::from)?;
    }
    Ok(())
}

fn open_receipts(
    place: &Path,
    leave: RepairMode,
    now: Timestamp,
    findings: &mut Vec<FsckFinding>,
) -> Result<Option<ReceiptFile>, FsckError> {
    let reason = match ReceiptFile::open(place) {
        Ok(receipts) => return Ok(Some(receipts)),
        Err(error @ ReceiptsError::Broken { .. }) => error.to_string(),
        Err(error) => return Err(ReconcileError::from(error).into()),
    };
    let finding = |outcome| FsckFinding {
        what: reason.clone(),
        cause: "somebody changed it, or the disk did",
        cure: "fsck --rebuild moves the file aside and keeps the entries before that line",
        outcome,
    };
    if leave < RepairMode::Rebuild {
        findings.push(finding(FindingOutcome::Left));
        return Ok(None);
    }
    let aside = aside(place, receipts::FILE_NAME, now).map_err(failed("move the receipts aside"))?;
    let receipts = ReceiptFile::salvage(&aside, place).map_err(ReconcileError::from)?;
    findings.push(finding(FindingOutcome::Repaired));
    Ok(Some(receipts))
}

fn open_store(
    place: &Path,
    leave: RepairMode,
    now: Timestamp,
    findings: &mut Vec<FsckFinding>,
) -> Result<Option<Box<dyn Store>>, FsckError> {
    let folder = place.join(STORE);
    let opened = SledStore::open(&folder).and_then(|store| store.load().map(|_| store));
    let reason = match opened {
        Ok(store) => return Ok(Some(Box::new(store))),
        Err(error @ (StoreError::Newer { .. } | StoreError::InUse)) => {
            return Err(ReconcileError::from(error).into());
        }
        Err(error) => error.to_string(),
    };
    let finding = |outcome| FsckFinding {
        what: reason.clone(),
        cause: "the disk, or somebody, has damaged it",
        cure: "fsck --rebuild moves the store aside and makes it again from the directories and the receipts",
        outcome,
    };
    if leave < RepairMode::Rebuild {
        findings.push(finding(FindingOutcome::Left));
        return Ok(None);
    }
    aside(place, STORE, now).map_err(failed("move the store aside"))?;
    let store = SledStore::open(&folder).map_err(ReconcileError::from)?;
    findings.push(finding(FindingOutcome::Repaired));
    Ok(Some(Box::new(store)))
}

/// Renames what cannot be used, durably, because it is evidence.
fn aside(place: &Path, name: &str, now: Timestamp) -> io::Result<std::path::PathBuf> {
    let to = place.join(format!("{name}.broken-{}", now.as_millisecond()));
    fs::rename(place.join(name), &to)?;
    fs::File::open(place)?.sync_all()?;
    Ok(to)
}

fn copy(data_dir: &Path) -> io::Result<TempDir> {
    let copy = tempfile::tempdir()?;
    let (store, to) = (data_dir.join(STORE), copy.path().join(STORE));
    if store.is_dir() {
        copy_folder(&store, &to)?;
    }
    match plain_file::open(&data_dir.join(receipts::FILE_NAME), LinkPolicy::Refuse) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        file => {
            io::copy(&mut file?, &mut fs::File::create(copy.path().join(receipts::FILE_NAME))?)?;
        }
    }
    Ok(copy)
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
