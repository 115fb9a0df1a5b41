//! Wall time, so that a test can set it; and the guard that notices when it jumps (P8).

mod guard;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use guard::{JumpGuard, Reading};

/// Tells the wall time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::new(Timestamp::now)
    }

    /// A clock that shows what `now` gives.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The wall time.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

/// `instant` and a length of time after it; the end of time if that is beyond.
pub fn after(instant: Timestamp, time: Duration) -> Timestamp {
    SignedDuration::try_from(time)
        .ok()
        .and_then(|time| instant.checked_add(time).ok())
        .unwrap_or(Timestamp::MAX)
}

/// `instant` and a length of time before it; the beginning of time if that is beyond.
pub fn before(instant: Timestamp, time: Duration) -> Timestamp {
    SignedDuration::try_from(time)
        .ok()
        .and_then(|time| instant.checked_sub(time).ok())
        .unwrap_or(Timestamp::MIN)
}

/// The time from `from` to `to`; zero if it is negative.
pub fn between(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or(Duration::ZERO)
}
