//! Puts erasures back that a restored data directory does not know: from a newer copy of the chain, which was
//! kept elsewhere. The next start erases those jobs. The copy is verified before anything is written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use jiff::Timestamp;

use super::{
    ChainHead, FILE_NAME, ReceiptChain, ReceiptEntry, ReceiptFile, ReceiptSummary, ReceiptsError, fail, walk,
};
use crate::chain::AppendFile;

/// Receipts that are appended at once.
const BATCH: usize = 256;

/// What a replay has appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayedReceipts {
    /// Entries, erasures included.
    pub entries: u64,
    /// Erasures.
    pub erasures: u64,
    /// Whether both chains had entries of their own: then the erasures alone were taken over, and an entry
    /// tells of the gap.
    pub is_joined: bool,
    /// Whether the copy goes through the head that was asked for. Without it, it lacks erasures itself.
    pub has_head: bool,
}

/// What a walk over the copy has seen.
struct Copy {
    summary: ReceiptSummary,
    /// Where it goes on behind our head, if it goes through it.
    behind: Option<u64>,
    /// Entries and erasures there.
    entries: u64,
    erasures: u64,
    has_head: bool,
}

fn look(from: &Path, ours: ChainHead, wanted: Option<ChainHead>) -> Result<Copy, ReceiptsError> {
    let mut behind = (ours == ChainHead::EMPTY).then_some(0);
    let (mut entries, mut erasures, mut first) = (0, 0, None);
    let mut has_head = wanted.is_none_or(|wanted| wanted == ChainHead::EMPTY);
    let summary = walk(from, |item| {
        first = first.or(Some(item.bytes.start));
        if behind.is_some() {
            entries += 1;
            erasures += u64::from(matches!(item.entry, ReceiptEntry::Erasure(_)));
        }
        if item.head == ours {
            (behind, entries, erasures) = (Some(item.bytes.end), 0, 0);
        }
        has_head |= Some(item.head) == wanted;
        Ok::<_, ReceiptsError>(())
    })?;
    summary.confirm()?;
    if summary.checkpoint == Some(ours) && behind.is_none() {
        behind = Some(first.unwrap_or(summary.bytes));
        (entries, erasures) = (summary.head.count - ours.count, summary.erasures);
    }
    // What was pruned from the copy is not looked for.
    has_head |= wanted.zip(summary.checkpoint).is_some_and(|(wanted, cut)| wanted.count <= cut.count);
    Ok(Copy { summary, behind, entries, erasures, has_head })
}

/// Brings the receipts of a data directory up to the copy at `from`: appends what follows if the copy goes on
/// from them, or else each erasure that they lack. `head` is what somebody has seen elsewhere. Nothing else may
/// use the data directory. May be repeated. Blocks.
///
/// # Errors
/// Fails, before anything is written, if one of the chains is broken; later, if the receipts cannot be written.
pub fn replay(
    data_dir: &Path,
    from: &Path,
    head: Option<ChainHead>,
    now: Timestamp,
) -> Result<ReplayedReceipts, ReceiptsError> {
    let ours = ReceiptFile::open(data_dir)?;
    let Copy { summary, behind, entries, erasures, has_head } = look(from, ours.head(), head)?;
    let nothing = ReplayedReceipts { entries: 0, erasures: 0, is_joined: false, has_head };
    if let Some(behind) = behind {
        if entries > 0 {
            let length = ours.end.lock().file.bytes();
            drop(ours);
            go_on(data_dir, length, from, behind..summary.bytes).map_err(fail("append to"))?;
            // Verifies what was appended, and adds it to the tree.
            ReceiptFile::open(data_dir)?;
        }
        return Ok(ReplayedReceipts { entries, erasures, ..nothing });
    }
    if ours.missing(summary.head)?.is_none() {
        return Ok(nothing);
    }
    let erasures = take_over(&ours, from)?;
    // Last, so that what is interrupted is done again.
    let expected = head.filter(|_| has_head).unwrap_or(summary.head);
    if ours.tells_gap(expected) && erasures == 0 {
        return Ok(ReplayedReceipts { is_joined: true, ..nothing });
    }
    let found = ours.head();
    ours.append(&[ReceiptEntry::Gap { at: now, expected, found }])?;
    Ok(ReplayedReceipts { entries: erasures + 1, erasures, is_joined: true, has_head })
}

/// Appends the bytes of whole lines.
fn go_on(data_dir: &Path, length: u64, from: &Path, lines: std::ops::Range<u64>) -> io::Result<()> {
    let mut copy = File::open(from)?;
    copy.seek(SeekFrom::Start(lines.start))?;
    let (mut file, _) = AppendFile::open(&data_dir.join(FILE_NAME), length)?;
    file.append_from(&mut copy.take(lines.end - lines.start))?;
    file.sync()
}

/// Appends the erasures that are in the copy only. Returns their number.
fn take_over(ours: &ReceiptFile, from: &Path) -> Result<u64, ReceiptsError> {
    let (mut batch, mut taken) = (Vec::new(), 0);
    walk(from, |item| {
        if let ReceiptEntry::Erasure(receipt) = item.entry
            && !ours.has(receipt.job)
        {
            batch.push(item.entry.clone());
            taken += 1;
        }
        if batch.len() >= BATCH {
            ours.append(&std::mem::take(&mut batch))?;
        }
        Ok::<_, ReceiptsError>(())
    })?;
    ours.append(&batch)?;
    Ok(taken)
}
