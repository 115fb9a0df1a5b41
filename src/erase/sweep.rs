//! Performs an erasure: lists a job's directories and unlinks name by name, about four at a time,
//! under a warrant. A writer's handle follows the rename to `trash/` and may have made one more
//! name, so a listing starts over until the rmdir succeeds (P3). Idempotent: run twice, the second
//! finds nothing and succeeds. Every call blocks.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use super::warrant::{HoldRegistry, Warrant, WarrantGround};
use crate::files::{
    DirPlace, DocumentKind, ExportDir, Files, FilesError, JobDirectory, RemoveOutcome, SweepCounts,
};
use crate::hooks::{HookStep, Hooks};
use crate::job::JobId;
use crate::telemetry::spans;

/// Unlinking files that hold data waits on the device; more than this many at once are no faster.
const IN_FLIGHT: usize = 4;

/// Listings before giving up for this time: a writer that is out makes no more names.
const ROUNDS: usize = 16;

/// Where a job stands that is not deleted, in the order of its life.
const LIVE: [DirPlace; 2] = [DirPlace::Building, DirPlace::Ready];

/// What was removed of one job, and what could not be.
pub type SweepResult = (SweepCounts, Result<(), FilesError>);

/// What becomes of the keys of swept jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyFate {
    /// They are destroyed, durably, before the first name goes.
    Destroyed,
    /// They stay: a writer is not out yet.
    Kept,
}

/// Performs erasures on the directories of jobs.
pub struct Eraser {
    files: Arc<dyn Files>,
    holds: Arc<HoldRegistry>,
    hooks: Hooks,
}

impl Eraser {
    /// Creates an eraser that works under the warrants of this registry.
    pub fn new(files: Arc<dyn Files>, holds: Arc<HoldRegistry>, hooks: Hooks) -> Self {
        Self { files, holds, hooks }
    }

    /// Returns the registry that grants the warrants.
    pub fn holds(&self) -> &Arc<HoldRegistry> {
        &self.holds
    }

    /// Returns the place of the directories.
    pub(super) fn files(&self) -> &dyn Files {
        &*self.files
    }

    /// Erases jobs wherever they stand: moves them to `trash/` and sweeps that. A job for which
    /// there can be no name in `trash/` is erased where it stands: its mark is in the store. Returns
    /// for each job what was removed, also when that failed half-way. Blocks.
    ///
    /// # Errors
    /// Fails if an fsync does: nothing is known and the process must end.
    pub fn erase(&self, warrants: Vec<Warrant>) -> Result<Vec<(JobId, SweepResult)>, FilesError> {
        let jobs: Vec<_> = warrants.iter().map(Warrant::job).collect();
        let moved = self.files.move_to_trash(&jobs)?;
        let mut results = self.sweep(&warrants, KeyFate::Destroyed)?;
        for ((warrant, _), (swept, result)) in
            warrants.iter().zip(moved).zip(&mut results).filter(|((_, moved), _)| moved.is_err())
        {
            let in_place = fatal_sync(self.remove_in_place(warrant, swept))?;
            *result = std::mem::replace(result, Ok(())).and(in_place);
        }
        Ok(warrants.into_iter().zip(results).map(|(warrant, result)| conclude(warrant, result)).collect())
    }

    /// Sweeps what stands in `trash/` of jobs that were moved there, and whatever else bears their
    /// names. Returns for each job what was removed. Blocks.
    ///
    /// # Errors
    /// Fails as [`erase`](Self::erase) does.
    pub fn sweep_trash(&self, warrants: Vec<Warrant>) -> Result<Vec<(JobId, SweepResult)>, FilesError> {
        let results = self.sweep(&warrants, KeyFate::Destroyed)?;
        Ok(warrants.into_iter().zip(results).map(|(warrant, result)| conclude(warrant, result)).collect())
    }

