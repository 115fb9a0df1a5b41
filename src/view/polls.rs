//! Limits how often a job is polled (ST-4): a rate in the long run, and some polls at once.

use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// The number of polls that may come at once.
const AT_ONCE: NonZeroU32 = NonZeroU32::new(20).expect("it is not 0");

/// The polls of one job, which take about 100 bytes if the job is polled at all.
#[derive(Debug, Default)]
pub struct PollLimit(OnceLock<DefaultDirectRateLimiter>);

/// Returns `None` for no limit.
fn quota(interval: Duration) -> Option<Quota> {
    Some(Quota::with_period(interval)?.allow_burst(AT_ONCE))
}

impl PollLimit {
    /// Counts a poll if it is within the limit. `interval` is the time between two polls in the long
    /// run, zero for no limit. It must be the same at each call.
    ///
    /// # Errors
    /// Fails with the time to wait. Such a poll does not count.
    pub fn admit(&self, interval: Duration) -> Result<(), Duration> {
        let Some(quota) = quota(interval) else { return Ok(()) };
        let admitted = self.0.get_or_init(|| RateLimiter::direct(quota)).check();
        admitted.map_err(|wait| wait.wait_time_from(DefaultClock::default().now()))
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const INTERVAL: Duration = Duration::from_millis(250);

    #[test]
    fn some_come_at_once_and_then_one_an_interval() {
        let clock = FakeRelativeClock::default();
        let polls = RateLimiter::direct_with_clock(quota(INTERVAL).unwrap(), clock.clone());
        let wait = || polls.check().err().map(|wait| wait.wait_time_from(clock.now()));
        for _ in 0..AT_ONCE.get() {
            assert_eq!(wait(), None);
        }
        assert_eq!(wait(), Some(INTERVAL));
        // A refused one does not count.
        assert_eq!(wait(), Some(INTERVAL));
        clock.advance(INTERVAL);
        assert_eq!((wait(), wait()), (None, Some(INTERVAL)));
        // A patient client is never refused.
        clock.advance(INTERVAL * 100);
        for _ in 0..100 {
            assert_eq!(wait(), None);
            clock.advance(INTERVAL);
        }
    }

    #[test]
    fn a_job_is_polled_some_times_at_once_and_told_how_long_to_wait() {
        let polls = PollLimit::default();
        let hour = Duration::from_secs(3600);
        for _ in 0..AT_ONCE.get() {
            assert_eq!(polls.admit(hour), Ok(()));
        }
        let wait = polls.admit(hour).unwrap_err();
        assert!(wait <= hour && wait > hour / 2, "{wait:?}");
    }

    #[test]
    fn without_an_interval_all_may_come_from_all_sides() {
        let polls = PollLimit::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!((0..10_000).all(|_| polls.admit(Duration::ZERO).is_ok())));
            }
        });
        assert!(polls.0.get().is_none(), "nothing is kept of them");
    }
}
