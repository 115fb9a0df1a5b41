//! What an export wrote: files, parts, and the sums for the record.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{JobRecord, JobState, OrganizeBy};

/// A content coding (RFC 9110, 8.4.1) that a file can be stored and served in.
///
/// ```
/// assert_eq!(evanesce::ContentCoding::Zstd.name(), "zstd");
/// assert_eq!(evanesce::ContentCoding::Zstd.suffix(), ".zst");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentCoding {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl ContentCoding {
    /// Returns the name in `Accept-Encoding` and `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Returns the suffix of files stored in this coding.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}

/// How a file is stored if it is not plain text.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// let mut config = config::Config::default();
/// # let folder = tempfile::tempdir()?;
/// # config.storage.data_dir = folder.path().into();
/// config.export.stored = config::StoredForm::Zstd;
/// let evanesce = Evanesce::builder().config(config).exporter(example::Patients).start().await?;
/// let job = evanesce.submit(Kickoff::system(), "me".parse()?).await?;
/// evanesce.wait_finished(job).await;
/// let page = evanesce.job(&"me".parse::<ClientId>()?.into(), job).await?.manifest(0)?;
/// let coded: CodedForm = page.files[0].coded.expect("it is not stored as plain text");
/// assert_eq!(coded.coding, ContentCoding::Zstd);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CodedForm {
    /// Its content coding.
    pub coding: ContentCoding,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes of text in each piece but the last.
    pub piece: u32,
}

/// One sealed output file: written, fsynced and closed.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// let page = evanesce.job(&"me".parse::<ClientId>()?.into(), job).await?.manifest(0)?;
/// let file: &OutputFile = &page.files[0];
/// assert!(!file.is_error() && !file.is_deleted() && file.count == 3);
/// assert_eq!((file.stored_name(), file.stored_bytes()), (file.name.clone(), file.bytes));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OutputFile {
    /// `<UPPER-UUID>_<Type>.ndjson` (G-1).
    pub name: String,
    /// The resource type of every line, except in a file of blocks; `OperationOutcome` for the
    /// manifest's `error` files and `Bundle` for its `deleted` ones.
    pub resource_type: String,
    /// Lines, each one resource. Headers of blocks are lines too.
    pub count: u64,
    /// The length of its text in bytes, whatever form it is stored in.
    pub bytes: u64,
    /// How it is stored; `None` for plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coded: Option<CodedForm>,
    /// The SHA-256 of its text in hexadecimal digits, if configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// What its blocks are about, if it consists of blocks (O-3). Its lines then have many types,
    /// headers among them, and `resource_type` is the type that the headers refer to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organized_by: Option<OrganizeBy>,
    /// The name of the file that continues its last block, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues_in: Option<String>,
}

impl OutputFile {
    /// Creates the record of an empty file that is stored as plain text.
    pub fn new(name: String, resource_type: impl Into<String>) -> Self {
        Self {
            name,
            resource_type: resource_type.into(),
            count: 0,
            bytes: 0,
            coded: None,
            sha256: None,
            organized_by: None,
            continues_in: None,
        }
    }

    /// Returns its name on disk.
    pub fn stored_name(&self) -> String {
        format!("{}{}", self.name, self.coded.map_or("", |coded| coded.coding.suffix()))
    }

    /// Returns its length on disk in bytes.
    pub fn stored_bytes(&self) -> u64 {
        self.coded.map_or(self.bytes, |coded| coded.bytes)
    }

    /// Returns whether the file belongs to the manifest's `error` list (MF-5).
    pub fn is_error(&self) -> bool {
        self.resource_type == "OperationOutcome"
    }

    /// Returns whether the file belongs to the manifest's `deleted` list (MF-6). Bundles of the source
    /// are in no export (K-11).
    pub fn is_deleted(&self) -> bool {
        self.resource_type == "Bundle"
    }
}

/// One finished part of a plan. Its files are durable and never written again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(unnameable_types, reason = "only taken by what is hidden")]
pub struct SealedPart {
    /// Index of the part in its plan, from 0.
    pub index: u32,
    /// The files the part wrote; none if it found nothing to export.
    pub files: Vec<OutputFile>,
    /// Lines of the source that were skipped because they are not resources.
    pub broken_lines: u64,
}

/// The sums of a complete job: the content of `Complete`.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// let Some(JobState::Complete(completion)) = evanesce.wait_finished(job).await else { panic!() };
/// assert!(completion.completed_at >= completion.transaction_time);
/// assert_eq!(completion.stored_bytes(), completion.bytes, "it is plain text");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Completion {
    /// The instant whose view of the source was exported (MF-1).
    pub transaction_time: Timestamp,
    /// When the last file was sealed. The time to live counts from here (P8).
    pub completed_at: Timestamp,
    /// Number of output files, `error` and `deleted` files included.
    pub files: u64,
    /// Number of resources, headers of blocks included, lines of `error` and `deleted` files excluded.
    pub resources: u64,
    /// Bytes of the text of all files.
    pub bytes: u64,
    /// Bytes of all files on disk; `None` if the same as of their text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<u64>,
}

