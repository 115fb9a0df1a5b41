//! Making store, disk and receipts agree (P7): once at a start, for every job, by the table
//! in `files::layout`; and while running, as nominations that the job's own actor looks at
//! again before anything is done.

mod sightings;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::files::layout::{Building, Cure, Testimony};
use crate::files::{Document, ExportDir, Files, FilesError, Inventory, Place};
use crate::hooks::{Hooks, Step};
use crate::job::{
    ExportRequest, Failure, FailureReason, JobDocument, JobId, JobRecord, JobState, Mark, MarkReason,
    RequestSummary, StateName,
};
use crate::receipts::{self, Receipts, ReceiptsError};
use crate::store::{Entry, Published, Store, StoreError, StoredJob};
use crate::telemetry;

pub use sightings::{Nominations, Sightings};

/// Why a start is given up.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the witnesses' own errors")]
pub enum ReconcileError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Receipts(#[from] ReceiptsError),
}

/// The state of all jobs after the join.
pub struct Joined {
    /// Every job, tombstones included.
    pub jobs: Vec<Published>,
    /// Jobs whose actor has something to do: active, marked, or failed with files left.
    pub awake: Vec<JobId>,
}

/// What the witnesses say of one job, and what is to be done about it.
#[derive(Debug, Clone, Copy)]
pub struct Examined {
    /// The job.
    pub job: JobId,
    /// What each witness says.
    pub testimony: Testimony,
    /// What makes them agree.
    pub cure: Cure,
}

/// What all witnesses say.
pub struct Examination {
    /// What stands on disk.
    pub inventory: Inventory,
    /// What the store holds.
    pub stored: BTreeMap<JobId, StoredJob>,
    /// Every job that a witness knows.
    pub jobs: Vec<Examined>,
}

/// Hears the witnesses of every job and changes nothing, but that directories are synced
/// before they are believed: a killed process leaves things that can be read and would not
/// survive a power loss. `tombstones_since`: erasures before this instant are forgotten.
pub fn examine(
    store: &dyn Store,
    files: &dyn Files,
    receipts: &Receipts,
    tombstones_since: Timestamp,
) -> Result<Examination, ReconcileError> {
    let stored: BTreeMap<_, _> = store.load()?.into_iter().map(|job| (job.record.id, job)).collect();
    let inventory = files.inventory()?;
    let erased: BTreeSet<_> = receipts.erased_since(tombstones_since).into_iter().collect();
    let places = [&inventory.building, &inventory.ready, &inventory.trash];
    let on_disk: BTreeSet<_> = places.into_iter().flatten().copied().collect();
    let jobs: BTreeSet<_> = stored.keys().chain(&on_disk).chain(&erased).copied().collect();
    let (building, ready, trash) = (set(&inventory.building), set(&inventory.ready), set(&inventory.trash));
    let examine = |job: JobId| -> Result<Examined, FilesError> {
        let look = || look_into_building(files, job, stored.get(&job));
        let testimony = Testimony {
            store: stored.get(&job).map(|job| job.record.state.name()),
            building: building.contains(&job).then(look).transpose()?,
            ready: ready.contains(&job),
            trash: trash.contains(&job),
            receipt: erased.contains(&job) || (stored.contains_key(&job) && receipts.has(job)),
        };
        Ok(Examined { job, testimony, cure: testimony.cure() })
    };
    let jobs = jobs.into_iter().map(examine).collect::<Result<_, _>>()?;
    Ok(Examination { inventory, stored, jobs })
}

