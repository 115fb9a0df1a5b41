//! The lock of a data directory: it belongs to one process at a time.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::plain_file::{Links, open_with};

/// The name of the file in the data directory.
pub const FILE_NAME: &str = "LOCK";

/// How long the lock is waited for: a program that the host is just starting has copies of all
/// descriptors for a moment, those of an instance that has stopped as well.
const PATIENCE: Duration = Duration::from_millis(500);

/// Takes the lock; it is held as long as the file lives. `None` if another process has it.
pub fn take(data_dir: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let path = data_dir.join(FILE_NAME);
    let options = options.write(true).create(true).truncate(false).mode(0o600);
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{FILE_NAME}: {error}"));
    let lock = open_with(options, &path, Links::Refuse).map_err(named)?;
    let until = Instant::now() + PATIENCE;
    loop {
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(lock)),
            Err(Errno::WOULDBLOCK) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}
