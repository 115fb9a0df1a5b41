//! Mends a chain that was damaged. While the file is open its name is watched: receipts must not go
//! to a file that somebody removed, replaced or truncated. What this process knows of the chain is
//! written anew, with a gap entry that binds the expected head and the one found; holds and pauses
//! that were cut off are stated again. `fsck` salvages the whole part of a broken chain.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use jiff::Timestamp;

use super::chain::{OffsetReader, walk_whole};
use super::file::ChainEnd;
use super::known::ReceiptIndex;
use super::{
    ChainHead, FILE_NAME, NEW_NAME, ReceiptChain, ReceiptEntry, ReceiptFile, ReceiptLine, ReceiptsError,
    chain, fail, walk,
};
use crate::chain::AppendFile;
use crate::telemetry;

impl ReceiptFile {
    /// Returns whether the file is in its place, and as long as this process left it.
    pub(super) fn stands(&self, end: &ChainEnd) -> bool {
        end.file.stands_at(&self.path())
    }

    /// Puts the file back into its place, if it is not there. On success, memory and file agree.
    ///
    /// # Errors
    /// Fails if the file cannot be written. It is as before then.
    pub(super) fn mend(&self, end: &mut ChainEnd, now: Timestamp) -> io::Result<()> {
        if self.stands(end) {
            return Ok(());
        }
        let (path, new) = (self.path(), self.data_dir.join(NEW_NAME));
        let stood = stands_there(&path, end);
        super::prune::remove_new(&self.data_dir)?;
        let mut file = AppendFile::create(&new)?;
        let old = OffsetReader { file: end.file.handle(), offset: 0 };
        file.append_from(&mut old.take(end.file.bytes()))?;
        drop(file);
        let mut known = ReceiptIndex::default();
        let note = |item: &ReceiptLine<'_>| known.note(item.entry, item.head.count, item.bytes.start);
        let kept = walk_whole(&new, note).map_err(io::Error::other)?;
        let (mut file, _) = AppendFile::open(&new, kept.bytes)?;

        let found = if kept.head == end.head { stood.unwrap_or(ChainHead::EMPTY) } else { kept.head };
        let (holds, pause) = (self.holds(), self.pause());
        let holds = holds.into_iter().filter(|hold| known.hold_of(hold.job) != Some(hold));
        let pause = pause.filter(|pause| known.pause() != Some(pause));
        let mut entries = vec![ReceiptEntry::Gap { at: now, expected: end.head, found }];
        entries.extend(holds.map(ReceiptEntry::Hold));
        entries.extend(pause.map(ReceiptEntry::Pause));
        let mut head = kept.head;
        for entry in &entries {
            let (line, _, next) = chain::line(head, entry);
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
        self.put_in_place(end, file, kept.checkpoint, |index| *index = known)?;
        let expected = std::mem::replace(&mut end.head, head);
        self.make_tree_anew(end);
        tracing::error!(
            ?expected,
            ?found,
            "the receipts were removed, replaced or cut off: they were written anew"
        );
        telemetry::receipts_gap();
        Ok(())
    }

    /// Makes the receipts of a data directory, which has none, from the whole part of the file at
    /// `broken`, and opens them.
    ///
    /// # Errors
    /// Fails if a file cannot be read or written. A part of the new one may be left then.
    #[cfg(feature = "cli")]
    pub fn salvage(broken: &Path, data_dir: &Path) -> Result<Self, ReceiptsError> {
        let whole = walk_whole(broken, |_| {})?;
        let copy = || {
            let mut to = AppendFile::create(&data_dir.join(FILE_NAME))?;
            to.append_from(&mut File::open(broken)?.take(whole.bytes))?;
            to.handle().sync_all()
        };
        copy().map_err(fail("salvage"))?;
        Self::open(data_dir)
    }
}

/// Returns the end of another chain in the place of the file; `None` if there is no other file.
fn stands_there(path: &Path, end: &ChainEnd) -> Option<ChainHead> {
    let there = std::fs::symlink_metadata(path).ok()?;
    if end.file.is(&there) {
        return None;
    }
    let walked = there.is_file().then(|| walk(path, |_| Ok::<_, ReceiptsError>(())));
    Some(walked.and_then(Result::ok).map_or(ChainHead::EMPTY, |chain| chain.head))
}
