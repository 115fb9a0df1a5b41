//! The reaper's pass: expiry, and the scan for disagreements. It nominates; the job's own actor
//! looks again (P6, P7, P8).

use evanesce::job::{Effect, Event, MarkReason, StateName};

use super::actor::{SWEEP_AGAIN, deliver};
use super::flaws::Flaw;
use super::process::*;
use super::record::{Record, mark};
use super::search::Next;
use super::steps::{told, with};
use super::world::*;

/// A pass finds that the job's time is over. Clocks that jump are not believed.
pub fn expiry(world: &World, process: &Process, flaw: Flaw) -> Option<Next<World>> {
    let finished =
        process.view.is_some_and(|view| matches!(view.name, StateName::Complete | StateName::Failed));
    let forgotten = flaw == Flaw::ForgetTheJump && !process.guarded;
    let believed = world.due || world.clock_ahead && (forgotten || flaw == Flaw::BelieveTheClock);
    let expire = Event::Mark(mark(MarkReason::Expired, 0));
    let open = process.state().is_some_and(|name| !name.is_deleted()) && world.hold == Hold::No;
    (finished && believed && open).then(|| told("the reaper says that its time is over", world, flaw, expire))
}

/// Whether a scan would find something to look into; any other one changes nothing.
fn is_suspicious(world: &World, process: &Process) -> bool {
    match process.view {
        None => world.has_directory() && !world.is_kicking_off(),
        Some(view) => view.name == StateName::Complete && world.place.seen != Place::Ready,
    }
}

/// A scan begins, if it has to; `idle`: although it has not.
pub fn scan(world: &World, process: &Process, idle: bool) -> Option<Next<World>> {
    let begins = process.scan == Scan::NONE && idle != is_suspicious(world, process);
    begins.then(|| list(world, "a scan lists building/"))
}

fn list(world: &World, words: &'static str) -> Next<World> {
    with(words, world, |next, process| {
        let place = [Place::Building, Place::Ready, Place::Trash][usize::from(process.scan.listed)];
        let here = next.place.seen == place;
        process.scan.listed += 1;
        process.scan.seen |= here;
        process.scan.ready |= here && place == Place::Ready;
    })
}

/// The next step of a scan that is under way.
pub fn go_on(world: &World, process: &Process, flaw: Flaw) -> Option<Next<World>> {
    match process.scan.listed {
        0 => None,
        1 => Some(list(world, "the scan lists ready/")),
        2 => Some(list(world, "the scan lists trash/")),
        _ => Some(compare(world, process, flaw)),
    }
}

/// The scan is compared with the view. Two sightings make a nomination.
fn compare(world: &World, process: &Process, flaw: Flaw) -> Next<World> {
    let suspect = match process.view {
        None => process.scan.seen,
        Some(view) => view.name == StateName::Complete && !process.scan.ready,
    };
    let enough = if flaw == Flaw::ReapAtFirstSight { 1 } else { 2 };
    let sightings = if suspect { (process.sightings + 1).min(2) } else { 0 };
    let (words, mut next) = with("the scan is compared with the view", world, |_, process| {
        process.scan = Scan::NONE;
        process.sightings = sightings;
    });
    if sightings < enough {
        return (words, next);
    }
    let orphan = next.has_directory() && !world.is_kicking_off();
    let lost = process.state() == Some(StateName::Complete) && next.place.seen != Place::Ready;
    let reason = match process.view {
        None if orphan || flaw == Flaw::NoSecondLook => MarkReason::Orphan,
        Some(_) if lost || flaw == Flaw::ReapAtFirstSight => MarkReason::Lost,
        _ => return ("the actor looks again: all is well", next),
    };
    if reason == MarkReason::Orphan {
        let process = next.running();
        process.memory = Some(Record::new(StateName::Queued));
        process.planned = true;
        next.kickoff = if next.is_kicking_off() { Kickoff::Got202 } else { next.kickoff };
    }
    let _ = deliver(&mut next, flaw, Event::Mark(mark(reason, 0)));
    ("the job is nominated twice, and marked", next)
}

/// After a failed sweep the reaper comes again (P5).
pub fn sweep_again(world: &World, process: &Process, flaw: Flaw) -> Option<Next<World>> {
    let marked = process.memory.is_some_and(|record| record.name == StateName::Marked);
    let again = marked && process.chain == Chain::NONE && flaw != Flaw::ForgetFailedSweep;
    again.then(|| {
        with("the reaper comes again after its back-off", world, |_, process| {
            process.chain = Chain::new(StateName::Marked, SWEEP_AGAIN);
        })
    })
}

/// An operator's order: a hold, or its end. It comes too late when a sweep has begun.
pub fn order(world: &World, process: &Process, flaw: Flaw) -> Option<Next<World>> {
    let there = process.view.is_some_and(|view| view.name != StateName::Erased);
    let sweeping = process.chain.head() == Some(Effect::Sweep) && process.chain.stage > 0;
    match world.hold {
        Hold::No if world.luck.holds > 0 && there && (!sweeping || flaw == Flaw::HoldTooLate) => {
            Some(with("an operator orders a hold", world, |next, _| {
                next.luck.holds -= 1;
                next.hold = Hold::Ordered;
            }))
        }
        Hold::Yes => Some(with("the hold is released", world, |next, _| next.hold = Hold::No)),
        _ => None,
    }
}

pub fn hold_is_durable(world: &World) -> Option<Next<World>> {
    let ordered = world.hold == Hold::Ordered;
    ordered.then(|| with("the hold is durable, and answered", world, |next, _| next.hold = Hold::Yes))
}
