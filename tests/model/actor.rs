//! The job's actor: what happens goes into the real [`Life`], and here stands what each action
//! that comes out does to the world. What takes a while goes to `tasks.rs`.

use std::sync::LazyLock;
use std::time::Duration;

use evanesce::job::life::{
    Action, CancelReply, Canceller, Commit, End, Input, Life, LifeRules, Surroundings, Task, Turn,
};
use evanesce::job::{JobId, StateName};
use jiff::Timestamp;

use super::flaws::{Flaw, commit_order};
use super::process::*;
use super::queue;
use super::record::Record;
use super::tasks::is_first_mark;
use super::world::*;

static JOB: LazyLock<JobId> = LazyLock::new(JobId::random);

/// A job of which nothing is known yet. Time is no part of a world: a time to live is over when the
/// reaper says so.
pub fn new_life() -> Life {
    Life::new(*JOB, LifeRules { retention: Duration::ZERO, max_files: 0 })
}

pub fn job() -> JobId {
    *JOB
}

/// What is so around the job: a flaw is an actor that does not say it all.
pub fn surroundings(world: &World, flaw: Flaw) -> Surroundings {
    let nobody = flaw == Flaw::UnlinkBeforeLastWriterOut;
    let running = |part: &&Part| matches!(part.writer, Writer::Holding | Writer::Writing | Writer::Stuck);
    let download = world.process.as_ref().map_or(Download::NotYet, |process| process.download);
    let counts = match download {
        Download::Cutting(_) => flaw != Flaw::CutWithoutDrain,
        Download::Checked => flaw != Flaw::RegisterLast,
        download => download.has_ticket(),
    };
    Surroundings {
        now: Timestamp::UNIX_EPOCH,
        writers: if nobody { 0 } else { world.parts.iter().filter(running).count() },
        downloads: u32::from(counts && !nobody),
    }
}

/// Tells the job's life what happened and does what comes of it. Without an actor nobody hears it.
pub fn feed(world: &mut World, flaw: Flaw, input: Input) {
    let around = surroundings(world, flaw);
    let Some(life) = &world.running().life else { return };
    let mut life = life.get().clone();
    let actions = life.handle(input, around);
    world.running().life = Some(SharedLife::new(life));
    for action in actions {
        perform(world, flaw, action);
    }
    if flaw == Flaw::ForgetFinisher && world.running().state() == Some(StateName::Marked) {
        forget_finisher(world, flaw);
    }
}

/// The end of what holds the directory is told before it has come.
fn forget_finisher(world: &mut World, flaw: Flaw) {
    let finishes =
        |doing: &Doing| !doing.is_told && matches!(doing.work, Work::WriteJobJson(_) | Work::MoveToReady);
    while let Some(doing) = world.running().doing.iter_mut().find(|doing| finishes(doing)) {
        doing.is_told = true;
        let end = match doing.work {
            Work::WriteJobJson(of) => End::JobJsonWritten { of, written: Ok(None) },
            _ => End::MovedToReady(Err(None)),
        };
        feed(world, flaw, Input::Ended(end));
    }
}

/// An actor that was let go of comes back with what is published.
pub fn wake(world: &mut World, flaw: Flaw) {
    let sealed = world.parts.iter().filter(|part| part.sealed.now.synced).count();
    let process = world.running();
    let (None, Some(view)) = (&process.life, process.view) else { return };
    process.life = Some(SharedLife::new(new_life()));
    feed(world, flaw, Input::Recalled { record: view.record(), sealed, files: sealed });
}

/// Whose DELETE each answer is for: the third is the first one sent again.
pub fn request_of(index: usize) -> u8 {
    [1, 2, 1][index]
}

/// A client's DELETE comes to the actor, from where the answer comes as well.
pub fn delete(world: &mut World, flaw: Flaw, index: usize) {
    world.answers[index] = Answer::Waiting;
    wake(world, flaw);
    let known = world.running().memory();
    let is_deleted = known.is_some_and(|record| record.name.is_deleted());
    let is_own = known.is_some_and(|record| record.request == request_of(index));
    let stored_deleted = world.store.now.synced.is_some_and(|record| record.name.is_deleted());
    match flaw {
        Flaw::RefuseBeforeDurable if is_deleted && !is_own => return world.tell(index, Answer::Got404),
        Flaw::AcknowledgeResentAtOnce if is_deleted && is_own => return world.tell(index, Answer::Got202),
        _ => {}
    }
    // Whoever looks at the stored state takes a second DELETE for the one that makes the mark.
    let request = match known {
        Some(record) if flaw == Flaw::RereadStateAfterAwait && is_deleted && !stored_deleted => {
            record.request
        }
        _ => request_of(index),
    };
    let by = Canceller::Client("client".parse().expect("a valid name"));
    if known.is_none() {
        // The orchestrator knows of no such job.
        world.answers[index] = Answer::Unknown;
    }
    feed(world, flaw, Input::Cancel { by, request_id: request.to_string(), caller: index as u64 });
}

