//! Pruning: the first entries, whose time is over, are cut off. First a prune entry says how
//! many they are and which hash the last of them had; when it is durable, a new file is
//! written, with a checkpoint that says the same in their place, and takes the name of the old
//! one. A crash at any point leaves a whole chain: the old one, or the new one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::{ChainHead, NEW_NAME, ReceiptChain, ReceiptEntry, ReceiptsError, chain, fail, walk};
use crate::job::JobId;

/// The first entries of a chain, whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneDue {
    /// The last of them: what the prune entry must say.
    pub cut: ChainHead,
    /// The length of their lines, a checkpoint before them included.
    bytes: u64,
    /// The checkpoint before them.
    behind: Option<ChainHead>,
}

/// Why a walk over what is due ends.
enum Stop {
    /// This entry must stay.
    Here,
    Failed(ReceiptsError),
}

impl From<ReceiptsError> for Stop {
    fn from(error: ReceiptsError) -> Self {
        Self::Failed(error)
    }
}

impl ReceiptChain {
    /// The entries that may be pruned: those from before `before`, up to the first one that
    /// must stay, which is a hold or a pause that is in force, or the receipt of a job whose
    /// record `is_kept`. `None` if there is none but what earlier prunings wrote.
    pub fn due(
        &self,
        before: Timestamp,
        is_kept: impl Fn(JobId) -> bool,
    ) -> Result<Option<PruneDue>, ReceiptsError> {
        let behind = self.durable.read().checkpoint;
        let mut due = None;
        let mut is_worth_it = false;
        let walked = walk(&self.path(), |item| {
            let receipt_is_kept =
                matches!(&item.entry, ReceiptEntry::Erasure(receipt) if is_kept(receipt.job));
            let in_force = self.durable.read().known.is_in_force(item.head.count);
            if item.entry.at() >= before || receipt_is_kept || in_force {
                return Err(Stop::Here);
            }
            is_worth_it |= !matches!(item.entry, ReceiptEntry::Prune { .. });
            due = Some(PruneDue { cut: item.head, bytes: item.bytes.end, behind });
            Ok(())
        });
        match walked {
            Err(Stop::Failed(error)) => Err(error),
            Ok(_) | Err(Stop::Here) => Ok(due.filter(|_| is_worth_it)),
        }
    }

    /// Cuts off what is due, after a prune entry with `due.cut` was appended. Appends go on
    /// while the rest is copied and wait for its last lines. After an error the old file is in
    /// use as before; only if even that is not known, nothing can be appended any more.
    pub fn cut(&self, due: &PruneDue) -> Result<(), ReceiptsError> {
        let outcome = self.replace(due).map_err(fail("prune"));
        if outcome.is_err() {
            // Of no harm: the next start removes it.
            let _ = remove_new(&self.data_dir);
        }
        outcome
    }

    fn replace(&self, due: &PruneDue) -> io::Result<()> {
        let (old, new) = (self.path(), self.data_dir.join(NEW_NAME));
        remove_new(&self.data_dir)?;
        let mut rest = File::open(&old)?;
        rest.seek(SeekFrom::Start(due.bytes))?;
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create_new(true).mode(0o600).open(&new)?;
        let checkpoint = chain::checkpoint_line(due.cut);
        file.write_all(&checkpoint)?;
        let durable_bytes = self.end.lock().bytes;
        copy(&mut rest, durable_bytes - due.bytes, &mut file)?;
        file.sync_all()?;

        let mut end = self.end.lock();
        if end.failed || self.durable.read().checkpoint != due.behind {
            return Err(io::Error::other("it is not the file any more that was to be pruned"));
        }
        copy(&mut rest, end.bytes - durable_bytes, &mut file)?;
        file.sync_all()?;
        std::fs::rename(&new, &old)?;
        // Until the name is durable, a power loss would bring the old file back.
        end.failed = true;
        File::open(&self.data_dir)?.sync_all()?;
        end.failed = false;
        end.file = Arc::new(file);
        end.bytes = end.bytes - due.bytes + checkpoint.len() as u64;
        let mut durable = self.durable.write();
        durable.file = end.file.clone();
        durable.checkpoint = Some(due.cut);
        durable.known.forget_before(due.bytes, checkpoint.len() as u64);
        Ok(())
    }
}

fn copy(from: &mut File, bytes: u64, to: &mut File) -> io::Result<()> {
    let copied = io::copy(&mut from.take(bytes), to)?;
    if copied == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Removes the new file of a pruning that did not come to its end.
pub(super) fn remove_new(data_dir: &Path) -> io::Result<()> {
    match std::fs::remove_file(data_dir.join(NEW_NAME)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
