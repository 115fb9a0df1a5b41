//! The gate that every write of a job passes. It is open, paused or closed for good. A writer may
//! wait at it for a pause to end or for its turn under the limits. A writer that waits sees a pause
//! or a cancel at once, and then takes no turn from others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::Throttle;
use super::throttle::{GateState, ScheduleKey};
use crate::job::TenantId;

/// The largest write of a job that begins when a test has a brake, in bytes.
const BRAKED_WRITE: usize = 16 << 10;

/// How often a job that a test has stopped looks whether it may go on.
const BRAKE_LOOK: Duration = Duration::from_millis(5);

/// The gate of one job, which all its writers pass.
#[derive(Debug)]
pub struct Gate {
    throttle: Arc<Throttle>,
    key: ScheduleKey,
    /// Bytes; `None` means no limit.
    largest_write: Option<usize>,
    changed: Arc<Condvar>,
    written: Mutex<WriteTotals>,
}

/// What has passed a gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteTotals {
    /// The bytes of all writers together.
    pub bytes: u64,
    /// When the last write ended.
    pub last: Option<Timestamp>,
}

/// The gate is closed because the job is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateClosed;

impl Gate {
    /// Opens a gate for a job of `tenant`. Its writes count against the limits of `throttle`.
    pub fn new(throttle: Arc<Throttle>, tenant: TenantId) -> Self {
        let changed = Arc::new(Condvar::new());
        let largest_write = throttle.largest_write(&tenant);
        // One that a test stops does so within a few kilobytes.
        let largest_write =
            if throttle.hooks.is_braked(u64::MAX) { Some(BRAKED_WRITE) } else { largest_write };
        let key = throttle.schedule.lock().join(tenant, changed.clone());
        Self { throttle, key, largest_write, changed, written: Mutex::default() }
    }

    /// Makes writers wait before their next write.
    pub fn pause(&self) {
        self.set(GateState::Paused);
    }

    /// Lets paused writers go on.
    #[cfg(test)]
    pub fn resume(&self) {
        self.set(GateState::Open);
    }

    /// Stops writers before their next write, for good.
    pub fn close(&self) {
        self.set(GateState::Closed);
    }

    fn set(&self, state: GateState) {
        let mut schedule = self.throttle.schedule.lock();
        let current = &mut schedule.share(self.key).state;
        if *current != GateState::Closed {
            *current = state;
        }
        self.changed.notify_all();
        // It may have been this job's turn.
        schedule.wake_next();
    }

    /// Returns how many bytes to write at once: `largest`, or less under a limit.
    pub fn chunk(&self, largest: usize) -> usize {
        self.largest_write.map_or(largest, |limit| limit.min(largest))
    }

    /// Blocks until `bytes` may be written: the gate is open and it is this job's turn. A pause
    /// during the wait prolongs it.
    ///
    /// # Errors
    /// Fails as soon as the gate is closed.
    pub fn pass(&self, bytes: usize) -> Result<(), GateClosed> {
        let mut schedule = self.throttle.schedule.lock();
        // Outside the queue, where others would wait for this job.
        while schedule.share(self.key).state != GateState::Closed
            && self.throttle.hooks.is_braked(self.written().bytes)
        {
            MutexGuard::unlocked(&mut schedule, || std::thread::sleep(BRAKE_LOOK));
        }
        schedule.wait(self.key);
        let passed = loop {
            if schedule.share(self.key).state == GateState::Closed {
                break Err(GateClosed);
            }
            // A paused job is never the next.
            match schedule.next() {
                Some((next, at)) if next == self.key => {
                    let now = Instant::now();
                    if at <= now {
                        schedule.take(self.key, bytes, now);
                        break Ok(());
                    }
                    self.changed.wait_until(&mut schedule, at);
                }
                _ => self.changed.wait(&mut schedule),
            }
        };
        schedule.stop_waiting(self.key);
        schedule.wake_next();
        passed
    }

    /// Records that a write of `bytes` has just ended.
    pub fn wrote(&self, bytes: usize) {
        let mut written = self.written.lock();
        written.bytes += bytes as u64;
        written.last = Some(Timestamp::now());
    }

    /// Returns what has been written.
    pub fn written(&self) -> WriteTotals {
        *self.written.lock()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.throttle.schedule.lock().leave(self.key, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::thread::JoinHandle;

    use super::*;
    use crate::export::ByteRates;

    fn throttle(all: u64) -> Arc<Throttle> {
        Arc::new(Throttle::new(ByteRates { all, ..ByteRates::default() }, Default::default()))
    }

    fn gate(throttle: &Arc<Throttle>) -> Arc<Gate> {
        Arc::new(Gate::new(throttle.clone(), "t".parse().unwrap()))
    }

    /// A writer that waits at the gate.
    fn writer(gate: &Arc<Gate>, bytes: usize) -> JoinHandle<Result<(), GateClosed>> {
        let waiting = || gate.throttle.schedule.lock().waiting(gate.key);
        let before = waiting();
        let passing = gate.clone();
        let writer = std::thread::spawn(move || passing.pass(bytes));
        while waiting() == before {
            assert!(!writer.is_finished(), "it should wait");
            std::thread::yield_now();
        }
        writer
    }

    /// What a writer that should be through soon got.
    #[track_caller]
    fn outcome(writer: JoinHandle<Result<(), GateClosed>>) -> Result<(), GateClosed> {
        let until = Instant::now() + Duration::from_secs(60);
        while !writer.is_finished() {
            assert!(Instant::now() < until, "it waits in vain");
            std::thread::yield_now();
        }
        writer.join().unwrap()
    }

    #[test]
    fn a_throttled_writer_sees_a_cancel_at_once_and_takes_no_turn() {
        let throttle = throttle(1);
        let first = gate(&throttle);
        // Its turn is over in an hour.
        first.pass(3600).unwrap();
        let turn = || throttle.schedule.lock().next();
        let writer = writer(&first, 1_000_000);
        let (_, before) = turn().unwrap();
        first.close();
        assert_eq!(outcome(writer), Err(GateClosed));
        let second = gate(&throttle);
        throttle.schedule.lock().wait(second.key);
        assert_eq!(turn(), Some((second.key, before)));
    }

    #[test]
    fn a_throttled_writer_sees_a_pause_at_once_and_others_have_its_turn() {
        let throttle = throttle(4);
        let (paused, other) = (gate(&throttle), gate(&throttle));
        paused.pass(1).unwrap();
        let waits = writer(&paused, 1);
        paused.pause();
        // Past the instant at which the paused one would have written.
        for _ in 0..2 {
            other.pass(1).unwrap();
        }
        assert!(!waits.is_finished());
        paused.resume();
        assert_eq!(outcome(waits), Ok(()));
    }

    #[test]
    fn a_paused_writer_waits_and_goes_on_and_a_closed_gate_stays_closed() {
        let gate = gate(&throttle(0));
        gate.pause();
        let writer = writer(&gate, 10);
        gate.resume();
        assert_eq!(outcome(writer), Ok(()));
        gate.close();
        gate.resume();
        assert_eq!(gate.pass(1), Err(GateClosed));
    }

    #[test]
    fn the_writers_of_many_jobs_all_come_through() {
        let throttle = throttle(8 << 20);
        let gates: Vec<_> = (0..4).map(|_| gate(&throttle)).collect();
        let writers: Vec<_> = (0..16)
            .map(|n| {
                let gate = gates[n % gates.len()].clone();
                std::thread::spawn(move || (0..20).try_for_each(|_| gate.pass(4096)))
            })
            .collect();
        for writer in writers {
            assert_eq!(outcome(writer), Ok(()));
        }
    }
}
