//! The chain of receipts as one append-only file, with an index of its entries in memory. Readers of
//! what is durable wait for no fsync. `mend` watches and repairs the open file, `prune` cuts off its
//! beginning.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};

use super::heads::{HeadLog, SignedTreeHead};
use super::known::ReceiptIndex;
use super::tree::{StoredNodes, TreeFile, TreeFiller};
use super::{
    ChainHead, ErasureProof, FILE_NAME, JobHold, NEW_NAME, ReaperPause, ReceiptChain, ReceiptEntry,
    ReceiptKey, ReceiptsError, chain, fail, fail_tree, prune, walk,
};
use crate::chain::AppendFile;
use crate::hooks::{HookFault, HookStep, Hooks};
use crate::job::{JobId, Receipt};
use crate::telemetry;

/// The open file of receipts.
pub struct ReceiptFile {
    pub(super) data_dir: PathBuf,
    /// The end of the chain. Locked before `durable`, where both are.
    pub(super) end: Mutex<ChainEnd>,
    /// What is on stable storage. Readers wait for no fsync.
    pub(super) durable: RwLock<DurableChain>,
    /// Until when receipts may have been pruned.
    pruned_until: Option<Timestamp>,
    pub(super) hooks: Hooks,
    /// What checks the heads; `None` if none are signed.
    pub(super) key: Option<ReceiptKey>,
}

pub(super) struct ChainEnd {
    pub(super) file: AppendFile,
    pub(super) head: ChainHead,
    /// The tree over the entries; `None` if it could not be written. A start makes it anew.
    pub(super) tree: Option<TreeFile>,
    /// What signs heads of the tree; `None` if nothing does.
    pub(super) heads: Option<HeadLog>,
    /// Set by an error after which the file's content is unknown. Nothing more is appended.
    pub(super) failed: bool,
}

/// A signed head, and the nodes of its tree.
pub(super) type SignedTree = (SignedTreeHead, StoredNodes);

pub(super) struct DurableChain {
    /// The file that the index's offsets refer to.
    pub(super) file: Arc<File>,
    pub(super) checkpoint: Option<ChainHead>,
    pub(super) known: ReceiptIndex,
    /// The last signed head, and the nodes of its tree.
    pub(super) signed: Option<SignedTree>,
}

impl ReceiptFile {
    /// Opens the receipts of a data directory, verifies the chain, cuts off a torn last line and brings the
    /// tree up to date. Fails if the chain is broken. Signs nothing.
    pub fn open(data_dir: &Path) -> Result<Self, ReceiptsError> {
        prune::remove_new(data_dir).map_err(fail("remove what a pruning left of"))?;
        let path = data_dir.join(FILE_NAME);
        let mut known = ReceiptIndex::default();
        let mut filler = TreeFiller::open(data_dir).map_err(fail_tree("read"))?;
        let chain = walk(&path, |item| {
            known.note(item.entry, item.head.count, item.bytes.start);
            filler.add(item.head.count, item.text).map_err(fail_tree("fill"))
        })?;
        let tree = filler.finish(chain.head.count).map_err(fail_tree("fill"))?;
        if let Err(error) = chain.confirm() {
            // What is missing cannot be brought back, and deletions go on.
            tracing::error!(%error, "the end of the receipts was cut off");
            telemetry::receipts_gap();
        }
        let (file, torn) = AppendFile::open(&path, chain.bytes).map_err(fail("open"))?;
        if torn > 0 {
            let count = chain.head.count;
            tracing::warn!(count, "a torn receipt was cut off; its erasure is done again");
        }
        let sync = || {
            file.handle().sync_all()?;
            File::open(data_dir)?.sync_all()
        };
        sync().map_err(fail("prepare"))?;
        let durable =
            DurableChain { file: file.handle().clone(), checkpoint: chain.checkpoint, known, signed: None };
        let end = ChainEnd { file, head: chain.head, tree: Some(tree), heads: None, failed: false };
        let (end, durable) = (Mutex::new(end), RwLock::new(durable));
        let pruned_until = chain.checkpoint.map(|_| chain.first.unwrap_or(Timestamp::MAX));
        Ok(Self { data_dir: data_dir.into(), end, durable, pruned_until, hooks: Hooks::default(), key: None })
    }

    /// Sets the breakpoints and faults of tests.
    pub fn with_hooks(self, hooks: Hooks) -> Self {
        Self { hooks, ..self }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.data_dir.join(FILE_NAME)
    }

    /// Gives the new file the chain's name, and goes on with it. `update` brings the index up to date.
    pub(super) fn put_in_place(
        &self,
        end: &mut ChainEnd,
        file: AppendFile,
        checkpoint: Option<ChainHead>,
        update: impl FnOnce(&mut ReceiptIndex),
    ) -> io::Result<()> {
        std::fs::rename(self.data_dir.join(NEW_NAME), self.path())?;
        // Until the name is durable, a power loss would bring the old file back.
        end.failed = true;
        File::open(&self.data_dir)?.sync_all()?;
        end.failed = false;
        let mut durable = self.durable.write();
        (durable.file, durable.checkpoint) = (file.handle().clone(), checkpoint);
        update(&mut durable.known);
        end.file = file;
        Ok(())
    }

