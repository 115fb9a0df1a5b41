use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::clock::Clock;
use crate::erase::LiveEvidence;
use crate::files::{DirPlace, Files, LocalFiles, SweepCounts};
use crate::hooks::Hooks;
use crate::job::{Completion, JobRecord, JobState, Mark, MarkReason, StateName};
use crate::receipts::{ReaperPause, ReceiptFile};
use crate::view::{PublishedJob, ViewChange};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A data directory with one job, and clocks that a test sets.
struct ReaperRoom {
    job: JobId,
    files: Arc<LocalFiles>,
    view: Arc<LocalView>,
    receipts: Arc<dyn ReceiptChain>,
    holds: Arc<HoldRegistry>,
    space: SpaceReservations,
    config: Config,
    wall: Arc<AtomicI64>,
    began: Instant,
    core: ReaperCore,
    turn_due: Option<Timestamp>,
    _folder: tempfile::TempDir,
}

impl ReaperRoom {
    fn new(state: JobState) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = Arc::new(LocalFiles::open(folder.path(), Hooks::default()).unwrap());
        let receipts: Arc<dyn ReceiptChain> = Arc::new(ReceiptFile::open(folder.path()).unwrap());
        let view = Arc::new(LocalView::default());
        let job = JobId::random();
        let (tenant, owner) = ("t".parse().unwrap(), "o".parse().unwrap());
        let record = JobRecord { id: job, tenant, owner, revision: 1, submitted_at: at(0), state };
        view.publish([ViewChange::New(PublishedJob::new(record, None, Arc::new([])))]);
        let evidence = LiveEvidence { files: files.clone(), receipts: receipts.clone(), view: view.clone() };
        let holds = HoldRegistry::of(evidence);
        let config = Config::default();
        let space = SpaceReservations::new(&config, Clock::system(), &[], || Ok(u64::MAX));
        let wall = Arc::new(AtomicI64::new(1_000_000_000));
        let (began, core, turn_due) = (Instant::now(), ReaperCore::default(), None);
        Self {
            job,
            files,
            view,
            receipts,
            holds,
            space,
            config,
            wall,
            began,
            core,
            turn_due,
            _folder: folder,
        }
    }

    /// Gives an input `after` the beginning, by the monotonic clock.
    fn give(&mut self, after: Duration, input: ReaperInput) -> Vec<ReaperAction> {
        self.ask(after, |core, around| core.handle(input, around))
    }

    fn ask<T>(
        &mut self,
        after: Duration,
        ask: impl FnOnce(&mut ReaperCore, ReaperSurroundings<'_>) -> T,
    ) -> T {
        let wall = self.wall.clone();
        let clock = Clock::new(move || at(wall.load(Ordering::Relaxed)));
        let around = ReaperSurroundings {
            clocks: &ClockReading::take(&clock),
            instant: self.began + after,
            changes_waiting: 0,
            view: &self.view,
            receipts: &*self.receipts,
            holds: &self.holds,
            space: &self.space,
            turn_due: self.turn_due,
            config: &self.config,
        };
        ask(&mut self.core, around)
    }

    fn pass(&mut self, after: Duration) -> Vec<ReaperAction> {
        self.give(after, ReaperInput::Pass)
    }

    /// What a pass and its survey nominate, of directories that stand in `building/`.
    fn survey(&mut self, after: Duration, building: &[JobId]) -> Vec<ReaperAction> {
        self.pass(after);
        let inventory = DiskInventory { building: building.to_vec(), ..DiskInventory::default() };
        self.give(after, ReaperInput::Surveyed(OwnFilesLook::Missing(Vec::new()), Some(inventory)))
    }
}

fn complete() -> JobState {
    JobState::Complete(Completion::of(&[], at(1), at(2)))
}

fn marked() -> JobState {
    let (reason, was) = (MarkReason::Deleted, StateName::Complete);
    JobState::Marked(Mark { reason, by: None, at: at(1), request_id: None, was, failure: None })
}

