//! Sealed output files, opened for reading in their stored form.

use std::sync::Arc;

use super::coded::CodedFile;
use super::{ExportDir, FilesError, ReadAt};
use crate::job::OutputFile;

/// An output file that is open for reading in its stored form.
#[derive(Clone)]
pub enum OpenOutput {
    /// Plain text.
    Plain(Arc<dyn ReadAt>),
    /// Compressed, with an index.
    Coded(Arc<CodedFile>),
}

impl OpenOutput {
    /// Opens a file by its record (F-10).
    ///
    /// # Errors
    /// Fails if the file is missing, or the index of a coded file is damaged.
    pub fn open(dir: &dyn ExportDir, file: &OutputFile) -> Result<Self, FilesError> {
        let name = file.stored_name();
        let opened = dir.open_file(&name)?;
        match &file.coded {
            None => Ok(Self::Plain(opened)),
            Some(coded) => {
                let coded = CodedFile::open(opened, file.bytes, coded);
                Ok(Self::Coded(Arc::new(coded.map_err(FilesError::new("read the index of", name))?)))
            }
        }
    }

    /// Returns a reader of its text.
    pub fn text(&self) -> Arc<dyn ReadAt> {
        match self {
            Self::Plain(file) => file.clone(),
            Self::Coded(file) => file.clone(),
        }
    }
}
