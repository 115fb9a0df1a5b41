//! Preallocated files that are released when the disk is full, because a deletion needs a little room
//! in the store before it frees a lot. The ballast keeps deletions going while the server runs. The
//! reserve, which also holds inodes, is for a start without room and for a rename that a quota refuses.

use std::io;

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};

use crate::hooks::{HookStep, Hooks};

/// Size of the ballast in bytes.
pub const BALLAST_BYTES: u64 = 64 << 20;

const BALLAST: &str = "ballast";

/// Where inodes are short, each file gives one back.
const RESERVE: [&str; 4] = ["ballast.1", "ballast.2", "ballast.3", "ballast.4"];

/// Size of each file of the reserve in bytes.
const RESERVE_FILE_BYTES: u64 = 1 << 20;

/// Bytes that must be free before the reserve is made, because deletions may need them.
pub const RESERVE_NEEDS_BYTES: u64 = 32 << 20;

/// Removes the ballast. Returns whether there was one.
pub fn release(root: &Dir) -> io::Result<bool> {
    remove(root, BALLAST)
}

/// Removes the reserve. Returns whether there was any of it.
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

/// Returns whether the ballast is whole. A partial one is removed.
pub fn is_whole(root: &Dir) -> io::Result<bool> {
    check(root, BALLAST, BALLAST_BYTES)
}

/// Creates the missing ballast.
pub fn make(root: &Dir, hooks: &Hooks) -> io::Result<()> {
    allocate(root, BALLAST, BALLAST_BYTES, || hooks.reach(HookStep::BallastMade))?;
    hooks.reach(HookStep::BallastRestored);
    Ok(())
}

/// Creates what is missing of the reserve.
pub fn make_reserve(root: &Dir) -> io::Result<()> {
    for name in RESERVE {
        if !check(root, name, RESERVE_FILE_BYTES)? {
            allocate(root, name, RESERVE_FILE_BYTES, || ())?;
        }
    }
    Ok(())
}

/// Returns whether the reserve is whole.
pub fn has_reserve(root: &Dir) -> io::Result<bool> {
    RESERVE.iter().try_fold(true, |whole, name| Ok(whole && check(root, name, RESERVE_FILE_BYTES)?))
}

/// Looks at allocated blocks, not the length: a process may have been killed while making it.
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
