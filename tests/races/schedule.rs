//! A schedule: what the seed makes of one room. Whenever nothing moves, one parked thread goes on
//! or one more action begins.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use evanesce::hooks::HookStep;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::actions::{Action, begin};
use super::check::check;
use super::director::Director;
use super::room::{OWNERS, Room};
use super::threads;

/// What was chosen, one line a choice.
pub type Trace = Vec<String>;

/// At how many of the steps threads are parked, in tenths: many make long schedules.
const DENSITIES: [u32; 3] = [1, 3, 6];

pub struct Schedule {
    seed: u64,
    random: Pcg64Mcg,
    room: Arc<Room>,
    actions_left: usize,
    kickoffs: usize,
    deletes: usize,
    pub trace: Trace,
}

impl Schedule {
    pub fn new(seed: u64) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let density = DENSITIES[random.random_range(0..DENSITIES.len())];
        let mut chosen = |step: &&HookStep| !is_of_start(**step) && random.random_ratio(density, 10);
        let steps: BTreeSet<_> = HookStep::value_variants().iter().filter(&mut chosen).copied().collect();
        let (delete_grace, expiry_drain) = (random.random(), random.random());
        let room = Arc::new(Room::new(Director::new(steps.clone()), delete_grace, expiry_drain));
        let actions_left = random.random_range(6..16);
        let trace = vec![format!(
            "threads stop at {steps:?}; grace of a DELETE {delete_grace}, of an expiry {expiry_drain}"
        )];
        Self { seed, random, room, actions_left, kickoffs: 0, deletes: 0, trace }
    }

    /// Runs it to its end; `Err` says which promise was broken.
    pub fn run(&mut self) -> Result<(), String> {
        begin(&self.room, Action::Restart);
        while self.choose() {}
        // An instance may have gone down between a pause and its end.
        begin(&self.room, Action::Pass { later: false });
        while self.choose() {}
        // What waits for a timer of a millisecond has its chance.
        threads::wait_until_asleep(Duration::from_millis(30));
        if self.choose() {
            while self.choose() {}
        }
        let outcome = check(&self.room);
        self.room.director.let_all_go();
        outcome
    }

    /// One choice; false if nothing is left to do.
    fn choose(&mut self) -> bool {
        self.room.director.wait_until_quiet();
        let parked = self.room.director.parked();
        let may_act = self.actions_left > 0 && self.room.evanesce().is_some();
        if may_act && (parked.is_empty() || self.random.random_ratio(1, 5)) {
            self.actions_left -= 1;
            let action = self.action();
            self.trace.push(format!("begin {action}"));
            begin(&self.room, action);
            return true;
        }
        if parked.is_empty() {
            // The thread that restarts polls: it is not waited for.
            let restarting = self.room.evanesce().is_none();
            std::thread::sleep(Duration::from_micros(if restarting { 200 } else { 0 }));
            return restarting;
        }
        let chosen = match self.random.random_ratio(2, 3) {
            true => parked.iter().max_by_key(|parked| self.rank(&parked.at)).expect("it is not empty"),
            false => &parked[self.random.random_range(0..parked.len())],
        };
        self.trace.push(format!("go on: {}", chosen.at));
        self.room.director.release(chosen);
        true
    }

    /// In each schedule some steps are quick and some are slow: chance alone would hardly ever keep
    /// one thread waiting until all others are through.
    fn rank(&self, step: &str) -> u64 {
        BuildHasherDefault::<DefaultHasher>::default().hash_one((self.seed, step))
    }

    fn action(&mut self) -> Action {
        let known: Vec<usize> = self.room.told.lock().unwrap().jobs.keys().copied().collect();
        let random = &mut self.random;
        if known.is_empty() || random.random_ratio(1, 6) {
            self.kickoffs += 1;
            let owner = OWNERS[usize::from(random.random_ratio(1, 6))];
            return Action::KickOff { number: self.kickoffs, owner };
        }
        let job = known[random.random_range(0..known.len())];
        match random.random_range(0..16) {
            0..3 => {
                self.deletes += 1;
                Action::Delete { job, name: format!("delete {}", self.deletes) }
            }
            3..6 => Action::Cancel { job, name: ["a", "a", "b"][random.random_range(0..3)].into() },
            6..9 => Action::Status { job },
            9..13 => {
                Action::Download { job, file: random.random_range(0..2), chunks: random.random_range(0..5) }
            }
            13..15 => Action::Pass { later: random.random() },
            _ => Action::Restart,
        }
    }
}

/// Steps at which nobody else is at work, or that are none of a job's.
fn is_of_start(step: HookStep) -> bool {
    let name = format!("{step:?}");
    name.starts_with("Join") || name.starts_with("Ballast")
}
