//! What time ends: files whose time to live is over, tombstones, receipts (P2, P8).

use std::time::{Duration, Instant};

use actix::{AsyncContext, Context, WrapFuture};
use jiff::Timestamp;

use super::super::JobMessage;
use super::super::prune::{prune, prune_audit};
use super::Reaper;
use crate::clock::{ClockReading, after, between};
use crate::job::JobState;
use crate::store::DurableChange;
use crate::telemetry;

/// How often receipts are pruned.
const PRUNE_EVERY: Duration = Duration::from_secs(24 * 3600);

impl Reaper {
    /// Tells jobs whose time is over, and forgets tombstones (P2, P8). The next time to be
    /// over has a pass of its own, so that `Expires` is when the reaper really acts.
    pub(super) fn expire(&mut self, ctx: &mut Context<Self>) {
        let now = self.services.clock.now();
        let steady = self.clock_guard.is_steady(ClockReading::take(&self.services.clock));
        self.status.clock_jumped = !steady;
        telemetry::clock_held(!steady);
        self.status.passes += 1;
        self.status.last_pass = Some(now);
        if !steady || self.services.eraser.holds().is_paused() {
            return;
        }
        self.prune(now, ctx);
        let retention = &self.services.config.retention;
        let mut next: Option<Timestamp> = None;
        for published in self.services.view().all() {
            let job = published.record.id;
            let expires = expires_at(&published.record.state, retention.completed.0);
            let expires = expires.filter(|_| !self.services.eraser.holds().is_held(job));
            match &published.record.state {
                _ if expires.is_some_and(|at| at <= now) => self.tell(job, JobMessage::Expire),
                _ if expires.is_some() => next = next.into_iter().chain(expires).min(),
                JobState::Erased(erasure) if after(erasure.gone_at, retention.tombstones.0) <= now => {
                    // Nobody waits for it; a failure ends the process anyway.
                    drop(self.services.committer.submit(DurableChange::Forget(job)));
                }
                _ => {}
            }
        }
        if let Some(handle) = self.next_expiry.take() {
            ctx.cancel_future(handle);
        }
        let soon =
            next.map(|at| between(now, at)).filter(|wait| *wait < self.services.config.reaper.interval.0);
        self.next_expiry = soon.map(|wait| ctx.run_later(wait, |this, ctx| this.pass(ctx)));
    }

    /// Receipts and the audit log are pruned at the first pass, and once a day after it.
    fn prune(&mut self, now: Timestamp, ctx: &mut Context<Self>) {
        if self.pruned.is_none_or(|last| last.elapsed() >= PRUNE_EVERY) {
            self.pruned = Some(Instant::now());
            ctx.spawn(prune(self.services.clone(), now).into_actor(self));
            ctx.spawn(prune_audit(self.services.clone(), now).into_actor(self));
        }
    }
}

/// When a finished job expires: counted from its end, never from its kick-off (P8).
pub fn expires_at(state: &JobState, retention: Duration) -> Option<Timestamp> {
    match state {
        JobState::Complete(completion) => Some(after(completion.completed_at, retention)),
        JobState::Failed(failure) => Some(after(failure.at, retention)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Completion, Failure, FailureReason};

    #[test]
    fn time_to_live_counts_from_the_end_and_covers_failures() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let day = Duration::from_secs(10);
        let complete = JobState::Complete(Completion::of(&[], at(1), at(100)));
        assert_eq!(expires_at(&complete, day), Some(at(110)));
        let failed = JobState::Failed(Failure { at: at(50), reason: FailureReason::StorageFull });
        assert_eq!(expires_at(&failed, day), Some(at(60)));
        assert_eq!(expires_at(&JobState::Queued, day), None);
        assert_eq!(expires_at(&complete, Duration::MAX), Some(Timestamp::MAX));
    }
}
