//! The Ed25519 key that signs tree heads: `receipts.key` in the data directory (PKCS #8, DER, 0600), made at
//! the first start. Whoever has it can sign for this server. Whoever has the public key can check.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::chain::ChainHash;
use crate::plain_file::{self, LinkPolicy};

/// The name of the file in the data directory.
const FILE_NAME: &str = "receipts.key";

/// The name of a new key until it is durable.
const NEW_NAME: &str = "receipts.key.new";

/// Largest size of the file in bytes.
const MOST_BYTES: u64 = 4096;

/// The public key that checks the heads of a server (Ed25519), written as 64 hexadecimal digits in lower case.
///
/// ```
/// use evanesce::{InvalidReceiptKey, ReceiptKey};
///
/// let key: ReceiptKey = "0a".repeat(32).parse()?;
/// assert_eq!(key.to_string(), "0a".repeat(32));
/// assert_eq!("0A".repeat(32).parse::<ReceiptKey>(), Err(InvalidReceiptKey));
/// # Ok::<_, InvalidReceiptKey>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReceiptKey([u8; 32]);

/// A text that is not a [`ReceiptKey`].
///
/// ```
/// assert_eq!("no key".parse::<evanesce::ReceiptKey>(), Err(evanesce::InvalidReceiptKey));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a public key, which has 64 hexadecimal digits in lower case")]
pub struct InvalidReceiptKey;

impl ReceiptKey {
    /// Returns the key's id: the SHA-256 of its 32 bytes.
    pub(crate) fn id(&self) -> ChainHash {
        ChainHash::from_bytes(Sha256::digest(self.0).into())
    }

    /// Returns whether the signature is of this text by this key.
    pub(crate) fn has_signed(&self, text: &[u8], signature: &HeadSignature) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(text, &signature.0).is_ok()
    }
}

/// A signature, written as 128 hexadecimal digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HeadSignature([u8; 64]);

/// Writes and reads bytes as hexadecimal digits in lower case.
macro_rules! hexadecimal {
    ($type:ty, $length:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $type {
            type Err = InvalidReceiptKey;

            fn from_str(text: &str) -> Result<Self, InvalidReceiptKey> {
                let mut bytes = [0; $length];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidReceiptKey)?;
                let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
                if is_lower { Ok(Self(bytes)) } else { Err(InvalidReceiptKey) }
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

impl HeadSignature {
    /// What stands in a head before it is signed.
    pub(super) const NONE: Self = Self([0; 64]);
}

hexadecimal!(ReceiptKey, 32);
hexadecimal!(HeadSignature, 64);

/// The private key.
pub struct ReceiptSigner {
    pair: Ed25519KeyPair,
    key: ReceiptKey,
}

impl ReceiptSigner {
    /// Reads the key of a data directory. Returns `None` if it has none.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or has no Ed25519 key.
    pub fn read(data_dir: &Path) -> io::Result<Option<Self>> {
        match plain_file::read(&data_dir.join(FILE_NAME), LinkPolicy::Refuse, MOST_BYTES) {
            Ok(pkcs8) => Self::of(&pkcs8).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a key, which is durable when this returns.
    ///
    /// # Errors
    /// Fails if it cannot be written. No key is left then.
    pub fn create(data_dir: &Path) -> io::Result<Self> {
        let pkcs8 = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1());
        let pkcs8 = pkcs8.map_err(|_| io::Error::other("no key could be generated"))?;
        let new = data_dir.join(NEW_NAME);
        let mut file = plain_file::replace_with(OpenOptions::new().write(true).mode(0o600), &new)?;
        file.write_all(pkcs8.as_ref())?;
        file.sync_all()?;
        std::fs::rename(new, data_dir.join(FILE_NAME))?;
        std::fs::File::open(data_dir)?.sync_all()?;
        Self::of(pkcs8.as_ref())
    }

    fn of(pkcs8: &[u8]) -> io::Result<Self> {
        let text = "it has no Ed25519 key; put the key back, or move the file away and have another key made";
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, text);
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| invalid())?;
        let key = pair.public_key().as_ref().try_into().map_err(|_| invalid())?;
        Ok(Self { pair, key: ReceiptKey(key) })
    }

    /// Returns the public key.
    pub fn key(&self) -> ReceiptKey {
        self.key
    }

    /// Signs a text.
    pub fn sign(&self, text: &[u8]) -> HeadSignature {
        let signature = self.pair.sign(text);
        HeadSignature(signature.as_ref().try_into().expect("a signature of Ed25519 has 64 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_key_is_its_owners_alone_and_the_same_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        assert!(ReceiptSigner::read(folder.path()).unwrap().is_none());
        let key = ReceiptSigner::create(folder.path()).unwrap().key();
        let signer = ReceiptSigner::read(folder.path()).unwrap().unwrap();
        assert_eq!(signer.key(), key);
        let path = folder.path().join(FILE_NAME);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let signature = signer.sign(b"text");
        assert!(key.has_signed(b"text", &signature) && !key.has_signed(b"texT", &signature));
        std::fs::write(&path, "no key").unwrap();
        assert!(ReceiptSigner::read(folder.path()).is_err_and(|error| error.to_string().contains("move")));
    }

    #[test]
    fn a_signature_is_that_of_rfc_8032() {
        let key: ReceiptKey =
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c".parse().unwrap();
        let signature = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f\
                         11d8c387b2eaeb4302aeeb00d291612bb0c00";
        assert!(key.has_signed(b"\x72", &signature.parse().unwrap()));
        for other in [key.to_string().to_uppercase().as_str(), "", &"0".repeat(63), &"x".repeat(64)] {
            assert_eq!(other.parse::<ReceiptKey>(), Err(InvalidReceiptKey), "{other}");
        }
    }
}
