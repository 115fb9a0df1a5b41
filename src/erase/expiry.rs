//! What time ends: files whose time to live is over, and tombstones (P2, P8). Pure: the jobs and
//! the clock's reading come in, what to do comes out.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::after;
use crate::config::RetentionConfig;
use crate::job::{JobId, JobState};

/// What time has ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DueJobs {
    /// Jobs whose time to live is over.
    pub expired: Vec<JobId>,
    /// Jobs whose tombstone is over.
    pub forgotten: Vec<JobId>,
    /// When the next time to live is over, so that `Expires` is when the reaper really acts.
    pub next_expiry: Option<Timestamp>,
}

impl DueJobs {
    /// Returns what is due at `now`. A job under a hold does not expire.
    pub fn at<'a>(
        now: Timestamp,
        jobs: impl IntoIterator<Item = (JobId, &'a JobState)>,
        retention: &RetentionConfig,
        is_held: impl Fn(JobId) -> bool,
    ) -> Self {
        let mut due = Self::default();
        for (job, state) in jobs {
            let expires = expires_at(state, retention.completed.0).filter(|_| !is_held(job));
            match (expires, state) {
                (Some(at), _) if at <= now => due.expired.push(job),
                (Some(at), _) => due.next_expiry = due.next_expiry.into_iter().chain([at]).min(),
                (None, JobState::Erased(erasure))
                    if after(erasure.gone_at, retention.tombstones.0) <= now =>
                {
                    due.forgotten.push(job);
                }
                (None, _) => {}
            }
        }
        due
    }
}

/// Returns when a finished job expires: counted from its end, never from its kick-off (P8).
fn expires_at(state: &JobState, retention: Duration) -> Option<Timestamp> {
    state.finished_at().map(|finished_at| after(finished_at, retention))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::job::{Completion, Failure, FailureReason, MarkReason, Tombstone};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn time_to_live_counts_from_the_end_and_covers_failures() {
        let day = Duration::from_secs(10);
        let complete = JobState::Complete(Completion::of(&[], at(1), at(100)));
        assert_eq!(expires_at(&complete, day), Some(at(110)));
        let failed = JobState::Failed(Failure { at: at(50), reason: FailureReason::StorageFull });
        assert_eq!(expires_at(&failed, day), Some(at(60)));
        assert_eq!(expires_at(&JobState::Queued, day), None);
        assert_eq!(expires_at(&complete, Duration::MAX), Some(Timestamp::MAX));
    }

    #[test]
    fn what_is_due_expires_but_not_under_a_hold_and_tombstones_end() {
        let mut retention = Config::default().retention;
        retention.completed.0 = Duration::from_secs(10);
        retention.tombstones.0 = Duration::from_secs(20);
        let complete = |second| JobState::Complete(Completion::of(&[], at(1), at(second)));
        let erased = |second| {
            JobState::Erased(Tombstone { reason: MarkReason::Deleted, marked_at: at(1), gone_at: at(second) })
        };
        let [over, held, soon, later, forgotten, remembered] = [(); 6].map(|()| JobId::random());
        let jobs = [
            (over, complete(90)),
            (held, complete(90)),
            (later, complete(97)),
            (soon, complete(95)),
            (forgotten, erased(80)),
            (remembered, erased(81)),
            (JobId::random(), JobState::Queued),
        ];
        let jobs = jobs.iter().map(|(job, state)| (*job, state));
        let due = DueJobs::at(at(100), jobs, &retention, |job| job == held);
        let expected =
            DueJobs { expired: vec![over], forgotten: vec![forgotten], next_expiry: Some(at(105)) };
        assert_eq!(due, expected);
    }
}
