//! From the kick-off to the last part: the directory, the record and its 202, the plan, the
//! writers, and what a process that comes later takes up again (P11).

use evanesce::job::{Effect, Event, StateName};

use super::flaws::Flaw;
use super::process::*;
use super::record::Record;
use super::search::Next;
use super::steps::{told, with};
use super::world::*;

/// The next step of a kick-off.
pub fn kickoff(world: &World, flaw: Flaw) -> Option<Next<World>> {
    world.process?;
    let mut next = *world;
    let words = match world.kickoff {
        Kickoff::Making(0) => {
            next.place.seen = Place::Building;
            next.kickoff = Kickoff::Making(1);
            "the job's directory is made"
        }
        Kickoff::Making(_) => {
            next.place.sync();
            let queued = Some(Record::new(StateName::Queued));
            next.running().memory = queued;
            next.store.now.seen = queued;
            next.kickoff = Kickoff::Committing;
            "the directory is synced, the record goes to the store"
        }
        Kickoff::Committing if flaw == Flaw::AnswerKickoffAtOnce => {
            next.kickoff = Kickoff::Got202;
            "the kick-off gets its 202"
        }
        Kickoff::Committed => {
            next.publish(world.process?.memory);
            next.kickoff = Kickoff::Got202;
            "the view shows the job, and the kick-off gets its 202"
        }
        _ => return None,
    };
    Some((words, next))
}

/// What the job's actor does by itself when its last event is dealt with, as long as it exports.
pub fn go_on(world: &World, process: &Process, flaw: Flaw) -> Option<Next<World>> {
    let name = process.memory.filter(|_| process.chain == Chain::NONE && !world.is_kicking_off())?.name;
    let all_sealed = world.parts.iter().all(|part| part.sealed.now.synced);
    match name {
        StateName::Queued if !process.planned => Some(plan(world)),
        StateName::Queued if !world.plan.is_synced() => {
            Some(with("the plan is synced", world, |next, _| next.sync_names()))
        }
        StateName::Queued => {
            let event = Event::Start { transaction_time: jiff::Timestamp::UNIX_EPOCH };
            Some(told("the plan is on disk", world, flaw, event))
        }
        StateName::Running if !process.planned => Some(resume(world, flaw)),
        StateName::Running if all_sealed => {
            Some(told("every part is sealed", world, flaw, Event::PartsSealed))
        }
        _ => None,
    }
}

fn plan(world: &World) -> Next<World> {
    with("the plan is read if there is one, or made", world, |next, process| {
        next.plan.seen = next.plan.seen.max(u8::from(next.has_directory()));
        remove_partial_files(next);
        process.planned = true;
    })
}

/// Sealed parts are kept, partial files removed, and the plan is not made again.
fn resume(world: &World, flaw: Flaw) -> Next<World> {
    with("the export is resumed with the plan on disk", world, |next, process| {
        if flaw == Flaw::PlanAgain && next.has_directory() {
            next.plan.seen = 2;
        }
        if flaw != Flaw::KeepPartialFiles {
            remove_partial_files(next);
        }
        process.planned = true;
        process.chain = Chain::new(StateName::Running, &[Effect::RunParts]);
    })
}

fn remove_partial_files(world: &mut World) {
    for part in &mut world.parts {
        part.stale.seen = false;
    }
}

/// What each writer in the pool may do next. One whose job is cancelled may go on for as long as
/// it likes, which `slow` ones do, until it is fenced.
pub fn writers(world: &World, process: &Process, flaw: Flaw) -> (Vec<Next<World>>, Vec<Next<World>>) {
    let (mut own, mut slow) = (Vec::new(), Vec::new());
    for (index, part) in world.parts.iter().enumerate() {
        let after = |words, change: &dyn Fn(&mut World, &mut Part)| {
            let (mut next, mut part) = (*world, *part);
            change(&mut next, &mut part);
            next.parts[index] = part;
            (words, next)
        };
        let out = |_: &mut World, part: &mut Part| part.writer = Writer::Out;
        let step = match part.writer {
            Writer::Out => continue,
            Writer::Queued => after("a writer takes a handle of the directory", &|_, part| {
                part.writer = Writer::Holding;
            }),
            // A name in a directory that was removed is ENOENT, and nobody makes the directory again (P3).
            Writer::Holding if !world.has_directory() => after("a late writer fails", &out),
            Writer::Holding => after("a writer makes its file", &|_, part| {
                part.writer = Writer::Writing;
                part.file.seen = true;
            }),
            Writer::Writing => {
                after("a writer syncs its file, and its part goes to the store", &|next, part| {
                    if flaw != Flaw::SealBeforeSync {
                        next.sync_names();
                        part.file.sync();
                        part.stale.sync();
                    }
                    // Who is marked or failed meanwhile does not record it.
                    let running = process.memory.is_some_and(|record| record.name == StateName::Running);
                    part.sealed.now.seen |= running;
                    part.writer = Writer::Out;
                })
            }
        };
        if process.stopped {
            slow.push(step);
            slow.push(after("a writer stops", &out));
            if process.chain.head() == Some(Effect::AwaitLastOut) && flaw != Flaw::NeverFence {
                own.push(after("the deadline is over: a writer is fenced", &out));
            }
        } else {
            own.push(step);
        }
    }
    (own, slow)
}
