//! The file that a chain is appended to. Only whole entries count: what a failed write or a crash left
//! of one is cut off before the next. Its name is watched, because entries that go to a removed,
//! replaced or truncated file are found by nobody.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use crate::plain_file::{LinkPolicy, open_with};

/// A file that is appended to.
pub struct AppendFile {
    file: Arc<File>,
    /// The length of the whole entries.
    bytes: u64,
    /// Whether a part of an entry may follow them.
    is_torn: bool,
}

impl AppendFile {
    /// Creates a file for its owner only (0600).
    ///
    /// # Errors
    /// Fails if the name exists.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self::of(options().create_new(true).open(path)?, 0))
    }

    /// Opens a file whose first `bytes` are whole entries, and creates it if `bytes` is 0. What follows
    /// them is torn and is cut off. Returns how many bytes were cut off.
    ///
    /// # Errors
    /// Fails if the file is shorter, is not a regular file or cannot be opened.
    pub fn open(path: &Path, bytes: u64) -> io::Result<(Self, u64)> {
        let file = open_with(options().create(bytes == 0), path, LinkPolicy::Refuse)?;
        let torn = file.metadata()?.len().checked_sub(bytes).ok_or(io::ErrorKind::UnexpectedEof)?;
        if torn > 0 {
            file.set_len(bytes)?;
        }
        Ok((Self::of(file, bytes), torn))
    }

    fn of(file: File, bytes: u64) -> Self {
        Self { file: Arc::new(file), bytes, is_torn: false }
    }

    /// Puts another open file in place of this one, such as one that cannot be written.
    #[cfg(test)]
    pub fn swap(&mut self, file: Arc<File>) -> Arc<File> {
        std::mem::replace(&mut self.file, file)
    }

    /// Appends with one write. The content is durable after a [sync](Self::sync).
    ///
    /// # Errors
    /// Fails if the file cannot be written. What was written is cut off, at the latest before the next
    /// append.
    pub fn append(&mut self, content: &[u8]) -> io::Result<()> {
        self.write(|mut file| file.write_all(content).map(|()| content.len() as u64)).map(drop)
    }

    /// Appends all that `from` yields, and returns the number of bytes.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_from(&mut self, from: &mut impl Read) -> io::Result<u64> {
        self.write(|mut file| io::copy(from, &mut file))
    }

    fn write(&mut self, write: impl FnOnce(&File) -> io::Result<u64>) -> io::Result<u64> {
        self.cut_torn()?;
        self.is_torn = true;
        let written = write(&self.file);
        match &written {
            Ok(bytes) => (self.bytes, self.is_torn) = (self.bytes + bytes, false),
            Err(_) => drop(self.cut_torn()),
        }
        written
    }

    fn cut_torn(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.bytes)?;
            self.is_torn = false;
        }
        Ok(())
    }

    /// Makes appended content durable. Blocks. After an error it is unknown what is durable.
    ///
    /// # Errors
    /// Fails with the error of the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Returns the open file, which can be synced and read at an offset during appends.
    pub fn handle(&self) -> &Arc<File> {
        &self.file
    }

    /// Returns the length of the whole entries.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns whether the file still has this name and the length that it was left with.
    pub fn stands_at(&self, path: &Path) -> bool {
        let as_long = |length: u64| if self.is_torn { length >= self.bytes } else { length == self.bytes };
        std::fs::symlink_metadata(path).is_ok_and(|there| self.is(&there) && as_long(there.len()))
    }

    /// Returns whether this is the metadata of the same file.
    pub fn is(&self, other: &Metadata) -> bool {
        self.file.metadata().is_ok_and(|open| (open.dev(), open.ino()) == (other.dev(), other.ino()))
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failed_append_left_is_cut_off_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut file = AppendFile::create(&path).unwrap();
        file.append(b"one\n").unwrap();
        // As a write that came to half its end.
        (&*file.file).write_all(b"tw").unwrap();
        file.is_torn = true;
        assert!(file.stands_at(&path));
        file.append(b"three\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\nthree\n");
        assert_eq!(file.bytes(), 10);
    }

    #[test]
    fn a_torn_end_is_cut_off_at_the_next_start_and_what_is_missing_is_not_made_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "one\ntw").unwrap();
        let (mut file, torn) = AppendFile::open(&path, 4).unwrap();
        assert_eq!(torn, 2);
        file.append(b"two\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
        assert!(AppendFile::open(&path, 9).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
        assert!(AppendFile::open(&folder.path().join("none"), 4).is_err());
    }

    #[test]
    fn a_file_that_was_removed_replaced_or_cut_does_not_stand() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut file = AppendFile::create(&path).unwrap();
        file.append(b"one\n").unwrap();
        assert!(file.stands_at(&path));
        file.file.set_len(3).unwrap();
        assert!(!file.stands_at(&path), "cut");
        std::fs::write(&path, "one\n").unwrap();
        assert!(file.stands_at(&path));
        let other = folder.path().join("other");
        std::fs::rename(&path, &other).unwrap();
        assert!(!file.stands_at(&path), "removed");
        std::fs::write(&path, "").unwrap();
        assert!(!file.stands_at(&path), "replaced");
        assert!(file.stands_at(&other));
    }
}
