//! The whole of one state: what is on the medium, what a running process holds in memory, and
//! what clients were told. Everything that a power loss can take back is `Cached`: what reads
//! return, and what is really there.

use std::fmt;

use evanesce::job::{
    Completion, Effect, Erasure, Failure, FailureReason, JobState, Mark, MarkReason, StateName, SweepFailure,
};
use jiff::Timestamp;

/// A value that is seen at once and is durable only when it was synced.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cached<T> {
    pub seen: T,
    pub synced: T,
}

impl<T: Copy + PartialEq> Cached<T> {
    pub fn durable(value: T) -> Self {
        Self {
            seen: value,
            synced: value,
        }
    }

    pub fn is_synced(&self) -> bool {
        self.seen == self.synced
    }

    pub fn sync(&mut self) {
        self.synced = self.seen;
    }

    /// What was not synced is lost.
    pub fn lose(&mut self) {
        self.seen = self.synced;
    }
}

/// A `JobState` as far as it decides anything here: hashable, and no instants in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Record {
    pub name: StateName,
    /// The DELETE that marked it, from 1; 0 if none did.
    pub request: u8,
    pub failed_sweeps: u8,
}

impl Record {
    pub fn new(name: StateName) -> Self {
        Self {
            name,
            request: 0,
            failed_sweeps: 0,
        }
    }

    pub fn of(state: &JobState) -> Self {
        let mut record = Self::new(state.name());
        if let JobState::Marked(mark) = state {
            record.request = mark.request_id.as_deref().map_or(0, |id| id.parse().unwrap());
            record.failed_sweeps = mark.failure.as_ref().map_or(0, |failure| failure.attempts as u8);
        }
        record
    }

    /// The state to give to `job::transition`.
    pub fn state(self) -> JobState {
        match self.name {
            StateName::Queued => JobState::Queued,
            StateName::Running => JobState::Running {
                transaction_time: Timestamp::UNIX_EPOCH,
            },
            StateName::Finishing => JobState::Finishing {
                transaction_time: Timestamp::UNIX_EPOCH,
            },
            StateName::Failed => JobState::Failed(failure()),
            StateName::Complete => JobState::Complete(completion()),
            StateName::Marked => JobState::Marked(Mark {
                failure: (self.failed_sweeps > 0).then(|| sweep_failure(self.failed_sweeps)),
                ..mark(self.request)
            }),
            StateName::Erased => JobState::Erased(erasure()),
        }
    }
}

pub fn completion() -> Completion {
    Completion::of(&[], Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH)
}

pub fn failure() -> Failure {
    Failure {
        at: Timestamp::UNIX_EPOCH,
        reason: FailureReason::ExporterFailed,
    }
}

pub fn sweep_failure(attempts: u8) -> SweepFailure {
    SweepFailure {
        attempts: attempts.into(),
        at: Timestamp::UNIX_EPOCH,
        error: "unlinkat: EIO".into(),
    }
}

pub fn erasure() -> Erasure {
    Erasure {
        reason: MarkReason::Deleted,
        marked_at: Timestamp::UNIX_EPOCH,
        gone_at: Timestamp::UNIX_EPOCH,
    }
}

/// The mark of a DELETE, or of nobody's request if it is 0.
pub fn mark(request: u8) -> Mark {
    Mark {
        reason: MarkReason::Deleted,
        by: None,
        at: Timestamp::UNIX_EPOCH,
        request_id: (request > 0).then(|| request.to_string()),
        was: StateName::Running,
        failure: None,
    }
}

/// Where the job's directory stands. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    Building,
    Ready,
    Trash,
    Gone,
}

/// One part of the export: its writer, and the file it makes in the job's directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    pub writer: Writer,
    /// Recorded in the store as done.
    pub sealed: bool,
    pub file_seen: bool,
    pub file_synced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Writer {
    Out,
    /// In the pool's queue.
    Queued,
    /// Holds the directory's handle and has not made its file yet.
    Holding,
    /// Holds it, and its file open.
    Writing,
}

/// What a client knows of one DELETE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    Unsent,
    /// The job's actor took it as the mark.
    Accepted,
    /// The job was marked already; the 404 waits until that can be relied on.
    Refused,
    Got202,
    Got404,
    /// The process died first.
    Lost,
}

