//! The whole of one state: what is on the medium, what a running process holds in memory, and
//! what clients were told. Everything that a power loss can take back is `Cached`: what reads
//! return, and what is really there.

use std::fmt;

use evanesce::job::{Effect, StateName};

use super::record::Record;

/// A value that is seen at once and is durable only when it was synced.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cached<T> {
    pub seen: T,
    pub synced: T,
}

impl<T: Copy + PartialEq> Cached<T> {
    pub fn durable(value: T) -> Self {
        Self { seen: value, synced: value }
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
    pub const NONE: Self = Self { effects: &[], stage: 0, of: StateName::Queued };

    pub fn new(of: StateName, effects: &'static [Effect]) -> Self {
        match effects {
            [] => Self::NONE,
            // Only for speed, never for correctness: a writer may be in the middle of a write when it
            // is paused, so the model lets writers go on.
            [Effect::PauseWriters, rest @ ..] => Self::new(of, rest),
            _ => Self { effects, stage: 0, of },
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
    /// The process, of which the caller knows that it runs.
    pub fn running(&mut self) -> &mut Process {
        self.process.as_mut().expect("an actor needs a process")
    }

    /// Makes what clients see; `shown` remembers it for them.
    pub fn publish(&mut self, view: StateName) {
        if let Some(process) = &mut self.process {
            process.view = view;
        }
        self.shown = self.shown.max(view);
    }

    /// All DELETEs that wait as `from` get their answer; both answers there are say that it is deleted.
    pub fn answer(&mut self, from: Answer, to: Answer) {
        for answer in &mut self.answers {
            if *answer == from {
                *answer = to;
                self.shown = self.shown.max(StateName::Marked);
            }
        }
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
        self.parts.iter().all(|part| matches!(part.writer, Writer::Out | Writer::Queued))
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = |synced| if synced { "" } else { "*" };
        write!(f, "[store {}{}", self.store.seen.name, star(self.store.is_synced()))?;
        write!(f, "; {:?}{}", self.place.seen, star(self.place.is_synced()))?;
        for part in self.parts.iter().filter(|part| part.file_seen || part.file_synced) {
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
