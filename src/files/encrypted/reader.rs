//! Reads an encrypted file at any offset. Each frame is checked before a byte of it is given out.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use super::frames::{
    FRAME_BYTES, FileKey, FramePosition, HEADER_BYTES, STORED_FRAME_BYTES, TAG_BYTES, damaged, frame_count,
    frame_start, text_length,
};
use crate::files::ReadAt;
use crate::job::JobId;
use crate::keys::JobKey;

thread_local! {
    /// One stored frame.
    static STORED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An open encrypted file. Its [`ReadAt`] reads the text.
pub struct DecryptingReader {
    inner: Arc<dyn ReadAt>,
    key: FileKey,
    /// Bytes of its text.
    text: u64,
    /// The number of the last frame.
    last: u64,
}

impl DecryptingReader {
    /// Opens the job's file with this name.
    ///
    /// # Errors
    /// Fails with `InvalidData` if it is not an encrypted file, or has a length that none has. Its text is
    /// checked when it is read.
    pub fn open(inner: Arc<dyn ReadAt>, key: &JobKey, job: JobId, name: &str) -> io::Result<Self> {
        let text = text_length(inner.length()?).ok_or_else(|| damaged("no encrypted file has its length"))?;
        let mut header = [0; HEADER_BYTES];
        if inner.read_full_at(&mut header, 0)? < HEADER_BYTES {
            return Err(damaged("it ends in its header"));
        }
        let key = FileKey::derive(key, job, name, &header)?;
        let reader = Self { inner, key, text, last: frame_count(text) - 1 };
        if text == 0 {
            // No read will look at its frame, which says that nothing was cut off.
            reader.read_frame(0, &mut [])?;
        }
        Ok(reader)
    }

    /// Decrypts frame `n` into `text`, which has the length of its text.
    fn read_frame(&self, n: u64, text: &mut [u8]) -> io::Result<()> {
        let position = FramePosition { n, is_last: n == self.last };
        STORED.with_borrow_mut(|stored| {
            stored.resize(STORED_FRAME_BYTES, 0);
            let stored = &mut stored[..text.len() + TAG_BYTES];
            if self.inner.read_full_at(stored, frame_start(n))? < stored.len() {
                return Err(damaged(format!("it ends in frame {n}")));
            }
            self.key.open(position, stored, text)
        })
    }

    /// Returns the bytes of the text of frame `n`.
    fn frame_length(&self, n: u64) -> usize {
        let rest = self.text - n * FRAME_BYTES as u64;
        usize::try_from(rest).map_or(FRAME_BYTES, |rest| rest.min(FRAME_BYTES))
    }
}

impl ReadAt for DecryptingReader {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() && offset + (filled as u64) < self.text {
            let at = offset + filled as u64;
            let (n, skip) = (at / FRAME_BYTES as u64, (at % FRAME_BYTES as u64) as usize);
            let length = self.frame_length(n);
            let rest = &mut buffer[filled..];
            if skip == 0 && rest.len() >= length {
                self.read_frame(n, &mut rest[..length])?;
                filled += length;
            } else {
                let mut text = vec![0; length];
                self.read_frame(n, &mut text)?;
                let part = &text[skip..length.min(skip + rest.len())];
                rest[..part.len()].copy_from_slice(part);
                filled += part.len();
            }
        }
        Ok(filled)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.text)
    }

    fn drop_pages(&self, start: u64, end: u64) {
        let frame = FRAME_BYTES as u64;
        self.inner.drop_pages(frame_start(start / frame), frame_start(end.div_ceil(frame)));
    }
}

/// Decrypts a whole document.
///
/// # Errors
/// Fails with `InvalidData` if it is not what was written under that name.
pub fn decrypt(key: &JobKey, job: JobId, name: &str, stored: Vec<u8>) -> io::Result<Vec<u8>> {
    let reader = DecryptingReader::open(Arc::new(stored), key, job, name)?;
    let mut text = vec![0; usize::try_from(reader.text).map_err(io::Error::other)?];
    reader.read_full_at(&mut text, 0)?;
    Ok(text)
}
