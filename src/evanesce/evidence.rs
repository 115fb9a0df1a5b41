//! What shows whether the promises are kept, and what happened lately, for the pages of operators.

use std::time::Duration;

use jiff::Timestamp;

use super::{Evanesce, Readiness};
use crate::clock::between;
use crate::job::{JobRecord, JobState, MarkReason};

/// What shows whether the promises are kept now.
#[derive(Debug, Clone)]
pub struct PromiseEvidence {
    /// The reaper, and the threads that outlive their jobs.
    pub readiness: Readiness,
    /// Whether the store takes commits (P1).
    pub takes_commits: bool,
    /// Whether the audit log is written and synced.
    pub is_audited: bool,
    /// Free bytes of the data directory's file system, or why they cannot be told.
    pub free: Result<u64, String>,
    /// Bytes that running exports will still write.
    pub reserved: u64,
}

/// What happened since an instant, as far as records tell: jobs and tombstones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecentActivity {
    /// Jobs that were kicked off, whatever became of them.
    pub submitted: usize,
    /// Jobs that were completed and are still there.
    pub complete: usize,
    /// Jobs that failed and are still there.
    pub failed: usize,
    /// Jobs that were erased, but those that expired.
    pub erased: usize,
    /// Jobs that expired and were erased.
    pub expired: usize,
    /// The median time from a mark to the files gone.
    pub median_erasure: Option<Duration>,
}

impl RecentActivity {
    fn since<'a>(since: Timestamp, records: impl Iterator<Item = &'a JobRecord>) -> Self {
        let (mut activity, mut erasures) = (Self::default(), Vec::new());
        for record in records {
            activity.submitted += usize::from(record.submitted_at >= since);
            match &record.state {
                JobState::Complete(completion) if completion.completed_at >= since => activity.complete += 1,
                JobState::Failed(failure) if failure.at >= since => activity.failed += 1,
                JobState::Erased(erased) if erased.gone_at >= since => {
                    let is_expiry = erased.reason == MarkReason::Expired;
                    *(if is_expiry { &mut activity.expired } else { &mut activity.erased }) += 1;
                    erasures.push(between(erased.marked_at, erased.gone_at));
                }
                _ => {}
            }
        }
        erasures.sort_unstable();
        activity.median_erasure = erasures.get(erasures.len() / 2).copied();
        activity
    }
}

impl Evanesce {
    /// Returns what shows whether the promises are kept.
    pub(crate) async fn promise_evidence(&self) -> PromiseEvidence {
        let services = self.0.running.services.clone();
        let measured = {
            let services = services.clone();
            self.blocking_pool().spawn_blocking(move || services.space.measure()).await
        };
        PromiseEvidence {
            readiness: self.readiness().await,
            takes_commits: services.committer.is_healthy(),
            is_audited: services.audit.is_healthy(),
            free: measured.unwrap_or_else(|error| Err(error.to_string())),
            reserved: services.space.reserved(),
        }
    }

    /// Returns what happened since an instant.
    pub(crate) async fn activity_since(&self, since: Timestamp) -> RecentActivity {
        let jobs = self.view().jobs().await;
        RecentActivity::since(since, jobs.iter().map(|job| &job.record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Completion, Failure, FailureReason, JobId, Tombstone};

    #[test]
    fn only_what_happened_since_then_counts() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let record = |submitted, state| JobRecord {
            id: JobId::random(),
            tenant: "t".parse().unwrap(),
            owner: "o".parse().unwrap(),
            revision: 1,
            submitted_at: at(submitted),
            state,
        };
        let erased = |reason, marked, gone| {
            JobState::Erased(Tombstone { reason, marked_at: at(marked), gone_at: at(gone) })
        };
        let failure = Failure { at: at(100), reason: FailureReason::SourceChanged };
        let records = [
            record(100, JobState::Queued),
            record(99, JobState::Queued),
            record(0, JobState::Complete(Completion::of(&[], at(1), at(100)))),
            record(0, JobState::Complete(Completion::of(&[], at(1), at(99)))),
            record(0, JobState::Failed(failure)),
            record(0, erased(MarkReason::Deleted, 98, 100)),
            record(0, erased(MarkReason::Cancelled, 100, 101)),
            record(0, erased(MarkReason::Expired, 100, 107)),
            record(0, erased(MarkReason::Expired, 1, 99)),
        ];
        let expected = RecentActivity {
            submitted: 1,
            complete: 1,
            failed: 1,
            erased: 2,
            expired: 1,
            median_erasure: Some(Duration::from_secs(2)),
        };
        assert_eq!(RecentActivity::since(at(100), records.iter()), expected);
        assert_eq!(RecentActivity::since(at(1000), records.iter()), RecentActivity::default());
    }
}
