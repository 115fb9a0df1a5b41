//! What an export brought, for the caller and for `manifest.json`.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::content::CheckedContent;
use super::manifest::{FileKind, FilePlan};

/// What an export brought.
///
/// ```
/// use evanesce::client::ExportSummary;
///
/// let mut summary = ExportSummary::default();
/// (summary.bytes, summary.load_seconds) = (2_000_000, 4.0);
/// assert_eq!(summary.bytes_per_second(), 500_000.0);
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ExportSummary {
    /// The folder.
    pub out: PathBuf,
    /// Whether the folder had the whole export already.
    pub was_complete: bool,
    /// The instant that the export is of: the next one's `_since`.
    pub transaction_time: String,
    /// How many files there are.
    pub files: usize,
    /// How many resources are in the output.
    pub resources: u64,
    /// How many bytes all files have.
    pub bytes: u64,
    /// How many bundles of deletions there are.
    pub deletions: u64,
    /// How many OperationOutcomes the server sent along with the output.
    pub outcomes: u64,
    /// How many files of such OperationOutcomes were not loaded, because nobody wanted them.
    pub error_files_left: usize,
    /// How long the whole took, in seconds.
    pub seconds: f64,
    /// How long the files took, in seconds.
    pub load_seconds: f64,
    /// What the server answered to DELETE, if it was asked.
    pub deleted: Option<String>,
    /// What became of the receipt of the DELETE: where it is and how it was checked, or why it is not there.
    /// `None` if the server offered none, or it was there before.
    pub receipt: Option<String>,
}

impl ExportSummary {
    /// Counts the files of a plan.
    pub(super) fn count(&mut self, plan: &FilePlan, contents: &[CheckedContent]) {
        self.transaction_time.clone_from(&plan.transaction_time);
        self.files = plan.files.len();
        self.error_files_left = plan.errors_left;
        for (file, content) in plan.files.iter().zip(contents) {
            self.bytes += content.bytes;
            *match file.kind {
                FileKind::Output => &mut self.resources,
                FileKind::Deleted => &mut self.deletions,
                FileKind::Error => &mut self.outcomes,
            } += content.count;
        }
    }

    /// Returns how fast the files came.
    pub fn bytes_per_second(&self) -> f64 {
        if self.load_seconds > 0.0 { self.bytes as f64 / self.load_seconds } else { 0.0 }
    }
}

/// Returns the text of `manifest.json`: the server's manifest with the names of the files here, and their
/// counts, sizes and checksums as they were found. URLs are left out: some open a file to anybody.
pub fn manifest_text(plan: &FilePlan, contents: &[CheckedContent]) -> Vec<u8> {
    let mut manifest = Map::new();
    manifest.insert("transactionTime".into(), json!(plan.transaction_time));
    if let Some(request) = &plan.request {
        manifest.insert("request".into(), json!(request));
    }
    for kind in [FileKind::Output, FileKind::Deleted, FileKind::Error] {
        let files = plan.files.iter().zip(contents).filter(|(file, _)| file.kind == kind);
        let files = files.map(|(file, content)| {
            let CheckedContent { bytes, count, sha256 } = content;
            let mut item = json!({"file": file.name, "count": count, "bytes": bytes, "sha256": sha256});
            if let Some(resource_type) = &file.resource_type {
                item["type"] = json!(resource_type);
            }
            item
        });
        manifest.insert(kind.member().into(), files.collect::<Vec<_>>().into());
    }
    if plan.errors_left > 0 {
        // An empty list would say that there were none.
        manifest.remove(FileKind::Error.member());
        manifest.insert("errorFilesLeft".into(), json!(plan.errors_left));
    }
    let mut text = serde_json::to_vec_pretty(&Value::Object(manifest)).expect("a manifest is plain data");
    text.push(b'\n');
    text
}
