//! Copies runs of a source file to the output. Blocks of the source are read whole and
//! compared with the checksums of the plan before a byte of them goes out; a file that is not
//! what was planned any more ends the part, and never tears a line.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::runs::{self, Run};
use crate::export::{ExportError, PartWriter};
use crate::files::ReadAt;
use crate::index::{BLOCK, text_of};

/// Blocks read at once where many bytes lie together.
const BLOCKS_AT_ONCE: u64 = 4;

/// What a part copies of one stretch of a file.
#[derive(Debug, Serialize, Deserialize)]
pub struct Slice {
    /// Number of the file in the part.
    pub file: usize,
    /// Where the first block begins in the file.
    pub start: u64,
    /// Where the last one ends.
    pub end: u64,
    /// Checksums of the blocks.
    pub sums: String,
    /// The runs.
    pub runs: String,
}

impl Slice {
    /// Copies the runs from `file`, called `name` in messages.
    ///
    /// # Errors
    /// [`ExportError::SourceChanged`] if a block is not what was indexed; whatever the writer
    /// says, [`ExportError::Cancelled`] above all.
    pub fn copy(&self, file: &dyn ReadAt, name: &str, out: &mut PartWriter) -> Result<(), ExportError> {
        let damaged = || ExportError::Other("the plan is damaged".into());
        let runs = runs::read(&self.runs, self.start).ok_or_else(damaged)?;
        let sums = runs::read_sums(&self.sums).ok_or_else(damaged)?;
        let mut window = Window::new(file, name, self.start, self.end, &sums);
        for run in runs {
            window.copy(&run, out)?;
            out.progress(run.length);
        }
        Ok(())
    }
}

/// Checked bytes of a stretch, moving forward.
pub struct Window<'a> {
    file: &'a dyn ReadAt,
    name: &'a str,
    /// Where the first block begins.
    start: u64,
    end: u64,
    sums: &'a [u64],
    buffer: Vec<u8>,
    /// Where the buffer begins.
    at: u64,
}

impl<'a> Window<'a> {
    /// The blocks of a stretch of `file` from `start` to `end`, with their checksums.
    pub fn new(file: &'a dyn ReadAt, name: &'a str, start: u64, end: u64, sums: &'a [u64]) -> Self {
        Self { file, name, start, end, sums, buffer: Vec::new(), at: start }
    }

    fn changed(&self) -> ExportError {
        ExportError::SourceChanged(format!("{} is not the file that was planned any more", self.name))
    }

    /// Up to where the buffer reaches.
    fn filled_to(&self) -> u64 {
        self.at + self.buffer.len() as u64
    }

    /// Lets go of what is before `from`, and reads on towards `to`: at least one block.
    fn read_on(&mut self, from: u64, to: u64) -> Result<(), ExportError> {
        const STEP: u64 = BLOCK as u64;
        if from >= self.filled_to() {
            self.buffer.clear();
            self.at = self.start + (from - self.start) / STEP * STEP;
        } else if from > self.at {
            self.buffer.drain(..(from - self.at) as usize);
            self.at = from;
        }
        let filled_to = self.filled_to();
        let wanted = to.saturating_sub(filled_to).div_ceil(STEP).clamp(1, BLOCKS_AT_ONCE) * STEP;
        let wanted = wanted.min(self.end.saturating_sub(filled_to));
        let kept = self.buffer.len();
        self.buffer.resize(kept + wanted as usize, 0);
        let read = self.file.read_full_at(&mut self.buffer[kept..], filled_to);
        let read = read.map_err(|e| ExportError::SourceUnreadable(format!("{}: {e}", self.name)))?;
        if wanted == 0 || (read as u64) < wanted {
            return Err(self.changed());
        }
        let first = ((filled_to - self.start) / STEP) as usize;
        for (n, block) in self.buffer[kept..].chunks(BLOCK).enumerate() {
            if self.sums.get(first + n) != Some(&xxh3_64(block)) {
                return Err(self.changed());
            }
        }
        Ok(())
    }

    /// The bytes from `from` on, some of them or all up to `to`.
    fn some(&mut self, from: u64, to: u64) -> Result<&[u8], ExportError> {
        if from < self.at || from >= self.filled_to() {
            self.read_on(from, to)?;
        }
        let start = (from - self.at) as usize;
        let end = (self.filled_to().min(to) - self.at) as usize;
        Ok(&self.buffer[start..end])
    }

    /// The bytes from `from` to `to`, all of them.
    pub fn all(&mut self, from: u64, to: u64) -> Result<&[u8], ExportError> {
        while from < self.at || self.filled_to() < to {
            self.read_on(from, to)?;
        }
        Ok(&self.buffer[(from - self.at) as usize..(to - self.at) as usize])
    }

    /// Copies a run: whole lines at a time, in pieces as large as what is read at once.
    fn copy(&mut self, run: &Run, out: &mut PartWriter) -> Result<(), ExportError> {
        let end = run.start + run.length;
        if !run.is_tidy {
            let text = text_of(self.all(run.start, end)?, run.start == 0);
            return out.resource(run.resource_type, text);
        }
        let mut at = run.start;
        while at < end {
            let bytes = self.some(at, end)?;
            let have = at + bytes.len() as u64;
            let lines =
                if have == end { bytes.len() } else { memchr::memrchr(b'\n', bytes).map_or(0, |n| n + 1) };
            if lines == 0 {
                self.read_on(at, end)?;
                continue;
            }
            out.lines(run.resource_type, &bytes[..lines])?;
            at += lines as u64;
        }
        Ok(())
    }
}
