//! The writer that an exporter is given. It never holds a file itself. The files are in a slot that
//! the job can empty (a fence), and every later call returns `Cancelled` (P4).

mod block;
mod covered;
mod slot;

use std::sync::Arc;

use super::request_cache::RequestCache;
use super::{CancelToken, ExportError, Gate};
use crate::fhir::{OperationOutcome, ResourceType};
use crate::job::{ContentCoding, ExportRequest, OutputFile};
use crate::view::ExportProgress;

use block::PatientBlock;
use slot::OpenOutputs;

pub(super) use covered::CoveredTypes;
pub(super) use slot::{FenceOutcome, WriterSlot};

/// Bytes to gather before a write.
const BUFFER_BYTES: usize = 256 << 10;

/// The type of the manifest's `error` files (MF-5).
const OUTCOME: &str = "OperationOutcome";

/// How files are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputForm {
    /// The coding and its effort; `None` for plain text.
    pub coding: Option<(ContentCoding, u8)>,
    /// Whether to compute SHA-256 hashes.
    pub checksums: bool,
}

/// What all writers of a job share.
pub(super) struct WriterContext {
    /// The job's request.
    pub asked: RequestCache,
    pub cancel: CancelToken,
    pub gate: Gate,
    pub progress: Arc<ExportProgress>,
    pub max_file_bytes: u64,
    pub form: OutputForm,
}

impl WriterContext {
    /// Returns the bytes of one write.
    pub fn chunk(&self) -> usize {
        self.gate.chunk(BUFFER_BYTES)
    }

    /// Splits bytes into pieces of one size, because a short piece costs a whole turn too.
    pub fn pieces<'a>(&self, bytes: &'a [u8]) -> std::slice::Chunks<'a, u8> {
        let count = (bytes.len() / self.chunk()).max(1);
        bytes.chunks(bytes.len().div_ceil(count).max(1))
    }
}

/// Writes the resources of one part.
///
/// Every call may block while the job is paused or throttled. Every call returns
/// [`ExportError::Cancelled`] as soon as the job is cancelled, even if it would only gather bytes
/// or count. The files are then closed, and nothing that is written later reaches the disk.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// fn write(out: &mut PartWriter) -> Result<(), ExportError> {
///     assert_eq!(out.request()?.level(), &Level::System);
///     out.resource(ResourceType::PATIENT, br#"{"resourceType":"Patient","id":"a"}"#)?;
///     out.lines(ResourceType::GROUP, b"{\"id\":\"g\"}\n{\"id\":\"h\"}\n")?;
///     let text = "One row was left out: it has no id.";
///     out.outcome(&OperationOutcome::new(Severity::Warning, IssueCode::Invalid, text))?;
///     out.progress(1)
/// }
///
/// let files = example::exported(write).await?;
/// let counts: Vec<_> = files.iter().map(|file| (&*file.resource_type, file.count)).collect();
/// assert_eq!(counts, [("Group", 2), ("OperationOutcome", 1), ("Patient", 1)]);
/// # Ok(())
/// # }
/// ```
pub struct PartWriter {
    slot: Arc<WriterSlot>,
    shared: Arc<WriterContext>,
    covered: Arc<CoveredTypes>,
    /// The request, read when the first Group is written.
    asked: Option<Arc<ExportRequest>>,
    /// The first type that was refused. The part has failed, whatever the exporter returns.
    withheld: Option<&'static str>,
    /// Progress that has not been reported, in units of the part's weight.
    remaining: u64,
    /// The current block, in a part that consists of blocks.
    block: Option<PatientBlock>,
}

impl PartWriter {
    pub(super) fn new(
        slot: Arc<WriterSlot>,
        shared: Arc<WriterContext>,
        covered: Arc<CoveredTypes>,
        weight: u64,
    ) -> Self {
        Self { slot, shared, covered, asked: None, withheld: None, remaining: weight, block: None }
    }

    /// Returns the export's request, which holds what all its parts have in common. It is read from
    /// the job's directory; an exporter that needs it often should keep it.
    ///
    /// # Errors
    /// Fails with [`ExportError::Cancelled`] after a fence, and with other errors if the request
    /// cannot be read.
    pub fn request(&self) -> Result<Arc<ExportRequest>, ExportError> {
        let slot = self.slot.0.lock();
        self.shared.asked.read(&*slot.as_ref().ok_or(ExportError::Cancelled)?.dir)
    }

