//! Pruning: the first entries, whose time is over, are cut off. First a prune entry says how
//! many they are and which hash the last of them had; when it is durable, a new file is
//! written, with a checkpoint that says the same in their place, and takes the name of the old
//! one. A crash at any point leaves a whole chain: the old one, or the new one.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use jiff::Timestamp;

use super::{ChainHead, NEW_NAME, ReceiptEntry, ReceiptFile, ReceiptsError, chain, fail, walk};
use crate::chain::AppendFile;
use crate::job::JobId;
use crate::plain_file;

/// Why a walk over what is due ends.
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
                matches!(&item.entry, ReceiptEntry::Erasure(receipt) if is_kept(receipt.job));
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

    /// Appends go on while the rest is copied and wait for its last lines.
    pub(super) fn cut_off(&self, due: ChainHead) -> Result<(), ReceiptsError> {
        let outcome = self.replace(due);
        if outcome.is_err() {
            // Of no harm: the next start removes it.
            let _ = remove_new(&self.data_dir);
        }
        outcome.map_err(fail("prune"))
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
        let (old, new) = (self.path(), self.data_dir.join(NEW_NAME));
        remove_new(&self.data_dir)?;
        let mut rest = File::open(&old)?;
        rest.seek(SeekFrom::Start(bytes))?;
        let mut file = AppendFile::create(&new)?;
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
        std::fs::rename(&new, &old)?;
        // Until the name is durable, a power loss would bring the old file back.
        end.failed = true;
        File::open(&self.data_dir)?.sync_all()?;
        end.failed = false;
        end.file = file;
        let mut durable = self.durable.write();
        durable.file = end.file.handle().clone();
        durable.checkpoint = Some(due);
        durable.known.forget_before(bytes, checkpoint.len() as u64);
        Ok(())
    }
}

fn not_there() -> io::Error {
    io::Error::other("it is not the file any more that was to be pruned")
}

fn copy(from: &mut File, bytes: u64, to: &mut AppendFile) -> io::Result<()> {
    let copied = to.append_from(&mut from.take(bytes))?;
    if copied == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Removes the new file of a pruning that did not come to its end.
pub(super) fn remove_new(data_dir: &Path) -> io::Result<()> {
    plain_file::remove(&data_dir.join(NEW_NAME))
}
