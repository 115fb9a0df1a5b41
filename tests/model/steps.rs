//! All that can happen next: the job's actor, the store, the pool's writers, the downloader, the
//! reaper and a restart by themselves; clients, the clock, faults and crashes from outside.

use evanesce::job::{Effect, Event, StateName};

use super::actor::{SWEEP_AGAIN, deliver, deliver_to, perform, perform_leftover, store_syncs};
use super::flaws::Flaw;
use super::promises::Promise;
use super::record::{Record, failure, mark, sweep_failure};
use super::restart::{crashes, restart, restart_without_tail};
use super::search::{Model, Next};
use super::world::*;

/// The life of one job, with at most one flaw in it.
pub struct JobLife {
    pub flaw: Flaw,
    /// What to look for; the first promise broken on the way may not be the one that shows the harm.
    pub promises: &'static [Promise],
}

impl Model for JobLife {
    type World = World;
    type Promise = Promise;

    /// The kick-off was answered: a durable record and an empty directory.
    fn start(&self) -> World {
        let part = Part { writer: Writer::Out, sealed: false, file_seen: false, file_synced: false };
        World {
            store: Cached::durable(Record::new(StateName::Queued)),
            before: Record::new(StateName::Queued),
            place: Cached::durable(Place::Building),
            parts: [part; 2],
            job_json: Cached::durable(None),
            receipts: 0,
            process: Some(Process {
                memory: Record::new(StateName::Queued),
                view: StateName::Queued,
                chain: Chain::NONE,
                leftover: Chain::NONE,
                stopped: false,
                download: Download::NotYet,
            }),
            answers: [Answer::Unsent; 2],
            shown: StateName::Queued,
            tail_lost: false,
            luck: Luck { crashes: 2, lost_tails: 1, failing_exports: 1, failing_sweeps: 2 },
        }
    }

    fn own_steps(&self, world: &World) -> Vec<Next<World>> {
        let flaw = self.flaw;
        let mut steps = Vec::from_iter(restart(world, flaw));
        let Some(process) = world.process else {
            return steps;
        };
        steps.extend(perform(world, flaw));
        steps.extend(perform_leftover(world, flaw));
        steps.extend(store_syncs(world));
        steps.extend(next_event(world, &process, flaw));
        writers(world, &process, &mut steps);
        if process.download == Download::Open {
            steps.push(with("the download ends, or is cut", world, |_, process| {
                process.download = Download::Done
            }));
        }
        if process.view.is_deleted() && world.answers.contains(&Answer::Refused) {
            let mut next = *world;
            next.answer(Answer::Refused, Answer::Got404);
            steps.push(("the refused DELETE gets 404", next));
        }
        canonical(steps)
    }

    fn outside_steps(&self, world: &World) -> Vec<Next<World>> {
        let flaw = self.flaw;
        let mut steps = Vec::from_iter(restart_without_tail(world, flaw));
        let Some(process) = world.process else {
            return canonical(steps);
        };
        steps.extend(crashes(world));
        steps.extend(delete(world, &process, flaw));
        if world.answers[0] == Answer::Accepted {
            let again = Event::Mark(mark(1));
            steps.push(told("the first DELETE's message is sent again", world, flaw, again));
        }
        if matches!(process.memory.name, StateName::Complete | StateName::Failed) {
            steps.push(told("the time to live is over", world, flaw, Event::Mark(mark(0))));
        }
        if process.view == StateName::Complete && process.download == Download::NotYet {
            steps.push(with("a download opens", world, |_, process| process.download = Download::Open));
        }
        failures(world, &process, flaw, &mut steps);
        canonical(steps)
    }

    fn broken(&self, world: &World, at_rest: bool) -> Option<Promise> {
        self.promises.iter().copied().find(|promise| !promise.holds(world, at_rest))
    }

    fn restless(&self) -> Promise {
        Promise::NothingForgotten
    }
}

/// What the system tells the actor when its last event is dealt with.
fn next_event(world: &World, process: &Process, flaw: Flaw) -> Option<Next<World>> {
    if process.chain != Chain::NONE {
        return None;
    }
    let all_sealed = world.parts.iter().all(|part| part.sealed);
    match process.memory.name {
        StateName::Queued => {
            let event = Event::Start { transaction_time: jiff::Timestamp::UNIX_EPOCH };
            Some(told("the plan is on disk", world, flaw, event))
        }
        StateName::Running if all_sealed => {
            Some(told("every part is sealed", world, flaw, Event::PartsSealed))
        }
        StateName::Marked if flaw != Flaw::ForgetFailedSweep => {
            Some(with("the reaper comes again after its back-off", world, |_, process| {
                process.chain = Chain::new(StateName::Marked, SWEEP_AGAIN);
            }))
        }
        _ => None,
    }
}

