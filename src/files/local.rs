//! Job directories on a local file system, through directory handles (openat, renameat, unlinkat).

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use cap_std::fs::Dir;
use parking_lot::Mutex;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::handle::{is_dir, make_dir, names, open_dir};
use super::headroom::Headroom;
use super::layout::job_of;
use super::local_dir::{LocalDir, check_warrant, sync_dir};
use super::{
    CommitRoom, DirPlace, DiskInventory, DocumentKind, ExportDir, Files, FilesError, JobDirectory,
    RemoveOutcome, SYNC, is_full,
};
use crate::erase::Warrant;
use crate::hooks::{HookFault, HookStep, Hooks};
use crate::job::{JobId, KeyDestruction};

/// The operation name of each query of free space.
const MEASURE: &str = "measure free space of";

/// A data directory on a local file system.
pub struct LocalFiles {
    building: Dir,
    ready: Dir,
    trash: Dir,
    /// Names in `trash/` whose numbers do not follow on from another, as of the last inventory.
    stray: Mutex<HashMap<JobId, Vec<String>>>,
    headroom: Arc<Headroom>,
    hooks: Hooks,
}

impl LocalFiles {
    /// Opens the data directory and creates what is missing of it (0700). Fails if its places are not
    /// on one device, where renames would not be atomic.
    pub fn open(data_dir: &Path, hooks: Hooks) -> Result<Self, FilesError> {
        let fail = |operation| FilesError::new(operation, data_dir.display().to_string());
        let make_root = || {
            use std::os::unix::fs::DirBuilderExt;
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir)?;
            let fd = rustix::fs::open(
                data_dir,
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            Ok(Dir::from_std_file(File::from(fd)))
        };
        let root = make_root().map_err(fail("open data directory"))?;
        let place = |place: DirPlace| {
            let open = || match open_dir(&root, place.name()) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    make_dir(&root, place.name())?;
                    open_dir(&root, place.name())
                }
                other => other,
            };
            open().map_err(FilesError::new("open directory", place.name()))
        };
        let (building, ready, trash) =
            (place(DirPlace::Building)?, place(DirPlace::Ready)?, place(DirPlace::Trash)?);
        let device = |dir: &Dir| -> io::Result<_> { Ok(rustix::fs::fstat(dir)?.st_dev) };
        let same_device = || {
            let device_of_root = device(&root)?;
            for dir in [&building, &ready, &trash] {
                if device(dir)? != device_of_root {
                    return Err(io::Error::from(io::ErrorKind::CrossesDevices));
                }
            }
            Ok(rustix::fs::fsync(&root)?)
        };
        same_device().map_err(fail("check that building, ready and trash share one device in"))?;
        let headroom = Arc::new(Headroom::new(root, hooks.clone()));
        let files = Self { building, ready, trash, stray: Mutex::default(), headroom, hooks };
        // What a killed process left may be readable and yet not durable.
        files.sync_all(&DirPlace::ALL)?;
        Ok(files)
    }

    fn dir(&self, place: DirPlace) -> &Dir {
        match place {
            DirPlace::Building => &self.building,
            DirPlace::Ready => &self.ready,
            DirPlace::Trash => &self.trash,
        }
    }

    fn local_dir(&self, dir: Dir, job: JobId) -> LocalDir {
        LocalDir::new(dir, job, self.headroom.clone(), self.hooks.clone())
    }

    /// Syncs the names in places.
    fn sync_all(&self, places: &[DirPlace]) -> Result<(), FilesError> {
        places.iter().try_for_each(|place| self.sync(*place))
    }

    /// Renames the job's directory to a free name in `trash/` and returns where it was, if it existed.
    /// `building/` is tried first, because a completion may rename it to `ready/` meanwhile, and never
    /// back. What is not a directory was not made by this server and stays where it is (P6).
    fn rename_to_trash(&self, job: JobId) -> io::Result<Option<DirPlace>> {
        self.hooks.fault(HookFault::Rename)?;
        let from = job.to_string();
        for place in LIVE {
            if !is_dir(self.dir(place), &from)? {
                continue;
            }
            for n in 0.. {
                let to = if n == 0 { from.clone() } else { format!("{from}.{n}") };
                let renamed = rustix::fs::renameat_with(
                    self.dir(place),
                    &from,
                    &self.trash,
                    &to,
                    RenameFlags::NOREPLACE,
                );
                match renamed {
                    Ok(()) => {
                        self.hooks.reach(HookStep::RenamedToTrash);
                        return Ok(Some(place));
                    }
                    Err(Errno::EXIST | Errno::NOTEMPTY) => {}
                    // Or `trash/` itself was removed.
                    Err(Errno::NOENT) if !is_dir(self.dir(place), &from)? => break,
                    Err(e) => return Err(e.into()),
                }
            }
        }
        Ok(None)
    }

    /// As [`rename_to_trash`](Self::rename_to_trash). If the directory cannot be renamed (a mount
    /// point, a lower layer of an overlay, immutable), makes an empty one of its name in `trash/`. That
    /// is as good a witness (P1), and lets a sweep erase the job in place.
    fn mark_on_disk(&self, job: JobId) -> Result<Option<DirPlace>, FilesError> {
        let name = job.to_string();
        let error = match self.rename_to_trash(job) {
            // A name in another directory is room too, on some file systems.
            Err(error) if is_full(&error) && self.release_all()? => {
                tracing::warn!(%job, %error, "there is no room to move a deleted job: the ballast was given up");
                match self.rename_to_trash(job) {
                    Ok(from) => return Ok(from),
                    Err(error) => error,
                }
            }
            Err(error) => error,
            Ok(from) => return Ok(from),
        };
        let error = FilesError::new("rename to trash", &name)(error);
        match self.hooks.fault(HookFault::Open).and_then(|()| self.stand_in(&name)) {
            Err(failed) => {
                tracing::warn!(%job, %error, %failed, "a deleted job has no place in trash");
                Err(error)
            }
            Ok(()) => {
                tracing::warn!(%job, %error, "a deleted job cannot be moved: it is erased where it stands");
                self.hooks.reach(HookStep::RenamedToTrash);
                Ok(Some(DirPlace::Trash))
            }
        }
    }

    /// Creates a directory of this name in `trash/`, unless there is one. A stranger's file stays.
    fn stand_in(&self, name: &str) -> io::Result<()> {
        for n in 0.. {
            let name = if n == 0 { name.to_owned() } else { format!("{name}.{n}") };
            match make_dir(&self.trash, &name) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Err(_) if !is_dir(&self.trash, &name)? => {}
                _ => break,
            }
        }
        Ok(())
    }

    /// Returns the names of a job's directories in `trash/`: `<job>`, `<job>.1` and so on without a
    /// gap, the last one first. Removed in this order they never leave a gap, whenever a sweep ends, so
    /// nobody needs to list a `trash/` that may hold thousands of jobs. Names with other numbers are
    /// known from the last inventory.
    fn trash_names(&self, job: JobId) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for n in 0.. {
            let name = if n == 0 { job.to_string() } else { format!("{job}.{n}") };
            match rustix::fs::statat(&self.trash, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => names.push(name),
                // A stranger's: it stays (P6).
                Ok(_) => {}
                Err(Errno::NOENT) if n > 0 => break,
                Err(Errno::NOENT) => {}
                // There may be more: the job is not erased as long as nobody can tell.
                Err(e) => return Err(e.into()),
            }
        }
        names.extend(self.stray.lock().get(&job).into_iter().flatten().cloned());
        names.reverse();
        Ok(names)
    }

    /// Notes the directories in `trash/` that [`Self::trash_names`] would miss.
    fn note_strays(&self, names: &HashSet<String>) {
        let mut stray: HashMap<JobId, Vec<String>> = HashMap::new();
        for name in names {
            let Some((job, n)) = name.split_once('.') else { continue };
            let before = match n.parse::<u64>() {
                Ok(1) => None,
                Ok(n) if n > 1 => Some(format!("{job}.{}", n - 1)),
                _ => Some(String::new()),
            };
            let follows = before.is_none_or(|before| names.contains(&before)) && !n.starts_with('0');
            if let Some(job) = job_of(DirPlace::Trash, name).filter(|_| !follows) {
                stray.entry(job).or_default().push(name.clone());
            }
        }
        *self.stray.lock() = stray;
    }
}

