//! The limit on the bytes a second that all exports together may write: each write reserves
//! its turn on one time line.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// See the module.
#[derive(Debug)]
pub struct Throttle {
    bytes_per_second: u64,
    /// When the next reservation may start.
    free_at: Mutex<Instant>,
}

impl Throttle {
    /// A throttle of `bytes_per_second`; 0 = unlimited.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, free_at: Mutex::new(Instant::now()) }
    }

    /// Reserves a turn for `bytes` and tells when it is; `None` means at once.
    pub fn reserve(&self, bytes: usize) -> Option<Instant> {
        let cost = self.cost(bytes)?;
        let mut free_at = self.free_at.lock();
        let turn = (*free_at).max(Instant::now());
        *free_at = turn + cost;
        Some(turn)
    }

    /// Gives back a turn that was not used.
    pub fn give_back(&self, bytes: usize) {
        if let Some(cost) = self.cost(bytes) {
            let mut free_at = self.free_at.lock();
            *free_at = free_at.checked_sub(cost).unwrap_or(*free_at);
        }
    }

    /// How much to write at once, so that a throttled export still moves several times a second.
    pub fn chunk(&self, largest: usize) -> usize {
        if self.bytes_per_second == 0 {
            return largest;
        }
        usize::try_from(self.bytes_per_second / 32).unwrap_or(largest).clamp(1024, largest)
    }

    fn cost(&self, bytes: usize) -> Option<Duration> {
        (self.bytes_per_second > 0)
            .then(|| Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_line_up_behind_each_other_at_the_given_rate() {
        let throttle = Throttle::new(1000);
        let first = throttle.reserve(500).unwrap();
        let second = throttle.reserve(1000).unwrap();
        let third = throttle.reserve(1).unwrap();
        assert_eq!(second - first, Duration::from_millis(500));
        assert_eq!(third - second, Duration::from_secs(1));
        assert_eq!(Throttle::new(0).reserve(1 << 40), None);
    }
}
