//! The encryption of index files (P12): hashes of ids can be tried with guessed ones. The key is no job's. It
//! lives beside the keys of epochs, and without it the index is made again.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use xxhash_rust::xxh3::xxh3_64;
use zeroize::Zeroizing;

use crate::plain_file::{self, LinkPolicy};

/// The name of the key's file.
const FILE_NAME: &str = "index.key";

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// Bytes that sealing adds.
pub const SEAL_BYTES: u64 = (NONCE_BYTES + TAG_BYTES) as u64;

/// Seals and opens parts of index files, or leaves them as they are.
pub struct IndexCipher(Option<LessSafeKey>);

impl fmt::Debug for IndexCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "IndexCipher(..)" } else { "IndexCipher(none)" })
    }
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is of another key, or damaged")
}

impl IndexCipher {
    /// Encrypts nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// Uses the key in `folder`, which is made if there is none that can be used.
    ///
    /// # Errors
    /// Fails if it cannot be read or kept.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(FILE_NAME);
        let content = match plain_file::read(&path, LinkPolicy::Refuse, 1 << 10) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            read => Zeroizing::new(read.unwrap_or_default()),
        };
        let is_whole = |key: &[u8], sum: &[u8]| key.len() == KEY_BYTES && sum == xxh3_64(key).to_le_bytes();
        let key = match content.split_at_checked(KEY_BYTES) {
            Some((key, sum)) if is_whole(key, sum) => Zeroizing::new(key.to_vec()),
            _ => make(&path)?,
        };
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| invalid())?;
        Ok(Self(Some(LessSafeKey::new(key))))
    }

    /// Returns how many bytes longer what is sealed is.
    pub fn added(&self) -> u64 {
        if self.0.is_some() { SEAL_BYTES } else { 0 }
    }

    /// Seals a text: a random nonce, the text, its tag.
    pub fn seal(&self, text: &[u8]) -> io::Result<Vec<u8>> {
        let Some(key) = &self.0 else { return Ok(text.to_vec()) };
        let mut sealed = Vec::with_capacity(text.len() + NONCE_BYTES + TAG_BYTES);
        sealed.resize(NONCE_BYTES, 0);
        aws_lc_rs::rand::fill(&mut sealed).map_err(|_| io::Error::other("no randomness"))?;
        let nonce = Nonce::try_assume_unique_for_key(&sealed).map_err(|_| invalid())?;
        sealed.extend_from_slice(text);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut sealed[NONCE_BYTES..]);
        sealed.extend_from_slice(tag.map_err(|_| invalid())?.as_ref());
        Ok(sealed)
    }

    /// Opens what was sealed into `text`, which has its length.
    ///
    /// # Errors
    /// Fails if it was sealed with another key, or changed.
    pub fn open_into(&self, sealed: &[u8], text: &mut [u8]) -> io::Result<()> {
        let Some(key) = &self.0 else {
            text.copy_from_slice(sealed);
            return Ok(());
        };
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES).ok_or_else(invalid)?;
        let (sealed, tag) = sealed.split_at_checked(text.len()).ok_or_else(invalid)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| invalid())?;
        key.open_separate_gather(nonce, Aad::empty(), sealed, tag, text).map_err(|_| invalid())
    }

    /// Opens what was sealed.
    ///
    /// # Errors
    /// As [`open_into`](Self::open_into).
    pub fn open_text(&self, sealed: &[u8]) -> io::Result<Vec<u8>> {
        let length = (sealed.len() as u64).checked_sub(self.added()).ok_or_else(invalid)?;
        let mut text = vec![0; usize::try_from(length).map_err(|_| invalid())?];
        self.open_into(sealed, &mut text)?;
        Ok(text)
    }
}

/// Makes a key in place of whatever is there.
fn make(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut key = Zeroizing::new(vec![0; KEY_BYTES]);
    aws_lc_rs::rand::fill(&mut key).map_err(|_| io::Error::other("no randomness"))?;
    let mut file = plain_file::replace_with(OpenOptions::new().write(true).mode(0o600), path)?;
    file.write_all(&key)?;
    file.write_all(&xxh3_64(&key).to_le_bytes())?;
    file.sync_all()?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_key_only_and_not_if_any_bit_was_changed() {
        let folder = tempfile::tempdir().unwrap();
        let cipher = IndexCipher::open(folder.path()).unwrap();
        let sealed = cipher.seal(b"text").unwrap();
        assert_eq!(sealed.len() as u64, 4 + cipher.added());
        assert_ne!(sealed, cipher.seal(b"text").unwrap(), "a nonce is used once");
        let again = IndexCipher::open(folder.path()).unwrap();
        assert_eq!(again.open_text(&sealed).unwrap(), b"text");
        for n in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[n / 8] ^= 1 << (n % 8);
            assert!(cipher.open_text(&damaged).is_err(), "bit {n}");
        }
        assert!(cipher.open_text(&sealed[..20]).is_err());
        std::fs::write(folder.path().join(FILE_NAME), "short").unwrap();
        let other = IndexCipher::open(folder.path()).unwrap();
        assert!(other.open_text(&sealed).is_err(), "a damaged key is made anew");
        let none = IndexCipher::none();
        assert_eq!(
            (none.seal(b"text").unwrap(), none.open_text(b"text").unwrap()),
            (b"text".into(), b"text".into())
        );
    }
}
