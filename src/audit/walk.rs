//! The files of a log, and the walk over them. Another process may be appending. A break is reported
//! with its file and line, and the walk goes on with the next file, whose content still proves itself.

use std::fmt;
use std::io;
use std::path::Path;

use jiff::Timestamp;

use super::AuditError;
use super::describe::REMOVED;
use super::line::{LineFacts, MAX_BYTES, check};
use crate::chain::{ChainHead, ChainLineReader, FileLine, LineEnd};

/// Returns the name of the file whose first line is the `count`-th of the chain.
pub(super) fn file_name(count: u64) -> String {
    format!("audit-{count:012}.ndjson")
}

fn count_of(name: &str) -> Option<u64> {
    let count = name.strip_prefix("audit-")?.strip_suffix(".ndjson")?.parse().ok()?;
    (file_name(count) == name).then_some(count)
}

/// Returns the counts of the first lines of all files in `dir`, in order. Other names are ignored. A
/// missing folder is an empty log.
pub(super) fn files(dir: &Path) -> io::Result<Vec<u64>> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut counts = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Some(count) = entry.file_name().to_str().and_then(count_of) else { continue };
        if entry.file_type()?.is_file() {
            counts.push(count);
        } else {
            tracing::warn!(file = file_name(count), "it is not a file of the audit log, and is left alone");
        }
    }
    counts.sort_unstable();
    Ok(counts)
}

/// One event of a walk.
pub struct AuditLine<'a> {
    /// The line without its line break: an AuditEvent.
    pub text: &'a str,
    /// The chain up to here.
    pub head: ChainHead,
    /// The chain before it.
    behind: ChainHead,
}

/// Where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainBreak {
    /// The name of the file.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for ChainBreak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}: {}", self.file, self.line, self.reason)
    }
}

/// What a walk over a log has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditSummary {
    /// The number of files.
    pub files: usize,
    /// The chain before the first line that is there; [`ChainHead::EMPTY`] if nothing was removed.
    pub start: ChainHead,
    /// The end of the chain.
    pub head: ChainHead,
    /// The instant of the first event that is there.
    pub first: Option<Timestamp>,
    /// The instant of the last one.
    pub last: Option<Timestamp>,
    /// Where the chain is broken; empty if it is whole.
    pub breaks: Vec<ChainBreak>,
}

/// What a walk over one file has seen.
#[derive(Default)]
pub(super) struct WalkedFile {
    /// The chain before the first line, as that line states it; `None` if there is no whole line, or it
    /// is not a line of a log.
    pub start: Option<ChainHead>,
    /// The end of the whole part.
    pub head: ChainHead,
    /// The length of the whole part.
    pub bytes: u64,
    /// Bytes of an incomplete last line, which is being appended or was torn.
    pub torn: u64,
    /// Lines in the file, whole or not.
    pub lines: u64,
    /// The line that does not follow, and why.
    pub broken: Option<(u64, String)>,
}

/// Walks over one file. `expected` is the end of the chain before it, if known.
pub(super) fn walk_file<E: From<AuditError>>(
    path: &Path,
    expected: Option<ChainHead>,
    mut visit: impl FnMut(&AuditLine<'_>) -> Result<(), E>,
) -> Result<WalkedFile, E> {
    let fail = |operation| AuditError::at(operation, path);
    let mut lines = ChainLineReader::open(path, MAX_BYTES).map_err(fail("open"))?;
    let mut walked = WalkedFile::default();
    while let Some(FileLine { text, end, .. }) = lines.next().map_err(fail("read"))? {
        if end == LineEnd::Torn {
            walked.torn = text.len() as u64;
            break;
        }
        walked.lines += 1;
        if walked.broken.is_some() {
            continue;
        }
        match follow(&mut walked, expected, text) {
            Ok(item) => visit(&item)?,
            Err(reason) => walked.broken = Some((walked.lines, reason)),
        }
    }
    Ok(walked)
}

/// Checks the next line.
fn follow<'a>(
    walked: &mut WalkedFile,
    expected: Option<ChainHead>,
    text: &'a [u8],
) -> Result<AuditLine<'a>, String> {
    let line = std::str::from_utf8(text).map_err(|_| "it is not UTF-8")?;
    if walked.lines == 1 {
        let behind = LineFacts::read(line).and_then(|facts| facts.behind());
        let behind = behind.ok_or("it is not a line of an audit log")?;
        walked.head = behind;
        walked.start = Some(behind);
        let missing = |expected: ChainHead| match behind.count.checked_sub(expected.count) {
            None | Some(0) => "it does not follow from the end of the file before".to_string(),
            Some(_) => format!(
                "entries {} to {} of the chain are missing at the end of the file before",
                expected.count + 1,
                behind.count
            ),
        };
        if let Some(expected) = expected.filter(|expected| *expected != behind) {
            return Err(missing(expected));
        }
    }
    let behind = walked.head;
    walked.head = check(behind, line)?;
    walked.bytes += text.len() as u64;
    Ok(AuditLine { text: line.trim_end_matches('\n'), head: walked.head, behind })
}

