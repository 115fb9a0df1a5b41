//! The lines of a chain's file. The last one may be incomplete, because it is being appended or was
//! torn. Another process may be appending.

use std::fs::File;
use std::io::{self, BufReader};
use std::ops::Range;
use std::path::Path;

use crate::plain_file::{self, LinkPolicy, read_line};

/// Bytes read at once.
const BUFFER: usize = 1 << 17;

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnd {
    /// With `\n`.
    Whole,
    /// With the file: the line is torn.
    Torn,
    /// Beyond the bound, with only its beginning kept: it is not ours.
    TooLong,
}

/// A line of a file.
pub struct FileLine<'a> {
    /// Its content, line break included.
    pub text: &'a [u8],
    /// How it ends.
    pub end: LineEnd,
    /// Its place in the file. After a line that is too long, places are wrong.
    pub place: Range<u64>,
}

/// Reads a file line by line, up to a bound each (P13).
pub struct ChainLineReader {
    input: BufReader<File>,
    max: u64,
    text: Vec<u8>,
    /// Bytes of the lines so far.
    bytes: u64,
}

impl ChainLineReader {
    /// Opens a file whose lines have at most `max` bytes.
    ///
    /// # Errors
    /// Fails if it is not a regular file, or cannot be opened.
    pub fn open(path: &Path, max: u64) -> io::Result<Self> {
        let input = BufReader::with_capacity(BUFFER, plain_file::open(path, LinkPolicy::Refuse)?);
        Ok(Self { input, max, text: Vec::new(), bytes: 0 })
    }

    /// Returns the next line, or `None` after the last one.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub fn next(&mut self) -> io::Result<Option<FileLine<'_>>> {
        if !read_line(&mut self.input, self.max, &mut self.text)? {
            return Ok(None);
        }
        let length = self.text.len() as u64;
        let end = match self.text.ends_with(b"\n") {
            true => LineEnd::Whole,
            false if length == self.max => LineEnd::TooLong,
            false => LineEnd::Torn,
        };
        let place = self.bytes..self.bytes + length;
        self.bytes = place.end;
        Ok(Some(FileLine { text: &self.text, end, place }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_torn_and_too_long_lines_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let ends = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let mut lines = ChainLineReader::open(&path, 5).unwrap();
            let mut ends = Vec::new();
            while let Some(line) = lines.next().unwrap() {
                ends.push((line.end, line.place));
            }
            ends
        };
        use LineEnd::*;
        assert_eq!(ends(""), []);
        assert_eq!(ends("ab\nabcd\nx"), [(Whole, 0..3), (Whole, 3..8), (Torn, 8..9)]);
        assert_eq!(ends("abcde\n")[0].0, TooLong);
        assert_eq!(ends("abcde")[0].0, TooLong, "whatever comes of it");
    }
}
