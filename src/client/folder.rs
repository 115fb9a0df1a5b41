//! The output folder: who works in it, which export it holds, and the names in it. A file has its name
//! only when it is whole, verified and durable; until then it is `NAME.part`. `manifest.json` comes
//! last. What the folder held before is never overwritten: a new export wants an empty folder.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::error::ClientError;
use super::manifest::is_made_name;
use super::receipt::RECEIPT;
use crate::plain_file::{self, LinkPolicy};

/// The state of the export, without any secret of the client's.
const STATE: &str = ".evanesce-export.json";

/// What the state is written to first.
const NEW_STATE: &str = ".evanesce-export.json.new";

/// The list of all files, which is written when they are there.
pub const MANIFEST: &str = "manifest.json";

/// Longest state in bytes.
const LONGEST_STATE: u64 = 16 << 20;

/// The version of the state's form.
const FORMAT: u32 = 1;

/// How far an export has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExportStage {
    /// The server has it.
    KickedOff,
    /// All files and the manifest are in the folder.
    Complete,
    /// So they are, and the server was asked to delete it.
    Deleted,
    /// It was cancelled, or failed.
    Over,
}

/// What is remembered of an export.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportState {
    format: u32,
    /// What tells this export from others, as a hash: parameters may name patients.
    request: String,
    /// The polling URL.
    pub status_url: String,
    pub stage: ExportStage,
    /// What the manifest was, as a hash, once it is known.
    pub plan: Option<String>,
    /// For files of which a part is there: the value of `If-Range` with which it goes on.
    parts: BTreeMap<String, String>,
    /// The URL of the receipt of the DELETE, until the receipt is in the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}

/// An output folder that belongs to this process.
pub struct OutFolder {
    path: PathBuf,
    /// Locked, and for syncs.
    handle: File,
    request: String,
    state: Mutex<Option<ExportState>>,
}

impl OutFolder {
    /// Opens a folder for the export whose fingerprint is `request`, and creates it if need be, for the
    /// owner alone.
    ///
    /// # Errors
    /// Fails if the folder holds anything but that export, or another process works in it.
    pub fn open(path: &Path, request: &str) -> Result<Self, ClientError> {
        let cannot = |error: io::Error| ClientError::disk("use the folder", path, &error);
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(cannot)?;
        let handle = File::open(path).map_err(cannot)?;
        match flock(&handle, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let path = path.display();
                return Err(ClientError::unusable(format!("another export writes to {path} at this moment")));
            }
            locked => locked.map_err(|errno| cannot(errno.into()))?,
        }
        let state = read_state(&path.join(STATE))?;
        let folder =
            Self { path: path.into(), handle, request: request.into(), state: Mutex::new(state.clone()) };
        let place = path.display();
        match state {
            Some(state) if state.request != request => Err(ClientError::unusable(format!(
                "{place} holds another export, with other parameters or of another server; use another --out"
            ))),
            None if !folder.is_empty().map_err(cannot)? => Err(ClientError::unusable(format!(
                "{place} is not empty, and an export overwrites nothing; use a new folder for --out"
            ))),
            _ => Ok(folder),
        }
    }

    fn is_empty(&self) -> io::Result<bool> {
        let mut names = std::fs::read_dir(&self.path)?;
        // A state that was never renamed is of a process that was killed.
        let is_foreign =
            |entry: io::Result<std::fs::DirEntry>| entry.is_ok_and(|it| it.file_name() != NEW_STATE);
        Ok(!names.any(is_foreign))
    }

    /// Returns the path of a name in the folder.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns what is remembered of the export.
    pub fn state(&self) -> Option<ExportState> {
        self.state.lock().clone()
    }

    /// Remembers a new export.
    pub fn begin(&self, status_url: &str) -> Result<(), ClientError> {
        let (request, status_url) = (self.request.clone(), status_url.into());
        let stage = ExportStage::KickedOff;
        let parts = BTreeMap::new();
        let (plan, receipt) = (None, None);
        let state = ExportState { format: FORMAT, request, status_url, stage, plan, parts, receipt };
        self.save(&mut self.state.lock(), state)
    }

    /// Changes what is remembered, durably.
    pub fn update(&self, change: impl FnOnce(&mut ExportState)) -> Result<(), ClientError> {
        let mut state = self.state.lock();
        let Some(mut changed) = state.clone() else { return Ok(()) };
        change(&mut changed);
        self.save(&mut state, changed)
    }

    /// Returns the value of `If-Range` with which a part goes on.
    pub fn validator(&self, name: &str) -> Option<String> {
        self.state.lock().as_ref()?.parts.get(name).cloned()
    }

    /// Remembers, or forgets, with which value of `If-Range` a part goes on.
    pub fn set_validator(&self, name: &str, value: Option<String>) -> Result<(), ClientError> {
        if self.validator(name) == value {
            return Ok(());
        }
        self.update(|state| {
            match value {
                Some(value) => state.parts.insert(name.into(), value),
                None => state.parts.remove(name),
            };
        })
    }

    fn save(&self, place: &mut Option<ExportState>, state: ExportState) -> Result<(), ClientError> {
        let text = serde_json::to_vec_pretty(&state).expect("a state is plain data");
        self.write_durably(NEW_STATE, STATE, &text)?;
        *place = Some(state);
        Ok(())
    }

    /// Writes the list of all files: the last thing that an export does in the folder.
    pub fn write_manifest(&self, text: &[u8]) -> Result<(), ClientError> {
        // The names of the files are durable before what tells of them.
        self.sync()?;
        self.write_durably("manifest.json.part", MANIFEST, text)
    }

    /// Writes the receipt of the DELETE.
    pub fn write_receipt(&self, text: &[u8]) -> Result<(), ClientError> {
        self.write_durably("receipt.json.part", RECEIPT, text)
    }

    fn write_durably(&self, first: &str, name: &str, text: &[u8]) -> Result<(), ClientError> {
        let (first, path) = (self.join(first), self.join(name));
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = plain_file::replace_with(options.write(true).mode(0o600), &first)?;
            file.write_all(text)?;
            file.sync_all()?;
            std::fs::rename(&first, &path)
        };
        write().map_err(|error| ClientError::disk("write", &path, &error))?;
        self.sync()
    }

    fn sync(&self) -> Result<(), ClientError> {
        self.handle.sync_all().map_err(|error| ClientError::disk("write the folder", &self.path, &error))
    }

    /// Removes the parts of files, which nobody will go on with.
    pub fn remove_parts(&self) -> Result<(), ClientError> {
        self.remove(|name| name.ends_with(".part"))
    }

    /// Removes all files of the export that was here, and forgets it.
    pub fn clear(&self) -> Result<(), ClientError> {
        self.remove(|_| true)?;
        plain_file::remove(&self.join(STATE))
            .map_err(|error| ClientError::disk("remove", &self.join(STATE), &error))?;
        *self.state.lock() = None;
        self.sync()
    }

    /// Removes files with names that an export makes.
    fn remove(&self, is_meant: impl Fn(&str) -> bool) -> Result<(), ClientError> {
        let cannot = |error: io::Error| ClientError::disk("clear the folder", &self.path, &error);
        for entry in std::fs::read_dir(&self.path).map_err(cannot)? {
            let name = entry.map_err(cannot)?.file_name();
            let Some(name) = name.to_str() else { continue };
            let whole = name.strip_suffix(".part").unwrap_or(name);
            if (is_made_name(whole) || whole == MANIFEST || whole == RECEIPT) && is_meant(name) {
                let path = self.join(name);
                plain_file::remove(&path).map_err(|error| ClientError::disk("remove", &path, &error))?;
            }
        }
        Ok(())
    }
}

