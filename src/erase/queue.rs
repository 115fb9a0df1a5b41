//! The queue of sweeps: which jobs wait for theirs, which are being swept, which are held back,
//! which failed and are tried again when (P5). Pure: time, the committer's load and the warrants
//! come in, what to do comes out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::holds::WarrantRefusal;
use crate::job::JobId;

/// Sweeps at once: unlinking waits on the device, and each sweep has a few unlinks in flight.
const SWEEPS: usize = 2;

/// Jobs of one sweep at the most: they share its fsync.
const JOBS_A_SWEEP: usize = 32;

/// Acknowledgements come first: a sweep waits this long at the most while the committer has
/// changes waiting, for the device and the processor are the same.
const DEFERENCE: Duration = Duration::from_millis(20);

/// How often a sweep that waits looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Jobs whose files are to go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SweepQueue {
    waiting: VecDeque<JobId>,
    sweeping: BTreeSet<JobId>,
    sweeps: usize,
    /// Jobs that would be swept if they were not held.
    held_back: BTreeSet<JobId>,
    /// Since when a sweep waits for the committer.
    deferring: Option<Instant>,
    retries: BTreeMap<JobId, SweepRetry>,
}

/// When a sweep that failed is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SweepRetry {
    /// Attempts that failed.
    pub attempts: u32,
    /// When the next one is due.
    pub due: Instant,
}

/// What the queue wants to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum NextSweep<W> {
    /// Nothing.
    Nothing,
    /// Ask again after this time.
    LookAgain(Duration),
    /// One sweep of these jobs, then ask again.
    Sweep(Vec<W>),
}

impl SweepQueue {
    /// Puts a job into the queue, unless it waits or is being swept already.
    pub fn add(&mut self, job: JobId) {
        if !self.sweeping.contains(&job) && !self.waiting.contains(&job) {
            self.waiting.push_back(job);
        }
    }

    /// Returns the next sweep, of jobs for which `grant` gives a warrant. A job under a hold is held back
    /// until [`release`](Self::release); under a pause all of them wait.
    pub fn next<W>(
        &mut self,
        now: Instant,
        changes_waiting: usize,
        mut grant: impl FnMut(JobId) -> Result<W, WarrantRefusal>,
    ) -> NextSweep<W> {
        if self.sweeps >= SWEEPS || self.waiting.is_empty() {
            return NextSweep::Nothing;
        }
        let since = *self.deferring.get_or_insert(now);
        if changes_waiting > 0 && now.saturating_duration_since(since) < DEFERENCE {
            return NextSweep::LookAgain(LOOK_AGAIN);
        }
        let mut warrants = Vec::new();
        while warrants.len() < JOBS_A_SWEEP
            && let Some(job) = self.waiting.pop_front()
        {
            match grant(job) {
                Ok(warrant) => {
                    self.sweeping.insert(job);
                    warrants.push(warrant);
                }
                Err(WarrantRefusal::Paused) => {
                    self.waiting.push_front(job);
                    break;
                }
                Err(WarrantRefusal::Held) => self.hold_back(job),
                // It would never be granted: what stands there is a scan's to find.
                Err(WarrantRefusal::Unfounded) => {}
            }
        }
        if warrants.is_empty() {
            self.deferring = None;
            return NextSweep::Nothing;
        }
        self.sweeps += 1;
        if self.sweeps >= SWEEPS || self.waiting.is_empty() {
            self.deferring = None;
        }
        NextSweep::Sweep(warrants)
    }

    fn hold_back(&mut self, job: JobId) {
        if self.held_back.insert(job) {
            tracing::info!(%job, "a marked job is under a hold: its files stay until it is released");
        }
    }

    /// Notes that a sweep has ended; [`swept`](Self::swept) and [`failed`](Self::failed) tell of its jobs.
    pub fn sweep_ended(&mut self) {
        self.sweeps = self.sweeps.saturating_sub(1);
    }

    /// Notes that a job's files are gone.
    pub fn swept(&mut self, job: JobId) {
        self.sweeping.remove(&job);
        self.retries.remove(&job);
    }

    /// Notes that a job's sweep failed. Returns the attempts so far and the wait before the next one:
    /// `min` at first, twice as long each time, up to `max`.
    pub fn failed(&mut self, job: JobId, now: Instant, min: Duration, max: Duration) -> (u32, Duration) {
        self.sweeping.remove(&job);
        let attempts = self.retries.get(&job).map_or(0, |retry| retry.attempts).saturating_add(1);
        let wait = min.saturating_mul(1 << (attempts - 1).min(20)).min(max);
        self.retries.insert(job, SweepRetry { attempts, due: now + wait });
        (attempts, wait)
    }

