//! Job directories on a local file system, by directory handles (openat, renameat, unlinkat).

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

use cap_std::fs::Dir;
use rustix::fs::{Advice, AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::handle::{make_dir, open_dir};
use super::layout::job_of;
use super::{
    Document, ExportDir, Files, FilesError, Inventory, OutputSink, Place, ReadAt, Room, SYNC, SweepResult,
    Swept, ballast, sweep,
};
use crate::hooks::{Fault, Hooks, Step};
use crate::job::{ExportRequest, JobId};
use crate::telemetry;

/// The data directory on a local file system.
pub struct LocalFiles {
    root: Dir,
    building: Dir,
    ready: Dir,
    trash: Dir,
    hooks: Hooks,
}

impl LocalFiles {
    /// Opens the data directory, making it and its places as needed (0700). All places must
    /// be on one device, or renames would not be atomic.
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
        let place = |place: Place| {
            let open = || match open_dir(&root, place.name()) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    make_dir(&root, place.name())?;
                    open_dir(&root, place.name())
                }
                other => other,
            };
            open().map_err(FilesError::new("open directory", place.name()))
        };
        let (building, ready, trash) = (place(Place::Building)?, place(Place::Ready)?, place(Place::Trash)?);
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
        let files = Self { root, building, ready, trash, hooks };
        // What a killed process left may be readable and yet not durable.
        files.sync(&Place::ALL)?;
        Ok(files)
    }

    fn dir(&self, place: Place) -> &Dir {
        match place {
            Place::Building => &self.building,
            Place::Ready => &self.ready,
            Place::Trash => &self.trash,
        }
    }

    /// Makes the names in places durable.
    fn sync(&self, places: &[Place]) -> Result<(), FilesError> {
        for place in places {
            sync_dir(self.dir(*place), &self.hooks).map_err(FilesError::new(SYNC, place.name()))?;
        }
        Ok(())
    }

    /// Renames the job's directory to a free name in `trash/` and tells where it was, if it was
    /// anywhere. A completion may rename it from `building/` to `ready/` meanwhile, never
    /// back: so `building/` is tried first.
    fn rename_to_trash(&self, job: JobId) -> io::Result<Option<Place>> {
        self.hooks.fault(Fault::Rename)?;
        let from = job.to_string();
        for place in [Place::Building, Place::Ready] {
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
                        self.hooks.reach(Step::RenamedToTrash);
                        return Ok(Some(place));
                    }
                    Err(Errno::EXIST | Errno::NOTEMPTY) => {}
                    Err(Errno::NOENT) => break,
                    Err(e) => return Err(e.into()),
                }
            }
        }
        Ok(None)
    }

    /// Names of a job's directories in `trash/`: `<job>`, `<job>.1` and so on without a gap,
    /// the last one first. Removed in this order they never have one, whenever a sweep ends;
    /// so nobody need list a `trash/` that thousands of jobs may be in.
    fn trash_names(&self, job: JobId) -> io::Result<Vec<String>> {
        let mut names = vec![job.to_string()];
        for n in 1.. {
            let name = format!("{job}.{n}");
            match rustix::fs::statat(&self.trash, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => names.insert(0, name),
                Err(Errno::NOENT) => break,
                // There may be more: the job is not erased as long as nobody can tell.
                Err(e) => return Err(e.into()),
            }
        }
        Ok(names)
    }
}

impl Files for LocalFiles {
    fn create(&self, job: JobId, request: &ExportRequest) -> Result<Arc<dyn ExportDir>, FilesError> {
        let name = job.to_string();
        let make = || {
            self.hooks.fault(Fault::Open)?;
            make_dir(&self.building, &name)?;
            self.hooks.reach(Step::DirectoryMade);
            open_dir(&self.building, &name)
        };
        let dir = make().map_err(FilesError::new("make directory", format!("building/{name}")))?;
        let dir = LocalDir { dir, name, hooks: self.hooks.clone() };
        let content = serde_json::to_vec(request).expect("a request always serializes");
        dir.write_document(Document::Request, &content)?;
        self.sync(&[Place::Building])?;
        self.hooks.reach(Step::DirectoryCreated);
        Ok(Arc::new(dir))
    }

    fn open(&self, job: JobId, place: Place) -> Result<Arc<dyn ExportDir>, FilesError> {
        let name = job.to_string();
        let dir = self.hooks.fault(Fault::Open).and_then(|()| open_dir(self.dir(place), &name));
        let dir = dir.map_err(FilesError::new("open directory", format!("{}/{name}", place.name())))?;
        Ok(Arc::new(LocalDir { dir, name, hooks: self.hooks.clone() }))
    }

    fn move_to_ready(&self, job: JobId) -> Result<(), FilesError> {
        let name = job.to_string();
        let rename = || {
            self.hooks.fault(Fault::Rename)?;
            Ok(rustix::fs::renameat_with(&self.building, &name, &self.ready, &name, RenameFlags::NOREPLACE)?)
        };
        rename().map_err(FilesError::new("rename to ready", format!("building/{name}")))?;
        self.hooks.reach(Step::RenamedToReady);
        self.sync(&[Place::Ready])?;
        self.hooks.reach(Step::ReadySynced);
        self.sync(&[Place::Building])?;
        self.hooks.reach(Step::MovedToReady);
        Ok(())
    }

