//! Any place of job directories, with what is in them encrypted by the keys of their jobs. Which way a
//! directory is read is decided by the key, and never by what stands in it: a plain file in the place of
//! an encrypted one is an error.

use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;

use super::frames::{is_encrypted, stored_length};
use super::reader::{DecryptingReader, decrypt};
use super::sink::{EncryptingSink, encrypt};
use crate::erase::Warrant;
use crate::files::{
    CommitRoom, DirPlace, DiskInventory, DocumentKind, ExportDir, Files, FilesError, JobDirectory,
    OutputSink, ReadAt, RemoveOutcome, SweepCounts,
};
use crate::job::{JobId, KeyDestruction};
use crate::keys::{JobKey, JobKeys, KeyState};

/// What happens to the files of a new job. Those of earlier ones stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewFiles {
    /// They are encrypted with a key of the job.
    Encrypted,
    /// They are stored as they are.
    Plain,
}

/// Job directories whose files are encrypted.
pub struct EncryptedFiles {
    inner: Arc<dyn Files>,
    keys: Arc<dyn JobKeys>,
    new: NewFiles,
}

impl EncryptedFiles {
    /// Stores the files of jobs in `inner`, encrypted with `keys`.
    pub fn new(inner: Arc<dyn Files>, keys: Arc<dyn JobKeys>, new: NewFiles) -> Self {
        Self { inner, keys, new }
    }

    fn dir(&self, inner: Arc<dyn ExportDir>, job: JobId, access: DirAccess) -> Arc<dyn ExportDir> {
        Arc::new(EncryptedDir { inner, job, access })
    }
}

impl Files for EncryptedFiles {
    fn create(&self, job: JobId, request: &[u8]) -> Result<Arc<dyn ExportDir>, FilesError> {
        if self.new == NewFiles::Plain {
            return Ok(self.dir(self.inner.create(job, request)?, job, DirAccess::Plain));
        }
        let key = self.keys.create(job).map_err(io::Error::from);
        let key = key.map_err(FilesError::new("make a key for", format!("building/{job}")))?;
        let access = DirAccess::Keyed(key);
        let request = access.encrypted(job, DocumentKind::Request, request)?;
        Ok(self.dir(self.inner.create(job, &request)?, job, access))
    }

    fn open(&self, job: JobId, place: DirPlace) -> Result<Arc<dyn ExportDir>, FilesError> {
        self.open_directory(&JobDirectory { place, name: job.to_string(), job })
    }

    fn move_to_ready(&self, job: JobId) -> Result<(), FilesError> {
        self.inner.move_to_ready(job)
    }

    fn move_to_trash(&self, jobs: &[JobId]) -> Result<Vec<Result<(), FilesError>>, FilesError> {
        self.inner.move_to_trash(jobs)
    }

    fn directories(&self, job: JobId, place: DirPlace) -> Result<Vec<JobDirectory>, FilesError> {
        self.inner.directories(job, place)
    }

    fn open_directory(&self, directory: &JobDirectory) -> Result<Arc<dyn ExportDir>, FilesError> {
        let inner = self.inner.open_directory(directory)?;
        let access = match self.keys.find(directory.job) {
            KeyState::Live(key) => DirAccess::Keyed(key),
            KeyState::Absent => DirAccess::Plain,
            KeyState::Destroyed(_) | KeyState::Unavailable => DirAccess::Locked,
        };
        Ok(self.dir(inner, directory.job, access))
    }

    fn destroy_keys(&self, warrants: &[Warrant]) -> Result<Vec<Option<KeyDestruction>>, FilesError> {
        let jobs: Vec<_> = warrants.iter().map(Warrant::job).collect();
        let destroyed = self.keys.destroy(&jobs);
        destroyed.map_err(|error| FilesError::new("destroy keys of", "erased jobs")(error.into()))
    }

    fn is_keyless(&self, job: JobId, place: DirPlace) -> bool {
        match self.keys.find(job) {
            KeyState::Destroyed(_) => true,
            KeyState::Live(_) | KeyState::Unavailable => false,
            KeyState::Absent => {
                let Ok(dir) = self.inner.open(job, place) else { return false };
                let documents = [DocumentKind::Request, DocumentKind::Plan, DocumentKind::Job];
                let mut stored =
                    documents.into_iter().filter_map(|document| dir.read_document(document).ok()?);
                stored.any(|stored| is_encrypted(&stored))
            }
        }
    }

