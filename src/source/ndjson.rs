//! A folder of NDJSON files on the local file system. Every regular file is read, unless its name
//! is that of a hidden, backup or partial file. Everything else, such as folders, links and
//! compressed files, is left out, and named to clients and in the log.

use std::collections::{BTreeMap, HashMap};
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

use super::left_out::{HEAD, LeftOut, LeftOutReason, form, is_leftover};
use super::{OpenSource, ReadAt, Snapshot, Source, SourceError, SourceFile, is_of_file};

/// Two changes within one tick of the file system's clock leave the same time. A file that changed
/// this recently is looked at again after a tick (git's "racily clean").
const TICK: Duration = Duration::from_millis(20);

/// The most scans while files go away.
const SCANS: u32 = 100;

/// A folder of NDJSON files.
pub struct NdjsonFolder {
    folder: PathBuf,
    /// The file system that the folder was on at the start.
    device: u64,
    /// What is left out and was logged, so it is not logged at every kick-off.
    said: Mutex<BTreeMap<String, LeftOutReason>>,
    /// Files whose beginning was checked, by name, and why they are not read, if they are not.
    known: Mutex<HashMap<String, (SourceFile, Option<LeftOutReason>)>>,
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

impl NdjsonFolder {
    /// Opens a source over `folder`. Fails if it is missing or cannot be listed.
    pub fn open(folder: &Path) -> Result<Self, SourceError> {
        let look = || {
            std::fs::read_dir(folder)?;
            Ok(std::fs::metadata(folder)?.dev())
        };
        let device = look().map_err(unreadable(folder.display().to_string()))?;
        Ok(Self { folder: folder.to_owned(), device, said: Mutex::default(), known: Mutex::default() })
    }

    /// Checks that the folder is still on its file system. What lies below a mount point is not the
    /// source, and is mostly empty: an export of it would look complete.
    fn check_mount(&self) -> io::Result<()> {
        if std::fs::metadata(&self.folder)?.dev() == self.device {
            return Ok(());
        }
        Err(io::Error::other(
            "the folder is on another file system than at the start: it was unmounted, or another one \
             mounted; mount it again, or restart the server",
        ))
    }

    /// Looks at all files once.
    fn scan(&self) -> Result<Snapshot, SourceError> {
        let taken_at = Timestamp::now();
        self.check_mount().map_err(unreadable(""))?;
        let (mut names, mut left_out) = (Vec::new(), BTreeMap::new());
        for entry in std::fs::read_dir(&self.folder).map_err(unreadable(""))? {
            match entry.map_err(unreadable(""))?.file_name().into_string() {
                Ok(name) if is_leftover(&name) => left_out.extend([(name, LeftOutReason::Leftover)]),
                Ok(name) => names.push(name),
                Err(name) => left_out.extend([(name.to_string_lossy().into_owned(), LeftOutReason::Name)]),
            }
        }
        names.sort_unstable();
        self.known.lock().retain(|name, _| names.binary_search(name).is_ok());
        let mut files = Vec::new();
        for name in names {
            let reason = match self.look_at(&name) {
                Ok(Ok(file)) => {
                    files.push(file);
                    continue;
                }
                Ok(Err(reason)) => reason,
                Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => LeftOutReason::Link,
                Err(error) if is_of_file(&error) => LeftOutReason::Unreadable,
                Err(error) => return Err(unreadable(name)(error)),
            };
            left_out.insert(name, reason);
        }
        Ok(Snapshot { taken_at, files, left_out: self.say(left_out) })
    }

    /// Logs once for each name that it is left out, and why.
    fn say(&self, left_out: BTreeMap<String, LeftOutReason>) -> LeftOut {
        let mut noted = LeftOut::default();
        let mut said = self.said.lock();
        for (name, reason) in &left_out {
            if said.get(name) != Some(reason) {
                tracing::warn!(name = %name.escape_debug(), reason = reason.text(), "left out of the source");
            }
            noted.add(name, *reason);
        }
        *said = left_out;
        noted
    }

