//! What the reaper does, without actix: what happened comes in, what to do comes out, and time is
//! what the surroundings say. It sweeps what is marked and tries again after a failure. A pass looks at
//! everything: retries, what time has ended, what a survey of the disk finds. A pass is idempotent,
//! and leaves to the next one what it could not do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{
    DueJobs, FailingSweep, HoldRegistry, NextSweep, ReaperStatus, ScanNominations, ScanSightings, SweepQueue,
    SweepResult, Warrant,
};
use crate::clock::{ClockReading, JumpGuard, after, between};
use crate::config::Config;
use crate::files::DiskInventory;
use crate::job::JobId;
use crate::job::life::Input;
use crate::receipts::{self, ReceiptChain, ReceiptEntry};
use crate::space::SpaceReservations;
use crate::standing::OwnFilesLook;
use crate::store::DurableChange;
use crate::telemetry;
use crate::view::LocalView;

/// How often receipts and the audit log are pruned, from the first pass on.
const PRUNE_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Something that happened.
#[derive(Debug)]
pub enum ReaperInput {
    /// A marked job's last writer is out.
    Sweep(JobId),
    /// A sweep has waited for the committer.
    LookAgain,
    /// A sweep that failed may be tried again.
    RetryDue,
    /// It is time to look at everything.
    Pass,
    /// A sweep has ended.
    Swept(Vec<(JobId, SweepResult)>),
    /// A survey has ended; without an inventory the directories could not be listed.
    Surveyed(OwnFilesLook, Option<DiskInventory>),
    /// An order is durable, and what it ends has ended.
    Ordered(ReceiptEntry),
    /// A turn of the epoch has ended, with its error if it failed.
    Turned(Option<String>),
}

/// Something to be done.
#[derive(Debug)]
pub enum ReaperAction {
    /// Erase these jobs; [`ReaperInput::Swept`] tells how it ended.
    Sweep(Vec<Warrant>),
    /// Survey the disk, and save the guard of the clock; [`ReaperInput::Surveyed`] tells what was found.
    Survey(JumpGuard),
    /// Give this input after this time.
    After(Duration, ReaperInput),
    /// Make a pass after this time, and none that was asked for before.
    NextPass(Option<Duration>),
    /// Tell the job's actor, which looks again.
    Tell(JobId, Input),
    /// Make a change durable; nobody waits for it.
    Commit(DurableChange),
    /// Prune the receipts and the audit log.
    Prune,
    /// Turn the epoch of the keys; [`ReaperInput::Turned`] tells how it ended.
    TurnEpoch,
    /// End the process.
    GiveUp(&'static str),
}

/// What the reaper looks at.
#[derive(Clone, Copy)]
pub struct ReaperSurroundings<'a> {
    /// What the clocks show.
    pub clocks: &'a ClockReading,
    /// The monotonic time, for waits and graces.
    pub instant: Instant,
    /// Changes that the committer has not answered yet.
    pub changes_waiting: usize,
    /// The published view.
    pub view: &'a LocalView,
    /// The chain of receipts.
    pub receipts: &'a dyn ReceiptChain,
    /// Who grants warrants.
    pub holds: &'a Arc<HoldRegistry>,
    /// What ended jobs still take.
    pub space: &'a SpaceReservations,
    /// When the epoch of the keys should turn, if it should.
    pub turn_due: Option<Timestamp>,
    /// The settings.
    pub config: &'a Config,
}

impl ReaperSurroundings<'_> {
    fn now(&self) -> Timestamp {
        self.clocks.wall()
    }
}

/// What the reaper remembers.
#[derive(Default)]
pub struct ReaperCore {
    clock_guard: JumpGuard,
    queue: SweepQueue,
    /// Whether it is asked to look at the queue again.
    is_looking: bool,
    sightings: ScanSightings,
    is_surveying: bool,
    pruned: Option<Instant>,
    is_turning: bool,
    status: ReaperStatus,
}

impl ReaperCore {
    /// Creates a reaper that believes the clock as far as `clock_guard` does.
    pub fn new(clock_guard: JumpGuard) -> Self {
        Self { clock_guard, ..Self::default() }
    }

    /// Takes in what happened and returns what is to be done, in this order.
    pub fn handle(&mut self, input: ReaperInput, around: ReaperSurroundings<'_>) -> Vec<ReaperAction> {
        match input {
            ReaperInput::Sweep(job) => self.queue.add(job),
            ReaperInput::LookAgain => self.is_looking = false,
            ReaperInput::RetryDue => self.queue.retry_due(around.instant),
            ReaperInput::Pass => return self.pass(around),
            ReaperInput::Swept(results) => return self.swept(results, around),
            ReaperInput::Surveyed(look, inventory) => return self.surveyed(look, inventory, around),
            ReaperInput::Ordered(order) => return self.ordered(&order, around),
            ReaperInput::Turned(error) => return self.turned(error, around),
        }
        self.sweep_next(around)
    }

