//! What goes into a [`Life`](super::Life) and what comes out.

use jiff::Timestamp;

use super::super::{
    ClientId, Completion, FailureReason, JobRecord, JobState, Receipt, SealedPart, StateName, SweepCounts,
    TenantId,
};

/// On whose behalf a job is ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Canceller {
    /// A client's, most often its owner's.
    Client(ClientId),
    /// The server's own: the application that owns it may do nothing any more.
    Revocation,
}

/// What became of a Cancel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CancelReply {
    /// The mark is durable, in the store and on disk (P1), and published (P2).
    Accepted {
        /// When the cancellation was requested.
        at: Timestamp,
    },
    /// Another request had marked it before.
    AlreadyDeleted,
    /// No such job.
    NotFound,
    /// The mark is durable in the store and published, but the directory could not be moved
    /// to `trash/`: the deletion will be carried out, but the second witness is missing.
    HalfDurable,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A kick-off that was admitted.
    Submitted,
    /// The job was passivated, or found at a start.
    Recalled {
        /// Its record.
        record: JobRecord,
        /// Parts that are sealed.
        sealed: usize,
        /// Files of these parts.
        files: usize,
    },
    /// It may be a directory without a record.
    Orphan,
    /// A request to end the job.
    Cancel {
        /// Who asks.
        by: Canceller,
        /// Which request asks; the same may be sent again.
        request_id: String,
        /// Whom to answer.
        caller: u64,
    },
    /// Its time to live may be over.
    Expire,
    /// It may be a complete job without a directory.
    Lost,
    /// The reaper's sweep ended.
    SweepDone {
        /// What it removed.
        swept: SweepCounts,
        /// What went wrong, if something did.
        error: Option<String>,
    },
    /// The instance goes down: the next start goes on with the export.
    Halt,
    /// A part was sealed, or failed; without a reason it was told to stop.
    PartDone(Result<SealedPart, Option<FailureReason>>),
    /// The patience of an [`Action::FenceLater`] is over.
    FenceDue {
        /// As in the action.
        of: StateName,
    },
    /// Writers were fenced.
    Fenced {
        /// Writers that had their file closed.
        closed: usize,
        /// Writers inside a system call.
        stuck: usize,
    },
    /// A task ended.
    Ended(End),
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// Begin what takes a while; [`Input::Ended`] tells how it ended, once.
    Start(Task),
    /// The kick-off's caller gets the job's id.
    Accept,
    /// The kick-off's caller hears why there is no job.
    Refuse,
    /// The job counts as queued or running no more.
    Settle,
    /// The job is in another state.
    Entered {
        /// The state before.
        from: StateName,
        /// The state now.
        state: JobState,
    },
    /// Writers stop between two writes and wait.
    PauseWriters,
    /// The cancel token fires, queued parts never start, what an export needs is let go of.
    StopParts,
    /// Parts that are not sealed go to the worker pool.
    RunParts,
    /// Parts stop; the job goes on at the next start.
    HaltParts,
    /// A Cancel gets its answer.
    Answer {
        /// Whose.
        caller: u64,
        /// The answer.
        reply: CancelReply,
    },
    /// Everybody who waited for the mark has an answer.
    Acknowledged,
    /// After some patience [`Input::FenceDue`] comes, with the state for which it was asked.
    FenceLater {
        /// The state.
        of: StateName,
        /// How long.
        patience: FencePatience,
    },
    /// Take the files away from writers that are still there; [`Input::Fenced`] tells of it.
    Fence,
    /// So many downloads were cut.
    DownloadsCut(u32),
    /// Nobody is in any more.
    LastOneOut,
    /// The reaper gets the job.
    Sweep,
    /// The job waits for nothing: its actor may go when it has handled all its messages.
    Retire,
}

/// How long writers may take to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FencePatience {
    /// `export.cancel_deadline`.
    Deadline,
    /// A moment: some are inside a system call.
    AskAgain,
}

/// How long downloads may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DrainGrace {
    /// `download.delete_grace`.
    Deletion,
    /// `download.expiry_drain`.
    Expiry,
}

/// Whose turn is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Turn {
    /// To make a plan.
    Plan,
    /// To read the documents of an interrupted export.
    Resume,
}

/// Something that takes a while.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Task {
    /// The exporter looks at the request, room is reserved, the directory is made.
    Create,
    /// Wait for a turn.
    TakeTurn(Turn),
    /// Read the request from the directory.
    ReadRequest,
    /// The exporter makes the plan.
    Plan,
    /// Write the plan into the directory.
    WritePlan,
    /// Check the sealed files, remove all others, read request and plan.
    ReadDocuments,
    /// Record a sealed part.
    RecordPart(SealedPart),
    /// Write `job.json`, which says what the record is going to say.
    WriteJobJson(JobRecord),
    /// Rename the directory to `ready/`.
    MoveToReady(Completion),
    /// Commit a record: the committer's share of the effects, in the order of `erase::order`.
    Commit(Commit),
    /// Wait for the downloads, and cut them after the grace.
    AwaitDownloads {
        /// The state for which is waited.
        of: StateName,
        /// How long they may go on.
        grace: DrainGrace,
    },
    /// Remove what a failed export wrote.
    SweepPartials,
    /// Wait, as long as it takes after such an end, before that is tried again.
    AwaitRetry(SweepEnd),
    /// Unlink the names of stuck writers.
    SweepEarly,
    /// Look whether the directory of a marked job is in `trash/`.
    FindMark,
    /// Look whether the directory of a complete job is there.
    LookForFiles,
}

