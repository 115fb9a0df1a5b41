//! Preallocated files that are given up when there is no room: a deletion needs a little room in
//! the store before it frees a lot. The ballast keeps deletions going while the server runs; the
//! reserve, which also holds inodes, is for a start without room and for a rename that a quota
//! refuses.

use std::io;

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};

use crate::hooks::{HookStep, Hooks};

/// Size of the ballast in bytes.
pub const BALLAST_BYTES: u64 = 64 << 20;

const BALLAST: &str = "ballast";

/// Several files: where inodes are short, each gives one back.
const RESERVE: [&str; 4] = ["ballast.1", "ballast.2", "ballast.3", "ballast.4"];

/// Size of each file of the reserve in bytes.
const RESERVE_FILE_BYTES: u64 = 1 << 20;

/// Bytes that must be free before the reserve is made: deletions may be living on them.
pub const RESERVE_NEEDS_BYTES: u64 = 32 << 20;

/// Removes the ballast; true if there was one.
pub fn release(root: &Dir) -> io::Result<bool> {
    remove(root, BALLAST)
}

/// Removes the reserve; true if there was something of it.
pub fn release_reserve(root: &Dir) -> io::Result<bool> {
    RESERVE.iter().try_fold(false, |released, name| Ok(released | remove(root, name)?))
}

fn remove(root: &Dir, name: &str) -> io::Result<bool> {
    match rustix::fs::unlinkat(root, name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Whether the ballast is whole. One that is only begun is removed.
pub fn is_whole(root: &Dir) -> io::Result<bool> {
    check(root, BALLAST, BALLAST_BYTES)
}

/// Makes the ballast, which is missing.
pub fn make(root: &Dir, hooks: &Hooks) -> io::Result<()> {
    allocate(root, BALLAST, BALLAST_BYTES, || hooks.reach(HookStep::BallastMade))?;
    hooks.reach(HookStep::BallastRestored);
    Ok(())
}

/// Makes what is missing of the reserve.
pub fn make_reserve(root: &Dir) -> io::Result<()> {
    for name in RESERVE {
        if !check(root, name, RESERVE_FILE_BYTES)? {
            allocate(root, name, RESERVE_FILE_BYTES, || ())?;
        }
    }
    Ok(())
}

/// Whether all of the reserve is there.
pub fn has_reserve(root: &Dir) -> io::Result<bool> {
    RESERVE.iter().try_fold(true, |whole, name| Ok(whole && check(root, name, RESERVE_FILE_BYTES)?))
}

/// Its blocks tell, not its length: a process may have been killed while it made it.
fn check(root: &Dir, name: &str, bytes: u64) -> io::Result<bool> {
    match rustix::fs::statat(root, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if u64::try_from(stat.st_blocks).unwrap_or(0) * 512 >= bytes => Ok(true),
        Ok(_) => remove(root, name).map(|_| false),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

fn allocate(root: &Dir, name: &str, bytes: u64, made: impl FnOnce()) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(root, name, flags, Mode::RUSR | Mode::WUSR)?;
    made();
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes).or_else(|error| {
        remove(root, name)?;
        Err(error.into())
    })
}
