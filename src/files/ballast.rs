//! A preallocated file that is given up when the disk is full, so that a deletion, which
//! needs a little room in the store before it frees a lot, always works.

use std::io;
use std::os::fd::AsFd;

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};

use crate::hooks::{Hooks, Step};

/// Size of the ballast in bytes.
pub const BALLAST_BYTES: u64 = 64 << 20;

const NAME: &str = "ballast";

/// Bytes free for an unprivileged process on the file system of `file`.
pub fn free_bytes(file: impl AsFd) -> io::Result<u64> {
    let stat = rustix::fs::fstatvfs(file)?;
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

/// Makes the ballast if it is missing, or only begun, and twice its size is free.
pub fn restore(root: &Dir, hooks: &Hooks) -> io::Result<()> {
    match rustix::fs::statat(root, NAME, AtFlags::SYMLINK_NOFOLLOW) {
        // Its blocks tell, not its length: a process may have been killed while it made it.
        Ok(stat) if u64::try_from(stat.st_blocks).unwrap_or(0) * 512 >= BALLAST_BYTES => return Ok(()),
        Ok(_) => drop(release(root)?),
        Err(rustix::io::Errno::NOENT) => {}
        Err(e) => return Err(e.into()),
    }
    if free_bytes(root)? < 2 * BALLAST_BYTES {
        return Ok(());
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(root, NAME, flags, Mode::RUSR | Mode::WUSR)?;
    hooks.reach(Step::BallastMade);
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, BALLAST_BYTES) {
        Ok(()) => {
            hooks.reach(Step::BallastRestored);
            Ok(())
        }
        Err(e) => {
            release(root)?;
            Err(e.into())
        }
    }
}
