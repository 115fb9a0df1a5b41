//! Crashes, and what the next process makes of what it finds: it syncs it, joins the
//! witnesses (the later one wins) and goes on from there.

use evanesce::job::{Effect, Event, StateName};

use super::actor::deliver;
use super::flaws::Flaw;
use super::record::{completion, erasure, failure, mark};
use super::search::Next;
use super::world::*;

/// The ends that a process may come to now, each with what may survive it.
pub fn crashes(world: &World) -> Vec<Next<World>> {
    if world.process.is_none() || world.luck.crashes == 0 {
        return Vec::new();
    }
    let mut after = *world;
    after.luck.crashes -= 1;
    after.process = None;
    for part in &mut after.parts {
        part.writer = Writer::Out;
    }
    for answer in &mut after.answers {
        if matches!(answer, Answer::Accepted | Answer::Refused) {
            *answer = Answer::Lost;
        }
    }

    // sled keeps part of its log in memory, so SIGKILL may lose it or not; the kernel keeps the rest.
    let mut killed = after;
    killed.store.lose();
    let mut crashes = vec![("SIGKILL", after), ("SIGKILL; sled had not written all", killed)];

    // After a power loss all that is left is durable. What was not synced is there or not. Between
    // two unsynced changes of one thing it cannot stop: that equals a crash one step earlier.
    for case in 0..8 {
        let lost = |what: u8| case & what != 0;
        let mut dark = after;
        if lost(1) {
            dark.store.lose();
        }
        if lost(2) {
            dark.place.lose();
        }
        // A directory that is gone for good has no names to come back to.
        if lost(4) && dark.place.seen != Place::Gone {
            dark.lose_names();
        }
        sync_all(&mut dark);
        crashes.push(("power loss", dark));
    }
    crashes
}

/// The next process starts.
pub fn restart(world: &World, flaw: Flaw) -> Option<Next<World>> {
    if world.process.is_some() {
        return None;
    }
    let mut next = *world;
    if flaw != Flaw::TrustUnsynced {
        // What a killed process left in the kernel's cache can be read and is not durable (P2).
        sync_all(&mut next);
    }
    resume(&mut next, flaw);
    Some(("restart: the witnesses are synced and joined", next))
}

/// The next process starts on a store that opens with a shorter log than it had.
pub fn restart_without_tail(world: &World, flaw: Flaw) -> Option<Next<World>> {
    if world.process.is_some() || world.luck.lost_tails == 0 {
        return None;
    }
    let mut next = *world;
    next.luck.lost_tails -= 1;
    next.tail_lost = true;
    sync_all(&mut next);
    next.store = Cached::durable(next.before);
    if next.before.name == StateName::Queued {
        // The seals stood after it in the log.
        for part in &mut next.parts {
            part.sealed = false;
        }
    }
    resume(&mut next, flaw);
    Some(("restart: the store has lost its tail", next))
}

fn sync_all(world: &mut World) {
    world.sync_store();
    world.place.sync();
    world.sync_names();
}

/// What disk and receipts say of the job: the state it had come to at least.
pub fn evidence(place: Place, job_json: Option<StateName>, receipts: u8) -> StateName {
    match (place, job_json) {
        _ if receipts > 0 => StateName::Erased,
        // A directory that is not there was swept, or somebody took it: either way it is over.
        (Place::Trash | Place::Gone, _) => StateName::Marked,
        (Place::Ready, _) => StateName::Complete,
        (Place::Building, Some(StateName::Failed)) => StateName::Failed,
        (Place::Building, Some(_)) => StateName::Finishing,
        (Place::Building, None) => StateName::Queued,
    }
}

fn resume(world: &mut World, flaw: Flaw) {
    let memory = world.store.seen;
    let evidence = evidence(world.place.seen, world.job_json.seen, world.receipts);
    world.process = Some(Process {
        memory,
        view: memory.name,
        chain: Chain::new(memory.name, unfinished(memory.name)),
        leftover: Chain::NONE,
        stopped: false,
        download: Download::NotYet,
    });
    if memory.name == StateName::Marked && flaw != Flaw::ServeBeforeMoveToTrash {
        // Before anything is served: a client that once read "deleted" relies on both witnesses (P2).
        world.place = Cached::durable(world.place.seen.max(Place::Trash));
    }
    // Both are durable by now, so both may be shown: a mark that only the disk remembers as well (P1).
    world.publish(memory.name.max(evidence));
    while let Some(process) = world.process.as_mut().filter(|process| process.memory.name < evidence) {
        process.chain = Chain::NONE;
        let event = towards(process.memory.name, evidence);
        deliver(world, flaw, event).expect("life goes forward");
    }
}

/// The event that brings the record of a job nearer to what disk and receipts say.
fn towards(name: StateName, evidence: StateName) -> Event {
    match (name, evidence) {
        (StateName::Marked, StateName::Erased) => Event::Swept(erasure()),
        (_, StateName::Marked | StateName::Erased) => Event::Mark(mark(0)),
        (_, StateName::Failed) => Event::Fail(failure()),
        (StateName::Queued, _) => Event::Start { transaction_time: jiff::Timestamp::UNIX_EPOCH },
        (StateName::Running, _) => Event::PartsSealed,
        (_, _) => Event::Completed(completion()),
    }
}

/// The effects of a stored state that may not have been done when the process ended.
fn unfinished(name: StateName) -> &'static [Effect] {
    match name {
        StateName::Running => &[Effect::RunParts],
        StateName::Failed => &[Effect::AwaitLastOut, Effect::SweepPartials],
        StateName::Marked => &[Effect::MoveToTrash, Effect::AwaitLastOut, Effect::Sweep],
        _ => &[],
    }
}
