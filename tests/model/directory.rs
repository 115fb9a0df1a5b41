//! What touches the job's directory, system call by system call. A rename is seen at once and
//! durable by the parents' fsync; names likewise, by the directory's own.

use evanesce::job::life::{End, SweepEnd};
use evanesce::job::{FailureReason, StateName, SweepCounts};

use super::actor::job;
use super::flaws::Flaw;
use super::record::completion;
use super::tasks::Then::{self, At, Ended, StepDone};
use super::tasks::{NOT_THERE, PLAN, moved_to_ready, refused};
use super::world::*;

/// Sealed parts are kept, partial files removed, and the plan is not made again.
pub fn read_documents(world: &mut World, flaw: Flaw, stage: u8) -> (&'static str, Then) {
    // Later it goes through a handle, wherever the directory is by then.
    if stage == 0 && world.place.seen != Place::Building {
        let lost = End::DocumentsRead(Err(FailureReason::DirectoryLost));
        return ("the export that was interrupted is not there any more", Ended(lost));
    }
    if flaw == Flaw::PlanAgain {
        world.plan.seen = 2;
    }
    let is_stale = world.parts.iter().any(|part| part.stale.seen);
    if stage == 0 && is_stale && flaw != Flaw::KeepPartialFiles {
        if world.running().book.grant(job()).is_ok() || flaw == Flaw::RemoveHeldAttempts {
            return ("there is a warrant for files of an attempt that was not recorded", At(1));
        }
        world.kept_stale = true;
    }
    if stage == 1 {
        world.remove_stale_files();
        world.running().book.give_back(job(), false);
    }
    let plan = (world.plan.seen > 0).then_some(PLAN);
    ("partial files are removed, the plan is read if there is one", Ended(End::DocumentsRead(Ok(plan))))
}

pub fn write_job_json(world: &mut World, of: StateName, stage: u8) -> (&'static str, Then) {
    if stage > 0 {
        world.sync_names();
        let sums = (of == StateName::Finishing).then(completion);
        return ("job.json is synced", Ended(End::JobJsonWritten { of, written: Ok(sums) }));
    }
    // Through a handle: in a directory that was removed this is ENOENT.
    if !world.has_directory() {
        let end = End::JobJsonWritten { of, written: Err(NOT_THERE) };
        return ("job.json has nowhere to go", Ended(end));
    }
    let failed = of == StateName::Failed;
    world.job_json.seen = Some(if failed { StateName::Failed } else { StateName::Complete });
    ("job.json is written", At(1))
}

pub fn move_to_ready(world: &mut World, flaw: Flaw, stage: u8) -> Option<(&'static str, Then)> {
    Some(match (stage, world.place.seen) {
        // The flaw: the record says Complete before.
        (0, _) if flaw == Flaw::CompleteBeforeRename && world.view() < Some(StateName::Complete) => {
            return None;
        }
        (0, Place::Building) => {
            world.place.seen = Place::Ready;
            ("the finisher renames building/ to ready/", At(1))
        }
        (0, _) => {
            let end = End::MovedToReady(Err(NOT_THERE));
            ("the finisher does not find the directory any more", Ended(end))
        }
        _ => {
            world.place.sync();
            ("the finisher syncs the parents", Ended(moved_to_ready()))
        }
    })
}

/// Building first: the finisher may move the directory between the two, but only forwards.
pub fn move_to_trash(world: &mut World, flaw: Flaw, stage: u8) -> (&'static str, Then) {
    match (stage, world.place.seen) {
        (0, Place::Building | Place::Ready) if world.is_immovable => {
            world.stand_in.seen = flaw != Flaw::NoNameInTrash;
            ("the directory cannot be moved: an empty one of its name in trash/ says the same", At(2))
        }
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
            world.sync_places();
            ("the mark syncs the parents", StepDone)
        }
    }
}

/// The reaper's sweep of what cannot be moved. The name in `trash/` says that it may go, and goes
/// last.
fn sweep_in_place(world: &mut World, flaw: Flaw, stage: u8) -> (&'static str, Then) {
    let is_first = flaw == Flaw::NameGoesFirst;
    match stage {
        1 if !world.stand_in.seen && world.has_directory() && flaw != Flaw::NoNameInTrash => {
            world.stand_in.seen = true;
            ("the reaper makes a name in trash/ for what cannot be moved", At(2))
        }
        1 | 2 => {
            world.stand_in.sync();
            ("trash/ is synced", At(if is_first { 6 } else { 3 }))
        }
        3 => {
            world.note_readers();
            world.unlink_all();
            ("the reaper unlinks what stands where it stood", At(4))
        }
        4 if world.has_names() => ("the reaper's rmdir finds a new name", At(3)),
        4 => {
            world.place.seen = Place::Gone;
            let skips = flaw == Flaw::EraseInPlaceWithoutSync;
            ("the reaper removes the directory where it stood", At(if skips { 6 } else { 5 }))
        }
        5 => {
            world.sync_names();
            world.place.sync();
            ("its parent is synced", if is_first { Then::Swept(None) } else { At(6) })
        }
        6 => {
            world.stand_in.seen = false;
            ("the reaper removes the name in trash/", At(7))
        }
        _ => {
            world.stand_in.sync();
            ("the reaper syncs trash/", if is_first { At(3) } else { Then::Swept(None) })
        }
    }
}

