//! Permissions in the data directory: for its owner alone, 0700 and 0600.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A name that others than its owner may open.
pub struct OpenName {
    /// The path.
    pub path: PathBuf,
    /// Its mode.
    pub mode: u32,
}

impl OpenName {
    /// Removes the permissions of everybody but the owner.
    pub fn close(&self) -> io::Result<()> {
        match fs::set_permissions(&self.path, Permissions::from_mode(self.mode & 0o700)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

/// Returns what others may open at `path` and below it. No symbolic link is followed, and names that
/// vanish meanwhile are skipped.
///
/// # Errors
/// Fails if a name cannot be examined.
pub fn open_to_others(path: &Path) -> io::Result<Vec<OpenName>> {
    let mut found = Vec::new();
    match look(path, &mut found) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(found),
    }
}

fn look(path: &Path, found: &mut Vec<OpenName>) -> io::Result<()> {
    let stat = fs::symlink_metadata(path)?;
    let mode = stat.permissions().mode() & 0o7777;
    // The mode of a symbolic link says nothing, and what it leads to is not ours.
    if !stat.is_symlink() && mode & 0o077 != 0 {
        found.push(OpenName { path: path.into(), mode });
    }
    if stat.is_dir() {
        for entry in fs::read_dir(path)? {
            match look(&entry?.path(), found) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                looked => looked?,
            }
        }
    }
    Ok(())
}

/// Closes a folder, but nothing in it, to all but its owner. Somebody else may have made it, or a
/// backup. If it belongs to somebody else, the error is only logged.
pub fn close_folder(folder: &Path) {
    let close = || -> io::Result<()> {
        let mode = fs::metadata(folder)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            tracing::warn!(mode = format!("{mode:04o}"), "the data directory was open to others");
            fs::set_permissions(folder, Permissions::from_mode(mode & 0o700))?;
        }
        Ok(())
    };
    if let Err(error) = close() {
        tracing::error!(%error, "the data directory cannot be closed to others");
    }
}

/// Closes a folder, and all in it, to all but the owner.
///
/// # Errors
/// Fails if a name cannot be examined or changed.
pub fn close_modes(folder: &Path) -> io::Result<()> {
    open_to_others(folder)?.iter().try_for_each(OpenName::close)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_is_closed_to_its_ground_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let set = |name: &str, mode| fs::set_permissions(path(name), Permissions::from_mode(mode)).unwrap();
        let mode = |name: &str| fs::metadata(path(name)).unwrap().permissions().mode() & 0o7777;
        fs::create_dir_all(path("store/blobs")).unwrap();
        for name in ["outside", "store/db", "store/blobs/1"] {
            fs::write(path(name), "x").unwrap();
            set(name, 0o644);
        }
        symlink(path("outside"), path("store/link")).unwrap();
        set("store", 0o755);
        set("store/blobs", 0o777);
        close_modes(&path("store")).unwrap();
        let modes = ["store", "store/blobs", "store/db", "store/blobs/1", "outside"].map(mode);
        assert_eq!(modes, [0o700, 0o700, 0o600, 0o600, 0o644]);
        close_modes(&path("missing")).unwrap();
    }
}
