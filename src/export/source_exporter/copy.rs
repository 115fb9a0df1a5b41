//! Copies runs of a source file to the output. Blocks of the source are read whole, and what
//! was read is compared with the checksums of what was indexed before the part is sealed: of a
//! file that is not what was planned any more, nothing is ever published.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use super::line_writer::LineWriter;
use super::runs::{self, LineRun};
use crate::export::{CancelToken, ExportError, PartWriter};
use crate::files::ReadAt;
use crate::index::{BLOCK, text_of};

/// A block's length as an offset.
const STEP: u64 = BLOCK as u64;

/// Bytes read at once where many lie together.
const LARGEST_READ: u64 = 1 << 20;

/// What a part copies of one stretch of a file.
#[derive(Debug, Serialize, Deserialize)]
pub struct SourceSlice {
    /// Number of the file in the part.
    pub file: usize,
    /// Where the first block begins in the file.
    pub start: u64,
    /// Where the last one ends.
    pub end: u64,
    /// Checksum of the checksums of the blocks that the runs touch.
    pub sum: u64,
    /// The runs.
    pub runs: String,
}

impl SourceSlice {
    /// Copies the runs from `file`, called `name` in messages. What stands in `buffer` does
    /// not matter.
    ///
    /// # Errors
    /// [`ExportError::SourceChanged`] if a block is not what was indexed; whatever the writer
    /// says, [`ExportError::Cancelled`] above all.
    pub fn copy(
        &self,
        file: &dyn ReadAt,
        name: &str,
        lines: &mut LineWriter,
        buffer: &mut Vec<u8>,
        out: &mut PartWriter,
    ) -> Result<(), ExportError> {
        let runs = self.runs()?;
        let cancel = lines.cancel().clone();
        let mut window = SourceWindow::new(file, name, (self.start, self.end), buffer, &cancel);
        // Runs whose blocks lie side by side are read together.
        let block = |at: u64| (at - self.start) / STEP;
        let are_beside = |a: &LineRun, b: &LineRun| block(b.start) <= block(a.end() - 1) + 1;
        for beside in runs.chunk_by(are_beside) {
            let to = beside.last().map_or(0, LineRun::end);
            for run in beside {
                window.copy(run, to, lines, out)?;
                out.progress(run.length)?;
            }
        }
        window.check(self.sum)
    }

    /// Gives each run, whole, instead of copying it.
    ///
    /// # Errors
    /// As [`SourceSlice::copy`]; what was given then is of no use.
    pub fn read(
        &self,
        file: &dyn ReadAt,
        name: &str,
        buffer: &mut Vec<u8>,
        cancel: &CancelToken,
        mut give: impl FnMut(&LineRun, &[u8]),
    ) -> Result<(), ExportError> {
        let mut window = SourceWindow::new(file, name, (self.start, self.end), buffer, cancel);
        for run in self.runs()? {
            give(&run, window.all(run.start, run.end())?);
        }
        window.check(self.sum)
    }

    /// Returns the runs, in the order of the file.
    pub fn runs(&self) -> Result<Vec<LineRun>, ExportError> {
        runs::read(&self.runs, self.start).ok_or_else(damaged)
    }
}

/// Returns the error of a plan that is not as it was written.
pub fn damaged() -> ExportError {
    ExportError::Other("the plan is damaged".into())
}

/// The checksum of the blocks of a stretch that some ranges of it touch.
pub struct TouchedSums<'a> {
    start: u64,
    sums: &'a [u64],
    /// Number of the first block that was not touched yet.
    next: usize,
    hash: Xxh3Default,
}

impl<'a> TouchedSums<'a> {
    /// Of a stretch that begins at `start` and whose blocks have these checksums.
    pub fn new(start: u64, sums: &'a [u64]) -> Self {
        Self { start, sums, next: 0, hash: Xxh3Default::new() }
    }

    /// Touches a range that begins where the one before ended, or later; gives the number of
    /// blocks that this adds.
    pub fn touch(&mut self, start: u64, end: u64) -> u64 {
        let block = |at: u64| ((at - self.start) / STEP) as usize;
        let (first, last) = (block(start).max(self.next), block(end - 1));
        let added = self.sums.get(first..=last).unwrap_or_default();
        for sum in added {
            self.hash.update(&sum.to_le_bytes());
        }
        self.next = self.next.max(last + 1);
        added.len() as u64
    }

    /// Returns the checksum of all that was touched.
    pub fn sum(&self) -> u64 {
        self.hash.digest()
    }
}

