//! What is said about lines of the source that are no resources.

use crate::fhir::{IssueCode, OperationOutcome, Severity};
use crate::index::Look;

/// Texts of one export, beside one that counts what is beyond them (P13).
const MOST: usize = 1000;

/// How many there are, and the texts of what is said: the first lines of each file are named,
/// the rest are counted.
pub fn lines(look: &Look<'_>) -> (u64, Vec<String>) {
    let (mut lines, mut beyond, mut texts) = (0, 0, Vec::new());
    for segment in &look.segments {
        let name = &segment.file.name;
        let before = texts.len();
        texts.extend(segment.broken_lines(0).take(MOST - before).map(|(line, broken)| {
            format!("Line {line} of {name} {}; it was left out of the export.", broken.text())
        }));
        let count = segment.broken_count(0);
        let rest = count - (texts.len() - before) as u64;
        if rest > 0 && texts.len() < MOST {
            texts.push(format!("{rest} more lines of {name} were left out of the export."));
        } else {
            beyond += rest;
        }
        lines += count;
    }
    if beyond > 0 {
        texts.push(format!("{beyond} more lines of the source were left out of the export."));
    }
    (lines, texts)
}

/// What the `error` file of an export says for a text.
pub fn outcome(text: &str) -> OperationOutcome {
    OperationOutcome::new(Severity::Error, IssueCode::Invalid, text)
}

/// Bytes of an `error` file with these texts.
pub fn bytes(texts: &[String]) -> u64 {
    texts.iter().map(|text| outcome(text).to_json().len() as u64 + 1).sum()
}