/// The places of a job that is not deleted, in the order of its life.
const LIVE: [DirPlace; 2] = [DirPlace::Building, DirPlace::Ready];

impl Files for LocalFiles {
    fn create(&self, job: JobId, request: &[u8]) -> Result<Arc<dyn ExportDir>, FilesError> {
        let name = job.to_string();
        let make = || {
            self.hooks.fault(HookFault::Open)?;
            make_dir(&self.building, &name)?;
            self.hooks.reach(HookStep::DirectoryMade);
            open_dir(&self.building, &name)
        };
        let dir = make().map_err(FilesError::new("make directory", format!("building/{name}")))?;
        let dir = self.local_dir(dir, job);
        dir.write_document(DocumentKind::Request, request)?;
        self.sync(DirPlace::Building)?;
        self.hooks.reach(HookStep::DirectoryCreated);
        Ok(Arc::new(dir))
    }

    fn open(&self, job: JobId, place: DirPlace) -> Result<Arc<dyn ExportDir>, FilesError> {
        self.open_directory(&JobDirectory { place, name: job.to_string(), job })
    }

    fn move_to_ready(&self, job: JobId) -> Result<(), FilesError> {
        let name = job.to_string();
        let rename = || {
            self.hooks.fault(HookFault::Rename)?;
            Ok(rustix::fs::renameat_with(&self.building, &name, &self.ready, &name, RenameFlags::NOREPLACE)?)
        };
        rename().map_err(FilesError::new("rename to ready", format!("building/{name}")))?;
        self.hooks.reach(HookStep::RenamedToReady);
        self.sync(DirPlace::Ready)?;
        self.hooks.reach(HookStep::ReadySynced);
        self.sync(DirPlace::Building)?;
        self.hooks.reach(HookStep::MovedToReady);
        Ok(())
    }

