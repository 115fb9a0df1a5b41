//! The index of the chain in memory: which jobs are erased, which are held, whether the reaper is
//! paused. It is small, because there may be millions of receipts: an id, an offset and an instant.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::{ChainHead, JobHold, ReaperPause, ReceiptEntry};
use crate::job::JobId;

/// Where an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryPlace {
    /// Where its line begins.
    pub offset: u64,
    /// Entries of the chain up to it.
    pub count: u64,
}

/// What is known of an erasure without reading its line, in 24 bytes.
#[derive(Debug, Clone, Copy)]
struct ErasureLine {
    place: EntryPlace,
    /// When the files were gone, in microseconds.
    gone_at: i64,
}

/// An order in force, and the count of its entry.
#[derive(Debug, Clone)]
struct InForce<T> {
    what: T,
    count: u64,
}

/// The index of the entries so far.
#[derive(Debug, Default)]
pub(super) struct ReceiptIndex {
    erased: HashMap<JobId, ErasureLine>,
    holds: BTreeMap<JobId, InForce<JobHold>>,
    pause: Option<InForce<ReaperPause>>,
    /// Where the ends of epochs are: one entry a turn.
    epochs: BTreeMap<u64, EntryPlace>,
    /// The head that the last gap entry missed.
    gap: Option<ChainHead>,
    /// The last epoch whose end is recorded; 0 if none is.
    ended_epoch: u64,
}

impl ReceiptIndex {
    /// Adds the `count`-th entry, whose line begins at `offset`.
    pub fn note(&mut self, entry: &ReceiptEntry, count: u64, offset: u64) {
        match entry {
            ReceiptEntry::Erasure(receipt) => {
                let gone_at = receipt.gone_at.as_microsecond();
                let place = EntryPlace { offset, count };
                self.erased.insert(receipt.job, ErasureLine { place, gone_at });
            }
            ReceiptEntry::Hold(hold) => {
                self.holds.insert(hold.job, InForce { what: hold.clone(), count });
            }
            ReceiptEntry::Release { job, .. } => {
                self.holds.remove(job);
            }
            ReceiptEntry::Pause(pause) => self.pause = Some(InForce { what: pause.clone(), count }),
            ReceiptEntry::Resume { .. } => self.pause = None,
            ReceiptEntry::Gap { expected, .. } => self.gap = Some(*expected),
            ReceiptEntry::Epoch { epoch, .. } => {
                self.epochs.insert(*epoch, EntryPlace { offset, count });
                self.ended_epoch = self.ended_epoch.max(*epoch);
            }
            ReceiptEntry::Prune { .. } => {}
        }
    }

    /// Returns where a job's erasure is.
    pub fn erasure(&self, job: JobId) -> Option<EntryPlace> {
        self.erased.get(&job).map(|erased| erased.place)
    }

    /// Returns where the end of an epoch is.
    pub fn epoch(&self, epoch: u64) -> Option<EntryPlace> {
        self.epochs.get(&epoch).copied()
    }

    pub fn erased_since(&self, since: Timestamp) -> Vec<JobId> {
        let since = since.as_microsecond();
        self.erased.iter().filter(|(_, erased)| erased.gone_at >= since).map(|(job, _)| *job).collect()
    }

    pub fn hold_of(&self, job: JobId) -> Option<&JobHold> {
        self.holds.get(&job).map(|hold| &hold.what)
    }

    pub fn holds(&self) -> Vec<JobHold> {
        self.holds.values().map(|hold| hold.what.clone()).collect()
    }

    pub fn pause(&self) -> Option<&ReaperPause> {
        self.pause.as_ref().map(|pause| &pause.what)
    }

    pub fn ended_epoch(&self) -> u64 {
        self.ended_epoch
    }

    pub fn gap(&self) -> Option<ChainHead> {
        self.gap
    }

    /// Returns whether the `count`-th entry is a hold or a pause in force.
    pub fn is_in_force(&self, count: u64) -> bool {
        let holds = self.holds.values().map(|hold| hold.count);
        holds.chain(self.pause.iter().map(|pause| pause.count)).any(|other| other == count)
    }

    /// Updates the offsets after the first `cut` bytes of the file were replaced by `checkpoint` bytes.
    pub fn forget_before(&mut self, cut: u64, checkpoint: u64) {
        self.erased.retain(|_, erased| erased.place.offset >= cut);
        self.erased.shrink_to_fit();
        self.epochs.retain(|_, place| place.offset >= cut);
        let erasures = self.erased.values_mut().map(|erased| &mut erased.place);
        for place in erasures.chain(self.epochs.values_mut()) {
            place.offset = place.offset - cut + checkpoint;
        }
    }
}
