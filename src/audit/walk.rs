//! The walk over all files of a log. A break is reported with its file and line, and the walk goes on with the
//! next file, whose content still proves itself.

use std::fmt;
use std::path::Path;

use jiff::Timestamp;

use super::AuditError;
use super::describe::REMOVED;
use super::file::{WalkedFile, file_name, files, walk_file};
use super::line::LineFacts;
use crate::chain::ChainHead;

/// One event of a walk.
pub struct AuditLine<'a> {
    /// The line without its line break: an AuditEvent.
    pub text: &'a str,
    /// The chain up to here.
    pub head: ChainHead,
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
        let walked = walk_file(&path, log.expected, |behind, text, head| {
            log.note(behind, text);
            last.clear();
            last.push_str(text);
            visit(&AuditLine { text, head })
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
    fn note(&mut self, behind: ChainHead, text: &str) {
        let is_first = self.summary.first.is_none();
        if is_first {
            self.summary.start = behind;
        }
        if is_first || text.contains(REMOVED[0]) {
            let Some(facts) = LineFacts::read(text) else { return };
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
