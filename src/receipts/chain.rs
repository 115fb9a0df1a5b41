//! The lines of the file and the walk over them. A line is
//! `{"entry":{...},"previous":"<hex>","hash":"<hex>"}`: `hash` is the SHA-256 over the digits
//! of `previous` and the bytes of `entry`, and `previous` is the hash of the line before. A
//! pruned chain begins with a checkpoint, `{"checkpoint":{"count":N,"head":"<hex>"}}`, in
//! place of its first N entries. A walk takes only lines that are, byte for byte, what would
//! have been appended there.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::tree::leaf_hash;
use super::{ChainHash, ChainHead, ReceiptEntry, ReceiptsError, fail};
use crate::chain::{ChainLineReader, FileLine, LineEnd};
use crate::job::{JobId, Receipt};

/// The most bytes of a line. A longer one is not ours.
pub(super) const MAX_BYTES: u64 = 4 << 20;

#[derive(Serialize, Deserialize)]
pub(super) struct ChainLine<'a> {
    #[serde(borrow)]
    entry: &'a RawValue,
    pub(super) previous: ChainHash,
    pub(super) hash: ChainHash,
}

#[derive(Serialize, Deserialize)]
struct Checkpoint {
    checkpoint: ChainHead,
}

fn text(line: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec(line).expect("a line always serializes");
    text.push(b'\n');
    text
}

/// Returns the line of `entry` after `end`, the leaf of the entry in the tree, and the new end of the chain.
pub(super) fn line(end: ChainHead, entry: &ReceiptEntry) -> (Vec<u8>, ChainHash, ChainHead) {
    let entry = to_raw_value(entry).expect("an entry always serializes");
    let head = end.behind(entry.get());
    let line = text(&ChainLine { entry: &entry, previous: end.hash, hash: head.hash });
    (line, leaf_hash(entry.get().as_bytes()), head)
}

/// Returns the first line of a chain that is pruned up to `cut`.
pub(super) fn checkpoint_line(cut: ChainHead) -> Vec<u8> {
    text(&Checkpoint { checkpoint: cut })
}

/// One entry of a walk.
pub struct ReceiptLine<'a> {
    /// The entry.
    pub entry: &'a ReceiptEntry,
    /// Its text in the file.
    pub text: &'a str,
    /// The chain up to here.
    pub head: ChainHead,
    /// The place of its line in the file.
    pub(super) bytes: std::ops::Range<u64>,
}

/// What a walk over a chain has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReceiptSummary {
    /// The end of the chain.
    pub head: ChainHead,
    /// The end of the pruned part, if there is one.
    pub checkpoint: Option<ChainHead>,
    /// Erasures in the file.
    pub erasures: u64,
    /// How often the end of the chain was found missing.
    pub gaps: u64,
    /// The instant of the first entry in the file.
    pub first: Option<Timestamp>,
    /// The instant of the last one.
    pub last: Option<Timestamp>,
    /// Whether a prune entry in the chain says the same as the checkpoint.
    pub(super) checkpoint_confirmed: bool,
    /// The length of the whole lines.
    pub(super) bytes: u64,
}

impl ReceiptSummary {
    fn note(&mut self, entry: &ReceiptEntry) {
        self.first = self.first.or(Some(entry.at()));
        self.last = Some(entry.at());
        match entry {
            ReceiptEntry::Erasure(_) => self.erasures += 1,
            ReceiptEntry::Gap { .. } => self.gaps += 1,
            ReceiptEntry::Prune { cut, .. } => self.checkpoint_confirmed |= self.checkpoint == Some(*cut),
            _ => {}
        }
    }

    /// Fails if no prune entry after the checkpoint announces it. Such an entry is durable before
    /// anything is cut off, so without it the end of the chain is missing.
    ///
    /// # Errors
    /// [`ReceiptsError::Broken`] for the checkpoint's line.
    pub fn confirm(&self) -> Result<(), ReceiptsError> {
        if self.checkpoint.is_none() || self.checkpoint_confirmed {
            return Ok(());
        }
        let reason = "no prune entry behind this checkpoint says the same: the end of the chain is missing";
        Err(ReceiptsError::Broken { line: 1, reason: reason.into() })
    }
}