    /// Opens a file without following a link and without waiting for the writer of a FIFO.
    fn open_file(&self, name: &str) -> io::Result<File> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
        std::fs::OpenOptions::new().read(true).custom_flags(flags).open(self.folder.join(name))
    }

    /// Returns the file for a snapshot, or why it is not read.
    fn look_at(&self, name: &str) -> io::Result<Result<SourceFile, LeftOutReason>> {
        // A socket cannot be opened, and a device should not be.
        let kind = std::fs::symlink_metadata(self.folder.join(name))?.file_type();
        if kind.is_dir() {
            return Ok(Err(LeftOutReason::Folder));
        }
        if !kind.is_file() && !kind.is_symlink() {
            return Ok(Err(LeftOutReason::Special));
        }
        let mut file = self.open_file(name)?;
        let mut metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(Err(LeftOutReason::Special));
        }
        if changed_within_a_tick(&metadata, Timestamp::now()) {
            std::thread::sleep(TICK);
            file = self.open_file(name)?;
            metadata = file.metadata()?;
        }
        let version = version(name, &metadata);
        let known =
            self.known.lock().get(name).filter(|(known, _)| *known == version).map(|(_, reason)| *reason);
        let reason = match known {
            Some(reason) => reason,
            None => {
                let mut head = [0; HEAD];
                let read = ReadAt::read_full_at(&file, &mut head, 0)?;
                let reason = form(&head[..read]);
                self.known.lock().insert(name.to_owned(), (version.clone(), reason));
                reason
            }
        };
        Ok(reason.map_or(Ok(version), Err))
    }
}

impl Source for NdjsonFolder {
    fn snapshot(&self) -> Result<Snapshot, SourceError> {
        let mut scans = 0;
        loop {
            scans += 1;
            match self.scan() {
                // A file went away after it was listed: list again.
                Err(SourceError::Unreadable { name, error })
                    if error.kind() == io::ErrorKind::NotFound && !name.is_empty() && scans < SCANS => {}
                scanned => return scanned,
            }
        }
    }

    fn open(&self, name: &str) -> Result<OpenSource, SourceError> {
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
        Ok(OpenSource { file: version(name, &metadata), content: Box::new(opened) })
    }

    fn watch(&self, hint: Box<dyn Fn() + Send>) -> Option<Box<dyn Send + Sync>> {
        let told = move |event: notify::Result<notify::Event>| {
            // Reading the source is not a change, but an error may hide one.
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
    fn regular_files_are_read_whatever_is_in_them_and_the_rest_is_left_out_with_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).unwrap();
        let read = ["Organization.1721218811633.ndjson", "README.md", "empty.ndjson", "no-extension"];
        read.iter().for_each(|name| write(name, b"# about"));
        write("Patient.ndjson~", PATIENT.as_bytes());
        write(".Patient.ndjson.Xy12", PATIENT.as_bytes());
        write("Patient.ndjson.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\0");
        write("wide.ndjson", b"\xff\xfe{\0\"\0");
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
        let Snapshot { files, left_out, .. } = NdjsonFolder::open(folder.path()).unwrap().snapshot().unwrap();
        assert_eq!(files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), read);
        let named: Vec<_> = left_out.named().iter().map(|(name, reason)| (name.as_str(), *reason)).collect();
        let expected = [
            ("Patient.ndjson", LeftOutReason::Folder),
            ("Patient.ndjson.gz", LeftOutReason::Compressed),
            ("fifo.ndjson", LeftOutReason::Special),
            ("link.ndjson", LeftOutReason::Link),
            ("wide.ndjson", LeftOutReason::Utf16),
        ];
        assert_eq!((named.as_slice(), left_out.count(LeftOutReason::Leftover)), (&expected[..], 2));
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