/// Effects that remain of one transition.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chain {
    pub effects: &'static [Effect],
    /// How far the first effect has come.
    pub stage: u8,
    /// The state whose effects they are.
    pub of: StateName,
}

impl Chain {
    pub const NONE: Self = Self {
        effects: &[],
        stage: 0,
        of: StateName::Queued,
    };

    pub fn new(of: StateName, effects: &'static [Effect]) -> Self {
        match effects {
            [] => Self::NONE,
            // Only for speed, never for correctness: a writer may be in the middle of a write when it
            // is paused, so the model lets writers go on.
            [Effect::PauseWriters, rest @ ..] => Self::new(of, rest),
            _ => Self {
                effects,
                stage: 0,
                of,
            },
        }
    }

    pub fn head(&self) -> Option<Effect> {
        self.effects.first().copied()
    }

    /// The rest after the first effect is done.
    pub fn advanced(self) -> Self {
        Self::new(self.of, &self.effects[1..])
    }
}

/// What a crash takes away.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Process {
    /// The actor's state.
    pub memory: Record,
    /// What clients see.
    pub view: StateName,
    pub chain: Chain,
    /// A file operation of a transition that was overtaken: it cannot be called back.
    pub leftover: Chain,
    /// The cancel token.
    pub stopped: bool,
    pub download: Download,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Download {
    NotYet,
    Open,
    Done,
}

/// What may still go wrong, or be asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Luck {
    pub crashes: u8,
    pub lost_tails: u8,
    pub failing_exports: u8,
    pub failing_sweeps: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct World {
    pub store: Cached<Record>,
    /// What the store held before its last sync: what remains if it loses its tail.
    pub before: Record,
    pub place: Cached<Place>,
    pub parts: [Part; 2],
    /// `job.json`: the state that it says the record is going to have.
    pub job_json: Cached<Option<StateName>>,
    pub receipts: u8,
    pub process: Option<Process>,
    pub answers: [Answer; 2],
    /// The latest state that any client was shown, by any process.
    pub shown: StateName,
    /// The store has lost its tail.
    pub tail_lost: bool,
    pub luck: Luck,
}

impl World {
    /// Makes what clients see; `shown` remembers it for them.
    pub fn publish(&mut self, view: StateName) {
        if let Some(process) = &mut self.process {
            process.view = view;
        }
        self.shown = self.shown.max(view);
    }

    pub fn has_names(&self) -> bool {
        self.job_json.seen.is_some() || self.parts.iter().any(|part| part.file_seen)
    }

    pub fn unlink_parts(&mut self) {
        for part in &mut self.parts {
            part.file_seen = false;
        }
    }

    /// fsync of the job's directory.
    pub fn sync_names(&mut self) {
        for part in &mut self.parts {
            part.file_synced = part.file_seen;
        }
        self.job_json.sync();
    }

    /// What was not synced in the job's directory is lost: names made are gone, names unlinked are back.
    pub fn lose_names(&mut self) {
        for part in &mut self.parts {
            part.file_seen = part.file_synced;
        }
        self.job_json.lose();
    }

    pub fn sync_store(&mut self) {
        if !self.store.is_synced() {
            self.before = self.store.synced;
            self.store.sync();
        }
    }

    pub fn writers_out(&self) -> bool {
        self.parts
            .iter()
            .all(|part| matches!(part.writer, Writer::Out | Writer::Queued))
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = |synced| if synced { "" } else { "*" };
        write!(
            f,
            "[store {}{}",
            self.store.seen.name,
            star(self.store.is_synced())
        )?;
        write!(f, "; {:?}{}", self.place.seen, star(self.place.is_synced()))?;
        for part in self
            .parts
            .iter()
            .filter(|part| part.file_seen || part.file_synced)
        {
            write!(
                f,
                " {}{}",
                if part.file_seen { "file" } else { "(file)" },
                star(part.file_seen == part.file_synced)
            )?;
        }
        if let Some(says) = self.job_json.seen {
            write!(f, " job.json({says}){}", star(self.job_json.is_synced()))?;
        }
        write!(f, "; receipts {}", self.receipts)?;
        match &self.process {
            Some(process) => write!(f, "; actor {}, view {}", process.memory.name, process.view)?,
            None => write!(f, "; down")?,
        }
        write!(f, "; DELETEs {:?} {:?}]", self.answers[0], self.answers[1])
    }
}
