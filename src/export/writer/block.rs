//! Blocks of output that is organized by Patient (O-3): a header, then resources of any types. A
//! block is split over files only if it is larger than one file. Each further file begins with the
//! header again, and the file before it names its successor.

use super::{ExportError, OpenOutputs, PartWriter, WriterContext};
use crate::job::OrganizeBy;

/// The type that files of blocks are named after.
const PATIENT: &str = OrganizeBy::Patient.as_str();

/// A block whose header may not have been written yet.
pub(super) struct PatientBlock {
    header: Vec<u8>,
    at_most: u64,
    has_begun: bool,
}

impl PartWriter {
    /// Begins a block. Resources that are written from now on belong to it, whatever their type,
    /// until the next block begins. `header` is the block's first line, without a line feed. It is
    /// written with the first resource, so an empty block leaves nothing behind. `at_most` is the
    /// largest possible size of the block in bytes, with its header and line feeds.
    ///
    /// # Errors
    /// Fails with [`ExportError::Cancelled`] once the job is cancelled.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// fn write(out: &mut PartWriter) -> Result<(), ExportError> {
    ///     let patient = br#"{"resourceType":"Patient","id":"a"}"#;
    ///     out.begin_block(br#"{"resourceType":"Parameters"}"#.into(), 66)?;
    ///     out.resource(ResourceType::PATIENT, patient)
    /// }
    ///
    /// let files = example::exported(write).await?;
    /// assert_eq!((files[0].organized_by, files[0].count), (Some(OrganizeBy::Patient), 2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn begin_block(&mut self, header: Vec<u8>, at_most: u64) -> Result<(), ExportError> {
        self.check_cancelled()?;
        self.block = Some(PatientBlock::new(header, at_most));
        Ok(())
    }
}

impl PatientBlock {
    pub fn new(header: Vec<u8>, at_most: u64) -> Self {
        Self { header, at_most, has_begun: false }
    }

    /// Appends one resource.
    pub fn line(
        &mut self,
        outputs: &mut OpenOutputs,
        shared: &WriterContext,
        json: &[u8],
    ) -> Result<(), ExportError> {
        let written = outputs.bytes(PATIENT);
        if !self.has_begun {
            if written > 0 && written + self.at_most > shared.max_file_bytes {
                outputs.seal(PATIENT, shared)?;
            }
            self.begin(outputs, shared)?;
            self.has_begun = true;
        } else if written > self.header.len() as u64 + 1
            && written + json.len() as u64 + 1 > shared.max_file_bytes
        {
            outputs.seal(PATIENT, shared)?;
            let next = self.begin(outputs, shared)?;
            if let Some(before) = outputs.sealed.last_mut() {
                before.continues_in = Some(next);
            }
        }
        outputs.append(PATIENT, &[json, b"\n"], 1, shared)
    }

