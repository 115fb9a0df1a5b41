//! How often a job is polled (ST-4): so many polls in the long run, and some at once.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Polls that may come at once.
const AT_ONCE: u32 = 20;

/// The polls of one job, as a bucket that leaks (GCRA: one instant is all its state).
#[derive(Debug, Default)]
pub struct Polls {
    /// When the bucket will have leaked out.
    empty_at: Mutex<Option<Instant>>,
}

impl Polls {
    /// Counts a poll at `now`, if it may come; `interval` is the time between two in the long
    /// run, zero for as many as one likes.
    ///
    /// # Errors
    /// How long to wait. Such a poll does not count.
    pub fn admit(&self, now: Instant, interval: Duration) -> Result<(), Duration> {
        let mut empty_at = self.empty_at.lock();
        let from = empty_at.map_or(now, |empty_at| empty_at.max(now));
        let ahead = from.saturating_duration_since(now);
        let longest = interval * (AT_ONCE - 1);
        if ahead > longest {
            return Err(ahead - longest);
        }
        *empty_at = Some(from + interval);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(250);

    #[test]
    fn some_come_at_once_and_then_one_an_interval() {
        let (polls, began) = (Polls::default(), Instant::now());
        for _ in 0..AT_ONCE {
            assert_eq!(polls.admit(began, INTERVAL), Ok(()));
        }
        assert_eq!(polls.admit(began, INTERVAL), Err(INTERVAL));
        // A refused one does not count.
        assert_eq!(polls.admit(began, INTERVAL), Err(INTERVAL));
        let later = began + INTERVAL;
        assert_eq!(polls.admit(later, INTERVAL), Ok(()));
        assert_eq!(polls.admit(later, INTERVAL), Err(INTERVAL));
        // A patient client is never refused.
        let mut now = later + INTERVAL * 100;
        for _ in 0..100 {
            assert_eq!(polls.admit(now, INTERVAL), Ok(()));
            now += INTERVAL;
        }
    }

    #[test]
    fn without_an_interval_all_may_come() {
        let (polls, now) = (Polls::default(), Instant::now());
        assert!((0..1000).all(|_| polls.admit(now, Duration::ZERO).is_ok()));
    }
}
