//! Plain breadth-first search over every state of a model: no sampling, no seed. The first
//! broken promise found is therefore reached by a shortest way, and that way is told in words.
//! It knows nothing of jobs; `world.rs` does.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::fmt::{self, Display};
use std::hash::{BuildHasher, Hash};

use rustc_hash::FxBuildHasher;

/// One thing that can happen, in words, and the state after it.
pub type Next<W> = (&'static str, W);

/// A system to be searched.
pub trait Model {
    /// A whole state of the system; two equal ones are one.
    type World: Clone + Eq + Hash + Display;
    /// What may be broken.
    type Promise: Copy + Display;

    /// Where it begins.
    fn start(&self) -> Self::World;

    /// What the system does by itself, sooner or later.
    fn own_steps(&self, world: &Self::World) -> Vec<Next<Self::World>>;

    /// What others do to it, or never do: clients, clocks, faults, crashes.
    fn outside_steps(&self, world: &Self::World) -> Vec<Next<Self::World>>;

    /// The promise that `world` breaks. `at_rest`: the system has nothing left to do.
    fn broken(&self, world: &Self::World, at_rest: bool) -> Option<Self::Promise>;

    /// The promise broken by a state from which the system never comes to rest by itself.
    fn restless(&self) -> Self::Promise;
}

/// What a search saw, and a shortest way to a broken promise if there is one.
pub struct Report<P> {
    pub states: usize,
    pub transitions: usize,
    /// Steps on the longest of the shortest ways to a state.
    pub depth: usize,
    pub counterexample: Option<Counterexample<P>>,
}

pub struct Counterexample<P> {
    pub promise: P,
    trace: String,
}

impl<P: Display> Display for Counterexample<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}   => broken: {}", self.trace, self.promise)
    }
}

/// A state reached, and how: the tree of shortest ways.
struct Reached<W> {
    world: W,
    from: usize,
    by: &'static str,
    depth: usize,
}

/// Where each world stands in `reached`, by its fingerprint; two worlds with one fingerprint have
/// neighbouring places. So a world is kept once, and none is ever taken for another.
#[derive(Default)]
struct Index(HashMap<u64, usize>);

impl Index {
    /// The place of `world`; the next free one if it was not reached before.
    fn find_or_insert<W: Eq + Hash>(&mut self, world: &W, reached: &[Reached<W>]) -> usize {
        let mut fingerprint = FxBuildHasher.hash_one(world);
        loop {
            match self.0.entry(fingerprint) {
                Entry::Vacant(vacant) => return *vacant.insert(reached.len()),
                Entry::Occupied(found) if reached[*found.get()].world == *world => return *found.get(),
                Entry::Occupied(_) => fingerprint = fingerprint.wrapping_add(1),
            }
        }
    }
}

/// Searches every state that can be reached, until a promise is broken.
pub fn search<M: Model>(model: &M) -> Report<M::Promise> {
    let start = model.start();
    let mut reached = vec![Reached { world: start.clone(), from: 0, by: "a job is accepted", depth: 0 }];
    let mut index = Index::default();
    index.find_or_insert(&start, &reached[..0]);
    // The system's own steps only: to be live it must not depend on a crash or a client.
    let mut own_edges = Vec::new();
    let mut resting = vec![false];
    let mut transitions = 0;
    let mut next = 0;

    while next < reached.len() {
        let Reached { ref world, depth, .. } = reached[next];
        let world = world.clone();
        let own = model.own_steps(&world);
        resting[next] = own.is_empty();
        if let Some(promise) = model.broken(&world, resting[next]) {
            let counterexample = Some(Counterexample { promise, trace: trace(&reached, next) });
            return Report { states: reached.len(), transitions, depth, counterexample };
        }
        let own_count = own.len();
        for (position, (by, after)) in own.into_iter().chain(model.outside_steps(&world)).enumerate() {
            transitions += 1;
            let to = index.find_or_insert(&after, &reached);
            if to == reached.len() {
                reached.push(Reached { world: after, from: next, by, depth: depth + 1 });
                resting.push(false);
            }
            if position < own_count {
                own_edges.push((next as u32, to as u32));
            }
        }
        next += 1;
    }

    let restless = first_restless(resting, &own_edges);
    Report {
        states: reached.len(),
        transitions,
        depth: reached[reached.len() - 1].depth,
        counterexample: restless
            .map(|at| Counterexample { promise: model.restless(), trace: trace(&reached, at) }),
    }
}

/// The first state from which no chain of own steps leads to one at rest.
fn first_restless(mut can_rest: Vec<bool>, own_edges: &[(u32, u32)]) -> Option<usize> {
    // Edges are in the order of discovery; backwards, a few passes reach the fixed point.
    let mut changed = true;
    while changed {
        changed = false;
        for &(from, to) in own_edges.iter().rev() {
            if can_rest[to as usize] && !can_rest[from as usize] {
                can_rest[from as usize] = true;
                changed = true;
            }
        }
    }
    can_rest.iter().position(|can| !can)
}

fn trace<W: Display>(reached: &[Reached<W>], mut at: usize) -> String {
    let mut way = VecDeque::from([at]);
    while at != 0 {
        at = reached[at].from;
        way.push_front(at);
    }
    let line = |(number, &at): (usize, &usize)| {
        let Reached { by, world, .. } = &reached[at];
        format!("{number:4}. {by}\n         {world}\n")
    };
    way.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from 0: each step adds 1 or 2; 7 has no way on, or one to itself.
    struct Counting {
        unlucky: u8,
        rests_at_7: bool,
    }

    impl Model for Counting {
        type World = u8;
        type Promise = &'static str;

        fn start(&self) -> u8 {
            0
        }

        fn own_steps(&self, world: &u8) -> Vec<Next<u8>> {
            match world {
                7 if self.rests_at_7 => vec![],
                7 => vec![("stay", 7)],
                _ => vec![("add one", world + 1)],
            }
        }

        fn outside_steps(&self, world: &u8) -> Vec<Next<u8>> {
            if *world < 6 { vec![("add two", world + 2)] } else { vec![] }
        }

        fn broken(&self, world: &u8, _at_rest: bool) -> Option<&'static str> {
            (*world == self.unlucky).then_some("unlucky")
        }

        fn restless(&self) -> &'static str {
            "never rests"
        }
    }

    #[test]
    fn a_shortest_way_is_told_step_by_step() {
        let report = search(&Counting { unlucky: 4, rests_at_7: true });
        let trace = report.counterexample.expect("4 can be reached").to_string();
        assert_eq!(trace.matches("add two").count(), 2, "{trace}");
        assert!(!trace.contains("add one") && trace.ends_with("=> broken: unlucky"), "{trace}");
    }

    #[test]
    fn every_state_is_seen_once_and_rest_is_reached() {
        let report = search(&Counting { unlucky: 99, rests_at_7: true });
        assert_eq!((report.states, report.transitions, report.depth), (8, 13, 4));
        assert!(report.counterexample.is_none());
    }

    #[test]
    fn a_system_that_never_rests_is_found() {
        let report = search(&Counting { unlucky: 99, rests_at_7: false });
        assert_eq!(report.counterexample.map(|found| found.promise), Some("never rests"));
    }
}
