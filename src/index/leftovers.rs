//! Removes index files that nobody keeps up to date any more: those of tenants that are no longer
//! configured, and of the former layout, in which one index had the whole folder. They are derived
//! from patient data, so they go when an instance starts. Everything is found through directory
//! handles. No symbolic link is followed, and no name is removed that an index did not make (P6).

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::Path;

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{overlay, segment};
use crate::files::open_dir;
use crate::job::TenantId;
use crate::telemetry;

/// The folder of all indexes in the data directory.
pub const FOLDER: &str = "index";

/// Removes the index files of all tenants but `kept`. Failures are logged and counted, and the next
/// start tries again.
pub fn remove_leftovers(data_dir: &Path, kept: &HashSet<TenantId>) {
    match open_indexes(data_dir).and_then(|indexes| indexes.map(|dir| sweep(&dir, kept)).transpose()) {
        Ok(None | Some(0)) => {}
        Ok(Some(removed)) => tracing::info!(removed, "index files of no tenant were removed"),
        Err(error) => failed(FOLDER, &error),
    }
}

/// Opens the folder of all indexes, if it exists.
fn open_indexes(data_dir: &Path) -> io::Result<Option<Dir>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = Dir::from_std_file(File::from(rustix::fs::open(data_dir, flags, Mode::empty())?));
    match open_dir(&root, FOLDER) {
        Ok(dir) => Ok(Some(dir)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the number of removed files.
fn sweep(indexes: &Dir, kept: &HashSet<TenantId>) -> io::Result<u64> {
    let told = |name: &str, removed: io::Result<u64>| {
        removed.unwrap_or_else(|error| {
            failed(name, &error);
            0
        })
    };
    let of_nobody = |name: &String| name.parse().is_ok_and(|tenant| !kept.contains(&tenant));
    let folders = names(indexes, |kind| kind.is_dir())?.into_iter().filter(of_nobody);
    let in_folders: u64 = folders.map(|name| told(&name, remove_index(indexes, &name))).sum();
    Ok(in_folders + told(FOLDER, remove_files(indexes)))
}

/// Removes the index of one tenant. Its folder stays if it holds somebody else's files.
fn remove_index(indexes: &Dir, name: &str) -> io::Result<u64> {
    let removed = remove_files(&open_dir(indexes, name)?)?;
    match rustix::fs::unlinkat(indexes, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(removed),
        Err(error) => Err(error.into()),
    }
}

/// Removes the files of an index. Tries all before it returns the first error.
fn remove_files(index: &Dir) -> io::Result<u64> {
    let (mut removed, mut first) = (0, None);
    for name in names(index, |kind| kind.is_file())? {
        if name == overlay::FILE_NAME || segment::is_ours(&name) {
            match index.remove_file(&name) {
                Ok(()) => removed += 1,
                Err(error) => first = first.or(Some(error)),
            }
        }
    }
    first.map_or(Ok(removed), Err)
}

/// Returns the names of that kind in a folder. Names that are not UTF-8 are not ours.
fn names(dir: &Dir, is_wanted: impl Fn(cap_std::fs::FileType) -> bool) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in dir.entries()? {
        let entry = entry?;
        if is_wanted(entry.file_type()?) {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

fn failed(name: &str, error: &io::Error) {
    tracing::error!(name, %error, "index files of no tenant could not be removed; the next start tries again");
    telemetry::index_leftovers_failed();
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const SEGMENT: &str = "0123456789abcdef0123456789abcdef.segment";

    fn is_there(path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok()
    }

    #[test]
    fn p_6_only_what_an_index_made_goes_and_no_link_is_followed() {
        let data = tempfile::tempdir().unwrap();
        let index = data.path().join(FOLDER);
        let elsewhere = data.path().join("elsewhere");
        for folder in ["kept", "gone", "shared", "not a tenant", "overlay"] {
            fs::create_dir_all(index.join(folder)).unwrap();
            for file in ["overlay", SEGMENT] {
                fs::write(index.join(folder).join(file), "x").unwrap();
            }
        }
        fs::create_dir(&elsewhere).unwrap();
        for file in [elsewhere.join(SEGMENT), index.join("shared/README"), index.join(SEGMENT)] {
            fs::write(file, "x").unwrap();
        }
        fs::write(index.join("README"), "x").unwrap();
        symlink(&elsewhere, index.join("linked")).unwrap();
        symlink(elsewhere.join(SEGMENT), index.join(SEGMENT.replace("segment", "new"))).unwrap();
        let kept = HashSet::from(["kept".parse().unwrap(), "overlay".parse().unwrap()]);
        remove_leftovers(data.path(), &kept);

        for gone in [SEGMENT, "gone", "shared/overlay"] {
            assert!(!is_there(&index.join(gone)), "{gone}");
        }
        for left in ["README", "shared/README", "linked"] {
            assert!(is_there(&index.join(left)), "{left}");
        }
        for folder in ["kept", "not a tenant", "overlay"] {
            assert!(is_there(&index.join(folder).join(SEGMENT)), "{folder}");
        }
        assert!(is_there(&elsewhere.join(SEGMENT)));
    }

    #[test]
    fn p_6_a_folder_of_indexes_that_is_a_link_is_left_alone_and_one_that_is_missing_is_no_error() {
        let data = tempfile::tempdir().unwrap();
        remove_leftovers(data.path(), &HashSet::new());
        let elsewhere = data.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join(SEGMENT), "x").unwrap();
        symlink(&elsewhere, data.path().join(FOLDER)).unwrap();
        remove_leftovers(data.path(), &HashSet::new());
        assert!(is_there(&elsewhere.join(SEGMENT)));
    }
}
