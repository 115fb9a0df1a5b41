//! Where a search begins and what can happen in it. Each of the usual scopes is exhaustive and
//! small; the large ones have more of it at once (`EVANESCE_MODEL=large`).

use evanesce::job::life::{End, Input, Life, Surroundings};
use evanesce::job::{StateName, SweepCounts};
use jiff::Timestamp;

use super::actor::new_life;
use super::process::*;
use super::record::Record;
use super::tasks;
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
    /// The files of a running export may be read.
    partial: bool,
    /// The directory cannot be moved.
    immovable: bool,
    /// There is an audit log.
    audited: bool,
    luck: Luck,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    BeforeKickoff,
    Queued,
    /// It is queued and its plan is on disk.
    Planned,
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
    stuck_writers: 0,
    pauses: 0,
    full_disks: 0,
    restores: 0,
};

/// A scope in which nothing happens; the others say what does.
const QUIET: Scope = Scope {
    name: "quiet",
    begins: Begins::Complete,
    deletes: 1,
    resends: false,
    downloads: false,
    expiry: false,
    scans: false,
    partial: false,
    immovable: false,
    audited: false,
    luck: NO_LUCK,
};

/// From a kick-off that was answered to the end: crashes, a lost tail, two DELETEs.
pub const LIFE: Scope = Scope {
    name: "life",
    begins: Begins::Queued,
    deletes: 2,
    expiry: true,
    luck: Luck { crashes: 2, lost_stores: 1, failing_exports: 1, failing_sweeps: 1, ..NO_LUCK },
    ..QUIET
};

/// The kick-off itself, its orphans, and the scans that look for them.
pub const KICKOFF: Scope = Scope {
    name: "kick-off",
    begins: Begins::BeforeKickoff,
    scans: true,
    luck: Luck { crashes: 2, lost_stores: 1, failing_kickoffs: 1, ..NO_LUCK },
    ..QUIET
};

/// A complete job that is read, deleted, and expires.
pub const READING: Scope = Scope {
    name: "reading",
    deletes: 2,
    downloads: true,
    expiry: true,
    luck: Luck { crashes: 2, clock_jumps: 1, slow_clients: 1, ..NO_LUCK },
    ..QUIET
};

/// A complete job that somebody takes away, and the scans that find out.
pub const LOST: Scope = Scope {
    name: "lost",
    downloads: true,
    scans: true,
    luck: Luck { crashes: 2, vandals: 1, ..NO_LUCK },
    ..QUIET
};

/// A deletion whose every step may fail, with its DELETE sent again at any time.
pub const ENDING: Scope = Scope {
    name: "ending",
    deletes: 2,
    resends: true,
    expiry: true,
    luck: Luck { crashes: 2, lost_receipts: 1, failing_moves: 2, failing_sweeps: 2, ..NO_LUCK },
    ..QUIET
};

/// A complete job that an operator holds and releases.
pub const HELD: Scope = Scope {
    name: "held",
    downloads: true,
    expiry: true,
    luck: Luck { crashes: 1, failing_sweeps: 1, holds: 1, pauses: 1, ..NO_LUCK },
    ..QUIET
};

/// An export that fails, is cancelled or is taken up again, with a writer that does not return and an
/// operator who holds it and pauses everything.
pub const HELD_EXPORT: Scope = Scope {
    name: "held export",
    begins: Begins::Planned,
    luck: Luck { crashes: 1, failing_exports: 1, stuck_writers: 1, holds: 1, pauses: 1, ..NO_LUCK },
    ..QUIET
};

/// An export whose files are read while it is made.
pub const PARTIAL: Scope = Scope {
    name: "partial",
    begins: Begins::Planned,
    downloads: true,
    partial: true,
    luck: Luck { crashes: 1, failing_exports: 1, slow_clients: 1, ..NO_LUCK },
    ..QUIET
};

