//! The folder `auth` of the data directory, which only its owner can open. It holds what must
//! outlive the process: the keys that sign access tokens and the memory of assertions. It holds no
//! patient data.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::plain_file;

/// The name of the folder in the data directory.
const NAME: &str = "auth";

/// The open folder.
#[derive(Debug, Clone)]
pub struct AuthFolder(PathBuf);

impl AuthFolder {
    /// Opens the folder of a data directory, and creates it if needed (0700).
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let folder = Self(data_dir.join(NAME));
        folder.make()?;
        Ok(folder)
    }

    /// Creates the folder if it is not there.
    pub fn make(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Ok(()) => self.0.parent().map_or(Ok(()), |data_dir| File::open(data_dir)?.sync_all()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes created and removed names durable.
    pub fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    /// Replaces a file atomically. After a crash it is the old file or the new one.
    pub fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let temporary = format!("{name}.tmp");
        let mut options = OpenOptions::new();
        let options = options.write(true).mode(0o600);
        let mut file = plain_file::replace_with(options, &self.path(&temporary))?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(self.path(&temporary), self.path(name))?;
        self.sync()
    }
}