    fn remove_directory(
        &self,
        warrant: &Warrant,
        directory: &JobDirectory,
    ) -> Result<RemoveOutcome, FilesError> {
        self.inner.remove_directory(warrant, directory)
    }

    fn sync(&self, place: DirPlace) -> Result<(), FilesError> {
        self.inner.sync(place)
    }

    fn inventory(&self) -> Result<DiskInventory, FilesError> {
        self.inner.inventory()
    }

    fn free_bytes(&self) -> Result<u64, FilesError> {
        self.inner.free_bytes()
    }

    fn release_ballast(&self, needed: u64) -> Result<CommitRoom, FilesError> {
        self.inner.release_ballast(needed)
    }

    fn release_all(&self) -> Result<bool, FilesError> {
        self.inner.release_all()
    }

    fn restore_ballast(&self) -> Result<(), FilesError> {
        self.inner.restore_ballast()
    }
}

/// How the files of a directory are read and written.
enum DirAccess {
    /// All of them are encrypted with this key.
    Keyed(JobKey),
    /// The job has no key: its files are plain, or can never be read again.
    Plain,
    /// The key was destroyed, or nobody can say what it is.
    Locked,
}

/// Why a file cannot be read or written: the key that it needs is not there.
#[derive(Debug, thiserror::Error)]
#[error("the key of its job is not there")]
pub struct KeyNotThere;

fn locked() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, KeyNotThere)
}

impl DirAccess {
    /// Returns a document as it is stored.
    fn encrypted(&self, job: JobId, document: DocumentKind, text: &[u8]) -> Result<Vec<u8>, FilesError> {
        let name = document.name();
        let stored = match self {
            Self::Keyed(key) => encrypt(key, job, name, text),
            Self::Plain => Ok(text.to_vec()),
            Self::Locked => Err(locked()),
        };
        stored.map_err(FilesError::new("encrypt", format!("{job}/{name}")))
    }

    /// Returns the text of a stored document.
    fn text(&self, job: JobId, document: DocumentKind, stored: Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Self::Keyed(key) => decrypt(key, job, document.name(), stored),
            Self::Plain if !is_encrypted(&stored) => Ok(stored),
            Self::Plain | Self::Locked => Err(locked()),
        }
    }

    fn reader(&self, inner: Arc<dyn ReadAt>, job: JobId, name: &str) -> io::Result<Arc<dyn ReadAt>> {
        match self {
            Self::Keyed(key) => Ok(Arc::new(DecryptingReader::open(inner, key, job, name)?)),
            Self::Plain => {
                let mut begin = [0; 8];
                let read = inner.read_full_at(&mut begin, 0)?;
                if is_encrypted(&begin[..read]) { Err(locked()) } else { Ok(inner) }
            }
            Self::Locked => Err(locked()),
        }
    }
}

/// A job's directory.
struct EncryptedDir {
    inner: Arc<dyn ExportDir>,
    job: JobId,
    access: DirAccess,
}

impl EncryptedDir {
    fn fail(&self, operation: &'static str, name: &str) -> impl FnOnce(io::Error) -> FilesError + use<> {
        FilesError::new(operation, format!("{}/{name}", self.job))
    }
}

impl ExportDir for EncryptedDir {
    fn create_file(&self, name: &str) -> Result<Box<dyn OutputSink>, FilesError> {
        match &self.access {
            DirAccess::Keyed(key) => {
                let inner = self.inner.create_file(name)?;
                let sink = EncryptingSink::new(inner, key, self.job, name);
                Ok(Box::new(sink.map_err(self.fail("encrypt", name))?))
            }
            DirAccess::Plain => self.inner.create_file(name),
            DirAccess::Locked => Err(self.fail("create", name)(locked())),
        }
    }

    fn write_document(&self, document: DocumentKind, content: &[u8]) -> Result<(), FilesError> {
        match self.access {
            DirAccess::Plain => self.inner.write_document(document, content),
            _ => self.inner.write_document(document, &self.access.encrypted(self.job, document, content)?),
        }
    }

    fn has_document(&self, document: DocumentKind) -> Result<bool, FilesError> {
        self.inner.has_document(document)
    }

    fn read_document(&self, document: DocumentKind) -> Result<Option<Vec<u8>>, FilesError> {
        let Some(stored) = self.inner.read_document(document)? else { return Ok(None) };
        let text = self.access.text(self.job, document, stored);
        text.map(Some).map_err(self.fail("read", document.name()))
    }

