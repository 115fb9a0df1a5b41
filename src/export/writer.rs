//! The writer that an exporter is given. It never holds a file itself: the files are in a
//! slot that the job can empty (a fence), after which every call answers `Cancelled` (P4).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{ExportError, Gate};
use crate::fhir::{OperationOutcome, ResourceType};
use crate::files::{ExportDir, OutputSink, layout};
use crate::job::OutputFile;
use crate::store::Progress;
use crate::telemetry;

/// Bytes gathered before a write.
const BUFFER_BYTES: usize = 256 << 10;

/// The type of the manifest's `error` files (MF-5).
const OUTCOME: &str = "OperationOutcome";

/// A file being written.
struct Output {
    sink: Box<dyn OutputSink>,
    buffer: Vec<u8>,
    file: OutputFile,
}

/// All that a part holds open; closed when it is dropped.
struct Outputs {
    dir: Arc<dyn ExportDir>,
    open: BTreeMap<&'static str, Output>,
    sealed: Vec<OutputFile>,
}

/// Where the files of one part are, shared between its writer and its job.
pub(super) struct Slot(Mutex<Option<Outputs>>);

impl Slot {
    pub fn new(dir: Arc<dyn ExportDir>) -> Self {
        Self(Mutex::new(Some(Outputs { dir, open: BTreeMap::new(), sealed: Vec::new() })))
    }

    /// Takes the files away and closes them, unless the writer is inside a call just now.
    pub fn fence(&self) -> Fence {
        match self.0.try_lock() {
            Some(mut outputs) => match outputs.take() {
                Some(_closed) => Fence::Closed,
                None => Fence::Empty,
            },
            None => Fence::Busy,
        }
    }
}

/// What a fence found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fence {
    /// Files, which are closed now.
    Closed,
    /// No files any more.
    Empty,
    /// A writer inside a system call: its files stay open until that returns.
    Busy,
}

/// What all writers of a job share.
pub(super) struct Shared {
    pub gate: Gate,
    pub progress: Arc<Progress>,
    pub max_file_bytes: u64,
}

impl Shared {
    /// Bytes of one write.
    fn chunk(&self) -> usize {
        self.gate.chunk(BUFFER_BYTES)
    }

    /// Pieces of about one chunk, all of one size: a short one would use up a turn as well.
    fn pieces<'a>(&self, bytes: &'a [u8]) -> std::slice::Chunks<'a, u8> {
        let count = (bytes.len() / self.chunk()).max(1);
        bytes.chunks(bytes.len().div_ceil(count).max(1))
    }
}

/// Writes the resources of one part.
///
/// Every call may wait while the job is paused or throttled, and returns
/// [`ExportError::Cancelled`] as soon as the job is cancelled; nothing written after that
/// reaches the disk.
pub struct PartWriter {
    slot: Arc<Slot>,
    shared: Arc<Shared>,
    /// Progress not yet reported, in the unit of the part's weight.
    remaining: u64,
}

impl PartWriter {
    pub(super) fn new(slot: Arc<Slot>, shared: Arc<Shared>, weight: u64) -> Self {
        Self { slot, shared, remaining: weight }
    }

    /// Appends one resource: `json` is one JSON object without line breaks, and without the
    /// newline at its end. Resources of one type go to the same file until it is full. Bundles
    /// are the manifest's `deleted` (MF-6).
    pub fn resource(&mut self, resource_type: ResourceType, json: &[u8]) -> Result<(), ExportError> {
        self.line(resource_type.as_str(), json)
    }

    /// Appends resources of one type: `lines` are whole lines, one JSON object and a line feed
    /// each, any number of them. What [`PartWriter::resource`] does for one, at the speed of
    /// copying.
    pub fn lines(&mut self, resource_type: ResourceType, mut lines: &[u8]) -> Result<(), ExportError> {
        let mut slot = self.slot.0.lock();
        let outputs = slot.as_mut().ok_or(ExportError::Cancelled)?;
        let name = resource_type.as_str();
        while !lines.is_empty() {
            let room = self.shared.max_file_bytes.saturating_sub(outputs.bytes(name));
            let fitting = match usize::try_from(room) {
                Ok(room) if room < lines.len() => memchr::memrchr(b'\n', &lines[..room]).map_or(0, |n| n + 1),
                _ => lines.len(),
            };
            let taken = match fitting {
                0 if outputs.bytes(name) > 0 => {
                    outputs.seal(name, &self.shared)?;
                    continue;
                }
                // One line that is larger than a file has a file of its own.
                0 => memchr::memchr(b'\n', lines).map_or(lines.len(), |n| n + 1),
                fitting => fitting,
            };
            let (now, rest) = lines.split_at(taken);
            outputs.output(name)?.append(now, &self.shared)?;
            lines = rest;
        }
        Ok(())
    }

    /// Appends an OperationOutcome to the `error` file of the manifest (ST-8).
    pub fn outcome(&mut self, outcome: &OperationOutcome) -> Result<(), ExportError> {
        self.line(OUTCOME, outcome.to_json().as_bytes())
    }

