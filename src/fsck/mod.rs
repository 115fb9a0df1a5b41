//! `fsck` of a data directory that no server uses: hears all witnesses, compares what they say
//! with each other and with every file, and tells each disagreement with its cause and its cure.
//! Without leave to repair it changes nothing: it reads copies of the store and the receipts,
//! for opening them mends them.

mod audit;
mod disk;
mod evidence;
mod explain;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::config::Retention;
use crate::erase::{Eraser, HoldRegistry, LiveEvidence};
use crate::files::layout::Cure;
use crate::files::{Files, FilesError, LocalFiles};
use crate::hooks::Hooks;
use crate::job::{JobId, StateName};
use crate::lock;
use crate::receipts::ReceiptChain;
use crate::reconcile::{self, Examination, Joined, ReconcileError, Witnesses};
use crate::view::{LocalView, ViewChange};

use evidence::Evidence;

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leave {
    /// Nothing: only say what is wrong.
    Look,
    /// What the start of a server would do, and what only needs to be put right.
    Repair,
    /// As `Repair`; and a store or receipts that cannot be used are moved aside, never
    /// removed, and made again from what the other witnesses say.
    Rebuild,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What disagrees, and where; names are relative to the data directory.
    pub what: String,
    /// How it can have come about.
    pub cause: &'static str,
    /// What puts it right.
    pub cure: &'static str,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing that must be put right, or a running server does it by itself.
    Note,
    /// It was put right.
    Repaired,
    /// It is as it was.
    Left,
}

/// Why there could be no check.
#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    /// There is nothing to check.
    #[error("{0} is no data directory: it has no LOCK; use --data-dir")]
    NoDataDirectory(PathBuf),
    /// It is not to be checked now.
    #[error("a server uses the data directory {0}; stop it first")]
    InUse(PathBuf),
    /// The store is of a newer version, which alone may touch it.
    #[error(transparent)]
    Witness(#[from] ReconcileError),
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

/// Checks a data directory and gives all findings, the gravest of each job first.
///
/// # Errors
/// The check could not be made, or not to its end; what was repaired by then stays.
pub fn check(
    data_dir: &Path,
    leave: Leave,
    now: Timestamp,
    retention: &Retention,
) -> Result<Vec<Finding>, FsckError> {
    if !data_dir.join(lock::FILE_NAME).is_file() {
        return Err(FsckError::NoDataDirectory(data_dir.into()));
    }
    let lock = lock::take(data_dir).map_err(failed("take the lock"))?;
    let _lock = lock.ok_or_else(|| FsckError::InUse(data_dir.into()))?;
    let repaired = if leave == Leave::Look { Outcome::Left } else { Outcome::Repaired };

    let mut findings = disk::check_places(data_dir, repaired);
    if findings.iter().any(|finding| finding.outcome == Outcome::Left) {
        return Ok(findings);
    }
    // Opening the store closes it.
    let modes = disk::check_modes(data_dir, leave).map_err(failed("look at the modes"))?;
    let files = Arc::new(LocalFiles::open(data_dir, Hooks::default())?);
    findings.extend(disk::check_ballast(&files, data_dir, leave)?);
    let Some(mut evidence) = Evidence::open(data_dir, leave, now, &mut findings)? else {
        return Ok(findings);
    };

    let log = data_dir.join(crate::audit::FOLDER);
    let witnesses = Witnesses { files: &*files, receipts: &evidence.receipts, audit: &log, now, retention };
    let since = witnesses.tombstones_since();
    let examination = reconcile::examine(&*evidence.store, &witnesses)?;
    findings.extend(explain::older(&examination, repaired));
    let mut lost = Vec::new();
    for job in &examination.jobs {
        let state = examination.stored.get(&job.job).map(|stored| stored.record.state.clone());
        findings.extend(explain::explain(job, state.as_ref(), repaired));
        let (more, is_lost) = disk::check_job(data_dir, job, examination.stored.get(&job.job), repaired);
        findings.extend(more);
        lost.extend(is_lost.then_some(job.job));
    }
    findings.extend(without_receipt(&examination, now, since));
    let stranger = |name: &String| Finding {
        what: format!("{name} is a name that the server did not make"),
        cause: "somebody put it there",
        cure: "it is never removed; remove it yourself",
        outcome: Outcome::Note,
    };
    findings.extend(examination.inventory.strangers.iter().map(stranger));
    findings.extend(audit::check(data_dir).map_err(failed("read the audit log"))?);
    findings.extend(modes);

    if leave > Leave::Look {
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
    receipts: Arc<ReceiptChain>,
    joined: Joined,
) -> Result<(), FilesError> {
    let view = Arc::new(LocalView::default());
    view.publish(joined.jobs.into_iter().map(ViewChange::New));
    let holds = HoldRegistry::of(LiveEvidence { files: files.clone(), receipts, view });
    Eraser::new(files, holds, Hooks::default()).sweep_leftovers(&joined.leftovers)
}

/// Erased jobs of which the chain knows nothing, though it should.
fn without_receipt(examination: &Examination, now: Timestamp, since: Timestamp) -> Vec<Finding> {
    let erased = |job: &JobId| {
        examination.stored.get(job).is_some_and(|stored| match &stored.record.state {
            crate::job::JobState::Erased(erasure) => erasure.gone_at >= since && erasure.gone_at <= now,
            _ => false,
        })
    };
    let without = examination.jobs.iter().filter(|job| erased(&job.job) && !job.testimony.receipt);
    without
        .map(|job| Finding {
            what: format!("{}: erased, and there is no receipt of it", job.job),
            cause: "the end of the receipts was cut off",
            cure: "none: what the receipt said is lost; the chain says from the next start on that it has a gap",
            outcome: Outcome::Note,
        })
        .collect()
}

/// Whether the state of the store alone asks for nothing: an export that goes on at the next
/// start, a mark that is swept then.
fn is_pending(cure: Cure, stored: Option<StateName>) -> bool {
    match cure {
        Cure::Resume => stored.is_some(),
        Cure::SettleFailure => stored == Some(StateName::Failed),
        Cure::Erase => stored == Some(StateName::Marked),
        _ => false,
    }
}