/// Joins the witnesses of every job and brings them to agree. Nothing else may be running.
/// `tombstones_since` is as in [`examine`].
pub fn at_start(
    store: &mut dyn Store,
    files: &dyn Files,
    receipts: &Receipts,
    now: Timestamp,
    tombstones_since: Timestamp,
    hooks: &Hooks,
) -> Result<Joined, ReconcileError> {
    hooks.reach(Step::JoinBegins);
    join_heads(store, receipts, now)?;
    let Examination { inventory, stored, jobs } = examine(store, files, receipts, tombstones_since)?;
    for name in &inventory.strangers {
        tracing::warn!(
            name,
            "a name that this server did not make stands in the data directory; it is left alone"
        );
    }
    let mut join = Join { files, receipts, now, entries: Vec::new(), to_trash: Vec::new(), bury: Vec::new() };
    let mut awake = Vec::new();
    for Examined { job, testimony, cure } in jobs {
        if !matches!(cure, Cure::Nothing) {
            tracing::info!(%job, ?testimony, ?cure, "joined");
        }
        let woken = join.apply(job, cure, stored.get(&job))?;
        awake.extend(woken.then_some(job));
    }

    let Join { entries, to_trash, bury, .. } = join;
    hooks.reach(Step::JoinDecided);
    if !entries.is_empty() {
        store.commit(&entries)?;
    }
    hooks.reach(Step::JoinCommitted);
    for moved in files.move_to_trash(&to_trash)? {
        if let Err(error) = moved {
            tracing::error!(%error, "a marked directory could not be moved; its sweep tries again");
        }
    }
    hooks.reach(Step::JoinMoved);
    for (_, result) in files.sweep(&bury)? {
        if let Err(error) = result {
            tracing::error!(%error, "what is left of an erased job could not be removed; the reaper tries again");
        }
    }
    let jobs = store.load()?.into_iter().map(|job| publish(files, job)).collect();
    hooks.reach(Step::JoinEnds);
    Ok(Joined { jobs, awake })
}

fn set(jobs: &[JobId]) -> HashSet<JobId> {
    jobs.iter().copied().collect()
}

/// What a directory that cannot be read would say is not guessed: its record speaks for it, and
/// without one the start is given up, for it may be all that is left of a job (P6).
fn look_into_building(
    files: &dyn Files,
    job: JobId,
    stored: Option<&StoredJob>,
) -> Result<Building, FilesError> {
    let look = || -> Result<Building, FilesError> {
        let dir = files.open(job, Place::Building)?;
        dir.sync()?;
        let document: Option<JobDocument> = parse(dir.read_document(Document::Job)?);
        if document.is_some_and(|document| document.record.state.name() == StateName::Failed) {
            return Ok(Building::Failed);
        }
        let planned = dir.has_document(Document::Plan)?;
        Ok(if planned { Building::Planned } else { Building::Bare })
    };
    look().or_else(|error| {
        tracing::error!(%job, %error, "a directory cannot be read or synced: what it says is not believed");
        if stored.is_some() { Ok(Building::Bare) } else { Err(error) }
    })
}

/// The end of the chain as the store has seen it must be in the chain (P9); a store that is
/// behind has lost its own tail. What is missing cannot be brought back and holds nothing up:
/// the chain itself says from now on that something is missing.
fn join_heads(store: &mut dyn Store, receipts: &Receipts, now: Timestamp) -> Result<(), ReconcileError> {
    let seen = store.head()?;
    if let Some(expected) = seen
        && let Some(found) = receipts.missing(expected)?
    {
        tracing::error!(?expected, ?found, "the end of the receipts was cut off or replaced");
        telemetry::receipts_gap();
        receipts.append(&[receipts::Entry::Gap { at: now, expected, found }])?;
    }
    let head = receipts.head();
    if seen.unwrap_or(receipts::Head::EMPTY) != head {
        store.commit(&[Entry::Head(head)])?;
    }
    Ok(())
}

fn read<T: serde::de::DeserializeOwned>(dir: &dyn ExportDir, document: Document) -> Option<T> {
    parse(dir.read_document(document).ok().flatten())
}

fn parse<T: serde::de::DeserializeOwned>(content: Option<Vec<u8>>) -> Option<T> {
    serde_json::from_slice(&content?).ok()
}

/// The request of a job that is not deleted, from its directory.
fn publish(files: &dyn Files, job: StoredJob) -> Published {
    let place = match job.record.state.name() {
        StateName::Queued | StateName::Running | StateName::Finishing => Some(Place::Building),
        StateName::Complete => Some(Place::Ready),
        StateName::Failed | StateName::Marked | StateName::Erased => None,
    };
    let read = |place| files.open(job.record.id, place)?.read_document(Document::Request);
    let content = place.map_or(Ok(None), read).unwrap_or_else(|error| {
        tracing::error!(job = %job.record.id, %error, "a request cannot be read: its manifest will not name it");
        None
    });
    let request = parse::<ExportRequest>(content);
    let summary = request.map(|request| Arc::new(RequestSummary::of(&request)));
    Published::new(job.record, summary, job.parts.into())
}

struct Join<'a> {
    files: &'a dyn Files,
    receipts: &'a Receipts,
    now: Timestamp,
    entries: Vec<Entry>,
    to_trash: Vec<JobId>,
    bury: Vec<JobId>,
}