    fn move_to_trash(&self, jobs: &[JobId]) -> Result<Vec<Result<(), FilesError>>, FilesError> {
        let rename = |job: &JobId| {
            let name = || format!("{job}");
            self.rename_to_trash(*job).map_err(|e| FilesError::new("rename to trash", name())(e))
        };
        let renamed: Vec<_> = jobs.iter().map(rename).collect();
        let came_from =
            |place| renamed.iter().any(|result| matches!(result, Ok(Some(from)) if *from == place));
        let left: Vec<_> =
            [Place::Building, Place::Ready].into_iter().filter(|place| came_from(*place)).collect();
        if !left.is_empty() {
            self.sync(&[Place::Trash])?;
            self.hooks.reach(Step::TrashSynced);
            self.sync(&left)?;
            self.hooks.reach(Step::MovedToTrash);
        }
        Ok(renamed.into_iter().map(|result| result.map(|_| ())).collect())
    }

    fn sweep(&self, jobs: &[JobId]) -> Result<Vec<SweepResult>, FilesError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        self.hooks.reach(Step::SweepBegins);
        let sweep = |job: &JobId| {
            let mut swept = Swept::default();
            let mut remove = |name: String| sweep::remove_dir(&self.trash, &name, &self.hooks, &mut swept);
            let result = self.trash_names(*job).and_then(|names| names.into_iter().try_for_each(&mut remove));
            (swept, result.map_err(|e| FilesError::new("sweep", format!("trash/{job}"))(e)))
        };
        let results = jobs.iter().map(sweep).collect();
        self.sync(&[Place::Trash])?;
        self.hooks.reach(Step::SweepEnds);
        Ok(results)
    }

    fn sweep_partials(&self, job: JobId) -> Result<(), FilesError> {
        let name = job.to_string();
        let open = || {
            self.hooks.fault(Fault::Open)?;
            open_dir(&self.building, &name)
        };
        let sweep = || match open() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
            Ok(dir) => {
                let chosen = |name: &str| name != Document::Job.name();
                sweep::remove_files(&dir, &self.hooks, chosen, &mut Swept::default())?;
                sync_dir(&dir, &self.hooks)
            }
        };
        sweep().map_err(FilesError::new("sweep", format!("building/{name}")))
    }

    fn inventory(&self) -> Result<Inventory, FilesError> {
        let mut inventory = Inventory::default();
        for place in Place::ALL {
            let names =
                sweep::names(self.dir(place), &self.hooks).map_err(FilesError::new("list", place.name()))?;
            for name in names {
                let jobs = match place {
                    Place::Building => &mut inventory.building,
                    Place::Ready => &mut inventory.ready,
                    Place::Trash => &mut inventory.trash,
                };
                match job_of(place, &name) {
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
        let free = self.hooks.fault(Fault::Statvfs).and_then(|()| ballast::free_bytes(&self.root));
        free.map_err(FilesError::new("measure free space of", "."))
    }

    fn release_ballast(&self, needed: u64) -> Result<Room, FilesError> {
        if self.free_bytes()? >= needed {
            return Ok(Room::There);
        }
        let released = ballast::release(&self.root).map_err(FilesError::new("release", "ballast"))?;
        self.hooks.reach(Step::BallastReleased);
        Ok(if released { Room::Made } else { Room::None })
    }

    fn restore_ballast(&self) -> Result<(), FilesError> {
        ballast::restore(&self.root, &self.hooks).map_err(FilesError::new("make", "ballast"))
    }
}

/// Makes the names in a directory durable.
fn sync_dir(dir: &Dir, hooks: &Hooks) -> io::Result<()> {
    hooks.fault(Fault::Fsync)?;
    Ok(telemetry::timed_sync("directory", || rustix::fs::fsync(dir))?)
}

struct LocalDir {
    dir: Dir,
    name: String,
    hooks: Hooks,
}

impl LocalDir {
    fn fail(&self, operation: &'static str, name: &str) -> impl FnOnce(io::Error) -> FilesError {
        FilesError::new(operation, format!("{}/{name}", self.name))
    }

    fn create(&self, name: &str) -> io::Result<File> {
        self.hooks.fault(Fault::Open)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.dir, name, flags, Mode::RUSR | Mode::WUSR)?))
    }

    fn read(&self, name: &str) -> io::Result<File> {
        self.hooks.fault(Fault::Open)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(File::from(rustix::fs::openat(&self.dir, name, flags, Mode::empty())?))
    }
}

impl ExportDir for LocalDir {
    fn create_file(&self, name: &str) -> Result<Box<dyn OutputSink>, FilesError> {
        let file = self.create(name).map_err(self.fail("create", name))?;
        let full_name = format!("{}/{name}", self.name);
        let (hooks, name) = (self.hooks.clone(), full_name);
        Ok(Box::new(LocalSink { file, name, hooks, written: 0, begun: 0 }))
    }

