//! The lines of a byte range of a file, read in blocks: constant memory but for the longest
//! line.

use std::io;

use super::ReadAt;

/// Bytes read at once.
const BLOCK: usize = 1 << 20;

/// A line that is not blank.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Where it begins in the file.
    pub offset: u64,
    /// The line without its line break (LF or CRLF) and the white space around it.
    pub text: &'a [u8],
}

/// Reads the lines that *begin* in a range; the last one is read to its end beyond it.
pub struct Lines<'a> {
    file: &'a dyn ReadAt,
    buffer: Vec<u8>,
    /// What of the buffer has been given out.
    used: usize,
    /// Where the buffer begins in the file.
    base: u64,
    end: u64,
    at_file_end: bool,
    started: bool,
}

impl<'a> Lines<'a> {
    /// The lines of `file` that begin at `start` or later and before `end`.
    pub fn new(file: &'a dyn ReadAt, start: u64, end: u64) -> Self {
        // A line begins at `start` exactly if the byte before is a line break: so the byte
        // before is read too, and the line it belongs to is skipped.
        let base = start.saturating_sub(1);
        Self { file, buffer: Vec::new(), used: 0, base, end, at_file_end: false, started: start == 0 }
    }

    /// Where in the file the next line begins: all before it has been given out.
    pub fn position(&self) -> u64 {
        self.base + self.used as u64
    }

    /// The next line that is not blank.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            if !self.started {
                self.started = true;
                if self.take()?.is_none() {
                    return Ok(None);
                }
            }
            let offset = self.position();
            if offset >= self.end {
                return Ok(None);
            }
            let Some((from, to)) = self.take()? else { return Ok(None) };
            let bom = if offset == 0 && self.buffer[from..to].starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
            let text = self.buffer[from + bom..to].trim_ascii();
            if !text.is_empty() {
                let length = text.len();
                let start = from + bom + self.buffer[from + bom..to].len()
                    - self.buffer[from + bom..to].trim_ascii_start().len();
                return Ok(Some(Line { offset, text: &self.buffer[start..start + length] }));
            }
        }
    }

    /// Takes the bytes up to the next line break, or to the end of the file, out of the buffer.
    fn take(&mut self) -> io::Result<Option<(usize, usize)>> {
        let mut searched = self.used;
        loop {
            if let Some(n) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                let taken = (self.used, searched + n);
                self.used = taken.1 + 1;
                return Ok(Some(taken));
            }
            if self.at_file_end {
                let taken = (self.used, self.buffer.len());
                self.used = taken.1;
                return Ok((taken.0 < taken.1).then_some(taken));
            }
            searched = self.buffer.len() - self.used;
            self.fill()?;
        }
    }

    /// Drops what is used and reads one block more.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.used);
        self.base += self.used as u64;
        self.used = 0;
        let have = self.buffer.len();
        self.buffer.resize(have + BLOCK, 0);
        let read = self.file.read_full_at(&mut self.buffer[have..], self.base + have as u64)?;
        self.buffer.truncate(have + read);
        self.at_file_end = read < BLOCK;
        Ok(())
    }
}

/// Line breaks between two offsets.
pub fn newlines(file: &dyn ReadAt, from: u64, to: u64) -> io::Result<u64> {
    let mut buffer = vec![0; BLOCK];
    let (mut position, mut count) = (from, 0);
    while position < to {
        let wanted = usize::try_from(to - position).unwrap_or(BLOCK).min(BLOCK);
        let read = file.read_full_at(&mut buffer[..wanted], position)?;
        if read == 0 {
            break;
        }
        count += memchr::memchr_iter(b'\n', &buffer[..read]).count() as u64;
        position += read as u64;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Memory(Vec<u8>);

    impl ReadAt for Memory {
        fn size(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let rest = self.0.get(offset as usize..).unwrap_or_default();
            // Short reads, as a file system may give them.
            let n = rest.len().min(buffer.len()).min(1000);
            buffer[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        }
    }

    fn read(bytes: &[u8], start: u64, end: u64) -> Vec<(u64, String)> {
        let memory = Memory(bytes.to_vec());
        let mut lines = Lines::new(&memory, start, end);
        let mut read = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            read.push((line.offset, String::from_utf8_lossy(line.text).into_owned()));
        }
        read
    }

    #[test]
    fn line_breaks_blank_lines_and_a_missing_last_newline_are_all_met() {
        let text = b"\xEF\xBB\xBFone\r\n\n  \r\n two\t\nthree";
        let expected =
            [(0, "one"), (13, " two"), (19, "three")].map(|(at, text)| (at, text.trim().to_string()));
        assert_eq!(read(text, 0, text.len() as u64), expected);
        assert_eq!(read(b"", 0, 0), []);
        assert_eq!(read(b"\n\n", 0, 2), []);
    }

    #[test]
    fn a_line_longer_than_a_block_is_one_line() {
        let mut text = vec![b'x'; 3 * BLOCK + 17];
        text.extend_from_slice(b"\nend");
        let lines = read(&text, 0, text.len() as u64);
        assert_eq!((lines.len(), lines[0].1.len(), lines[1].1.as_str()), (2, 3 * BLOCK + 17, "end"));
        assert_eq!(newlines(&Memory(text.clone()), 0, text.len() as u64).unwrap(), 1);
    }

    proptest! {
        /// However a file is cut into ranges, each line is read exactly once.
        #[test]
        fn ranges_share_the_lines_out(text in "[ab\r\n ]{0,200}", mut cuts in prop::collection::vec(0u64..200, 0..6)) {
            let length = text.len() as u64;
            cuts.retain(|cut| *cut <= length);
            cuts.extend([0, length]);
            cuts.sort_unstable();
            let parts: Vec<_> = cuts.windows(2).flat_map(|w| read(text.as_bytes(), w[0], w[1])).collect();
            prop_assert_eq!(&parts, &read(text.as_bytes(), 0, length));
            let naive: Vec<_> = text.split('\n').map(str::trim).filter(|l| !l.is_empty()).map(str::to_string).collect();
            prop_assert_eq!(parts.into_iter().map(|(_, line)| line).collect::<Vec<_>>(), naive);
        }
    }
}
