//! One edit of the file of applications. It is read, changed, checked by the server's own parser,
//! and replaced atomically. Two edits at once wait for each other. Changes that an editor made
//! meanwhile are not overwritten.

use std::fs::{File, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use toml_edit::{DocumentMut, Item, Table};

use crate::auth::Registry;
use crate::cli::CliError;
use crate::job::{ClientId, TenantId};
use crate::plain_file::{self, LinkPolicy, SETTINGS_BYTES};

/// How long to wait for another edit.
const PATIENCE: Duration = Duration::from_secs(10);

/// A file that is being edited.
pub struct FileEdit {
    path: PathBuf,
    /// The old text; `None` if there was no file.
    before: Option<String>,
    /// The new document.
    pub document: DocumentMut,
    /// Held until the edit is done.
    _lock: File,
}

fn failed(path: &Path, what: &str) -> impl Fn(io::Error) -> CliError {
    let (path, what) = (path.display().to_string(), what.to_owned());
    move |error| CliError::failed(format!("cannot {what} {path}: {error}"))
}

fn read(path: &Path) -> Result<Option<String>, CliError> {
    match plain_file::read_text(path, LinkPolicy::Follow, SETTINGS_BYTES) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, "read")(error)),
    }
}

/// Returns the folder of a path, also of a bare file name.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

/// Locks the folder. A lock on the file would not do: each edit replaces the file.
fn lock(folder: &Path) -> Result<File, CliError> {
    let lock = File::open(folder).map_err(failed(folder, "open the folder"))?;
    let until = Instant::now() + PATIENCE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(failed(folder, "lock the folder")(error.into())),
        }
    }
}

impl FileEdit {
    /// Begins an edit. A missing file counts as empty. A file with a mistake is not edited.
    pub fn begin(path: &Path) -> Result<Self, CliError> {
        // A link stays a link: its target is edited.
        let path = path.canonicalize().unwrap_or_else(|_| path.into());
        let lock = lock(folder_of(&path))?;
        let before = read(&path)?;
        let text = before.as_deref().unwrap_or_default();
        Registry::parse(text, folder_of(&path), None).map_err(CliError::failed)?;
        let document: DocumentMut = text.parse().map_err(CliError::failed)?;
        Ok(Self { path, before, document, _lock: lock })
    }

    /// Returns the folder that key files in the file are relative to.
    pub fn folder(&self) -> &Path {
        folder_of(&self.path)
    }

    /// Returns the tables of the applications.
    pub fn tables(&mut self) -> Result<&mut toml_edit::ArrayOfTables, CliError> {
        let item = self.document.entry("application").or_insert(Item::ArrayOfTables(Default::default()));
        item.as_array_of_tables_mut()
            .ok_or_else(|| CliError::failed("the applications are not written as [[application]] tables"))
    }

    /// Returns the table of an application.
    pub fn table(&mut self, tenant: &TenantId, client_id: &ClientId) -> Result<&mut Table, CliError> {
        let unknown =
            || CliError::failed(format!("there is no application {client_id} of the tenant {tenant}"));
        let is = |table: &Table, key: &str, value: &str| table.get(key).and_then(Item::as_str) == Some(value);
        let mut tables = self.tables()?.iter_mut();
        tables
            .find(|table| is(table, "client_id", client_id.as_str()) && is(table, "tenant", tenant.as_str()))
            .ok_or_else(unknown)
    }

    /// Replaces the file durably, keeping its owner and permissions. Changes nothing if the result
    /// would be invalid.
    pub fn finish(self) -> Result<(), CliError> {
        let text = self.document.to_string();
        let folder = folder_of(&self.path);
        Registry::parse(&text, folder, None).map_err(CliError::failed)?;
        let file = self.written(&text)?;
        if read(&self.path)? != self.before {
            let path = self.path.display();
            return Err(CliError::failed(format!(
                "{path} was changed meanwhile: nothing was done, try again"
            )));
        }
        let path = &self.path;
        file.persist(path).map_err(|error| failed(path, "replace")(error.error))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder, "sync the folder"))
    }

    /// Writes the new text durably to a file beside the old one.
    fn written(&self, text: &str) -> Result<tempfile::NamedTempFile, CliError> {
        let mut file = tempfile::NamedTempFile::new_in(folder_of(&self.path))
            .map_err(failed(folder_of(&self.path), "write in"))?;
        if self.before.is_some() {
            let old = std::fs::metadata(&self.path).map_err(failed(&self.path, "read"))?;
            let new = file.as_file().metadata().map_err(failed(&self.path, "write beside"))?;
            if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                // The user that the server runs as must still be able to read it.
                std::os::unix::fs::fchown(file.as_file(), Some(old.uid()), Some(old.gid()))
                    .map_err(failed(&self.path, "keep the owner of"))?;
            }
            let mode = Permissions::from_mode(old.mode() & 0o7777);
            file.as_file().set_permissions(mode).map_err(failed(&self.path, "keep the permissions of"))?;
        }
        let write = file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all());
        write.map_err(failed(&self.path, "write beside"))?;
        Ok(file)
    }
}
