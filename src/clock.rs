//! Wall time, so that a test can set it; and the guard that notices when it jumps (P8).

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

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

/// A jump of the wall clock against the monotonic one that is larger than this is not
/// believed, until it has been steady for as long.
const JUMP: Duration = Duration::from_secs(3600);

/// Notices when the wall clock jumps: then nothing expires until it has been steady for an hour.
#[derive(Debug, Default)]
pub struct JumpGuard {
    last: Option<(Timestamp, Instant)>,
    jumped_at: Option<Instant>,
}

impl JumpGuard {
    /// Takes both clocks' time and tells whether the wall time may be believed.
    pub fn is_steady(&mut self, wall: Timestamp, monotonic: Instant) -> bool {
        if let Some((last_wall, last_monotonic)) = self.last {
            let passed = SignedDuration::try_from(monotonic - last_monotonic).unwrap_or(SignedDuration::MAX);
            let drift = wall.duration_since(last_wall).saturating_sub(passed);
            if drift.unsigned_abs() > JUMP {
                tracing::error!(%last_wall, %wall, "the clock jumped: nothing expires until it is steady for an hour");
                self.jumped_at = Some(monotonic);
            }
        }
        self.last = Some((wall, monotonic));
        if self.jumped_at.is_some_and(|at| monotonic - at >= JUMP) {
            self.jumped_at = None;
        }
        self.jumped_at.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_in_either_direction_holds_expiry_for_an_hour() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let monotonic = Instant::now();
        for jump in [2 * 3600, -2 * 3600] {
            let mut guard = JumpGuard::default();
            let mut steady = |wall: i64, seconds: u64| {
                let wall = start + SignedDuration::from_secs(wall);
                guard.is_steady(wall, monotonic + Duration::from_secs(seconds))
            };
            assert!(steady(0, 0));
            assert!(steady(60, 60));
            assert!(!steady(90 + jump, 90), "{jump}");
            assert!(!steady(3000 + jump, 3000));
            assert!(steady(90 + 3600 + jump, 90 + 3600));
        }
    }
}
