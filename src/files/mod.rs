//! The export directory: where a job's files are written, served from and unlinked. Everything
//! goes through directory *handles*; no path is ever joined from outside, no symbolic link
//! followed, no name removed that this server did not make (P3, P6). What may go is decided in
//! [`erase`](crate::erase); here one listed name goes, under a warrant.

mod ballast;
pub mod coded;
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
use crate::job::{ExportRequest, JobId};
use crate::plain_file;

pub use crate::job::SweepCounts;
pub use ballast::BALLAST_BYTES;
pub(crate) use handle::open_dir;
pub use layout::{DirPlace, JobDirectory};
pub use local::LocalFiles;
pub use output::OpenOutput;
pub use read_at::ReadAt;

/// What could not be done, on what; names are relative to the data directory.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {name}: {source}")]
pub struct FilesError {
    operation: &'static str,
    name: String,
    source: io::Error,
}

/// Whether something cannot be written for want of room: the file system is full (ENOSPC), a quota
/// is used up (EDQUOT), or the file would be larger than any file may be (EFBIG).
pub(crate) fn is_full(error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => true,
        // Our own bounds say so too.
        io::ErrorKind::FileTooLarge => error.raw_os_error().is_some(),
        _ => false,
    }
}

/// The operation of every fsync of a directory.
const SYNC: &str = "sync directory";

impl FilesError {
    fn new(operation: &'static str, name: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let name = name.into();
        move |source| Self { operation, name, source }
    }

    /// The error of a sweep of this directory. Names in it may be anybody's, so they are not told
    /// (P12); a failed fsync stays one.
    pub(crate) fn in_sweep(self, directory: &JobDirectory) -> Self {
        if self.is_sync() { self } else { Self::new("sweep", directory.to_string())(self.source) }
    }

    /// The error of a directory that was not empty however often it was emptied.
    pub(crate) fn not_empty(directory: &JobDirectory) -> Self {
        Self::new("sweep", directory.to_string())(io::ErrorKind::DirectoryNotEmpty.into())
    }

    /// Whether there is no room left.
    pub fn is_full(&self) -> bool {
        is_full(&self.source)
    }

    /// Whether a document is longer than [`DocumentKind::max_bytes`].
    pub fn is_too_large(&self) -> bool {
        self.source.kind() == io::ErrorKind::FileTooLarge && !self.is_full()
    }

    /// Whether it is a failed fsync: what is on disk is not known, and trying again would lie.
    pub fn is_sync(&self) -> bool {
        self.operation == SYNC
    }

    /// The system's name of the error, such as `EACCES`; `other` if the system did not say.
    pub fn errno(&self) -> String {
        let errno = self.source.raw_os_error().map(nix::errno::Errno::from_raw);
        errno.map_or_else(|| "other".into(), |errno| format!("{errno:?}"))
    }

    /// Whether the name is not there, or is that of something else than a directory where one was
    /// to be opened: then it is none that the server made.
    pub fn is_missing(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    }

    /// Whether something else stands in a file's place, or more than such a file may have.
    pub fn is_strange(&self) -> bool {
        plain_file::is_strange(&self.source)
    }
}

/// The documents beside the output files of a job's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    /// The kick-off's parameters (P12).
    Request,
    /// The plan: a resume never plans again.
    Plan,
    /// What the record is going to say.
    Job,
}

impl DocumentKind {
    /// The file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request.json",
            Self::Plan => "plan.json",
            Self::Job => "job.json",
        }
    }

    /// The most bytes that are written or read of it (P13): a start does not fail for want of
    /// memory, whatever stands in a directory. A request has less
    /// ([`bounds`](crate::job::bounds)); a plan and a job grow with the export.
    pub fn max_bytes(self) -> u64 {
        match self {
            Self::Request => 4 << 20,
            Self::Plan | Self::Job => 256 << 20,
        }
    }

    /// The content of the document; it is made no further than to its bound.
    ///
    /// # Errors
    /// If it would be longer ([`FilesError::is_too_large`]).
    pub fn content(self, value: &impl Serialize) -> Result<Vec<u8>, FilesError> {
        let mut bounded = BoundedText { content: Vec::new(), left: self.max_bytes() };
        serde_json::to_writer(&mut bounded, value).map_err(|error| {
            // What is written here serializes: only the bound is left.
            FilesError::new("make", self.name())(io::Error::new(io::ErrorKind::FileTooLarge, error))
        })?;
        Ok(bounded.content)
    }
}

/// Text that may not become longer than it has bytes left.
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
    /// There is.
    There,
    /// There is now: the ballast was given up.
    Made,
    /// There is not, and no ballast any more.
    None,
}

/// What became of an attempt to remove a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoveOutcome {
    /// It is gone, or was gone already.
    Removed,
    /// There is a name in it.
    NotEmpty,
}

