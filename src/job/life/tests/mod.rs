//! What a life does with each input, in each state that matters. Actions are compared in words, all
//! of them and in their order: what is not asked for must not come.

mod ending;
mod export;
mod last_out;
mod nominations;
mod reload;

use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::job::{ClientId, Completion, MarkReason, SealedPart, SweepCounts, SweepFailure, Tombstone};

/// How long a finished job is kept, in seconds.
const RETENTION: i64 = 100;

/// Files that an export may have.
const MAX_FILES: usize = 3;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn client() -> ClientId {
    "client".parse().unwrap()
}

fn completion(second: i64) -> Completion {
    Completion::of(&[], at(1), at(second))
}

fn part(index: u32) -> SealedPart {
    SealedPart { index, files: Vec::new(), broken_lines: 0 }
}

fn swept(files: u64) -> SweepCounts {
    SweepCounts { files, bytes: 10 * files, ..SweepCounts::default() }
}

/// A life, and what is so around it.
struct TestedLife {
    life: Life,
    around: Surroundings,
}

impl TestedLife {
    /// Of a job of which nothing is known yet.
    fn new() -> Self {
        let rules = LifeRules { retention: Duration::from_secs(RETENTION as u64), max_files: MAX_FILES };
        let around = Surroundings { now: at(10), writers: 0, downloads: 0 };
        Self { life: Life::new(JobId::random(), rules), around }
    }

    fn tell(&mut self, input: Input) -> Vec<String> {
        self.life.handle(input, self.around).iter().map(words).collect()
    }

    fn end(&mut self, end: End) -> Vec<String> {
        self.tell(Input::Ended(end))
    }

    fn committed(&mut self, of: StateName) -> Vec<String> {
        self.end(End::Committed { of, moved: true, swept: SweepCounts::default() })
    }

    /// A client's DELETE, as the request of that name.
    fn cancel(&mut self, request: &str, caller: u64) -> Vec<String> {
        let by = Canceller::Client(client());
        self.tell(Input::Cancel { by, request_id: request.into(), caller })
    }

    fn recall(state: JobState) -> (Self, Vec<String>) {
        let mut job = Self::new();
        let record = job.record(7, state);
        let told = job.tell(Input::Recalled { record, sealed: 0, files: 0 });
        (job, told)
    }

    fn record(&self, revision: u64, state: JobState) -> JobRecord {
        let tenant = "tenant".parse().unwrap();
        JobRecord { id: self.life.job, tenant, owner: client(), revision, submitted_at: at(5), state }
    }

    fn name(&self) -> StateName {
        self.life.name().unwrap()
    }

    fn mark(&self) -> &Mark {
        match self.life.state() {
            Some(JobState::Marked(mark)) => mark,
            state => panic!("{state:?}"),
        }
    }

    /// A kick-off that is recorded, and waits for its turn.
    fn queued() -> Self {
        let mut job = Self::new();
        job.tell(Input::Submitted);
        job.end(End::Created(Ok(new_job())));
        job.committed(StateName::Queued);
        job
    }

    /// An export whose plan has so many parts, which run.
    fn running(parts: usize) -> Self {
        let mut job = Self::starting(parts);
        job.committed(StateName::Running);
        job
    }

    /// An export that is about to be recorded as running.
    fn starting(parts: usize) -> Self {
        let mut job = Self::queued();
        job.end(End::TurnCame(Turn::Plan));
        job.end(End::RequestRead(Ok(())));
        job.end(End::PlanMade(Ok(())));
        job.end(End::PlanWritten(Ok(shape(parts))));
        job
    }

    /// An export whose `job.json` is being written.
    fn finishing() -> Self {
        let mut job = Self::running(1);
        job.tell(Input::PartDone(Ok(part(0))));
        job.end(End::PartRecorded { files: 1 });
        job
    }

    /// An export whose completion is being committed.
    fn completing() -> Self {
        let mut job = Self::finishing();
        job.end(End::JobJsonWritten { of: StateName::Finishing, written: Ok(Some(completion(20))) });
        job.end(End::MovedToReady(Ok(completion(20))));
        job
    }

    fn complete() -> Self {
        let mut job = Self::completing();
        job.committed(StateName::Complete);
        job
    }

    /// An export whose failure is being committed.
    fn failing() -> Self {
        let mut job = Self::running(2);
        job.tell(Input::PartDone(Err(Some(FailureReason::ExporterFailed))));
        job.end(End::JobJsonWritten { of: StateName::Failed, written: Ok(None) });
        job
    }

    fn failed() -> Self {
        let mut job = Self::failing();
        job.committed(StateName::Failed);
        job.end(End::PartialsSwept(SweepEnd::Done));
        job
    }

    /// A complete job that the request `a` of caller 1 marked, and that waits for its sweep.
    fn marked() -> Self {
        let mut job = Self::complete();
        job.cancel("a", 1);
        job.committed(StateName::Marked);
        job
    }

    fn erased() -> Self {
        let mut job = Self::marked();
        job.tell(Input::SweepDone { swept: swept(3), error: None });
        job.committed(StateName::Erased);
        job
    }
}

fn new_job() -> NewJob {
    NewJob { tenant: "tenant".parse().unwrap(), owner: client(), submitted_at: at(5) }
}

fn shape(parts: usize) -> PlanShape {
    PlanShape { parts, transaction_time: at(1) }
}

fn found_mark(request: &str) -> JobState {
    JobState::Marked(Mark {
        reason: MarkReason::Deleted,
        by: Some(client()),
        at: at(30),
        request_id: Some(request.into()),
        was: StateName::Complete,
        failure: None,
    })
}

fn erasure() -> JobState {
    JobState::Erased(Tombstone { reason: MarkReason::Deleted, marked_at: at(30), gone_at: at(31) })
}

fn failure() -> JobState {
    JobState::Failed(Failure { at: at(20), reason: FailureReason::ExporterFailed })
}

fn words(action: &Action) -> String {
    match action {
        Action::Start(task) => task_words(task),
        Action::Entered { state, .. } => format!("entered {}", state.name()),
        Action::Answer { caller, reply } => {
            let reply = match reply {
                CancelReply::Accepted { .. } => "accepted",
                CancelReply::AlreadyDeleted => "already deleted",
                CancelReply::NotFound => "not found",
                CancelReply::HalfDurable => "half durable",
            };
            format!("answer {caller}: {reply}")
        }
        Action::FenceLater { of, patience: FencePatience::Deadline } => format!("fence {of} at the deadline"),
        Action::FenceLater { of, patience: FencePatience::AskAgain } => format!("fence {of} again soon"),
        Action::DownloadsCut(count) => format!("{count} downloads were cut"),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn task_words(task: &Task) -> String {
    match task {
        Task::Commit(commit) => {
            let kind = match commit {
                Commit::New(_) => "new",
                Commit::Update(_) => "update",
                Commit::Complete(_) => "complete",
                Commit::Mark(_) => "mark",
                Commit::MarkNew(_) => "marknew",
                Commit::Erase(..) => "erase",
            };
            format!("commit {kind} {}", commit.record().revision)
        }
        Task::RecordPart(part) => format!("record part {}", part.index),
        Task::WriteJobJson(_) => "write job.json".into(),
        Task::MoveToReady(_) => "move to ready".into(),
        Task::AwaitDownloads { grace, .. } => format!("await downloads: {grace:?}"),
        Task::AwaitRetry(end) => format!("retry later: {end:?}"),
        Task::TakeTurn(turn) => format!("wait for the turn: {turn:?}"),
        other => format!("start {other:?}"),
    }
}
