//! What the reaper has done and has before it, as the operator sees it.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::Reaper;
use crate::clock::between;
use crate::job::JobState;
use crate::receipts::Pause;
use crate::telemetry;

/// What the reaper has done and has before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReaperStatus {
    /// Passes made.
    pub passes: u64,
    /// When the last one was.
    pub last_pass: Option<Timestamp>,
    /// Sweeps that succeeded.
    pub swept: u64,
    /// Sweeps that failed.
    pub failed: u64,
    /// Jobs that are marked and not erased yet.
    pub marked: usize,
    /// Bytes that they and failed exports still take, as far as this process knows.
    pub bytes: u64,
    /// When the oldest of those that are not held was marked.
    pub oldest_mark: Option<Timestamp>,
    /// Whether that is longer ago than `reaper.alarm_after`: somebody should look.
    pub overdue: bool,
    /// Directories without a record that are being watched.
    pub orphans: usize,
    /// Names in the data directory that this server did not make.
    pub strangers: usize,
    /// Files of the server that the last pass did not find where they should stand.
    pub missing: Vec<&'static str>,
    /// Whether expiry waits because the clock jumped.
    pub clock_jumped: bool,
    /// The pause that an operator has ordered.
    pub pause: Option<Pause>,
    /// Jobs under a hold.
    pub held: usize,
}

impl Reaper {
    /// Counts what is marked and not erased yet, for status and metrics.
    pub(super) fn note_backlog(&mut self) {
        let mut marks = 0;
        let mut oldest: Option<Timestamp> = None;
        for published in self.services.view().all() {
            if let JobState::Marked(mark) = &published.record.state {
                marks += 1;
                // Nobody expects a job that is held to be swept.
                let counts = !self.services.eraser.holds().is_held(published.record.id);
                oldest = oldest.into_iter().chain(counts.then_some(mark.at)).min();
            }
        }
        let now = self.services.clock.now();
        let age = oldest.map_or(Duration::ZERO, |oldest| between(oldest, now));
        let status = &mut self.status;
        status.marked = marks;
        status.oldest_mark = oldest;
        status.overdue = oldest.is_some() && age >= self.services.config.reaper.alarm_after.0;
        status.pause = self.services.receipts.pause();
        status.held = self.services.receipts.holds().len();
        status.bytes = self.services.space.ended();
        telemetry::backlog(marks, status.bytes, age, status.orphans, status.strangers);
        telemetry::orders(status.pause.is_some(), status.held);
    }
}
