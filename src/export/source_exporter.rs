//! The built-in exporter: the lines of a source's files, by resource type. A part is a byte
//! range of one file, scanned when it runs. It is written against [`Exporter`] and has no
//! private door.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{CancelToken, ExportError, Exporter, Part, PartSummary, PartWriter, Plan};
use crate::fhir::{IssueCode, OperationOutcome, ResourceType, Severity};
use crate::files::ReadAt;
use crate::job::{ExportRequest, Level};
use crate::source::{Lines, Source, SourceError, SourceFile, newlines};

/// Broken lines of one part that are each named in the `error` file; the rest are counted.
const NAMED_BROKEN_LINES: u64 = 100;

/// Progress is reported whenever this many bytes of the source have been read.
const PROGRESS_BYTES: u64 = 16 << 10;

/// Exports what a [`Source`] holds.
pub struct SourceExporter {
    source: Arc<dyn Source>,
    part_bytes: u64,
}

/// The content of a [`Part`].
#[derive(Debug, Serialize, Deserialize)]
struct Range {
    file: SourceFile,
    start: u64,
    end: u64,
    level: Level,
    types: Vec<String>,
}

/// The beginning of every resource. Parsing it checks the whole line.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "resourceType", borrow)]
    resource_type: Cow<'a, str>,
}

impl From<SourceError> for ExportError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Changed(_) => Self::SourceChanged(error.to_string()),
            SourceError::Unreadable { .. } => Self::SourceUnreadable(error.to_string()),
        }
    }
}

impl SourceExporter {
    /// An exporter over `source` whose parts are about `part_bytes` of a file.
    pub fn new(source: Arc<dyn Source>, part_bytes: u64) -> Self {
        Self { source, part_bytes }
    }
}

impl Exporter for SourceExporter {
    fn plan(&self, request: &ExportRequest) -> Result<Plan, ExportError> {
        let snapshot = self.source.snapshot()?;
        if snapshot.files.is_empty() {
            tracing::warn!("the source has no files with FHIR resources: the export is empty");
        }
        let mut parts = Vec::new();
        for file in snapshot.files {
            let mut start = 0;
            while start < file.size {
                let end = file.size.min(start + self.part_bytes);
                let (level, types) = (request.level.clone(), request.types.clone());
                let range = Range { file: file.clone(), start, end, level, types };
                let content = serde_json::to_value(range).expect("a range has string keys only");
                parts.push(Part { weight: end - start, content });
                start = end;
            }
        }
        Ok(Plan { transaction_time: snapshot.taken_at, parts })
    }

    fn run(
        &self,
        part: &Part,
        out: &mut PartWriter,
        cancel: &CancelToken,
    ) -> Result<PartSummary, ExportError> {
        let range = Range::deserialize(&part.content)
            .map_err(|e| ExportError::Other(format!("the plan is not of this version: {e}")))?;
        let file = self.source.open(&range.file)?;
        let unreadable =
            |e: std::io::Error| ExportError::SourceUnreadable(format!("{}: {e}", range.file.name));
        let mut lines = Lines::new(&*file, range.start, range.end);
        let mut broken = BrokenLines { file: &*file, name: &range.file.name, counted_to: (0, 0), count: 0 };
        let mut reported = range.start;
        while let Some(line) = lines.next_line().map_err(unreadable)? {
            let offset = line.offset;
            match resource_type(line.text) {
                Ok(resource_type) if range.exports(resource_type) => {
                    out.resource(resource_type, line.text)?
                }
                Ok(_) => {}
                Err(reason) => broken.report(offset, reason, out).map_err(|e| e.or(unreadable))?,
            }
            if offset > reported + PROGRESS_BYTES {
                out.progress(offset - reported);
                reported = offset;
                if cancel.is_cancelled() {
                    return Err(ExportError::Cancelled);
                }
            }
        }
        broken.finish(out)?;
        self.source.check(&range.file)?;
        Ok(PartSummary { broken_lines: broken.count })
    }
}

