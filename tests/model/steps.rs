//! All that can happen next: the job's actor, the store, the pool's writers, the downloader, the
//! reaper and a restart by themselves; clients, the clock, faults and crashes from outside.

use evanesce::job::{Effect, Event, StateName};

use super::actor::{delete, deliver, perform, perform_leftover, store_syncs};
use super::flaws::Flaw;
use super::process::*;
use super::promises::Promise;
use super::record::{failure, sweep_failure};
use super::restart::{crashes, restart, unlucky_restarts};
use super::scopes::Scope;
use super::search::{Model, Next};
use super::world::*;
use super::{downloads, export, reaper};

/// The life of one job within a scope, with at most one flaw in it.
pub struct JobLife {
    pub scope: Scope,
    pub flaw: Flaw,
    /// What to look for; the first promise broken on the way may not be the one that shows the harm.
    pub promises: &'static [Promise],
}

impl Model for JobLife {
    type World = World;
    type Promise = Promise;

    fn start(&self) -> World {
        self.scope.start()
    }

    fn own_steps(&self, world: &World) -> Vec<Next<World>> {
        let flaw = self.flaw;
        let mut steps = Vec::from_iter(restart(world, flaw));
        let Some(process) = world.process else {
            return canonical(steps);
        };
        steps.extend(export::kickoff(world, flaw));
        steps.extend(perform(world, flaw));
        steps.extend(perform_leftover(world, flaw));
        steps.extend(store_syncs(world));
        steps.extend(export::go_on(world, &process, flaw));
        steps.extend(export::writers(world, &process, flaw).0);
        steps.extend(downloads::own_steps(world, &process, flaw));
        steps.extend(reaper::sweep_again(world, &process, flaw));
        steps.extend(reaper::expiry(world, &process, flaw));
        steps.extend(reaper::hold_is_durable(world));
        if self.scope.scans {
            steps.extend(reaper::scan(world, &process, false));
            steps.extend(reaper::go_on(world, &process, flaw));
        }
        canonical(steps)
    }

    fn outside_steps(&self, world: &World) -> Vec<Next<World>> {
        let (scope, flaw) = (&self.scope, self.flaw);
        let Some(process) = world.process else {
            return canonical(unlucky_restarts(world, flaw));
        };
        let mut steps = crashes(world);
        steps.extend(clients(world, scope, flaw));
        steps.extend(export::writers(world, &process, flaw).1);
        steps.extend(let_go(world, &process, flaw));
        steps.extend(reaper::order(world, &process, flaw));
        if scope.downloads {
            steps.extend(downloads::outside_steps(world, &process));
        }
        if scope.scans {
            steps.extend(reaper::scan(world, &process, true));
        }
        let finished = matches!(process.state(), Some(StateName::Complete | StateName::Failed));
        if scope.expiry && finished && !world.due {
            steps.push(with("its time to live is over", world, |next, _| next.due = true));
        }
        if world.luck.clock_jumps > 0 {
            steps.push(with("the clock jumps ahead", world, |next, process| {
                next.luck.clock_jumps -= 1;
                next.clock_ahead = true;
                process.guarded = true;
            }));
        }
        failures(world, &process, flaw, &mut steps);
        canonical(steps)
    }

    fn broken(&self, world: &World, at_rest: bool) -> Option<Promise> {
        self.promises.iter().copied().find(|promise| !promise.holds(world, at_rest))
    }

    fn restless(&self) -> Promise {
        Promise::NotStuck
    }
}

