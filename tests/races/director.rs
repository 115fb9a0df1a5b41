//! Parks every thread that comes to a step, until it is told to go on; and tells when nothing
//! moves any more, so that what goes on next is the schedule's choice alone.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use evanesce::hooks::HookStep;

use super::threads;

/// A thread that waits at a step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Parked {
    /// The step, and the thread's name: all that is the same when a schedule is repeated.
    pub at: String,
    arrival: u64,
}

#[derive(Default)]
struct State {
    parked: BTreeSet<Parked>,
    arrivals: u64,
    /// Steps of the product at which threads are parked; the others they pass.
    steps: BTreeSet<HookStep>,
    free: bool,
}

#[derive(Default)]
pub struct Director {
    state: Mutex<State>,
    released: Condvar,
}

impl Director {
    /// A director who parks threads at these steps, and at each that is not the product's.
    pub fn new(steps: BTreeSet<HookStep>) -> Self {
        Self { state: Mutex::new(State { steps, ..State::default() }), released: Condvar::new() }
    }

    pub fn reach(&self, step: HookStep) {
        if self.state.lock().unwrap().steps.contains(&step) {
            self.park(&format!("{step:?}"));
        }
    }

    pub fn park(&self, step: &str) {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed").trim_end_matches(|c: char| c.is_ascii_digit());
        let mut state = self.state.lock().unwrap();
        if state.free {
            return;
        }
        state.arrivals += 1;
        let parked = Parked { at: format!("{step} ({name})"), arrival: state.arrivals };
        state.parked.insert(parked.clone());
        drop(self.released.wait_while(state, |state| !state.free && state.parked.contains(&parked)).unwrap());
    }

    /// Who waits, in an order that does not depend on who came first, but among equals.
    pub fn parked(&self) -> Vec<Parked> {
        self.state.lock().unwrap().parked.iter().cloned().collect()
    }

    pub fn release(&self, parked: &Parked) {
        self.state.lock().unwrap().parked.remove(parked);
        self.released.notify_all();
    }

    /// Nobody is parked any more.
    pub fn let_all_go(&self) {
        let mut state = self.state.lock().unwrap();
        state.free = true;
        state.parked.clear();
        self.released.notify_all();
    }

    /// Returns when nothing moves. The reaper defers to a committer that is at work, and looks every
    /// millisecond whether it still is: so long must it be quiet while the committer is parked.
    pub fn wait_until_quiet(&self) {
        let committer_waits = self.parked().iter().any(|parked| parked.at.ends_with("(committer)"));
        threads::wait_until_asleep(if committer_waits {
            Duration::from_micros(2500)
        } else {
            Duration::ZERO
        });
    }
}