impl Task {
    /// Whether the task may hold the directory, or a file in it.
    pub fn holds_directory(&self) -> bool {
        matches!(
            self,
            Self::ReadRequest
                | Self::WritePlan
                | Self::ReadDocuments
                | Self::WriteJobJson(_)
                | Self::MoveToReady(_)
                | Self::SweepPartials
                | Self::SweepEarly
        )
    }
}

/// A record to be committed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Commit {
    /// A job not seen before.
    New(JobRecord),
    /// A new record.
    Update(JobRecord),
    /// A complete job, with its files.
    Complete(JobRecord),
    /// A mark.
    Mark(JobRecord),
    /// A mark that makes the record.
    MarkNew(JobRecord),
    /// An erasure, with its receipt.
    Erase(JobRecord, Box<Receipt>),
}

impl Commit {
    /// Returns the record.
    pub fn record(&self) -> &JobRecord {
        match self {
            Self::New(record)
            | Self::Update(record)
            | Self::Complete(record)
            | Self::Mark(record)
            | Self::MarkNew(record)
            | Self::Erase(record, _) => record,
        }
    }
}

/// What the record of a new job says of its kick-off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Whose data it exports.
    pub tenant: TenantId,
    /// Who may see it.
    pub owner: ClientId,
    /// When the kick-off was received.
    pub submitted_at: Timestamp,
}

/// What decides something in a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanShape {
    /// Number of its parts.
    pub parts: usize,
    /// The instant whose view of the source it took (MF-1).
    pub transaction_time: Timestamp,
}

/// How the sweep of partial files ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SweepEnd {
    /// They are gone.
    Done,
    /// They may not go now: an operator says so.
    Refused,
    /// Something could not be removed.
    Failed,
}

/// How a task ended. A failure without a reason is no failure: it was told to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Of [`Task::Create`]; without a job, the caller knows why.
    Created(Result<NewJob, ()>),
    /// Of [`Task::TakeTurn`].
    TurnCame(Turn),
    /// Of [`Task::ReadRequest`].
    RequestRead(Result<(), Option<FailureReason>>),
    /// Of [`Task::Plan`].
    PlanMade(Result<(), Option<FailureReason>>),
    /// Of [`Task::WritePlan`].
    PlanWritten(Result<PlanShape, Option<FailureReason>>),
    /// Of [`Task::ReadDocuments`]; there may be no plan yet.
    DocumentsRead(Result<Option<PlanShape>, FailureReason>),
    /// Of [`Task::RecordPart`].
    PartRecorded {
        /// Files of the part.
        files: usize,
    },
    /// Of [`Task::WriteJobJson`].
    JobJsonWritten {
        /// The state of the record.
        of: StateName,
        /// The sums of a job that is finishing.
        written: Result<Option<Completion>, Option<FailureReason>>,
    },
    /// Of [`Task::MoveToReady`].
    MovedToReady(Result<Completion, Option<FailureReason>>),
    /// Of [`Task::Commit`]: the record is durable and published.
    Committed {
        /// The record's state.
        of: StateName,
        /// Whether the directory of a mark stands in `trash/`.
        moved: bool,
        /// What went before the commit, for want of room.
        swept: SweepCounts,
    },
    /// Of [`Task::Commit`] too, in a store that other processes write to: one of them came first, and
    /// nothing came of the commit.
    Stale {
        /// The record as it stands; `None` if the job is forgotten.
        stored: Option<Box<JobRecord>>,
    },
    /// Of [`Task::AwaitDownloads`].
    DownloadsGone {
        /// As in the task.
        of: StateName,
        /// Downloads that ended by themselves.
        drained: u32,
        /// Downloads that were cut.
        cut: u32,
    },
    /// Of [`Task::SweepPartials`].
    PartialsSwept(SweepEnd),
    /// Of [`Task::AwaitRetry`].
    RetryDue,
    /// Of [`Task::SweepEarly`].
    SweptEarly {
        /// What was removed.
        swept: SweepCounts,
        /// Whether the names may not go now: an operator says so.
        refused: bool,
    },
    /// Of [`Task::FindMark`].
    MarkFound {
        /// Whether the directory was moved.
        moved: bool,
    },
    /// Of [`Task::LookForFiles`]; true also if that cannot be told.
    FilesFound(bool),
}

impl End {
    /// Whether the task held the directory.
    pub fn held_directory(&self) -> bool {
        matches!(
            self,
            Self::RequestRead(_)
                | Self::PlanWritten(_)
                | Self::DocumentsRead(_)
                | Self::JobJsonWritten { .. }
                | Self::MovedToReady(_)
                | Self::PartialsSwept(_)
                | Self::SweptEarly { .. }
        )
    }
}