    fn open_file(&self, name: &str) -> Result<Arc<dyn ReadAt>, FilesError> {
        let opened = self.inner.open_file(name)?;
        self.access.reader(opened, self.job, name).map_err(self.fail("open", name))
    }

    fn check_file(&self, name: &str, bytes: u64) -> Result<(), FilesError> {
        match self.access {
            DirAccess::Keyed(_) => self.inner.check_file(name, stored_length(bytes)),
            DirAccess::Plain => self.inner.check_file(name, bytes),
            DirAccess::Locked => Err(self.fail("check", name)(locked())),
        }
    }

    fn list(&self) -> Result<Vec<OsString>, FilesError> {
        self.inner.list()
    }

    fn unlink(&self, warrant: &Warrant, name: &OsStr) -> Result<SweepCounts, FilesError> {
        self.inner.unlink(warrant, name)
    }

    fn sync(&self) -> Result<(), FilesError> {
        self.inner.sync()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use parking_lot::Mutex;

    use super::*;
    use crate::files::LocalFiles;
    use crate::hooks::Hooks;
    use crate::keys::KeysError;

    /// Keys in memory.
    #[derive(Default)]
    struct MemoryKeys(Mutex<HashMap<JobId, KeyState>>);

    impl JobKeys for MemoryKeys {
        fn create(&self, job: JobId) -> Result<JobKey, KeysError> {
            let key = JobKey::new([job.as_bytes()[0]; 32]);
            self.0.lock().insert(job, KeyState::Live(key.clone()));
            Ok(key)
        }

        fn find(&self, job: JobId) -> KeyState {
            self.0.lock().get(&job).cloned().unwrap_or(KeyState::Absent)
        }

        fn destroy(&self, _: &[JobId]) -> Result<Vec<Option<KeyDestruction>>, KeysError> {
            Ok(Vec::new())
        }
    }

    const NAME: &str = "A_Patient.ndjson";
    const TEXT: &[u8] = b"{\"resourceType\":\"Patient\",\"id\":\"a\"}\n";

    /// A data directory with one encrypted job: a request, a plan and an output file.
    struct Room {
        folder: tempfile::TempDir,
        local: Arc<LocalFiles>,
        keys: Arc<MemoryKeys>,
        job: JobId,
    }

    impl Room {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let local = Arc::new(LocalFiles::open(folder.path(), Hooks::default()).unwrap());
            let room = Self { folder, local, keys: Arc::default(), job: JobId::random() };
            room.fill(NewFiles::Encrypted, room.job);
            room
        }

        fn fill(&self, new: NewFiles, job: JobId) {
            let dir = self.files(new).create(job, b"{\"a\":\"request\"}").unwrap();
            dir.write_document(DocumentKind::Plan, b"{\"a\":\"plan\"}").unwrap();
            let mut sink = dir.create_file(NAME).unwrap();
            sink.write_all(TEXT).unwrap();
            sink.finish().unwrap();
        }

        fn files(&self, new: NewFiles) -> EncryptedFiles {
            EncryptedFiles::new(self.local.clone(), self.keys.clone(), new)
        }

        fn open(&self, job: JobId) -> Arc<dyn ExportDir> {
            self.files(NewFiles::Encrypted).open(job, DirPlace::Building).unwrap()
        }

        fn path(&self, job: JobId, name: &str) -> std::path::PathBuf {
            self.folder.path().join("building").join(job.to_string()).join(name)
        }
    }

    fn read(dir: &dyn ExportDir) -> Result<Vec<u8>, FilesError> {
        let file = dir.open_file(NAME)?;
        let mut text = vec![0; TEXT.len() + 10];
        let count = file.read_full_at(&mut text, 0).map_err(FilesError::new("read", NAME))?;
        text.truncate(count);
        Ok(text)
    }