/// What each writer in the pool may do next. A cancelled one may stop at once or write on for a
/// while; to be fenced is to stop.
fn writers(world: &World, process: &Process, steps: &mut Vec<Next<World>>) {
    for (index, part) in world.parts.iter().enumerate() {
        let mut change = |words, change: &dyn Fn(&mut World, &mut Part)| {
            let (mut next, mut part) = (*world, *part);
            change(&mut next, &mut part);
            next.parts[index] = part;
            steps.push((words, next));
        };
        match part.writer {
            Writer::Out => {}
            Writer::Queued => change("a writer takes a handle of the directory", &|_, part| {
                part.writer = Writer::Holding;
            }),
            // A name in a directory that was removed is ENOENT, and nobody makes the directory again (P3).
            Writer::Holding if world.place.seen == Place::Gone => {
                change("a late writer fails", &|_, part| {
                    part.writer = Writer::Out;
                })
            }
            Writer::Holding => change("a writer makes its file", &|_, part| {
                part.writer = Writer::Writing;
                part.file_seen = true;
            }),
            Writer::Writing => change("a writer syncs its file, and its part is recorded", &|next, part| {
                next.sync_names();
                part.file_synced = part.file_seen;
                part.sealed = true;
                part.writer = Writer::Out;
            }),
        }
        if process.stopped && matches!(part.writer, Writer::Holding | Writer::Writing) {
            change("a writer stops, or is fenced", &|_, part| part.writer = Writer::Out);
        }
    }
}

/// The client's next DELETE. The second is another request, whatever became of the first.
fn delete(world: &World, process: &Process, flaw: Flaw) -> Option<Next<World>> {
    let index = world.answers.iter().position(|answer| *answer == Answer::Unsent)?;
    let mut next = *world;
    let known = if flaw == Flaw::RereadStateAfterAwait { world.store.synced } else { process.memory };
    next.answers[index] = match deliver_to(known, &mut next, flaw, Event::Mark(mark(index as u8 + 1))) {
        Ok(()) => Answer::Accepted,
        Err(_) if flaw == Flaw::RefuseBeforeDurable => {
            next.shown = next.shown.max(StateName::Marked);
            Answer::Got404
        }
        // Only a view that says deleted can be relied on (P2).
        Err(_) => Answer::Refused,
    };
    let words = if index == 0 { "a client sends DELETE" } else { "a client sends another DELETE" };
    Some((words, next))
}

/// What may fail without a crash.
fn failures(world: &World, process: &Process, flaw: Flaw, steps: &mut Vec<Next<World>>) {
    let Chain { of, stage, .. } = process.chain;
    let head = process.chain.head();
    if world.luck.failing_exports > 0 {
        let mut unlucky = *world;
        unlucky.luck.failing_exports -= 1;
        if let Some(part) = unlucky.parts.iter_mut().find(|part| part.writer == Writer::Writing) {
            part.writer = Writer::Out;
            steps.push(told("a part fails", &unlucky, flaw, Event::Fail(failure())));
        } else if (head, stage, of) == (Some(Effect::MoveToReady), 0, StateName::Finishing) {
            let failed =
                with("the rename to ready/ fails", &unlucky, |_, process| process.chain = Chain::NONE);
            steps.push(told(failed.0, &failed.1, flaw, Event::Fail(failure())));
        }
    }
    if world.luck.failing_sweeps > 0 && (head, stage) == (Some(Effect::Sweep), 0) {
        let failed = with("the sweep fails", world, |next, process| {
            next.luck.failing_sweeps -= 1;
            process.chain = Chain::NONE;
        });
        let event = Event::SweepFailed(sweep_failure(process.memory.failed_sweeps + 1));
        steps.push(told(failed.0, &failed.1, flaw, event));
    }
}

/// The world after news for the actor, which may be too late for it.
fn told(words: &'static str, world: &World, flaw: Flaw, event: Event) -> Next<World> {
    let mut next = *world;
    let _ = deliver(&mut next, flaw, event);
    (words, next)
}

fn with(words: &'static str, world: &World, change: impl Fn(&mut World, &mut Process)) -> Next<World> {
    let mut next = *world;
    let mut process = world.process.expect("a step of a running process");
    change(&mut next, &mut process);
    next.process = Some(process);
    (words, next)
}

/// The two parts are alike: worlds that differ only in which is which are one.
fn canonical(mut steps: Vec<Next<World>>) -> Vec<Next<World>> {
    for (_, world) in &mut steps {
        world.parts.sort();
    }
    steps
}