impl Join<'_> {
    /// A record in `state` that follows the stored one; for a job that the store has lost,
    /// the first one, as far as its directory or its receipt tells whose it was.
    fn record(&self, job: JobId, stored: Option<&StoredJob>, state: JobState) -> JobRecord {
        if let Some(stored) = stored {
            return stored.record.next(state);
        }
        let request = Place::ALL.iter().find_map(|place| {
            let dir = self.files.open(job, *place).ok()?;
            read::<ExportRequest>(&*dir, Document::Request)
        });
        let unknown = "unknown";
        let (tenant, owner, submitted_at) = match request {
            Some(request) => (request.tenant, request.owner, request.submitted_at),
            None => (
                unknown.parse().expect("a constant that is a valid name"),
                unknown.parse().expect("a constant that is a valid name"),
                self.now,
            ),
        };
        JobRecord { id: job, tenant, owner, revision: 1, submitted_at, state }
    }

    fn mark(&mut self, job: JobId, stored: Option<&StoredJob>, reason: MarkReason) {
        let was = stored.map_or(StateName::Queued, |stored| stored.record.state.name());
        let mark = Mark { reason, by: None, at: self.now, request_id: None, was, failure: None };
        let record = self.record(job, stored, JobState::Marked(mark));
        self.entries.push(Entry::Record(record));
    }

    /// Does what the cure says, or notes it for the commit. True if the job's actor has
    /// something to do.
    fn apply(&mut self, job: JobId, cure: Cure, stored: Option<&StoredJob>) -> Result<bool, ReconcileError> {
        let state = stored.map(|stored| stored.record.state.name());
        match cure {
            Cure::Nothing | Cure::Watch => Ok(false),
            Cure::Resume => {
                if stored.is_none() {
                    let record = self.record(job, None, JobState::Queued);
                    self.entries.push(Entry::Record(record));
                }
                Ok(true)
            }
            Cure::SettleFailure => {
                if state != Some(StateName::Failed) {
                    let document = self.document(job, Place::Building)?;
                    let failed = document
                        .map(|document| document.record)
                        .filter(|r| r.state.name() == StateName::Failed);
                    let lost = Failure { at: self.now, reason: FailureReason::DirectoryLost };
                    let failed_state = failed.as_ref().map_or(JobState::Failed(lost), |r| r.state.clone());
                    let record = match (stored, failed) {
                        (None, Some(record)) => JobRecord { revision: 1, ..record },
                        (stored, _) => self.record(job, stored, failed_state),
                    };
                    self.entries.push(Entry::Record(record));
                }
                Ok(true)
            }
            Cure::RollForward => {
                let Some(document) = self.document(job, Place::Ready)? else {
                    tracing::error!(%job, "a sealed directory has no job.json: its files cannot be told apart and go");
                    self.mark(job, stored, MarkReason::Lost);
                    self.to_trash.push(job);
                    return Ok(true);
                };
                let revision = stored.map_or(0, |stored| stored.record.revision) + 1;
                self.entries.push(Entry::Record(JobRecord { revision, ..document.record }));
                self.entries.extend(document.parts.into_iter().map(|part| Entry::Part(job, part)));
                Ok(false)
            }
            Cure::MoveToReady => {
                self.files.move_to_ready(job)?;
                Ok(false)
            }
            Cure::MarkLost => {
                self.mark(job, stored, MarkReason::Lost);
                Ok(true)
            }
            Cure::Erase => {
                if state != Some(StateName::Marked) {
                    self.mark(job, stored, MarkReason::Recovered);
                }
                self.to_trash.push(job);
                Ok(true)
            }
            Cure::Bury => {
                if state != Some(StateName::Erased)
                    && let Some(receipt) = self.receipts.find(job)?
                {
                    let erased = JobState::Erased(receipt.erasure());
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
                    self.entries.push(Entry::Record(record));
                }
                self.to_trash.push(job);
                self.bury.push(job);
                Ok(false)
            }
        }
    }

    /// `job.json`, if it is there and can be understood; one that cannot be *read* is an error,
    /// for it may be the only word of a live job (P6).
    fn document(&self, job: JobId, place: Place) -> Result<Option<JobDocument>, FilesError> {
        match self.files.open(job, place) {
            Ok(dir) => Ok(parse(dir.read_document(Document::Job)?)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