impl Completion {
    /// Sums up the sealed parts of a job.
    #[doc(hidden)]
    pub fn of(parts: &[SealedPart], transaction_time: Timestamp, completed_at: Timestamp) -> Self {
        let files = || parts.iter().flat_map(|part| &part.files);
        let bytes = files().map(|file| file.bytes).sum();
        let stored = files().map(OutputFile::stored_bytes).sum();
        Self {
            transaction_time,
            completed_at,
            files: files().count() as u64,
            resources: files()
                .filter(|file| !file.is_error() && !file.is_deleted())
                .map(|file| file.count)
                .sum(),
            bytes,
            stored: (stored != bytes).then_some(stored),
        }
    }

    /// Returns the bytes of all files on disk.
    pub fn stored_bytes(&self) -> u64 {
        self.stored.unwrap_or(self.bytes)
    }
}

/// The content of `job.json`: the record to come, and the files. A directory proves with it what it is
/// when the store has lost its tail (DESIGN section 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDocument {
    /// The record to come: `Complete` or `Failed`.
    pub record: JobRecord,
    /// The sealed parts of a complete job, in the order of the plan.
    pub parts: Vec<SealedPart>,
}

impl JobDocument {
    /// Returns the document of a job that ends `now`. A job that is finishing is going to be complete,
    /// with its `sealed` parts in whatever order; any other one is what its record says.
    pub fn at_end(record: JobRecord, sealed: &[SealedPart], now: Timestamp) -> Self {
        let JobState::Finishing { transaction_time } = record.state else {
            return Self { record, parts: Vec::new() };
        };
        let mut parts = sealed.to_vec();
        parts.sort_by_key(|part| part.index);
        let state = JobState::Complete(Completion::of(&parts, transaction_time, now));
        Self { record: JobRecord { state, ..record }, parts }
    }

    /// Returns the sums, if the job is going to be complete.
    pub fn completion(&self) -> Option<&Completion> {
        if let JobState::Complete(completion) = &self.record.state { Some(completion) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_before_there_were_codings_is_that_of_a_plain_file() {
        let old = r#"{"name":"A_Patient.ndjson","resource_type":"Patient","count":2,"bytes":30}"#;
        let file: OutputFile = serde_json::from_str(old).unwrap();
        assert_eq!((file.stored_name().as_str(), file.stored_bytes()), ("A_Patient.ndjson", 30));
        assert_eq!(serde_json::to_string(&file).unwrap(), old, "and it is written as it was");
        let old = r#"{"transaction_time":"1970-01-01T00:00:00Z","completed_at":"1970-01-01T00:00:00Z","files":1,"resources":2,"bytes":30}"#;
        let completion: Completion = serde_json::from_str(old).unwrap();
        assert_eq!(completion.stored_bytes(), 30);
        assert_eq!(serde_json::to_string(&completion).unwrap(), old);
    }

    #[test]
    fn the_sums_of_a_job_tell_its_text_from_what_is_on_disk() {
        let plain = OutputFile { count: 1, bytes: 100, ..OutputFile::new("A".into(), "Patient") };
        let coded = Some(CodedForm { coding: ContentCoding::Zstd, bytes: 40, piece: 1 << 20 });
        let coded = OutputFile { coded, ..plain.clone() };
        assert_eq!((coded.stored_name().as_str(), coded.stored_bytes()), ("A.zst", 40));
        let sums = |files: &[&OutputFile]| {
            let files = files.iter().map(|file| (*file).clone()).collect();
            let part = SealedPart { index: 0, files, broken_lines: 0 };
            let completion = Completion::of(&[part], Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
            (completion.bytes, completion.stored_bytes())
        };
        assert_eq!(sums(&[&plain, &coded]), (200, 140));
        assert_eq!(sums(&[&plain, &plain]), (200, 200));
    }

    #[test]
    fn the_document_of_a_finishing_job_says_that_it_is_complete_and_that_of_a_failed_one_what_its_record_says()
     {
        use crate::job::{Failure, FailureReason, JobId};

        let at = Timestamp::UNIX_EPOCH;
        let record = |state| {
            let (tenant, owner) = ("t".parse().unwrap(), "o".parse().unwrap());
            JobRecord { id: JobId::random(), tenant, owner, revision: 3, submitted_at: at, state }
        };
        let sealed = [1, 0].map(|index| SealedPart { index, files: Vec::new(), broken_lines: 0 });
        let now = Timestamp::from_second(9).unwrap();
        let finishing = record(JobState::Finishing { transaction_time: at });
        let document = JobDocument::at_end(finishing, &sealed, now);
        assert_eq!(document.parts.iter().map(|part| part.index).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(document.completion(), Some(&Completion::of(&sealed, at, now)));
        let failed = record(JobState::Failed(Failure { at, reason: FailureReason::StorageFull }));
        let document = JobDocument::at_end(failed.clone(), &sealed, now);
        assert_eq!(document, JobDocument { record: failed, parts: Vec::new() });
        assert_eq!(document.completion(), None);
    }
}
