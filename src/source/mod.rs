//! Where resources come from: files of NDJSON lines behind the [`Source`] trait, a folder on
//! the local file system being the first.

mod lines;
mod ndjson;

use std::io;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::files::ReadAt;

pub use lines::{Line, Lines, newlines};
pub use ndjson::NdjsonFolder;

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file is not the one that the snapshot saw.
    #[error("{0} is not the file that was planned any more")]
    Changed(String),
    /// It cannot be read.
    #[error("cannot read {name}: {error}")]
    Unreadable {
        /// The file's name in the source; empty for the source itself.
        name: String,
        /// What went wrong.
        error: io::Error,
    },
}

/// What a source held at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Everything that was written before this instant is in the files.
    pub taken_at: Timestamp,
    /// The files with resources, in the order of their names.
    pub files: Vec<SourceFile>,
}

/// One file of a source, as a snapshot saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its name in the source.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// Tells this version of the file from any other; compared, never parsed.
    pub fingerprint: String,
}

/// A collection of NDJSON files. All calls block.
pub trait Source: Send + Sync {
    /// What there is now; the truth at a kick-off.
    fn snapshot(&self) -> Result<Snapshot, SourceError>;

    /// Opens a file of a snapshot; [`SourceError::Changed`] if it is another one by now.
    fn open(&self, file: &SourceFile) -> Result<Box<dyn ReadAt>, SourceError>;

    /// Whether the file is still the one of the snapshot: asked after reading, so that bytes
    /// of two versions are never mixed.
    fn check(&self, file: &SourceFile) -> Result<(), SourceError>;
}