    /// Says that `units` of the part's weight are done; more than the weight is ignored.
    pub fn progress(&mut self, units: u64) {
        let units = units.min(self.remaining);
        self.remaining -= units;
        self.shared.progress.advance(units);
    }

    fn line(&mut self, resource_type: &'static str, json: &[u8]) -> Result<(), ExportError> {
        let mut slot = self.slot.0.lock();
        let outputs = slot.as_mut().ok_or(ExportError::Cancelled)?;
        let length = json.len() as u64 + 1;
        let full = |output: &Output| output.file.bytes + length > self.shared.max_file_bytes;
        if outputs.open.get(resource_type).is_some_and(full) {
            outputs.seal(resource_type, &self.shared)?;
        }
        let output = outputs.output(resource_type)?;
        output.buffer.extend_from_slice(json);
        output.buffer.push(b'\n');
        output.file.bytes += length;
        output.file.count += 1;
        if output.buffer.len() >= self.shared.chunk() {
            output.write_buffer(&self.shared)?;
        }
        Ok(())
    }

    /// Ends the part: every file written, synced and closed, the directory synced. Gives the
    /// files in the order of their types.
    pub(super) fn seal(mut self) -> Result<Vec<OutputFile>, ExportError> {
        self.progress(self.remaining);
        let mut slot = self.slot.0.lock();
        let mut outputs = slot.take().ok_or(ExportError::Cancelled)?;
        while let Some(resource_type) = outputs.open.keys().next().copied() {
            outputs.seal(resource_type, &self.shared)?;
        }
        if !outputs.sealed.is_empty() {
            outputs.dir.sync()?;
        }
        Ok(outputs.sealed)
    }
}

impl Outputs {
    /// Bytes of the file of that type that is being written.
    fn bytes(&self, resource_type: &str) -> u64 {
        self.open.get(resource_type).map_or(0, |output| output.file.bytes)
    }

    fn output(&mut self, resource_type: &'static str) -> Result<&mut Output, ExportError> {
        use std::collections::btree_map::Entry;
        match self.open.entry(resource_type) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(vacant) => {
                let name = layout::output_name(resource_type);
                let sink = self.dir.create_file(&name)?;
                let file = OutputFile { name, resource_type: resource_type.into(), count: 0, bytes: 0 };
                Ok(vacant.insert(Output { sink, buffer: Vec::new(), file }))
            }
        }
    }

    fn seal(&mut self, resource_type: &'static str, shared: &Shared) -> Result<(), ExportError> {
        if let Some(mut output) = self.open.remove(resource_type) {
            output.write_buffer(shared)?;
            output.sink.sync()?;
            self.sealed.push(output.file);
        }
        Ok(())
    }
}

impl Output {
    /// Appends whole lines. Many are written as they are, without being gathered first.
    fn append(&mut self, lines: &[u8], shared: &Shared) -> Result<(), ExportError> {
        self.file.bytes += lines.len() as u64;
        self.file.count += memchr::memchr_iter(b'\n', lines).count() as u64;
        if self.buffer.is_empty() && lines.len() >= shared.chunk() {
            return self.write(lines, shared);
        }
        self.buffer.extend_from_slice(lines);
        if self.buffer.len() >= shared.chunk() { self.write_buffer(shared) } else { Ok(()) }
    }

    /// Writes what is gathered.
    fn write_buffer(&mut self, shared: &Shared) -> Result<(), ExportError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let written = self.write(&buffer, shared);
        // What could not be written stays: the next call meets the same refusal.
        if written.is_ok() {
            buffer.clear();
        }
        self.buffer = buffer;
        written
    }

    /// Writes in pieces each of which passes the gate.
    fn write(&mut self, bytes: &[u8], shared: &Shared) -> Result<(), ExportError> {
        for piece in shared.pieces(bytes) {
            shared.gate.pass(piece.len()).map_err(|_| ExportError::Cancelled)?;
            self.sink.write_all(piece)?;
            shared.gate.wrote(piece.len());
            shared.progress.wrote(piece.len() as u64);
            telemetry::bytes_written(piece.len());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{Rates, Throttle};

    #[test]
    fn no_piece_of_a_buffer_is_short() {
        let throttle = Throttle::new(Rates { all: 32 * 1024, ..Rates::default() });
        let gate = Gate::new(Arc::new(throttle), "t".parse().unwrap());
        let shared = Shared { gate, progress: Arc::default(), max_file_bytes: 1 };
        assert_eq!(shared.chunk(), 1024);
        let sizes = |length| shared.pieces(&vec![0; length]).map(<[u8]>::len).collect::<Vec<_>>();
        assert!(sizes(0).is_empty());
        assert_eq!(sizes(10), [10]);
        assert_eq!(sizes(1024 + 10), [1034]);
        assert_eq!(sizes(3 * 1024 + 10), [1028, 1028, 1026]);
    }
}
