//! Reads at an offset, whatever the file is stored as.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;

use rustix::fs::Advice;

/// Content of a known length that several readers can read at any offset at once.
pub trait ReadAt: Send + Sync {
    /// Reads into `buffer` from `offset` and returns the number of bytes read, 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Returns the length of the content in bytes.
    ///
    /// # Errors
    /// Fails if it cannot be told.
    fn length(&self) -> io::Result<u64>;

    /// Hints that these bytes are no longer needed in memory.
    fn drop_pages(&self, _start: u64, _end: u64) {}

    /// Fills `buffer` from `offset`, as far as there are bytes, and returns how many were read.
    fn read_full_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(filled)
    }
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn drop_pages(&self, start: u64, end: u64) {
        if let Some(length) = NonZeroU64::new(end.saturating_sub(start)) {
            // An advice that the system does not take is none of our business.
            let _ = rustix::fs::fadvise(self, start, Some(length), Advice::DontNeed);
        }
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|start| self.get(start..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}
