//! Reads the chain from its end, for whoever looks for the latest entries: a page of them costs as much
//! however long the chain is. Each line is checked by itself and against the one after it, so what is shown
//! leads to the end of the chain; only a walk from the beginning checks the rest.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::chain::{MAX_BYTES, parse_checkpoint, parse_line};
use super::{ChainHash, ReceiptEntry, ReceiptsError, fail};
use crate::plain_file::{self, LinkPolicy};

/// Bytes read at once.
const BLOCK: u64 = 1 << 18;

/// Walks back over the lines that end at `before` or earlier, from the latest one, and shows each entry to `visit`
/// until it breaks off. Without `before`, begins at the end of the chain. Reads about `most_bytes`. Returns
/// where to go on, or `None` at the beginning of the chain. A missing file is an empty chain. Blocks.
///
/// # Errors
/// Fails if the file cannot be read, or a line is broken; the error's line is 0, because lines are not counted
/// from the end.
pub(crate) fn walk_back(
    path: &Path,
    before: Option<u64>,
    most_bytes: u64,
    mut visit: impl FnMut(ReceiptEntry) -> ControlFlow<()>,
) -> Result<Option<u64>, ReceiptsError> {
    let file = match plain_file::open(path, LinkPolicy::Refuse) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail("open")(error)),
    };
    // A chain that was pruned since the page before has its lines elsewhere.
    let whole = whole_length(&file).map_err(fail("read"))?;
    let mut end = end_of_line(&file, before.unwrap_or(whole).min(whole)).map_err(fail("read"))?;
    let floor = end.saturating_sub(most_bytes);
    // The beginning of a line whose rest is known: it stands before the bytes of `end`.
    let mut rest = Vec::new();
    let mut after = None;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let mut block = read(&file, start, end).map_err(fail("read"))?;
        block.extend(std::mem::take(&mut rest));
        // What stands before the first line break has its beginning in an earlier block.
        let first = if start == 0 { 0 } else { line_break(&block).map_or(block.len(), |at| at + 1) };
        let mut upper = block.len();
        while upper > first {
            let lower =
                block[..upper - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1).max(first);
            let offset = start + lower as u64;
            let line = &block[lower..upper];
            if offset == 0 && parse_checkpoint(line).is_some() {
                return Ok(None);
            }
            let (entry, previous) = checked(line, after)?;
            after = Some(previous);
            upper = lower;
            if visit(entry).is_break() {
                return Ok((offset > 0).then_some(offset));
            }
        }
        rest = block[..first].to_vec();
        if rest.len() as u64 > MAX_BYTES {
            return Err(broken(format!("it is longer than {MAX_BYTES} bytes")));
        }
        let next = start + first as u64;
        end = start;
        if next <= floor && next > 0 {
            return Ok(Some(next));
        }
    }
    Ok(None)
}

fn line_break(block: &[u8]) -> Option<usize> {
    block.iter().position(|byte| *byte == b'\n')
}

/// Returns the entry of a line and the hash of the one before it. `after` is the previous hash of the line
/// after it.
fn checked(line: &[u8], after: Option<ChainHash>) -> Result<(ReceiptEntry, ChainHash), ReceiptsError> {
    let parsed = parse_line(line).map_err(broken)?;
    let entry = parsed.checked(line).map_err(broken)?;
    if after.is_some_and(|after| after != parsed.hash) {
        return Err(broken("the line after it does not follow from it".into()));
    }
    Ok((entry, parsed.previous))
}

fn broken(reason: String) -> ReceiptsError {
    ReceiptsError::Broken { line: 0, reason }
}

fn read(file: &File, start: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut block = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
    file.read_exact_at(&mut block, start)?;
    Ok(block)
}

/// Returns the length of the file without a last line that is being appended, or is torn. Blocks.
///
/// # Errors
/// Fails if the file cannot be read.
pub(crate) fn whole_length(file: &File) -> io::Result<u64> {
    end_of_line(file, file.metadata()?.len())
}

/// Returns where the last line ends that is whole before `end`.
fn end_of_line(file: &File, mut end: u64) -> io::Result<u64> {
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        if let Some(at) = read(file, start, end)?.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use jiff::Timestamp;

    use super::*;
    use crate::receipts::{ReaperPause, ReceiptChain, ReceiptFile};

    fn pause(n: usize) -> ReceiptEntry {
        let at = Timestamp::from_second(n as i64).unwrap();
        ReceiptEntry::Pause(ReaperPause { at, by: "ops".into(), reason: "x".repeat(n % 700) })
    }

    /// A chain of so many entries, in a folder of its own.
    fn chain(entries: usize) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let receipts = ReceiptFile::open(folder.path()).unwrap();
        receipts.append(&(0..entries).map(pause).collect::<Vec<_>>()).unwrap();
        let path = folder.path().join(crate::receipts::FILE_NAME);
        (folder, path)
    }

    fn all(path: &Path, page: usize, most_bytes: u64) -> Vec<ReceiptEntry> {
        let (mut entries, mut before) = (Vec::new(), None);
        loop {
            let mut left = page;
            let next = walk_back(path, before, most_bytes, |entry| {
                entries.push(entry);
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            before = next.unwrap();
            if before.is_none() {
                return entries;
            }
        }
    }

    #[test]
    fn pages_from_the_end_have_every_entry_once_whatever_their_size() {
        let (_folder, path) = chain(2000);
        let expected: Vec<_> = (0..2000).rev().map(pause).collect();
        assert!(std::fs::metadata(&path).unwrap().len() > 3 * BLOCK);
        for (page, most_bytes) in [(7, u64::MAX), (5000, u64::MAX), (5000, 1), (50, BLOCK)] {
            assert!(all(&path, page, most_bytes) == expected, "{page} {most_bytes}");
        }
        // A line that is being appended is none.
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"entry\":").unwrap();
        assert!(all(&path, 100, u64::MAX) == expected);
        assert_eq!(all(&path.with_file_name("none"), 1, 1), []);
    }

    #[test]
    fn p13_a_walk_back_reads_a_bounded_part_of_a_long_chain() {
        let (_folder, path) = chain(2000);
        let mut seen = 0;
        let next = walk_back(&path, None, 1, |_| {
            seen += 1;
            ControlFlow::Continue(())
        });
        let read = std::fs::metadata(&path).unwrap().len() - next.unwrap().unwrap();
        assert!(seen < 2000 && read <= BLOCK, "{seen} lines of {read} bytes");
    }

    #[test]
    fn a_changed_line_is_found() {
        let (_folder, path) = chain(3);
        let text = std::fs::read_to_string(&path).unwrap();
        let broken = |text: String| {
            std::fs::write(&path, text).unwrap();
            walk_back(&path, None, u64::MAX, |_| ControlFlow::Continue(())).is_err()
        };
        assert!(!broken(text.clone()));
        assert!(broken(text.replacen("ops", "ape", 1)), "a line was changed");
        let lines: Vec<_> = text.lines().collect();
        assert!(broken(format!("{}\n{}\n", lines[0], lines[2])), "a line was removed");
        assert!(broken(format!("{}\n{}\n", lines[1], lines[0])), "lines were exchanged");
    }
}
