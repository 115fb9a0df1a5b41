//! Scans of JSON text that check the token as they go. The text is known to be JSON: these
//! functions only find positions in it.

use memchr::memmem::Finder;

use super::{CancelToken, TokenFired};

/// Bytes that a search passes in about a tenth of a millisecond.
const WINDOW: usize = 1 << 20;

impl CancelToken {
    /// Returns the position of the first occurrence of the needle at or after `from`.
    ///
    /// # Errors
    /// Fails if the token has fired.
    pub(crate) fn find(
        &self,
        needle: &Finder<'_>,
        text: &[u8],
        mut from: usize,
    ) -> Result<Option<usize>, TokenFired> {
        while from < text.len() {
            self.check()?;
            let end = text.len().min(from + WINDOW + needle.needle().len() - 1);
            if let Some(at) = needle.find(&text[from..end]) {
                return Ok(Some(from + at));
            }
            from += WINDOW;
        }
        Ok(None)
    }

    /// Returns the position of the first byte at or after `from` that is not white space, or the
    /// length of the text if there is none.
    pub(crate) fn skip_blanks(&self, text: &[u8], from: usize) -> Result<usize, TokenFired> {
        for (n, window) in text[from..].chunks(WINDOW).enumerate() {
            if let Some(at) = window.iter().position(|byte| !byte.is_ascii_whitespace()) {
                return Ok(from + n * WINDOW + at);
            }
            self.check()?;
        }
        Ok(text.len())
    }

    /// Returns the position behind the closing quote of the string whose opening quote is at
    /// `start`, or `None` if the string does not end.
    pub(crate) fn end_of_string(&self, text: &[u8], start: usize) -> Result<Option<usize>, TokenFired> {
        let mut at = start + 1;
        while let Some(next) = text.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
            self.check()?;
            at += next;
            if text[at] == b'"' {
                return Ok(Some(at + 1));
            }
            at += 2;
        }
        Ok(None)
    }

    /// Appends bytes.
    pub(crate) fn append(&self, bytes: &[u8], to: &mut Vec<u8>) -> Result<(), TokenFired> {
        for window in bytes.chunks(WINDOW) {
            self.check()?;
            to.extend_from_slice(window);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_needle_is_found_wherever_it_stands_and_with_looks() {
        let needle = Finder::new("needle");
        let token = CancelToken::new();
        for at in [0, WINDOW - 6, WINDOW - 5, WINDOW - 1, WINDOW, 3 * WINDOW - 6] {
            let mut text = vec![b'n'; 3 * WINDOW];
            text[at..at + 6].copy_from_slice(b"needle");
            assert_eq!(token.find(&needle, &text, 0), Ok(Some(at)));
            assert_eq!(token.find(&needle, &text, at + 1), Ok(None));
        }
        assert_eq!(CancelToken::at_look(3).find(&needle, &vec![b'n'; 3 * WINDOW], 0), Err(TokenFired));
    }

    #[test]
    fn blanks_and_strings_are_passed_with_looks() {
        let token = CancelToken::new();
        let blanks = [vec![b' '; 2 * WINDOW], b"x".to_vec()].concat();
        assert_eq!(token.skip_blanks(&blanks, 0), Ok(2 * WINDOW));
        assert_eq!(token.skip_blanks(b"a  ", 1), Ok(3));
        assert_eq!(token.skip_blanks(b"a", 1), Ok(1));
        assert_eq!(CancelToken::at_look(2).skip_blanks(&blanks, 0), Err(TokenFired));
        assert_eq!(token.end_of_string(br#"{"a\"\\":1}"#, 1), Ok(Some(8)));
        assert_eq!(token.end_of_string(br#"{"a\"#, 1), Ok(None));
        let escapes = [b"\"".to_vec(), b"\\n".repeat(1000), b"\"".to_vec()].concat();
        assert_eq!(CancelToken::at_look(500).end_of_string(&escapes, 0), Err(TokenFired));
        let mut appended = Vec::new();
        token.append(&blanks, &mut appended).unwrap();
        assert_eq!(appended, blanks);
        assert_eq!(CancelToken::at_look(3).append(&blanks, &mut appended), Err(TokenFired));
    }
}
