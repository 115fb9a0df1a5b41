//! The writers of the pool.

use evanesce::job::life::Input;
use evanesce::job::{FailureReason, SealedPart};

use super::actor::feed;
use super::flaws::Flaw;
use super::process::*;
use super::search::Next;
use super::world::*;

/// What each writer in the pool may do next, and what it may do if it likes: one whose job is
/// cancelled may go on as long as it likes, until it is fenced.
pub fn writers(world: &World, process: &Process, flaw: Flaw) -> (Vec<Next<World>>, Vec<Next<World>>) {
    let (mut own, mut slow) = (Vec::new(), Vec::new());
    for (index, part) in world.parts.iter().enumerate() {
        let step = match part.writer {
            Writer::Out => continue,
            Writer::Queued => to(world, index, "a writer takes a handle of the directory", Writer::Holding),
            // A name in a directory that was removed is ENOENT, and nobody makes the directory again (P3).
            Writer::Holding if !world.has_directory() => leaves(world, flaw, index, "a late writer fails"),
            Writer::Holding => {
                let (words, mut next) = to(world, index, "a writer makes its file", Writer::Writing);
                next.parts[index].file.seen = true;
                (words, next)
            }
            Writer::Writing => seals(world, flaw, index),
            Writer::Stuck => {
                own.push(to(world, index, "the system call returns: its writer goes on", Writer::Writing));
                continue;
            }
            Writer::Abandoned => {
                own.push(leaves(world, flaw, index, "the system call returns: its writer leaves"));
                continue;
            }
        };
        if process.stopped {
            slow.push(step);
            slow.push(leaves(world, flaw, index, "a writer stops"));
        } else {
            own.push(step);
        }
        if part.writer == Writer::Writing && world.luck.stuck_writers > 0 {
            let words = "a writer is caught inside a system call";
            let (words, mut next) = to(world, index, words, Writer::Stuck);
            next.luck.stuck_writers -= 1;
            slow.push((words, next));
        }
    }
    (own, slow)
}

/// The deadline of the writers is over.
pub fn deadline(world: &World, process: &Process, flaw: Flaw) -> Option<Next<World>> {
    let (of, _) = process.fence?;
    let mut next = world.clone();
    next.running().fence = None;
    feed(&mut next, flaw, Input::FenceDue { of });
    Some(("the deadline of the writers is over", next))
}

fn to(world: &World, index: usize, words: &'static str, writer: Writer) -> Next<World> {
    let mut next = world.clone();
    next.parts[index].writer = writer;
    (words, next)
}

fn seals(world: &World, flaw: Flaw, index: usize) -> Next<World> {
    let words = "a writer syncs its file, and its part is sealed";
    let (words, mut next) = to(world, index, words, Writer::Out);
    if flaw != Flaw::SealBeforeSync {
        next.sync_names();
    }
    let index = u32::try_from(index).expect("there are two parts");
    let part = SealedPart { index, files: Vec::new(), broken_lines: 0 };
    feed(&mut next, flaw, Input::PartDone(Ok(part)));
    (words, next)
}

fn leaves(world: &World, flaw: Flaw, index: usize, words: &'static str) -> Next<World> {
    let (words, mut next) = to(world, index, words, Writer::Out);
    feed(&mut next, flaw, Input::PartDone(Err(None)));
    (words, next)
}

/// A part fails.
pub fn part_fails(world: &World, flaw: Flaw) -> Option<Next<World>> {
    let index = world.parts.iter().position(|part| part.writer == Writer::Writing)?;
    let (words, mut next) = to(world, index, "a part fails", Writer::Out);
    next.luck.failing_exports = next.luck.failing_exports.checked_sub(1)?;
    feed(&mut next, flaw, Input::PartDone(Err(Some(FailureReason::ExporterFailed))));
    Some((words, next))
}
