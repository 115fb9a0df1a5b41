//! What the chain has beside it for strangers: the tree grows with each durable append, its head is signed, and
//! proofs are made of both. Nothing here stops an erasure: a tree that cannot be written is logged, and made
//! anew at the next start.

use std::fs::File;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;

use super::file::{ChainEnd, SignedTree};
use super::heads::HeadLog;
use super::known::EntryPlace;
use super::tree::{StoredNodes, TreeFile, TreeFiller, TreeNodes, inclusion_path, leaf_hash, root_of};
use super::witness::HeadWitness;
use super::{
    ChainHash, EntryProof, ErasureProof, ReceiptFile, ReceiptsError, SignedTreeHead, chain, fail, fail_tree,
    walk,
};
use crate::hooks::HookStep;
use crate::job::JobId;

impl ReceiptFile {
    /// Signs the heads of the tree from now on, and one for what is there. The key is made if there is none.
    ///
    /// # Errors
    /// Fails if the key or the heads cannot be read or written.
    pub fn signing(mut self) -> Result<Self, ReceiptsError> {
        let log = HeadLog::open(&self.data_dir)?;
        self.key = Some(log.key());
        let mut end = self.end.lock();
        if let (Some(last), Some(tree)) = (log.last(), &end.tree)
            && !goes_through(tree, last).map_err(fail_tree("read"))?
        {
            let SignedTreeHead { tree_size, root_hash, .. } = last;
            tracing::error!(
                tree_size, %root_hash,
                "the receipts are not those of the last signed head: some were removed or replaced, or an older copy \
                 was restored; who has that head can tell"
            );
        }
        end.heads = Some(log);
        let signed = self.sign_head(&mut end);
        drop(end);
        self.durable.write().signed = signed;
        Ok(self)
    }

    /// Has signed heads kept by `witness` too, if it is a file.
    ///
    /// # Errors
    /// Fails if there is no thread to be had.
    pub fn kept_by(self, witness: &HeadWitness) -> std::io::Result<Self> {
        if let (Some(log), Some(keeper)) = (&mut self.end.lock().heads, witness.keeper()?) {
            log.keep_elsewhere(keeper);
        }
        Ok(self)
    }

    /// Adds leaves of entries that are durable, and signs the head. Returns it.
    pub(super) fn grow_tree(&self, end: &mut ChainEnd, leaves: Vec<ChainHash>) -> Option<SignedTree> {
        if let Some(Err(error)) = end.tree.as_mut().map(|tree| tree.append(leaves)) {
            tree_failed(end, &error);
        }
        self.sign_head(end)
    }

    /// Makes the tree of a chain that was written anew.
    pub(super) fn make_tree_anew(&self, end: &mut ChainEnd) {
        let filled = TreeFiller::open(&self.data_dir).map_err(fail_tree("read")).and_then(|mut filler| {
            let add = |item: &super::ReceiptLine<'_>| {
                filler.add(item.head.count, item.text).map_err(fail_tree("fill"))
            };
            let chain = walk(&self.path(), add)?;
            filler.finish(chain.head.count).map_err(fail_tree("fill"))
        });
        match filled {
            Ok(tree) => end.tree = Some(tree),
            Err(error) => tree_failed(end, &error),
        }
    }

    /// Signs the head of what is durable.
    fn sign_head(&self, end: &mut ChainEnd) -> Option<SignedTree> {
        let (chain, now) = (end.head, Timestamp::now());
        let signed = match (&mut end.heads, &end.tree) {
            (Some(log), Some(tree)) => Some((log.sign(tree, chain, now), tree.nodes())),
            _ => None,
        };
        if signed.is_some() {
            self.hooks.reach(HookStep::ReceiptSigned);
        }
        signed
    }

    pub(super) fn prove_erasure(&self, job: JobId) -> Result<Option<ErasureProof>, ReceiptsError> {
        // The file, the head and the places belong together.
        let durable = self.durable.read();
        let found = durable.known.erasure(job).zip(durable.signed.clone());
        let Some((place, (head, nodes))) = found else { return Ok(None) };
        let file = durable.file.clone();
        drop(durable);
        let read = |place: EntryPlace| chain::read_text_at(&file, place.offset).map_err(fail("read"));
        let Some(erasure) = entry_proof(read(place)?, place.count, &head, &nodes)? else { return Ok(None) };
        let end = self.epoch_end(&erasure, &file)?;
        let epoch = end.map(|(text, count)| entry_proof(text, count, &head, &nodes)).transpose()?.flatten();
        Ok(Some(ErasureProof::new(erasure, epoch, head)))
    }

    /// Returns the entry of the end of the epoch that a receipt names, and its count. `None` if it has not ended,
    /// or the chain was pruned meanwhile.
    fn epoch_end(
        &self,
        erasure: &EntryProof,
        file: &Arc<File>,
    ) -> Result<Option<(String, u64)>, ReceiptsError> {
        let Some(epoch) = erasure.epoch() else { return Ok(None) };
        let durable = self.durable.read();
        let place = durable.known.epoch(epoch).filter(|_| Arc::ptr_eq(&durable.file, file));
        drop(durable);
        let read = |place: EntryPlace| {
            let text = chain::read_text_at(file, place.offset).map_err(fail("read"))?;
            Ok((text, place.count))
        };
        place.map(read).transpose()
    }
}

fn tree_failed(end: &mut ChainEnd, error: &dyn std::fmt::Display) {
    tracing::error!(%error, "receipts.tree could not be written: nothing is proven until the next start makes it anew");
    end.tree = None;
}

/// The nodes on disk are not those of a head.
pub(super) fn other_tree() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "it is not the tree of the head; a start of the server makes it anew",
    )
}

/// Returns whether a tree begins with that of a head.
fn goes_through(tree: &TreeFile, head: &SignedTreeHead) -> io::Result<bool> {
    let is_there = tree.first() == head.first && tree.edge().size() >= head.tree_size;
    Ok(is_there && tree.nodes().range(0, head.tree_size)? == head.root_hash)
}

/// Returns the proof of the `count`-th entry of the chain. `None` if the head does not commit to it.
///
/// # Errors
/// Fails if the nodes cannot be read, or are not those of the head.
pub(super) fn entry_proof(
    entry: String,
    count: u64,
    head: &SignedTreeHead,
    nodes: &StoredNodes,
) -> Result<Option<EntryProof>, ReceiptsError> {
    let Some(leaf_index) = (count - 1).checked_sub(head.first).filter(|index| *index < head.tree_size) else {
        return Ok(None);
    };
    let inclusion = inclusion_path(nodes, leaf_index, head.tree_size).map_err(fail_tree("read"))?;
    let root = root_of(leaf_hash(entry.as_bytes()), leaf_index, head.tree_size, &inclusion);
    if root != Some(head.root_hash) {
        return Err(fail_tree("use")(other_tree()));
    }
    Ok(Some(EntryProof { entry, leaf_index, inclusion }))
}
