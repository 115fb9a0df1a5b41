//! How the tasks of a life end, well or badly.

use evanesce::job::life::{End, NewJob, PlanShape, SweepEnd, Task};
use evanesce::job::{Completion, FailureReason, StateName, SweepCounts};
use jiff::Timestamp;

use super::life_world::{LifeWorld, PARTS, Standing};

impl LifeWorld {
    /// How a task ends to which nothing happens.
    pub fn end_of(&mut self, task: Task) -> End {
        let completion = |now: Timestamp| Completion::of(&[], Timestamp::UNIX_EPOCH, now);
        match task {
            Task::Create => {
                self.standing = Standing::Building;
                let (tenant, owner) = ("tenant".parse().unwrap(), "client".parse().unwrap());
                End::Created(Ok(NewJob { tenant, owner, submitted_at: self.at() }))
            }
            Task::TakeTurn(turn) => End::TurnCame(turn),
            Task::ReadRequest => End::RequestRead(Ok(())),
            Task::Plan => End::PlanMade(Ok(())),
            Task::WritePlan => {
                self.has_plan = true;
                End::PlanWritten(Ok(plan()))
            }
            Task::ReadDocuments if self.standing != Standing::Building => {
                End::DocumentsRead(Err(FailureReason::DirectoryLost))
            }
            Task::ReadDocuments => End::DocumentsRead(Ok(self.has_plan.then(plan))),
            Task::RecordPart(part) => {
                self.sealed.insert(part.index);
                End::PartRecorded { files: 1 }
            }
            Task::WriteJobJson(record) => {
                let of = record.state.name();
                let sums = (of == StateName::Finishing).then(|| completion(self.at()));
                End::JobJsonWritten { of, written: Ok(sums) }
            }
            Task::MoveToReady(_) if self.standing != Standing::Building => {
                End::MovedToReady(Err(Some(FailureReason::StorageFailed)))
            }
            Task::MoveToReady(completion) => {
                self.standing = Standing::Ready;
                End::MovedToReady(Ok(completion))
            }
            Task::AwaitDownloads { of, .. } => {
                let cut = std::mem::take(&mut self.downloads);
                End::DownloadsGone { of, drained: 0, cut }
            }
            Task::SweepPartials => match self.unlink() {
                true => End::PartialsSwept(SweepEnd::Done),
                false => End::PartialsSwept(SweepEnd::Refused),
            },
            Task::AwaitRetry(_) => End::RetryDue,
            Task::SweepEarly => End::SweptEarly { swept: SweepCounts::default(), refused: !self.unlink() },
            Task::FindMark => {
                let moved = !matches!(self.standing, Standing::Building | Standing::Ready);
                End::MarkFound { moved }
            }
            Task::LookForFiles => End::FilesFound(self.standing == Standing::Ready),
            Task::Commit(_) => unreachable!("the committer has it"),
        }
    }

    /// Whether files may go now.
    fn unlink(&mut self) -> bool {
        let is_granted = self.book.grant(self.job).is_ok();
        if is_granted {
            self.book.give_back(self.job, false);
        }
        is_granted
    }
}

fn plan() -> PlanShape {
    PlanShape { parts: PARTS as usize, transaction_time: Timestamp::UNIX_EPOCH }
}

/// Whether it may fail without a crash.
pub fn may_fail(task: &Task) -> bool {
    matches!(
        task,
        Task::Create
            | Task::ReadRequest
            | Task::Plan
            | Task::WritePlan
            | Task::ReadDocuments
            | Task::WriteJobJson(_)
            | Task::MoveToReady(_)
            | Task::SweepPartials
    )
}

/// How a task ends that fails.
pub fn failure_of(task: &Task) -> End {
    let reason = Some(FailureReason::StorageFailed);
    match task {
        Task::Create => End::Created(Err(())),
        Task::ReadRequest => End::RequestRead(Err(reason)),
        Task::Plan => End::PlanMade(Err(reason)),
        Task::WritePlan => End::PlanWritten(Err(reason)),
        Task::ReadDocuments => End::DocumentsRead(Err(FailureReason::StorageFailed)),
        Task::WriteJobJson(record) if record.state.name() == StateName::Failed => {
            End::JobJsonWritten { of: StateName::Failed, written: Ok(None) }
        }
        Task::WriteJobJson(record) => End::JobJsonWritten { of: record.state.name(), written: Err(reason) },
        Task::MoveToReady(_) => End::MovedToReady(Err(reason)),
        Task::SweepPartials => End::PartialsSwept(SweepEnd::Failed),
        other => unreachable!("{other:?} does not fail"),
    }
}
