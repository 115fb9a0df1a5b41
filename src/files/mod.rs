//! The export directory: where a job's files are written, served from and unlinked. Everything
//! goes through directory *handles*; no path is ever joined from outside, no symbolic link
//! followed, no name removed that this server did not make (P3, P6). What may go is decided in
//! [`erase`](crate::erase); here one listed name goes, under a warrant.

mod ballast;
pub mod coded;
pub mod encrypted;
mod handle;
mod headroom;
pub mod layout;
mod local;
mod local_dir;
pub mod modes;
mod output;
mod read_at;

use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;

use serde::Serialize;

use crate::erase::Warrant;
use crate::job::{JobId, KeyDestruction};
use crate::plain_file;

pub use crate::job::SweepCounts;
pub use ballast::BALLAST_BYTES;
pub(crate) use handle::open_dir;
pub use layout::{DirPlace, JobDirectory};
pub use local::LocalFiles;
pub use output::OpenOutput;
pub use read_at::ReadAt;

/// An operation on the data directory that failed. Names are relative to the data directory.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("ready"), "a file where a folder should be")?;
/// let started = Evanesce::builder().data_dir(folder.path()).exporter(example::Patients).start().await;
/// let Err(StartError::DataDir(cause)) = started else { panic!() };
/// let error = cause.downcast_ref::<FilesError>().expect("it is one");
/// println!("{error}; missing: {}, not synced: {}", error.is_missing(), error.is_sync());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{operation} {name}: {source}")]
pub struct FilesError {
    operation: &'static str,
    name: String,
    source: io::Error,
}

/// Returns whether a write failed for want of room: the file system is full (ENOSPC), a quota is used
/// up (EDQUOT), or the file would be larger than any file may be (EFBIG).
pub(crate) fn is_full(error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => true,
        // Our own bounds say so too.
        io::ErrorKind::FileTooLarge => error.raw_os_error().is_some(),
        _ => false,
    }
}

/// The operation name of each directory fsync.
const SYNC: &str = "sync directory";

impl FilesError {
    fn new(operation: &'static str, name: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let name = name.into();
        move |source| Self { operation, name, source }
    }

    /// Returns the error as that of a sweep of this directory. Names in it may be anybody's, so they
    /// are left out (P12). A failed fsync stays one.
    pub(crate) fn in_sweep(self, directory: &JobDirectory) -> Self {
        if self.is_sync() { self } else { Self::new("sweep", directory.to_string())(self.source) }
    }

    /// Creates the error of a directory that is never empty, however often it is emptied.
    pub(crate) fn not_empty(directory: &JobDirectory) -> Self {
        Self::new("sweep", directory.to_string())(io::ErrorKind::DirectoryNotEmpty.into())
    }

    /// Returns whether there is no room left.
    pub(crate) fn is_full(&self) -> bool {
        is_full(&self.source)
    }

    /// Returns whether a document is longer than [`DocumentKind::max_bytes`].
    pub(crate) fn is_too_large(&self) -> bool {
        self.source.kind() == io::ErrorKind::FileTooLarge && !self.is_full()
    }

    /// Returns whether an fsync failed. What is on disk is then unknown, and a retry would lie.
    pub fn is_sync(&self) -> bool {
        self.operation == SYNC
    }

    /// Returns what went wrong, without what was tried.
    #[cfg(feature = "cli")]
    pub(crate) fn cause(&self) -> String {
        self.source.to_string()
    }

    /// Returns the same error once more: several jobs have it.
    pub(crate) fn again(&self) -> Self {
        let source = match self.source.raw_os_error() {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::new(self.source.kind(), self.source.to_string()),
        };
        Self { operation: self.operation, name: self.name.clone(), source }
    }

    /// Returns the system's name of the error, such as `EACCES`, or `other` if it has none.
    pub(crate) fn errno(&self) -> String {
        let errno = self.source.raw_os_error().map(nix::errno::Errno::from_raw);
        errno.map_or_else(|| "other".into(), |errno| format!("{errno:?}"))
    }