    /// Sweeps the names under a stuck writer. The job's key stays until the last one is out (P4).
    ///
    /// # Errors
    /// Fails as [`erase`](Self::erase) does.
    pub(super) fn sweep_names(&self, warrant: Warrant) -> Result<SweepResult, FilesError> {
        let mut results = self.sweep(std::slice::from_ref(&warrant), KeyFate::Kept)?;
        Ok(conclude(warrant, results.remove(0)).1)
    }

    /// Removes a directory that could not be made whole. Under a pause it stays, and the scan finds
    /// it later.
    ///
    /// # Errors
    /// Fails as [`erase`](Self::erase) does.
    pub fn discard(&self, job: JobId) -> Result<(), FilesError> {
        if let Ok(warrant) = self.holds.grant(job, WarrantGround::FailedCreation) {
            self.erase(vec![warrant])?;
        }
        Ok(())
    }

    /// Sweeps what a start finds of erased jobs.
    ///
    /// # Errors
    /// Fails as [`erase`](Self::erase) does.
    pub fn sweep_leftovers(&self, jobs: &[JobId]) -> Result<(), FilesError> {
        let warrants = jobs.iter().filter_map(|job| self.holds.grant(*job, WarrantGround::Leftover).ok());
        for (job, (_, result)) in self.sweep_trash(warrants.collect())? {
            if let Err(error) = result {
                tracing::error!(%job, %error, "what is left of an erased job could not be removed; the reaper tries again");
            }
        }
        self.hooks.reach(HookStep::JoinEnds);
        Ok(())
    }

    /// Removes the files of a failed export but `job.json`, which says so.
    ///
    /// # Errors
    /// Fails if something cannot be removed or the directory cannot be synced. It may be tried again.
    pub fn sweep_partials(&self, warrant: &Warrant) -> Result<(), FilesError> {
        for directory in self.files.directories(warrant.job(), DirPlace::Building)? {
            let Some(dir) = self.open(&directory)? else { continue };
            let is_chosen = |name: &OsStr| name != DocumentKind::Job.name();
            self.unlink_all(warrant, &*dir, is_chosen, &mut SweepCounts::default())
                .and_then(|()| dir.sync())
                .map_err(|error| error.in_sweep(&directory))?;
        }
        Ok(())
    }

    /// Removes the files that are neither documents nor in `keep`: what an attempt left that was
    /// never recorded. Under a hold or a pause they stay until the job's end; no manifest names
    /// them.
    ///
    /// # Errors
    /// Fails if something cannot be removed or the directory cannot be synced.
    pub fn remove_unrecorded(
        &self,
        job: JobId,
        dir: &dyn ExportDir,
        keep: &[String],
    ) -> Result<(), FilesError> {
        let is_chosen = |name: &OsStr| is_output(name) && !keep.iter().any(|kept| name == kept.as_str());
        if dir.list()?.iter().any(|name| is_chosen(name)) {
            match self.holds.grant(job, WarrantGround::UnrecordedAttempt) {
                Ok(warrant) => self.unlink_all(&warrant, dir, is_chosen, &mut SweepCounts::default())?,
                Err(refusal) => {
                    tracing::info!(%job, %refusal, "files of an attempt that was not recorded stay until the job's end");
                }
            }
        }
        dir.sync()?;
        self.hooks.reach(HookStep::PartialsRemoved);
        Ok(())
    }

    /// Removes the output of a job whose directory stands in `trash/`, for its room: the mark does
    /// not fit into the store. The documents stay, for the mark that is still to come. Under a hold
    /// or a pause nothing goes. Returns what was removed.
    pub fn give_room(&self, job: JobId) -> SweepCounts {
        let mut swept = SweepCounts::default();
        let Ok(warrant) = self.holds.grant(job, WarrantGround::DiskFull) else { return swept };
        // It may be a name only: the job could not be moved.
        let places = [DirPlace::Trash, DirPlace::Building, DirPlace::Ready];
        match places.into_iter().try_for_each(|place| self.remove_output(&warrant, place, &mut swept)) {
            Ok(()) => {
                tracing::warn!(%job, bytes = swept.bytes, "there is no room to record a deletion; its files were removed first");
                warrant.fulfil();
            }
            Err(error) => {
                tracing::warn!(%job, %error, "there is no room to record a deletion, and its files could not be removed")
            }
        }
        swept
    }

