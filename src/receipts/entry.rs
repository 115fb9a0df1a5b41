//! What the chain's lines say. Only ids, instants, counts and reasons: nothing that could name
//! a patient (P12), as long as operators do not write it into the reasons they give.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::job::{JobId, Receipt};

/// A SHA-256 hash, written as 64 hexadecimal digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; 32]);

/// A text that is no [`Hash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 hash, which has 64 hexadecimal digits in lower case")]
pub struct InvalidHash;

impl Hash {
    /// The `previous` of the first line that there ever was: zeros.
    pub const GENESIS: Self = Self([0; 32]);

    /// The hash of a line: over `previous` as it is written, and the bytes of `entry`.
    pub(super) fn of(previous: Self, entry: &str) -> Self {
        Self(Sha256::new().chain_update(previous.to_string()).chain_update(entry).finalize().into())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidHash)?;
        let hash = Self(bytes);
        if hash.to_string() == text { Ok(hash) } else { Err(InvalidHash) }
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A place in the chain: so many entries since the first one that there ever was, and the hash
/// of the last of them. Whoever has kept a head can tell whether a chain goes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Entries up to here, pruned ones included.
    pub count: u64,
    /// The hash of the last one.
    #[serde(rename = "head")]
    pub hash: Hash,
}

impl Head {
    /// Of a chain without entries.
    pub const EMPTY: Self = Self { count: 0, hash: Hash::GENESIS };
}

/// What happened, as one line of the chain says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Entry {
    /// A job's files are gone (P9).
    Erasure(Box<Receipt>),
    /// A job's files must stay until they are released.
    Hold(Hold),
    /// The end of a hold.
    Release {
        /// The job.
        job: JobId,
        /// When.
        at: Timestamp,
        /// The operator's user name.
        by: String,
    },
    /// The reaper must not erase anything until it is resumed.
    Pause(Pause),
    /// The end of a pause.
    Resume {
        /// When.
        at: Timestamp,
        /// The operator's user name.
        by: String,
    },
    /// The first entries, whose time was over, were cut off after this one was durable.
    Prune {
        /// When.
        at: Timestamp,
        /// The last one that was cut off.
        #[serde(flatten)]
        cut: Head,
    },
    /// The store had seen more of the chain than there was at a start: its end had been cut
    /// off or replaced.
    Gap {
        /// When it was found.
        at: Timestamp,
        /// What the store remembers.
        expected: Head,
        /// What stood there, or the end of a chain that was shorter.
        found: Head,
    },
}

/// A hold on a job, as an operator placed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The job.
    pub job: JobId,
    /// Since when.
    pub at: Timestamp,
    /// The operator's user name.
    pub by: String,
    /// Why, in the operator's words.
    pub reason: String,
}

/// A pause of the reaper, as an operator ordered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub at: Timestamp,
    /// The operator's user name.
    pub by: String,
    /// Why, in the operator's words.
    pub reason: String,
}

impl Entry {
    /// When it happened; for an erasure, when the files were gone.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Erasure(receipt) => receipt.gone_at,
            Self::Hold(Hold { at, .. }) | Self::Pause(Pause { at, .. }) => *at,
            Self::Release { at, .. }
            | Self::Resume { at, .. }
            | Self::Prune { at, .. }
            | Self::Gap { at, .. } => *at,
        }
    }

    /// The job that it is about, if it is about one.
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::Erasure(receipt) => Some(receipt.job),
            Self::Hold(hold) => Some(hold.job),
            Self::Release { job, .. } => Some(*job),
            Self::Pause(_) | Self::Resume { .. } | Self::Prune { .. } | Self::Gap { .. } => None,
        }
    }

    /// The name of the kind, as in the file.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Erasure(_) => "erasure",
            Self::Hold(_) => "hold",
            Self::Release { .. } => "release",
            Self::Pause(_) => "pause",
            Self::Resume { .. } => "resume",
            Self::Prune { .. } => "prune",
            Self::Gap { .. } => "gap",
        }
    }
}
