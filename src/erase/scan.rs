//! What a scan of the running server nominates: disagreements that last. Nothing is done to a
//! job but by its own actor, which looks again.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::JumpGuard;
use crate::files::{DiskInventory, Files};
use crate::job::{JobId, StateName};
use crate::space::SpaceReservations;
use crate::standing::{OwnFiles, OwnFilesLook};
use crate::telemetry;
use crate::view::LocalView;

/// What a pass looks at on disk, off the actors' thread.
pub struct DiskSurvey {
    /// Job directories.
    pub files: Arc<dyn Files>,
    /// Whose room is measured.
    pub space: Arc<SpaceReservations>,
    /// The server's own files.
    pub own_files: OwnFiles,
    /// What the clock showed, for the next start.
    pub clock_guard: JumpGuard,
    /// Where that is kept.
    pub data_dir: PathBuf,
}

impl DiskSurvey {
    /// Takes the survey, and makes the ballast again if there is room. There is no inventory if the
    /// directories cannot be listed; the next pass tries again. Blocks.
    pub fn take(&self) -> (OwnFilesLook, Option<DiskInventory>) {
        if let Err(error) = self.clock_guard.save(&self.data_dir) {
            tracing::warn!(%error, "the readings of the clock could not be saved for the next start");
        }
        if let Err(error) = self.files.restore_ballast() {
            tracing::warn!(%error, "there is no ballast: deletions may fail when the disk is full");
        }
        if let Err(error) = self.space.measure() {
            tracing::warn!(error, "the free space of the disk is unknown");
        }
        let inventory = self.files.inventory().inspect_err(|error| {
            telemetry::scan_failed();
            tracing::error!(%error, "the data directory could not be scanned; the next pass tries again");
        });
        (self.own_files.look(), inventory.ok())
    }
}

/// Disagreements seen while running, by how long.
#[derive(Debug, Default)]
pub struct ScanSightings {
    seen: HashMap<JobId, (Instant, u32)>,
}

/// What a scan nominates: nothing is done to a job but by its own actor.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ScanNominations {
    /// Directories without a record, seen twice and for longer than the grace.
    pub orphans: Vec<JobId>,
    /// Directories of jobs that are erased, however long ago: a receipt tells of each.
    pub leftovers: Vec<JobId>,
    /// Complete jobs without a directory, seen twice and for longer than the grace.
    pub lost: Vec<JobId>,
}

impl ScanSightings {
    /// Returns how many directories nobody claims at present, nominated or not.
    pub fn count(&self) -> usize {
        self.seen.len()
    }

    /// Compares a scan with the view. A job is nominated when it was seen in two scans that
    /// are at least `grace` apart (P6). A job that `has_receipt` is nominated at once (P2).
    pub fn compare(
        &mut self,
        inventory: &DiskInventory,
        view: &LocalView,
        has_receipt: impl Fn(JobId) -> bool,
        grace: Duration,
        now: Instant,
    ) -> ScanNominations {
        let mut nominations = ScanNominations::default();
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
                None if has_receipt(job) => nominations.leftovers.push(job),
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
        for job in &nominations.leftovers {
            tracing::warn!(%job, "a directory of an erased job was brought back; it is removed");
        }
        self.seen = suspects;
        nominations
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::job::{Completion, JobRecord, JobState, MarkReason, Tombstone};
    use crate::view::{PublishedJob, ViewChange};

    fn record(state: JobState) -> JobRecord {
        let at = Timestamp::UNIX_EPOCH;
        let (tenant, owner) = ("t".parse().unwrap(), "o".parse().unwrap());
        JobRecord { id: JobId::random(), tenant, owner, revision: 1, submitted_at: at, state }
    }

    #[test]
    fn an_orphan_is_nominated_only_when_seen_twice_and_longer_than_the_grace() {
        let view = LocalView::default();
        let live = record(JobState::Queued);
        view.publish([ViewChange::New(PublishedJob::new(live.clone(), None, Arc::new([])))]);
        let orphan = JobId::random();
        let inventory = DiskInventory { building: vec![live.id, orphan], ..DiskInventory::default() };
        let grace = Duration::from_secs(60);
        let mut sightings = ScanSightings::default();
        let start = Instant::now();
        let mut seen = |inventory: &DiskInventory, after| {
            sightings.compare(inventory, &view, |_| false, grace, start + Duration::from_secs(after)).orphans
        };
        assert_eq!(seen(&inventory, 0), []);
        assert_eq!(seen(&inventory, 59), []);
        assert_eq!(seen(&inventory, 60), [orphan]);
        // Gone and come back: it is a new sighting.
        assert_eq!(seen(&DiskInventory::default(), 61), []);
        assert_eq!(seen(&inventory, 200), []);
    }

    #[test]
    fn a_complete_job_without_files_and_an_erased_one_with_files_are_nominated() {
        let view = LocalView::default();
        let at = Timestamp::UNIX_EPOCH;
        let complete = record(JobState::Complete(Completion::of(&[], at, at)));
        let erased =
            record(JobState::Erased(Tombstone { reason: MarkReason::Deleted, marked_at: at, gone_at: at }));
        for record in [&complete, &erased] {
            view.publish([ViewChange::New(PublishedJob::new(record.clone(), None, Arc::new([])))]);
        }
        let inventory = DiskInventory { trash: vec![erased.id], ..DiskInventory::default() };
        let mut sightings = ScanSightings::default();
        let now = Instant::now();
        let first = sightings.compare(&inventory, &view, |_| false, Duration::ZERO, now);
        assert_eq!(first, ScanNominations { leftovers: vec![erased.id], ..ScanNominations::default() });
        let second = sightings.compare(&inventory, &view, |_| false, Duration::ZERO, now);
        assert_eq!(second.lost, [complete.id]);
    }

    #[test]
    fn what_a_backup_brings_back_after_the_tombstone_is_nominated_at_once_by_its_receipt() {
        let (erased, orphan) = (JobId::random(), JobId::random());
        let inventory = DiskInventory { ready: vec![erased, orphan], ..DiskInventory::default() };
        let (mut sightings, grace) = (ScanSightings::default(), Duration::from_secs(60));
        let has_receipt = |job| job == erased;
        let seen = sightings.compare(&inventory, &LocalView::default(), has_receipt, grace, Instant::now());
        assert_eq!(seen, ScanNominations { leftovers: vec![erased], ..ScanNominations::default() });
        assert_eq!(sightings.count(), 1);
    }
}