/// A complete job that is deleted when the disk is full.
pub const FULL_DISK: Scope = Scope {
    name: "full disk",
    deletes: 2,
    downloads: true,
    luck: Luck { crashes: 2, failing_sweeps: 1, full_disks: 1, holds: 1, ..NO_LUCK },
    ..QUIET
};

/// A complete job whose directory cannot be moved to `trash/`: it is erased where it stands.
pub const IN_PLACE: Scope = Scope {
    name: "in place",
    resends: true,
    immovable: true,
    luck: Luck { crashes: 2, lost_stores: 1, failing_sweeps: 1, ..NO_LUCK },
    ..QUIET
};

/// A complete job that is deleted, and of which a backup brings everything back but the audit log and
/// the keys.
pub const RESTORED: Scope = Scope {
    name: "restored",
    deletes: 2,
    audited: true,
    luck: Luck { crashes: 2, lost_stores: 1, failing_sweeps: 1, restores: 1, ..NO_LUCK },
    ..QUIET
};

/// As `LIFE` and `KICKOFF` at once.
pub const LARGE_LIFE: Scope = Scope {
    name: "large life",
    begins: Begins::BeforeKickoff,
    deletes: 2,
    resends: true,
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
    ..QUIET
};

/// As `READING`, `ENDING` and `HELD` at once, with one crash.
pub const LARGE_ENDING: Scope = Scope {
    name: "large ending",
    deletes: 2,
    resends: true,
    downloads: true,
    expiry: true,
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
    ..QUIET
};

impl Scope {
    pub fn start(&self) -> World {
        let name = match self.begins {
            Begins::BeforeKickoff => None,
            Begins::Queued | Begins::Planned => Some(StateName::Queued),
            Begins::Complete => Some(StateName::Complete),
        };
        let complete = self.begins == Begins::Complete;
        let (place, kickoff) = match self.begins {
            Begins::BeforeKickoff => (Place::Nowhere, Kickoff::Unsent),
            Begins::Queued | Begins::Planned => (Place::Building, Kickoff::Got202),
            Begins::Complete => (Place::Ready, Kickoff::Got202),
        };
        let record = name.map(Record::new);
        let mut process = Process::new(record);
        if matches!(self.begins, Begins::Queued | Begins::Planned) {
            process.life = Some(SharedLife::new(queued_life()));
            process.begin(Doing::new(Work::TakePlanTurn));
        }
        World {
            store: Logged::durable(record),
            place: Cached::durable(place),
            is_immovable: self.immovable,
            stand_in: Cached::durable(false),
            is_audited: self.audited,
            audit: Cached::durable(false),
            plan: Cached::durable((complete || self.begins == Begins::Planned).into()),
            parts: [if complete { Part::SEALED } else { Part::OPEN }; 2],
            job_json: Cached::durable(complete.then_some(StateName::Complete)),
            receipts: Cached::durable(Receipts { lines: 0, torn: false, broken: false }),
            key: Cached::durable(self.begins != Begins::BeforeKickoff),
            process: Some(process),
            kickoff,
            answers: [Answer::Unsent; 3],
            shown: name,
            due: false,
            clock_ahead: false,
            hold: Hold::No,
            pause: Hold::No,
            hold_broken: false,
            readers_forgotten: false,
            key_misused: false,
            kept_stale: false,
            disk_was_full: false,
            partial: self.partial,
            tail_lost: false,
            vandalized: false,
            luck: self.luck,
        }
    }
}

/// The life of a job whose kick-off was answered.
fn queued_life() -> Life {
    let around = Surroundings { now: Timestamp::UNIX_EPOCH, writers: 0, downloads: 0 };
    let new = tasks::new_job();
    let committed = End::Committed { of: StateName::Queued, moved: true, swept: SweepCounts::default() };
    let mut life = new_life();
    for input in [Input::Submitted, Input::Ended(End::Created(Ok(new))), Input::Ended(committed)] {
        life.handle(input, around);
    }
    life
}
