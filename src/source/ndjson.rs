//! A folder of NDJSON files on the local file system. Files are recognised by what is in
//! them, not by their names; what is no regular file is left out, with a warning.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecursiveMode, Watcher};
use parking_lot::Mutex;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{Opened, ReadAt, Snapshot, Source, SourceError, SourceFile};

/// How much of a file is looked at to recognise it.
const PEEK: usize = 64 << 10;

/// Two changes within one tick of the file system's clock leave the same time; a file that
/// was changed this recently is looked at again after a tick (git's "racily clean").
const TICK: Duration = Duration::from_millis(20);

/// Scans that may find files going away before that is an error.
const SCANS: u32 = 100;

/// See the module.
pub struct NdjsonFolder {
    folder: PathBuf,
    /// The file system that the folder was on at the start.
    device: u64,
    /// Names whose being left out was said before: it is not said at every kick-off.
    left_out: Mutex<BTreeSet<OsString>>,
    /// Files whose beginning was looked at, by name, and whether they hold resources.
    known: Mutex<HashMap<String, (SourceFile, bool)>>,
}

fn unreadable(name: impl Into<String>) -> impl FnOnce(io::Error) -> SourceError {
    let name = name.into();
    move |error| SourceError::Unreadable { name, error }
}

/// (device, inode, size, mtime, ctime): size and mtime alone miss `rsync -t`.
fn fingerprint(file: &Metadata) -> String {
    let (mtime, ctime) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
    format!(
        "{:x}:{:x}:{:x}:{:x}.{:x}:{:x}.{:x}",
        file.dev(),
        file.ino(),
        file.size(),
        mtime.0,
        mtime.1,
        ctime.0,
        ctime.1
    )
}

fn version(name: &str, metadata: &Metadata) -> SourceFile {
    SourceFile {
        name: name.to_owned(),
        size: metadata.size(),
        identity: format!("{:x}:{:x}", metadata.dev(), metadata.ino()),
        fingerprint: fingerprint(metadata),
    }
}

fn changed_within_a_tick(file: &Metadata, now: Timestamp) -> bool {
    let latest = (file.mtime(), file.mtime_nsec()).max((file.ctime(), file.ctime_nsec()));
    let latest = i128::from(latest.0) * 1_000_000_000 + i128::from(latest.1);
    (now.as_nanosecond() - latest).unsigned_abs() < TICK.as_nanos()
}

/// Whether the beginning of a file has a line that is a FHIR resource, or is one long line
/// that looks like one.
fn looks_like_resources(head: &[u8]) -> bool {
    let is_cut = head.len() == PEEK;
    let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start();
    // The type of a resource may stand behind all the rest of it.
    if is_cut && head.starts_with(b"{") && !head.contains(&b'\n') {
        return true;
    }
    let object = |line: &[u8]| {
        line.trim_ascii_start().starts_with(b"{") && memchr::memmem::find(line, b"\"resourceType\"").is_some()
    };
    head.split(|b| *b == b'\n').any(object)
}

impl NdjsonFolder {
    /// A source over `folder`; the error says if it is missing or cannot be listed.
    pub fn open(folder: &Path) -> Result<Self, SourceError> {
        let look = || {
            std::fs::read_dir(folder)?;
            Ok(std::fs::metadata(folder)?.dev())
        };
        let device = look().map_err(unreadable(folder.display().to_string()))?;
        Ok(Self { folder: folder.to_owned(), device, left_out: Mutex::default(), known: Mutex::default() })
    }

    /// Says once that a name is left out, and why.
    fn leave_out(&self, name: impl Into<OsString>, reason: &str) {
        let name = name.into();
        if self.left_out.lock().insert(name.clone()) {
            tracing::warn!(name = %name.to_string_lossy().escape_debug(), reason, "left out of the source");
        }
    }

    /// What is below a mount point is not the source, and most often empty: an export of it
    /// would look whole.
    fn check_mount(&self) -> io::Result<()> {
        if std::fs::metadata(&self.folder)?.dev() == self.device {
            return Ok(());
        }
        Err(io::Error::other(
            "the folder is on another file system than at the start: it was unmounted, or another one \
             mounted; mount it again, or restart the server",
        ))
    }

    /// One look at all files.
    fn scan(&self) -> Result<Snapshot, SourceError> {
        let taken_at = Timestamp::now();
        self.check_mount().map_err(unreadable(""))?;
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(unreadable(""))? {
            match entry.map_err(unreadable(""))?.file_name().into_string() {
                Ok(name) => names.push(name),
                Err(name) => self.leave_out(name, "its name is not UTF-8"),
            }
        }
        names.sort_unstable();
        self.known.lock().retain(|name, _| names.binary_search(name).is_ok());
        let mut files = Vec::new();
        for name in names {
            match self.look_at(&name) {
                Ok(Some(file)) => files.push(file),
                Ok(None) => self.leave_out(name, "it is no regular file with FHIR resources"),
                Err(e) if Errno::from_io_error(&e) == Some(Errno::LOOP) => {
                    self.leave_out(name, "symbolic links are not followed");
                }
                Err(e) => return Err(unreadable(name)(e)),
            }
        }
        Ok(Snapshot { taken_at, files })
    }

