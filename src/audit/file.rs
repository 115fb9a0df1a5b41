//! The files of a log: their names, and the walk over one of them. Another process may be appending. A line that
//! does not follow from the one before ends the whole part, with its number and what is wrong with it.

use std::io;
use std::path::Path;

use super::AuditError;
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

/// Walks over one file. `expected` is the end of the chain before it, if known. `visit` is shown the chain before
/// each line, the line without its line break, and the chain up to it.
pub(super) fn walk_file<E: From<AuditError>>(
    path: &Path,
    expected: Option<ChainHead>,
    mut visit: impl FnMut(ChainHead, &str, ChainHead) -> Result<(), E>,
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
            Ok((behind, line)) => visit(behind, line, walked.head)?,
            Err(reason) => walked.broken = Some((walked.lines, reason)),
        }
    }
    Ok(walked)
}

/// Checks the next line. Returns the chain before it, and its text.
fn follow<'a>(
    walked: &mut WalkedFile,
    expected: Option<ChainHead>,
    text: &'a [u8],
) -> Result<(ChainHead, &'a str), String> {
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
    Ok((behind, line.trim_end_matches('\n')))
}
