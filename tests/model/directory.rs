//! What the effects that touch the job's directory do, system call by system call. A rename is
//! seen at once and durable by the parents' fsync; names likewise, by the directory's own.

use evanesce::job::{Effect, Event, StateName};

use super::actor::Then::{self, At, Done, Tell};
use super::flaws::Flaw;
use super::process::Chain;
use super::record::{completion, erasure};
use super::world::*;

/// One step of the chain's first effect.
pub fn directory_step(world: &mut World, flaw: Flaw, chain: Chain) -> Option<(&'static str, Then)> {
    match chain.head()? {
        Effect::WriteJobJson => Some(write_job_json(world, chain)),
        Effect::MoveToReady => Some(move_to_ready(world, chain)),
        Effect::MoveToTrash => Some(move_to_trash(world, flaw, chain.stage)),
        Effect::Sweep if chain.stage == 0 => {
            let may = world.hold == Hold::No || flaw == Flaw::SweepHeld;
            may.then_some(("the reaper begins a sweep", At(1)))
        }
        Effect::Sweep => Some(sweep(world, flaw, chain.stage)),
        Effect::SweepPartials => Some(sweep_partials(world, chain.stage)),
        _ => None,
    }
}

fn write_job_json(world: &mut World, chain: Chain) -> (&'static str, Then) {
    if chain.stage > 0 {
        world.sync_names();
        return ("job.json is synced", end_of(chain));
    }
    // Through a handle: in a directory that was removed this is ENOENT.
    if world.has_directory() {
        let failed = chain.of == StateName::Failed;
        world.job_json.seen = Some(if failed { StateName::Failed } else { StateName::Complete });
    }
    ("job.json is written", At(1))
}

fn move_to_ready(world: &mut World, chain: Chain) -> (&'static str, Then) {
    if chain.stage > 0 {
        world.place.sync();
        return ("the finisher syncs the parents", end_of(chain));
    }
    if world.place.seen != Place::Building {
        return ("the finisher does not find the directory any more", At(1));
    }
    world.place.seen = Place::Ready;
    ("the finisher renames building/ to ready/", At(1))
}

/// The end of the effects of Finishing is the news that the export is complete.
fn end_of(chain: Chain) -> Then {
    let last = chain.effects.len() == 1;
    if last && chain.of == StateName::Finishing { Tell(Event::Completed(completion())) } else { Done }
}

/// Building first: the finisher may move the directory between the two, but only forwards.
fn move_to_trash(world: &mut World, flaw: Flaw, stage: u8) -> (&'static str, Then) {
    match (stage, world.place.seen) {
        (0, Place::Building) => {
            world.place.seen = Place::Trash;
            ("the mark renames building/ to trash/", At(2))
        }
        (0, _) if flaw == Flaw::NoRenameRetry => ("the mark does not find it in building/: so be it", At(2)),
        (0, _) => ("the mark does not find it in building/", At(1)),
        (1, Place::Ready) => {
            world.place.seen = Place::Trash;
            ("the mark renames ready/ to trash/", At(2))
        }
        (1, _) => ("the mark does not find it in ready/ either", At(2)),
        _ => {
            world.place.sync();
            ("the mark syncs the parents", Done)
        }
    }
}

fn sweep(world: &mut World, flaw: Flaw, stage: u8) -> (&'static str, Then) {
    let not_moved = matches!(world.place.seen, Place::Building | Place::Ready);
    let in_trash = world.place.seen == Place::Trash;
    match stage {
        1 if not_moved && flaw != Flaw::NoRenameRetry => {
            world.place.seen = Place::Trash;
            ("the reaper renames to trash/ what the mark could not", At(1))
        }
        1 => {
            if in_trash {
                world.unlink_parts();
                world.job_json.seen = None;
            }
            ("the reaper unlinks what it finds in trash/", At(2))
        }
        2 if in_trash && world.has_names() => ("the reaper's rmdir finds a new name", At(1)),
        2 => {
            if in_trash {
                world.place.seen = Place::Gone;
            }
            let unsynced = flaw == Flaw::SweepWithoutSync;
            ("the reaper removes the directory", if unsynced { Tell(Event::Swept(erasure())) } else { At(3) })
        }
        _ => {
            world.sync_names();
            world.place.sync();
            ("the reaper syncs trash/", Tell(Event::Swept(erasure())))
        }
    }
}

fn sweep_partials(world: &mut World, stage: u8) -> (&'static str, Then) {
    if stage > 0 {
        world.sync_names();
        return ("the failed export's directory is synced", Done);
    }
    world.unlink_parts();
    ("the files of the failed export are unlinked", At(1))
}