    fn remove_output(
        &self,
        warrant: &Warrant,
        place: DirPlace,
        swept: &mut SweepCounts,
    ) -> Result<(), FilesError> {
        for directory in self.files.directories(warrant.job(), place)? {
            if let Some(dir) = self.open(&directory)? {
                self.unlink_all(warrant, &*dir, is_output, swept)?;
                dir.sync()?;
            }
        }
        Ok(())
    }

    fn sweep(&self, warrants: &[Warrant], keys: KeyFate) -> Result<Vec<SweepResult>, FilesError> {
        if warrants.is_empty() {
            return Ok(Vec::new());
        }
        self.hooks.reach(HookStep::SweepBegins);
        // Before the first name goes: from here on nothing that is left of these jobs can be read.
        let destroyed = match keys {
            KeyFate::Destroyed => self.files.destroy_keys(warrants),
            KeyFate::Kept => Ok(vec![None; warrants.len()]),
        };
        let sweep = |(n, warrant): (usize, &Warrant)| {
            let (mut swept, span) = (SweepCounts::default(), spans::sweep(warrant.job()));
            swept.key = destroyed.as_ref().ok().and_then(|destroyed| destroyed[n]);
            let result = self.sweep_one(warrant, &mut swept);
            spans::count(&span, "evanesce.files", swept.files);
            spans::count(&span, "evanesce.bytes", swept.bytes);
            result.as_ref().err().into_iter().for_each(|error| spans::failed(&span, &error.errno()));
            Ok((swept, fatal_sync(result)?))
        };
        let mut results = warrants.iter().enumerate().map(sweep).collect::<Result<Vec<_>, FilesError>>()?;
        self.files.sync(DirPlace::Trash)?;
        self.hooks.reach(HookStep::SweepEnds);
        if let Err(error) = destroyed {
            // Their names are gone, and the jobs are not erased before their keys are.
            for (_, result) in results.iter_mut().filter(|(_, result)| result.is_ok()) {
                *result = Err(error.again());
            }
        }
        Ok(results)
    }

    fn sweep_one(&self, warrant: &Warrant, swept: &mut SweepCounts) -> Result<(), FilesError> {
        let in_trash = self.files.directories(warrant.job(), DirPlace::Trash)?;
        // Its name in `trash/` says that it may go, and goes last.
        if !in_trash.is_empty() {
            self.remove_in_place(warrant, swept)?;
        }
        in_trash.iter().try_for_each(|directory| self.remove(warrant, directory, swept))
    }

    /// Removes the job's directories where they stand, durably.
    fn remove_in_place(&self, warrant: &Warrant, swept: &mut SweepCounts) -> Result<(), FilesError> {
        for place in LIVE {
            for directory in self.files.directories(warrant.job(), place)? {
                self.remove(warrant, &directory, swept)?;
                self.files.sync(place)?;
            }
        }
        Ok(())
    }

    /// Unlinks every file of a directory and removes it.
    fn remove(
        &self,
        warrant: &Warrant,
        directory: &JobDirectory,
        swept: &mut SweepCounts,
    ) -> Result<(), FilesError> {
        let Some(dir) = self.open(directory)? else { return Ok(()) };
        for _ in 0..ROUNDS {
            let unlinked = self.unlink_all(warrant, &*dir, |_| true, swept);
            unlinked.map_err(|error| error.in_sweep(directory))?;
            if self.files.remove_directory(warrant, directory)? == RemoveOutcome::Removed {
                return Ok(());
            }
        }
        Err(FilesError::not_empty(directory))
    }

