//! Pruning: cuts off the first entries when they are too old. First a prune entry records how many they
//! are and the hash of the last one. When it is durable, a new file with a checkpoint in their place is
//! written and renamed over the old one. A crash at any point leaves a whole chain, the old one or the
//! new one.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use jiff::Timestamp;

use super::heads::{HeadLog, ShorterHeads};
use super::known::ReceiptIndex;
use super::tree::TreeFile;
use super::{ChainHead, NEW_NAME, ReceiptEntry, ReceiptFile, ReceiptsError, chain, fail, walk};
use crate::chain::AppendFile;
use crate::job::JobId;
use crate::plain_file;

/// Why a walk over the entries that are due ends.
enum PruneStop {
    /// This entry must stay.
    Here,
    Failed(ReceiptsError),
}

impl From<ReceiptsError> for PruneStop {
    fn from(error: ReceiptsError) -> Self {
        Self::Failed(error)
    }
}

impl ReceiptFile {
    pub(super) fn find_due(
        &self,
        before: Timestamp,
        is_kept: &dyn Fn(JobId) -> bool,
    ) -> Result<Option<ChainHead>, ReceiptsError> {
        let mut due = None;
        let mut is_worth_it = false;
        let walked = walk(&self.path(), |item| {
            let receipt_is_kept =
                matches!(item.entry, ReceiptEntry::Erasure(receipt) if is_kept(receipt.job));
            let in_force = self.durable.read().known.is_in_force(item.head.count);
            if item.entry.at() >= before || receipt_is_kept || in_force {
                return Err(PruneStop::Here);
            }
            is_worth_it |= !matches!(item.entry, ReceiptEntry::Prune { .. });
            due = Some(item.head);
            Ok(())
        });
        match walked {
            Err(PruneStop::Failed(error)) => Err(error),
            Ok(_) | Err(PruneStop::Here) => Ok(due.filter(|_| is_worth_it)),
        }
    }

    /// Cuts off the entries up to `due`. Appends go on while the rest is copied, and wait for its last
    /// lines.
    pub(super) fn cut_off(&self, due: ChainHead) -> Result<(), ReceiptsError> {
        let outcome = self.replace(due);
        if outcome.is_err() {
            // Harmless: the next start removes it.
            let _ = remove_new(&self.data_dir);
        }
        outcome.map_err(fail("prune"))?;
        self.cut_heads(due)
    }

    /// Cuts off the heads of entries that were cut off. The tree of a later head has them all.
    fn cut_heads(&self, due: ChainHead) -> Result<(), ReceiptsError> {
        let Some(end) = self.end.lock().heads.as_ref().map(HeadLog::bytes) else { return Ok(()) };
        let shorter = ShorterHeads::copy(&self.data_dir, due.count, end)?;
        match &mut self.end.lock().heads {
            Some(heads) => shorter.put_in_place(heads),
            None => Ok(()),
        }
    }

    fn replace(&self, due: ChainHead) -> io::Result<()> {
        let behind = self.durable.read().checkpoint;
        if due.count <= behind.map_or(0, |checkpoint| checkpoint.count) {
            return Err(not_there());
        }
        let (head, bytes) = self.entry_at(due.count)?;
        if head != due {
            return Err(not_there());
        }
        // The hashes of what goes are only there.
        let leaves = self.end.lock().tree.as_ref().map(TreeFile::nodes).ok_or_else(no_tree)?;
        leaves.sync()?;
        remove_new(&self.data_dir)?;
        let mut rest = File::open(self.path())?;
        rest.seek(SeekFrom::Start(bytes))?;
        let mut file = AppendFile::create(&self.data_dir.join(NEW_NAME))?;
        let checkpoint = chain::checkpoint_line(due);
        file.append(&checkpoint)?;
        let durable_bytes = self.end.lock().file.bytes();
        copy(&mut rest, durable_bytes - bytes, &mut file)?;
        file.handle().sync_all()?;

        let mut end = self.end.lock();
        if end.failed || self.durable.read().checkpoint != behind {
            return Err(not_there());
        }
        copy(&mut rest, end.file.bytes() - durable_bytes, &mut file)?;
        file.handle().sync_all()?;
        let forget = |index: &mut ReceiptIndex| index.forget_before(bytes, checkpoint.len() as u64);
        self.put_in_place(&mut end, file, Some(due), forget)
    }
}

fn no_tree() -> io::Error {
    io::Error::other(
        "receipts.tree could not be written, and must have the hashes of what goes; restart the server",
    )
}

fn not_there() -> io::Error {
    io::Error::other("the file was changed meanwhile")
}

fn copy(from: &mut File, bytes: u64, to: &mut AppendFile) -> io::Result<()> {
    let copied = to.append_from(&mut from.take(bytes))?;
    if copied == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Removes the new file of an unfinished pruning.
pub(super) fn remove_new(data_dir: &Path) -> io::Result<()> {
    plain_file::remove(&data_dir.join(NEW_NAME))
}