    fn move_to_trash(&self, jobs: &[JobId]) -> Result<Vec<Result<(), FilesError>>, FilesError> {
        let renamed: Vec<_> = jobs.iter().map(|job| self.mark_on_disk(*job)).collect();
        let came_from =
            |place| renamed.iter().any(|result| matches!(result, Ok(Some(from)) if *from == place));
        let changed: Vec<_> = DirPlace::ALL.into_iter().filter(|place| came_from(*place)).collect();
        if !changed.is_empty() {
            self.sync(DirPlace::Trash)?;
            self.hooks.reach(HookStep::TrashSynced);
            let left: Vec<_> = changed.into_iter().filter(|place| *place != DirPlace::Trash).collect();
            self.sync_all(&left)?;
            self.hooks.reach(HookStep::MovedToTrash);
        }
        Ok(renamed.into_iter().map(|result| result.map(|_| ())).collect())
    }

    fn directories(&self, job: JobId, place: DirPlace) -> Result<Vec<JobDirectory>, FilesError> {
        let name = job.to_string();
        let fail = FilesError::new("sweep", format!("{}/{name}", place.name()));
        let names = match place {
            DirPlace::Trash => self.trash_names(job).map_err(fail)?,
            _ if is_dir(self.dir(place), &name).map_err(fail)? => vec![name],
            _ => Vec::new(),
        };
        Ok(names.into_iter().map(|name| JobDirectory { place, name, job }).collect())
    }

    fn open_directory(&self, directory: &JobDirectory) -> Result<Arc<dyn ExportDir>, FilesError> {
        let JobDirectory { place, name, job } = directory;
        let dir = self.hooks.fault(HookFault::Open).and_then(|()| open_dir(self.dir(*place), name));
        let dir = dir.map_err(FilesError::new("open directory", directory.to_string()))?;
        Ok(Arc::new(self.local_dir(dir, *job)))
    }

    fn is_keyless(&self, _: JobId, _: DirPlace) -> bool {
        false
    }

    fn destroy_keys(&self, warrants: &[Warrant]) -> Result<Vec<Option<KeyDestruction>>, FilesError> {
        // Its files are plain.
        Ok(vec![None; warrants.len()])
    }

    fn remove_directory(
        &self,
        warrant: &Warrant,
        directory: &JobDirectory,
    ) -> Result<RemoveOutcome, FilesError> {
        let JobDirectory { place, name, job } = directory;
        let remove = || {
            check_warrant(warrant, *job)?;
            match rustix::fs::unlinkat(self.dir(*place), name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => Ok(RemoveOutcome::Removed),
                Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(RemoveOutcome::NotEmpty),
                Err(e) => Err(e.into()),
            }
        };
        let removed = remove().map_err(FilesError::new("sweep", directory.to_string()))?;
        if removed == RemoveOutcome::Removed {
            self.hooks.reach(HookStep::DirectoryRemoved);
        }
        Ok(removed)
    }

    fn sync(&self, place: DirPlace) -> Result<(), FilesError> {
        sync_dir(self.dir(place), &self.hooks).map_err(FilesError::new(SYNC, place.name()))
    }

    fn inventory(&self) -> Result<DiskInventory, FilesError> {
        let mut inventory = DiskInventory::default();
        for place in DirPlace::ALL {
            let names = self.hooks.fault(HookFault::Readdir).and_then(|()| names(self.dir(place)));
            let names = names.map_err(FilesError::new("list", place.name()))?;
            if place == DirPlace::Trash {
                let directories = names.iter().filter(|(_, is_dir)| *is_dir);
                self.note_strays(&directories.map(|(name, _)| name.clone()).collect());
            }
            for (name, is_dir) in names {
                let jobs = match place {
                    DirPlace::Building => &mut inventory.building,
                    DirPlace::Ready => &mut inventory.ready,
                    DirPlace::Trash => &mut inventory.trash,
                };
                match job_of(place, &name).filter(|_| is_dir) {
                    Some(job) => jobs.push(job),
                    None => inventory.strangers.push(format!("{}/{name}", place.name())),
                }
            }
        }
        // In `trash/` a job may have several directories.
        inventory.trash.sort_unstable();
        inventory.trash.dedup();
        Ok(inventory)
    }

    fn free_bytes(&self) -> Result<u64, FilesError> {
        self.headroom.free_bytes().map_err(FilesError::new(MEASURE, "."))
    }

    fn release_ballast(&self, needed: u64) -> Result<CommitRoom, FilesError> {
        self.headroom.make(needed).map_err(FilesError::new(MEASURE, "."))
    }

    fn release_all(&self) -> Result<bool, FilesError> {
        self.headroom.give_up_all().map_err(FilesError::new("release", "ballast"))
    }

    fn restore_ballast(&self) -> Result<(), FilesError> {
        self.headroom.restore().map_err(FilesError::new("make", "ballast"))
    }
}