fn expires(actions: &[ReaperAction]) -> bool {
    actions.iter().any(|action| matches!(action, ReaperAction::Tell(_, Input::Expire)))
}

#[test]
fn a_pass_ends_what_is_due_unless_the_clock_jumped_or_an_operator_paused_it() {
    let mut room = ReaperRoom::new(complete());
    assert!(expires(&room.pass(Duration::ZERO)));
    room.wall.fetch_add(2 * 3600, Ordering::Relaxed);
    assert!(!expires(&room.pass(Duration::ZERO)));
    assert!(room.core.status.clock_jumped);
    assert!(room.core.clock_guard.confirm());
    assert!(expires(&room.pass(Duration::ZERO)));
    let pause = ReaperPause { at: at(3), by: "it".into(), reason: "an audit".into() };
    room.holds.admit(&ReceiptEntry::Pause(pause)).unwrap();
    assert!(!expires(&room.pass(Duration::ZERO)));
    assert_eq!(room.core.status.passes, 4);
}

#[test]
fn a_pass_is_asked_for_when_the_next_job_expires_if_that_is_before_the_next_regular_one() {
    let mut room = ReaperRoom::new(complete());
    let retention = i64::try_from(room.config.retention.completed.0.as_secs()).unwrap();
    let interval = room.config.reaper.interval.0;
    let next_pass = |actions: Vec<ReaperAction>| {
        actions.into_iter().find_map(|action| match action {
            ReaperAction::NextPass(wait) => Some(wait),
            _ => None,
        })
    };
    // The job was complete in second 2.
    room.wall.store(2 + retention - 1, Ordering::Relaxed);
    assert_eq!(next_pass(room.pass(Duration::ZERO)), Some(Some(Duration::from_secs(1))));
    let mut room = ReaperRoom::new(complete());
    room.wall.store(2 + retention - i64::try_from(interval.as_secs()).unwrap(), Ordering::Relaxed);
    assert_eq!(next_pass(room.pass(Duration::ZERO)), Some(None));
}

