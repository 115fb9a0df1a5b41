//! What strangers may write: a request without a valid token is recorded, but whoever sends
//! thousands of them shall not fill the disk with events. Above `audit.max_refusals` a minute they
//! are only counted, and one event tells their number.

use jiff::Timestamp;

use super::AuditedEvent;

/// Seconds in which refusals are counted.
const WINDOW: i64 = 60;

/// Counts refusals, and says which are recorded.
pub struct RefusalFlood {
    /// Refusals recorded in one window at the most.
    limit: u64,
    window: i64,
    refusals: u64,
}

impl RefusalFlood {
    /// Nothing was refused yet.
    pub fn new(limit: u64) -> Self {
        Self { limit, window: 0, refusals: 0 }
    }

    /// Whether an event is recorded; before it the number of those that were only counted, when
    /// their window is over or the server stops.
    pub fn admit(&mut self, event: &AuditedEvent, now: Timestamp) -> (Option<u64>, bool) {
        let window = now.as_second().div_euclid(WINDOW);
        let is_over = window != self.window || matches!(event, AuditedEvent::Stopped);
        let withheld = self.refusals.saturating_sub(self.limit);
        if is_over {
            (self.window, self.refusals) = (window, 0);
        }
        let is_refusal =
            matches!(event, AuditedEvent::TokenRefused { .. } | AuditedEvent::AuthenticationRefused { .. });
        self.refusals += u64::from(is_refusal);
        (Some(withheld).filter(|n| is_over && *n > 0), !is_refusal || self.refusals <= self.limit)
    }
}
