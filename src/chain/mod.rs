//! What a hash chain is made of: entries that are appended to a file, each bound to the one before by
//! SHA-256. The receipts and the audit log are such chains, and decide themselves how an entry looks
//! and what may be pruned. The memory of assertions is a file of the same kind without hashes.

mod append;
mod lines;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

pub use append::AppendFile;
pub use lines::{ChainLineReader, FileLine, LineEnd};

/// A SHA-256 hash, written as 64 hexadecimal digits in lower case.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ChainHash([u8; 32]);

/// A text that is not a [`ChainHash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 hash, which has 64 hexadecimal digits in lower case")]
pub struct InvalidHash;

impl ChainHash {
    /// The `previous` of the very first line: zeros.
    pub const GENESIS: Self = Self([0; 32]);

    /// Hashes a line: `previous` as it is written, then the bytes of `entry`.
    pub(crate) fn of(previous: Self, entry: &str) -> Self {
        Self(Sha256::new().chain_update(previous.to_string()).chain_update(entry).finalize().into())
    }

    /// Returns the hash of these bytes.
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ChainHash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidHash)?;
        let hash = Self(bytes);
        if hash.to_string() == text { Ok(hash) } else { Err(InvalidHash) }
    }
}

impl Serialize for ChainHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChainHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A place in a chain: the number of entries up to it, and the hash of the last of them. Whoever kept a
/// head can tell whether a chain goes through it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHead {
    /// Entries up to here, pruned ones included.
    pub count: u64,
    /// The hash of the last one.
    #[serde(rename = "head")]
    pub hash: ChainHash,
}

impl ChainHead {
    /// The head of a chain without entries.
    pub const EMPTY: Self = Self { count: 0, hash: ChainHash::GENESIS };

    /// Returns the head after one more entry, whose bytes are `entry`.
    pub(crate) fn behind(self, entry: &str) -> Self {
        Self { count: self.count + 1, hash: ChainHash::of(self.hash, entry) }
    }
}
