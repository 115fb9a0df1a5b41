//! What all steps of one export share: the server, whom progress is told, when to stop, and patience
//! with what fails now and may succeed later.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::error::{AttemptError, ClientError, ClientErrorKind};
use super::http::HttpClient;
use super::progress::{ExportEvent, ExportProgress};
use super::stop::StopSignal;

/// The longest that one wait takes, whatever `Retry-After` says.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The first wait that nobody named; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest wait that nobody named.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// One run of an export.
pub struct ExportSession {
    pub http: HttpClient,
    pub progress: Box<dyn ExportProgress>,
    /// Raised by the caller.
    pub stop: StopSignal,
    /// Raised when the export is over, for threads that still load.
    pub abandon: StopSignal,
    /// When the whole has taken too long.
    pub deadline: Instant,
    pub patience: Duration,
    /// Whether files of OperationOutcomes are not loaded.
    pub leave_errors: bool,
}

/// Counts failures in a row, and says how long to wait.
pub struct Backoff {
    since: Option<Instant>,
    failures: u32,
}

impl Backoff {
    /// Creates one without a failure.
    pub fn new() -> Self {
        Self { since: None, failures: 0 }
    }

    /// Something went well: what fails next fails for the first time.
    pub fn succeeded(&mut self) {
        *self = Self::new();
    }

    /// Returns the next wait. It grows with each failure, and differs a little from client to client.
    pub fn next(&mut self) -> Duration {
        self.since.get_or_insert_with(Instant::now);
        let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(16)).min(LONGEST_BACKOFF);
        self.failures += 1;
        let chance = f64::from(Uuid::new_v4().as_u128() as u16) / f64::from(u16::MAX);
        wait.mul_f64(0.75 + chance / 4.0)
    }

    fn failing_for(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl ExportSession {
    /// Tells what happened.
    pub fn tell(&self, event: ExportEvent<'_>) {
        self.progress.on_event(event);
    }

    /// Fails if the export was stopped, or has taken too long.
    pub fn check(&self) -> Result<(), ClientError> {
        if self.stop.is_stopped() || self.abandon.is_stopped() {
            return Err(ClientError::new(ClientErrorKind::Interrupted, "the export was stopped"));
        }
        if Instant::now() >= self.deadline {
            let message = "the export took longer than --timeout allows; the same command goes on with it";
            return Err(ClientError::new(ClientErrorKind::TimedOut, message));
        }
        Ok(())
    }

    /// Sleeps, if need be until the export is stopped or has taken too long.
    pub fn sleep(&self, wait: Duration) -> Result<(), ClientError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.stop.sleep(wait.min(left));
        self.check()
    }

    /// Tries until it succeeds, fails for good, or has failed for as long as there is patience.
    pub fn patiently<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, AttemptError>,
    ) -> Result<T, ClientError> {
        let mut backoff = Backoff::new();
        loop {
            self.check()?;
            match attempt() {
                Ok(done) => return Ok(done),
                Err(error) => self.wait_after(error, &mut backoff)?,
            }
        }
    }

    /// Waits until another attempt is worthwhile.
    ///
    /// # Errors
    /// Fails with the error of the attempt if none is.
    pub fn wait_after(&self, error: AttemptError, backoff: &mut Backoff) -> Result<(), ClientError> {
        let (error, asked) = match error {
            AttemptError::Final(error) => return Err(error),
            AttemptError::Transient(error, asked) => (error, asked),
        };
        let delay = retry_delay(backoff.next(), asked);
        if backoff.failing_for() + delay > self.patience {
            let message = match asked {
                Some(asked) => format!(
                    "{error}; it asks to come again in {} s, too late for --patience",
                    asked.as_secs()
                ),
                None => format!("{error}; it went on for as long as --patience allows"),
            };
            // Whether the export itself failed is not known.
            let kind = match error.kind() {
                ClientErrorKind::Export => ClientErrorKind::Server,
                kind => kind,
            };
            return Err(ClientError::new(kind, message));
        }
        self.tell(ExportEvent::Retrying { reason: &error.to_string(), delay });
        self.sleep(delay)
    }
}

/// Returns how long to wait after a failure: as long as the server asks, and no shorter than without
/// that.
fn retry_delay(own: Duration, asked: Option<Duration>) -> Duration {
    own.max(asked.unwrap_or_default()).min(LONGEST_WAIT)
}

/// Returns how long to wait between two polls: as long as the server asks, or a little longer each
/// time.
pub fn poll_delay(asked: Option<Duration>, polls: u32) -> Duration {
    let own = Duration::from_secs(1).saturating_mul(1 << polls.min(8)).min(LONGEST_BACKOFF);
    asked.map_or(own, |asked| asked.clamp(Duration::from_millis(100), LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p13_waits_grow_and_have_an_end() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..40).map(|_| backoff.next()).collect();
        assert!(waits[0] <= FIRST_WAIT && waits[0] >= FIRST_WAIT.mul_f64(0.75));
        assert!(waits.iter().all(|wait| *wait <= LONGEST_BACKOFF));
        assert!(waits[39] >= LONGEST_BACKOFF.mul_f64(0.75));
        backoff.succeeded();
        assert!(backoff.next() <= FIRST_WAIT);
    }

    #[test]
    fn p13_waits_are_as_long_as_asked_within_bounds() {
        let seconds = Duration::from_secs;
        let an_hour = LONGEST_WAIT.as_secs();
        for (asked, expected) in [(an_hour - 1, an_hour - 1), (an_hour, an_hour), (an_hour + 1, an_hour)] {
            assert_eq!(poll_delay(Some(seconds(asked)), 0), seconds(expected));
            assert_eq!(retry_delay(seconds(30), Some(seconds(asked))), seconds(expected));
        }
        assert_eq!(retry_delay(seconds(30), Some(seconds(u64::MAX))), LONGEST_WAIT);
        assert_eq!(retry_delay(seconds(30), Some(seconds(2))), seconds(30));
        assert_eq!(retry_delay(seconds(30), None), seconds(30));
        assert_eq!(poll_delay(Some(seconds(7)), 99), seconds(7));
        assert_eq!(poll_delay(Some(seconds(0)), 0), Duration::from_millis(100));
        assert_eq!(poll_delay(Some(seconds(u64::MAX)), 0), LONGEST_WAIT);
        assert_eq!(poll_delay(None, 0), seconds(1));
        assert_eq!(poll_delay(None, 2), seconds(4));
        assert_eq!(poll_delay(None, u32::MAX), LONGEST_BACKOFF);
    }
}
