//! Directory handles, opened by name in their parent without following links, so that they can be
//! synced; and the names in a directory.

use std::fs::File;
use std::io;

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

const DIR_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory of `parent`. (Handles of cap-std's own making cannot be synced.)
pub fn open_dir(parent: &Dir, name: &str) -> io::Result<Dir> {
    let fd = rustix::fs::openat(parent, name, DIR_FLAGS, Mode::empty())?;
    Ok(Dir::from_std_file(File::from(fd)))
}

/// Creates a directory for its owner only.
pub fn make_dir(parent: &Dir, name: &str) -> io::Result<()> {
    Ok(rustix::fs::mkdirat(parent, name, Mode::RWXU)?)
}

/// Lists the names in a directory, and whether each is a directory. A name that is not UTF-8 is not
/// ours and is converted lossily.
pub fn names(dir: &Dir) -> io::Result<Vec<(String, bool)>> {
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

/// Returns whether a name is that of a directory. A missing name is not.
pub fn is_dir(parent: &Dir, name: impl rustix::path::Arg) -> io::Result<bool> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}
