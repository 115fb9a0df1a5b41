//! The token that tells work for a job that the job has ended, and ways to check it inside long
//! work. Nothing runs for longer than 50 ms between two checks, whatever was asked for and whatever
//! the data is (P13). A check is one atomic load, so it may stand in the innermost loop.

mod scan;
mod sort;

use std::io::{self, BufReader, Read};
use std::sync::Arc;
#[cfg(any(test, feature = "breakpoints"))]
use std::sync::atomic::AtomicU64;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

/// Bytes to process between two checks.
pub const STRIDE: usize = 64 << 10;

/// Bytes of JSON to parse without a check.
pub const AT_ONCE: usize = 1 << 20;

/// Tells whether a job is over. Clones share one token.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let token = evanesce::CancelToken::new();
/// assert!(!token.is_cancelled() && token.check().is_ok());
/// token.cancel();
/// assert!(token.check().is_err());
/// token.cancelled().await;
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<TokenState>);

#[derive(Debug, Default)]
struct TokenState {
    fired: AtomicBool,
    waiting: CancellationToken,
    /// The checks so far, and the check at which the token fires by itself; 0 = never.
    #[cfg(any(test, feature = "breakpoints"))]
    looks: (AtomicU64, AtomicU64),
}

/// The token has fired.
///
/// ```
/// let token = evanesce::CancelToken::new();
/// token.cancel();
/// assert_eq!(token.check(), Err(evanesce::TokenFired));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct TokenFired;

impl CancelToken {
    /// Creates a token that has not fired.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a token that fires by itself at that check, counted from 1.
    #[cfg(any(test, feature = "breakpoints"))]
    pub fn at_look(look: u64) -> Self {
        Self(Arc::new(TokenState {
            looks: (AtomicU64::new(0), AtomicU64::new(look)),
            ..TokenState::default()
        }))
    }

    /// Returns how often the token was checked.
    #[cfg(any(test, feature = "breakpoints"))]
    pub fn looks(&self) -> u64 {
        self.0.looks.0.load(Ordering::Relaxed)
    }

    /// Fires the token, for good.
    pub fn cancel(&self) {
        self.0.fired.store(true, Ordering::Release);
        self.0.waiting.cancel();
    }

    /// Returns whether the token has fired.
    pub fn is_cancelled(&self) -> bool {
        #[cfg(any(test, feature = "breakpoints"))]
        if self.0.looks.0.fetch_add(1, Ordering::Relaxed) + 1 == self.0.looks.1.load(Ordering::Relaxed) {
            self.cancel();
        }
        self.0.fired.load(Ordering::Acquire)
    }

    /// Fails if the token has fired, for use with `?`.
    ///
    /// # Errors
    /// Fails if the token has fired.
    pub fn check(&self) -> Result<(), TokenFired> {
        if self.is_cancelled() { Err(TokenFired) } else { Ok(()) }
    }

    /// Resolves when the token fires.
    pub async fn cancelled(&self) {
        self.0.waiting.cancelled().await;
    }

    /// Parses JSON. A long text is parsed with checks.
    ///
    /// # Errors
    /// Fails if the token has fired. The inner result fails if the text is malformed.
    pub(crate) fn parse<T: DeserializeOwned>(
        &self,
        text: &[u8],
    ) -> Result<serde_json::Result<T>, TokenFired> {
        let parsed = if text.len() <= AT_ONCE {
            serde_json::from_slice(text)
        } else {
            serde_json::from_reader(self.reader(text))
        };
        self.check().map(|()| parsed)
    }

    /// Reads `bytes` with a check at each [`STRIDE`], for parsers that do not check themselves.
    /// Every read fails once the token has fired.
    pub(crate) fn reader<'a>(&'a self, bytes: &'a [u8]) -> BufReader<impl Read + 'a> {
        BufReader::with_capacity(STRIDE, CancellableReader { rest: bytes, cancel: self })
    }
}

struct CancellableReader<'a> {
    rest: &'a [u8],
    cancel: &'a CancelToken,
}

impl Read for CancellableReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(io::Error::other)?;
        self.rest.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fires_for_all_its_clones_and_for_good() {
        let token = CancelToken::new();
        let clone = token.clone();
        assert_eq!(clone.check(), Ok(()));
        token.cancel();
        assert_eq!((clone.check(), token.is_cancelled()), (Err(TokenFired), true));
        assert_eq!(token.looks(), 3);
    }

    #[test]
    fn a_parser_is_stopped_within_a_stride() {
        let line = vec![b' '; 100 * STRIDE];
        let token = CancelToken::at_look(3);
        let read = |token: &CancelToken| token.reader(&line).bytes().take_while(Result::is_ok).count();
        assert_eq!(read(&token), 2 * STRIDE);
        assert_eq!(read(&CancelToken::new()), line.len());
    }
}
