//! The check of a data directory that no server uses. It compares all witnesses with each other and
//! with every file, and reports each disagreement with its cause and its cure. Without permission
//! to repair it changes nothing: it works on copies of the store and the receipts, because opening
//! them mends them.

mod audit;
mod disk;
mod evidence;
mod explain;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::clock::Clock;
use crate::config::Config;
use crate::erase::reconcile::JoinCure;
use crate::erase::reconcile::{self, JoinedJobs, ReconcileError, StartWitnesses, WitnessExamination};
use crate::erase::{Eraser, HoldRegistry, LiveEvidence};
use crate::files::encrypted::{EncryptedFiles, NewFiles};
use crate::files::{Files, FilesError, LocalFiles};
use crate::hooks::Hooks;
use crate::job::{JobId, StateName};
use crate::keys::{self, KeyStoreStatus, KeysError};
use crate::lock;
use crate::receipts::ReceiptChain;
use crate::view::{LocalView, ViewChange};

use evidence::FsckEvidence;

/// What the check may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RepairMode {
    /// Nothing.
    Look,
    /// What the start of a server would do, and what needs no decision.
    Repair,
    /// As `Repair`. In addition, a store or receipts that cannot be used are moved aside, never
    /// removed, and rebuilt from the other witnesses.
    Rebuild,
}

/// Something that is not in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FsckFinding {
    /// What disagrees, and where. Names are relative to the data directory.
    pub what: String,
    /// How it may have happened.
    pub cause: &'static str,
    /// What puts it in order.
    pub cure: &'static str,
    /// What was done about it.
    pub outcome: FindingOutcome,
}

/// What was done about a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingOutcome {
    /// Nothing needs to be done, or a running server does it by itself.
    Note,
    /// It was repaired.
    Repaired,
    /// It was left unchanged.
    Left,
}

