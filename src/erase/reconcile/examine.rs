//! Hears the witnesses of every job. Nothing is changed, except that directories are synced before
//! they are believed: a killed process leaves things that can be read and would not survive a power
//! loss. The audit log, which may be large, is read to its end only when another witness is missing
//! something.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use jiff::Timestamp;

use super::table::{BuildingEvidence, JobTestimony, JoinCure};
use super::{ReconcileError, document, parse, read};
use crate::audit::{self, AuditError, LastWitnessed, WitnessedDeletion};
use crate::clock::before;
use crate::config::RetentionConfig;
use crate::files::{DirPlace, DiskInventory, DocumentKind, Files, FilesError};
use crate::job::{ExportRequest, JobDocument, JobId, JobState, StateName};
use crate::receipts::{ChainHead, ReceiptChain};
use crate::store::{Store, StoredJob};

/// The witnesses beside the store, and what is asked of them.
#[derive(Clone, Copy)]
pub struct StartWitnesses<'a> {
    /// Job directories.
    pub files: &'a dyn Files,
    /// The chain of receipts.
    pub receipts: &'a dyn ReceiptChain,
    /// The folder of the audit log; it need not be there.
    pub audit: &'a Path,
    /// The wall time.
    pub now: Timestamp,
    /// How long files and tombstones are kept.
    pub retention: &'a RetentionConfig,
}

impl StartWitnesses<'_> {
    /// Returns the instant before which erasures are forgotten: their jobs answer `not-found` (P2).
    pub fn tombstones_since(&self) -> Timestamp {
        before(self.now, self.retention.tombstones.0)
    }
}

/// What the witnesses say of one job, and what is to be done about it.
#[derive(Debug, Clone, Copy)]
pub struct ExaminedJob {
    /// The job.
    pub job: JobId,
    /// What each witness says.
    pub testimony: JobTestimony,
    /// What makes them agree.
    pub cure: JoinCure,
}

/// What all witnesses say.
pub struct WitnessExamination {
    /// What stands on disk.
    pub inventory: DiskInventory,
    /// What the store holds.
    pub stored: BTreeMap<JobId, StoredJob>,
    /// Every job that a witness knows.
    pub jobs: Vec<ExaminedJob>,
    /// What is missing at the end of the receipts.
    pub gap: Option<ReceiptsGap>,
    /// What only the audit log may know of deletions.
    pub deletions: HashMap<JobId, WitnessedDeletion>,
    /// Whether the audit log tells of a mark that the store should have and has not.
    pub store_is_behind: bool,
}

/// The receipts end before a place that another witness has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptsGap {
    /// What has been seen.
    pub expected: ChainHead,
    /// What stands there, or the end of a chain that is shorter.
    pub found: ChainHead,
    /// Whether it is the store that has seen it; then the store is the later one.
    pub seen_by_store: bool,
}

/// Hears the witnesses of every job.
///
/// # Errors
/// Fails if the store, the receipts or a directory without a record cannot be read. An audit log that
/// cannot be read is logged, and says nothing.
pub fn examine(
    store: &dyn Store,
    witnesses: &StartWitnesses<'_>,
) -> Result<WitnessExamination, ReconcileError> {
    let StartWitnesses { files, receipts, audit, .. } = *witnesses;
    let since = witnesses.tombstones_since();
    let stored: BTreeMap<_, _> = store.load()?.into_iter().map(|job| (job.record.id, job)).collect();
    let inventory = files.inventory()?;
    let mut heard = hear(&stored, &inventory, witnesses)?;

    let latest = of_log(audit::latest(audit));
    let gap = find_gap(store, receipts, latest)?;
    let unseen = latest.mark.filter(|(job, _)| {
        let record = stored.get(job).map(|stored| stored.record.state.name());
        !record.is_some_and(StateName::is_deleted)
    });
    // The store forgets a mark only when its tombstone is over.
    let store_is_behind = unseen.is_some_and(|(_, at)| at >= since);
    let may_have_more = gap.is_some() || unseen.is_some() || heard.values().any(is_unrecorded);
    let is_wanted = |job, at| match heard.get(&job) {
        Some(said) => !said.receipt && !said.store.is_some_and(StateName::is_deleted),
        None => at >= since && (gap.is_some() || store_is_behind) && !receipts.has(job),
    };
    let deletions = if may_have_more { of_log(audit::deletions(audit, is_wanted)) } else { HashMap::new() };
    for job in deletions.keys() {
        heard.entry(*job).or_default().audit = true;
    }
    let store_has_more = gap.is_some_and(|gap| gap.seen_by_store);
    for (job, said) in &mut heard {
        said.unvouched = is_unrecorded(said)
            && !said.audit
            && (store_has_more || is_older_than_receipts(*job, said, witnesses));
    }
    let jobs = heard.into_iter();
    let jobs = jobs.map(|(job, testimony)| ExaminedJob { job, testimony, cure: testimony.cure() }).collect();
    Ok(WitnessExamination { inventory, stored, jobs, gap, deletions, store_is_behind })
}