    /// Appends one resource. `json` is one JSON object without line breaks, and without a newline
    /// at its end. Resources of one type go to the same file until it is full. After
    /// [`PartWriter::begin_block`], resources of all types do. Bundles go to the manifest's
    /// `deleted` (MF-6).
    ///
    /// # Errors
    /// Fails with [`ExportError::Withheld`] if the export may not hold the type or the Group. That
    /// ends the part: no later call writes.
    pub fn resource(&mut self, resource_type: ResourceType, json: &[u8]) -> Result<(), ExportError> {
        self.check(resource_type, json)?;
        let Some(mut block) = self.block.take() else { return self.line(resource_type.as_str(), json) };
        let written = self.write(|outputs, shared| block.line(outputs, shared, json));
        self.block = Some(block);
        written
    }

    /// Appends resources of one type, as [`PartWriter::resource`] does for one, at the speed of a
    /// copy. `lines` are whole lines, each one JSON object and a line feed.
    pub fn lines(&mut self, resource_type: ResourceType, mut lines: &[u8]) -> Result<(), ExportError> {
        self.check(resource_type, lines)?;
        if self.block.is_some() {
            let each = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            return each.into_iter().try_for_each(|line| self.resource(resource_type, line));
        }
        let name = resource_type.as_str();
        self.write(|outputs, shared| {
            while !lines.is_empty() {
                let room = shared.max_file_bytes.saturating_sub(outputs.bytes(name));
                let fitting = match usize::try_from(room) {
                    Ok(room) if room < lines.len() => {
                        memchr::memrchr(b'\n', &lines[..room]).map_or(0, |n| n + 1)
                    }
                    _ => lines.len(),
                };
                let taken = match fitting {
                    0 if outputs.bytes(name) > 0 => {
                        outputs.seal(name, shared)?;
                        continue;
                    }
                    // A line that is larger than a file gets a file of its own.
                    0 => memchr::memchr(b'\n', lines).map_or(lines.len(), |n| n + 1),
                    fitting => fitting,
                };
                let (now, rest) = lines.split_at(taken);
                let count = memchr::memchr_iter(b'\n', now).count() as u64;
                outputs.append(name, &[now], count, shared)?;
                lines = rest;
            }
            Ok(())
        })
    }

    /// Appends an OperationOutcome to an `error` file of the manifest (ST-8).
    pub fn outcome(&mut self, outcome: &OperationOutcome) -> Result<(), ExportError> {
        self.line(OUTCOME, outcome.to_json().as_bytes())
    }

    /// Reports that `units` of the part's weight are done. What exceeds the weight is ignored.
    ///
    /// # Errors
    /// Fails with [`ExportError::Cancelled`] once the job is cancelled.
    pub fn progress(&mut self, units: u64) -> Result<(), ExportError> {
        self.check_cancelled()?;
        self.advance(units);
        Ok(())
    }

    fn advance(&mut self, units: u64) {
        let units = units.min(self.remaining);
        self.remaining -= units;
        self.shared.progress.advance(units);
    }

    /// Closes the files if the job is cancelled.
    fn check_cancelled(&self) -> Result<(), ExportError> {
        self.shared.cancel.check().inspect_err(|_| *self.slot.0.lock() = None)?;
        Ok(())
    }

    fn check(&mut self, resource_type: ResourceType, lines: &[u8]) -> Result<(), ExportError> {
        let is_held = if self.covered.has(resource_type) && resource_type == ResourceType::GROUP {
            self.may_hold_groups(lines)
        } else {
            Ok(self.covered.has(resource_type))
        };
        self.check_cancelled()?;
        if is_held? {
            return Ok(());
        }
        let name = *self.withheld.get_or_insert(resource_type.as_str());
        self.write(|_, _| Err(ExportError::Withheld(name)))
    }

    /// Returns whether the export may hold these Groups (P15). The allowed Groups are listed in the
    /// request, which is read with the first Group.
    fn may_hold_groups(&mut self, lines: &[u8]) -> Result<bool, ExportError> {
        let request = match self.asked.take() {
            Some(request) => request,
            None => self.request()?,
        };
        let may_hold = covered::may_hold_groups(&request.access, lines, &self.shared.cancel);
        self.asked = Some(request);
        Ok(may_hold?)
    }

    fn line(&mut self, resource_type: &'static str, json: &[u8]) -> Result<(), ExportError> {
        self.write(|outputs, shared| {
            let length = json.len() as u64 + 1;
            let written = outputs.bytes(resource_type);
            if written > 0 && written + length > shared.max_file_bytes {
                outputs.seal(resource_type, shared)?;
            }
            outputs.append(resource_type, &[json, b"\n"], 1, shared)
        })
    }

