//! How a caller stops an export: a flag that sleepers wait on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Stops an export. Clones share one flag.
///
/// ```
/// let stop = evanesce::client::StopSignal::new();
/// stop.clone().stop();
/// assert!(stop.is_stopped());
/// ```
#[derive(Debug, Clone, Default)]
pub struct StopSignal(Arc<(Mutex<bool>, Condvar)>);

impl StopSignal {
    /// Creates a signal that is not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the signal. The export ends at its next look, which no wait of its own delays.
    pub fn stop(&self) {
        let (flag, raised) = &*self.0;
        *flag.lock() = true;
        raised.notify_all();
    }

    /// Returns whether the signal is raised.
    pub fn is_stopped(&self) -> bool {
        *self.0.0.lock()
    }

    /// Sleeps, at most until the signal is raised. Returns whether it is.
    pub(super) fn sleep(&self, duration: Duration) -> bool {
        let (flag, raised) = &*self.0;
        let until = Instant::now() + duration;
        let mut flag = flag.lock();
        while !*flag && !raised.wait_until(&mut flag, until).timed_out() {}
        *flag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_wakes_when_the_signal_is_raised() {
        let stop = StopSignal::new();
        assert!(!stop.sleep(Duration::from_millis(1)));
        let other = stop.clone();
        let sleeper = std::thread::spawn(move || other.sleep(Duration::from_secs(3600)));
        stop.stop();
        assert!(sleeper.join().unwrap());
    }
}
