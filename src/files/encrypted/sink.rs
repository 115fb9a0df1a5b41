//! Writes an encrypted file. Text is gathered into frames; a full one is held back until it is known
//! whether another follows. What a call completes is written at once.

use std::io;

use super::frames::{FRAME_BYTES, FileKey, FrameHeader, FramePosition, HEADER_BYTES, TAG_BYTES, new_header};
use crate::files::{FilesError, OutputSink};
use crate::job::JobId;
use crate::keys::JobKey;

/// Bytes of text that are encrypted and written at once, so that the memory of a call is bounded.
const STRIDE: usize = 16 * FRAME_BYTES;

/// An encrypted file being written.
pub struct EncryptingSink {
    inner: Box<dyn OutputSink>,
    key: FileKey,
    /// The header or encrypted frames, then the text of the frame that is open.
    buffer: Vec<u8>,
    /// Where that text begins in the buffer.
    open: usize,
    /// The number of the open frame.
    n: u64,
    name: String,
}

impl EncryptingSink {
    /// Begins the job's file with this name.
    ///
    /// # Errors
    /// Fails if there is no randomness.
    pub fn new(inner: Box<dyn OutputSink>, key: &JobKey, job: JobId, name: &str) -> io::Result<Self> {
        let header = new_header()?;
        let key = FileKey::derive(key, job, name, &header)?;
        let name = format!("{job}/{name}");
        Ok(Self { inner, key, buffer: header.to_vec(), open: HEADER_BYTES, n: 0, name })
    }

    /// Appends text, and encrypts each frame that another byte follows.
    fn gather(&mut self, mut text: &[u8]) -> io::Result<()> {
        while !text.is_empty() {
            if self.buffer.len() - self.open == FRAME_BYTES {
                self.seal(false)?;
            }
            let (now, rest) = text.split_at(text.len().min(FRAME_BYTES - (self.buffer.len() - self.open)));
            self.buffer.extend_from_slice(now);
            text = rest;
        }
        Ok(())
    }

    fn seal(&mut self, is_last: bool) -> io::Result<()> {
        let tag = self.key.seal(FramePosition { n: self.n, is_last }, &mut self.buffer[self.open..])?;
        self.buffer.extend_from_slice(&tag);
        self.open = self.buffer.len();
        self.n += 1;
        Ok(())
    }

    /// Writes what is encrypted, and keeps the text of the open frame.
    fn write_sealed(&mut self) -> Result<(), FilesError> {
        if self.open > 0 {
            self.inner.write_all(&self.buffer[..self.open])?;
            self.buffer.copy_within(self.open.., 0);
            self.buffer.truncate(self.buffer.len() - self.open);
            self.open = 0;
        }
        Ok(())
    }
}

impl OutputSink for EncryptingSink {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), FilesError> {
        for stride in bytes.chunks(STRIDE) {
            self.gather(stride).map_err(FilesError::new("encrypt", &self.name))?;
            self.write_sealed()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), FilesError> {
        self.seal(true).map_err(FilesError::new("encrypt", &self.name))?;
        self.write_sealed()?;
        self.inner.finish()
    }
}

/// Encrypts a whole document.
///
/// # Errors
/// Fails if there is no randomness.
pub fn encrypt(key: &JobKey, job: JobId, name: &str, text: &[u8]) -> io::Result<Vec<u8>> {
    encrypt_with(&new_header()?, key, job, name, text)
}

/// Encrypts a whole document that has this header. No two texts may be given the same one.
pub(super) fn encrypt_with(
    header: &FrameHeader,
    key: &JobKey,
    job: JobId,
    name: &str,
    text: &[u8],
) -> io::Result<Vec<u8>> {
    let key = FileKey::derive(key, job, name, header)?;
    let mut stored =
        Vec::with_capacity(text.len() + HEADER_BYTES + TAG_BYTES * (text.len() / FRAME_BYTES + 1));
    stored.extend_from_slice(header);
    let mut frames = text.chunks(FRAME_BYTES).peekable();
    let (mut n, mut next) = (0, Some(frames.next().unwrap_or_default()));
    while let Some(frame) = next {
        let start = stored.len();
        stored.extend_from_slice(frame);
        next = frames.next();
        let tag = key.seal(FramePosition { n, is_last: next.is_none() }, &mut stored[start..])?;
        stored.extend_from_slice(&tag);
        n += 1;
    }
    Ok(stored)
}
