//! The keys of epochs, one at a time, each in a file of its own: in the data directory, or on another
//! device. They wrap the keys of jobs; with the key of an epoch every copy of what it wrapped goes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;
use zeroize::Zeroizing;

use super::{KEY_BYTES, KeysError, overwrite};
use crate::plain_file::{self, LinkPolicy};

/// The key of an epoch. It is wiped from memory when dropped.
pub type EpochKey = Zeroizing<[u8; KEY_BYTES]>;

/// Where the keys of epochs are kept. Calls block, and have made what they change durable when they
/// return.
pub trait EpochKeys: Send + Sync {
    /// Makes the key of an epoch, in place of what an unfinished attempt left.
    ///
    /// # Errors
    /// Fails if it cannot be kept durably.
    fn create(&self, epoch: u64) -> Result<EpochKey, KeysError>;

    /// Returns the key of an epoch; `None` if it is certain that there is none.
    ///
    /// # Errors
    /// Fails if that cannot be told.
    fn load(&self, epoch: u64) -> Result<Option<EpochKey>, KeysError>;

    /// Destroys the key of an epoch. What is destroyed already is a success.
    ///
    /// # Errors
    /// Fails if it may still be there.
    fn destroy(&self, epoch: u64) -> Result<(), KeysError>;

    /// Returns the epochs that have a key, in no order.
    ///
    /// # Errors
    /// Fails if that cannot be told.
    fn epochs(&self) -> Result<Vec<u64>, KeysError>;

    /// Returns where the keys are, in words.
    fn describe(&self) -> String;
}

/// Bytes of a file: the key and its checksum.
const FILE_BYTES: usize = KEY_BYTES + 8;

/// Keys of epochs in files `epoch.<n>` of a folder.
pub struct EpochKeyFiles {
    folder: PathBuf,
}

impl EpochKeyFiles {
    /// Keeps them in `folder`, which is made if its parent is there.
    ///
    /// # Errors
    /// Fails if the folder cannot be made.
    pub fn open(folder: &Path) -> Result<Self, KeysError> {
        match std::fs::DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(KeysError::io("make the folder of", "epoch keys")(error))
            }
            _ => Ok(Self { folder: folder.into() }),
        }
    }

    fn name(epoch: u64) -> String {
        format!("epoch.{epoch}")
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

impl EpochKeys for EpochKeyFiles {
    fn create(&self, epoch: u64) -> Result<EpochKey, KeysError> {
        let name = Self::name(epoch);
        let create = || {
            let mut key = Zeroizing::new([0; KEY_BYTES]);
            aws_lc_rs::rand::fill(&mut *key).map_err(|_| io::Error::other("no randomness"))?;
            let new = self.folder.join(format!("{name}.new"));
            let mut file = plain_file::replace_with(OpenOptions::new().write(true).mode(0o600), &new)?;
            file.write_all(&*key)?;
            file.write_all(&xxh3_64(&*key).to_le_bytes())?;
            file.sync_all()?;
            std::fs::rename(&new, self.folder.join(&name))?;
            self.sync_folder()?;
            Ok(key)
        };
        create().map_err(KeysError::io("make", &name))
    }

    fn load(&self, epoch: u64) -> Result<Option<EpochKey>, KeysError> {
        let name = Self::name(epoch);
        let load = || {
            let mut content = Zeroizing::new([0; FILE_BYTES]);
            let mut file = match plain_file::open(&self.folder.join(&name), LinkPolicy::Refuse) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened?,
            };
            match file.read_exact(&mut *content) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                read => read?,
            }
            let (key, sum) = content.split_at(KEY_BYTES);
            let mut found = Zeroizing::new([0; KEY_BYTES]);
            found.copy_from_slice(key);
            // One that is damaged is none: nothing can be unwrapped with it.
            Ok((xxh3_64(key).to_le_bytes() == *sum).then_some(found))
        };
        load().map_err(KeysError::io("read", &name))
    }

    fn destroy(&self, epoch: u64) -> Result<(), KeysError> {
        let name = Self::name(epoch);
        let destroy = || {
            for name in [name.clone(), format!("{name}.new")] {
                overwrite(&self.folder.join(name))?;
            }
            self.sync_folder()
        };
        destroy().map_err(KeysError::io("destroy", &name))
    }

    fn epochs(&self) -> Result<Vec<u64>, KeysError> {
        let list = || -> io::Result<Vec<u64>> {
            let mut epochs = Vec::new();
            for entry in std::fs::read_dir(&self.folder)? {
                let name = entry?.file_name();
                let epoch = name.to_str().and_then(|name| name.strip_prefix("epoch."));
                let epoch = epoch.map(|epoch| epoch.strip_suffix(".new").unwrap_or(epoch));
                epochs.extend(epoch.and_then(|epoch| epoch.parse::<u64>().ok()));
            }
            Ok(epochs)
        };
        list().map_err(KeysError::io("list", "epoch keys"))
    }

    fn describe(&self) -> String {
        format!("files in {}", self.folder.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_there_until_it_is_destroyed() {
        let folder = tempfile::tempdir().unwrap();
        let keys = EpochKeyFiles::open(&folder.path().join("keys")).unwrap();
        assert_eq!((keys.load(1).unwrap(), keys.epochs().unwrap()), (None, vec![]));
        let key = keys.create(1).unwrap();
        assert_eq!(keys.load(1).unwrap().as_ref(), Some(&key));
        assert_ne!(keys.create(2).unwrap(), key);
        let mut epochs = keys.epochs().unwrap();
        epochs.sort_unstable();
        assert_eq!(epochs, [1, 2]);
        for _ in 0..2 {
            keys.destroy(1).unwrap();
            assert_eq!((keys.load(1).unwrap(), keys.epochs().unwrap()), (None, vec![2]));
        }
    }

    #[test]
    fn what_is_destroyed_is_overwritten_and_not_only_unlinked() {
        let folder = tempfile::tempdir().unwrap();
        let keys = EpochKeyFiles::open(folder.path()).unwrap();
        keys.create(1).unwrap();
        // A second name shows what becomes of the blocks.
        std::fs::hard_link(folder.path().join("epoch.1"), folder.path().join("link")).unwrap();
        keys.destroy(1).unwrap();
        assert_eq!(std::fs::read(folder.path().join("link")).unwrap(), [0; FILE_BYTES]);
    }

    #[test]
    fn a_key_with_any_byte_changed_or_cut_off_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let keys = EpochKeyFiles::open(folder.path()).unwrap();
        keys.create(1).unwrap();
        let path = folder.path().join("epoch.1");
        let whole = std::fs::read(&path).unwrap();
        for n in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[n] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(keys.load(1).unwrap(), None, "byte {n}");
            std::fs::write(&path, &whole[..n]).unwrap();
            assert_eq!(keys.load(1).unwrap(), None, "cut to {n}");
        }
        std::fs::write(&path, &whole).unwrap();
        assert!(keys.load(1).unwrap().is_some());
    }
}