/// Why the check could not be made.
#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    /// There is no data directory.
    #[error("{0} is not a data directory: it has no LOCK; use --data-dir")]
    NoDataDirectory(PathBuf),
    /// A server uses the data directory.
    #[error("a server uses the data directory {0}; stop it first")]
    InUse(PathBuf),
    /// The store is of a newer version, and only that version may touch it.
    #[error(transparent)]
    Witness(#[from] ReconcileError),
    /// The keys of jobs cannot be read.
    #[error("cannot use the keys of jobs: {0}")]
    Keys(#[from] KeysError),
    /// The data directory cannot be used.
    #[error("cannot use the data directory: {0}")]
    Files(#[from] FilesError),
    /// Something could not be read, copied or moved aside.
    #[error("cannot {0}: {1}")]
    Io(&'static str, io::Error),
}

fn failed(operation: &'static str) -> impl FnOnce(io::Error) -> FsckError {
    move |error| FsckError::Io(operation, error)
}

/// Checks a data directory. Returns all findings, the gravest of each job first.
///
/// # Errors
/// Fails if the check could not be completed. Repairs that were made stay.
pub fn check(config: &Config, leave: RepairMode, now: Timestamp) -> Result<Vec<FsckFinding>, FsckError> {
    let (data_dir, retention) = (&*config.storage.data_dir, &config.retention);
    if !data_dir.join(lock::FILE_NAME).is_file() {
        return Err(FsckError::NoDataDirectory(data_dir.into()));
    }
    let lock = lock::take(data_dir).map_err(failed("take the lock"))?;
    let _lock = lock.ok_or_else(|| FsckError::InUse(data_dir.into()))?;
    let repaired = if leave == RepairMode::Look { FindingOutcome::Left } else { FindingOutcome::Repaired };

    let mut findings = disk::check_places(data_dir, repaired);
    if findings.iter().any(|finding| finding.outcome == FindingOutcome::Left) {
        return Ok(findings);
    }
    // Opening the store restricts its modes.
    let modes = disk::check_modes(data_dir, leave).map_err(failed("look at the modes"))?;
    let local = Arc::new(LocalFiles::open(data_dir, Hooks::default())?);
    findings.extend(disk::check_ballast(&local, data_dir, leave)?);
    let keys = Arc::new(match leave {
        RepairMode::Look => keys::look(config)?,
        _ => keys::open(config, Clock::system(), Hooks::default())?,
    });
    findings.extend(without_keys(&keys.status()));
    let files: Arc<dyn Files> = Arc::new(EncryptedFiles::new(local, keys, NewFiles::Encrypted));
    let Some(mut evidence) = FsckEvidence::open(data_dir, leave, now, &mut findings)? else {
        return Ok(findings);
    };
    findings.extend(evidence::check_witness(config, &*evidence.receipts));
    if findings.iter().any(|finding| finding.outcome == FindingOutcome::Left) {
        return Ok(findings);
    }

    let log = data_dir.join(crate::audit::FOLDER);
    let witnesses =
        StartWitnesses { files: &*files, receipts: &*evidence.receipts, audit: &log, now, retention };
    let since = witnesses.tombstones_since();
    let examination = reconcile::examine(&*evidence.store, &witnesses)?;
    findings.extend(explain::older(&examination, repaired));
    let mut lost = Vec::new();
    for job in &examination.jobs {
        let state = examination.stored.get(&job.job).map(|stored| stored.record.state.clone());
        findings.extend(explain::explain(job, state.as_ref(), repaired));
        let (more, is_lost) =
            disk::check_job(data_dir, &*files, job, examination.stored.get(&job.job), repaired);
        findings.extend(more);
        lost.extend(is_lost.then_some(job.job));
    }
    findings.extend(without_receipt(&examination, now, since));
    let stranger = |name: &String| FsckFinding {
        what: format!("{name} is a name that the server did not make"),
        cause: "somebody put it there",
        cure: "it is never removed; remove it yourself",
        outcome: FindingOutcome::Note,
    };
    findings.extend(examination.inventory.strangers.iter().map(stranger));
    findings.extend(audit::check(data_dir).map_err(failed("read the audit log"))?);
    findings.extend(modes);

    if leave > RepairMode::Look {
        evidence::give_up(&mut *evidence.store, &lost, &examination.stored, now)?;
        let joined = reconcile::at_start(&mut *evidence.store, &witnesses, &Hooks::default())?;
        sweep_leftovers(files.clone(), evidence.receipts.clone(), joined)?;
        files.restore_ballast()?;
    }
    Ok(findings)
}

/// Removes what is left of erased jobs, as a start does.
fn sweep_leftovers(
    files: Arc<dyn Files>,
    receipts: Arc<dyn ReceiptChain>,
    joined: JoinedJobs,
) -> Result<(), FilesError> {
    let view = Arc::new(LocalView::default());
    view.publish(joined.jobs.into_iter().map(ViewChange::New));
    let holds = HoldRegistry::of(LiveEvidence { files: files.clone(), receipts, view });
    Eraser::new(files, holds, Hooks::default()).sweep_leftovers(&joined.leftovers)
}

/// Reports keys that cannot be had. Nothing is decided on them: the key of an epoch may come back.
fn without_keys(keys: &KeyStoreStatus) -> Vec<FsckFinding> {
    let finding = |what, cause, cure| FsckFinding { what, cause, cure, outcome: FindingOutcome::Note };
    let unavailable = finding(
        format!("the keys of {} jobs cannot be had", keys.unavailable),
        "the key of their epoch is not where it was, or another data directory's keys/ was restored",
        "mount the device of keys.folder; if the key is lost, so are these exports: delete them",
    );
    let damaged = finding(
        format!("keys/ has {} damaged slots or files", keys.damaged),
        "somebody changed it, or the disk did",
        "exports whose keys stood there are lost; the next turn of the epoch writes the file anew",
    );
    let unavailable = (keys.unavailable > 0).then_some(unavailable);
    unavailable.into_iter().chain((keys.damaged > 0).then_some(damaged)).collect()
}

/// Reports erased jobs without the receipt that they should have.
fn without_receipt(examination: &WitnessExamination, now: Timestamp, since: Timestamp) -> Vec<FsckFinding> {
    let erased = |job: &JobId| {
        examination.stored.get(job).is_some_and(|stored| match &stored.record.state {
            crate::job::JobState::Erased(erasure) => erasure.gone_at >= since && erasure.gone_at <= now,
            _ => false,
        })
    };
    let without = examination.jobs.iter().filter(|job| erased(&job.job) && !job.testimony.receipt);
    without
        .map(|job| FsckFinding {
            what: format!("{}: erased, and there is no receipt of it", job.job),
            cause: "the end of the receipts was cut off",
            cure: "none: what the receipt said is lost; the chain says from the next start on that it has a gap",
            outcome: FindingOutcome::Note,
        })
        .collect()
}

/// Returns whether the state of the store alone needs nothing: an export that goes on at the next
/// start, or a mark that is then swept.
fn is_pending(cure: JoinCure, stored: Option<StateName>) -> bool {
    match cure {
        JoinCure::Resume => stored.is_some(),
        JoinCure::SettleFailure => stored == Some(StateName::Failed),
        JoinCure::Erase => stored == Some(StateName::Marked),
        _ => false,
    }
}