fn read_state(path: &Path) -> Result<Option<ExportState>, ClientError> {
    let damaged = |reason: &str| {
        let path = path.display();
        ClientError::unusable(format!("{path} cannot be read ({reason}); use another folder for --out"))
    };
    let text = match plain_file::read(path, LinkPolicy::Refuse, LONGEST_STATE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| damaged(&error.to_string()))?,
    };
    let state: ExportState = serde_json::from_slice(&text).map_err(|error| damaged(&error.to_string()))?;
    if state.format != FORMAT {
        return Err(damaged("another version of evanesce wrote it"));
    }
    Ok(Some(state))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path, request: &str) -> String {
        OutFolder::open(path, request).err().expect("the folder is refused").to_string()
    }

    #[test]
    fn a_folder_belongs_to_one_export_and_one_process() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b");
        let folder = OutFolder::open(&path, "one").unwrap();
        assert!(refusal(&path, "one").contains("at this moment"));
        folder.begin("https://h/status").unwrap();
        drop(folder);
        assert!(refusal(&path, "other").contains("another export"));
        let state = OutFolder::open(&path, "one").unwrap().state().unwrap();
        assert_eq!((state.status_url.as_str(), state.stage), ("https://h/status", ExportStage::KickedOff));
    }

    #[test]
    fn what_a_folder_held_before_is_never_overwritten() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("Patient.0001.ndjson"), "precious").unwrap();
        assert!(refusal(place.path(), "one").contains("not empty"));
    }

    #[test]
    fn an_export_is_cleared_without_what_others_put_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let folder = OutFolder::open(place.path(), "one").unwrap();
        folder.begin("https://h/status").unwrap();
        for name in
            ["Patient.0001.ndjson", "errors.0001.ndjson.part", "manifest.json", "receipt.json", "mine.ndjson"]
        {
            std::fs::write(folder.join(name), "x").unwrap();
        }
        folder.remove_parts().unwrap();
        assert!(!folder.join("errors.0001.ndjson.part").exists() && folder.join("manifest.json").exists());
        folder.clear().unwrap();
        let left: Vec<_> =
            std::fs::read_dir(place.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left, ["mine.ndjson"]);
    }

    #[test]
    fn a_damaged_state_or_a_link_in_its_place_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join(STATE);
        std::fs::write(&path, "{}").unwrap();
        assert!(refusal(place.path(), "one").contains("cannot be read"));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(refusal(place.path(), "one").contains("cannot be read"));
    }

    #[test]
    fn the_validators_of_parts_are_remembered() {
        let place = tempfile::tempdir().unwrap();
        let folder = OutFolder::open(place.path(), "one").unwrap();
        folder.begin("https://h/status").unwrap();
        folder.set_validator("a", Some("\"1\"".into())).unwrap();
        folder.set_validator("b", Some("\"2\"".into())).unwrap();
        folder.set_validator("b", None).unwrap();
        drop(folder);
        let folder = OutFolder::open(place.path(), "one").unwrap();
        assert_eq!((folder.validator("a").as_deref(), folder.validator("b")), (Some("\"1\""), None));
    }
}
