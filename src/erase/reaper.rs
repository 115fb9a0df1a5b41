//! What the reaper does, without actix: what happened comes in, what to do comes out. It sweeps what
//! is marked and tries again after a failure; a pass looks at everything: retries, what time has
//! ended, what a survey of the disk finds. A pass takes no input, is idempotent, and leaves to the
//! next one what it could not do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{
    DueJobs, HoldRegistry, NextSweep, Nominations, ReaperStatus, Sightings, SweepQueue, SweepResult, Warrant,
};
use crate::clock::between;
use crate::config::Config;
use crate::files::{DiskInventory, SweepCounts};
use crate::job::JobId;
use crate::receipts::{self, ReceiptChain, ReceiptEntry};
use crate::standing::OwnFilesLook;
use crate::telemetry;
use crate::view::LocalView;

/// How often receipts and the audit log are pruned, from the first pass on.
const PRUNE_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Something to be done.
#[derive(Debug)]
pub enum ReaperAction {
    /// Erase these jobs; [`ReaperCore::swept`] hears of it.
    Sweep(Vec<Warrant>),
    /// Come to [`ReaperCore::look_again`] after this time.
    LookAgain(Duration),
    /// Come to [`ReaperCore::retry_due`] after this time.
    RetryAfter(Duration),
    /// Make a pass now.
    Pass,
    /// Make a pass after this time, and none that was asked for before.
    PassAfter(Option<Duration>),
    /// Survey the disk; [`ReaperCore::surveyed`] hears of it.
    Survey,
    /// Tell the job's actor that its time may be over.
    Expire(JobId),
    /// Tell the job's actor that it may be a directory without a record.
    Orphan(JobId),
    /// Tell the job's actor that it may be a complete job without a directory.
    Lost(JobId),
    /// Tell the job's actor how its sweep ended.
    SweepDone(JobId, SweepCounts, Option<String>),
    /// Forget a tombstone.
    Forget(JobId),
    /// Have the receipts written anew.
    Mend,
    /// Prune the receipts and the audit log.
    Prune,
    /// End the process.
    GiveUp(&'static str),
}

/// What the reaper looks at.
#[derive(Clone, Copy)]
pub struct ReaperSurroundings<'a> {
    /// The wall time.
    pub now: Timestamp,
    /// Changes that the committer has not answered yet.
    pub changes_waiting: usize,
    /// The published view.
    pub view: &'a LocalView,
    /// The chain of receipts.
    pub receipts: &'a dyn ReceiptChain,
    /// Who grants warrants.
    pub holds: &'a Arc<HoldRegistry>,
    /// The settings.
    pub config: &'a Config,
}

/// What the reaper remembers.
#[derive(Default)]
pub struct ReaperCore {
    queue: SweepQueue,
    /// Whether it is asked to look at the queue again.
    is_looking: bool,
    sightings: Sightings,
    is_surveying: bool,
    pruned: Option<Instant>,
    status: ReaperStatus,
}

impl ReaperCore {
    /// The status, as of the last [`note_backlog`](Self::note_backlog).
    pub fn status(&self) -> &ReaperStatus {
        &self.status
    }

    /// A marked job's last writer is out.
    pub fn sweep(&mut self, job: JobId, around: ReaperSurroundings<'_>) -> Vec<ReaperAction> {
        self.queue.add(job);
        self.sweep_next(around)
    }

    /// The time of an [`ReaperAction::LookAgain`] is over.
    pub fn look_again(&mut self, around: ReaperSurroundings<'_>) -> Vec<ReaperAction> {
        self.is_looking = false;
        self.sweep_next(around)
    }

    /// The time of an [`ReaperAction::RetryAfter`] is over.
    pub fn retry_due(&mut self, around: ReaperSurroundings<'_>) -> Vec<ReaperAction> {
        self.queue.retry_due(Instant::now());
        self.sweep_next(around)
    }

