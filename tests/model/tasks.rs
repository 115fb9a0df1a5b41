//! What was begun, in steps as small as a crash or a neighbour can come between, and how it ends.

use evanesce::erase::order::CommitStep;
use evanesce::job::life::{End, Input, NewJob, PlanShape, SweepEnd, Turn};
use evanesce::job::{FailureReason, StateName, SweepCounts};
use jiff::Timestamp;

use super::actor::{feed, job, surroundings};
use super::directory::*;
use super::flaws::Flaw;
use super::process::*;
use super::queue;
use super::record::{Record, completion};
use super::search::Next;
use super::world::*;

/// How something stands after one more step of it.
pub enum Then {
    /// It goes on at this stage.
    At(u8),
    /// The first step of the committer is done.
    StepDone,
    /// It has ended.
    Ended(End),
    /// The reaper hears that there is something to sweep.
    SweepAsked,
    /// The reaper's sweep has ended, with an error or without.
    Swept(Option<&'static str>),
    /// The reaper tries again.
    SweepRetried,
}
use Then::*;

/// The failure of what finds the directory in another place, or not at all.
pub const NOT_THERE: Option<FailureReason> = Some(FailureReason::StorageFailed);

/// The next step of each thing that was begun.
pub fn steps(world: &World, flaw: Flaw) -> Vec<Next<World>> {
    let doing = world.process.iter().flat_map(|process| &process.doing);
    doing.enumerate().filter_map(|(index, doing)| step(world, flaw, index, doing)).collect()
}

fn step(world: &World, flaw: Flaw, index: usize, doing: &Doing) -> Option<Next<World>> {
    let mut next = world.clone();
    let (words, then) = next_step(&mut next, flaw, doing)?;
    go_on(&mut next, flaw, index, then);
    Some((words, next))
}

/// Puts down how far the thing at `index` has come, and tells its end.
pub fn go_on(world: &mut World, flaw: Flaw, index: usize, then: Then) {
    let doing = &mut world.running().doing[index];
    let is_told = doing.is_told;
    match then {
        At(stage) => doing.stage = stage,
        StepDone => {
            let done = doing.next_step();
            *doing = doing.advanced();
            let is_over = doing.next_step().is_none();
            let end = committed(doing);
            let early = done == Some(CommitStep::Publish) && flaw == Flaw::AcknowledgeBeforeMoveToTrash;
            if early && !is_over {
                doing.is_told = true;
                feed(world, flaw, Input::Ended(end));
            } else if is_over && doing.work != Work::Commit(StateName::Marked) {
                // Only the answer to a mark is worth a moment of its own.
                go_on(world, flaw, index, Ended(end));
                return;
            }
        }
        Ended(end) => {
            let ended = world.running().doing.remove(index);
            // The log hears of a mark before whoever asked for it does.
            world.audit.seen |= world.is_audited && ended.record.is_some_and(is_first_mark);
            if !is_told {
                feed(world, flaw, Input::Ended(end));
            }
        }
        Swept(error) => {
            let process = world.running();
            process.doing.remove(index);
            process.book.give_back(job(), error.is_none());
            queue::swept(world, flaw, error);
        }
        SweepAsked => {
            world.running().doing.remove(index);
            queue::asked(world, flaw);
        }
        SweepRetried => {
            world.running().doing.remove(index);
            queue::retried(world, flaw);
        }
    }
    world.running().doing.sort_by_key(|doing| (doing.work, doing.stage));
}

/// Whether the record is a mark's first one.
pub fn is_first_mark(record: Record) -> bool {
    record.name == StateName::Marked && record.failed_sweeps == 0
}

/// What a kick-off says of its job.
pub fn new_job() -> NewJob {
    NewJob {
        tenant: "tenant".parse().expect("a valid name"),
        owner: "client".parse().expect("a valid name"),
        submitted_at: Timestamp::UNIX_EPOCH,
    }
}

/// The plan has two parts.
pub const PLAN: PlanShape = PlanShape { parts: 2, transaction_time: Timestamp::UNIX_EPOCH };

fn next_step(world: &mut World, flaw: Flaw, doing: &Doing) -> Option<(&'static str, Then)> {
    Some(match (doing.work, doing.stage) {
        (Work::Create, 0) => {
            // It is durable before there is a directory.
            world.key = Cached::durable(true);
            world.place.seen = Place::Building;
            ("the job's directory is made", At(1))
        }
        (Work::Create, _) => {
            world.place.sync();
            ("the directory is synced", Ended(End::Created(Ok(new_job()))))
        }
        (Work::TakePlanTurn, _) => ("it is the job's turn to be planned", Ended(End::TurnCame(Turn::Plan))),
        (Work::TakeResumeTurn, _) => {
            ("it is the job's turn to be resumed", Ended(End::TurnCame(Turn::Resume)))
        }
        (Work::Plan, _) => ("the plan is made", Ended(End::PlanMade(Ok(())))),
        (Work::WritePlan, 0) => {
            if !world.has_directory() {
                return Some(("the plan has nowhere to go", Ended(End::PlanWritten(Err(NOT_THERE)))));
            }
            world.plan.seen = world.plan.seen.max(1);
            ("the plan is written", At(1))
        }
        (Work::WritePlan, _) => {
            world.sync_names();
            ("the plan is synced", Ended(End::PlanWritten(Ok(PLAN))))
        }
        (Work::ReadDocuments, stage) => read_documents(world, flaw, stage),
        (Work::WriteJobJson(of), stage) => write_job_json(world, of, stage),
        (Work::MoveToReady, stage) => move_to_ready(world, flaw, stage)?,
        (Work::Commit(_), _) => return commit(world, flaw, doing),
        (Work::AwaitDownloads(of), _) => {
            if surroundings(world, flaw).downloads > 0 {
                return None;
            }
            ("no download is open any more", Ended(End::DownloadsGone { of, drained: 0, cut: 0 }))
        }
        (Work::SweepPartials, stage) => sweep_partials(world, flaw, stage),
        (Work::AwaitRetry, _) => {
            // It may try before, which changes nothing.
            let process = world.running();
            let forbidden = process.book.is_held(job()) || process.book.is_paused();
            if forbidden && process.state() == Some(StateName::Failed) {
                return None;
            }
            ("the job tries again", Ended(End::RetryDue))
        }
        (Work::SweepEarly, stage) => sweep_early(world, flaw, stage),
        (Work::FindMark, _) => {
            let moved = !matches!(world.place.seen, Place::Building | Place::Ready);
            let moved = moved || flaw == Flaw::TrustRecalledMark;
            ("the actor looks where the marked job stands", Ended(End::MarkFound { moved }))
        }
        (Work::LookForFiles, _) => {
            let found = world.place.seen == Place::Ready && flaw != Flaw::ReapAtFirstSight;
            ("the actor looks again for the files", Ended(End::FilesFound(found)))
        }
        (Work::AskForSweep, _) => ("the reaper hears of the marked job", SweepAsked),
        (Work::AwaitSweepRetry, _) => {
            // A back-off is longer than a commit.
            let is_told = |doing: &Doing| doing.work == Work::Commit(StateName::Marked);
            if world.running().is_doing(is_told) {
                return None;
            }
            ("the back-off of the failed sweep is over", SweepRetried)
        }
        (Work::Sweep, stage) => sweep(world, flaw, stage),
    })
}

/// The committer's next step: it takes one record at a time, in the order in which they came.
fn commit(world: &mut World, flaw: Flaw, doing: &Doing) -> Option<(&'static str, Then)> {
    let rank = |doing: &Doing| doing.record.map(|record| (record.name, record.failed_sweeps));
    let is_commit = |doing: &&Doing| matches!(doing.work, Work::Commit(_));
    let process = world.process.as_ref()?;
    if process.doing.iter().filter(is_commit).any(|other| rank(other) < rank(doing)) {
        return None;
    }
    let Some(step) = doing.next_step() else {
        return Some(("the actor hears that its record is durable", Ended(committed(doing))));
    };
    Some(match step {
        CommitStep::CommitStore if doing.stage == 0 => {
            world.store.now.seen = doing.record;
            let is_synced = world.store.now.is_synced();
            ("the record goes to the store", if is_synced { StepDone } else { At(1) })
        }
        // `store_syncs` does the rest.
        CommitStep::CommitStore => return None,
        CommitStep::MoveToTrash => move_to_trash(world, flaw, doing.stage),
        CommitStep::GiveRoom => give_room(world, flaw, doing.stage),
        CommitStep::Publish => {
            world.publish(doing.record);
            if doing.record.is_some_and(|record| record.name == StateName::Erased) {
                world.running().book.forget_gone(|_| false);
            }
            ("the view shows the record", StepDone)
        }
        CommitStep::AppendReceipts => append_receipt(world, doing.stage),
    })
}

fn committed(doing: &Doing) -> End {
    let of = doing.record.map_or(StateName::Queued, |record| record.name);
    End::Committed { of, moved: !doing.not_moved, swept: SweepCounts::default() }
}

fn append_receipt(world: &mut World, stage: u8) -> (&'static str, Then) {
    let receipts = &mut world.receipts;
    match stage {
        0 => {
            receipts.seen.broken |= receipts.seen.torn;
            receipts.seen.torn = true;
            ("half of the receipt is written", At(1))
        }
        1 => {
            receipts.seen = Receipts { lines: receipts.seen.lines + 1, torn: false, ..receipts.seen };
            ("the receipt is written", At(2))
        }
        _ => {
            receipts.sync();
            ("the receipt is synced", StepDone)
        }
    }
}

/// The store's writer syncs all it was given and tells who waits for it.
pub fn store_syncs(world: &World, flaw: Flaw) -> Option<Next<World>> {
    if world.is_store_synced() {
        return None;
    }
    let mut next = world.clone();
    next.sync_store();
    let process = next.process.as_mut()?;
    // At stage 0 the record is not among those that were given.
    let waits = |doing: &&mut Doing| doing.next_step() == Some(CommitStep::CommitStore) && doing.stage == 1;
    for doing in process.doing.iter_mut().filter(waits) {
        *doing = doing.advanced();
    }
    process.doing.sort_by_key(|doing| (doing.work, doing.stage));
    for index in 0..next.parts.len() {
        if std::mem::take(&mut next.parts[index].is_recording) {
            feed(&mut next, flaw, Input::Ended(End::PartRecorded { files: 1 }));
        }
    }
    Some(("the store syncs", next))
}

/// The audit log's thread syncs what it was told.
pub fn audit_syncs(world: &World) -> Option<Next<World>> {
    (!world.audit.is_synced()).then(|| {
        let mut next = world.clone();
        next.audit.sync();
        ("the audit log is synced", next)
    })
}

/// The end of the rename to `ready/`.
pub fn moved_to_ready() -> End {
    End::MovedToReady(Ok(completion()))
}

/// How a sweep of partial files ends that an operator forbids.
pub fn refused() -> End {
    End::PartialsSwept(SweepEnd::Refused)
}
