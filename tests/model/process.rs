//! What a crash takes away: the job's actor, the view, an open download, a scan.

use evanesce::job::{Effect, StateName};

use super::record::Record;

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

/// The answer to the request that marked the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MarkAnswer {
    NotYet,
    /// It is durable twice.
    Accepted,
    /// The directory could not be moved to `trash/`.
    Half,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Download {
    NotYet,
    /// It has a ticket.
    Registered,
    /// It has looked at the state after that.
    Checked,
    /// It has its file and no ticket, which is a flaw.
    Unregistered,
    /// It has its file, and so many of its two chunks.
    Open(u8),
    /// So has a client that does not go on reading.
    Slow(u8),
    /// It did not find its file: it gave its ticket back and waits for the view to say why.
    Missing,
    /// Cut, with a read under way that still holds the file.
    Cutting(u8),
    /// The client saw a transfer that ended well, with so many chunks.
    Whole(u8),
    /// It saw one that ended badly because the job's end cut it, or because it went away.
    Cut,
    Left,
    Got404,
    Got500,
}

impl Download {
    pub fn has_ticket(self) -> bool {
        matches!(self, Self::Registered | Self::Checked | Self::Open(_) | Self::Slow(_) | Self::Cutting(_))
    }

    pub fn has_file(self) -> bool {
        matches!(self, Self::Unregistered | Self::Open(_) | Self::Slow(_) | Self::Cutting(_))
    }
}

/// The reaper's scan for disagreements: the places are listed one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scan {
    /// Places listed so far; 0: there is no scan.
    pub listed: u8,
    /// Whether the directory was in one of them.
    pub seen: bool,
    /// Whether it was in `ready/`.
    pub ready: bool,
}

impl Scan {
    pub const NONE: Self = Self { listed: 0, seen: false, ready: false };
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Process {
    /// The actor's state; `None` if it was let go, or does not know the job yet.
    pub memory: Option<Record>,
    /// What clients see.
    pub view: Option<Record>,
    pub chain: Chain,
    /// A file operation of a transition that was overtaken: it cannot be called back.
    pub leftover: Chain,
    pub mark_answer: MarkAnswer,
    /// The rename to `trash/` failed.
    pub not_moved: bool,
    /// The plan was made or read, and partial files removed.
    pub planned: bool,
    /// The cancel token.
    pub stopped: bool,
    pub download: Download,
    pub scan: Scan,
    /// It noticed that the clock jumped: nothing expires.
    pub guarded: bool,
    /// How many scans have found the job suspicious, one after the other.
    pub sightings: u8,
}

impl Process {
    pub fn new(memory: Option<Record>, view: Option<Record>) -> Self {
        Self {
            memory,
            view,
            chain: Chain::NONE,
            leftover: Chain::NONE,
            mark_answer: MarkAnswer::NotYet,
            not_moved: false,
            planned: false,
            stopped: false,
            download: Download::NotYet,
            scan: Scan::NONE,
            guarded: false,
            sightings: 0,
        }
    }

    /// The state as the actor knows it, or would if it were woken.
    pub fn state(&self) -> Option<StateName> {
        self.memory.or(self.view).map(|record| record.name)
    }

    pub fn is_busy(&self) -> bool {
        self.chain != Chain::NONE || self.leftover != Chain::NONE
    }
}
