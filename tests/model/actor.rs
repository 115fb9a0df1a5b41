//! The job's actor. What follows from an event, and in which order, it asks the real
//! `job::transition`; here and in `directory.rs` stands what each `Effect` does to the world, in
//! steps as small as a crash or a neighbour can come between.

use evanesce::job::{Effect, Event, MarkReason, Refusal, StateName, transition};

use super::directory::directory_step;
use super::flaws::{Flaw, effects_with};
use super::process::*;
use super::record::{Record, erasure};
use super::search::Next;
use super::world::*;

/// What an actor that finds its job marked still has to do, and the reaper after a failed sweep (P5).
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

/// An actor that was let go of comes back with what is published, and what that leaves to do.
pub fn wake(world: &mut World, flaw: Flaw) {
    let process = world.process.expect("an actor needs a process");
    let (None, Some(record)) = (process.memory, process.view) else { return };
    let moved = !matches!(world.place.seen, Place::Building | Place::Ready);
    let process = world.running();
    process.memory = Some(record);
    match record.name {
        StateName::Failed => process.chain = Chain::new(record.name, &[Effect::SweepPartials]),
        StateName::Marked => {
            let accepted = moved || flaw == Flaw::TrustRecalledMark;
            process.mark_answer = if accepted { MarkAnswer::Accepted } else { MarkAnswer::Half };
            process.chain = Chain::new(record.name, SWEEP_AGAIN);
        }
        _ => {}
    }
}

/// Gives the event to the actor as it stands in memory, never as it is stored: several handlers
/// may be waiting for the store, and memory alone knows of all of them.
pub fn deliver(world: &mut World, flaw: Flaw, event: Event) -> Result<(), Refusal> {
    wake(world, flaw);
    let memory = world.running().memory.ok_or(Refusal::Stale)?;
    deliver_to(memory, world, flaw, event)
}

pub fn deliver_to(known: Record, world: &mut World, flaw: Flaw, event: Event) -> Result<(), Refusal> {
    let (state, effects) = transition(&known.state(), event)?;
    if effects == [Effect::Acknowledge] {
        // The state is the same: nothing is overtaken.
        acknowledge(world, flaw);
        return Ok(());
    }
    let process = world.running();
    // The chain of the state before stops here; a file operation that is under way does not.
    if process.chain.head().is_some_and(is_file_operation) && process.leftover == Chain::NONE {
        process.leftover = Chain { effects: &process.chain.effects[..1], ..process.chain };
    }
    process.memory = Some(Record::of(&state));
    process.chain = Chain::new(state.name(), effects_with(flaw, effects));
    Ok(())
}

fn is_file_operation(effect: Effect) -> bool {
    matches!(effect, Effect::WriteJobJson | Effect::MoveToReady | Effect::SweepPartials)
}

/// Whose DELETE each answer is for: the third is the first one sent again.
pub fn request_of(index: usize) -> u8 {
    [1, 2, 1][index]
}

/// A client's DELETE comes to the actor, from where the answer comes as well.
pub fn delete(world: &mut World, flaw: Flaw, index: usize) {
    world.answers[index] = Answer::Waiting;
    wake(world, flaw);
    let stored = if flaw == Flaw::RereadStateAfterAwait { world.store.now.synced } else { None };
    let Some(known) = stored.or(world.process.and_then(|process| process.memory)) else { return };
    let reason = MarkReason::of_client(known.name);
    let mark = super::record::mark(reason, request_of(index));
    let refused = deliver_to(known, world, flaw, Event::Mark(mark)).is_err();
    if refused && matches!(flaw, Flaw::RefuseBeforeDurable | Flaw::RereadStateAfterAwait) {
        world.tell(index, Answer::Got404);
    } else if refused {
        acknowledge(world, flaw);
    }
}

/// Answers everybody who waits, if the mark is published: the request that made it gets its
/// answer, all others hear that the job was deleted already.
fn acknowledge(world: &mut World, flaw: Flaw) {
    let process = *world.running();
    let Some(record) = process.memory.filter(|record| record.name.is_deleted()) else { return };
    for index in 0..world.answers.len() {
        let own = record.request == request_of(index) || flaw == Flaw::RereadStateAfterAwait;
        let answer = match process.mark_answer {
            _ if world.answers[index] != Answer::Waiting => continue,
            _ if record.name == StateName::Erased => Answer::Got404,
            MarkAnswer::NotYet if own && flaw == Flaw::AcknowledgeResentAtOnce => Answer::Got202,
            MarkAnswer::NotYet => continue,
            _ if !own => Answer::Got404,
            MarkAnswer::Accepted => Answer::Got202,
            MarkAnswer::Half => Answer::GotHalf,
        };
        world.tell(index, answer);
    }
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
            world.store.now.seen = process.memory;
            ("the record goes to the store", if world.store.now.is_synced() { Done } else { At(1) })
        }
        // `store_syncs` does the rest.
        Effect::Commit => return None,
        Effect::Publish => {
            world.publish(process.memory);
            if chain.of == StateName::Marked && process.mark_answer == MarkAnswer::NotYet {
                let half = process.not_moved;
                world.running().mark_answer = if half { MarkAnswer::Half } else { MarkAnswer::Accepted };
            }
            ("the view shows the record", Done)
        }
        Effect::Acknowledge => {
            acknowledge(world, flaw);
            ("who asked for the mark gets an answer", Done)
        }
        Effect::RunParts => {
            for part in world.parts.iter_mut().filter(|part| !part.sealed.now.seen) {
                part.writer = Writer::Queued;
                part.plan = world.plan.seen;
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
            let reading = match process.download {
                Download::Cutting(_) => flaw != Flaw::CutWithoutDrain,
                Download::Registered | Download::Checked => flaw != Flaw::RegisterLast,
                download => download.has_ticket(),
            };
            let downloads_out = chain.of != StateName::Marked || !reading;
            if !finisher_out || !world.writers_out() || !downloads_out {
                return None;
            }
            let skips_sweep = flaw == Flaw::ErasedBeforeSwept && chain.of == StateName::Marked;
            ("the last one is out", if skips_sweep { Tell(Event::Swept(erasure())) } else { Done })
        }
        Effect::AppendReceipt => append_receipt(world, chain.stage),
        _ => directory_step(world, flaw, chain)?,
    })
}

fn append_receipt(world: &mut World, stage: u8) -> (&'static str, Then) {
    let receipts = &mut world.receipts;
    match stage {
        0 => {
            receipts.seen.broken |= receipts.seen.torn;
            receipts.seen.torn = true;
            ("half of the receipt is written", At(1))
        }
        1 => {
            receipts.seen = Receipts { lines: receipts.seen.lines + 1, torn: false, ..receipts.seen };
            ("the receipt is written", At(2))
        }
        _ => {
            receipts.sync();
            ("the receipt is synced", Done)
        }
    }
}

/// The store's writer syncs all it was given and tells who waits for it.
pub fn store_syncs(world: &World) -> Option<Next<World>> {
    if world.is_store_synced() {
        return None;
    }
    let mut next = *world;
    next.sync_store();
    if next.kickoff == Kickoff::Committing {
        next.kickoff = Kickoff::Committed;
    }
    let process = next.process.as_mut();
    // At stage 0 the record that the actor waits for is not among those that were given.
    let waits = |p: &&mut Process| p.chain.head() == Some(Effect::Commit) && p.chain.stage == 1;
    if let Some(process) = process.filter(waits) {
        process.chain = process.chain.advanced();
    }
    Some(("the store syncs", next))
}