    fn open(&self, directory: &JobDirectory) -> Result<Option<Arc<dyn ExportDir>>, FilesError> {
        match self.files.open_directory(directory) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error.in_sweep(directory)),
        }
    }

    /// Unlinks the names that are chosen, a few at a time. All are tried; the error is that of one
    /// that could not be removed. A directory in it is nothing that this server made: it stays, and
    /// the error says so.
    fn unlink_all(
        &self,
        warrant: &Warrant,
        dir: &dyn ExportDir,
        is_chosen: impl Fn(&OsStr) -> bool,
        swept: &mut SweepCounts,
    ) -> Result<(), FilesError> {
        let mut names = dir.list()?;
        names.retain(|name| is_chosen(name));
        let unlink = |names: &[OsString]| {
            let (mut swept, mut result) = (SweepCounts::default(), Ok(()));
            for name in names {
                match dir.unlink(warrant, name) {
                    Ok(one) => swept += one,
                    Err(error) => result = Err(error),
                }
            }
            (swept, result)
        };
        let parts: Vec<SweepResult> = if names.len() <= IN_FLIGHT {
            vec![unlink(&names)]
        } else {
            std::thread::scope(|scope| {
                let chunks = names.chunks(names.len().div_ceil(IN_FLIGHT));
                let threads: Vec<_> = chunks.map(|chunk| scope.spawn(move || unlink(chunk))).collect();
                let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                };
                threads.into_iter().map(join).collect()
            })
        };
        for (part, _) in &parts {
            *swept += *part;
        }
        parts.into_iter().try_for_each(|(_, result)| result)
    }
}

/// Returns whether a name is that of an output file, and of no document.
fn is_output(name: &OsStr) -> bool {
    ![DocumentKind::Request, DocumentKind::Plan, DocumentKind::Job]
        .iter()
        .any(|document| name == document.name())
}

/// Fails if an fsync did, which is final; any other error is one job's alone.
fn fatal_sync(result: Result<(), FilesError>) -> Result<Result<(), FilesError>, FilesError> {
    match result {
        Err(error) if error.is_sync() => Err(error),
        result => Ok(result),
    }
}

