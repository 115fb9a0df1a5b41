//! One download, from its ticket to its last chunk. It registers and looks at the state under one
//! lock, then opens its file: so it either is waited for or sees that the job is deleted (P4). What a mark
//! cuts has its grace; an expiry lets readers finish (P8).

use evanesce::job::{MarkReason, StateName};

use super::flaws::Flaw;
use super::process::*;
use super::search::Next;
use super::steps::with;
use super::world::*;

/// Chunks of a file.
pub const CHUNKS: u8 = 2;

/// What the server does by itself, and what a client does that reads on while its job expires.
pub fn own_steps(world: &World, process: &Process, flaw: Flaw) -> Vec<Next<World>> {
    let to = |words, download| with(words, world, |_, process| process.download = download);
    let viewed = process.view.map(|record| record.name);
    match process.download {
        Download::Checked => vec![match world.place.seen {
            Place::Ready if flaw == Flaw::RegisterLast => {
                to("the download opens its file", Download::Unregistered)
            }
            Place::Ready => to("the download opens its file", Download::Open(0)),
            Place::Building if world.partial => to("the download opens its file", Download::Open(0)),
            _ if flaw == Flaw::MissingIsAFault => to("the download answers 500", Download::Got500),
            _ => to("the download does not find its file: it waits for the view", Download::Missing),
        }],
        Download::Unregistered => vec![to("the download registers at last", Download::Open(0))],
        Download::Missing if viewed != Some(StateName::Complete) => {
            vec![to("the download answers 404", Download::Got404)]
        }
        Download::Missing if world.vandalized => {
            vec![to("the download has waited long enough: 500", Download::Got500)]
        }
        Download::Cutting(read) if flaw == Flaw::CutLooksWhole => {
            vec![to("the transfer ends", Download::Whole(read))]
        }
        Download::Cutting(_) => vec![to("the cut download lets go of its file", Download::Cut)],
        Download::Open(_) | Download::Slow(_) => {
            let expired = is_expired(process);
            let waits = process.is_doing(|doing| matches!(doing.work, Work::AwaitDownloads(_)));
            let mut steps = Vec::new();
            if expired {
                steps.extend(read(world, process));
            }
            let patient = expired && matches!(process.download, Download::Open(_));
            if waits && (!patient || flaw == Flaw::ExpiryCutsAtOnce) {
                steps.extend(cut(world, process));
            }
            steps
        }
        _ => Vec::new(),
    }
}

/// What clients do.
pub fn outside_steps(world: &World, process: &Process) -> Vec<Next<World>> {
    let to = |words, download| with(words, world, |_, process| process.download = download);
    match process.download {
        Download::NotYet if world.view() == Some(StateName::Complete) => {
            vec![to("a download registers: the job is complete", Download::Checked)]
        }
        Download::NotYet if world.partial && world.view() == Some(StateName::Running) => {
            let is_recorded = |part: &Part| part.sealed.now.synced && !part.is_recording;
            let recorded = world.parts.iter().any(is_recorded);
            recorded
                .then(|| to("a download registers: the part is sealed", Download::Checked))
                .into_iter()
                .collect()
        }
        Download::NotYet if process.view.is_some() => vec![to("a download answers 404", Download::Got404)],
        Download::Open(read_so_far) => {
            let mut steps = vec![to("the reading client goes away", Download::Left)];
            if !is_expired(process) {
                steps.extend(read(world, process));
            }
            if world.luck.slow_clients > 0 {
                steps.push(with(
                    "the client reads no further for longer than any grace",
                    world,
                    |next, process| {
                        next.luck.slow_clients -= 1;
                        process.download = Download::Slow(read_so_far);
                    },
                ));
            }
            steps
        }
        _ => Vec::new(),
    }
}

fn is_expired(process: &Process) -> bool {
    process
        .memory()
        .is_some_and(|record| record.reason == Some(MarkReason::Expired) || record.name == StateName::Failed)
}

fn read(world: &World, process: &Process) -> Option<Next<World>> {
    let Download::Open(read) = process.download else { return None };
    let download = if read + 1 == CHUNKS { Download::Whole(CHUNKS) } else { Download::Open(read + 1) };
    Some(with("the client reads a chunk", world, |_, process| process.download = download))
}

fn cut(world: &World, process: &Process) -> Option<Next<World>> {
    let (Download::Open(read) | Download::Slow(read)) = process.download else { return None };
    let words = "the grace is over: the download is cut";
    Some(with(words, world, |_, process| process.download = Download::Cutting(read)))
}
