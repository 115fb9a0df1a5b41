//! Proofs made from the files of a data directory, whether a server runs on it or not. Nothing is written.

use std::path::Path;

use super::heads::{self, SignedTreeHead, last_head, walk_heads};
use super::prove::{entry_proof, other_tree};
use super::signer::ReceiptSigner;
use super::tree::{StoredNodes, consistency_path, is_consistent};
use super::{
    ConsistencyProof, ErasureProof, FILE_NAME, ReceiptEntry, ReceiptKey, ReceiptsError, fail_tree, walk,
};
use crate::job::JobId;

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofLack {
    /// The chain has no receipt of the job.
    #[error("the receipts have no erasure of a job {0}")]
    NoReceipt(JobId),
    /// No head commits to the receipt.
    #[error("no signed tree head commits to it yet; a server that is started signs one")]
    NoHead,
    /// No head has this size.
    #[error("receipts.heads has no head of a tree of {0} entries; `evanesce receipts heads` lists them")]
    NoSuchHead(u64),
    /// The heads are of two trees.
    #[error("the tree of the earlier head was lost, and the later one is of another tree")]
    OtherTree,
    /// A file cannot be read, or is not what it should be.
    #[error(transparent)]
    Unreadable(#[from] ReceiptsError),
}

/// Returns the public key of a data directory. `None` if it has no key yet.
///
/// # Errors
/// Fails if the key cannot be read.
pub fn public_key(data_dir: &Path) -> Result<Option<ReceiptKey>, ReceiptsError> {
    let fail = |source| ReceiptsError::ProofFile { operation: "read", file: "receipts.key", source };
    Ok(ReceiptSigner::read(data_dir).map_err(fail)?.map(|signer| signer.key()))
}

/// Proves the erasure of a job.
///
/// # Errors
/// Says why there is no proof.
pub fn prove_erasure(data_dir: &Path, job: JobId) -> Result<ErasureProof, ProofLack> {
    let (mut found, mut epoch, mut end) = (None, None, None);
    walk(&data_dir.join(FILE_NAME), |item| {
        let place = || Some((item.text.to_owned(), item.head.count));
        match item.entry {
            ReceiptEntry::Erasure(receipt) if receipt.job == job => {
                (found, epoch) = (place(), receipt.key.map(|key| key.epoch));
            }
            // An epoch ends after the keys that were destroyed in it.
            ReceiptEntry::Epoch { epoch: ended, .. } if Some(*ended) == epoch => end = place(),
            _ => {}
        }
        Ok::<_, ReceiptsError>(())
    })?;
    let (text, count) = found.ok_or(ProofLack::NoReceipt(job))?;
    // After the chain: what was durable then has a head by now.
    let (head, _) = last_head(&data_dir.join(heads::FILE_NAME)).map_err(heads::fail("read"))?;
    let head = head.ok_or(ProofLack::NoHead)?;
    let nodes = StoredNodes::open(data_dir).map_err(fail_tree("open"))?;
    let erasure = entry_proof(text, count, &head, &nodes)?.ok_or(ProofLack::NoHead)?;
    let epoch = end.map(|(text, count)| entry_proof(text, count, &head, &nodes)).transpose()?.flatten();
    Ok(ErasureProof::new(erasure, epoch, head))
}

/// Proves that the head of `later` entries, or the last one, goes on from the head of `earlier` entries.
///
/// # Errors
/// Says why there is no proof.
pub fn prove_consistency(
    data_dir: &Path,
    earlier: u64,
    later: Option<u64>,
) -> Result<ConsistencyProof, ProofLack> {
    let (mut first, mut second) = (None, None);
    walk_heads(&data_dir.join(heads::FILE_NAME), |head, _| {
        if head.tree_size == earlier {
            first = Some(head.clone());
        }
        if later.is_none_or(|later| head.tree_size == later) {
            second = Some(head.clone());
        }
        Ok::<_, ReceiptsError>(())
    })?;
    let first: SignedTreeHead = first.ok_or(ProofLack::NoSuchHead(earlier))?;
    let second = second.ok_or(later.map_or(ProofLack::NoHead, ProofLack::NoSuchHead))?;
    if first.first != second.first {
        return Err(ProofLack::OtherTree);
    }
    let nodes = StoredNodes::open(data_dir).map_err(fail_tree("open"))?;
    let path = consistency_path(&nodes, first.tree_size, second.tree_size).map_err(fail_tree("read"))?;
    let of = |head: &SignedTreeHead| (head.tree_size, head.root_hash);
    if !is_consistent(of(&first), of(&second), &path) {
        return Err(fail_tree("use")(other_tree()).into());
    }
    Ok(ConsistencyProof::new(first, second, path))
}
