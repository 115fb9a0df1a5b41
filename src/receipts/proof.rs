//! Proofs for strangers: that a receipt is among the entries which a signed head commits to. Whoever has such a file and the public key needs nothing else of the server.
//! `docs/proofs.md` has the format, and a verifier in Python.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::heads::SignedTreeHead;
use super::signer::ReceiptKey;
use super::tree::{leaf_hash, root_of};
use super::{ChainHash, ReceiptEntry};
use crate::job::Receipt;

/// The version of the formats.
pub(super) const VERSION: u8 = 1;

/// An entry of the chain, and its path to the root of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryProof {
    /// The text of the entry, to the byte as it is in the chain.
    pub entry: String,
    /// Its place among the leaves, from 0.
    pub leaf_index: u64,
    /// The hashes on its way to the root.
    pub inclusion: Vec<ChainHash>,
}

/// The proof of an erasure: its receipt, and the signed head that commits to it. In JSON it is what
/// `evanesce receipts check` reads, and the verifier of `docs/proofs.md`.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// # let me: ClientId = "me".parse()?;
/// evanesce.cancel(job, me.clone()).await?;
/// evanesce.wait_erased(job).await?;
/// let proof = evanesce.prove_erasure(&me.into(), job).await?;
/// // Kept as JSON, and checked by somebody who has the public key alone.
/// let kept = serde_json::to_string(&proof)?;
/// let key: ReceiptKey = evanesce.receipt_key().expect("an instance has one").to_string().parse()?;
/// let receipt = serde_json::from_str::<ErasureProof>(&kept)?.check(&key)?;
/// assert_eq!(receipt.job, job);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasureProof {
    version: u8,
    /// The receipt.
    pub(crate) erasure: EntryProof,
    /// The end of the epoch whose key had wrapped the job's, once it has ended (P14).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) epoch: Option<EntryProof>,
    /// The signed head.
    pub(crate) head: SignedTreeHead,
}

/// Why a proof proves nothing.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// # let me: ClientId = "me".parse()?;
/// evanesce.cancel(job, me.clone()).await?;
/// evanesce.wait_erased(job).await?;
/// let proof = evanesce.prove_erasure(&me.into(), job).await?;
/// let stranger: ReceiptKey = "ab".repeat(32).parse()?;
/// assert!(matches!(proof.check(&stranger), Err(ProofError::OtherKey(_))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The file is not a proof.
    #[error("it is not a proof: {0}")]
    Unreadable(String),
    /// The format is a later one.
    #[error("it is a proof of version {0}, and only version {VERSION} is understood")]
    Version(u8),
    /// Another key signed the head.
    #[error("the head was signed by the key {0}, which is not the key that was given")]
    OtherKey(String),
    /// The signature is wrong.
    #[error("the signature of the head is not of this key, or the head was changed")]
    Signature,
    /// The path does not lead from the entry to the root.
    #[error("the entry is not among those that the head commits to")]
    NotIncluded,
    /// The epoch that ended is not that of the receipt.
    #[error("the other entry is not the end of the receipt's epoch")]
    OtherEpoch,
    /// The entry is not a receipt.
    #[error("the entry is not the receipt of an erasure")]
    NoReceipt,
    /// The heads are not of one tree.
    #[cfg(feature = "cli")]
    #[error("the later head does not go on from the earlier one: what it commits to was changed")]
    Inconsistent,
}

/// Checks the version of a proof and one of its heads.
pub(super) fn check_head(head: &SignedTreeHead, version: u8, key: &ReceiptKey) -> Result<(), ProofError> {
    if version != VERSION {
        return Err(ProofError::Version(version));
    }
    if head.key_id != key.id() {
        return Err(ProofError::OtherKey(head.key_id.to_string()));
    }
    if head.is_signed_by(key) { Ok(()) } else { Err(ProofError::Signature) }
}

impl EntryProof {
    /// Returns the epoch that the entry names, if it is a receipt that names one.
    pub(super) fn epoch(&self) -> Option<u64> {
        match serde_json::from_str(&self.entry).ok()? {
            ReceiptEntry::Erasure(receipt) => receipt.key.map(|key| key.epoch),
            _ => None,
        }
    }

    /// Returns the entry, if the head commits to it.
    fn check(&self, head: &SignedTreeHead) -> Result<ReceiptEntry, ProofError> {
        let leaf = leaf_hash(self.entry.as_bytes());
        if root_of(leaf, self.leaf_index, head.tree_size, &self.inclusion) != Some(head.root_hash) {
            return Err(ProofError::NotIncluded);
        }
        serde_json::from_str(&self.entry).map_err(|error| ProofError::Unreadable(error.to_string()))
    }
}

impl ErasureProof {
    pub(super) fn new(erasure: EntryProof, epoch: Option<EntryProof>, head: SignedTreeHead) -> Self {
        Self { version: VERSION, erasure, epoch, head }
    }

    /// Returns the receipt, if the proof holds. Reads nothing and asks nobody.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check(&self, key: &ReceiptKey) -> Result<Receipt, ProofError> {
        check_head(&self.head, self.version, key)?;
        let ReceiptEntry::Erasure(receipt) = self.erasure.check(&self.head)? else {
            return Err(ProofError::NoReceipt);
        };
        match self.epoch.as_ref().map(|end| end.check(&self.head)).transpose()? {
            Some(ReceiptEntry::Epoch { epoch, .. }) if receipt.key.map(|key| key.epoch) == Some(epoch) => {}
            Some(_) => return Err(ProofError::OtherEpoch),
            None => {}
        }
        Ok(*receipt)
    }

    /// Returns when the key of the receipt's epoch was destroyed, which [`check`](Self::check) has checked: from
    /// then on no copy of anything opens the job (P14). `None` if the proof was made before.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce, job) = example::complete().await?;
    /// # let me: ClientId = "me".parse()?;
    /// evanesce.cancel(job, me.clone()).await?;
    /// evanesce.wait_erased(job).await?;
    /// let proof = evanesce.prove_erasure(&me.into(), job).await?;
    /// assert_eq!(proof.epoch_ended(), None, "its epoch goes on until `erase.epoch` is over");
    /// # Ok(())
    /// # }
    /// ```
    pub fn epoch_ended(&self) -> Option<Timestamp> {
        let end = serde_json::from_str(&self.epoch.as_ref()?.entry).ok();
        end.map(|entry: ReceiptEntry| entry.at())
    }
}
