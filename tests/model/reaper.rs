//! The reaper's pass: expiry, and the scan for disagreements. It nominates; the job's own actor
//! looks again (P6, P7, P8).

use evanesce::job::StateName;
use evanesce::job::life::Input;

use super::actor::{feed, job, new_life, wake};
use super::flaws::Flaw;
use super::process::*;
use super::queue;
use super::search::Next;
use super::steps::with;
use super::world::*;

/// A pass finds that the job's time is over. Clocks that jump are not believed.
pub fn expiry(world: &World, process: &Process, flaw: Flaw) -> Option<Next<World>> {
    let finished =
        process.view.is_some_and(|view| matches!(view.name, StateName::Complete | StateName::Failed));
    let forgotten = flaw == Flaw::ForgetTheJump && !process.guarded;
    let believed = world.due || world.clock_ahead && (forgotten || flaw == Flaw::BelieveTheClock);
    let free = world.hold == Hold::No && world.pause == Hold::No;
    let open = process.state().is_some_and(|name| !name.is_deleted()) && free;
    (finished && believed && open).then(|| {
        let mut next = world.clone();
        wake(&mut next, flaw);
        feed(&mut next, flaw, Input::Expire);
        ("the reaper says that its time is over", next)
    })
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
    if process.view.is_some() {
        wake(&mut next, flaw);
        feed(&mut next, flaw, Input::Lost);
        return ("the job is nominated twice as one that is lost", next);
    }
    if flaw == Flaw::NoSecondLook || next.running().life.is_none() {
        next.kickoff = if next.is_kicking_off() { Kickoff::Got202 } else { next.kickoff };
        next.running().life = Some(SharedLife::new(new_life()));
    }
    feed(&mut next, flaw, Input::Orphan);
    ("the job is nominated twice as an orphan", next)
}

/// An operator's orders, and their ends. The real book says whether they come too late.
pub fn orders(world: &World, process: &Process, flaw: Flaw) -> Vec<Next<World>> {
    let there = process.view.is_some_and(|view| view.name != StateName::Erased);
    let may_hold = process.book.clone().hold(job()).is_ok() || flaw == Flaw::HoldTooLate;
    let mut steps = Vec::new();
    match world.hold {
        Hold::No if world.luck.holds > 0 && there && may_hold => {
            steps.push(with("an operator orders a hold", world, |next, process| {
                // A flaw takes it although the book refuses it.
                let _ = process.book.hold(job());
                next.luck.holds -= 1;
                next.hold = Hold::Ordered;
            }));
        }
        Hold::Yes => {
            let (words, mut next) = with("the hold is released", world, |next, process| {
                process.book.release(job());
                next.hold = Hold::No;
            });
            queue::order_ended(&mut next, flaw, true);
            steps.push((words, next));
        }
        _ => {}
    }
    match world.pause {
        Hold::No if world.luck.pauses > 0 => {
            steps.push(with("an operator orders a pause", world, |next, process| {
                process.book.pause().expect("it is not paused");
                next.luck.pauses -= 1;
                next.pause = Hold::Ordered;
            }));
        }
        Hold::Yes => {
            let (words, mut next) = with("the pause ends", world, |next, process| {
                process.book.resume();
                next.pause = Hold::No;
            });
            queue::order_ended(&mut next, flaw, false);
            steps.push((words, next));
        }
        _ => {}
    }
    steps
}

/// A hold is answered when it is durable, a pause when nobody unlinks anything any more as well.
pub fn orders_are_answered(world: &World, process: &Process, flaw: Flaw) -> Vec<Next<World>> {
    let quiet = process.book.is_quiet() || flaw == Flaw::PauseTooEarly;
    let hold = (world.hold == Hold::Ordered)
        .then(|| with("the hold is durable, and answered", world, |next, _| next.hold = Hold::Yes));
    let pause = (world.pause == Hold::Ordered && quiet)
        .then(|| with("the pause is durable, and answered", world, |next, _| next.pause = Hold::Yes));
    hold.into_iter().chain(pause).collect()
}
