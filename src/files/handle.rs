//! Directory handles: opened by a name in their parent, following no link, fit to be synced.

use std::fs::File;
use std::io;

use cap_std::fs::Dir;
use rustix::fs::{Mode, OFlags};

const DIR_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory of `parent`. (Handles of cap-std's own making cannot be synced.)
pub fn open_dir(parent: &Dir, name: &str) -> io::Result<Dir> {
    let fd = rustix::fs::openat(parent, name, DIR_FLAGS, Mode::empty())?;
    Ok(Dir::from_std_file(File::from(fd)))
}

/// Makes a directory for its owner only.
pub fn make_dir(parent: &Dir, name: &str) -> io::Result<()> {
    Ok(rustix::fs::mkdirat(parent, name, Mode::RWXU)?)
}
