//! All that can happen next: the job's actor, the store, the pool's writers, the downloader, the
//! reaper and a restart by themselves; clients, the clock, faults and crashes from outside.

use evanesce::erase::order::CommitStep;
use evanesce::job::StateName;
use evanesce::job::life::{End, FencePatience, Input};

use super::actor::{delete, feed, new_life};
use super::flaws::{Flaw, full_disk_order};
use super::process::*;
use super::promises::Promise;
use super::restart::{crashes, restart, unlucky_restarts};
use super::scopes::Scope;
use super::search::{Model, Next};
use super::tasks::{NOT_THERE, Then, go_on};
use super::world::*;
use super::{downloads, export, reaper, tasks};

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
        let Some(process) = &world.process else {
            return canonical(steps);
        };
        steps.extend(tasks::steps(world, flaw));
        steps.extend(tasks::store_syncs(world, flaw));
        steps.extend(tasks::audit_syncs(world));
        steps.extend(let_go(world, process));
        steps.extend(export::writers(world, process, flaw).0);
        steps.extend(export::deadline(world, process, flaw));
        steps.extend(downloads::own_steps(world, process, flaw));
        steps.extend(reaper::expiry(world, process, flaw));
        steps.extend(reaper::orders_are_answered(world, process, flaw));
        if self.scope.scans {
            steps.extend(reaper::scan(world, process, false));
            steps.extend(reaper::go_on(world, process, flaw));
        }
        canonical(steps)
    }

    fn outside_steps(&self, world: &World) -> Vec<Next<World>> {
        let (scope, flaw) = (&self.scope, self.flaw);
        let Some(process) = &world.process else {
            return canonical(unlucky_restarts(world, flaw));
        };
        let mut steps = crashes(world);
        steps.extend(clients(world, scope, flaw));
        steps.extend(export::writers(world, process, flaw).1);
        steps.extend(let_go_too_early(world, process, flaw));
        steps.extend(reaper::orders(world, process, flaw));
        if scope.downloads {
            steps.extend(downloads::outside_steps(world, process));
        }
        if scope.scans {
            steps.extend(reaper::scan(world, process, true));
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
        failures(world, process, flaw, &mut steps);
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
        let mut next = world.clone();
        delete(&mut next, flaw, index);
        (words, next)
    };
    let mut steps = Vec::new();
    match world.kickoff {
        Kickoff::Unsent => {
            let mut next = world.clone();
            next.kickoff = Kickoff::Making;
            next.running().life = Some(SharedLife::new(new_life()));
            feed(&mut next, flaw, Input::Submitted);
            steps.push(("a client kicks off", next));
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
fn let_go(world: &World, process: &Process) -> Option<Next<World>> {
    let is_idle = process.life.as_ref()?.get().is_idle();
    is_idle.then(|| with("the actor is let go of", world, |_, process| process.life = None))
}

/// The flaw: of one whose record is being committed.
fn let_go_too_early(world: &World, process: &Process, flaw: Flaw) -> Option<Next<World>> {
    let commits = |doing: &Doing| matches!(doing.work, Work::Commit(_));
    let too_early = flaw == Flaw::RetireWhileCommitting && process.is_doing(commits);
    too_early.then(|| {
        with("the actor is let go of too early", world, |_, process| {
            process.life = None;
            // Nobody hears of the end.
            process.doing.iter_mut().for_each(|doing| doing.is_told = true);
        })
    })
}

/// What may fail without a crash.
fn failures(world: &World, process: &Process, flaw: Flaw, steps: &mut Vec<Next<World>>) {
    let luck = world.luck;
    let mut fails = |words, index, then, change: &dyn Fn(&mut World)| {
        let mut next = world.clone();
        change(&mut next);
        go_on(&mut next, flaw, index, then);
        steps.push((words, next));
    };
    for (index, doing) in process.doing.iter().enumerate() {
        match (doing.work, doing.stage) {
            (Work::Create, 1) if luck.failing_kickoffs > 0 => {
                let then = Then::Ended(End::Created(Err(())));
                fails("the kick-off fails, and its directory stays", index, then, &|next| {
                    next.luck.failing_kickoffs -= 1;
                    next.place.sync();
                });
            }
            (Work::MoveToReady, 0) if luck.failing_exports > 0 => {
                let then = Then::Ended(End::MovedToReady(Err(NOT_THERE)));
                fails("the rename to ready/ fails", index, then, &|next| next.luck.failing_exports -= 1);
            }
            (Work::Commit(_), 0) if luck.full_disks > 0 && doing.is_untouched_mark() => {
                fails("there is no room to record the mark", index, Then::At(0), &|next| {
                    next.luck.full_disks -= 1;
                    next.disk_was_full = true;
                    next.running().doing[index].before = full_disk_order(flaw);
                });
            }
            (Work::Commit(_), 0 | 1)
                if luck.failing_moves > 0 && doing.next_step() == Some(CommitStep::MoveToTrash) =>
            {
                fails("the rename to trash/ fails", index, Then::StepDone, &|next| {
                    next.luck.failing_moves -= 1;
                    next.running().doing[index].not_moved = true;
                });
            }
            (Work::Sweep, 1) if luck.failing_sweeps > 0 => {
                let then = Then::Swept(Some("unlinkat: EIO"));
                fails("the sweep fails", index, then, &|next| next.luck.failing_sweeps -= 1);
            }
            _ => {}
        }
    }
    steps.extend(export::part_fails(world, flaw));
    if luck.vandals > 0 && world.place == Cached::durable(Place::Ready) {
        let complete = process.view.is_some_and(|view| view.name == StateName::Complete);
        steps.extend(complete.then(|| {
            with("somebody removes the directory", world, |next, _| {
                next.luck.vandals -= 1;
                next.vandalized = true;
                next.unlink_all();
                next.sync_names();
                next.place = Cached::durable(Place::Gone);
            })
        }));
    }
}

pub fn with(words: &'static str, world: &World, change: impl Fn(&mut World, &mut Process)) -> Next<World> {
    let mut next = world.clone();
    let mut process = next.process.take().expect("a step of a running process");
    change(&mut next, &mut process);
    next.process = Some(process);
    (words, next)
}

/// The two parts are alike: worlds that differ only in which is which are one. So are those that
/// differ only in a deadline that nobody is left to miss.
fn canonical(mut steps: Vec<Next<World>>) -> Vec<Next<World>> {
    for (_, world) in &mut steps {
        world.parts.sort();
        if world.writers_out()
            && let Some(process) = &mut world.process
        {
            process.fence = process.fence.filter(|(_, patience)| *patience == FencePatience::AskAgain);
        }
    }
    steps
}