/// Gives a warrant back with what became of it.
fn conclude(warrant: Warrant, result: SweepResult) -> (JobId, SweepResult) {
    let job = warrant.job();
    if result.1.is_ok() {
        warrant.fulfil();
    }
    (job, result)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use parking_lot::Mutex;

    use super::*;
    use crate::erase::warrant::WarrantEvidence;
    use crate::files::LocalFiles;
    use crate::files::encrypted::{EncryptedFiles, NewFiles};
    use crate::job::{KeyDestruction, StateName};
    use crate::keys::{JobKey, JobKeys, KeyState, KeysError};

    /// Every job is marked.
    struct AllMarked;

    impl WarrantEvidence for AllMarked {
        fn state(&self, _: JobId) -> Option<StateName> {
            Some(StateName::Marked)
        }

        fn has_receipt(&self, _: JobId) -> bool {
            false
        }

        fn is_in_trash(&self, _: JobId) -> bool {
            true
        }
    }

    /// Keys that note what stood in `trash/` when they were destroyed, or cannot be.
    struct WatchedKeys {
        data_dir: std::path::PathBuf,
        fails: Mutex<bool>,
        /// For each call: the jobs, and the names that were there.
        calls: Mutex<Vec<(Vec<JobId>, usize)>>,
    }

    const AT: KeyDestruction = KeyDestruction { destroyed_at: Timestamp::UNIX_EPOCH, epoch: 4 };

    impl JobKeys for WatchedKeys {
        fn create(&self, _: JobId) -> Result<JobKey, KeysError> {
            Ok(JobKey::new([1; 32]))
        }

        fn find(&self, _: JobId) -> KeyState {
            KeyState::Live(JobKey::new([1; 32]))
        }

        fn destroy(&self, jobs: &[JobId]) -> Result<Vec<Option<KeyDestruction>>, KeysError> {
            if *self.fails.lock() {
                return Err(KeysError::NoRandomness);
            }
            let names = |job: &JobId| {
                std::fs::read_dir(self.data_dir.join("trash").join(job.to_string()))
                    .map_or(0, Iterator::count)
            };
            self.calls.lock().push((jobs.to_vec(), jobs.iter().map(names).sum()));
            Ok(vec![Some(AT); jobs.len()])
        }
    }

    struct Room {
        _folder: tempfile::TempDir,
        keys: Arc<WatchedKeys>,
        files: Arc<dyn Files>,
        eraser: Eraser,
    }

    impl Room {
        /// A data directory with as many marked jobs, of two names each.
        fn new(jobs: usize) -> (Self, Vec<JobId>) {
            let folder = tempfile::tempdir().unwrap();
            let local = Arc::new(LocalFiles::open(folder.path(), Hooks::default()).unwrap());
            let (fails, calls) = (Mutex::default(), Mutex::default());
            let keys = Arc::new(WatchedKeys { data_dir: folder.path().into(), fails, calls });
            let files: Arc<dyn Files> =
                Arc::new(EncryptedFiles::new(local, keys.clone(), NewFiles::Encrypted));
            let holds = HoldRegistry::new(AllMarked, [], false);
            let eraser = Eraser::new(files.clone(), holds, Hooks::default());
            let make = |_| {
                let job = JobId::random();
                files.create(job, b"{}").unwrap().create_file("A_Patient.ndjson").unwrap().finish().unwrap();
                job
            };
            let jobs: Vec<_> = (0..jobs).map(make).collect();
            files.move_to_trash(&jobs).unwrap();
            (Self { _folder: folder, keys, files, eraser }, jobs)
        }

        fn warrants(&self, jobs: &[JobId]) -> Vec<Warrant> {
            jobs.iter().map(|job| self.eraser.holds().grant(*job, WarrantGround::Marked).unwrap()).collect()
        }

        fn left(&self) -> usize {
            self.files.inventory().unwrap().trash.len()
        }
    }

    #[test]
    fn p14_a_key_is_destroyed_before_the_first_name_goes_and_else_the_job_is_not_erased() {
        let (room, jobs) = Room::new(3);
        *room.keys.fails.lock() = true;
        for (_, (swept, result)) in room.eraser.sweep_trash(room.warrants(&jobs)).unwrap() {
            assert_eq!(
                (swept.files, swept.key),
                (2, None),
                "no name waits for a key that cannot be destroyed"
            );
            assert!(result.unwrap_err().to_string().contains("destroy keys"));
        }
        assert_eq!(room.left(), 0);
        *room.keys.fails.lock() = false;
        for (_, (swept, result)) in room.eraser.sweep_trash(room.warrants(&jobs)).unwrap() {
            assert_eq!((swept.files, swept.key), (0, Some(AT)));
            result.unwrap();
        }
        // All at once, while every name of all of them stood there.
        let (room, jobs) = Room::new(3);
        assert!(
            room.eraser
                .erase(room.warrants(&jobs))
                .unwrap()
                .iter()
                .all(|(_, (swept, _))| swept.key == Some(AT))
        );
        assert_eq!(*room.keys.calls.lock(), [(jobs, 6)]);
    }

    #[test]
    fn p14_the_names_under_a_stuck_writer_go_and_the_key_stays() {
        let (room, jobs) = Room::new(1);
        let (swept, result) = room.eraser.sweep_names(room.warrants(&jobs).remove(0)).unwrap();
        result.unwrap();
        assert_eq!((swept.files, swept.key, room.left()), (2, None, 0));
        assert!(room.keys.calls.lock().is_empty());
    }

    #[test]
    fn p14_a_failed_export_and_a_full_disk_take_no_key() {
        let (room, jobs) = Room::new(1);
        assert_eq!(room.eraser.give_room(jobs[0]).key, None);
        let warrant = room.warrants(&jobs).remove(0);
        room.eraser.sweep_partials(&warrant).unwrap();
        assert!(room.keys.calls.lock().is_empty());
    }
}