    /// Opens a file without following a link and without waiting for the writer of a FIFO.
    fn open_file(&self, name: &str) -> io::Result<File> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
        std::fs::OpenOptions::new().read(true).custom_flags(flags).open(self.folder.join(name))
    }

    /// The file as a snapshot shows it; `None` if it holds no resources.
    fn look_at(&self, name: &str) -> io::Result<Option<SourceFile>> {
        // A socket cannot be opened, and a device had better not be.
        let kind = std::fs::symlink_metadata(self.folder.join(name))?.file_type();
        if !kind.is_file() && !kind.is_symlink() {
            return Ok(None);
        }
        let mut file = self.open_file(name)?;
        let mut metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        if changed_within_a_tick(&metadata, Timestamp::now()) {
            std::thread::sleep(TICK);
            file = self.open_file(name)?;
            metadata = file.metadata()?;
        }
        let version = version(name, &metadata);
        let known = self.known.lock().get(name).filter(|(known, _)| *known == version).map(|(_, yes)| *yes);
        let recognised = match known {
            Some(recognised) => recognised,
            None => {
                let mut head = vec![0; PEEK];
                let read = ReadAt::read_full_at(&file, &mut head, 0)?;
                let recognised = looks_like_resources(&head[..read]);
                self.known.lock().insert(name.to_owned(), (version.clone(), recognised));
                recognised
            }
        };
        Ok(recognised.then_some(version))
    }
}

impl Source for NdjsonFolder {
    fn snapshot(&self) -> Result<Snapshot, SourceError> {
        let mut scans = 0;
        loop {
            scans += 1;
            match self.scan() {
                // A file went away after it was listed: what is there now?
                Err(SourceError::Unreadable { name, error })
                    if error.kind() == io::ErrorKind::NotFound && !name.is_empty() && scans < SCANS => {}
                scanned => return scanned,
            }
        }
    }

    fn open(&self, name: &str) -> Result<Opened, SourceError> {
        let opened = match self.open_file(name) {
            Ok(opened) => opened,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(SourceError::Changed(name.to_owned()));
            }
            Err(e) => return Err(unreadable(name)(e)),
        };
        let metadata = opened.metadata().map_err(unreadable(name))?;
        if !metadata.is_file() {
            return Err(SourceError::Changed(name.to_owned()));
        }
        Ok(Opened { file: version(name, &metadata), content: Box::new(opened) })
    }

    fn watch(&self, hint: Box<dyn Fn() + Send>) -> Option<Box<dyn Send + Sync>> {
        let told = move |event: notify::Result<notify::Event>| {
            // Reading the source is no change of it, and an error may hide one.
            if event
                .is_ok_and(|event| matches!(event.kind, EventKind::Access(kind) if !is_end_of_writing(kind)))
            {
                return;
            }
            hint();
        };
        let watch = || {
            let mut watcher = notify::recommended_watcher(told)?;
            watcher.watch(&self.folder, RecursiveMode::NonRecursive)?;
            Ok::<_, notify::Error>(watcher)
        };
        match watch() {
            Ok(watcher) => Some(Box::new(watcher)),
            Err(error) => {
                tracing::warn!(%error, "the source is not watched: changes are seen at the next kick-off");
                None
            }
        }
    }
}

fn is_end_of_writing(kind: AccessKind) -> bool {
    matches!(kind, AccessKind::Close(AccessMode::Write))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENT: &str = "{\"resourceType\":\"Patient\",\"id\":\"p\"}\n";

    #[test]
    fn files_are_recognised_by_content_and_everything_else_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| std::fs::write(folder.path().join(name), content).unwrap();
        write("Organization.1721218811633.ndjson", PATIENT);
        write("no-extension", &format!("\n{{broken\n{PATIENT}"));
        write("giant.ndjson", &format!("{{\"resourceType\":\"Binary\",\"data\":\"{}", "x".repeat(2 * PEEK)));
        write("README.md", "# about");
        write("empty.ndjson", "");
        write("package.json", "{\"name\": \"x\"}");
        std::fs::create_dir(folder.path().join("Patient.ndjson")).unwrap();
        std::os::unix::fs::symlink("README.md", folder.path().join("link.ndjson")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.path().join("fifo.ndjson"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        let snapshot = NdjsonFolder::open(folder.path()).unwrap().snapshot().unwrap();
        let names: Vec<_> = snapshot.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["Organization.1721218811633.ndjson", "giant.ndjson", "no-extension"]);
    }

    #[test]
    fn a_file_that_was_written_or_replaced_is_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ndjson");
        std::fs::write(&path, PATIENT).unwrap();
        let source = NdjsonFolder::open(folder.path()).unwrap();
        let before = source.snapshot().unwrap().files.remove(0);
        let version = || source.open("a.ndjson").map(|opened| opened.file);
        assert_eq!(version().unwrap(), before);
        // The same length, in the same tick as far as that can be had.
        std::fs::write(&path, PATIENT.replace("\"p\"", "\"q\"")).unwrap();
        let after = version().unwrap();
        assert_ne!(after.fingerprint, before.fingerprint);
        assert_eq!(after.identity, before.identity);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(version(), Err(SourceError::Changed(name)) if name == "a.ndjson"));
    }

    #[test]
    fn a_missing_folder_is_said_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let error = NdjsonFolder::open(&folder.path().join("nowhere")).err().unwrap();
        assert!(error.to_string().contains("nowhere"), "{error}");
    }
}
