//! How much room there is, and who may take it. The file system's free space is not the only limit: a
//! quota (EDQUOT) may be nearer, which only an attempt shows. While one is used up, exports write
//! nothing until the ballast is whole again, because what it released is for deletions.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cap_std::fs::Dir;
use parking_lot::Mutex;

use super::ballast::{self, BALLAST_BYTES, RESERVE_NEEDS_BYTES};
use super::{CommitRoom, is_full};
use crate::hooks::{HookFault, HookStep, Hooks};

/// Bytes that exports leave free for commits and receipts, and so for deletions. The ballast is for
/// disks that others fill.
const LEFT_BYTES: u64 = 32 << 20;

/// Inodes that exports leave free, because a start needs some.
const FEW_INODES: u64 = 16;

/// The least time between two attempts. What an attempt took is given back, but some file systems
/// (btrfs) reuse it only after their next transaction.
const ATTEMPT_EVERY: Duration = Duration::from_millis(100);

/// The free space of one data directory.
pub struct Headroom {
    root: Dir,
    hooks: Hooks,
    /// Whether a quota is used up, which the file system does not report.
    short: AtomicBool,
    /// When the last successful attempt was made.
    attempted: Mutex<Option<Instant>>,
}

impl Headroom {
    /// Creates the view of the data directory with this handle.
    pub fn new(root: Dir, hooks: Hooks) -> Self {
        Self { root, hooks, short: AtomicBool::new(false), attempted: Mutex::new(None) }
    }

    /// Returns the free bytes that the file system reports, or 0 while a quota is used up.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let free = self.measure()?;
        Ok(if self.short.load(Ordering::Acquire) { 0 } else { free })
    }

    /// Returns whether an export may write so many bytes. If that is unknown, the write itself will
    /// tell.
    pub fn admits(&self, bytes: u64) -> bool {
        !self.short.load(Ordering::Acquire)
            && free_of(&self.root).map_or(true, |free| free >= LEFT_BYTES.saturating_add(bytes))
    }

    /// Notes the error of a write. A used-up quota leaves nothing for deletions, so the ballast is
    /// released at once.
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

    /// Releases the ballast if fewer than `needed` bytes are free.
    pub fn make(&self, needed: u64) -> io::Result<CommitRoom> {
        if self.has(needed)? {
            return Ok(CommitRoom::There);
        }
        let released = self.give_up(ballast::release)?;
        self.hooks.reach(HookStep::BallastReleased);
        Ok(if released { CommitRoom::Made } else { CommitRoom::None })
    }

    /// Releases the ballast and the reserve. Returns false if there was nothing to release.
    pub fn give_up_all(&self) -> io::Result<bool> {
        let ballast = self.give_up(ballast::release)?;
        Ok(self.give_up(ballast::release_reserve)? || ballast)
    }

    /// Remembers that a quota is used up. That the file system is full, everybody sees.
    fn give_up(&self, release: impl FnOnce(&Dir) -> io::Result<bool>) -> io::Result<bool> {
        if free_of(&self.root).is_ok_and(|free| free >= LEFT_BYTES) {
            self.short.store(true, Ordering::Release);
        }
        release(&self.root)
    }

    /// Restores missing reserve and ballast if there is room for twice their size.
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

    /// Returns whether so many bytes are free and can be allocated.
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

    /// Allocates so many bytes in an unnamed file and frees them. Returns false only if there was no
    /// room.
    fn can_allocate(&self, bytes: u64) -> bool {
        let attempt = attempt(&self.root, bytes);
        !attempt.is_err_and(|error| is_full(&error) && error.kind() != io::ErrorKind::FileTooLarge)
    }
}

/// Returns the bytes free for an unprivileged process on the data directory's file system.
fn free_of(root: &Dir) -> io::Result<u64> {
    let stat = rustix::fs::fstatvfs(root)?;
    Ok(stat.f_bavail * stat.f_frsize)
}

/// Returns whether the file system has inodes for only a few more files. Some do not count them.
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
