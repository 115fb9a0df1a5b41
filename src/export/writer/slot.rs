//! The open files of one part, and the slot that holds them: the writer works through it, and a job
//! that has ended empties it (P4).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::WriterContext;
use crate::export::ExportError;
use crate::export::output::OutputWriter;
use crate::files::coded::PieceCompressor;
use crate::files::{ExportDir, layout};
use crate::job::OutputFile;

/// Everything that a part holds open. Dropping it closes the files.
pub struct OpenOutputs {
    pub dir: Arc<dyn ExportDir>,
    pub open: BTreeMap<&'static str, OutputWriter>,
    /// Compresses the pieces of all files. Created with the first piece.
    press: Option<PieceCompressor>,
    pub sealed: Vec<OutputFile>,
}

/// Holds the files of one part. The writer and the job share it.
pub struct WriterSlot(pub(super) Mutex<Option<OpenOutputs>>);

impl WriterSlot {
    /// Creates the slot of a part that has no file yet.
    pub fn new(dir: Arc<dyn ExportDir>) -> Self {
        Self(Mutex::new(Some(OpenOutputs { dir, open: BTreeMap::new(), press: None, sealed: Vec::new() })))
    }

    /// Takes the files out and closes them, unless the writer is inside a call.
    pub fn fence(&self) -> FenceOutcome {
        match self.0.try_lock() {
            Some(mut outputs) => match outputs.take() {
                Some(_closed) => FenceOutcome::Closed,
                None => FenceOutcome::Empty,
            },
            None => FenceOutcome::Busy,
        }
    }
}

/// The result of a fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceOutcome {
    /// The writer had files, which are now closed.
    Closed,
    /// The writer had no files any more.
    Empty,
    /// The writer is inside a system call. Its files stay open until that returns.
    Busy,
}

impl OpenOutputs {
    /// Returns the size of the text of the open file of that type, in bytes.
    pub fn bytes(&self, resource_type: &str) -> u64 {
        self.open.get(resource_type).map_or(0, |output| output.file.bytes)
    }

    /// Appends `count` lines, in one text or several, to the file of that type.
    pub fn append(
        &mut self,
        resource_type: &'static str,
        texts: &[&[u8]],
        count: u64,
        shared: &WriterContext,
    ) -> Result<(), ExportError> {
        if self.press.is_none()
            && let Some((coding, level)) = shared.form.coding
        {
            self.press = Some(PieceCompressor::new(coding, level)?);
        }
        let new = || OutputWriter::new(layout::output_name(resource_type), resource_type, shared.form);
        let output = self.open.entry(resource_type).or_insert_with(new);
        output.file.count += count;
        for text in texts {
            output.append(text, &*self.dir, self.press.as_mut(), shared)?;
        }
        Ok(())
    }

    /// Ends the file of that type, if one is open: writes, syncs and closes it.
    pub fn seal(&mut self, resource_type: &'static str, shared: &WriterContext) -> Result<(), ExportError> {
        if let Some(output) = self.open.remove(resource_type) {
            self.sealed.push(output.seal(&*self.dir, self.press.as_mut(), shared)?);
        }
        Ok(())
    }
}