    /// Returns whether the name is missing, or should be a directory and is not. The server did not
    /// make such a name.
    pub fn is_missing(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    }

    /// Returns whether the key that is needed is not there.
    #[cfg(any(test, feature = "cli"))]
    pub(crate) fn is_locked(&self) -> bool {
        self.source.get_ref().is_some_and(|cause| cause.is::<encrypted::KeyNotThere>())
    }

    /// Returns whether something else stands in a file's place, or the file is too long to be ours.
    pub(crate) fn is_strange(&self) -> bool {
        plain_file::is_strange(&self.source)
    }
}

/// The kinds of documents beside the output files in a job's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    /// The kick-off's parameters (P12).
    Request,
    /// The plan. A resumed job never plans again.
    Plan,
    /// The content of the record to come.
    Job,
}

impl DocumentKind {
    /// Returns the file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request.json",
            Self::Plan => "plan.json",
            Self::Job => "job.json",
        }
    }

    /// Returns the most bytes that are written or read (P13), so that a start never runs out of memory,
    /// whatever stands in a directory. A request has a lower bound of its own
    /// ([`bounds`](crate::job::bounds)); a plan and a job grow with the export.
    pub fn max_bytes(self) -> u64 {
        match self {
            Self::Request => 4 << 20,
            Self::Plan | Self::Job => 256 << 20,
        }
    }

    /// Serializes the document's content, up to its bound.
    ///
    /// # Errors
    /// Fails if the content is longer than the bound ([`FilesError::is_too_large`]).
    pub fn content(self, value: &impl Serialize) -> Result<Vec<u8>, FilesError> {
        let mut bounded = BoundedText { content: Vec::new(), left: self.max_bytes() };
        serde_json::to_writer(&mut bounded, value).map_err(|error| {
            // What is written here serializes: only the bound is left.
            FilesError::new("make", self.name())(io::Error::new(io::ErrorKind::FileTooLarge, error))
        })?;
        Ok(bounded.content)
    }
}

/// A buffer that refuses to grow beyond its bound.
struct BoundedText {
    content: Vec<u8>,
    left: u64,
}

impl io::Write for BoundedText {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        self.content.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether there is room for a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitRoom {
    /// There was room.
    There,
    /// There is room now, because the ballast was released.
    Made,
    /// There is no room, and no ballast left.
    None,
}

/// The outcome of removing a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoveOutcome {
    /// The directory is gone, or was gone before.
    Removed,
    /// The directory contains a name.
    NotEmpty,
}

/// What is on disk: job directories by place, and names that are not ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(unnameable_types, reason = "only converted into what is public")]
pub struct DiskInventory {
    /// Jobs in `building/`.
    pub building: Vec<JobId>,
    /// Jobs in `ready/`.
    pub ready: Vec<JobId>,
    /// Jobs in `trash/`, each once.
    pub trash: Vec<JobId>,
    /// Names that this server did not make, relative to the data directory. They are reported and never
    /// removed.
    pub strangers: Vec<String>,
}

/// Where the directories of jobs live. Every call blocks. A call that returns `Ok` has made
/// its effect durable: files and their directories are synced.
pub trait Files: Send + Sync {
    /// Makes `building/<job>/` with `request.json` in it, whose content is `request`.
    fn create(&self, job: JobId, request: &[u8]) -> Result<Arc<dyn ExportDir>, FilesError>;

    /// Opens the job's directory. The handle follows the directory through renames; once the directory
    /// is removed, every use of the handle fails (P3).
    fn open(&self, job: JobId, place: DirPlace) -> Result<Arc<dyn ExportDir>, FilesError>;

    /// Renames `building/<job>` to `ready/<job>`.
    fn move_to_ready(&self, job: JobId) -> Result<(), FilesError>;

    /// Renames each job's directory, wherever it is, to `trash/`. The jobs share the fsyncs. For a
    /// directory that cannot be renamed, an empty one is made in `trash/`, which marks the job as well.
    /// A job without a directory is not an error. The outer `Err` means that the fsyncs, the last step,
    /// failed: nothing is known then, and the process must end.
    fn move_to_trash(&self, jobs: &[JobId]) -> Result<Vec<Result<(), FilesError>>, FilesError>;

