//! The promises of DESIGN section 1 as predicates over one state.

use std::fmt;

use evanesce::job::StateName;

use super::record::Record;
use super::restart::evidence;
use super::world::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    AcknowledgedIsDurable,
    MarkedTwice,
    ShownStays,
    ShownIsDurable,
    NoResurrection,
    LastOneOut,
    NothingForgotten,
    NothingLiveLost,
    OneAnswer,
    OneReceipt,
}

use Promise::*;

impl Promise {
    pub const ALL: [Self; 10] = [
        AcknowledgedIsDurable,
        MarkedTwice,
        ShownStays,
        ShownIsDurable,
        NoResurrection,
        LastOneOut,
        NothingForgotten,
        NothingLiveLost,
        OneAnswer,
        OneReceipt,
    ];

    pub fn holds(self, world: &World, at_rest: bool) -> bool {
        let got_202 = world.answers.iter().filter(|answer| **answer == Answer::Got202).count();
        let process = world.process.as_ref();
        match self {
            AcknowledgedIsDurable => {
                got_202 == 0
                    || joined(world) >= StateName::Marked
                        && process.is_none_or(|process| process.memory.name >= StateName::Marked)
            }
            // Directories only move forward and records too, but for a lost tail.
            MarkedTwice => {
                let in_store = world.store.synced.name >= StateName::Marked || world.tail_lost;
                got_202 == 0 || in_store && world.place.synced >= Place::Trash
            }
            ShownStays => process.is_none_or(|process| {
                let turned = world.shown == StateName::Failed && process.view == StateName::Complete;
                world.shown.is_active() || process.view >= world.shown && !turned
            }),
            ShownIsDurable => world.shown.is_active() || joined(world) >= world.shown,
            NoResurrection => {
                !is_erased(world) || world.place == Cached::durable(Place::Gone) && !world.has_names()
            }
            LastOneOut => {
                process.filter(|process| process.memory.name == StateName::Erased).is_none_or(|process| {
                    let finisher_out = process.leftover == Chain::NONE;
                    world.writers_out() && process.download != Download::Open && finisher_out
                })
            }
            NothingForgotten => !at_rest || is_in_order(world),
            NothingLiveLost => {
                let live = |process: &Process| process.memory.name == StateName::Complete;
                let shown_files = process.is_none_or(|process| {
                    process.view != StateName::Complete || all_files(world) && world.place.seen != Place::Gone
                });
                let whole = world.place == Cached::durable(Place::Ready) && all_files(world);
                shown_files && (whole || !process.is_some_and(live))
            }
            OneAnswer => got_202 <= 1,
            OneReceipt => world.receipts <= 1 && (!at_rest || (world.receipts == 1) == is_erased(world)),
        }
    }
}

/// What the next process would make of it if the power failed now.
fn joined(world: &World) -> StateName {
    let disk = evidence(world.place.synced, world.job_json.synced, world.receipts);
    world.store.synced.name.max(disk)
}

fn is_erased(world: &World) -> bool {
    let remembered = world.process.is_some_and(|process| process.memory.name == StateName::Erased);
    remembered || world.receipts > 0 || world.store.seen.name == StateName::Erased
}

fn all_files(world: &World) -> bool {
    world.parts.iter().all(|part| part.file_seen && part.file_synced)
}

/// What a system with nothing left to do looks like: memory, store, view and disk agree, nobody
/// waits, and no state that was meant to pass has remained.
fn is_in_order(world: &World) -> bool {
    let Some(process) = world.process else {
        return false;
    };
    let Record { name, .. } = process.memory;
    let agreed = world.store == Cached::durable(process.memory) && process.view == name;
    let waiting = world.answers.iter().any(|answer| matches!(answer, Answer::Accepted | Answer::Refused));
    let busy = process.chain != Chain::NONE || process.leftover != Chain::NONE;
    let out = world.writers_out() && process.download != Download::Open;
    let place = match name {
        StateName::Complete => Place::Ready,
        StateName::Failed if !world.parts.iter().any(|part| part.file_seen || part.file_synced) => {
            Place::Building
        }
        StateName::Erased => Place::Gone,
        _ => return false,
    };
    agreed && !waiting && !busy && out && world.place == Cached::durable(place)
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AcknowledgedIsDurable => "P1: a mark that was acknowledged holds, whatever happens",
            MarkedTwice => "P1: when a 202 leaves, store and disk both hold the mark durably",
            ShownStays => "P2: nothing that was shown is taken back; deleted stays deleted",
            ShownIsDurable => "P2: nothing is shown that a power loss could take back",
            NoResurrection => "P3: once erased, no name of the job is on disk and none comes back",
            LastOneOut => "P4: erased only when writers, downloads and finisher are out",
            NothingForgotten => "P5: at rest nothing is left over, and rest can always be reached",
            NothingLiveLost => "P6: the files of a complete job that nobody marked stay",
            OneAnswer => "DELETE by state: of two DELETEs exactly one gets 202",
            OneReceipt => "P9: one receipt for each erasure, and only one",
        })
    }
}
