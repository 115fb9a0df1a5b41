//! What stands on disk, seen by walking it, and copies of it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::eventually;

/// What stands on disk, seen by walking it.
pub struct Disk(pub PathBuf);

impl Disk {
    /// All files below `building/`, `ready/` and `trash/`, relative to the data directory.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for place in ["building", "ready", "trash"] {
            walk(&self.0.join(place), &mut files);
        }
        files.iter().map(|file| file.strip_prefix(&self.0).unwrap().to_owned()).collect()
    }

    /// The job directories of a place.
    pub fn jobs(&self, place: &str) -> Vec<String> {
        let names = std::fs::read_dir(self.0.join(place)).unwrap();
        let mut names: Vec<_> = names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Whether any place has something of the job.
    pub fn has(&self, job: &str) -> bool {
        ["building", "ready", "trash"]
            .iter()
            .any(|place| self.jobs(place).iter().any(|name| name.starts_with(job)))
    }

    pub fn wait_gone(&self, job: &str) {
        eventually("the directory to go", || (!self.has(job)).then_some(()));
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}

pub fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Copies a folder with all files that are in it; a socket is none.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else if from.is_file() {
            std::fs::copy(from, to).unwrap();
        }
    }
}
