//! A data directory on an image that can be read behind the back of its file system.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::Findings;
use super::scan::{Needles, Where};
use crate::support::{Mounted, Need, Setup, run, scratch, skip};

/// The kinds of file systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    Ext4,
    Xfs,
    Btrfs,
}

/// An image, and its mount, which goes first.
pub struct RawDisk {
    _mount: Mounted,
    image: TempDir,
    pub setup: Setup,
}

impl RawDisk {
    /// A new one, or `None`, and said loudly, where images cannot be made or mounted.
    pub fn new(kind: FileSystem, what: &str) -> Option<Self> {
        Self::try_new(kind).inspect_err(|why| skip(Need::LoopDevice, what, why)).ok()
    }

    fn try_new(kind: FileSystem) -> Result<Self, String> {
        let (name, make): (_, &[&str]) = match kind {
            FileSystem::Ext4 => ("ext4", &["mkfs.ext4", "-q"]),
            FileSystem::Xfs => ("xfs", &["mkfs.xfs", "-q"]),
            FileSystem::Btrfs => ("btrfs", &["mkfs.btrfs", "-q"]),
        };
        let setup = Setup::new();
        let image = scratch();
        let path = image.path().join("disk");
        run(Command::new("truncate").args(["--size", "320M"]).arg(&path))?;
        run(Command::new(make[0]).args(&make[1..]).arg(&path))?;
        std::fs::create_dir(setup.data_dir()).map_err(|e| e.to_string())?;
        let mount = Mounted::new(&["-t", name, "-o", "loop", path.to_str().unwrap()], &setup.data_dir())?;
        Ok(Self { _mount: mount, image, setup })
    }

    /// Returns the path of the image.
    pub fn image(&self) -> PathBuf {
        self.image.path().join("disk")
    }

    /// Has all that the file system holds written to the image: what a thief may hope for.
    pub fn write_out(&self) {
        run(Command::new("sync").arg("--file-system").arg(self.setup.data_dir())).unwrap();
    }

    /// Looks at every block, and at every file by its name.
    pub fn scan(&self, needles: &Needles) -> Findings {
        self.write_out();
        let mut found = Findings::new();
        let mut in_files = BTreeMap::<_, usize>::new();
        let data_dir = self.setup.data_dir();
        for path in files_of(&data_dir) {
            let name = path.strip_prefix(&data_dir).unwrap().to_string_lossy().into_owned();
            for (what, _) in needles.count(name.as_bytes()) {
                found.insert((what, Where::Name(name.clone())), 1);
            }
            for (what, count) in needles.count_file(&path) {
                *in_files.entry(what).or_default() += count;
                *found.entry((what, Where::File(kind_of(&name)))).or_default() += count;
            }
        }
        for (what, count) in needles.count_file(&self.image()) {
            let elsewhere = count.saturating_sub(in_files.get(what).copied().unwrap_or_default());
            if elsewhere > 0 {
                found.insert((what, Where::NoFile), elsewhere);
            }
        }
        found
    }
}

/// Returns the name of a file without what is random in it.
fn kind_of(name: &str) -> String {
    let parts: Vec<_> = name.split('/').collect();
    match parts[..] {
        [place @ ("building" | "ready" | "trash"), _, file] => {
            let is_output = file.split('.').any(|part| part.starts_with("ndjson"));
            format!("{place}/<job>/{}", if is_output { "<output>" } else { file })
        }
        ["index", tenant, file] => {
            let kind = file.rsplit_once('.').map_or("", |(_, kind)| kind);
            format!("index/{tenant}/*.{kind}")
        }
        _ => name.to_owned(),
    }
}

/// Returns all files below a folder.
pub fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        // A file may go while it is looked at.
        let path = entry.unwrap().path();
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => files.extend(files_of(&path)),
            Ok(found) if found.is_file() => files.push(path),
            _ => {}
        }
    }
    files
}
