//! How much room there is, and who may take it. What the file system says is free is not all: a
//! quota may be nearer (EDQUOT), of which only an attempt tells. While one is used up, exports write
//! nothing until the ballast is whole again: what it gave back is for deletions.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cap_std::fs::Dir;
use parking_lot::Mutex;

use super::ballast::{self, BALLAST_BYTES, RESERVE_NEEDS_BYTES};
use super::{CommitRoom, is_full};
use crate::hooks::{HookFault, HookStep, Hooks};

/// Bytes that exports leave free: commits, receipts and so deletions need a little, and would
/// else have to live on the ballast that is for disks which others fill.
const LEFT_BYTES: u64 = 32 << 20;

/// Inodes that are left alone: a start needs some of them.
const FEW_INODES: u64 = 16;

/// An attempt is made this often at the most: what it took is given back, but some file
/// systems (btrfs) use it again only after their next transaction.
const ATTEMPT_EVERY: Duration = Duration::from_millis(100);

/// The room of one data directory.
pub struct Headroom {
    root: Dir,
    hooks: Hooks,
    /// Whether a quota is used up that the file system does not tell of.
    short: AtomicBool,
    /// When an attempt succeeded last.
    attempted: Mutex<Option<Instant>>,
}

impl Headroom {
    /// Of the data directory with this handle.
    pub fn new(root: Dir, hooks: Hooks) -> Self {
        Self { root, hooks, short: AtomicBool::new(false), attempted: Mutex::new(None) }
    }

    /// Bytes free, as far as the file system tells; 0 while a quota is used up.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let free = self.measure()?;
        Ok(if self.short.load(Ordering::Acquire) { 0 } else { free })
    }

    /// Whether an export may write so many bytes. If nobody can tell, the write itself will.
    pub fn admits(&self, bytes: u64) -> bool {
        !self.short.load(Ordering::Acquire)
            && free_of(&self.root).map_or(true, |free| free >= LEFT_BYTES.saturating_add(bytes))
    }

    /// Takes note of an error of a write: a quota that is used up leaves nothing for deletions, so
    /// the ballast goes at once.
    pub fn note(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::QuotaExceeded {
            match self.give_up(ballast::release) {
                Ok(true) => {
                    tracing::warn!(%error, "the ballast was given up so that deletions go on working")
                }
                Ok(false) => {}
                Err(failed) => tracing::warn!(%failed, "the ballast could not be given up"),
            }
        }
    }

    /// Sees to it that `needed` bytes are free, if the ballast can do that.
    pub fn make(&self, needed: u64) -> io::Result<CommitRoom> {
        if self.has(needed)? {
            return Ok(CommitRoom::There);
        }
        let released = self.give_up(ballast::release)?;
        self.hooks.reach(HookStep::BallastReleased);
        Ok(if released { CommitRoom::Made } else { CommitRoom::None })
    }

    /// Gives up the ballast and the reserve; false if there is nothing of them.
    pub fn give_up_all(&self) -> io::Result<bool> {
        let ballast = self.give_up(ballast::release)?;
        Ok(self.give_up(ballast::release_reserve)? || ballast)
    }

    /// Whether the file system is full is seen by everybody; that a quota is used up is
    /// remembered.
    fn give_up(&self, release: impl FnOnce(&Dir) -> io::Result<bool>) -> io::Result<bool> {
        if free_of(&self.root).is_ok_and(|free| free >= LEFT_BYTES) {
            self.short.store(true, Ordering::Release);
        }
        release(&self.root)
    }

    /// Makes reserve and ballast again if they are missing and there is room for them twice over.
    pub fn restore(&self) -> io::Result<()> {
        let free = free_of(&self.root)?;
        if has_few_inodes(&self.root)? {
            // They may be needed for more than to be kept.
            return Ok(());
        }
        if !ballast::has_reserve(&self.root)? && free >= RESERVE_NEEDS_BYTES && self.can_allocate(LEFT_BYTES)
        {
            ballast::make_reserve(&self.root)?;
        }
        let is_short = if ballast::is_whole(&self.root)? {
            false
        } else if free < 2 * BALLAST_BYTES {
            // So small a disk may never have had one; exports leave the last bytes alone anyway.
            self.short.load(Ordering::Acquire) && !self.can_allocate(LEFT_BYTES)
        } else if self.can_allocate(2 * BALLAST_BYTES) {
            ballast::make(&self.root, &self.hooks)?;
            false
        } else {
            true
        };
        self.short.store(is_short, Ordering::Release);
        Ok(())
    }

    fn measure(&self) -> io::Result<u64> {
        self.hooks.fault(HookFault::Statvfs)?;
        free_of(&self.root)
    }

    /// Whether so many bytes are free and can be had.
    fn has(&self, bytes: u64) -> io::Result<bool> {
        if self.measure()? < bytes {
            return Ok(false);
        }
        let mut attempted = self.attempted.lock();
        if attempted.is_some_and(|last| last.elapsed() < ATTEMPT_EVERY) {
            return Ok(true);
        }
        *attempted = self.can_allocate(bytes).then(Instant::now);
        Ok(attempted.is_some())
    }

    /// Allocates so many bytes in a file without a name and gives them back; false only if that
    /// fails for want of room.
    fn can_allocate(&self, bytes: u64) -> bool {
        let attempt = attempt(&self.root, bytes);
        !attempt.is_err_and(|error| is_full(&error) && error.kind() != io::ErrorKind::FileTooLarge)
    }
}

/// Bytes free for an unprivileged process on the file system of the data directory.
fn free_of(root: &Dir) -> io::Result<u64> {
    let stat = rustix::fs::fstatvfs(root)?;
    Ok(stat.f_bavail * stat.f_frsize)
}

/// Whether the file system has inodes for a few more files only; some do not count them.
fn has_few_inodes(root: &Dir) -> io::Result<bool> {
    let stat = rustix::fs::fstatvfs(root)?;
    Ok(stat.f_files > 0 && stat.f_favail < FEW_INODES)
}

#[cfg(target_os = "linux")]
fn attempt(root: &Dir, bytes: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, fstatfs, openat};
    /// statfs(2). What is allocated there is memory that would be filled with zeros, and what
    /// it says is free is the truth; an inode is all that has to be tried.
    const TMPFS_MAGIC: u32 = 0x0102_1994;
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = openat(root, ".", flags, Mode::RUSR | Mode::WUSR)?;
    if u32::try_from(fstatfs(&file)?.f_type) == Ok(TMPFS_MAGIC) {
        return Ok(());
    }
    Ok(fallocate(&file, FallocateFlags::empty(), 0, bytes)?)
}

/// There are no files without a name: what is free has to be believed.
#[cfg(not(target_os = "linux"))]
fn attempt(_root: &Dir, _bytes: u64) -> io::Result<()> {
    Ok(())
}