    /// Returns the head at the `count`-th entry, which is in the file, and where its line ends.
    /// Counting lines is cheaper than keeping all hashes or offsets in memory for a question that only
    /// a start after a crash and a pruning ask.
    pub(super) fn entry_at(&self, count: u64) -> io::Result<(ChainHead, u64)> {
        let checkpoint = self.durable.read().checkpoint;
        let behind = checkpoint.unwrap_or(ChainHead::EMPTY).count;
        let mut input = BufReader::new(File::open(self.path())?);
        let (mut text, mut end) = (Vec::new(), 0);
        for _ in 0..count - behind - 1 + u64::from(checkpoint.is_some()) {
            end += input.skip_until(b'\n')?;
        }
        end += input.read_until(b'\n', &mut text)?;
        Ok((ChainHead { count, hash: chain::hash_of(&text)? }, end as u64))
    }
}

impl ReceiptChain for ReceiptFile {
    fn append_each(&self, entries: &[ReceiptEntry]) -> Result<Vec<ChainHead>, ReceiptsError> {
        let mut end = self.end.lock();
        if end.failed {
            return Err(fail("append to")(io::Error::other("an append failed before; restart the server")));
        }
        if let Err(error) = self.mend(&mut end, Timestamp::now()) {
            // Where it still has a name somewhere it can be found and put back.
            tracing::error!(%error, "the receipts are not in their place, and cannot be put there");
            let open = end.file.handle().metadata();
            let has_name = open.is_ok_and(|open| open.nlink() > 0 && open.len() == end.file.bytes());
            if !has_name {
                end.failed = true;
                return Err(fail("append to")(error));
            }
        }
        let (mut head, mut text, mut places) = (end.head, Vec::new(), Vec::with_capacity(entries.len()));
        let mut leaves = Vec::with_capacity(entries.len());
        for entry in entries {
            let offset = end.file.bytes() + text.len() as u64;
            let (line, leaf, next) = chain::line(head, entry);
            text.extend(line);
            head = next;
            places.push((entry, head, offset));
            leaves.push(leaf);
        }
        let written = end.file.append(&text).and_then(|()| {
            self.hooks.reach(HookStep::ReceiptWritten);
            self.hooks.fault(HookFault::Fsync)?;
            telemetry::timed_sync("receipts", || end.file.sync())
        });
        end.failed = written.is_err();
        written.map_err(fail("append to"))?;
        end.head = head;
        let signed = self.grow_tree(&mut end, leaves);
        // At once: whoever sees a receipt can have it proven.
        let mut durable = self.durable.write();
        durable.signed = signed;
        for (entry, head, offset) in &places {
            durable.known.note(entry, head.count, *offset);
        }
        drop(durable);
        for (entry, head, _) in &places {
            let job = entry.job().map(tracing::field::display);
            tracing::info!(job, kind = entry.kind(), count = head.count, head = %head.hash, "receipt appended");
        }
        Ok(places.into_iter().map(|(_, head, _)| head).collect())
    }

    fn head(&self) -> ChainHead {
        self.end.lock().head
    }

    fn missing(&self, expected: ChainHead) -> Result<Option<ChainHead>, ReceiptsError> {
        let head = self.head();
        let first = self.durable.read().checkpoint.unwrap_or(ChainHead::EMPTY);
        let found = match expected.count {
            count if count >= head.count => head,
            count if count < first.count => return Ok(None),
            count if count == first.count => first,
            count => self.entry_at(count).map_err(fail("read"))?.0,
        };
        Ok((found != expected).then_some(found))
    }

    fn has(&self, job: JobId) -> bool {
        self.durable.read().known.erasure(job).is_some()
    }

    fn pruned_until(&self) -> Option<Timestamp> {
        self.pruned_until
    }

    fn tells_gap(&self, expected: ChainHead) -> bool {
        self.durable.read().known.gap() == Some(expected)
    }

    fn erased_since(&self, since: Timestamp) -> Vec<JobId> {
        self.durable.read().known.erased_since(since)
    }

    fn find(&self, job: JobId) -> Result<Option<Receipt>, ReceiptsError> {
        let place = {
            let durable = self.durable.read();
            durable.known.erasure(job).map(|place| (durable.file.clone(), place.offset))
        };
        let Some((file, offset)) = place else { return Ok(None) };
        let text = chain::read_text_at(&file, offset).map_err(fail("read"))?;
        match serde_json::from_str(&text).map_err(|error| fail("read")(error.into()))? {
            ReceiptEntry::Erasure(receipt) => Ok(Some(*receipt)),
            _ => Err(fail("read")(io::Error::other("another entry stands where a receipt was written"))),
        }
    }

    fn prove(&self, job: JobId) -> Result<Option<ErasureProof>, ReceiptsError> {
        self.prove_erasure(job)
    }

    #[cfg(any(feature = "server", test))]
    fn signed_head(&self) -> Option<SignedTreeHead> {
        self.durable.read().signed.as_ref().map(|(head, _)| head.clone())
    }

    fn key(&self) -> Option<ReceiptKey> {
        self.key
    }

    #[cfg(feature = "server")]
    fn hold_of(&self, job: JobId) -> Option<JobHold> {
        self.durable.read().known.hold_of(job).cloned()
    }

    fn holds(&self) -> Vec<JobHold> {
        self.durable.read().known.holds()
    }

    fn ended_epoch(&self) -> u64 {
        self.durable.read().known.ended_epoch()
    }

    fn pause(&self) -> Option<ReaperPause> {
        self.durable.read().known.pause().cloned()
    }

    fn due(
        &self,
        before: Timestamp,
        is_kept: &dyn Fn(JobId) -> bool,
    ) -> Result<Option<ChainHead>, ReceiptsError> {
        self.find_due(before, is_kept)
    }

    fn cut(&self, due: ChainHead) -> Result<(), ReceiptsError> {
        self.cut_off(due)
    }

    fn is_in_place(&self) -> bool {
        self.stands(&self.end.lock())
    }
}