/// Bytes of a stretch of a file, moving forward.
pub struct SourceWindow<'a> {
    file: &'a dyn ReadAt,
    name: &'a str,
    /// Where the first block begins.
    start: u64,
    end: u64,
    buffer: &'a mut Vec<u8>,
    /// How much of the buffer is in use.
    filled: usize,
    /// Where the buffer begins.
    at: u64,
    /// Of the blocks that were read.
    hash: Xxh3Default,
    cancel: &'a CancelToken,
}

impl<'a> SourceWindow<'a> {
    /// The blocks of a stretch of `file` from `start` to `end`, read into `buffer`, for a job whose
    /// token is looked at before each read.
    pub fn new(
        file: &'a dyn ReadAt,
        name: &'a str,
        (start, end): (u64, u64),
        buffer: &'a mut Vec<u8>,
        cancel: &'a CancelToken,
    ) -> Self {
        Self { file, name, start, end, buffer, filled: 0, at: start, hash: Xxh3Default::new(), cancel }
    }

    /// Compares what was read with what was indexed.
    pub fn check(&self, expected: u64) -> Result<(), ExportError> {
        if self.hash.digest() == expected { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> ExportError {
        ExportError::SourceChanged(format!("{} is not the file that was planned any more", self.name))
    }

    /// Up to where the buffer reaches.
    fn filled_to(&self) -> u64 {
        self.at + self.filled as u64
    }

    /// Lets go of what is before `from`, and reads on towards `to`: at least one block.
    fn read_on(&mut self, from: u64, to: u64) -> Result<(), ExportError> {
        self.cancel.check()?;
        if from >= self.filled_to() {
            self.filled = 0;
            self.at = self.start + (from - self.start) / STEP * STEP;
        } else if from > self.at {
            let used = (from - self.at) as usize;
            self.buffer.copy_within(used..self.filled, 0);
            self.filled -= used;
            self.at = from;
        }
        let filled_to = self.filled_to();
        let wanted = to.saturating_sub(filled_to).div_ceil(STEP).clamp(1, LARGEST_READ / STEP) * STEP;
        let wanted = wanted.min(self.end.saturating_sub(filled_to));
        let room = self.filled..self.filled + wanted as usize;
        if self.buffer.len() < room.end {
            self.buffer.resize(room.end, 0);
        }
        let read = self.file.read_full_at(&mut self.buffer[room.clone()], filled_to);
        let read = read.map_err(|e| ExportError::SourceUnreadable(format!("{}: {e}", self.name)))?;
        if wanted == 0 || (read as u64) < wanted {
            return Err(self.changed());
        }
        for block in self.buffer[room.clone()].chunks(BLOCK) {
            self.hash.update(&xxh3_64(block).to_le_bytes());
        }
        self.filled = room.end;
        Ok(())
    }

    /// Returns the bytes from `from` on, some of them or all up to `end`; bytes up to `to` will be
    /// wanted.
    fn some(&mut self, from: u64, end: u64, to: u64) -> Result<&[u8], ExportError> {
        if from < self.at || from >= self.filled_to() {
            self.read_on(from, to)?;
        }
        let start = (from - self.at) as usize;
        let end = (self.filled_to().min(end) - self.at) as usize;
        Ok(&self.buffer[start..end])
    }

    /// Returns the bytes from `from` to `to`, all of them.
    pub fn all(&mut self, from: u64, to: u64) -> Result<&[u8], ExportError> {
        while from < self.at || self.filled_to() < to {
            self.read_on(from, to)?;
        }
        Ok(&self.buffer[(from - self.at) as usize..(to - self.at) as usize])
    }

    /// Copies a run: whole lines at a time, in pieces as large as what is read at once. Bytes
    /// up to `to` will be wanted after it.
    fn copy(
        &mut self,
        run: &LineRun,
        to: u64,
        rules: &mut LineWriter,
        out: &mut PartWriter,
    ) -> Result<(), ExportError> {
        let end = run.end();
        if !run.is_tidy {
            let text = text_of(self.all(run.start, end)?, run.start == 0);
            return rules.write(run.resource_type, text, out);
        }
        let mut at = run.start;
        while at < end {
            let bytes = self.some(at, end, to)?;
            let have = at + bytes.len() as u64;
            let lines =
                if have == end { bytes.len() } else { memchr::memrchr(b'\n', bytes).map_or(0, |n| n + 1) };
            if lines == 0 {
                self.read_on(at, to)?;
                continue;
            }
            if rules.change(run.resource_type) {
                let each = bytes[..lines].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                each.into_iter().try_for_each(|line| rules.write(run.resource_type, line, out))?;
            } else {
                out.lines(run.resource_type, &bytes[..lines])?;
            }
            at += lines as u64;
        }
        Ok(())
    }
}
