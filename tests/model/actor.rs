//! The job's actor. What follows from an event, and in which order, it asks the real
//! `job::transition`; this file says what each `Effect` does to the world, in steps as small as
//! a crash or a neighbour can come between.

use evanesce::job::{Effect, Event, Refusal, StateName, transition};

use super::flaws::{Flaw, effects_with};
use super::search::Next;
use super::world::*;

/// What the reaper asks for again when a sweep failed, after its back-off (P5).
pub const SWEEP_AGAIN: &[Effect] = &[Effect::AwaitLastOut, Effect::Sweep];

/// How an effect stands after one more step of it.
enum Then {
    /// It goes on at this stage.
    At(u8),
    Done,
    /// It is done, and this is news for the actor.
    Tell(Event),
}
use Then::*;

/// Gives the event to the actor as it stands in memory, never as it is stored: several handlers
/// may be waiting for the store, and memory alone knows of all of them.
pub fn deliver(world: &mut World, flaw: Flaw, event: Event) -> Result<(), Refusal> {
    let memory = world.process.expect("an actor needs a process").memory;
    deliver_to(memory, world, flaw, event)
}

pub fn deliver_to(known: Record, world: &mut World, flaw: Flaw, event: Event) -> Result<(), Refusal> {
    let (state, effects) = transition(&known.state(), event)?;
    let process = world.process.as_mut().expect("an actor needs a process");
    // The chain of the state before stops here; a file operation that is under way does not.
    if process.chain.head().is_some_and(is_file_operation) && process.leftover == Chain::NONE {
        process.leftover = Chain {
            effects: &process.chain.effects[..1],
            ..process.chain
        };
    }
    process.memory = Record::of(&state);
    process.chain = Chain::new(state.name(), effects_with(flaw, effects));
    Ok(())
}

fn is_file_operation(effect: Effect) -> bool {
    matches!(
        effect,
        Effect::WriteJobJson | Effect::MoveToReady | Effect::SweepPartials
    )
}

/// The next step of the actor's chain.
pub fn perform(world: &World, flaw: Flaw) -> Option<Next<World>> {
    let chain = world.process?.chain;
    step(world, flaw, chain, |process, chain| process.chain = chain)
}

/// The next step of a file operation that its transition left behind.
pub fn perform_leftover(world: &World, flaw: Flaw) -> Option<Next<World>> {
    let chain = world.process?.leftover;
    step(world, flaw, chain, |process, chain| process.leftover = chain)
}

fn step(world: &World, flaw: Flaw, chain: Chain, put: impl Fn(&mut Process, Chain)) -> Option<Next<World>> {
    let mut next = *world;
    let (words, then) = effect_step(&mut next, flaw, chain.head()?, chain)?;
    let process = next.process.as_mut().expect("an actor needs a process");
    match then {
        At(stage) => put(process, Chain { stage, ..chain }),
        Done => put(process, chain.advanced()),
        Tell(event) => {
            put(process, chain.advanced());
            // Refused if life has gone on meanwhile: then the news is harmless.
            let _ = deliver(&mut next, flaw, event);
        }
    }
    Some((words, next))
}