/// Walks over the log in `dir` from its beginning, checks every link and shows each event to `visit`,
/// whose error ends the walk. Breaks are in the summary and are not errors.
///
/// # Errors
/// Fails if a file cannot be read.
pub fn walk<E: From<AuditError>>(
    dir: &Path,
    mut visit: impl FnMut(&AuditLine<'_>) -> Result<(), E>,
) -> Result<AuditSummary, E> {
    let counts = files(dir).map_err(AuditError::at("list", dir))?;
    let mut log = WalkedLog::default();
    let mut last = String::new();
    for (n, count) in counts.iter().enumerate() {
        let path = dir.join(file_name(*count));
        if log.summary.files == 0 && !path.exists() {
            // Removed since they were listed, because it was too old.
            continue;
        }
        let walked = walk_file(&path, log.expected, |item| {
            log.note(item);
            last.clear();
            last.push_str(item.text);
            visit(item)
        })?;
        log.end_of_file(*count, walked, n + 1 == counts.len());
    }
    log.summary.last = LineFacts::read(&last).map(|facts| facts.recorded());
    log.confirm(counts.first().copied());
    Ok(log.summary)
}

/// The state of a walk over all files.
#[derive(Default)]
struct WalkedLog {
    summary: AuditSummary,
    /// The end of the chain, if it is known.
    expected: Option<ChainHead>,
    /// Whether a removal event confirms the beginning of the chain.
    confirmed: bool,
}

impl WalkedLog {
    fn note(&mut self, item: &AuditLine<'_>) {
        let is_first = self.summary.first.is_none();
        if is_first {
            self.summary.start = item.behind;
        }
        if is_first || item.text.contains(REMOVED[0]) {
            let Some(facts) = LineFacts::read(item.text) else { return };
            self.summary.first = self.summary.first.or(Some(facts.recorded()));
            self.confirmed |= facts.head(REMOVED) == Some(self.summary.start);
        }
    }

    fn end_of_file(&mut self, count: u64, walked: WalkedFile, is_last: bool) {
        self.summary.files += 1;
        let file = file_name(count);
        let misnamed = walked.start.filter(|start| start.count + 1 != count).map(|start| {
            (1, format!("it is entry {} of the chain, and the file's name says another", start.count + 1))
        });
        let torn = (walked.torn > 0 && !is_last).then(|| (walked.lines + 1, "it is torn".to_string()));
        if walked.lines > 0 {
            self.summary.head = walked.head;
            self.expected = Some(walked.head);
        }
        if let Some((line, reason)) = walked.broken.or(misnamed).or(torn) {
            self.summary.breaks.push(ChainBreak { file, line, reason });
            // The next file must prove its own beginning.
            self.expected = None;
        }
    }

    /// Adds a break if the first lines are missing and no event records their removal.
    fn confirm(&mut self, first: Option<u64>) {
        let AuditSummary { start, breaks, .. } = &mut self.summary;
        if let Some(first) = first
            && *start != ChainHead::EMPTY
            && !self.confirmed
            && breaks.is_empty()
        {
            let reason = format!(
                "the {} entries before it are missing, and no event says that their time was over",
                start.count
            );
            breaks.push(ChainBreak { file: file_name(first), line: 1, reason });
        }
    }
}
