//! Making store, disk and receipts agree (P7): once at a start, for every job, by the table
//! in `files::layout`; and while running, as nominations that the job's own actor looks at
//! again before anything is done.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::files::layout::{Building, Cure, Testimony};
use crate::files::{Document, ExportDir, Files, FilesError, Inventory, Place};
use crate::hooks::{Hooks, Step};
use crate::job::{
    ExportRequest, Failure, FailureReason, JobDocument, JobId, JobRecord, JobState, Mark, MarkReason,
    StateName,
};
use crate::receipts::{Receipts, ReceiptsError};
use crate::store::{Entry, Published, Store, StoreError, StoredJob, View};

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

/// Joins the witnesses of every job and brings them to agree. Nothing else may be running.
/// The witnesses sync what they find before they are believed: a killed process leaves things
/// that can be read but would not survive a power loss.
/// `tombstones_since`: erasures before this instant are forgotten.
pub fn at_start(
    store: &mut dyn Store,
    files: &dyn Files,
    receipts: &Receipts,
    now: Timestamp,
    tombstones_since: Timestamp,
    hooks: &Hooks,
) -> Result<Joined, ReconcileError> {
    hooks.reach(Step::JoinBegins);
    let stored: BTreeMap<_, _> = store.load()?.into_iter().map(|job| (job.record.id, job)).collect();
    let inventory = files.inventory()?;
    for name in &inventory.strangers {
        tracing::warn!(
            name,
            "a name that this server did not make stands in the data directory; it is left alone"
        );
    }
    let erased: BTreeSet<_> = receipts.erased_since(tombstones_since).into_iter().collect();
    let mut join = Join { files, receipts, now, entries: Vec::new(), to_trash: Vec::new(), bury: Vec::new() };
    let places = [&inventory.building, &inventory.ready, &inventory.trash];
    let on_disk: BTreeSet<_> = places.into_iter().flatten().copied().collect();
    let jobs: BTreeSet<_> = stored.keys().chain(&on_disk).chain(&erased).copied().collect();

    let mut awake = Vec::new();
    for job in jobs {
        let building = inventory.building.contains(&job).then(|| join.look_into_building(job));
        let testimony = Testimony {
            store: stored.get(&job).map(|job| job.record.state.name()),
            building,
            ready: inventory.ready.contains(&job),
            trash: inventory.trash.contains(&job),
            receipt: erased.contains(&job) || (stored.contains_key(&job) && receipts.has(job)),
        };
        let cure = testimony.cure();
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

fn read<T: serde::de::DeserializeOwned>(dir: &dyn ExportDir, document: Document) -> Option<T> {
    let content = dir.read_document(document).ok().flatten()?;
    serde_json::from_slice(&content).ok()
}

/// The request of a job that is not deleted, from its directory.
fn publish(files: &dyn Files, job: StoredJob) -> Published {
    let place = match job.record.state.name() {
        StateName::Queued | StateName::Running | StateName::Finishing => Some(Place::Building),
        StateName::Complete => Some(Place::Ready),
        StateName::Failed | StateName::Marked | StateName::Erased => None,
    };
    let dir = place.and_then(|place| files.open(job.record.id, place).ok());
    let request: Option<ExportRequest> = dir.and_then(|dir| read(&*dir, Document::Request));
    Published::new(job.record, request.map(Arc::new), job.parts.into())
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
    fn look_into_building(&self, job: JobId) -> Building {
        let Ok(dir) = self.files.open(job, Place::Building) else { return Building::Bare };
        if let Err(error) = dir.sync() {
            tracing::error!(%job, %error, "a directory cannot be synced: what it says is not believed");
            return Building::Bare;
        }
        let document: Option<JobDocument> = read(&*dir, Document::Job);
        if document.is_some_and(|document| document.record.state.name() == StateName::Failed) {
            Building::Failed
        } else if matches!(dir.read_document(Document::Plan), Ok(Some(_))) {
            Building::Planned
        } else {
            Building::Bare
        }
    }

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
                    let document = self.document(job, Place::Building);
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
                let Some(document) = self.document(job, Place::Ready) else {
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

    fn document(&self, job: JobId, place: Place) -> Option<JobDocument> {
        read(&*self.files.open(job, place).ok()?, Document::Job)
    }
}

/// Disagreements seen while running, by how long.
#[derive(Debug, Default)]
pub struct Sightings {
    seen: HashMap<JobId, (Instant, u32)>,
}

/// What a scan nominates: nothing is done to a job but by its own actor.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Nominations {
    /// Directories without a record, seen twice and for longer than the grace.
    pub orphans: Vec<JobId>,
    /// Directories of jobs that are erased.
    pub leftovers: Vec<JobId>,
    /// Complete jobs without a directory, seen twice and for longer than the grace.
    pub lost: Vec<JobId>,
}

impl Sightings {
    /// Directories that nobody claims at present, nominated or not.
    pub fn count(&self) -> usize {
        self.seen.len()
    }

    /// Compares a scan with the view. A job is nominated when it was seen in two scans that
    /// are at least `grace` apart (P6).
    pub fn compare(
        &mut self,
        inventory: &Inventory,
        view: &View,
        grace: Duration,
        now: Instant,
    ) -> Nominations {
        let mut nominations = Nominations::default();
        let mut suspects = HashMap::new();
        let mut suspect = |seen: &HashMap<_, (Instant, u32)>, job| {
            let (first, times) = seen.get(&job).copied().unwrap_or((now, 0));
            suspects.insert(job, (first, times + 1));
            times + 1 >= 2 && now - first >= grace
        };
        let places = [&inventory.building, &inventory.ready, &inventory.trash];
        let on_disk: BTreeSet<_> = places.into_iter().flatten().copied().collect();
        for job in on_disk {
            match view.get(job).map(|published| published.record.state.name()) {
                Some(StateName::Erased) => nominations.leftovers.push(job),
                Some(_) => {}
                None => {
                    if suspect(&self.seen, job) {
                        nominations.orphans.push(job);
                    }
                }
            }
        }
        let ready: BTreeSet<_> = inventory.ready.iter().collect();
        for published in view.all() {
            let job = published.record.id;
            let gone = published.record.state.name() == StateName::Complete && !ready.contains(&job);
            if gone && suspect(&self.seen, job) {
                nominations.lost.push(job);
            }
        }
        self.seen = suspects;
        nominations
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Completion, Erasure};
    use crate::store::Publication;

    fn record(state: JobState) -> JobRecord {
        let at = Timestamp::UNIX_EPOCH;
        let (tenant, owner) = ("t".parse().unwrap(), "o".parse().unwrap());
        JobRecord { id: JobId::random(), tenant, owner, revision: 1, submitted_at: at, state }
    }

    #[test]
    fn an_orphan_is_nominated_only_when_seen_twice_and_longer_than_the_grace() {
        let view = View::default();
        let live = record(JobState::Queued);
        view.publish([Publication::New(Published::new(live.clone(), None, Arc::new([])))]);
        let orphan = JobId::random();
        let inventory = Inventory { building: vec![live.id, orphan], ..Inventory::default() };
        let grace = Duration::from_secs(60);
        let mut sightings = Sightings::default();
        let start = Instant::now();
        let mut seen = |inventory: &Inventory, after| {
            sightings.compare(inventory, &view, grace, start + Duration::from_secs(after)).orphans
        };
        assert_eq!(seen(&inventory, 0), []);
        assert_eq!(seen(&inventory, 59), []);
        assert_eq!(seen(&inventory, 60), [orphan]);
        // Gone and come back: it is a new sighting.
        assert_eq!(seen(&Inventory::default(), 61), []);
        assert_eq!(seen(&inventory, 200), []);
    }

    #[test]
    fn a_complete_job_without_files_and_an_erased_one_with_files_are_nominated() {
        let view = View::default();
        let at = Timestamp::UNIX_EPOCH;
        let complete = record(JobState::Complete(Completion::of(&[], at, at)));
        let erased =
            record(JobState::Erased(Erasure { reason: MarkReason::Deleted, marked_at: at, gone_at: at }));
        for record in [&complete, &erased] {
            view.publish([Publication::New(Published::new(record.clone(), None, Arc::new([])))]);
        }
        let inventory = Inventory { trash: vec![erased.id], ..Inventory::default() };
        let mut sightings = Sightings::default();
        let now = Instant::now();
        let first = sightings.compare(&inventory, &view, Duration::ZERO, now);
        assert_eq!(first, Nominations { leftovers: vec![erased.id], ..Nominations::default() });
        let second = sightings.compare(&inventory, &view, Duration::ZERO, now);
        assert_eq!(second.lost, [complete.id]);
    }
}
