//! Reads what must be a regular file, whatever stands in its place. A FIFO does not block, a device
//! is not read, a symbolic link is followed only where an operator may have made one, and nothing
//! is read beyond a bound (P6, P13).

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Largest size in bytes of a file of settings, applications, keys or certificates.
pub const SETTINGS_BYTES: u64 = 16 << 20;

/// Whether a symbolic link may stand in a file's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkPolicy {
    /// For files that settings name: secrets are often mounted as links.
    Follow,
    /// For files that the server made.
    Refuse,
}

/// Why something is not a plain file.
#[derive(Debug, thiserror::Error)]
enum NotPlainFile {
    #[error("it is not a regular file; move it away")]
    NoFile,
    #[error("it is a symbolic link; move it away")]
    Link,
    #[error("it has {0} bytes, more than the {1} that such a file may have")]
    TooLong(u64, u64),
}

impl From<NotPlainFile> for io::Error {
    fn from(strange: NotPlainFile) -> Self {
        let kind = match strange {
            NotPlainFile::TooLong(..) => io::ErrorKind::FileTooLarge,
            NotPlainFile::NoFile | NotPlainFile::Link => io::ErrorKind::InvalidData,
        };
        Self::new(kind, strange)
    }
}

/// Returns whether an error says that something else stands in a file's place, or that it is too
/// long.
pub fn is_strange(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<NotPlainFile>())
}

/// Returns the flags for opening a file without ever blocking.
pub fn flags(links: LinkPolicy) -> OFlags {
    let flags = OFlags::NONBLOCK | OFlags::CLOEXEC;
    if links == LinkPolicy::Refuse { flags | OFlags::NOFOLLOW } else { flags }
}

/// Opens a file with `options`.
///
/// # Errors
/// What stands there is not a regular file, or cannot be opened.
pub fn open_with(options: &mut OpenOptions, path: &Path, links: LinkPolicy) -> io::Result<File> {
    let bits = i32::try_from(flags(links).bits()).expect("the flags of open fit into its argument");
    let file = options.custom_flags(bits).open(path).map_err(explain)?;
    length(&file)?;
    Ok(file)
}

/// Opens a file for reading.
///
/// # Errors
/// As [`open_with`].
pub fn open(path: &Path, links: LinkPolicy) -> io::Result<File> {
    open_with(OpenOptions::new().read(true), path, links)
}

/// Creates a new file in place of what has that name.
///
/// # Errors
/// Fails if the old file cannot be removed or the new one cannot be created.
pub fn replace_with(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    remove(path)?;
    options.create_new(true).open(path)
}

/// Removes a file, if there is one.
///
/// # Errors
/// Fails if it is still there.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Turns an error of opening something that is not a plain file into one that says so.
pub fn explain(error: io::Error) -> io::Error {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::LOOP) => NotPlainFile::Link.into(),
        // A FIFO without a reader, a socket, or a directory opened for writing.
        Some(Errno::NXIO | Errno::ISDIR) => NotPlainFile::NoFile.into(),
        _ => error,
    }
}

/// Returns the length of an open file in bytes.
///
/// # Errors
/// Fails if it is not a regular file.
pub fn length(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok(metadata.len()) } else { Err(NotPlainFile::NoFile.into()) }
}

/// Reads an open file to its end.
///
/// # Errors
/// Fails if it is not a regular file, has more than `max` bytes, or cannot be read.
pub fn read_all(file: File, max: u64) -> io::Result<Vec<u8>> {
    check_length(length(&file)?, max)?;
    let mut content = Vec::new();
    let read = file.take(max + 1).read_to_end(&mut content)? as u64;
    check_length(read, max)?;
    Ok(content)
}

/// Checks the length of a file.
///
/// # Errors
/// Fails if `bytes` is more than `max`.
pub fn check_length(bytes: u64, max: u64) -> io::Result<()> {
    if bytes > max { Err(NotPlainFile::TooLong(bytes, max).into()) } else { Ok(()) }
}

/// Opens a file and reads it to its end.
///
/// # Errors
/// As [`open`] and [`read_all`].
pub fn read(path: &Path, links: LinkPolicy, max: u64) -> io::Result<Vec<u8>> {
    read_all(open(path, links)?, max)
}

/// Reads text, as [`read`] reads bytes.
///
/// # Errors
/// As [`read`]; or it is not UTF-8.
#[cfg(feature = "server")]
pub fn read_text(path: &Path, links: LinkPolicy, max: u64) -> io::Result<String> {
    let text = String::from_utf8(read(path, links, max)?);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// Reads a line with its line break into `line`, at most `max` bytes of it. The rest of a longer
/// line is skipped, and the line comes without its break, as a last line without one does. Returns
/// false at the end of the input.
///
/// # Errors
/// Fails if the input cannot be read.
pub fn read_line(input: &mut impl BufRead, max: u64, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let read = input.by_ref().take(max).read_until(b'\n', line)? as u64;
    if read == max && !line.ends_with(b"\n") {
        input.skip_until(b'\n')?;
    }
    Ok(read > 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn what_is_no_regular_file_neither_blocks_nor_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "text").unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        symlink(path("file"), path("link")).unwrap();
        mknodat(CWD, path("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for name in ["folder", "fifo", "link"] {
            let error = read(&path(name), LinkPolicy::Refuse, 100).unwrap_err();
            assert!(is_strange(&error), "{name}: {error}");
            let mut write = OpenOptions::new();
            let error = open_with(write.write(true), &path(name), LinkPolicy::Refuse).unwrap_err();
            assert!(is_strange(&error), "{name}: {error}");
        }
        assert_eq!(read(&path("link"), LinkPolicy::Follow, 4).unwrap(), b"text");
        assert!(is_strange(&read(&path("fifo"), LinkPolicy::Follow, 4).unwrap_err()));
        assert!(!is_strange(&read(&path("missing"), LinkPolicy::Refuse, 4).unwrap_err()));
    }

    #[test]
    fn a_file_is_read_up_to_its_bound_and_not_beyond_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "1234").unwrap();
        assert_eq!(read(&path, LinkPolicy::Refuse, 4).unwrap(), b"1234");
        assert!(is_strange(&read(&path, LinkPolicy::Refuse, 3).unwrap_err()));
        File::options().write(true).open(&path).unwrap().set_len(3 << 30).unwrap();
        assert!(is_strange(&read(&path, LinkPolicy::Refuse, 1 << 20).unwrap_err()), "a sparse file");
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_without_being_kept() {
        let mut input = io::Cursor::new("123\n12345\n1234\n12");
        let mut line = Vec::new();
        let mut lines = Vec::new();
        while read_line(&mut input, 5, &mut line).unwrap() {
            lines.push(String::from_utf8(line.clone()).unwrap());
        }
        assert_eq!(lines, ["123\n", "12345", "1234\n", "12"]);
    }
}