/// What store, disk and receipts say of each job. Of a receipt whose tombstone is over nothing is
/// asked, unless another witness knows the job: however old, it wins then (P2).
fn hear(
    stored: &BTreeMap<JobId, StoredJob>,
    inventory: &DiskInventory,
    witnesses: &StartWitnesses<'_>,
) -> Result<BTreeMap<JobId, JobTestimony>, ReconcileError> {
    let StartWitnesses { files, receipts, .. } = *witnesses;
    let places = [&inventory.building, &inventory.ready, &inventory.trash];
    let on_disk: BTreeSet<_> = places.into_iter().flatten().copied().collect();
    let [building, ready, trash] = places.map(|jobs| jobs.iter().copied().collect::<HashSet<_>>());
    let erased = receipts.erased_since(witnesses.tombstones_since());
    let jobs: BTreeSet<_> = stored.keys().chain(&on_disk).chain(&erased).copied().collect();
    let hear = |job: JobId| -> Result<_, ReconcileError> {
        let is_keyless = |place| files.is_keyless(job, place);
        let keyless = building.contains(&job) && is_keyless(DirPlace::Building)
            || ready.contains(&job) && is_keyless(DirPlace::Ready);
        // Of one whose key is gone nothing can be read.
        let look = || match keyless {
            true => Ok(BuildingEvidence::Bare),
            false => look_into_building(files, job, stored.get(&job)),
        };
        let testimony = JobTestimony {
            store: stored.get(&job).map(|job| job.record.state.name()),
            building: building.contains(&job).then(look).transpose()?,
            ready: ready.contains(&job),
            trash: trash.contains(&job),
            receipt: receipts.has(job),
            keyless,
            ..JobTestimony::default()
        };
        Ok((job, testimony))
    };
    jobs.into_iter().map(hear).collect()
}

/// Returns whether a directory that would be served, or exported on, is all that is known of a job.
fn is_unrecorded(said: &JobTestimony) -> bool {
    let is_live = said.ready || said.building.is_some_and(|building| building != BuildingEvidence::Bare);
    is_live && said.store.is_none() && !said.receipt && !said.trash
}

/// Returns what the log says, if it can be read.
fn of_log<T: Default>(said: Result<T, AuditError>) -> T {
    said.unwrap_or_else(|error| {
        tracing::error!(%error, "the audit log cannot be read; deletions that only it knows of are not found");
        T::default()
    })
}

/// What store and audit log have seen of the chain must be in it (P9); a store that is behind has
/// lost its own tail.
fn find_gap(
    store: &dyn Store,
    receipts: &dyn ReceiptChain,
    latest: LastWitnessed,
) -> Result<Option<ReceiptsGap>, ReconcileError> {
    let missing = |expected: Option<ChainHead>, seen_by_store| -> Result<_, ReconcileError> {
        let Some(expected) = expected else { return Ok(None) };
        let found = receipts.missing(expected)?;
        Ok(found.map(|found| ReceiptsGap { expected, found, seen_by_store }))
    };
    let by_store = missing(store.head()?, true)?;
    // The log has not heard of a gap that was found by a process that could not record it.
    let by_audit = missing(latest.receipts.filter(|head| !receipts.tells_gap(*head)), false)?;
    Ok(match (by_store, by_audit) {
        (Some(store), Some(audit)) if audit.expected.count > store.expected.count => {
            Some(ReceiptsGap { seen_by_store: true, ..audit })
        }
        (store, audit) => store.or(audit),
    })
}

/// Whether a directory is of a time whose receipts may be pruned, by its own words, and its files
/// should be gone for long. (The second alone would believe a clock that has jumped: P8.)
fn is_older_than_receipts(job: JobId, said: &JobTestimony, witnesses: &StartWitnesses<'_>) -> bool {
    let StartWitnesses { files, receipts, now, retention, .. } = *witnesses;
    let Some(pruned_until) = receipts.pruned_until() else { return false };
    let place = if said.ready { DirPlace::Ready } else { DirPlace::Building };
    let Ok(dir) = files.open(job, place) else { return false };
    let submitted = read::<ExportRequest>(&*dir, DocumentKind::Request).map(|request| request.submitted_at);
    let ended = read::<JobDocument>(&*dir, DocumentKind::Job).and_then(|said| match said.record.state {
        JobState::Complete(completion) => Some(completion.completed_at),
        JobState::Failed(failure) => Some(failure.at),
        _ => None,
    });
    let is_old = |at: Timestamp| at <= pruned_until && at <= before(now, retention.completed.0);
    ended.or(submitted).is_some_and(is_old)
}

/// What a directory that cannot be read would say is not guessed: its record speaks for it, and
/// without one the start is given up, for it may be all that is left of a job (P6).
fn look_into_building(
    files: &dyn Files,
    job: JobId,
    stored: Option<&StoredJob>,
) -> Result<BuildingEvidence, FilesError> {
    let look = || -> Result<BuildingEvidence, FilesError> {
        let dir = files.open(job, DirPlace::Building)?;
        dir.sync()?;
        let said: Option<JobDocument> = parse(document(&*dir, DocumentKind::Job)?);
        if said.is_some_and(|said| said.record.state.name() == StateName::Failed) {
            return Ok(BuildingEvidence::Failed);
        }
        let planned = dir.has_document(DocumentKind::Plan)?;
        Ok(if planned { BuildingEvidence::Planned } else { BuildingEvidence::Bare })
    };
    look().or_else(|error| {
        tracing::error!(%job, %error, "a directory cannot be read or synced; what it says is not believed");
        if stored.is_some() { Ok(BuildingEvidence::Bare) } else { Err(error) }
    })
}