/// Walks over the chain at `path` from its beginning, checks every link and shows each entry to
/// `visit`, whose error ends the walk. A missing file is an empty chain. A last line without a line
/// break is being appended, or was torn before anybody was told of it: it is not part of the chain.
///
/// # Errors
/// [`ReceiptsError::Broken`] for the first line that does not follow.
pub fn walk<E: From<ReceiptsError>>(
    path: &Path,
    visit: impl FnMut(&ReceiptLine<'_>) -> Result<(), E>,
) -> Result<ReceiptSummary, E> {
    let mut summary = ReceiptSummary::default();
    walk_into(&mut summary, path, visit)?;
    Ok(summary)
}

/// Walks over the entries before the first line that does not follow. Returns what the walk has
/// seen up to there; of a chain without such entries, nothing.
///
/// # Errors
/// Fails if the file cannot be read.
pub(super) fn walk_whole(
    path: &Path,
    mut visit: impl FnMut(&ReceiptLine<'_>),
) -> Result<ReceiptSummary, ReceiptsError> {
    let mut summary = ReceiptSummary::default();
    let walked = walk_into(&mut summary, path, |item| {
        visit(item);
        Ok::<_, ReceiptsError>(())
    });
    match walked {
        Err(ReceiptsError::Broken { .. }) if summary.first.is_none() => Ok(ReceiptSummary::default()),
        Ok(()) | Err(ReceiptsError::Broken { .. }) => Ok(summary),
        Err(error) => Err(error),
    }
}

fn walk_into<E: From<ReceiptsError>>(
    summary: &mut ReceiptSummary,
    path: &Path,
    mut visit: impl FnMut(&ReceiptLine<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut lines = match ChainLineReader::open(path, MAX_BYTES) {
        Ok(lines) => lines,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(fail("open")(e).into()),
    };
    let mut line = 0;
    while let Some(FileLine { text, end, place }) = lines.next().map_err(fail("read"))? {
        line += 1;
        let broken = |reason| ReceiptsError::Broken { line, reason };
        match end {
            LineEnd::Whole => {}
            LineEnd::TooLong => return Err(broken(format!("it is longer than {MAX_BYTES} bytes")).into()),
            LineEnd::Torn => break,
        }
        if line == 1
            && let Some(cut) = parse_checkpoint(text)
        {
            (summary.head, summary.checkpoint, summary.bytes) = (cut, Some(cut), place.end);
            continue;
        }
        let parsed = parse(text, summary.head).map_err(broken)?;
        (summary.head, summary.bytes) = (parsed.2, place.end);
        summary.note(&parsed.0);
        visit(&ReceiptLine { entry: &parsed.0, text: parsed.1, head: parsed.2, bytes: place })?;
    }
    Ok(())
}

pub(super) fn parse_checkpoint(text: &[u8]) -> Option<ChainHead> {
    let Checkpoint { checkpoint } = serde_json::from_slice(text).ok()?;
    (checkpoint_line(checkpoint) == text).then_some(checkpoint)
}

/// Parses the line after `end`. Returns its entry and the new end of the chain.
fn parse(line: &[u8], end: ChainHead) -> Result<(ReceiptEntry, &str, ChainHead), String> {
    let parsed = parse_line(line)?;
    if parsed.previous != end.hash {
        return Err("it does not follow from the line before".into());
    }
    let entry = parsed.checked(line)?;
    Ok((entry, parsed.entry.get(), ChainHead { count: end.count + 1, hash: parsed.hash }))
}

pub(super) fn parse_line(line: &[u8]) -> Result<ChainLine<'_>, String> {
    serde_json::from_slice(line).map_err(|e| format!("it is not a line of a chain: {e}"))
}

impl ChainLine<'_> {
    /// Returns the entry of `line`, of which this was parsed, if its hash covers all that stands there.
    pub(super) fn checked(&self, line: &[u8]) -> Result<ReceiptEntry, String> {
        if self.hash != ChainHash::of(self.previous, self.entry.get()) {
            return Err("its content is not what its hash says".into());
        }
        if text(self) != line {
            return Err("something stands in it that its hash does not cover".into());
        }
        serde_json::from_str(self.entry.get()).map_err(|e| format!("its entry cannot be understood: {e}"))
    }
}

/// Checks the whole chain at `path`, which another process may be appending to.
///
/// # Errors
/// As [`walk`] and [`ReceiptSummary::confirm`].
#[cfg(feature = "generate")]
pub fn verify(path: &Path) -> Result<ReceiptSummary, ReceiptsError> {
    let summary = walk(path, |_| Ok::<_, ReceiptsError>(()))?;
    summary.confirm()?;
    Ok(summary)
}

/// Returns a job's receipt from the chain at `path`, which another process may be appending to.
///
/// # Errors
/// As [`walk`].
#[cfg(feature = "generate")]
pub fn read(path: &Path, job: JobId) -> Result<Option<Receipt>, ReceiptsError> {
    let mut found = None;
    walk(path, |item| {
        if let ReceiptEntry::Erasure(receipt) = item.entry
            && receipt.job == job
        {
            found = Some((**receipt).clone());
        }
        Ok::<_, ReceiptsError>(())
    })?;
    Ok(found)
}

/// Returns the hash of a line that was checked before.
pub(super) fn hash_of(line: &[u8]) -> io::Result<ChainHash> {
    Ok(serde_json::from_slice::<ChainLine<'_>>(line)?.hash)
}

/// Reads the text of the entry in the line at `offset`, which was checked before. The file's own position
/// does not move.
pub(super) fn read_text_at(file: &File, offset: u64) -> io::Result<String> {
    let mut text = Vec::new();
    BufReader::new(OffsetReader { file, offset }).read_until(b'\n', &mut text)?;
    let line: ChainLine<'_> = serde_json::from_slice(&text)?;
    Ok(line.entry.get().to_owned())
}

/// Reads from an offset on, without moving the file's own position.
pub(super) struct OffsetReader<'a> {
    pub file: &'a File,
    pub offset: u64,
}

impl Read for OffsetReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
