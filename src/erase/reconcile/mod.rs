//! Makes store, disk, receipts and audit log agree at a start (P7), for every job, by the table in
//! `table`. While the server runs, the scan nominates disagreements, and the job's own actor looks
//! again before anything is done.

mod examine;
mod table;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::audit::WitnessedDeletion;
use crate::files::{DirPlace, DocumentKind, ExportDir, Files, FilesError};
use crate::hooks::{HookStep, Hooks};
use crate::job::{
    ExportRequest, Failure, FailureReason, JobDocument, JobId, JobRecord, JobState, Mark, MarkReason,
    RequestSummary, StateName,
};
use crate::receipts::{self, ReceiptChain, ReceiptsError};
use crate::store::{Store, StoreEntry, StoreError, StoredJob};
use crate::telemetry;
use crate::view::PublishedJob;

pub use examine::{ExaminedJob, ReceiptsGap, StartWitnesses, WitnessExamination, examine};
pub use table::{BuildingEvidence, JobTestimony, JoinCure};

/// Why a start is given up.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the witnesses' own errors")]
#[allow(unnameable_types, reason = "only converted into what is public")]
pub enum ReconcileError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Receipts(#[from] ReceiptsError),
}

/// The state of all jobs after the join.
pub struct JoinedJobs {
    /// Every job, tombstones included.
    pub jobs: Vec<PublishedJob>,
    /// Jobs whose actor has something to do: active, marked, or failed with files left.
    pub awake: Vec<JobId>,
    /// Erased jobs of which something is left on disk, in `trash/` by now.
    pub leftovers: Vec<JobId>,
    /// The entry that the chain got because its end was missing, and the head it came to.
    pub gap: Option<(receipts::ReceiptEntry, receipts::ChainHead)>,
}

/// Joins the witnesses of every job and makes them agree. Only leftovers remain, which are swept
/// once the jobs are published. Nothing else may be running. Blocks.
///
/// # Errors
/// Fails if a witness cannot be read or written. Then the start is given up, and the next one finds the
/// same.
pub fn at_start(
    store: &mut dyn Store,
    witnesses: &StartWitnesses<'_>,
    hooks: &Hooks,
) -> Result<JoinedJobs, ReconcileError> {
    hooks.reach(HookStep::JoinBegins);
    let StartWitnesses { files, receipts, now, .. } = *witnesses;
    let WitnessExamination { inventory, stored, jobs, gap, deletions, store_is_behind } =
        examine(store, witnesses)?;
    for name in &inventory.strangers {
        tracing::warn!(
            name,
            "a name that this server did not make stands in the data directory; it is left alone"
        );
    }
    if store_is_behind {
        tracing::error!("the store is older than the audit log; deletions in the log are carried out");
        telemetry::store_behind();
    }
    let gap = gap.map(|gap| note_gap(receipts, gap, now)).transpose()?;
    let tombstones_since = witnesses.tombstones_since();
    let (entries, to_trash, bury) = (Vec::new(), Vec::new(), Vec::new());
    let mut join = JobJoin { files, receipts, now, tombstones_since, deletions, entries, to_trash, bury };
    let mut awake = Vec::new();
    for ExaminedJob { job, testimony, cure } in jobs {
        if !matches!(cure, JoinCure::Nothing) {
            tracing::info!(%job, ?testimony, ?cure, "the witnesses of a job differ and are joined");
        }
        // A name in `trash/` tells of a deletion that had destroyed the key itself.
        let is_lost = testimony.keyless && !testimony.trash;
        let reason = if is_lost { MarkReason::Lost } else { MarkReason::Recovered };
        let woken = join.apply(job, cure, reason, stored.get(&job))?;
        awake.extend(woken.then_some(job));
    }

    let JobJoin { mut entries, to_trash, bury, .. } = join;
    // With the marks, in one commit: as long as it is not durable, the next start finds the same.
    if store.head()?.unwrap_or(receipts::ChainHead::EMPTY) != receipts.head() {
        entries.push(StoreEntry::Head(receipts.head()));
    }
    hooks.reach(HookStep::JoinDecided);
    if !entries.is_empty() {
        store.commit(&entries)?;
    }
    hooks.reach(HookStep::JoinCommitted);
    for moved in files.move_to_trash(&to_trash)? {
        if let Err(error) = moved {
            tracing::error!(%error, "a marked directory could not be moved; its sweep tries again");
        }
    }
    hooks.reach(HookStep::JoinMoved);
    let jobs = store.load()?.into_iter().map(|job| publish(files, job)).collect();
    Ok(JoinedJobs { jobs, awake, leftovers: bury, gap })
}

