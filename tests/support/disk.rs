//! What stands on disk, seen by walking it, and copies of it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use evanesce::config::Config;
use evanesce::files::encrypted::{decrypt, encrypt};
use evanesce::job::JobId;
use evanesce::keys::{self, JobKey, JobKeys, KeyState};

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

/// The key of the job that a file in its directory belongs to, if there is one, and the name that the file
/// is encrypted for.
fn key_of(path: &Path) -> Option<(JobKey, JobId, String)> {
    let mut above = path.ancestors().skip(1);
    let job = above.next()?.file_name()?.to_str()?.split('.').next()?.parse().ok()?;
    let mut config = Config::default();
    config.storage.data_dir = above.nth(1)?.into();
    match keys::look(&config).unwrap().find(job) {
        KeyState::Live(key) => Some((key, job, path.file_name()?.to_str()?.into())),
        _ => None,
    }
}

/// Reads a file in the directory of a job as its server does.
pub fn read_stored(path: &Path) -> std::io::Result<Vec<u8>> {
    let stored = std::fs::read(path)?;
    match key_of(path) {
        Some((key, job, name)) => decrypt(&key, job, &name, stored),
        None => Ok(stored),
    }
}

/// Reads a text file in the directory of a job as its server does.
pub fn read_stored_text(path: &Path) -> String {
    String::from_utf8(read_stored(path).unwrap()).unwrap()
}

/// Puts a file into the directory of a job as its server would.
pub fn write_stored(path: &Path, text: &[u8]) {
    let stored = match key_of(path) {
        Some((key, job, name)) => encrypt(&key, job, &name, text).unwrap(),
        None => text.to_vec(),
    };
    std::fs::write(path, stored).unwrap();
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
