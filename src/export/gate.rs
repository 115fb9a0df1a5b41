//! The gate that every write of a job passes: open, paused or closed for good. Whoever waits
//! at it, for a pause to end or for the throttle, sees a pause or a cancel at once.

use std::time::Instant;

use jiff::Timestamp;
use parking_lot::{Condvar, Mutex};

use super::Throttle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Paused,
    Closed,
}

/// One job's gate, passed by all its writers.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    last_write: Mutex<Option<Timestamp>>,
}

/// The gate is closed: the job is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl Default for Gate {
    fn default() -> Self {
        Self { state: Mutex::new(State::Open), changed: Condvar::new(), last_write: Mutex::new(None) }
    }
}

impl Gate {
    /// Writers stop before their next write and wait.
    pub fn pause(&self) {
        self.set(State::Paused);
    }

    /// Writers go on.
    pub fn resume(&self) {
        self.set(State::Open);
    }

    /// Writers stop before their next write, for good.
    pub fn close(&self) {
        self.set(State::Closed);
    }

    fn set(&self, state: State) {
        let mut current = self.state.lock();
        if *current != State::Closed {
            *current = state;
        }
        self.changed.notify_all();
    }

    /// Waits until `bytes` may be written: the gate is open and the throttle has room.
    pub fn pass(&self, bytes: usize, throttle: &Throttle) -> Result<(), Closed> {
        let turn = throttle.reserve(bytes);
        let mut state = self.state.lock();
        loop {
            match *state {
                State::Closed => {
                    throttle.give_back(bytes);
                    return Err(Closed);
                }
                State::Paused => self.changed.wait(&mut state),
                State::Open => match turn {
                    Some(turn) if turn > Instant::now() => {
                        self.changed.wait_until(&mut state, turn);
                    }
                    _ => return Ok(()),
                },
            }
        }
    }

    /// Notes that a write has just ended.
    pub fn written(&self) {
        *self.last_write.lock() = Some(Timestamp::now());
    }

    /// When the last write ended.
    pub fn last_write(&self) -> Option<Timestamp> {
        *self.last_write.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_throttled_writer_sees_a_cancel_at_once_and_gives_its_turn_back() {
        let throttle = Arc::new(Throttle::new(1));
        let gate = Arc::new(Gate::default());
        gate.pass(1, &throttle).unwrap();
        let (started, has_started) = channel();
        let writer = std::thread::spawn({
            let (gate, throttle) = (gate.clone(), throttle.clone());
            move || {
                started.send(()).unwrap();
                gate.pass(1_000_000, &throttle)
            }
        });
        has_started.recv().unwrap();
        gate.close();
        assert_eq!(writer.join().unwrap(), Err(Closed));
        let wait = throttle.reserve(1).unwrap().saturating_duration_since(Instant::now());
        assert!(wait <= Duration::from_secs(2), "{wait:?}");
    }

    #[test]
    fn a_paused_writer_waits_and_goes_on_and_a_closed_gate_stays_closed() {
        let throttle = Throttle::new(0);
        let gate = Arc::new(Gate::default());
        gate.pause();
        let writer = std::thread::spawn({
            let gate = gate.clone();
            move || gate.pass(10, &Throttle::new(0))
        });
        gate.resume();
        assert_eq!(writer.join().unwrap(), Ok(()));
        gate.close();
        gate.resume();
        assert_eq!(gate.pass(1, &throttle), Err(Closed));
    }
}