    fn write_document(&self, document: Document, content: &[u8]) -> Result<(), FilesError> {
        let name = document.name();
        let temporary = format!("{name}.tmp");
        let write = || {
            self.hooks.fault(Fault::Write)?;
            match rustix::fs::unlinkat(&self.dir, &temporary, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(e.into()),
            }
            let mut file = self.create(&temporary)?;
            io::Write::write_all(&mut file, content)?;
            self.hooks.fault(Fault::Fsync)?;
            telemetry::timed_sync("document", || file.sync_data())?;
            self.hooks.reach(Step::DocumentWritten);
            self.hooks.fault(Fault::Rename)?;
            rustix::fs::renameat(&self.dir, &temporary, &self.dir, name)?;
            self.hooks.reach(Step::DocumentRenamed);
            sync_dir(&self.dir, &self.hooks)
        };
        write().map_err(self.fail("write", name))
    }

    fn read_document(&self, document: Document) -> Result<Option<Vec<u8>>, FilesError> {
        let name = document.name();
        let read = || match self.read(name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
            Ok(mut file) => {
                let mut content = Vec::new();
                io::Read::read_to_end(&mut file, &mut content)?;
                Ok(Some(content))
            }
        };
        read().map_err(self.fail("read", name))
    }

    fn open_file(&self, name: &str) -> Result<Arc<dyn ReadAt>, FilesError> {
        Ok(Arc::new(self.read(name).map_err(self.fail("open", name))?))
    }

    fn check_file(&self, name: &str, bytes: u64) -> Result<(), FilesError> {
        let check = || {
            self.hooks.fault(Fault::Open)?;
            let stat = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            if is_file && u64::try_from(stat.st_size) == Ok(bytes) {
                return Ok(());
            }
            let is = if is_file { format!("has {} bytes", stat.st_size) } else { "is no file".into() };
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("{is}, should have {bytes} bytes")))
        };
        check().map_err(self.fail("check", name))
    }

    fn remove_all_but(&self, keep: &[&str]) -> Result<Swept, FilesError> {
        let documents = [Document::Request, Document::Plan, Document::Job].map(Document::name);
        let remove = || {
            let mut swept = Swept::default();
            let chosen = |name: &str| !keep.contains(&name) && !documents.contains(&name);
            sweep::remove_files(&self.dir, &self.hooks, chosen, &mut swept)?;
            sync_dir(&self.dir, &self.hooks)?;
            Ok(swept)
        };
        let swept = remove().map_err(self.fail("remove partial files of", ""))?;
        self.hooks.reach(Step::PartialsRemoved);
        Ok(swept)
    }

    fn sync(&self) -> Result<(), FilesError> {
        sync_dir(&self.dir, &self.hooks).map_err(self.fail(SYNC, ""))?;
        self.hooks.reach(Step::DirectorySynced);
        Ok(())
    }
}

struct LocalSink {
    file: File,
    name: String,
    hooks: Hooks,
    /// Bytes written, and those whose way to the disk was begun.
    written: u64,
    begun: u64,
}

/// Bytes that exports leave free: commits, receipts and so deletions need a little, and would
/// else have to live on the ballast that is for disks which others fill.
const RESERVE_BYTES: u64 = 32 << 20;

/// Bytes whose way to the disk is begun at once: the fsync at the end has little left to do.
const WRITE_BEHIND: u64 = 8 << 20;

impl LocalSink {
    /// Has the kernel begin to write what is dirty. There is no safe call for
    /// `sync_file_range`; the advice that pages are not needed begins their write-back first,
    /// and leaves those alone that are on their way.
    fn write_behind(&mut self) {
        if let Some(length) = NonZeroU64::new(self.written - self.begun).filter(|l| l.get() >= WRITE_BEHIND) {
            // Only a hint: the fsync tells what became of the bytes.
            let _ = rustix::fs::fadvise(&self.file, self.begun, Some(length), Advice::DontNeed);
            self.begun = self.written;
        }
    }
}

impl OutputSink for LocalSink {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), FilesError> {
        let write = || {
            self.hooks.reach(Step::WriteBegins);
            self.hooks.fault(Fault::Write)?;
            // If nobody can tell, the write itself will.
            if ballast::free_bytes(&self.file).is_ok_and(|free| free < RESERVE_BYTES + bytes.len() as u64) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            io::Write::write_all(&mut &self.file, bytes)
        };
        write().map_err(FilesError::new("write", &self.name))?;
        self.written += bytes.len() as u64;
        self.write_behind();
        Ok(())
    }

    fn sync(&mut self) -> Result<(), FilesError> {
        self.hooks.reach(Step::OutputWritten);
        let synced = self
            .hooks
            .fault(Fault::Fsync)
            .and_then(|()| telemetry::timed_sync("output", || self.file.sync_data()));
        synced.map_err(FilesError::new("sync", &self.name))?;
        self.hooks.reach(Step::OutputSynced);
        Ok(())
    }
}
