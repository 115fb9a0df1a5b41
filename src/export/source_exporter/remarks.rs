//! What an export says of its source: lines that are no resources, files that are not read or have
//! no resource, resources inside of Bundles, a source without resources. Files are named, and
//! nothing of their content is (P12); all of it is bounded (P13).

use serde::{Deserialize, Serialize};

use crate::fhir::{IssueCode, OperationOutcome, Severity};
use crate::index::{FileShape, IndexView, Segment};
use crate::source::{LeftOutReason, NAMED_FILES};

/// What is said of files that were read, beside what counts the rest (P13).
const MOST: usize = 1000;

/// One thing that is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRemark {
    grade: RemarkGrade,
    text: String,
}

/// How grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RemarkGrade {
    /// Data is missing.
    Error,
    /// It may be.
    Warning,
    /// That is how the source is.
    Information,
}

impl SourceRemark {
    fn new(grade: RemarkGrade, text: impl Into<String>) -> Self {
        Self { grade, text: text.into() }
    }

    /// Returns what the `error` file of an export says.
    pub fn outcome(&self) -> OperationOutcome {
        let (severity, code) = match self.grade {
            RemarkGrade::Error => (Severity::Error, IssueCode::Invalid),
            RemarkGrade::Warning => (Severity::Warning, IssueCode::NotSupported),
            RemarkGrade::Information => (Severity::Information, IssueCode::Processing),
        };
        OperationOutcome::new(severity, code, &*self.text)
    }
}

/// What is said of a source.
#[derive(Debug, Default)]
pub struct SourceRemarks {
    /// How many of its lines are no resources.
    pub lines: u64,
    /// What is said: the first 100 broken lines of a file are named, but no more than [`MOST`] of
    /// 100 files, and 100 files that are not read; the rest are counted.
    pub list: Vec<SourceRemark>,
}

impl SourceRemarks {
    /// What is said of the source as it is now.
    pub fn of(look: &IndexView<'_>) -> Self {
        let mut remarks = Self::default();
        let (files, lines) = remarks.add_read(look);
        remarks.add_left_out(look);
        if files > 0 {
            let text = format!("Something was left out of {}.", counted(files, "more file"));
            remarks.add(RemarkGrade::Error, text);
        }
        if lines > 0 {
            let text = format!("{lines} more lines of the source were left out of the export.");
            remarks.add(RemarkGrade::Error, text);
        }
        if !look.has_resources() {
            remarks.add(RemarkGrade::Information, empty(look));
        }
        remarks
    }

    /// Files that were read. Gives how many lines there was no room for, and before them how many
    /// files without such lines.
    fn add_read(&mut self, look: &IndexView<'_>) -> (u64, u64) {
        let (mut told, mut files, mut beyond) = (0, 0, 0);
        for segment in &look.segments {
            let (lines, before) = (segment.broken_count(0), self.list.len());
            self.lines += lines;
            if told < NAMED_FILES && before < MOST {
                beyond += self.add_file(segment);
                told += usize::from(self.list.len() > before);
            } else if lines > 0 {
                beyond += lines;
            } else if segment.is_barren() || segment.contents().bundles > 0 {
                files += 1;
            }
        }
        (files, beyond)
    }

    /// What was not read.
    fn add_left_out(&mut self, look: &IndexView<'_>) {
        for (name, reason) in look.left_out.named() {
            let grade = match reason {
                LeftOutReason::Compressed | LeftOutReason::Utf16 | LeftOutReason::Unreadable => {
                    RemarkGrade::Error
                }
                _ => RemarkGrade::Warning,
            };
            self.add(grade, format!("{name} {}; nothing of it was exported.", reason.text()));
        }
        let more = look.left_out.unnamed();
        if more > 0 {
            self.add(RemarkGrade::Error, format!("Nothing of {} was exported.", counted(more, "more file")));
        }
    }

    /// Returns the bytes of the remarks in an `error` file.
    pub fn bytes(&self) -> u64 {
        self.list.iter().map(|remark| remark.outcome().to_json().len() as u64 + 1).sum()
    }

    fn add(&mut self, grade: RemarkGrade, text: impl Into<String>) {
        self.list.push(SourceRemark::new(grade, text));
    }

    /// What is said of a file that was read: its first broken lines are named, the rest are counted.
    /// Gives how many lines there was no room for.
    fn add_file(&mut self, segment: &Segment) -> u64 {
        if segment.is_barren() {
            self.add(RemarkGrade::Error, barren(segment));
            return 0;
        }
        let name = &segment.file.name;
        let mut rest = segment.broken_count(0);
        for (line, broken) in segment.broken_lines(0).take(MOST - self.list.len()) {
            let text = format!("Line {line} of {name} {}; it was left out of the export.", broken.text());
            self.add(RemarkGrade::Error, text);
            rest -= 1;
        }
        if rest > 0 && self.list.len() < MOST {
            self.add(RemarkGrade::Error, format!("{rest} more lines of {name} were left out of the export."));
            rest = 0;
        }
        let contents = segment.contents();
        if contents.bundles > 0 {
            let (resources, bundles) =
                (counted(contents.bundled, "resource"), counted(contents.bundles, "Bundle"));
            let text = format!(
                "{name} has {resources} inside of {bundles}; a resource is exported only if it has a line \
                 of its own."
            );
            self.add(RemarkGrade::Warning, text);
        }
        rest
    }
}

/// Returns what is said of a source without resources.
fn empty(look: &IndexView<'_>) -> String {
    let text = "The source has no resources: the export is empty.";
    match look.left_out.count(LeftOutReason::Leftover) {
        0 => text.into(),
        files => {
            let files = counted(files, "file");
            format!("{text} Not read: {files} with names of hidden, backup or partial files.")
        }
    }
}

/// Returns what is said of a file that has something in it, but no resource.
fn barren(segment: &Segment) -> String {
    let name = &segment.file.name;
    let what = match (segment.shape(), segment.broken_lines(0).next()) {
        (Some(FileShape::Array), _) => "is a JSON array, not a resource a line".into(),
        (Some(FileShape::Printed), _) => "is JSON over several lines, not a resource a line".into(),
        (None, Some((line, broken))) => format!("has no FHIR resource: line {line} {}", broken.text()),
        (None, None) => "has no FHIR resource: it is blank".into(),
    };
    let lines = counted(segment.broken_count(0), "line");
    format!("{name} {what}; nothing of it was exported, {lines} in all.")
}

/// Returns a number with what it counts, in the plural if there are several.
fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}