    /// Returns what the reaper has done and has before it.
    pub fn status(&mut self, around: ReaperSurroundings<'_>) -> ReaperStatus {
        self.note_backlog(around);
        self.status.clone()
    }

    /// Believes the clock, because an operator confirms it. Returns whether it had been doubted, and
    /// what is to be done.
    pub fn confirm_clock(&mut self, around: ReaperSurroundings<'_>) -> (bool, Vec<ReaperAction>) {
        if !self.clock_guard.confirm() {
            return (false, Vec::new());
        }
        tracing::warn!("an operator confirmed the clock: expiry goes on");
        (true, self.pass(around))
    }

    /// Takes the turn of the epoch that an operator asks for.
    ///
    /// # Errors
    /// Fails with a sentence while the reaper is paused, or a turn is under way.
    pub fn begin_turn(&mut self, around: ReaperSurroundings<'_>) -> Result<(), &'static str> {
        if around.holds.is_paused() {
            return Err("the reaper is paused; resume it first");
        }
        if std::mem::replace(&mut self.is_turning, true) {
            return Err("the epoch is turning already");
        }
        Ok(())
    }

    /// One pass. While the clock is not steady, nothing ends.
    fn pass(&mut self, around: ReaperSurroundings<'_>) -> Vec<ReaperAction> {
        around.holds.forget_erased();
        self.queue.retry_due(around.instant);
        let mut actions = self.sweep_next(around);
        let is_steady = self.clock_guard.is_steady(around.clocks.clone());
        self.status.note_pass(around.now(), is_steady);
        telemetry::clock_held(!is_steady);
        if is_steady && !around.holds.is_paused() {
            self.end_what_is_due(around, &mut actions);
        }
        if !std::mem::replace(&mut self.is_surveying, true) {
            actions.push(ReaperAction::Survey(self.clock_guard.clone()));
        }
        actions
    }

    fn swept(
        &mut self,
        results: Vec<(JobId, SweepResult)>,
        around: ReaperSurroundings<'_>,
    ) -> Vec<ReaperAction> {
        self.queue.sweep_ended();
        let mut actions = Vec::new();
        for (job, (swept, result)) in results {
            match &result {
                Ok(()) => {
                    self.queue.swept(job);
                    self.status.note_swept(job);
                }
                Err(error) => {
                    telemetry::sweep_failed(error.errno());
                    let (min, max) = (around.config.reaper.retry_min.0, around.config.reaper.retry_max.0);
                    let (attempts, wait) = self.queue.failed(job, around.instant, min, max);
                    let (errno, next_try) = (error.errno(), after(around.now(), wait));
                    let error_text = error.to_string();
                    self.status.note_failed(FailingSweep {
                        job,
                        attempts,
                        errno,
                        error: error_text,
                        next_try,
                    });
                    tracing::error!(%job, attempts, %error, ?wait, "a sweep failed and will be tried again");
                    actions.push(ReaperAction::After(wait, ReaperInput::RetryDue));
                }
            }
            let error = result.err().map(|error| error.to_string());
            actions.push(ReaperAction::Tell(job, Input::SweepDone { swept, error }));
        }
        actions.extend(self.sweep_next(around));
        actions
    }

    fn surveyed(
        &mut self,
        look: OwnFilesLook,
        inventory: Option<DiskInventory>,
        around: ReaperSurroundings<'_>,
    ) -> Vec<ReaperAction> {
        self.is_surveying = false;
        let mut actions = Vec::new();
        match look {
            OwnFilesLook::Fatal(reason) => actions.push(ReaperAction::GiveUp(reason)),
            OwnFilesLook::Missing(missing) => {
                let is_chain_missing = missing.contains(&receipts::FILE_NAME);
                actions.extend(is_chain_missing.then_some(ReaperAction::Commit(DurableChange::Mend)));
                telemetry::missing_files(missing.len());
                self.status.note_missing(missing);
            }
        }
        if let Some(inventory) = inventory {
            self.compare(&inventory, around, &mut actions);
        }
        self.note_backlog(around);
        actions
    }

    fn ordered(&mut self, order: &ReceiptEntry, around: ReaperSurroundings<'_>) -> Vec<ReaperAction> {
        tracing::warn!(order = order.kind(), job = ?order.job(), "an operator's order");
        if let ReceiptEntry::Release { job, .. } = order {
            self.queue.release(*job);
        }
        match order {
            // The time of something may have ended meanwhile.
            ReceiptEntry::Release { .. } | ReceiptEntry::Resume { .. } => self.pass(around),
            _ => Vec::new(),
        }
    }

    /// A turn that failed is tried again by the next regular pass.
    fn turned(&mut self, error: Option<String>, around: ReaperSurroundings<'_>) -> Vec<ReaperAction> {
        self.is_turning = false;
        let Some(error) = error else { return self.pass(around) };
        telemetry::turn_failed();
        tracing::error!(%error, "the epoch of the keys could not be turned; what was erased in it can be read \
            with a copy of its key until it is");
        Vec::new()
    }

    /// Counts what is marked and not erased yet, for status and metrics.
    fn note_backlog(&mut self, around: ReaperSurroundings<'_>) {
        let jobs = around.view.all();
        let jobs = jobs.iter().map(|job| (job.record.id, &job.record.state));
        let status = &mut self.status;
        let is_held = |job| around.holds.is_held(job);
        let age = status.note_marks(around.now(), jobs, is_held, around.config.reaper.alarm_after.0);
        status.pause = around.receipts.pause();
        status.held = around.receipts.holds().len();
        status.bytes = around.space.ended();
        telemetry::backlog(status.marked, status.bytes, age, status.orphans, status.strangers);
        telemetry::orders(status.pause.is_some(), status.held);
    }

    fn sweep_next(&mut self, around: ReaperSurroundings<'_>) -> Vec<ReaperAction> {
        let mut actions = Vec::new();
        loop {
            let grant = |job| around.holds.grant_sweep(job);
            match self.queue.next(around.instant, around.changes_waiting, grant) {
                NextSweep::Nothing => return actions,
                NextSweep::Sweep(warrants) => actions.push(ReaperAction::Sweep(warrants)),
                NextSweep::LookAgain(wait) => {
                    if !std::mem::replace(&mut self.is_looking, true) {
                        actions.push(ReaperAction::After(wait, ReaperInput::LookAgain));
                    }
                    return actions;
                }
            }
        }
    }

    /// Ends jobs, tombstones, receipts and the epoch whose time is over (P2, P8, P14). The next one to end has
    /// a pass of its own, if that is before the next regular one.
    fn end_what_is_due(&mut self, around: ReaperSurroundings<'_>, actions: &mut Vec<ReaperAction>) {
        let is_pruning_due = |last: Instant| around.instant.saturating_duration_since(last) >= PRUNE_EVERY;
        if self.pruned.is_none_or(is_pruning_due) {
            self.pruned = Some(around.instant);
            actions.push(ReaperAction::Prune);
        }
        let jobs = around.view.all();
        let jobs = jobs.iter().map(|job| (job.record.id, &job.record.state));
        let is_held = |job| around.holds.is_held(job);
        let DueJobs { expired, forgotten, next_expiry } =
            DueJobs::at(around.now(), jobs, &around.config.retention, is_held);
        actions.extend(expired.into_iter().map(|job| ReaperAction::Tell(job, Input::Expire)));
        actions.extend(forgotten.into_iter().map(|job| ReaperAction::Commit(DurableChange::Forget(job))));
        let turn_due = around.turn_due.filter(|_| !self.is_turning);
        if turn_due.is_some_and(|due| due <= around.now()) {
            self.is_turning = true;
            actions.push(ReaperAction::TurnEpoch);
        }
        let next_turn = turn_due.filter(|due| *due > around.now());
        let next = next_expiry.into_iter().chain(next_turn).min();
        let wait = next.map(|at| between(around.now(), at));
        let is_soon = |wait: &Duration| *wait < around.config.reaper.interval.0;
        actions.push(ReaperAction::NextPass(wait.filter(is_soon)));
    }

    fn compare(
        &mut self,
        inventory: &DiskInventory,
        around: ReaperSurroundings<'_>,
        actions: &mut Vec<ReaperAction>,
    ) {
        let grace = around.config.retention.orphan_grace.0;
        let has_receipt = |job| around.receipts.has(job);
        let ScanNominations { orphans, leftovers, lost } =
            self.sightings.compare(inventory, around.view, has_receipt, grace, around.instant);
        actions.extend(orphans.into_iter().map(|job| ReaperAction::Tell(job, Input::Orphan)));
        actions.extend(lost.into_iter().map(|job| ReaperAction::Tell(job, Input::Lost)));
        leftovers.into_iter().for_each(|job| self.queue.add(job));
        actions.extend(self.sweep_next(around));
        self.status.note_scan(inventory, self.sightings.count());
    }
}

#[cfg(test)]
mod tests;
