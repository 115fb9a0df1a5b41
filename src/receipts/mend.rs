//! The file is followed while it is open: whoever removes, replaces or truncates it under the
//! running server would else have receipts go where nobody finds them. What this process knows of
//! the chain is written anew, with a gap entry that binds the head that was expected and what
//! stood there; holds and pauses that were cut off are stated again.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::file::ChainEnd;
use super::known::ReceiptIndex;
use super::{ChainHead, FILE_NAME, NEW_NAME, ReceiptEntry, ReceiptFile, ReceiptsError, chain, walk};
use crate::telemetry;

/// Bytes copied at once.
const BUFFER: usize = 1 << 17;

impl ReceiptFile {
    /// Whether the file stands in its place, as long as this process left it.
    pub(super) fn stands(&self, end: &ChainEnd) -> bool {
        let path = std::fs::symlink_metadata(self.path());
        let stands = |open: std::fs::Metadata, path: std::fs::Metadata| {
            (open.dev(), open.ino()) == (path.dev(), path.ino()) && path.len() == end.bytes
        };
        end.file.metadata().and_then(|open| Ok(stands(open, path?))).unwrap_or(false)
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
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create_new(true).mode(0o600).open(&new)?;
        copy(&end.file, end.bytes, &mut file)?;
        let mut known = ReceiptIndex::default();
        let checkpoint = self.durable.read().checkpoint;
        let kept = whole(&new, checkpoint, &mut known).map_err(io::Error::other)?;
        file.set_len(kept.bytes)?;
        file.seek(SeekFrom::Start(kept.bytes))?;

        let found = if kept.head == end.head { stood.unwrap_or(ChainHead::EMPTY) } else { kept.head };
        let mut durable = self.durable.write();
        let holds = durable.known.holds().into_iter().filter(|hold| known.hold_of(hold.job) != Some(hold));
        let pause = durable.known.pause().filter(|pause| known.pause() != Some(pause)).cloned();
        let mut entries = vec![ReceiptEntry::Gap { at: now, expected: end.head, found }];
        entries.extend(holds.map(ReceiptEntry::Hold));
        entries.extend(pause.map(ReceiptEntry::Pause));
        let (mut head, mut bytes) = (kept.head, kept.bytes);
        for entry in &entries {
            let (line, next) = chain::line(head, entry);
            file.write_all(&line)?;
            known.note(entry, next.count, bytes);
            (head, bytes) = (next, bytes + line.len() as u64);
        }
        file.sync_all()?;
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
        (end.file, end.head, end.bytes) = (Arc::new(file), head, bytes);
        durable.file = end.file.clone();
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
    let open = end.file.metadata().ok()?;
    if (open.dev(), open.ino()) == (there.dev(), there.ino()) {
        return None;
    }
    let walked = there.is_file().then(|| walk(path, |_| Ok::<_, ReceiptsError>(())));
    Some(walked.and_then(Result::ok).map_or(ChainHead::EMPTY, |chain| chain.head))
}

/// Copies what is still there of the first `bytes`.
fn copy(from: &File, bytes: u64, to: &mut File) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut offset = 0;
    while offset < bytes {
        let length = usize::try_from(bytes - offset).unwrap_or(BUFFER).min(BUFFER);
        let read = from.read_at(&mut buffer[..length], offset)?;
        if read == 0 {
            break;
        }
        to.write_all(&buffer[..read])?;
        offset += read as u64;
    }
    Ok(())
}
