//! A preallocated file that is given up when the disk is full, so that a deletion, which
//! needs a little room in the store before it frees a lot, always works.

use std::io;

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};

/// Size of the ballast in bytes.
pub const BALLAST_BYTES: u64 = 64 << 20;

const NAME: &str = "ballast";

/// Bytes free for an unprivileged process on the file system of `root`.
pub fn free_bytes(root: &Dir) -> io::Result<u64> {
    let stat = rustix::fs::fstatvfs(root)?;
    Ok(stat.f_bavail * stat.f_frsize)
}

/// Removes the ballast; true if there was one.
pub fn release(root: &Dir) -> io::Result<bool> {
    match rustix::fs::unlinkat(root, NAME, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Makes the ballast if it is missing and twice its size is free.
pub fn restore(root: &Dir) -> io::Result<()> {
    if root.symlink_metadata(NAME).is_ok() || free_bytes(root)? < 2 * BALLAST_BYTES {
        return Ok(());
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(root, NAME, flags, Mode::RUSR | Mode::WUSR)?;
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, BALLAST_BYTES) {
        Ok(()) => Ok(()),
        Err(e) => {
            release(root)?;
            Err(e.into())
        }
    }
}