/// What stands on disk: job directories by place, and names that are not ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(unnameable_types, reason = "only converted into what is public")]
pub struct DiskInventory {
    /// Jobs in `building/`.
    pub building: Vec<JobId>,
    /// Jobs in `ready/`.
    pub ready: Vec<JobId>,
    /// Jobs in `trash/`, each once.
    pub trash: Vec<JobId>,
    /// Names that this server did not make, relative to the data directory; reported, never removed.
    pub strangers: Vec<String>,
}

/// Where the directories of jobs live. Every call blocks. A call that returns `Ok` has made
/// its effect durable: files and their directories are synced.
pub trait Files: Send + Sync {
    /// Makes `building/<job>/` with `request.json` in it.
    fn create(&self, job: JobId, request: &ExportRequest) -> Result<Arc<dyn ExportDir>, FilesError>;

    /// A handle on the job's directory. It goes on to mean that directory wherever it is
    /// renamed to; once the directory is removed every use of the handle fails (P3).
    fn open(&self, job: JobId, place: DirPlace) -> Result<Arc<dyn ExportDir>, FilesError>;

    /// Renames `building/<job>` to `ready/<job>`.
    fn move_to_ready(&self, job: JobId) -> Result<(), FilesError>;

    /// Renames each job's directory, wherever it is, to `trash/`; the jobs share the fsyncs. One
    /// that cannot be renamed gets an empty directory there, which says the same of it.
    /// A job without a directory is no error. The outer `Err` means that the last step, the fsyncs,
    /// failed: then nothing is known and the process must end.
    fn move_to_trash(&self, jobs: &[JobId]) -> Result<Vec<Result<(), FilesError>>, FilesError>;

    /// The job's directories in a place, by their names. In `trash/` there may be several; the one
    /// that bears the job's own name comes last.
    fn directories(&self, job: JobId, place: DirPlace) -> Result<Vec<JobDirectory>, FilesError>;

    /// A handle on one of these directories, as [`open`](Self::open).
    fn open_directory(&self, directory: &JobDirectory) -> Result<Arc<dyn ExportDir>, FilesError>;

    /// Removes a directory that has become empty. Not durable before [`sync`](Self::sync). Fails
    /// if the warrant is another job's.
    fn remove_directory(
        &self,
        warrant: &Warrant,
        directory: &JobDirectory,
    ) -> Result<RemoveOutcome, FilesError>;

    /// Makes the names in a place durable.
    fn sync(&self, place: DirPlace) -> Result<(), FilesError>;

    /// What stands on disk now.
    fn inventory(&self) -> Result<DiskInventory, FilesError>;

    /// Bytes free for this server; 0 if a quota is used up, of which nobody else can tell.
    fn free_bytes(&self) -> Result<u64, FilesError>;

    /// Gives the ballast's space back to the file system if less than `needed` bytes are
    /// free or a quota leaves less, so that a deletion can always be recorded.
    fn release_ballast(&self, needed: u64) -> Result<CommitRoom, FilesError>;

    /// Gives up the ballast and the reserve: a start, or a rename, has no other room. False if
    /// there is nothing of them.
    fn release_all(&self) -> Result<bool, FilesError>;

    /// Makes ballast and reserve again if they are missing and there is room for them twice over.
    fn restore_ballast(&self) -> Result<(), FilesError>;
}

/// A handle on one job's directory.
pub trait ExportDir: Send + Sync {
    /// Makes a new file; fails if the name exists.
    fn create_file(&self, name: &str) -> Result<Box<dyn OutputSink>, FilesError>;

    /// Writes a document so that it is there whole or not at all, durably.
    fn write_document(&self, document: DocumentKind, content: &[u8]) -> Result<(), FilesError>;

    /// Whether there is a document of that kind, a regular file.
    fn has_document(&self, document: DocumentKind) -> Result<bool, FilesError>;

    /// Reads a document; `None` if there is none. What is not a regular file, or too long, is an error
    /// that [is strange](FilesError::is_strange).
    fn read_document(&self, document: DocumentKind) -> Result<Option<Vec<u8>>, FilesError>;

    /// Opens a file for reading; the name must be one that the store knows (F-10).
    fn open_file(&self, name: &str) -> Result<Arc<dyn ReadAt>, FilesError>;

    /// Whether a file is there with that length; an error that says what is wrong if not.
    fn check_file(&self, name: &str, bytes: u64) -> Result<(), FilesError>;

    /// The names in the directory.
    fn list(&self) -> Result<Vec<OsString>, FilesError>;

    /// Unlinks one listed name; one that is gone already is success. Not durable before
    /// [`sync`](Self::sync). Fails if the warrant is another job's.
    fn unlink(&self, warrant: &Warrant, name: &OsStr) -> Result<SweepCounts, FilesError>;

    /// Makes the names in the directory durable.
    fn sync(&self) -> Result<(), FilesError>;
}

/// A file being written.
pub trait OutputSink: Send {
    /// Appends all of `bytes`.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), FilesError>;

    /// Makes the content durable.
    fn sync(&mut self) -> Result<(), FilesError>;
}