    /// Puts the jobs into the queue whose retry is due.
    pub fn retry_due(&mut self, now: Instant) {
        let due = self.retries.iter().filter(|(_, retry)| retry.due <= now);
        for job in due.map(|(job, _)| *job).collect::<Vec<_>>() {
            self.add(job);
        }
    }

    /// Puts a job back that was held back: it is under no hold any more.
    pub fn release(&mut self, job: JobId) {
        if self.held_back.remove(&job) {
            self.add(job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_secs(5);

    fn jobs<const N: usize>(queue: &mut SweepQueue) -> [JobId; N] {
        let jobs = [(); N].map(|()| JobId::random());
        jobs.iter().for_each(|job| queue.add(*job));
        jobs
    }

    fn next(queue: &mut SweepQueue, now: Instant) -> NextSweep<JobId> {
        queue.next(now, 0, Ok)
    }

    #[test]
    fn a_sweep_takes_a_bounded_number_of_jobs_and_two_run_at_once() {
        let mut queue = SweepQueue::default();
        let all = jobs::<80>(&mut queue);
        queue.add(all[0]);
        let now = Instant::now();
        assert_eq!(next(&mut queue, now), NextSweep::Sweep(all[..32].to_vec()));
        assert_eq!(next(&mut queue, now), NextSweep::Sweep(all[32..64].to_vec()));
        assert_eq!(next(&mut queue, now), NextSweep::Nothing);
        // What is being swept does not wait as well.
        queue.add(all[0]);
        queue.sweep_ended();
        assert_eq!(next(&mut queue, now), NextSweep::Sweep(all[64..].to_vec()));
    }

    #[test]
    fn a_sweep_defers_to_the_committer_and_not_for_ever() {
        let mut queue = SweepQueue::default();
        let [job] = jobs(&mut queue);
        let now = Instant::now();
        assert_eq!(queue.next(now, 1, Ok), NextSweep::LookAgain(LOOK_AGAIN));
        let later = now + DEFERENCE - LOOK_AGAIN;
        assert_eq!(queue.next(later, 1, Ok), NextSweep::LookAgain(LOOK_AGAIN));
        assert_eq!(queue.next(now + DEFERENCE, 1, Ok), NextSweep::Sweep(vec![job]));
    }

    #[test]
    fn a_job_under_a_hold_waits_for_its_release_and_others_do_not() {
        let mut queue = SweepQueue::default();
        let [held, free] = jobs(&mut queue);
        let grant = |job| if job == held { Err(WarrantRefusal::Held) } else { Ok(job) };
        let now = Instant::now();
        assert_eq!(queue.next(now, 0, grant), NextSweep::Sweep(vec![free]));
        queue.sweep_ended();
        assert_eq!(next(&mut queue, now), NextSweep::Nothing);
        queue.release(held);
        queue.release(free);
        assert_eq!(next(&mut queue, now), NextSweep::Sweep(vec![held]));
    }

    #[test]
    fn under_a_pause_all_wait_and_none_is_lost() {
        let mut queue = SweepQueue::default();
        let all = jobs::<3>(&mut queue);
        let now = Instant::now();
        let paused = |_| Err::<JobId, _>(WarrantRefusal::Paused);
        assert_eq!(queue.next(now, 0, paused), NextSweep::Nothing);
        assert_eq!(next(&mut queue, now), NextSweep::Sweep(all.to_vec()));
    }

    #[test]
    fn a_failed_sweep_is_tried_again_later_and_later_up_to_a_bound() {
        let mut queue = SweepQueue::default();
        let [job] = jobs(&mut queue);
        let mut now = Instant::now();
        for (attempt, seconds) in (1..).zip([1, 2, 4, 5, 5]) {
            assert_eq!(next(&mut queue, now), NextSweep::Sweep(vec![job]));
            queue.sweep_ended();
            let wait = Duration::from_secs(seconds);
            assert_eq!(queue.failed(job, now, MIN, MAX), (attempt, wait));
            queue.retry_due(now + wait - LOOK_AGAIN);
            assert_eq!(next(&mut queue, now), NextSweep::Nothing, "it is not due");
            now += wait;
            queue.retry_due(now);
        }
        assert_eq!(next(&mut queue, now), NextSweep::Sweep(vec![job]));
        queue.sweep_ended();
        queue.swept(job);
        queue.retry_due(now + MAX);
        assert_eq!(next(&mut queue, now), NextSweep::Nothing);
        assert_eq!(queue, SweepQueue::default());
    }
}
