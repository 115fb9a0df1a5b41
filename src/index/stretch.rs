//! Builds the index of one stretch of a file: reads it, splits it into lines, parses each.

use std::io;

use memchr::{memchr, memrchr};
use xxhash_rust::xxh3::xxh3_64;

use super::LONGEST_LINE;
use super::chunk::{BLOCK, FileShape};
use super::draft::{ChunkDraft, DraftEntry, LARGEST_GAP};
use super::line::{LineFault, LineParser};
use crate::cancel::CancelToken;
use crate::fhir::reference::BaseUrls;
use crate::files::ReadAt;

/// Bytes to read at once when a line continues behind the stretch.
const MORE: usize = 1 << 20;

/// A UTF-8 byte order mark, which some programs put at the beginning of a file.
pub const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Returns the resource in a span's bytes, without the byte order mark at the file's beginning, the
/// line break and the white space around it.
pub fn text_of(span: &[u8], is_file_start: bool) -> &[u8] {
    let text = if is_file_start { span.strip_prefix(BYTE_ORDER_MARK).unwrap_or(span) } else { span };
    text.trim_ascii()
}

/// Returns what a file looks like that begins with `text` and has no resource there.
fn shape_of(text: &[u8]) -> Option<FileShape> {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    match lines.next()?.first()? {
        b'[' => text[1..].trim_ascii_start().starts_with(b"{").then_some(FileShape::Array),
        b'{' => lines.next().is_some_and(|line| line.starts_with(b"\"")).then_some(FileShape::Printed),
        _ => None,
    }
}

/// Reads stretches of files, one after another, into one buffer.
pub struct StretchReader<'b> {
    lines: LineParser<'b>,
    cancel: &'b CancelToken,
    buffer: Vec<u8>,
    /// How much of the buffer is in use.
    filled: usize,
}

impl<'b> StretchReader<'b> {
    /// Creates a reader for a source in which references below `bases` are relative. Once the token has
    /// fired its results mean nothing.
    pub fn new(bases: &'b BaseUrls, cancel: &'b CancelToken) -> Self {
        Self { lines: LineParser::new(bases, cancel), cancel, buffer: Vec::new(), filled: 0 }
    }

    /// Indexes the lines that begin at `from` or later and before `to`, in a file of `size` bytes.
    /// Returns `None` if none begins there. The last line is read to its end.
    ///
    /// # Errors
    /// Fails if the file cannot be read, and with [`io::ErrorKind::UnexpectedEof`] if it is shorter
    /// than `size`.
    pub fn read(
        &mut self,
        file: &dyn ReadAt,
        size: u64,
        from: u64,
        to: u64,
    ) -> io::Result<Option<ChunkDraft>> {
        // A line begins at `from` exactly if the byte before it is a line feed.
        let base = from.saturating_sub(1);
        self.filled = 0;
        self.fill(file, base, to)?;
        let first = match from {
            0 => 0,
            _ => memchr(b'\n', self.bytes()).map_or(self.filled, |at| at + 1),
        };
        if first == self.filled {
            return Ok(None);
        }
        let mut draft = ChunkDraft::new(base + first as u64);
        let last_line = memrchr(b'\n', &self.bytes()[first..]).map_or(first, |at| first + at + 1);
        let (mut end, mut too_long) = (to, None);
        while end < size && self.bytes().last() != Some(&b'\n') {
            if (self.filled - last_line) as u64 > LONGEST_LINE {
                // The block in which it begins is read as a whole to copy what precedes it.
                let summed = first + (last_line - first).next_multiple_of(BLOCK);
                draft.sums = self.buffer[first..summed].chunks(BLOCK).map(xxh3_64).collect();
                self.filled = last_line;
                end = self.skip_line(file, size, end)?;
                too_long = Some(end - (base + last_line as u64));
                break;
            }
            let before = self.filled;
            self.fill(file, end, size.min(end + MORE as u64))?;
            if let Some(at) = memchr(b'\n', &self.bytes()[before..]) {
                self.filled = before + at + 1;
            }
            end = base + self.filled as u64;
        }
        draft.end = end;
        if too_long.is_none() {
            draft.sums = self.bytes()[first..].chunks(BLOCK).map(xxh3_64).collect();
        }
        self.read_lines(first, &mut draft);
        if from == 0 && draft.contents.resources == 0 {
            draft.shape = shape_of(text_of(self.bytes(), true));
        }
        if let Some(mut length) = too_long {
            draft.broken.add(draft.line_feeds, LineFault::TooLong);
            draft.line_feeds += 1;
            while length > 0 {
                let piece = length.min(LARGEST_GAP.into());
                draft.gap(piece as u32, false);
                length -= piece;
            }
        }
        Ok(Some(draft))
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    fn read_lines(&mut self, first: usize, draft: &mut ChunkDraft) {
        let mut at = first;
        let is_file_start = draft.start == 0;
        while at < self.filled && !self.cancel.is_cancelled() {
            let line_feed = memchr(b'\n', &self.buffer[at..self.filled]);
            let end = line_feed.map_or(self.filled, |length| at + length + 1);
            let span = &self.buffer[at..end];
            let length = span.len() as u32;
            let text = text_of(span, is_file_start && at == first);
            let is_tidy = line_feed.is_some() && text.len() + 1 == span.len();
            if text.is_empty() {
                draft.gap(length, true);
            } else {
                match self.lines.read(text) {
                    Ok(()) => draft.resource(
                        length,
                        is_tidy,
                        &DraftEntry {
                            resource_type: self.lines.resource_type,
                            key: self.lines.key,
                            updated: self.lines.updated,
                            patients: &self.lines.patients,
                            members: &self.lines.members,
                            groups: &self.lines.groups,
                            pointers: self.lines.pointers.keys(),
                            targets: &self.lines.targets,
                            recorded: self.lines.recorded,
                            deletions: &self.lines.deletions,
                            bundled: self.lines.bundled,
                            binaries: self.lines.binaries,
                        },
                    ),
                    Err(broken) => {
                        draft.broken.add(draft.line_feeds, broken);
                        draft.gap(length, false);
                    }
                }
            }
            draft.line_feeds += u64::from(line_feed.is_some());
            at = end;
        }
    }

    /// Appends the bytes between two offsets to the buffer.
    fn fill(&mut self, file: &dyn ReadAt, from: u64, to: u64) -> io::Result<()> {
        // A stretch, or `MORE`, fits into memory.
        let end = self.filled + (to - from) as usize;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        let read = file.read_full_at(&mut self.buffer[self.filled..end], from)?;
        self.filled += read;
        if self.filled < end { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Returns the end of the line that continues at `from`, without keeping its bytes.
    fn skip_line(&mut self, file: &dyn ReadAt, size: u64, mut from: u64) -> io::Result<u64> {
        let kept = self.filled;
        while from < size {
            self.fill(file, from, size.min(from + MORE as u64))?;
            let found = memchr(b'\n', &self.bytes()[kept..]);
            from += found.map_or(self.filled - kept, |at| at + 1) as u64;
            self.filled = kept;
            if found.is_some() {
                break;
            }
        }
        Ok(from)
    }
}
