//! Wall time, which a test can set, and the guard that notices when it jumps (P8).

mod guard;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use guard::{ClockReading, JumpGuard};

/// A source of wall time.
///
/// ```
/// use evanesce::Clock;
///
/// let stopped = Clock::new(|| jiff::Timestamp::UNIX_EPOCH);
/// assert!(stopped.now() < Clock::system().now());
/// ```
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// Returns the system's clock.
    pub fn system() -> Self {
        Self::new(Timestamp::now)
    }

    /// Creates a clock that shows what `now` returns.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Returns the wall time.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

/// Returns the instant `time` after `instant`, or the largest instant if that overflows.
pub fn after(instant: Timestamp, time: Duration) -> Timestamp {
    SignedDuration::try_from(time)
        .ok()
        .and_then(|time| instant.checked_add(time).ok())
        .unwrap_or(Timestamp::MAX)
}

/// Returns the instant `time` before `instant`, or the smallest instant if that overflows.
pub fn before(instant: Timestamp, time: Duration) -> Timestamp {
    SignedDuration::try_from(time)
        .ok()
        .and_then(|time| instant.checked_sub(time).ok())
        .unwrap_or(Timestamp::MIN)
}

/// Returns the time from `from` to `to`, or zero if it is negative.
pub fn between(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or(Duration::ZERO)
}
