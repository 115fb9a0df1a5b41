//! One job's directory on a local file system. Its files are created, read and removed by their names
//! relative to its handle, never by a path.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;

use cap_std::fs::Dir;
use rustix::fs::{Advice, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::encrypted::stored_length;
use super::headroom::Headroom;
use super::{DocumentKind, ExportDir, FilesError, OutputSink, ReadAt, SYNC, SweepCounts};
use crate::erase::Warrant;
use crate::hooks::{HookFault, HookStep, Hooks};
use crate::job::JobId;
use crate::plain_file::{self, LinkPolicy};
use crate::telemetry;

/// Syncs the names in a directory.
pub fn sync_dir(dir: &Dir, hooks: &Hooks) -> io::Result<()> {
    hooks.fault(HookFault::Fsync)?;
    Ok(telemetry::timed_sync("directory", || rustix::fs::fsync(dir))?)
}

/// Fails if the warrant is for another job.
pub fn check_warrant(warrant: &Warrant, job: JobId) -> io::Result<()> {
    if warrant.job() == job {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "the warrant is for another job"))
}

/// A handle on one job's directory.
pub struct LocalDir {
    dir: Dir,
    job: JobId,
    headroom: Arc<Headroom>,
    hooks: Hooks,
}

impl LocalDir {
    /// Wraps an open directory of a job.
    pub fn new(dir: Dir, job: JobId, headroom: Arc<Headroom>, hooks: Hooks) -> Self {
        Self { dir, job, headroom, hooks }
    }

    fn fail(&self, operation: &'static str, name: &str) -> impl FnOnce(io::Error) -> FilesError {
        FilesError::new(operation, format!("{}/{name}", self.job))
    }

    fn create(&self, name: &str) -> io::Result<File> {
        self.hooks.fault(HookFault::Open)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.dir, name, flags, Mode::RUSR | Mode::WUSR)?))
    }

    fn read(&self, name: &str) -> io::Result<File> {
        self.hooks.fault(HookFault::Open)?;
        let flags = OFlags::RDONLY | plain_file::flags(LinkPolicy::Refuse);
        let opened = rustix::fs::openat(&self.dir, name, flags, Mode::empty());
        let file = File::from(opened.map_err(|error| plain_file::explain(error.into()))?);
        plain_file::length(&file)?;
        Ok(file)
    }
}

impl ExportDir for LocalDir {
    fn create_file(&self, name: &str) -> Result<Box<dyn OutputSink>, FilesError> {
        let file = self.create(name).map_err(self.fail("create", name))?;
        let full_name = format!("{}/{name}", self.job);
        let (hooks, headroom) = (self.hooks.clone(), self.headroom.clone());
        Ok(Box::new(LocalSink { file, name: full_name, headroom, hooks, written: 0, begun: 0 }))
    }

    fn write_document(&self, document: DocumentKind, content: &[u8]) -> Result<(), FilesError> {
        let name = document.name();
        let temporary = format!("{name}.tmp");
        let write = || {
            self.hooks.fault(HookFault::Write)?;
            match rustix::fs::unlinkat(&self.dir, &temporary, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(e.into()),
            }
            let mut file = self.create(&temporary)?;
            io::Write::write_all(&mut file, content)?;
            self.hooks.fault(HookFault::Fsync)?;
            telemetry::timed_sync("document", || file.sync_data())?;
            self.hooks.reach(HookStep::DocumentWritten);
            self.hooks.fault(HookFault::Rename)?;
            rustix::fs::renameat(&self.dir, &temporary, &self.dir, name)?;
            self.hooks.reach(HookStep::DocumentRenamed);
            sync_dir(&self.dir, &self.hooks)
        };
        write().map_err(self.fail("write", name))
    }

