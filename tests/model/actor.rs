//! The job's actor. What follows from an event, and in which order, it asks the real
//! `job::transition`; here and in `directory.rs` stands what each `Effect` does to the world, in
//! steps as small as a crash or a neighbour can come between.

use evanesce::job::{Effect, Event, Refusal, StateName, transition};

use super::directory::directory_step;
use super::flaws::{Flaw, effects_with};
use super::record::{Record, erasure};
use super::search::Next;
use super::world::*;

/// What the reaper asks for again when a sweep failed, after its back-off (P5).
pub const SWEEP_AGAIN: &[Effect] = &[Effect::AwaitLastOut, Effect::Sweep];

/// How an effect stands after one more step of it.
pub enum Then {
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
    let memory = world.running().memory;
    deliver_to(memory, world, flaw, event)
}

pub fn deliver_to(known: Record, world: &mut World, flaw: Flaw, event: Event) -> Result<(), Refusal> {
    let (state, effects) = transition(&known.state(), event)?;
    let process = world.running();
    let same_request =
        effects == [Effect::Acknowledge] && process.chain.effects.contains(&Effect::Acknowledge);
    if same_request && flaw != Flaw::AcknowledgeResentAtOnce {
        // It waits with the first for the answer that the mark's own chain comes to (P1).
        return Ok(());
    }
    // The chain of the state before stops here; a file operation that is under way does not.
    if process.chain.head().is_some_and(is_file_operation) && process.leftover == Chain::NONE {
        process.leftover = Chain { effects: &process.chain.effects[..1], ..process.chain };
    }
    process.memory = Record::of(&state);
    process.chain = Chain::new(state.name(), effects_with(flaw, effects));
    Ok(())
}

fn is_file_operation(effect: Effect) -> bool {
    matches!(effect, Effect::WriteJobJson | Effect::MoveToReady | Effect::SweepPartials)
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
    let (words, then) = effect_step(&mut next, flaw, chain)?;
    let process = next.running();
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

/// One step of the chain's first effect, if it can be done now.
fn effect_step(world: &mut World, flaw: Flaw, chain: Chain) -> Option<(&'static str, Then)> {
    let process = world.process?;
    Some(match chain.head()? {
        Effect::Commit if chain.stage == 0 => {
            world.store.seen = process.memory;
            ("the record goes to the store", At(1))
        }
        // `store_syncs` does the rest.
        Effect::Commit => return None,
        Effect::Publish => {
            world.publish(process.memory.name);
            ("the view shows the record", Done)
        }
        Effect::Acknowledge => {
            world.answer(Answer::Accepted, Answer::Got202);
            ("who asked for the mark gets 202", Done)
        }
        Effect::RunParts => {
            for part in world.parts.iter_mut().filter(|part| !part.sealed) {
                part.writer = Writer::Queued;
            }
            ("the parts go to the pool", Done)
        }
        Effect::StopParts => {
            world.running().stopped = true;
            for part in &mut world.parts {
                if part.writer == Writer::Queued {
                    part.writer = Writer::Out;
                }
            }
            ("the cancel token fires", Done)
        }
        Effect::AwaitLastOut => {
            // The finisher holds a descriptor of the directory too (P4).
            let finisher_out = process.leftover == Chain::NONE || flaw == Flaw::ForgetFinisher;
            if !finisher_out || !world.writers_out() || process.download == Download::Open {
                return None;
            }
            let skips_sweep = flaw == Flaw::ErasedBeforeSwept && chain.of == StateName::Marked;
            ("the last one is out", if skips_sweep { Tell(Event::Swept(erasure())) } else { Done })
        }
        Effect::AppendReceipt => {
            // A crash may have come between receipt and record: the chain is asked first (P9).
            if world.receipts == 0 || flaw == Flaw::ReceiptTwice {
                world.receipts += 1;
            }
            ("the receipt is appended and synced", Done)
        }
        _ => directory_step(world, flaw, chain)?,
    })
}

/// The store's writer syncs all it was given and tells who waits for it.
pub fn store_syncs(world: &World) -> Option<Next<World>> {
    if world.store.is_synced() {
        return None;
    }
    let mut next = *world;
    next.sync_store();
    let process = next.process.as_mut();
    // At stage 0 the record that the actor waits for is not among those that were given.
    if let Some(process) = process.filter(|p| p.chain.head() == Some(Effect::Commit) && p.chain.stage == 1) {
        process.chain = process.chain.advanced();
    }
    Some(("the store syncs", next))
}
