//! Limits what strangers can make the log write. Requests without a valid token are recorded, but
//! thousands of them must not fill the disk: above `audit.max_refusals` a minute they are only counted,
//! and one event has their number.

use jiff::Timestamp;

use super::AuditedEvent;

/// Seconds in which refusals are counted.
const WINDOW: i64 = 60;

/// Counts refusals and decides which are recorded.
pub struct RefusalFlood {
    /// The most refusals that are recorded in one window.
    limit: u64,
    window: i64,
    refusals: u64,
}

impl RefusalFlood {
    /// Creates a counter at zero.
    pub fn new(limit: u64) -> Self {
        Self { limit, window: 0, refusals: 0 }
    }

    /// Returns whether an event is recorded. Also returns the number of refusals that were only
    /// counted, when their window is over or the server stops.
    pub fn admit(&mut self, event: &AuditedEvent, now: Timestamp) -> (Option<u64>, bool) {
        let window = now.as_second().div_euclid(WINDOW);
        let is_over = window != self.window || matches!(event, AuditedEvent::Stopped);
        let withheld = self.refusals.saturating_sub(self.limit);
        if is_over {
            (self.window, self.refusals) = (window, 0);
        }
        let is_refusal = event.is_refusal();
        self.refusals += u64::from(is_refusal);
        (Some(withheld).filter(|n| is_over && *n > 0), !is_refusal || self.refusals <= self.limit)
    }
}