/// What is missing of the chain cannot be brought back and holds nothing up: the chain itself says
/// from now on that something is missing (P9).
fn note_gap(
    receipts: &dyn ReceiptChain,
    gap: ReceiptsGap,
    now: Timestamp,
) -> Result<(receipts::ReceiptEntry, receipts::ChainHead), ReconcileError> {
    let ReceiptsGap { expected, found, .. } = gap;
    tracing::error!(?expected, ?found, "the end of the receipts was cut off or replaced");
    telemetry::receipts_gap();
    let entry = receipts::ReceiptEntry::Gap { at: now, expected, found };
    let head = receipts.append(std::slice::from_ref(&entry))?;
    Ok((entry, head))
}

fn read<T: serde::de::DeserializeOwned>(dir: &dyn ExportDir, document: DocumentKind) -> Option<T> {
    parse(dir.read_document(document).ok().flatten())
}

/// Returns a document, if there is one. Something else in its place is logged and left alone.
fn document(dir: &dyn ExportDir, document: DocumentKind) -> Result<Option<Vec<u8>>, FilesError> {
    dir.read_document(document).or_else(|error| {
        if error.is_strange() {
            tracing::error!(%error, "a document was not written by this server; it is left alone");
            return Ok(None);
        }
        Err(error)
    })
}

fn parse<T: serde::de::DeserializeOwned>(content: Option<Vec<u8>>) -> Option<T> {
    serde_json::from_slice(&content?).ok()
}

/// Returns the job with its request, which is in its directory unless it is deleted.
fn publish(files: &dyn Files, job: StoredJob) -> PublishedJob {
    let place = match job.record.state.name() {
        StateName::Queued | StateName::Running | StateName::Finishing => Some(DirPlace::Building),
        StateName::Complete => Some(DirPlace::Ready),
        StateName::Failed | StateName::Marked | StateName::Erased => None,
    };
    let read = |place| files.open(job.record.id, place)?.read_document(DocumentKind::Request);
    let content = place.map_or(Ok(None), read).unwrap_or_else(|error| {
        tracing::error!(job = %job.record.id, %error, "request.json cannot be read; the manifest of the job will not show its request");
        None
    });
    let request = parse::<ExportRequest>(content);
    let summary = request.map(|request| Arc::new(RequestSummary::of(&request)));
    PublishedJob::new(job.record, summary, job.parts.into())
}

struct JobJoin<'a> {
    files: &'a dyn Files,
    receipts: &'a dyn ReceiptChain,
    now: Timestamp,
    tombstones_since: Timestamp,
    deletions: HashMap<JobId, WitnessedDeletion>,
    entries: Vec<StoreEntry>,
    to_trash: Vec<JobId>,
    bury: Vec<JobId>,
}