    /// A sweep has ended.
    pub fn swept(
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
                    self.status.swept += 1;
                }
                Err(error) => {
                    self.status.failed += 1;
                    telemetry::sweep_failed(error.errno());
                    let (min, max) = (around.config.reaper.retry_min.0, around.config.reaper.retry_max.0);
                    let (attempts, wait) = self.queue.failed(job, Instant::now(), min, max);
                    tracing::error!(%job, attempts, %error, ?wait, "a sweep failed and will be tried again");
                    actions.push(ReaperAction::RetryAfter(wait));
                }
            }
            actions.push(ReaperAction::SweepDone(job, swept, result.err().map(|error| error.to_string())));
        }
        actions.extend(self.sweep_next(around));
        actions
    }

    /// One pass. While the clock is not steady, nothing ends.
    pub fn pass(&mut self, is_steady: bool, around: ReaperSurroundings<'_>) -> Vec<ReaperAction> {
        around.holds.forget_erased();
        let mut actions = self.retry_due(around);
        self.status.note_pass(around.now, is_steady);
        telemetry::clock_held(!is_steady);
        if is_steady && !around.holds.is_paused() {
            self.end_what_is_due(around, &mut actions);
        }
        if !std::mem::replace(&mut self.is_surveying, true) {
            actions.push(ReaperAction::Survey);
        }
        actions
    }

    /// A survey has ended; without an inventory the directories could not be listed.
    pub fn surveyed(
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
                actions.extend(is_chain_missing.then_some(ReaperAction::Mend));
                telemetry::missing_files(missing.len());
                self.status.note_missing(missing);
            }
        }
        if let Some(inventory) = inventory {
            self.compare(&inventory, around, &mut actions);
        }
        actions
    }

    /// An order is durable, and what it ends has ended.
    pub fn ordered(&mut self, order: &ReceiptEntry) -> Vec<ReaperAction> {
        tracing::warn!(order = order.kind(), job = ?order.job(), "an operator's order");
        if let ReceiptEntry::Release { job, .. } = order {
            self.queue.release(*job);
        }
        match order {
            // Something's time may be over.
            ReceiptEntry::Release { .. } | ReceiptEntry::Resume { .. } => vec![ReaperAction::Pass],
            _ => Vec::new(),
        }
    }

    /// Counts what is marked and not erased yet, for status and metrics. `bytes` is what ended jobs
    /// still take.
    pub fn note_backlog(&mut self, bytes: u64, around: ReaperSurroundings<'_>) {
        let jobs = around.view.all();
        let jobs = jobs.iter().map(|job| (job.record.id, &job.record.state));
        let status = &mut self.status;
        let is_held = |job| around.holds.is_held(job);
        let age = status.note_marks(around.now, jobs, is_held, around.config.reaper.alarm_after.0);
        status.pause = around.receipts.pause();
        status.held = around.receipts.holds().len();
        status.bytes = bytes;
        telemetry::backlog(status.marked, status.bytes, age, status.orphans, status.strangers);
        telemetry::orders(status.pause.is_some(), status.held);
    }

    fn sweep_next(&mut self, around: ReaperSurroundings<'_>) -> Vec<ReaperAction> {
        let mut actions = Vec::new();
        loop {
            let grant = |job| around.holds.grant_sweep(job);
            match self.queue.next(Instant::now(), around.changes_waiting, grant) {
                NextSweep::Nothing => return actions,
                NextSweep::Sweep(warrants) => actions.push(ReaperAction::Sweep(warrants)),
                NextSweep::LookAgain(wait) => {
                    if !std::mem::replace(&mut self.is_looking, true) {
                        actions.push(ReaperAction::LookAgain(wait));
                    }
                    return actions;
                }
            }
        }
    }

    /// Jobs, tombstones and receipts whose time is over (P2, P8). The next time to be over has a
    /// pass of its own.
    fn end_what_is_due(&mut self, around: ReaperSurroundings<'_>, actions: &mut Vec<ReaperAction>) {
        if self.pruned.is_none_or(|last| last.elapsed() >= PRUNE_EVERY) {
            self.pruned = Some(Instant::now());
            actions.push(ReaperAction::Prune);
        }
        let jobs = around.view.all();
        let jobs = jobs.iter().map(|job| (job.record.id, &job.record.state));
        let is_held = |job| around.holds.is_held(job);
        let DueJobs { expired, forgotten, next_expiry } =
            DueJobs::at(around.now, jobs, &around.config.retention, is_held);
        actions.extend(expired.into_iter().map(ReaperAction::Expire));
        actions.extend(forgotten.into_iter().map(ReaperAction::Forget));
        let wait = next_expiry.map(|at| between(around.now, at));
        let is_soon = |wait: &Duration| *wait < around.config.reaper.interval.0;
        actions.push(ReaperAction::PassAfter(wait.filter(is_soon)));
    }

    fn compare(
        &mut self,
        inventory: &DiskInventory,
        around: ReaperSurroundings<'_>,
        actions: &mut Vec<ReaperAction>,
    ) {
        let grace = around.config.retention.orphan_grace.0;
        let has_receipt = |job| around.receipts.has(job);
        let Nominations { orphans, leftovers, lost } =
            self.sightings.compare(inventory, around.view, has_receipt, grace, Instant::now());
        actions.extend(orphans.into_iter().map(ReaperAction::Orphan));
        actions.extend(lost.into_iter().map(ReaperAction::Lost));
        leftovers.into_iter().for_each(|job| self.queue.add(job));
        actions.extend(self.sweep_next(around));
        self.status.note_scan(inventory, self.sightings.count());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::erase::LiveEvidence;
    use crate::files::{DirPlace, Files, LocalFiles};
    use crate::hooks::Hooks;
    use crate::job::{Completion, JobRecord, JobState, Mark, MarkReason, StateName};
    use crate::receipts::{ReaperPause, ReceiptFile};
    use crate::view::{PublishedJob, ViewChange};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A data directory with one job.
    struct Room {
        job: JobId,
        files: Arc<LocalFiles>,
        view: Arc<LocalView>,
        receipts: Arc<dyn ReceiptChain>,
        holds: Arc<HoldRegistry>,
        config: Config,
        _folder: tempfile::TempDir,
    }

    impl Room {
        fn new(state: JobState) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let files = Arc::new(LocalFiles::open(folder.path(), Hooks::default()).unwrap());
            let receipts: Arc<dyn ReceiptChain> = Arc::new(ReceiptFile::open(folder.path()).unwrap());
            let view = Arc::new(LocalView::default());
            let job = JobId::random();
            let (tenant, owner) = ("t".parse().unwrap(), "o".parse().unwrap());
            let record = JobRecord { id: job, tenant, owner, revision: 1, submitted_at: at(0), state };
            view.publish([ViewChange::New(PublishedJob::new(record, None, Arc::new([])))]);
            let (evidence_files, evidence_view) = (files.clone(), view.clone());
            let holds = HoldRegistry::of(LiveEvidence {
                files: evidence_files,
                receipts: receipts.clone(),
                view: evidence_view,
            });
            Self { job, files, view, receipts, holds, config: Config::default(), _folder: folder }
        }

        fn around(&self) -> ReaperSurroundings<'_> {
            ReaperSurroundings {
                now: at(1_000_000_000),
                changes_waiting: 0,
                view: &self.view,
                receipts: &*self.receipts,
                holds: &self.holds,
                config: &self.config,
            }
        }
    }

    fn expires(actions: &[ReaperAction]) -> bool {
        actions.iter().any(|action| matches!(action, ReaperAction::Expire(_)))
    }

    #[test]
    fn a_pass_ends_what_is_due_unless_the_clock_jumped_or_an_operator_paused_it() {
        let room = Room::new(JobState::Complete(Completion::of(&[], at(1), at(2))));
        let mut core = ReaperCore::default();
        assert!(!expires(&core.pass(false, room.around())));
        assert!(core.status().clock_jumped);
        assert!(expires(&core.pass(true, room.around())));
        let pause = ReaperPause { at: at(3), by: "it".into(), reason: "an audit".into() };
        room.holds.admit(&ReceiptEntry::Pause(pause)).unwrap();
        assert!(!expires(&core.pass(true, room.around())));
        assert_eq!(core.status().passes, 3);
    }

    #[test]
    fn a_sweep_that_failed_is_told_to_the_job_and_tried_again() {
        let (reason, was) = (MarkReason::Deleted, StateName::Complete);
        let mark = Mark { reason, by: None, at: at(1), request_id: None, was, failure: None };
        let room = Room::new(JobState::Marked(mark));
        let mut core = ReaperCore::default();
        let mut actions = core.sweep(room.job, room.around());
        let Some(ReaperAction::Sweep(warrants)) = actions.pop() else { panic!("{actions:?}") };
        assert_eq!(warrants.iter().map(Warrant::job).collect::<Vec<_>>(), [room.job]);
        drop(warrants);
        let missing = room.files.open(room.job, DirPlace::Ready).map(drop);
        let actions = core.swept(vec![(room.job, (SweepCounts::default(), missing))], room.around());
        let [ReaperAction::RetryAfter(_), ReaperAction::SweepDone(job, _, Some(_))] = &actions[..] else {
            panic!("{actions:?}")
        };
        assert_eq!((*job, core.status().failed), (room.job, 1));
    }
}
