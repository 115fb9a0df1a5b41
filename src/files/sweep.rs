//! Removing a job's directory: unlink every file, then the directory, until it is gone. A
//! writer's handle follows the rename to `trash/` and may have made one more name, so the
//! listing starts over until the rmdir succeeds (P3).

use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::AddAssign;

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::Swept;
use super::handle::open_dir;
use crate::hooks::{Fault, Hooks, Step};

/// Unlinking files that hold data waits on the device; more than this many at once are no faster.
const IN_FLIGHT: usize = 4;

/// Listings before giving up for this time: a writer that is out makes no more names.
const ROUNDS: usize = 16;

impl AddAssign for Swept {
    fn add_assign(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.planted_links += other.planted_links;
    }
}

/// The names in a directory, and whether each is that of a directory. A name that is not UTF-8 is
/// none of ours and is shown lossily.
pub fn names(dir: &Dir, hooks: &Hooks) -> io::Result<Vec<(String, bool)>> {
    hooks.fault(Fault::Readdir)?;
    let mut names = Vec::new();
    for entry in dir.entries()? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        // Some file systems do not say what a name is when they list it.
        let is_told = kind.is_dir() || kind.is_file() || kind.is_symlink();
        let is_dir = if is_told { kind.is_dir() } else { is_dir(dir, &name)? };
        names.push((name.to_string_lossy().into_owned(), is_dir));
    }
    Ok(names)
}

/// Whether a name is that of a directory; of one that is not there it is not.
pub fn is_dir(parent: &Dir, name: impl rustix::path::Arg) -> io::Result<bool> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Unlinks every file of `parent/name` and removes the directory.
pub fn remove_dir(parent: &Dir, name: &str, hooks: &Hooks, swept: &mut Swept) -> io::Result<()> {
    let dir = match hooks.fault(Fault::Open).and_then(|()| open_dir(parent, name)) {
        Ok(dir) => dir,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for _ in 0..ROUNDS {
        remove_files(&dir, hooks, |_| true, swept)?;
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {
                hooks.reach(Step::DirectoryRemoved);
                return Ok(());
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Err(Errno::NOTEMPTY.into())
}

/// Unlinks the files of a directory whose name is `chosen`, a few at a time. All are tried;
/// the error is that of one that could not be removed. A directory in it is nothing that this
/// server made: it stays, and the error says so.
pub fn remove_files(
    dir: &Dir,
    hooks: &Hooks,
    chosen: impl Fn(&str) -> bool,
    swept: &mut Swept,
) -> io::Result<()> {
    hooks.fault(Fault::Readdir)?;
    let names: Vec<_> = dir.entries()?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    let names: Vec<_> = names.into_iter().filter(|name| chosen(&name.to_string_lossy())).collect();
    let unlink_all = |names: &[OsString]| {
        let (mut swept, mut result) = (Swept::default(), Ok(()));
        for name in names {
            match unlink(dir, name, hooks) {
                Ok(one) => swept += one,
                Err(e) => result = Err(e),
            }
        }
        (swept, result)
    };
    let parts = if names.len() <= IN_FLIGHT {
        vec![unlink_all(&names)]
    } else {
        std::thread::scope(|scope| {
            let chunks = names.chunks(names.len().div_ceil(IN_FLIGHT));
            let threads: Vec<_> = chunks.map(|chunk| scope.spawn(move || unlink_all(chunk))).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect()
        })
    };
    for (part, _) in &parts {
        *swept += *part;
    }
    parts.into_iter().try_for_each(|(_, result)| result)
}

fn unlink(dir: &Dir, name: &OsStr, hooks: &Hooks) -> io::Result<Swept> {
    hooks.fault(Fault::Unlink)?;
    let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(Swept::default()),
        Err(e) => return Err(e.into()),
    };
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(Swept::default()),
        Err(e) => return Err(e.into()),
    }
    hooks.reach(Step::FileUnlinked);
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    Ok(Swept {
        files: 1,
        bytes: if is_file { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
        planted_links: u64::from(is_file && stat.st_nlink > 1),
    })
}