impl JobJoin<'_> {
    /// Returns a record in `state` that follows the stored one. A job that the store has lost gets its
    /// first one, with whose it was as far as its directory or the audit log tells.
    fn record(&self, job: JobId, stored: Option<&StoredJob>, state: JobState) -> JobRecord {
        if let Some(stored) = stored {
            return stored.record.next(state);
        }
        let request = DirPlace::ALL.iter().find_map(|place| {
            let dir = self.files.open(job, *place).ok()?;
            read::<ExportRequest>(&*dir, DocumentKind::Request)
        });
        let (tenant, owner, submitted_at) = match (request, self.deletions.get(&job)) {
            (Some(request), _) => (request.tenant, request.owner, request.submitted_at),
            (None, Some(WitnessedDeletion { tenant: Some(tenant), owner: Some(owner) })) => {
                (tenant.clone(), owner.clone(), self.now)
            }
            (None, _) => {
                let unknown = "unknown";
                let tenant = unknown.parse().expect("a constant that is a valid name");
                let owner = unknown.parse().expect("a constant that is a valid name");
                (tenant, owner, self.now)
            }
        };
        JobRecord { id: job, tenant, owner, revision: 1, submitted_at, state }
    }

    fn mark(&mut self, job: JobId, stored: Option<&StoredJob>, reason: MarkReason) {
        let was = stored.map_or(StateName::Queued, |stored| stored.record.state.name());
        let mark = Mark { reason, by: None, at: self.now, request_id: None, was, failure: None };
        let record = self.record(job, stored, JobState::Marked(mark));
        self.entries.push(StoreEntry::Record(record));
    }

    /// Does what the cure says, or notes it for the commit; `recovered` is the reason of what is erased
    /// without a mark in the store. Returns whether the job's actor has something to do.
    fn apply(
        &mut self,
        job: JobId,
        cure: JoinCure,
        recovered: MarkReason,
        stored: Option<&StoredJob>,
    ) -> Result<bool, ReconcileError> {
        let state = stored.map(|stored| stored.record.state.name());
        match cure {
            JoinCure::Nothing | JoinCure::Watch => Ok(false),
            JoinCure::Resume => {
                if stored.is_none() {
                    let record = self.record(job, None, JobState::Queued);
                    self.entries.push(StoreEntry::Record(record));
                }
                Ok(true)
            }
            JoinCure::SettleFailure => {
                if state != Some(StateName::Failed) {
                    let document = self.document(job, DirPlace::Building)?;
                    let failed = document
                        .map(|document| document.record)
                        .filter(|r| r.state.name() == StateName::Failed);
                    let lost = Failure { at: self.now, reason: FailureReason::DirectoryLost };
                    let failed_state = failed.as_ref().map_or(JobState::Failed(lost), |r| r.state.clone());
                    let record = match (stored, failed) {
                        (None, Some(record)) => JobRecord { revision: 1, ..record },
                        (stored, _) => self.record(job, stored, failed_state),
                    };
                    self.entries.push(StoreEntry::Record(record));
                }
                Ok(true)
            }
            JoinCure::RollForward => {
                let document = match self.document(job, DirPlace::Ready) {
                    Err(error) if error.is_strange() && stored.is_none() => {
                        tracing::error!(%job, %error, "a sealed directory cannot be understood; it is left alone and watched as an orphan");
                        return Ok(false);
                    }
                    Err(error) if error.is_strange() => None,
                    document => document?,
                };
                let Some(document) = document else {
                    tracing::error!(%job, "a sealed directory has no job.json that lists its files; they are erased");
                    self.mark(job, stored, MarkReason::Lost);
                    self.to_trash.push(job);
                    return Ok(true);
                };
                let revision = stored.map_or(0, |stored| stored.record.revision) + 1;
                self.entries.push(StoreEntry::Record(JobRecord { revision, ..document.record }));
                self.entries.extend(document.parts.into_iter().map(|part| StoreEntry::Part(job, part)));
                Ok(false)
            }
            JoinCure::MoveToReady => {
                self.files.move_to_ready(job)?;
                Ok(false)
            }
            JoinCure::MarkLost => {
                self.mark(job, stored, MarkReason::Lost);
                Ok(true)
            }
            JoinCure::Erase => {
                if state != Some(StateName::Marked) {
                    self.mark(job, stored, recovered);
                }
                self.to_trash.push(job);
                Ok(true)
            }
            JoinCure::Bury => {
                // Of one whose tombstone is over nothing is known any more but the receipt.
                if state != Some(StateName::Erased)
                    && let Some(receipt) = self.receipts.find(job)?
                    && (stored.is_some() || receipt.gone_at >= self.tombstones_since)
                {
                    let erased = JobState::Erased(receipt.tombstone());
                    let record = match stored {
                        Some(stored) => stored.record.next(erased),
                        None => JobRecord {
                            id: job,
                            tenant: receipt.tenant,
                            owner: receipt.owner,
                            revision: 1,
                            submitted_at: receipt.submitted_at,
                            state: erased,
                        },
                    };
                    self.entries.push(StoreEntry::Record(record));
                }
                self.to_trash.push(job);
                self.bury.push(job);
                Ok(false)
            }
        }
    }

    /// `job.json`, if it is there and can be understood; one that cannot be *read* is an error,
    /// for it may be the only word of a live job (P6).
    fn document(&self, job: JobId, place: DirPlace) -> Result<Option<JobDocument>, FilesError> {
        match self.files.open(job, place) {
            Ok(dir) => Ok(parse(dir.read_document(DocumentKind::Job)?)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
