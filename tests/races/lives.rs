//! Random orders of everything that can happen to the real [`Life`](evanesce::job::life::Life),
//! thousands of lives in a second. Around each stands a small world (`life_world.rs`) that looks at
//! every action with an oracle: it knows the promises, and nothing of how they are kept.
//!
//! `EVANESCE_LIVES=N` sets their number, `EVANESCE_SEED=S` the first seed; the others follow it. A
//! seed repeats its life exactly.

use std::time::Instant;

use evanesce::job::StateName;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::life_world::{LifeStep, LifeWorld};
use super::number;

/// Lives when their number is not given.
const LIVES: u64 = 4_000;

/// Steps in which others may interfere. Then the world comes to rest by itself.
const STEPS: usize = 90;

/// Steps after which a world that nobody interferes with is at rest for certain.
const SETTLED_IN: usize = 1_000;

#[test]
fn every_promise_holds_in_random_orders_of_a_life() {
    let first = number("EVANESCE_SEED").unwrap_or(0);
    let count = number("EVANESCE_LIVES").unwrap_or(LIVES);
    let began = Instant::now();
    let (mut steps, mut sums) = (0, LifeSums::default());
    for seed in (0..count).map(|n| first.wrapping_add(n)) {
        let (world, outcome) = live(seed, false);
        if outcome.is_err() {
            let (world, broken) = live(seed, true);
            let trace = world.trace.join("\n");
            panic!("EVANESCE_SEED={seed} EVANESCE_LIVES=1\n{trace}\n=> {}", broken.unwrap_err());
        }
        steps += world.steps;
        sums.add(&world);
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{count} lives from seed {first}, {steps} steps, {sums:?}, {seconds:.1} s");
    // Lives in which nothing happens prove nothing.
    assert!(count < LIVES || sums.least() > 100, "{sums:?}");
}

/// One life, and which promise it broke. Every fourth shares its store with another process.
fn live(seed: u64, is_traced: bool) -> (LifeWorld, Result<(), String>) {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut world = LifeWorld::new(seed % 4 == 3, is_traced);
    let outcome = interleave(&mut world, &mut random);
    (world, outcome)
}

fn interleave(world: &mut LifeWorld, random: &mut Pcg64Mcg) -> Result<(), String> {
    let mut choose = |world: &mut LifeWorld, steps: Vec<LifeStep>| {
        let step = steps[random.random_range(0..steps.len())];
        world.perform(step).map(|()| random.random_ratio(1, 5))
    };
    let mut is_others_turn = choose(world, vec![LifeStep::KickOff])?;
    for _ in 0..STEPS {
        let own = world.own_steps();
        let steps = if own.is_empty() || is_others_turn { world.outside_steps() } else { own };
        is_others_turn = choose(world, steps)?;
    }
    choose(world, vec![LifeStep::EverybodyLetsGo])?;
    for _ in 0..SETTLED_IN {
        let own = world.own_steps();
        if own.is_empty() {
            return world.check_at_rest();
        }
        choose(world, own)?;
    }
    Err("P11: it never comes to rest".into())
}

/// In how many lives what was seen.
#[derive(Debug, Default)]
struct LifeSums {
    accepted: usize,
    complete: usize,
    failed: usize,
    erased: usize,
    stale: usize,
}

impl LifeSums {
    fn add(&mut self, world: &LifeWorld) {
        let reached = |name| usize::from(world.reached.contains(&name));
        self.accepted += usize::from(world.accepted.is_some());
        self.complete += reached(StateName::Complete);
        self.failed += reached(StateName::Failed);
        self.erased += reached(StateName::Erased);
        self.stale += usize::from(world.was_stale);
    }

    fn least(&self) -> usize {
        let Self { accepted, complete, failed, erased, stale } = *self;
        [accepted, complete, failed, erased, stale].into_iter().min().unwrap_or_default()
    }
}