/// One step of `effect`, if it can be done now.
fn effect_step(world: &mut World, flaw: Flaw, effect: Effect, chain: Chain) -> Option<(&'static str, Then)> {
    let process = world.process.as_mut().expect("an actor needs a process");
    Some(match (effect, chain.stage) {
        (Effect::Commit, 0) => {
            world.store.seen = process.memory;
            ("the record goes to the store", At(1))
        }
        // `store_syncs` does the rest.
        (Effect::Commit, _) => return None,

        // Building first: the finisher may move the directory between the two, but only forwards.
        (Effect::MoveToTrash, 0) if world.place.seen == Place::Building => {
            world.place.seen = Place::Trash;
            ("the mark renames building/ to trash/", At(2))
        }
        (Effect::MoveToTrash, 0) if flaw == Flaw::NoRenameRetry => (
            "the mark does not find the directory in building/ and leaves it at that",
            At(2),
        ),
        (Effect::MoveToTrash, 0) => ("the mark does not find the directory in building/", At(1)),
        (Effect::MoveToTrash, 1) if world.place.seen == Place::Ready => {
            world.place.seen = Place::Trash;
            ("the mark renames ready/ to trash/", At(2))
        }
        (Effect::MoveToTrash, 1) => ("the mark does not find it in ready/ either", At(2)),
        (Effect::MoveToTrash, _) => {
            world.place.sync();
            ("the mark syncs the parents", Done)
        }

        (Effect::WriteJobJson, 0) => {
            // Through a handle: in a directory that is removed this is ENOENT.
            if world.place.seen != Place::Gone {
                let says = if chain.of == StateName::Failed {
                    chain.of
                } else {
                    StateName::Complete
                };
                world.job_json.seen = Some(says);
            }
            ("job.json is written", At(1))
        }
        (Effect::WriteJobJson, _) => {
            world.sync_names();
            ("job.json is synced", end_of(chain))
        }
        (Effect::MoveToReady, 0) if world.place.seen == Place::Building => {
            world.place.seen = Place::Ready;
            ("the finisher renames building/ to ready/", At(1))
        }
        (Effect::MoveToReady, 0) => ("the finisher does not find the directory any more", At(1)),
        (Effect::MoveToReady, _) => {
            world.place.sync();
            ("the finisher syncs the parents", end_of(chain))
        }

        (Effect::Publish, _) => {
            let name = process.memory.name;
            world.publish(name);
            ("the view shows the record", Done)
        }
        (Effect::StopParts, _) => {
            process.stopped = true;
            for part in world
                .parts
                .iter_mut()
                .filter(|part| part.writer == Writer::Queued)
            {
                part.writer = Writer::Out;
            }
            ("the cancel token fires", Done)
        }
        (Effect::Acknowledge, _) => {
            for answer in world
                .answers
                .iter_mut()
                .filter(|answer| **answer == Answer::Accepted)
            {
                *answer = Answer::Got202;
                world.shown = world.shown.max(StateName::Marked);
            }
            ("who asked for the mark gets 202", Done)
        }
        (Effect::RunParts, _) => {
            for part in world.parts.iter_mut().filter(|part| !part.sealed) {
                part.writer = Writer::Queued;
            }
            ("the parts go to the pool", Done)
        }

        // The finisher holds a descriptor of the directory too (P4).
        (Effect::AwaitLastOut, _) => {
            let finisher_out = process.leftover == Chain::NONE || flaw == Flaw::ForgetFinisher;
            let downloads_out = process.download != Download::Open;
            if !(world.writers_out() && downloads_out && finisher_out) {
                return None;
            }
            let skips_sweep = flaw == Flaw::ErasedBeforeSwept && chain.of == StateName::Marked;
            (
                "the last one is out",
                if skips_sweep {
                    Tell(Event::Swept(erasure()))
                } else {
                    Done
                },
            )
        }
        (Effect::Sweep, 0) => {
            if world.place.seen == Place::Trash {
                world.unlink_parts();
                world.job_json.seen = None;
            }
            ("the reaper unlinks what it finds in trash/", At(1))
        }
        (Effect::Sweep, 1) if world.place.seen == Place::Trash && world.has_names() => {
            ("the reaper's rmdir finds a new name", At(0))
        }
        (Effect::Sweep, 1) => {
            if world.place.seen == Place::Trash {
                world.place.seen = Place::Gone;
            }
            let then = if flaw == Flaw::SweepWithoutSync {
                Tell(Event::Swept(erasure()))
            } else {
                At(2)
            };
            ("the reaper removes the directory", then)
        }
        (Effect::Sweep, _) => {
            world.sync_names();
            world.place.sync();
            ("the reaper syncs trash/", Tell(Event::Swept(erasure())))
        }
        (Effect::SweepPartials, 0) => {
            world.unlink_parts();
            ("the files of the failed export are unlinked", At(1))
        }
        (Effect::SweepPartials, _) => {
            world.sync_names();
            ("and their directory is synced", Done)
        }

        (Effect::AppendReceipt, _) => {
            // A crash may have come between receipt and record: the chain is asked first (P9).
            if world.receipts == 0 || flaw == Flaw::ReceiptTwice {
                world.receipts += 1;
            }
            ("the receipt is appended and synced", Done)
        }
        (Effect::PauseWriters, _) => unreachable!("left out by Chain"),
    })
}

/// The end of the effects of Finishing is the news that the export is complete.
fn end_of(chain: Chain) -> Then {
    if chain.of == StateName::Finishing && chain.effects.len() == 1 {
        Tell(Event::Completed(completion()))
    } else {
        Done
    }
}

/// The store's writer syncs all it was given and tells who waits for it.
pub fn store_syncs(world: &World) -> Option<Next<World>> {
    if world.store.is_synced() {
        return None;
    }
    let mut next = *world;
    next.sync_store();
    if let Some(process) = next
        .process
        .as_mut()
        .filter(|process| process.chain.head() == Some(Effect::Commit))
    {
        // At stage 0 this record is not among those that were given.
        if process.chain.stage == 1 {
            process.chain = process.chain.advanced();
        }
    }
    Some(("the store syncs", next))
}