    fn has_document(&self, document: DocumentKind) -> Result<bool, FilesError> {
        let name = document.name();
        match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(self.fail("look for", name)(e.into())),
        }
    }

    fn read_document(&self, document: DocumentKind) -> Result<Option<Vec<u8>>, FilesError> {
        let name = document.name();
        let read = || match self.read(name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
            Ok(file) => plain_file::read_all(file, stored_length(document.max_bytes())).map(Some),
        };
        read().map_err(self.fail("read", name))
    }

    fn open_file(&self, name: &str) -> Result<Arc<dyn ReadAt>, FilesError> {
        Ok(Arc::new(self.read(name).map_err(self.fail("open", name))?))
    }

    fn check_file(&self, name: &str, bytes: u64) -> Result<(), FilesError> {
        let check = || {
            self.hooks.fault(HookFault::Open)?;
            let stat = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            if is_file && u64::try_from(stat.st_size) == Ok(bytes) {
                return Ok(());
            }
            let is = if is_file { format!("has {} bytes", stat.st_size) } else { "is not a file".into() };
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("{is}, should have {bytes} bytes")))
        };
        check().map_err(self.fail("check", name))
    }

    fn list(&self) -> Result<Vec<OsString>, FilesError> {
        let list = || {
            self.hooks.fault(HookFault::Readdir)?;
            self.dir.entries()?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()
        };
        list().map_err(self.fail("list", ""))
    }

    fn unlink(&self, warrant: &Warrant, name: &OsStr) -> Result<SweepCounts, FilesError> {
        let unlink = || {
            check_warrant(warrant, self.job)?;
            self.hooks.reach(HookStep::UnlinkBegins);
            self.hooks.fault(HookFault::Unlink)?;
            let stat = match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => return Ok(SweepCounts::default()),
                Err(e) => return Err(e.into()),
            };
            match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
                Ok(()) => {}
                Err(Errno::NOENT) => return Ok(SweepCounts::default()),
                Err(e) => return Err(e.into()),
            }
            self.hooks.reach(HookStep::FileUnlinked);
            let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            Ok(SweepCounts {
                files: 1,
                bytes: if is_file { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
                planted_links: u64::from(is_file && stat.st_nlink > 1),
                key: None,
            })
        };
        // A name may be anybody's: it is not told (P12).
        unlink().map_err(self.fail("unlink a name of", ""))
    }

    fn sync(&self) -> Result<(), FilesError> {
        sync_dir(&self.dir, &self.hooks).map_err(self.fail(SYNC, ""))?;
        self.hooks.reach(HookStep::DirectorySynced);
        Ok(())
    }
}

struct LocalSink {
    file: File,
    name: String,
    headroom: Arc<Headroom>,
    hooks: Hooks,
    /// Bytes written, and bytes whose write-back has begun.
    written: u64,
    begun: u64,
}

/// Bytes whose write-back is begun at once, so that the final fsync has little left to do.
const WRITE_BEHIND: u64 = 8 << 20;

impl LocalSink {
    /// Makes the kernel begin to write back dirty pages. `sync_file_range` has no safe binding;
    /// advising that pages are not needed begins their write-back and leaves those alone that are on
    /// their way.
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
            self.hooks.reach(HookStep::WriteBegins);
            self.hooks.fault(HookFault::Write)?;
            if !self.headroom.admits(bytes.len() as u64) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            io::Write::write_all(&mut &self.file, bytes).inspect_err(|error| self.headroom.note(error))
        };
        write().map_err(FilesError::new("write", &self.name))?;
        self.written += bytes.len() as u64;
        self.write_behind();
        Ok(())
    }

    fn finish(&mut self) -> Result<(), FilesError> {
        self.hooks.reach(HookStep::OutputWritten);
        let synced = self
            .hooks
            .fault(HookFault::Fsync)
            .and_then(|()| telemetry::timed_sync("output", || self.file.sync_data()));
        synced.map_err(FilesError::new("sync", &self.name))?;
        self.hooks.reach(HookStep::OutputSynced);
        Ok(())
    }
}