#[test]
fn a_sweep_that_failed_is_told_to_the_job_and_tried_again_when_its_time_has_come() {
    let mut room = ReaperRoom::new(marked());
    let job = room.job;
    let sweeps = |actions: &[ReaperAction]| {
        let warrants = actions.iter().find_map(|action| match action {
            ReaperAction::Sweep(warrants) => Some(warrants.iter().map(Warrant::job).collect::<Vec<_>>()),
            _ => None,
        });
        warrants.unwrap_or_default()
    };
    assert_eq!(sweeps(&room.give(Duration::ZERO, ReaperInput::Sweep(job))), [job]);
    let missing = room.files.open(job, DirPlace::Ready).map(drop);
    let swept = ReaperInput::Swept(vec![(job, (SweepCounts::default(), missing))]);
    let actions = room.give(Duration::ZERO, swept);
    let [
        ReaperAction::After(wait, ReaperInput::RetryDue),
        ReaperAction::Tell(told, Input::SweepDone { error: Some(_), .. }),
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((*told, room.core.status.failed), (job, 1));
    assert_eq!(*wait, room.config.reaper.retry_min.0);
    let moment = Duration::from_millis(1);
    assert_eq!(sweeps(&room.give(*wait - moment, ReaperInput::RetryDue)), []);
    assert_eq!(sweeps(&room.give(*wait, ReaperInput::RetryDue)), [job]);
}

#[test]
fn an_orphan_is_told_to_its_actor_when_the_grace_is_over_and_not_before() {
    let mut room = ReaperRoom::new(JobState::Queued);
    let orphan = JobId::random();
    let grace = room.config.retention.orphan_grace.0;
    let told = |actions: Vec<ReaperAction>| {
        actions
            .iter()
            .any(|action| matches!(action, ReaperAction::Tell(job, Input::Orphan) if *job == orphan))
    };
    assert!(!told(room.survey(Duration::ZERO, &[orphan])));
    assert!(!told(room.survey(grace - Duration::from_millis(1), &[orphan])));
    assert_eq!(room.core.status.orphans, 1);
    assert!(told(room.survey(grace, &[orphan])));
}

#[test]
fn receipts_and_the_audit_log_are_pruned_once_a_day() {
    let mut room = ReaperRoom::new(JobState::Queued);
    let prunes =
        |actions: Vec<ReaperAction>| actions.iter().any(|action| matches!(action, ReaperAction::Prune));
    assert!(prunes(room.pass(Duration::ZERO)), "the first pass");
    assert!(!prunes(room.pass(PRUNE_EVERY - Duration::from_millis(1))));
    assert!(prunes(room.pass(PRUNE_EVERY)));
    assert!(!prunes(room.pass(PRUNE_EVERY + Duration::from_secs(1))));
}

#[test]
fn one_survey_is_under_way_at_a_time_and_a_chain_that_is_missing_is_mended() {
    let mut room = ReaperRoom::new(JobState::Queued);
    let surveys =
        |actions: &[ReaperAction]| actions.iter().any(|action| matches!(action, ReaperAction::Survey(_)));
    assert!(surveys(&room.pass(Duration::ZERO)));
    assert!(!surveys(&room.pass(Duration::ZERO)));
    let look = OwnFilesLook::Missing(vec![receipts::FILE_NAME]);
    let actions = room.give(Duration::ZERO, ReaperInput::Surveyed(look, None));
    assert!(matches!(&actions[..], [ReaperAction::Commit(DurableChange::Mend)]), "{actions:?}");
    assert!(surveys(&room.pass(Duration::ZERO)));
    let gone = ReaperInput::Surveyed(OwnFilesLook::Fatal("the store is gone"), None);
    let actions = room.give(Duration::ZERO, gone);
    assert!(matches!(&actions[..], [ReaperAction::GiveUp("the store is gone")]), "{actions:?}");
}

fn turns(actions: &[ReaperAction]) -> bool {
    actions.iter().any(|action| matches!(action, ReaperAction::TurnEpoch))
}

#[test]
fn p14_the_epoch_turns_when_it_is_due_and_once_at_a_time() {
    let mut room = ReaperRoom::new(JobState::Queued);
    assert!(!turns(&room.pass(Duration::ZERO)), "no key is in it");
    let now = room.wall.load(Ordering::Relaxed);
    room.turn_due = Some(at(now + 3));
    let actions = room.pass(Duration::ZERO);
    assert!(!turns(&actions));
    let next = |actions: &[ReaperAction]| {
        actions.iter().any(
            |action| matches!(action, ReaperAction::NextPass(Some(wait)) if *wait == Duration::from_secs(3)),
        )
    };
    assert!(next(&actions), "a pass of its own: {actions:?}");
    room.turn_due = Some(at(now));
    assert!(turns(&room.pass(Duration::ZERO)));
    assert!(!turns(&room.pass(Duration::ZERO)), "it is under way");
    assert!(room.ask(Duration::ZERO, ReaperCore::begin_turn).is_err());
    let actions = room.give(Duration::ZERO, ReaperInput::Turned(Some("EIO".into())));
    assert!(!turns(&actions), "not in a tight loop");
    assert!(turns(&room.pass(Duration::ZERO)), "a turn that failed is tried again");
    room.turn_due = Some(at(now + 60));
    assert!(!turns(&room.give(Duration::ZERO, ReaperInput::Turned(None))));
    assert!(room.ask(Duration::ZERO, ReaperCore::begin_turn).is_ok());
}

#[test]
fn p14_no_epoch_turns_under_a_pause() {
    let mut room = ReaperRoom::new(JobState::Queued);
    room.turn_due = Some(at(0));
    let pause = ReaperPause { at: at(3), by: "it".into(), reason: "an audit".into() };
    room.holds.admit(&ReceiptEntry::Pause(pause)).unwrap();
    assert!(!turns(&room.pass(Duration::ZERO)));
    assert!(room.ask(Duration::ZERO, ReaperCore::begin_turn).is_err());
}