    /// Writes, unless the job is cancelled. After a failed write the end of the file is unknown, so
    /// the files are closed and no later call writes.
    fn write(
        &mut self,
        write: impl FnOnce(&mut OpenOutputs, &WriterContext) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        self.check_cancelled()?;
        let mut slot = self.slot.0.lock();
        let outputs = slot.as_mut().ok_or(ExportError::Cancelled)?;
        let written = write(outputs, &self.shared);
        if written.is_err() {
            *slot = None;
        }
        written
    }

    /// Ends the part: writes, syncs and closes every file, and syncs the directory. Returns the
    /// files in the order of their types.
    pub(super) fn seal(mut self) -> Result<Vec<OutputFile>, ExportError> {
        self.check_cancelled()?;
        self.advance(self.remaining);
        if let Some(name) = self.withheld {
            return Err(ExportError::Withheld(name));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{ByteRates, Throttle};
    use crate::files::{Files, LocalFiles};
    use crate::hooks::Hooks;
    use crate::job::{ExportRequest, JobId};

    #[test]
    fn p13_every_call_of_a_writer_looks_whether_or_not_it_would_write_something() {
        use crate::fhir::{IssueCode, Severity};
        let outcome = OperationOutcome::new(Severity::Warning, IssueCode::Invalid, "x");
        type Call<'c> = &'c dyn Fn(&mut PartWriter) -> Result<(), ExportError>;
        let calls: [(&str, Call<'_>); 6] = [
            ("resource", &|out| out.resource(ResourceType::PATIENT, b"{}")),
            ("lines", &|out| out.lines(ResourceType::PATIENT, b"")),
            ("outcome", &|out| out.outcome(&outcome)),
            ("progress", &|out| out.progress(0)),
            ("begin_block", &|out| out.begin_block(b"{}".into(), 10)),
            ("resource in a block", &|out| {
                out.block = Some(PatientBlock::new(b"{}".into(), 10));
                out.resource(ResourceType::PATIENT, b"{}")
            }),
        ];
        for (name, call) in calls {
            let folder = tempfile::tempdir().unwrap();
            let (tenant, owner) = ("t".parse().unwrap(), "o".parse().unwrap());
            let kickoff = crate::job::Kickoff::system();
            let request = ExportRequest::new(tenant, owner, kickoff, jiff::Timestamp::UNIX_EPOCH);
            let files = LocalFiles::open(folder.path(), Hooks::default()).unwrap();
            let slot = Arc::new(WriterSlot::new(
                files
                    .create(JobId::random(), &crate::files::DocumentKind::Request.content(&request).unwrap())
                    .unwrap(),
            ));
            let throttle = Throttle::new(ByteRates::default(), Default::default());
            let gate = Gate::new(Arc::new(throttle), "t".parse().unwrap());
            let (cancel, progress) = (CancelToken::new(), Arc::default());
            let (asked, form) = (RequestCache::default(), OutputForm::default());
            let shared =
                WriterContext { asked, cancel: cancel.clone(), gate, progress, max_file_bytes: 100, form };
            let mut out = PartWriter::new(slot.clone(), Arc::new(shared), Arc::default(), 1);
            call(&mut out).unwrap();
            cancel.cancel();
            assert!(matches!(call(&mut out), Err(ExportError::Cancelled)), "{name}");
            assert_eq!(slot.fence(), FenceOutcome::Empty, "{name}: the files are still open");
        }
    }

    #[test]
    fn no_piece_of_a_buffer_is_short() {
        let throttle =
            Throttle::new(ByteRates { all: 32 * 1024, ..ByteRates::default() }, Default::default());
        let gate = Gate::new(Arc::new(throttle), "t".parse().unwrap());
        let (asked, cancel, progress) = (RequestCache::default(), CancelToken::new(), Arc::default());
        let shared =
            WriterContext { asked, cancel, gate, progress, max_file_bytes: 1, form: OutputForm::default() };
        assert_eq!(shared.chunk(), 1024);
        let sizes = |length| shared.pieces(&vec![0; length]).map(<[u8]>::len).collect::<Vec<_>>();
        assert!(sizes(0).is_empty());
        assert_eq!(sizes(10), [10]);
        assert_eq!(sizes(1024 + 10), [1034]);
        assert_eq!(sizes(3 * 1024 + 10), [1028, 1028, 1026]);
    }
}
