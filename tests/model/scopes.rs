//! Where a search begins and what can happen in it. Each of the usual scopes is exhaustive and
//! small; the large ones have more of it at once (`EVANESCE_MODEL=large`).

use evanesce::job::StateName;

use super::process::Process;
use super::record::Record;
use super::world::*;

#[derive(Clone, Copy)]
pub struct Scope {
    pub name: &'static str,
    begins: Begins,
    pub deletes: u8,
    /// The first DELETE may be sent again.
    pub resends: bool,
    pub downloads: bool,
    pub expiry: bool,
    /// The reaper compares disk and view.
    pub scans: bool,
    luck: Luck,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    BeforeKickoff,
    Queued,
    Complete,
}

const NO_LUCK: Luck = Luck {
    crashes: 0,
    lost_stores: 0,
    lost_receipts: 0,
    failing_kickoffs: 0,
    failing_exports: 0,
    failing_moves: 0,
    failing_sweeps: 0,
    clock_jumps: 0,
    slow_clients: 0,
    vandals: 0,
    holds: 0,
};

/// From a kick-off that was answered to the end: crashes, a lost tail, two DELETEs.
pub const LIFE: Scope = Scope {
    name: "life",
    begins: Begins::Queued,
    deletes: 2,
    resends: false,
    downloads: false,
    expiry: true,
    scans: false,
    luck: Luck { crashes: 2, lost_stores: 1, failing_exports: 1, failing_sweeps: 1, ..NO_LUCK },
};

/// The kick-off itself, its orphans, and the scans that look for them.
pub const KICKOFF: Scope = Scope {
    name: "kick-off",
    begins: Begins::BeforeKickoff,
    deletes: 1,
    resends: false,
    downloads: false,
    expiry: false,
    scans: true,
    luck: Luck { crashes: 2, lost_stores: 1, failing_kickoffs: 1, ..NO_LUCK },
};

/// A complete job that is read, deleted, and expires.
pub const READING: Scope = Scope {
    name: "reading",
    begins: Begins::Complete,
    deletes: 2,
    resends: false,
    downloads: true,
    expiry: true,
    scans: false,
    luck: Luck { crashes: 2, clock_jumps: 1, slow_clients: 1, ..NO_LUCK },
};

/// A complete job that somebody takes away, and the scans that find out.
pub const LOST: Scope = Scope {
    name: "lost",
    begins: Begins::Complete,
    deletes: 1,
    resends: false,
    downloads: true,
    expiry: false,
    scans: true,
    luck: Luck { crashes: 2, vandals: 1, ..NO_LUCK },
};

/// A deletion whose every step may fail, with its DELETE sent again at any time.
pub const ENDING: Scope = Scope {
    name: "ending",
    begins: Begins::Complete,
    deletes: 2,
    resends: true,
    downloads: false,
    expiry: true,
    scans: false,
    luck: Luck { crashes: 2, lost_receipts: 1, failing_moves: 2, failing_sweeps: 2, ..NO_LUCK },
};

/// A complete job that an operator holds and releases.
pub const HELD: Scope = Scope {
    name: "held",
    begins: Begins::Complete,
    deletes: 1,
    resends: false,
    downloads: true,
    expiry: true,
    scans: false,
    luck: Luck { crashes: 1, failing_sweeps: 1, holds: 1, ..NO_LUCK },
};

/// As `LIFE` and `KICKOFF` at once.
pub const LARGE_LIFE: Scope = Scope {
    name: "large life",
    begins: Begins::BeforeKickoff,
    deletes: 2,
    resends: true,
    downloads: false,
    expiry: true,
    scans: true,
    luck: Luck {
        crashes: 2,
        lost_stores: 1,
        failing_kickoffs: 1,
        failing_exports: 1,
        failing_sweeps: 1,
        ..NO_LUCK
    },
};

/// As `READING`, `ENDING` and `HELD` at once, with one crash.
pub const LARGE_ENDING: Scope = Scope {
    name: "large ending",
    begins: Begins::Complete,
    deletes: 2,
    resends: true,
    downloads: true,
    expiry: true,
    scans: false,
    luck: Luck {
        crashes: 1,
        failing_moves: 1,
        failing_sweeps: 1,
        lost_receipts: 1,
        clock_jumps: 1,
        slow_clients: 1,
        holds: 1,
        ..NO_LUCK
    },
};

impl Scope {
    pub fn start(&self) -> World {
        let name = match self.begins {
            Begins::BeforeKickoff => None,
            Begins::Queued => Some(StateName::Queued),
            Begins::Complete => Some(StateName::Complete),
        };
        let complete = self.begins == Begins::Complete;
        let (place, kickoff) = match self.begins {
            Begins::BeforeKickoff => (Place::Nowhere, Kickoff::Unsent),
            Begins::Queued => (Place::Building, Kickoff::Got202),
            Begins::Complete => (Place::Ready, Kickoff::Got202),
        };
        let sealed =
            Part { sealed: Logged::durable(true), file: Cached::durable(true), plan: 1, ..Part::OPEN };
        let record = name.map(Record::new);
        World {
            store: Logged::durable(record),
            place: Cached::durable(place),
            plan: Cached::durable(complete.into()),
            parts: [if complete { sealed } else { Part::OPEN }; 2],
            job_json: Cached::durable(complete.then_some(StateName::Complete)),
            receipts: Cached::durable(Receipts { lines: 0, torn: false, broken: false }),
            process: Some(Process::new(record.filter(|_| !complete), record)),
            kickoff,
            answers: [Answer::Unsent; 3],
            shown: name,
            due: false,
            clock_ahead: false,
            hold: Hold::No,
            hold_broken: false,
            tail_lost: false,
            vandalized: false,
            luck: self.luck,
        }
    }
}
