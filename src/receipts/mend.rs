//! The file is followed while it is open: whoever removes, replaces or truncates it under the
//! running server would else have receipts go where nobody finds them. What this process knows of
//! the chain is written anew, with a gap entry that binds the head that was expected and what
//! stood there; holds and pauses that were cut off are stated again.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use jiff::Timestamp;

use super::chain::OffsetReader;
use super::file::ChainEnd;
use super::known::ReceiptIndex;
use super::{ChainHead, FILE_NAME, NEW_NAME, ReceiptEntry, ReceiptFile, ReceiptsError, chain, walk};
use crate::chain::AppendFile;
use crate::telemetry;

impl ReceiptFile {
    /// Whether the file stands in its place, as long as this process left it.
    pub(super) fn stands(&self, end: &ChainEnd) -> bool {
        end.file.stands_at(&self.path())
    }

    /// Puts the file into its place again, if it is not there. Without an error all that is in
    /// memory says the same as the file.
    ///
    /// # Errors
    /// The file could not be written; it is as before.
    pub(super) fn mend(&self, end: &mut ChainEnd, now: Timestamp) -> io::Result<()> {
        if self.stands(end) {
            return Ok(());
        }
        let (path, new) = (self.path(), self.data_dir.join(NEW_NAME));
        let stood = stands_there(&path, end);
        super::prune::remove_new(&self.data_dir)?;
        let mut file = AppendFile::create(&new)?;
        // What is still there.
        let old = OffsetReader { file: end.file.handle(), offset: 0 };
        file.append_from(&mut old.take(end.file.bytes()))?;
        drop(file);
        let mut known = ReceiptIndex::default();
        let checkpoint = self.durable.read().checkpoint;
        let kept = whole(&new, checkpoint, &mut known).map_err(io::Error::other)?;
        let (mut file, _) = AppendFile::open(&new, kept.bytes)?;

        let found = if kept.head == end.head { stood.unwrap_or(ChainHead::EMPTY) } else { kept.head };
        let mut durable = self.durable.write();
        let holds = durable.known.holds().into_iter().filter(|hold| known.hold_of(hold.job) != Some(hold));
        let pause = durable.known.pause().filter(|pause| known.pause() != Some(pause)).cloned();
        let mut entries = vec![ReceiptEntry::Gap { at: now, expected: end.head, found }];
        entries.extend(holds.map(ReceiptEntry::Hold));
        entries.extend(pause.map(ReceiptEntry::Pause));
        let mut head = kept.head;
        for entry in &entries {
            let (line, next) = chain::line(head, entry);
            known.note(entry, next.count, file.bytes());
            file.append(&line)?;
            head = next;
        }
        file.handle().sync_all()?;
        if stood.is_some() {
            // Whatever it is, it is somebody else's (P6). A second name for it first: a crash
            // between two renames would leave none for the receipts.
            let aside = self.data_dir.join(format!("{FILE_NAME}.replaced-{}", head.count));
            std::fs::hard_link(&path, aside)?;
        }
        std::fs::rename(&new, &path)?;
        end.failed = true;
        File::open(&self.data_dir)?.sync_all()?;
        end.failed = false;
        tracing::error!(expected = ?end.head, ?found, "the receipts were removed, replaced or cut off: they were written anew");
        telemetry::receipts_gap();
        (end.file, end.head) = (file, head);
        durable.file = end.file.handle().clone();
        durable.checkpoint = kept.checkpoint;
        durable.known = known;
        Ok(())
    }
}

/// What can be kept of a file that was copied.
struct KeptPart {
    head: ChainHead,
    bytes: u64,
    checkpoint: Option<ChainHead>,
}

/// The part of a chain, which had this checkpoint, before the first line that does not follow.
fn whole(
    path: &Path,
    checkpoint: Option<ChainHead>,
    known: &mut ReceiptIndex,
) -> Result<KeptPart, ReceiptsError> {
    let mut kept = KeptPart { head: ChainHead::EMPTY, bytes: 0, checkpoint: None };
    let walked = walk(path, |item| {
        known.note(&item.entry, item.head.count, item.bytes.start);
        kept = KeptPart { head: item.head, bytes: item.bytes.end, checkpoint };
        Ok::<_, ReceiptsError>(())
    });
    match walked {
        Ok(chain) => Ok(KeptPart { head: chain.head, bytes: chain.bytes, checkpoint: chain.checkpoint }),
        Err(ReceiptsError::Broken { .. }) => Ok(kept),
        Err(error) => Err(error),
    }
}

/// The end of another chain that stands in the place of the file; `None` if nothing else does.
fn stands_there(path: &Path, end: &ChainEnd) -> Option<ChainHead> {
    let there = std::fs::symlink_metadata(path).ok()?;
    if end.file.is(&there) {
        return None;
    }
    let walked = there.is_file().then(|| walk(path, |_| Ok::<_, ReceiptsError>(())));
    Some(walked.and_then(Result::ok).map_or(ChainHead::EMPTY, |chain| chain.head))
}
