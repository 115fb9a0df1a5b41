//! The look at what is loaded: is it NDJSON, how many resources has it, and what is its checksum. Text
//! is looked at as it comes, in pieces of any length.

use memchr::memchr;
use sha2::{Digest, Sha256};

use super::manifest::PlannedFile;

/// Looks at a text piece by piece.
#[derive(Clone)]
pub struct ContentCheck {
    hash: Sha256,
    bytes: u64,
    count: u64,
    is_in_line: bool,
    last: u8,
}

/// What a whole text was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedContent {
    pub bytes: u64,
    pub count: u64,
    /// In lower case.
    pub sha256: String,
}

/// Why a text is not NDJSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// A line does not begin with a brace.
    #[error("line {0} is not a JSON object")]
    NotObject(u64),
    /// There is a byte 0, as in a file that a crash left behind.
    #[error("it has a byte 0, which no JSON has")]
    ZeroByte,
    /// The last line has no end.
    #[error("its last line is cut off")]
    CutOff,
}

impl ContentCheck {
    /// Creates a check of an empty text.
    pub fn new() -> Self {
        Self { hash: Sha256::new(), bytes: 0, count: 0, is_in_line: false, last: b'\n' }
    }

    /// Looks at the next piece.
    pub fn feed(&mut self, mut piece: &[u8]) -> Result<(), ContentError> {
        self.hash.update(piece);
        self.bytes += piece.len() as u64;
        self.last = piece.last().copied().unwrap_or(self.last);
        if memchr(0, piece).is_some() {
            return Err(ContentError::ZeroByte);
        }
        while let Some(first) = piece.first() {
            if !self.is_in_line {
                match first {
                    b'{' => {
                        self.count += 1;
                        self.is_in_line = true;
                    }
                    b' ' | b'\t' | b'\r' | b'\n' => {}
                    // A byte order mark.
                    0xef | 0xbb | 0xbf if self.count == 0 => {}
                    _ => return Err(ContentError::NotObject(self.count + 1)),
                }
                piece = &piece[1..];
                continue;
            }
            let Some(end) = memchr(b'\n', piece) else { break };
            self.is_in_line = false;
            piece = &piece[end + 1..];
        }
        Ok(())
    }

    /// Returns how many bytes there were so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns what the text was.
    pub fn finish(self) -> Result<CheckedContent, ContentError> {
        if !matches!(self.last, b'\n' | b'\r' | b'}' | b' ' | b'\t') {
            return Err(ContentError::CutOff);
        }
        let sha256 = hex::encode(self.hash.finalize());
        Ok(CheckedContent { bytes: self.bytes, count: self.count, sha256 })
    }
}

impl CheckedContent {
    /// Compares with what the manifest says. Returns what differs, if anything does.
    pub fn difference(&self, planned: &PlannedFile) -> Option<String> {
        let Self { bytes, count, sha256 } = self;
        if let Some(expected) = planned.bytes.filter(|expected| expected != bytes) {
            return Some(format!("it has {bytes} bytes, the manifest says {expected}"));
        }
        if let Some(expected) = planned.count.filter(|expected| expected != count) {
            return Some(format!("it has {count} resources, the manifest says {expected}"));
        }
        let differs = planned.sha256.as_ref().is_some_and(|expected| expected != sha256);
        differs.then(|| String::from("its SHA-256 is not the one in the manifest"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], piece: usize) -> Result<CheckedContent, ContentError> {
        let mut check = ContentCheck::new();
        text.chunks(piece).try_for_each(|piece| check.feed(piece))?;
        check.finish()
    }

    #[test]
    fn resources_are_counted_whatever_the_pieces() {
        let text = b"{\"a\":1}\n{\"b\":\"{\"}\r\n\n \n  {}\n{\"c\":2}";
        for piece in 1..=text.len() {
            let content = check(text, piece).unwrap();
            assert_eq!((content.count, content.bytes), (4, text.len() as u64), "{piece}");
            assert_eq!(content.sha256, hex::encode(Sha256::digest(text)));
        }
        assert_eq!(check(b"", 1).unwrap().count, 0);
        assert_eq!(check(b"\xef\xbb\xbf{}\n", 2).unwrap().count, 1);
    }

    #[test]
    fn what_is_no_ndjson_is_recognized() {
        assert_eq!(check(b"<html>", 3), Err(ContentError::NotObject(1)));
        assert_eq!(check(b"{}\n[]\n", 3), Err(ContentError::NotObject(2)));
        assert_eq!(check(b"{}\n{\0\0\0", 9), Err(ContentError::ZeroByte));
        assert_eq!(check(b"{}\n{\"a\":tr", 9), Err(ContentError::CutOff));
    }
}
