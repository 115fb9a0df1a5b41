//! The lock of a data directory: it belongs to one process at a time. A file that is removed or
//! replaced under its owner would let another process in: the owner then locks the new one too.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::plain_file::{LinkPolicy, open_with};

/// The name of the file in the data directory.
pub const FILE_NAME: &str = "LOCK";

/// How long the lock is waited for: a program that the host is just starting has copies of all
/// descriptors for a moment, those of an instance that has stopped as well.
const PATIENCE: Duration = Duration::from_millis(500);

/// The lock, held as long as it lives.
pub struct DirLock {
    data_dir: PathBuf,
    /// The last one is that which stands in the data directory.
    held: Mutex<Vec<File>>,
}

impl DirLock {
    /// Takes the lock; `None` if another process has it.
    pub fn take(data_dir: &Path) -> io::Result<Option<Self>> {
        let held = take(data_dir)?;
        Ok(held.map(|file| Self { data_dir: data_dir.into(), held: Mutex::new(vec![file]) }))
    }

    /// Returns whether the file is in its place. A missing one is created again and locked; false then,
    /// once.
    ///
    /// # Errors
    /// It cannot be made; `ResourceBusy` if another process has taken the data directory meanwhile.
    pub fn keep(&self) -> io::Result<bool> {
        let mut held = self.held.lock();
        let own = held.last().map(File::metadata).transpose()?;
        let there = std::fs::symlink_metadata(self.data_dir.join(FILE_NAME));
        if let (Some(own), Ok(there)) = (own, there)
            && (own.dev(), own.ino()) == (there.dev(), there.ino())
        {
            return Ok(true);
        }
        held.push(take(&self.data_dir)?.ok_or(io::ErrorKind::ResourceBusy)?);
        Ok(false)
    }
}

/// Takes the lock; it is held as long as the file lives. `None` if another process has it.
pub fn take(data_dir: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let path = data_dir.join(FILE_NAME);
    let options = options.write(true).create(true).truncate(false).mode(0o600);
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{FILE_NAME}: {error}"));
    let lock = open_with(options, &path, LinkPolicy::Refuse).map_err(named)?;
    let until = Instant::now() + PATIENCE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(Some(lock)),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}