    /// Lists the job's directories in a place. In `trash/` there may be several; the one with the job's
    /// own name comes last.
    fn directories(&self, job: JobId, place: DirPlace) -> Result<Vec<JobDirectory>, FilesError>;

    /// Opens one of these directories, as [`open`](Self::open) does.
    fn open_directory(&self, directory: &JobDirectory) -> Result<Arc<dyn ExportDir>, FilesError>;

    /// Destroys the keys of these jobs, durably and all together, before their files go. Returns when that
    /// was for each job, also if it was before; `None` for a job that has no key.
    fn destroy_keys(&self, warrants: &[Warrant]) -> Result<Vec<Option<KeyDestruction>>, FilesError>;

    /// Returns whether what stands there of a job is encrypted and its key is gone for certain: nothing of
    /// it can ever be read. Blocks.
    fn is_keyless(&self, job: JobId, place: DirPlace) -> bool;

    /// Removes an empty directory. Durable after [`sync`](Self::sync). Fails if the warrant is for
    /// another job.
    fn remove_directory(
        &self,
        warrant: &Warrant,
        directory: &JobDirectory,
    ) -> Result<RemoveOutcome, FilesError>;

    /// Syncs the names in a place.
    fn sync(&self, place: DirPlace) -> Result<(), FilesError>;

    /// Returns what is on disk now.
    fn inventory(&self) -> Result<DiskInventory, FilesError>;

    /// Returns the bytes free for this server. It is 0 while a quota is used up, which the file system
    /// does not report.
    fn free_bytes(&self) -> Result<u64, FilesError>;

    /// Releases the ballast if fewer than `needed` bytes are free or a quota leaves less, so that a
    /// deletion can always be recorded.
    fn release_ballast(&self, needed: u64) -> Result<CommitRoom, FilesError>;

    /// Releases the ballast and the reserve, for a start or a rename that has no other room. Returns
    /// false if there was nothing to release.
    fn release_all(&self) -> Result<bool, FilesError>;

    /// Restores missing ballast and reserve if there is room for twice their size.
    fn restore_ballast(&self) -> Result<(), FilesError>;
}

/// A handle on one job's directory.
pub trait ExportDir: Send + Sync {
    /// Creates a file. Fails if the name exists.
    fn create_file(&self, name: &str) -> Result<Box<dyn OutputSink>, FilesError>;

    /// Writes a document durably: whole or not at all.
    fn write_document(&self, document: DocumentKind, content: &[u8]) -> Result<(), FilesError>;

    /// Returns whether the document exists as a regular file.
    fn has_document(&self, document: DocumentKind) -> Result<bool, FilesError>;

    /// Reads a document, or returns `None` if there is none. Fails with an error that [is
    /// strange](FilesError::is_strange) if it is not a regular file or too long.
    fn read_document(&self, document: DocumentKind) -> Result<Option<Vec<u8>>, FilesError>;

    /// Opens a file for reading. The name must be one that the store knows (F-10).
    fn open_file(&self, name: &str) -> Result<Arc<dyn ReadAt>, FilesError>;

    /// Fails if there is no file with that name and length.
    fn check_file(&self, name: &str, bytes: u64) -> Result<(), FilesError>;

    /// Lists the names in the directory.
    fn list(&self) -> Result<Vec<OsString>, FilesError>;

    /// Unlinks one listed name. A name that is gone is a success. Durable after [`sync`](Self::sync).
    /// Fails if the warrant is for another job.
    fn unlink(&self, warrant: &Warrant, name: &OsStr) -> Result<SweepCounts, FilesError>;

    /// Syncs the names in the directory.
    fn sync(&self) -> Result<(), FilesError>;
}

/// A file being written.
pub trait OutputSink: Send {
    /// Appends all of `bytes`.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), FilesError>;

    /// Writes what is held back and syncs the content. Nothing may be written after it.
    fn finish(&mut self) -> Result<(), FilesError>;
}