/// Kick-offs and DELETEs. The second DELETE is another request, whatever became of the first; the
/// first may be sent again, also to a process that knows of it from its record only.
fn clients(world: &World, scope: &Scope, flaw: Flaw) -> Vec<Next<World>> {
    let sent = |index: usize, words| {
        let mut next = *world;
        delete(&mut next, flaw, index);
        (words, next)
    };
    let mut steps = Vec::new();
    match world.kickoff {
        Kickoff::Unsent => {
            steps.push(with("a client kicks off", world, |next, _| next.kickoff = Kickoff::Making(0)));
        }
        Kickoff::Got202 => {
            let unsent = |index: usize| world.answers[index] == Answer::Unsent;
            if unsent(0) {
                steps.push(sent(0, "a client sends DELETE"));
            } else if unsent(1) && scope.deletes > 1 {
                steps.push(sent(1, "a client sends another DELETE"));
            }
            if !unsent(0) && unsent(2) && scope.resends {
                steps.push(sent(2, "the first DELETE is sent again"));
            }
        }
        _ => {}
    }
    steps
}

/// The orchestrator lets go of an actor that has nothing to do.
fn let_go(world: &World, process: &Process, flaw: Flaw) -> Option<Next<World>> {
    let name = process.memory?.name;
    let settled = matches!(name, StateName::Complete | StateName::Failed | StateName::Erased);
    let committing = process.chain.head() == Some(Effect::Commit) && flaw == Flaw::RetireWhileCommitting;
    (settled && !process.is_busy() || committing).then(|| {
        with("the actor is let go of", world, |_, process| {
            (process.memory, process.chain) = (None, Chain::NONE);
        })
    })
}

/// What may fail without a crash.
fn failures(world: &World, process: &Process, flaw: Flaw, steps: &mut Vec<Next<World>>) {
    let Chain { of, stage, .. } = process.chain;
    let head = process.chain.head();
    let luck = world.luck;
    if luck.failing_kickoffs > 0 && world.kickoff == Kickoff::Making(1) {
        steps.push(with("the kick-off fails, and its directory stays", world, |next, _| {
            next.luck.failing_kickoffs -= 1;
            next.place.sync();
            next.kickoff = Kickoff::Failed;
        }));
    }
    if luck.failing_exports > 0 {
        let mut unlucky = *world;
        unlucky.luck.failing_exports -= 1;
        if let Some(part) = unlucky.parts.iter_mut().find(|part| part.writer == Writer::Writing) {
            part.writer = Writer::Out;
            steps.push(told("a part fails", &unlucky, flaw, Event::Fail(failure())));
        } else if (head, stage, of) == (Some(Effect::MoveToReady), 0, StateName::Finishing) {
            unlucky.running().chain = Chain::NONE;
            steps.push(told("the rename to ready/ fails", &unlucky, flaw, Event::Fail(failure())));
        }
    }
    if luck.failing_moves > 0 && head == Some(Effect::MoveToTrash) && stage < 2 {
        steps.push(with("the rename to trash/ fails", world, |next, process| {
            next.luck.failing_moves -= 1;
            process.not_moved = true;
            process.chain = process.chain.advanced();
        }));
    }
    if luck.failing_sweeps > 0 && (head, stage) == (Some(Effect::Sweep), 1) {
        let (words, failed) = with("the sweep fails", world, |next, process| {
            next.luck.failing_sweeps -= 1;
            process.chain = Chain::NONE;
        });
        let attempts = process.memory.map_or(0, |record| record.failed_sweeps) + 1;
        steps.push(told(words, &failed, flaw, Event::SweepFailed(sweep_failure(attempts))));
    }
    if luck.vandals > 0 && world.place == Cached::durable(Place::Ready) {
        let complete = process.view.is_some_and(|view| view.name == StateName::Complete);
        steps.extend(complete.then(|| {
            with("somebody removes the directory", world, |next, _| {
                next.luck.vandals -= 1;
                next.vandalized = true;
                next.unlink_parts();
                next.job_json.seen = None;
                next.sync_names();
                next.place = Cached::durable(Place::Gone);
            })
        }));
    }
}

/// The world after news for the actor, which may be too late for it.
pub fn told(words: &'static str, world: &World, flaw: Flaw, event: Event) -> Next<World> {
    let mut next = *world;
    let _ = deliver(&mut next, flaw, event);
    (words, next)
}

pub fn with(words: &'static str, world: &World, change: impl Fn(&mut World, &mut Process)) -> Next<World> {
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