    #[test]
    fn p14_everything_in_a_directory_is_encrypted_and_comes_back() {
        let room = Room::new();
        for entry in std::fs::read_dir(room.path(room.job, "")).unwrap() {
            let stored = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(is_encrypted(&stored));
            assert!(
                !stored
                    .windows(5)
                    .any(|window| [b"reque", b"\"plan", b"Patie"].contains(&window.try_into().unwrap()))
            );
        }
        let dir = room.open(room.job);
        assert_eq!(dir.read_document(DocumentKind::Request).unwrap().unwrap(), b"{\"a\":\"request\"}");
        assert_eq!(dir.read_document(DocumentKind::Job).unwrap(), None);
        assert_eq!(read(&*dir).unwrap(), TEXT);
        assert_eq!(dir.open_file(NAME).unwrap().length().unwrap(), TEXT.len() as u64);
        dir.check_file(NAME, TEXT.len() as u64).unwrap();
        assert!(dir.check_file(NAME, TEXT.len() as u64 + 1).is_err());
    }

    #[test]
    fn p14_without_its_key_a_directory_can_be_listed_and_removed_but_not_read() {
        let room = Room::new();
        let destroyed = KeyDestruction { destroyed_at: jiff::Timestamp::UNIX_EPOCH, epoch: 1 };
        for state in [KeyState::Unavailable, KeyState::Destroyed(destroyed), KeyState::Absent] {
            let is_absent = matches!(state, KeyState::Absent);
            room.keys.0.lock().insert(room.job, state);
            let dir = room.open(room.job);
            assert!(dir.read_document(DocumentKind::Request).unwrap_err().is_locked());
            assert!(read(&*dir).unwrap_err().is_locked());
            assert!(dir.check_file(NAME, TEXT.len() as u64).is_err());
            assert_eq!(dir.list().unwrap().len(), 3);
            assert!(dir.has_document(DocumentKind::Request).unwrap());
            if !is_absent {
                assert!(dir.create_file("B_Patient.ndjson").err().unwrap().is_locked());
                assert!(dir.write_document(DocumentKind::Job, b"{}").unwrap_err().is_locked());
            }
        }
        assert_eq!(room.open(room.job).list().unwrap().len(), 3, "nothing was made");
    }

    #[test]
    fn a_plain_file_in_the_place_of_an_encrypted_one_is_an_error() {
        let room = Room::new();
        std::fs::write(room.path(room.job, NAME), TEXT).unwrap();
        std::fs::write(room.path(room.job, "request.json"), b"{\"a\":\"request\"}").unwrap();
        let dir = room.open(room.job);
        for error in [read(&*dir).unwrap_err(), dir.read_document(DocumentKind::Request).unwrap_err()] {
            assert!(!error.is_locked() && !error.is_missing(), "{error}");
        }
    }

    #[test]
    fn two_files_and_two_documents_that_change_places_are_an_error() {
        let room = Room::new();
        let other = JobId::random();
        room.fill(NewFiles::Encrypted, other);
        let swap = |one: &std::path::Path, two: &std::path::Path| {
            let spare = room.folder.path().join("spare");
            for (from, to) in [(one, &*spare), (two, one), (&*spare, two)] {
                std::fs::rename(from, to).unwrap();
            }
        };
        let (own, theirs) = (room.path(room.job, NAME), room.path(other, NAME));
        swap(&own, &theirs);
        assert!(read(&*room.open(room.job)).is_err() && read(&*room.open(other)).is_err());
        swap(&own, &theirs);
        let (request, plan) = (room.path(room.job, "request.json"), room.path(room.job, "plan.json"));
        swap(&request, &plan);
        for document in [DocumentKind::Request, DocumentKind::Plan] {
            assert!(room.open(room.job).read_document(document).is_err());
        }
        swap(&request, &plan);
        assert_eq!(read(&*room.open(room.job)).unwrap(), TEXT, "back in its place");
    }

    #[test]
    fn jobs_without_a_key_stay_as_they_are_beside_those_with_one() {
        let room = Room::new();
        let plain = JobId::random();
        room.fill(NewFiles::Plain, plain);
        assert_eq!(std::fs::read(room.path(plain, NAME)).unwrap(), TEXT);
        let dir = room.open(plain);
        assert_eq!(read(&*dir).unwrap(), TEXT);
        assert_eq!(dir.read_document(DocumentKind::Plan).unwrap().unwrap(), b"{\"a\":\"plan\"}");
        dir.check_file(NAME, TEXT.len() as u64).unwrap();
        dir.write_document(DocumentKind::Job, b"{}").unwrap();
        assert_eq!(std::fs::read(room.path(plain, "job.json")).unwrap(), b"{}");
        assert_eq!(read(&*room.open(room.job)).unwrap(), TEXT);
    }
}
