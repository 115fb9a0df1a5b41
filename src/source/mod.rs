//! Where resources come from: files of NDJSON lines behind the [`Source`] trait, a folder on
//! the local file system being the first.

mod left_out;
mod ndjson;

use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::files::ReadAt;
use crate::job::TenantId;

pub use left_out::{LeftOut, LeftOutReason, NAMED_FILES};
pub use ndjson::NdjsonFolder;

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(unnameable_types, reason = "only converted into what is public")]
pub enum SourceError {
    /// The file is not the one that the snapshot saw.
    #[error("{0} is no longer the file that was planned")]
    Changed(String),
    /// The source cannot be read.
    #[error("cannot read {name}: {error}")]
    Unreadable {
        /// The file's name in the source; empty for the source itself.
        name: String,
        /// What went wrong.
        error: io::Error,
    },
}

impl SourceError {
    /// Returns whether a single file is at fault, by its permissions or what it lies on, so that it may
    /// be left out. A process that has run out of descriptors or memory is another matter.
    pub(crate) fn is_of_one_file(&self) -> bool {
        match self {
            Self::Changed(_) => false,
            Self::Unreadable { name, error } => !name.is_empty() && is_of_file(error),
        }
    }
}

/// Returns whether an error is that of a single file.
fn is_of_file(error: &io::Error) -> bool {
    const OF_FILE: [Errno; 6] =
        [Errno::ACCESS, Errno::PERM, Errno::IO, Errno::STALE, Errno::UCLEAN, Errno::BADMSG];
    Errno::from_io_error(error).is_some_and(|errno| OF_FILE.contains(&errno))
}

/// What a source held at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Everything that was written before this instant is in the files.
    pub taken_at: Timestamp,
    /// The files to read, in the order of their names.
    pub files: Vec<SourceFile>,
    /// What is there and is not read.
    pub left_out: LeftOut,
}

/// One file of a source, as a snapshot saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its name in the source.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// Tells the file from any other, and stays the same when it is written to.
    pub identity: String,
    /// Tells this version of the file from any other.
    pub fingerprint: String,
}

/// A file of a source, opened for reading.
pub struct OpenSource {
    /// The version that was opened; its content may be written to all the same.
    pub file: SourceFile,
    /// Its content.
    pub content: Box<dyn ReadAt>,
}

/// A tenant's folder that the built-in exporter reads, as it was at the start.
#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "a host says itself what it serves"))]
pub(crate) struct ServedFolder {
    /// The tenant.
    pub tenant: TenantId,
    /// The folder.
    pub folder: PathBuf,
    /// Files to read.
    pub files: usize,
    /// Bytes of these files.
    pub bytes: u64,
}

/// A collection of NDJSON files. All calls block.
pub trait Source: Send + Sync {
    /// Lists what there is now: the truth at a kick-off.
    fn snapshot(&self) -> Result<Snapshot, SourceError>;

    /// Opens the file of that name as it is now. Fails with [`SourceError::Changed`] if there is none.
    fn open(&self, name: &str) -> Result<OpenSource, SourceError>;

    /// Calls `hint` whenever something may have changed, until the returned value is dropped. Returns
    /// `None` if the source cannot be watched. A hint may be late, and may never come.
    fn watch(&self, _hint: Box<dyn Fn() + Send>) -> Option<Box<dyn Send + Sync>> {
        None
    }
}