impl Range {
    fn exports(&self, resource_type: ResourceType) -> bool {
        resource_type.is_exported_at(&self.level)
            && (self.types.is_empty() || self.types.iter().any(|t| t == resource_type.as_str()))
    }
}

/// The type of the resource on a line, or what is wrong with the line.
fn resource_type(line: &[u8]) -> Result<ResourceType, &'static str> {
    if simdutf8::basic::from_utf8(line).is_err() {
        return Err("is not UTF-8");
    }
    if !line.starts_with(b"{") {
        return Err("is not a JSON object");
    }
    let head: Head<'_> = serde_json::from_slice(line).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => "has no resourceType, or two",
        _ => "is not valid JSON",
    })?;
    ResourceType::of(&head.resource_type).ok_or("has a resourceType that is not of FHIR R4")
}

/// Names and counts the broken lines of a part.
struct BrokenLines<'a> {
    file: &'a dyn ReadAt,
    name: &'a str,
    /// An offset, and the line breaks before it.
    counted_to: (u64, u64),
    count: u64,
}

enum ReportError {
    Read(std::io::Error),
    Write(ExportError),
}

impl ReportError {
    fn or(self, unreadable: impl FnOnce(std::io::Error) -> ExportError) -> ExportError {
        match self {
            Self::Read(e) => unreadable(e),
            Self::Write(e) => e,
        }
    }
}

impl BrokenLines<'_> {
    fn report(&mut self, offset: u64, reason: &str, out: &mut PartWriter) -> Result<(), ReportError> {
        self.count += 1;
        if self.count > NAMED_BROKEN_LINES {
            return Ok(());
        }
        let (from, before) = self.counted_to;
        let between = newlines(self.file, from, offset).map_err(ReportError::Read)?;
        self.counted_to = (offset, before + between);
        let (name, line) = (self.name, self.counted_to.1 + 1);
        tracing::warn!(file = name, line, reason, "a line of the source was skipped");
        let text = format!("Line {line} of {name} {reason}; it was left out of the export.");
        out.outcome(&outcome(text)).map_err(ReportError::Write)
    }

    /// One more outcome for the lines that were not named.
    fn finish(&self, out: &mut PartWriter) -> Result<(), ExportError> {
        let Some(rest) = self.count.checked_sub(NAMED_BROKEN_LINES).filter(|rest| *rest > 0) else {
            return Ok(());
        };
        tracing::warn!(file = self.name, lines = rest, "more lines of the source were skipped");
        out.outcome(&outcome(format!("{rest} more lines of {} were left out of the export.", self.name)))
    }
}

fn outcome(text: String) -> OperationOutcome {
    OperationOutcome::new(Severity::Error, IssueCode::Invalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_resource_or_says_why_not() {
        let ok = |line: &str| resource_type(line.as_bytes()).map(ResourceType::as_str);
        assert_eq!(ok(r#"{"id":"p","resourceType":"Patient","x":{"resourceType":"Group"}}"#), Ok("Patient"));
        assert_eq!(ok(r#"{"resourceType":"Pat\u0069ent"}"#), Ok("Patient"));
        assert_eq!(ok(r#"{"resourceType":"Patient""#), Err("is not valid JSON"));
        assert_eq!(ok(r#"{"resourceType":"Patient"}{}"#), Err("is not valid JSON"));
        assert_eq!(ok(r#"[{"resourceType":"Patient"}]"#), Err("is not a JSON object"));
        assert_eq!(ok(r#"{"id":"p"}"#), Err("has no resourceType, or two"));
        assert_eq!(
            ok(r#"{"resourceType":"Patient","resourceType":"Group"}"#),
            Err("has no resourceType, or two")
        );
        assert_eq!(ok(r#"{"resourceType":7}"#), Err("has no resourceType, or two"));
        assert_eq!(ok(r#"{"resourceType":"Elephant"}"#), Err("has a resourceType that is not of FHIR R4"));
        assert_eq!(resource_type(b"{\"resourceType\":\"Patient\",\"x\":\"\xff\"}"), Err("is not UTF-8"));
        let deep =
            format!("{{\"resourceType\":\"Patient\",\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(ok(&deep), Ok("Patient"));
    }
}
