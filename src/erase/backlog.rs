//! What the reaper has done and has before it, as the operator sees it.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::clock::between;
use crate::files::DiskInventory;
use crate::job::{JobId, JobState};
use crate::receipts::ReaperPause;

/// What the reaper has done and has before it.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce) = example::host().await?;
/// let status = evanesce.reaper_status().await.expect("it is not going down");
/// assert_eq!((status.marked, status.orphans), (0, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReaperStatus {
    /// Passes made.
    pub passes: u64,
    /// When the last one was.
    pub last_pass: Option<Timestamp>,
    /// Sweeps that succeeded.
    pub swept: u64,
    /// Sweeps that failed.
    pub failed: u64,
    /// Jobs that are marked and not erased yet.
    pub marked: usize,
    /// Bytes that they and failed exports still take, as far as this process knows.
    pub bytes: u64,
    /// When the oldest of those that are not held was marked.
    pub oldest_mark: Option<Timestamp>,
    /// Whether that is longer ago than `reaper.alarm_after`: somebody should look.
    pub overdue: bool,
    /// Directories without a record that are being watched.
    pub orphans: usize,
    /// Names in the data directory that this server did not make.
    pub strangers: usize,
    /// Files of the server that the last pass did not find where they should stand.
    pub missing: Vec<&'static str>,
    /// Whether expiry waits because the clock jumped.
    pub clock_jumped: bool,
    /// The pause that an operator has ordered.
    pub pause: Option<ReaperPause>,
    /// Jobs under a hold.
    pub held: usize,
    /// Jobs whose last sweep failed, by id; the first [`MOST_FAILING`](Self::MOST_FAILING) of them.
    pub failing: Vec<FailingSweep>,
}

/// A sweep that failed and is tried again.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce) = example::host().await?;
/// let status = evanesce.reaper_status().await.expect("it is not going down");
/// for FailingSweep { job, attempts, errno, next_try, .. } in status.failing {
///     println!("{job} failed {attempts} times, last with {errno}, and is tried again at {next_try}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailingSweep {
    /// The job.
    pub job: JobId,
    /// Attempts that failed, in this process.
    pub attempts: u32,
    /// The system's name of the last error, such as `EACCES`, or `other` if it has none.
    pub errno: String,
    /// What the last attempt said. Its paths are relative to the data directory.
    pub error: String,
    /// When the next attempt is due.
    pub next_try: Timestamp,
}

/// Names that the server did not make that are logged in one pass.
const STRANGERS_NAMED: usize = 20;

impl ReaperStatus {
    /// The most entries of [`failing`](Self::failing) (P13).
    pub const MOST_FAILING: usize = 100;

    /// Notes that a job's sweep failed. With too many of them, those with the greatest ids are left out.
    pub(crate) fn note_failed(&mut self, failing: FailingSweep) {
        self.failed += 1;
        self.failing.retain(|known| known.job != failing.job);
        let place = self.failing.partition_point(|known| known.job < failing.job);
        self.failing.insert(place, failing);
        self.failing.truncate(Self::MOST_FAILING);
    }

    /// Notes that a job's files are gone.
    pub(crate) fn note_swept(&mut self, job: JobId) {
        self.swept += 1;
        self.failing.retain(|known| known.job != job);
    }

    /// Counts a pass.
    pub(crate) fn note_pass(&mut self, now: Timestamp, is_steady: bool) {
        self.passes += 1;
        self.last_pass = Some(now);
        self.clock_jumped = !is_steady;
    }

    /// Takes over what a scan found that is nobody's.
    pub(crate) fn note_scan(&mut self, inventory: &DiskInventory, orphans: usize) {
        let strangers = inventory.strangers.len();
        if self.strangers < strangers {
            let names = &inventory.strangers[..strangers.min(STRANGERS_NAMED)];
            tracing::warn!(strangers, ?names, "names that this server did not make; they are left alone");
        }
        self.strangers = strangers;
        self.orphans = orphans;
    }

    /// Shows which of the server's own files are missing, until they are found again.
    pub(crate) fn note_missing(&mut self, missing: Vec<&'static str>) {
        if !missing.is_empty() && self.missing != missing {
            tracing::error!(names = ?missing, "files of the server were removed, replaced or cut off under it");
        }
        self.missing = missing;
    }

    /// Counts what is marked and not erased yet. Returns the age of the oldest mark.
    pub(crate) fn note_marks<'a>(
        &mut self,
        now: Timestamp,
        jobs: impl IntoIterator<Item = (JobId, &'a JobState)>,
        is_held: impl Fn(JobId) -> bool,
        alarm_after: Duration,
    ) -> Duration {
        self.marked = 0;
        self.oldest_mark = None;
        for (job, state) in jobs {
            let JobState::Marked(mark) = state else { continue };
            self.marked += 1;
            // Nobody expects a job that is held to be swept.
            if !is_held(job) {
                self.oldest_mark = self.oldest_mark.into_iter().chain([mark.at]).min();
            }
        }
        let age = self.oldest_mark.map_or(Duration::ZERO, |oldest| between(oldest, now));
        self.overdue = self.oldest_mark.is_some() && age >= alarm_after;
        age
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Mark, MarkReason, StateName};

    #[test]
    fn p13_a_bounded_number_of_failing_sweeps_is_shown_until_they_succeed() {
        let mut status = ReaperStatus::default();
        let (next_try, errno) = (Timestamp::UNIX_EPOCH, "EIO".to_string());
        let mut jobs: Vec<_> = (0..=ReaperStatus::MOST_FAILING).map(|_| JobId::random()).collect();
        for job in &jobs {
            for attempts in 1..=2 {
                let error = String::new();
                status.note_failed(FailingSweep {
                    job: *job,
                    attempts,
                    errno: errno.clone(),
                    error,
                    next_try,
                });
            }
        }
        let shown = |status: &ReaperStatus| status.failing.iter().map(|it| it.job).collect::<Vec<_>>();
        jobs.sort();
        jobs.truncate(ReaperStatus::MOST_FAILING);
        assert_eq!(shown(&status), jobs);
        assert!(status.failing.iter().all(|it| it.attempts == 2));
        status.note_swept(jobs[0]);
        assert_eq!((shown(&status), status.swept), (jobs[1..].to_vec(), 1));
    }

    #[test]
    fn a_mark_that_waits_too_long_is_overdue_unless_it_is_held() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let marked = |second| {
            let (reason, was) = (MarkReason::Deleted, StateName::Complete);
            JobState::Marked(Mark { reason, by: None, at: at(second), request_id: None, was, failure: None })
        };
        let [old, young] = [(); 2].map(|()| JobId::random());
        let jobs = [(old, marked(0)), (young, marked(90)), (JobId::random(), JobState::Queued)];
        let jobs = || jobs.iter().map(|(job, state)| (*job, state));
        let mut status = ReaperStatus::default();
        let alarm = Duration::from_secs(60);
        assert_eq!(status.note_marks(at(100), jobs(), |_| false, alarm), Duration::from_secs(100));
        assert_eq!((status.marked, status.oldest_mark, status.overdue), (2, Some(at(0)), true));
        assert_eq!(status.note_marks(at(100), jobs(), |job| job == old, alarm), Duration::from_secs(10));
        assert_eq!((status.marked, status.oldest_mark, status.overdue), (2, Some(at(90)), false));
        status.note_marks(at(100), jobs(), |_| true, alarm);
        assert_eq!((status.oldest_mark, status.overdue), (None, false));
    }
}