/// The stage at which a sweep begins, which has two for the key before all others. A name that goes first
/// does harm to a job without a key only: a key that is gone says the same at the next start.
pub fn first_stage(is_key_there: bool, flaw: Flaw) -> u8 {
    let has_key = is_key_there && !matches!(flaw, Flaw::KeepKey | Flaw::NameGoesFirst);
    if has_key { DESTROY_KEY } else { 1 }
}

const DESTROY_KEY: u8 = 10;

/// The reaper's sweep, which has its warrant.
pub fn sweep(world: &mut World, flaw: Flaw, stage: u8) -> (&'static str, Then) {
    if stage == DESTROY_KEY {
        world.destroy_key();
        let next = if flaw == Flaw::KeyWithoutSync { 1 } else { DESTROY_KEY + 1 };
        return ("the reaper overwrites the key", At(next));
    }
    if stage > DESTROY_KEY {
        world.key.sync();
        return ("the destruction of the key is synced", At(1));
    }
    if world.is_immovable {
        return sweep_in_place(world, flaw, stage);
    }
    let not_moved = matches!(world.place.seen, Place::Building | Place::Ready);
    let in_trash = world.place.seen == Place::Trash;
    match stage {
        1 if not_moved && flaw != Flaw::NoRenameRetry => {
            world.place.seen = Place::Trash;
            ("the reaper renames to trash/ what the mark could not", At(1))
        }
        1 => {
            if in_trash {
                world.note_readers();
                world.unlink_all();
            }
            ("the reaper unlinks what it finds in trash/", At(2))
        }
        2 if in_trash && world.has_names() => ("the reaper's rmdir finds a new name", At(1)),
        2 => {
            if in_trash {
                world.place.seen = Place::Gone;
            }
            let unsynced = flaw == Flaw::SweepWithoutSync;
            ("the reaper removes the directory", if unsynced { Then::Swept(None) } else { At(3) })
        }
        _ => {
            world.sync_names();
            world.place.sync();
            ("the reaper syncs trash/", Then::Swept(None))
        }
    }
}

/// What a failed export wrote goes, but `job.json`, which says so.
pub fn sweep_partials(world: &mut World, flaw: Flaw, stage: u8) -> (&'static str, Then) {
    match stage {
        0 if world.running().book.grant(job()).is_err() && flaw != Flaw::SweepHeldPartials => {
            ("the files of the failed export are held", Ended(refused()))
        }
        0 => ("there is a warrant for the files of the failed export", At(1)),
        1 => {
            if world.place.seen == Place::Building {
                world.note_readers();
                world.unlink_parts();
            }
            ("the files of the failed export are unlinked", At(2))
        }
        _ => {
            world.sync_names();
            world.running().book.give_back(job(), false);
            ("the failed export's directory is synced", Ended(End::PartialsSwept(SweepEnd::Done)))
        }
    }
}

/// The names of a stuck writer go before it has returned.
pub fn sweep_early(world: &mut World, flaw: Flaw, stage: u8) -> (&'static str, Then) {
    let ended = |refused| Ended(End::SweptEarly { swept: SweepCounts::default(), refused });
    match stage {
        0 if world.running().book.grant(job()).is_err() && flaw != Flaw::SweepHeldEarly => {
            ("the names of the stuck writer are held", ended(true))
        }
        0 => ("there is a warrant for the names of a stuck writer", At(1)),
        1 => {
            if flaw == Flaw::KeyGoesEarly {
                world.destroy_key();
                world.key.sync();
            }
            if world.place.seen == Place::Trash {
                world.unlink_all();
                world.place.seen = Place::Gone;
            }
            ("the names of the stuck writer are unlinked", At(2))
        }
        _ => {
            world.sync_names();
            world.place.sync();
            world.running().book.give_back(job(), true);
            ("trash/ is synced", ended(false))
        }
    }
}

/// For want of room the output of what stands in `trash/` goes before its mark is stored; the
/// documents stay, for the mark that is still to come.
pub fn give_room(world: &mut World, flaw: Flaw, stage: u8) -> (&'static str, Then) {
    let is_shown = world.place.seen == Place::Trash || flaw == Flaw::GiveRoomFirst;
    match stage {
        0 if !is_shown || world.running().book.grant(job()).is_err() => ("no room may be given", StepDone),
        0 => ("there is a warrant: the disk is full", At(1)),
        1 => {
            world.unlink_output();
            ("for want of room the output is unlinked", At(2))
        }
        _ => {
            world.sync_names();
            world.running().book.give_back(job(), true);
            ("room is given", StepDone)
        }
    }
}