    /// Writes the header. Returns the name of the file that it is in.
    fn begin(&self, outputs: &mut OpenOutputs, shared: &WriterContext) -> Result<String, ExportError> {
        outputs.append(PATIENT, &[&self.header, b"\n"], 1, shared)?;
        let output = outputs.open.get_mut(PATIENT).expect("a file that was written to is open");
        output.file.organized_by = Some(OrganizeBy::Patient);
        Ok(output.file.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::super::{OutputForm, WriterSlot};
    use super::*;
    use crate::export::request_cache::RequestCache;
    use crate::export::{ByteRates, Gate, Throttle};
    use crate::fhir::{IssueCode, OperationOutcome, ResourceType, Severity};
    use crate::files::{Files, LocalFiles};
    use crate::hooks::Hooks;
    use crate::job::{ExportRequest, JobId, Kickoff, OutputFile};

    /// What a writer of files of 100 bytes makes of these calls: the sealed files, each with its
    /// content.
    fn written(write: impl FnOnce(&mut PartWriter) -> Result<(), ExportError>) -> Vec<(OutputFile, String)> {
        let folder = tempfile::tempdir().unwrap();
        let (tenant, owner) = ("t".parse().unwrap(), "o".parse().unwrap());
        let request = ExportRequest::new(tenant, owner, Kickoff::system(), Timestamp::UNIX_EPOCH);
        let (files, job) = (LocalFiles::open(folder.path(), Hooks::default()).unwrap(), JobId::random());
        let dir = files.create(job, &crate::files::DocumentKind::Request.content(&request).unwrap()).unwrap();
        let gate = Gate::new(
            Arc::new(Throttle::new(ByteRates::default(), Default::default())),
            "t".parse().unwrap(),
        );
        let (asked, cancel, progress) = (RequestCache::default(), Default::default(), Arc::default());
        let shared =
            WriterContext { asked, cancel, gate, progress, max_file_bytes: 100, form: OutputForm::default() };
        let mut writer = PartWriter::new(Arc::new(WriterSlot::new(dir)), Arc::new(shared), Arc::default(), 1);
        write(&mut writer).unwrap();
        let read = |file: OutputFile| {
            let path = folder.path().join("building").join(job.to_string()).join(&file.name);
            let text = std::fs::read_to_string(path).unwrap();
            assert_eq!((file.bytes, file.count), (text.len() as u64, text.lines().count() as u64));
            assert_eq!(Path::new(&file.name).extension(), Some("ndjson".as_ref()));
            (file, text)
        };
        writer.seal().unwrap().into_iter().map(read).collect()
    }

    fn texts(files: &[(OutputFile, String)]) -> Vec<&str> {
        files.iter().map(|(_, text)| text.as_str()).collect()
    }

    fn line(length: usize) -> String {
        "x".repeat(length - 1)
    }

    #[test]
    fn o_3_a_block_without_a_resource_leaves_nothing_behind() {
        let files = written(|out| {
            out.begin_block(b"p".into(), 50)?;
            out.begin_block(b"q".into(), 50)?;
            out.outcome(&OperationOutcome::new(Severity::Warning, IssueCode::Invalid, "x"))?;
            out.resource(ResourceType::GROUP, b"1")?;
            out.lines(ResourceType::PATIENT, b"2\n3\n")?;
            out.begin_block(b"r".into(), 50)?;
            Ok(())
        });
        assert!(files[0].0.is_error() && files[0].0.organized_by.is_none());
        assert_eq!(texts(&files)[1..], ["q\n1\n2\n3\n"]);
        assert_eq!(files[1].0.organized_by, Some(OrganizeBy::Patient));
    }

    #[test]
    fn o_3_a_block_that_does_not_fit_begins_in_a_new_file() {
        let files = |second: usize| {
            written(|out| {
                for length in [60, second] {
                    out.begin_block(b"p".into(), length as u64 + 2)?;
                    out.resource(ResourceType::PATIENT, line(length).as_bytes())?;
                }
                Ok(())
            })
        };
        assert_eq!(files(36).len(), 1);
        assert_eq!(files(37).len(), 2);
        assert!(files(37).iter().all(|(file, text)| file.continues_in.is_none() && text.starts_with("p\n")));
    }

    #[test]
    fn o_3_a_block_that_is_larger_than_a_file_goes_on_in_the_next_behind_its_header() {
        let files = written(|out| {
            out.begin_block(b"p".into(), 42)?;
            out.resource(ResourceType::PATIENT, line(40).as_bytes())?;
            out.begin_block(b"q".into(), 382)?;
            // A line that is larger than a file has one for itself and its header.
            for length in [90, 8, 1, 200, 81] {
                out.resource(ResourceType::PATIENT, line(length).as_bytes())?;
            }
            Ok(())
        });
        let lengths: Vec<Vec<_>> =
            texts(&files).iter().map(|text| text.lines().map(|line| line.len() + 1).collect()).collect();
        assert_eq!(lengths, [vec![2, 40], vec![2, 90, 8], vec![2, 1], vec![2, 200], vec![2, 81]]);
        assert!(texts(&files)[1..].iter().all(|text| text.starts_with("q\n")));
        let next: Vec<_> = files.iter().map(|(file, _)| file.continues_in.as_deref()).collect();
        let name = |n: usize| Some(files[n].0.name.as_str());
        assert_eq!(next, [None, name(2), name(3), name(4), None]);
    }
}
