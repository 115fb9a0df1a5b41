//! Proofs for auditors: that one signed head only adds to another. And the file of a proof of either kind.

use serde::{Deserialize, Serialize};

use super::heads::SignedTreeHead;
use super::proof::{VERSION, check_head};
use super::tree::is_consistent;
use super::{ChainHash, ErasureProof, ProofError, ReceiptKey};

/// The most bytes of a proof: an entry, some of its characters escaped, twice 64 hashes, and a head.
pub const MOST_PROOF_BYTES: u64 = 16 << 20;

/// The proof that the tree of one head begins with the tree of an earlier one: nothing was changed or removed
/// between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyProof {
    version: u8,
    /// The earlier head.
    pub earlier: SignedTreeHead,
    /// The later one.
    pub later: SignedTreeHead,
    /// The hashes that lead to both roots.
    pub consistency: Vec<ChainHash>,
}

impl ConsistencyProof {
    pub(super) fn new(earlier: SignedTreeHead, later: SignedTreeHead, consistency: Vec<ChainHash>) -> Self {
        Self { version: VERSION, earlier, later, consistency }
    }

    /// Checks that the later head goes on from the earlier one. Reads nothing and asks nobody.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check(&self, key: &ReceiptKey) -> Result<(), ProofError> {
        check_head(&self.earlier, self.version, key)?;
        check_head(&self.later, self.version, key)?;
        let of = |head: &SignedTreeHead| (head.tree_size, head.root_hash);
        let is_one_tree = self.earlier.first == self.later.first;
        if is_one_tree && is_consistent(of(&self.earlier), of(&self.later), &self.consistency) {
            Ok(())
        } else {
            Err(ProofError::Inconsistent)
        }
    }
}

/// A proof of either kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiptProof {
    /// That an erasure is among the receipts.
    Erasure(ErasureProof),
    /// That a head goes on from an earlier one.
    Consistency(ConsistencyProof),
}

impl ReceiptProof {
    /// Parses a proof.
    ///
    /// # Errors
    /// Fails if it is of neither kind.
    pub fn parse(text: &[u8]) -> Result<Self, ProofError> {
        let unreadable = |error: serde_json::Error| ProofError::Unreadable(error.to_string());
        let fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(text).map_err(unreadable)?;
        if fields.contains_key("consistency") {
            serde_json::from_slice(text).map(Self::Consistency).map_err(unreadable)
        } else {
            serde_json::from_slice(text).map(Self::Erasure).map_err(unreadable)
        }
    }
}
