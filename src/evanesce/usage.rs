//! How much an instance has at hand at one moment, as the console shows it.

use jiff::Timestamp;

use super::Evanesce;
use crate::job::{ClientId, JobId, JobState, MarkReason, SweepFailure};
use crate::receipts::ChainHead;

/// How much an instance has at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InstanceUsage {
    /// Queued and running jobs.
    pub active: usize,
    /// Bytes of all jobs on the disk, marked ones included, as far as this process knows.
    pub stored_bytes: u64,
}

/// A job that is marked and not erased yet.
#[derive(Debug, Clone)]
pub(crate) struct MarkedJob {
    pub job: JobId,
    pub owner: ClientId,
    pub reason: MarkReason,
    pub marked_at: Timestamp,
    /// The last sweep that failed, if one did, in this process or one before.
    pub failure: Option<SweepFailure>,
    pub is_held: bool,
    /// Downloads of its files that are still open.
    pub downloads: u32,
}

impl Evanesce {
    /// Returns the jobs that are marked and not erased yet, the oldest marks first; at most `most` of them.
    pub(crate) async fn backlog(&self, most: usize) -> Vec<MarkedJob> {
        let receipts = &self.services().receipts;
        let jobs = self.view().jobs().await.into_iter();
        let marked = jobs.filter_map(|job| {
            let JobState::Marked(mark) = &job.record.state else { return None };
            Some(MarkedJob {
                job: job.record.id,
                owner: job.record.owner.clone(),
                reason: mark.reason,
                marked_at: mark.at,
                failure: mark.failure.clone(),
                is_held: receipts.hold_of(job.record.id).is_some(),
                downloads: job.downloads.open(),
            })
        });
        let mut marked: Vec<_> = marked.collect();
        marked.sort_by_key(|job| (job.marked_at, job.job));
        marked.truncate(most);
        marked
    }

    /// Returns how much the instance has at hand.
    pub(crate) async fn usage(&self) -> InstanceUsage {
        let jobs = self.view().jobs().await;
        let active = jobs.iter().filter(|job| job.record.state.name().is_active()).count();
        let stored = jobs.iter().map(|job| match &job.record.state {
            JobState::Complete(completion) => completion.stored.unwrap_or(completion.bytes),
            state if state.name().is_active() => job.progress.written(),
            _ => 0,
        });
        let ended = self.services().space.ended();
        InstanceUsage { active, stored_bytes: stored.fold(ended, u64::saturating_add) }
    }

    /// Returns the end of the chain of receipts.
    pub(crate) fn receipts_head(&self) -> ChainHead {
        self.services().receipts.head()
    }

    /// Returns how many jobs were erased at `since` or later, by their receipts.
    pub(crate) fn erased_since(&self, since: Timestamp) -> usize {
        self.services().receipts.erased_since(since).len()
    }
}
