//! What an export made: files, parts and the sums that go into the record.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::JobRecord;

/// One sealed output file: written, fsynced and closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// `<UPPER-UUID>_<Type>.ndjson` (G-1).
    pub name: String,
    /// The resource type of every line; `OperationOutcome` for the manifest's `error` files and
    /// `Bundle` for its `deleted` ones.
    pub resource_type: String,
    /// Lines, each one resource.
    pub count: u64,
    /// Length in bytes.
    pub bytes: u64,
}

impl OutputFile {
    /// Whether the file belongs into the manifest's `error` list (MF-5).
    pub fn is_error(&self) -> bool {
        self.resource_type == "OperationOutcome"
    }

    /// Whether the file belongs into the manifest's `deleted` list (MF-6): Bundles that are
    /// resources are in no export (K-11).
    pub fn is_deleted(&self) -> bool {
        self.resource_type == "Bundle"
    }
}

/// One part of a plan that is done: its files are durable and are never written again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedPart {
    /// Index of the part in its plan, from 0.
    pub index: u32,
    /// The files the part wrote; none if it found nothing to export.
    pub files: Vec<OutputFile>,
    /// Lines of the source that were skipped because they are no resource.
    pub broken_lines: u64,
}

/// The sums of a complete job: the content of `Complete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// The instant whose view of the source was exported (MF-1).
    pub transaction_time: Timestamp,
    /// When the last file was sealed; the time to live counts from here (P8).
    pub completed_at: Timestamp,
    /// Number of output files, `error` and `deleted` files included.
    pub files: u64,
    /// Number of resources, lines of `error` and `deleted` files not counted.
    pub resources: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

impl Completion {
    /// Sums up the sealed parts of a job.
    pub fn of(parts: &[SealedPart], transaction_time: Timestamp, completed_at: Timestamp) -> Self {
        let files = || parts.iter().flat_map(|part| &part.files);
        Self {
            transaction_time,
            completed_at,
            files: files().count() as u64,
            resources: files()
                .filter(|file| !file.is_error() && !file.is_deleted())
                .map(|file| file.count)
                .sum(),
            bytes: files().map(|file| file.bytes).sum(),
        }
    }
}

/// The content of `job.json`: what the record is going to say, and the files. It lets a
/// directory speak for itself when the store has lost its tail (DESIGN section 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDocument {
    /// The record to come: `Complete` or `Failed`.
    pub record: JobRecord,
    /// The sealed parts of a complete job, in the order of the plan.
    pub parts: Vec<SealedPart>,
}