fn perform(world: &mut World, flaw: Flaw, action: Action) {
    match action {
        Action::Start(task) => begin(world, flaw, task),
        Action::Accept => world.kickoff = Kickoff::Got202,
        Action::Refuse => world.kickoff = Kickoff::Failed,
        Action::StopParts => {
            world.running().stopped = true;
            for part in world.parts.iter_mut().filter(|part| part.writer == Writer::Queued) {
                part.writer = Writer::Out;
            }
        }
        Action::RunParts => {
            let plan = world.plan.seen;
            for part in world.parts.iter_mut().filter(|part| !part.sealed.now.seen) {
                (part.writer, part.plan) = (Writer::Queued, plan);
            }
        }
        Action::Answer { caller, reply } => {
            let answer = match reply {
                CancelReply::Accepted { .. } => Answer::Got202,
                CancelReply::HalfDurable => Answer::GotHalf,
                CancelReply::AlreadyDeleted | CancelReply::NotFound => Answer::Got404,
            };
            world.tell(caller as usize, answer);
        }
        Action::FenceLater { of, patience } => {
            if flaw != Flaw::NeverFence {
                world.running().fence = Some((of, patience));
            }
        }
        Action::Fence => fence(world, flaw),
        Action::Sweep if flaw == Flaw::ErasedBeforeSwept => queue::swept(world, flaw, None),
        Action::Sweep => world.running().begin(Doing::new(Work::AskForSweep)),
        // Only for speed, never for correctness: a writer may be in the middle of a write when it is
        // paused, so the model lets writers go on. The others are told to nobody whom it knows.
        Action::PauseWriters
        | Action::Settle
        | Action::Entered { .. }
        | Action::HaltParts
        | Action::Acknowledged
        | Action::DownloadsCut(_)
        | Action::LastOneOut
        | Action::Retire => {}
    }
}

/// Files are taken away from writers; one inside a system call keeps its file until that returns.
fn fence(world: &mut World, flaw: Flaw) {
    for part in &mut world.parts {
        part.writer = match part.writer {
            Writer::Holding | Writer::Writing => Writer::Out,
            Writer::Stuck => Writer::Abandoned,
            writer => writer,
        };
    }
    let stuck = world.parts.iter().filter(|part| part.writer == Writer::Abandoned).count();
    // How many were fenced is for the receipt and decides nothing.
    feed(world, flaw, Input::Fenced { closed: 0, stuck });
}

fn begin(world: &mut World, flaw: Flaw, task: Task) {
    let work = match task {
        Task::Create => Work::Create,
        Task::TakeTurn(Turn::Plan) => Work::TakePlanTurn,
        Task::TakeTurn(Turn::Resume) => Work::TakeResumeTurn,
        // Nothing else depends on it, so it is read at once.
        Task::ReadRequest => return feed(world, flaw, Input::Ended(End::RequestRead(Ok(())))),
        Task::Plan => Work::Plan,
        Task::WritePlan => Work::WritePlan,
        Task::ReadDocuments => Work::ReadDocuments,
        Task::RecordPart(part) => {
            let part = &mut world.parts[part.index as usize];
            (part.sealed.now.seen, part.is_recording) = (true, true);
            return;
        }
        Task::WriteJobJson(record) => Work::WriteJobJson(record.state.name()),
        Task::MoveToReady(completion) => {
            let is_told = flaw == Flaw::CompleteBeforeRename;
            world.running().begin(Doing { is_told, ..Doing::new(Work::MoveToReady) });
            if is_told {
                feed(world, flaw, Input::Ended(End::MovedToReady(Ok(completion))));
            }
            return;
        }
        Task::Commit(commit) => {
            if matches!(commit, Commit::New(_)) && flaw == Flaw::AnswerKickoffAtOnce {
                world.kickoff = Kickoff::Got202;
            }
            let record = Record::of(&commit.record().state);
            world.audit.seen |= flaw == Flaw::AuditBeforeDurable && is_first_mark(record);
            return world.running().begin(Doing::commit(record, commit_order(flaw)));
        }
        Task::AwaitDownloads { of, .. } => Work::AwaitDownloads(of),
        Task::SweepPartials => Work::SweepPartials,
        Task::AwaitRetry(_) => Work::AwaitRetry,
        Task::SweepEarly => Work::SweepEarly,
        Task::FindMark => Work::FindMark,
        Task::LookForFiles => Work::LookForFiles,
    };
    world.running().begin(Doing::new(work));
}
