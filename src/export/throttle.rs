//! The limits on the bytes a second that exports write: all together, those of one tenant and
//! each one. Nothing is reserved ahead. A write waits until its three limits have room, and
//! the jobs that wait take turns of equal bytes, however many writers each of them has: a
//! small job that comes while a huge one is throttled has its share at once.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::job::TenantId;

/// Turns a second: how finely the bytes of a second are dealt out.
const TURNS_PER_SECOND: u32 = 32;

/// Bytes of a turn, at least and at most, however low or high the limits are.
const LEAST_TURN: u64 = 1 << 10;
const MOST_TURN: u64 = 256 << 10;

/// Limits in bytes a second; 0 = unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Of all jobs together.
    pub all: u64,
    /// Of the jobs of one tenant together.
    pub tenant: u64,
    /// Of one job.
    pub job: u64,
}

/// The limits of an instance, shared by the gates of all its jobs.
#[derive(Debug)]
pub struct Throttle {
    pub(super) schedule: Mutex<Schedule>,
    /// Bytes of one turn; `None` without limits.
    turn: Option<u64>,
}

impl Throttle {
    /// A throttle that keeps all three limits.
    pub fn new(rates: Rates) -> Self {
        let lowest = [rates.all, rates.tenant, rates.job].into_iter().filter(|rate| *rate > 0).min();
        let turn = lowest.map(|rate| (rate / u64::from(TURNS_PER_SECOND)).clamp(LEAST_TURN, MOST_TURN));
        let schedule = Schedule::new(rates, turn.unwrap_or(MOST_TURN), Instant::now());
        Self { schedule: Mutex::new(schedule), turn }
    }

    /// How much to write at once: at most `largest` bytes, and no more than one turn, so that
    /// a throttled export still moves several times a second.
    pub fn chunk(&self, largest: usize) -> usize {
        let turn = self.turn.and_then(|turn| usize::try_from(turn).ok());
        turn.map_or(largest, |turn| turn.min(largest))
    }
}

/// One limit: when the next write may begin.
#[derive(Debug, Clone, Copy)]
struct Line {
    bytes_per_second: u64,
    free_at: Instant,
}

impl Line {
    fn new(bytes_per_second: u64, free_at: Instant) -> Self {
        Self { bytes_per_second, free_at }
    }

    /// A write of `bytes` begins. One that is late by no more than a turn loses nothing by
    /// it, so that the limit is also what is reached.
    fn take(&mut self, bytes: usize, now: Instant) {
        if self.bytes_per_second > 0 {
            let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
            let earliest = now.checked_sub(Duration::from_secs(1) / TURNS_PER_SECOND).unwrap_or(now);
            self.free_at = self.free_at.max(earliest) + cost;
        }
    }
}

/// Whether a job's writers may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Paused,
    Closed,
}

/// What one job has of the limits.
#[derive(Debug)]
pub(super) struct Share {
    pub state: State,
    /// Writers that wait.
    waiting: usize,
    tenant: TenantId,
    line: Line,
    /// Bytes written in its present turn.
    spent: u64,
    /// When its last turn ended, counted in turns; 0 = it had none.
    last_turn: u64,
    /// What its writers wait on.
    changed: Arc<Condvar>,
}

/// Names a job in the schedule.
pub(super) type Key = u64;

/// Who may write next, and when. It reads no clock.
#[derive(Debug)]
pub(super) struct Schedule {
    rates: Rates,
    turn: u64,
    /// Where each limit begins: whoever comes later has not asked for anything yet.
    began: Instant,
    all: Line,
    /// The limit of each tenant that has jobs, and how many.
    tenants: HashMap<TenantId, (Line, usize)>,
    shares: HashMap<Key, Share>,
    /// The jobs that have writers waiting; paused ones, too.
    waiting: BTreeSet<Key>,
    next_key: Key,
    turns: u64,
}

impl Schedule {
    fn new(rates: Rates, turn: u64, began: Instant) -> Self {
        Self {
            rates,
            turn,
            began,
            all: Line::new(rates.all, began),
            tenants: HashMap::new(),
            shares: HashMap::new(),
            waiting: BTreeSet::new(),
            next_key: 0,
            turns: 0,
        }
    }

    /// Adds a job whose writers wait on `changed`.
    pub fn join(&mut self, tenant: TenantId, changed: Arc<Condvar>) -> Key {
        let line = Line::new(self.rates.tenant, self.began);
        self.tenants.entry(tenant.clone()).or_insert((line, 0)).1 += 1;
        let line = Line::new(self.rates.job, self.began);
        let share = Share { state: State::Open, waiting: 0, tenant, line, spent: 0, last_turn: 0, changed };
        self.next_key += 1;
        self.shares.insert(self.next_key, share);
        self.next_key
    }

    /// Removes a job. What its tenant has used stays noted until it is paid off.
    pub fn leave(&mut self, key: Key, now: Instant) {
        self.waiting.remove(&key);
        if let Some(share) = self.shares.remove(&key)
            && let Some((_, jobs)) = self.tenants.get_mut(&share.tenant)
        {
            *jobs -= 1;
        }
        self.tenants.retain(|_, (line, jobs)| *jobs > 0 || line.free_at > now);
    }

    /// How many writers of the job wait.
    #[cfg(test)]
    pub fn waiting(&self, key: Key) -> usize {
        self.shares.get(&key).map_or(0, |share| share.waiting)
    }

    /// A job that has joined and not left.
    pub fn share(&mut self, key: Key) -> &mut Share {
        self.shares.get_mut(&key).expect("a gate leaves the schedule when it is dropped")
    }

    /// A writer of the job begins to wait.
    pub fn wait(&mut self, key: Key) {
        self.share(key).waiting += 1;
        self.waiting.insert(key);
    }

    /// A writer of the job waits no more.
    pub fn stop_waiting(&mut self, key: Key) {
        let share = self.share(key);
        share.waiting -= 1;
        if share.waiting == 0 {
            self.waiting.remove(&key);
        }
    }

    /// The job whose writers are next, and when; `None` if no open job has waiting ones.
    /// Only a call of another method changes the answer, not the time.
    pub fn next(&self) -> Option<(Key, Instant)> {
        let ready = |share: &Share| {
            let tenant = self.tenants.get(&share.tenant).map_or(share.line.free_at, |(line, _)| line.free_at);
            self.all.free_at.max(tenant).max(share.line.free_at)
        };
        let waiting = self.waiting.iter().filter_map(|key| Some((*key, self.shares.get(key)?)));
        let open = waiting.filter(|(_, share)| share.state == State::Open);
        let (key, share) = open.min_by_key(|(_, share)| (ready(share), share.last_turn))?;
        Some((key, ready(share)))
    }

    /// A writer of the job begins to write `bytes`.
    pub fn take(&mut self, key: Key, bytes: usize, now: Instant) {
        let Some(share) = self.shares.get_mut(&key) else { return };
        self.all.take(bytes, now);
        share.line.take(bytes, now);
        if let Some((line, _)) = self.tenants.get_mut(&share.tenant) {
            line.take(bytes, now);
        }
        share.spent += bytes as u64;
        if share.spent >= self.turn {
            share.spent %= self.turn;
            self.turns += 1;
            share.last_turn = self.turns;
        }
    }

    /// Wakes a writer of the job that is next.
    pub fn wake_next(&self) {
        if let Some(share) = self.next().and_then(|(key, _)| self.shares.get(&key)) {
            share.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A schedule in which every job always has so many writers waiting with pieces of one
    /// size, on a clock of its own.
    struct Simulation {
        schedule: Schedule,
        now: Instant,
        /// Key, bytes of a piece, bytes written.
        jobs: Vec<(Key, usize, u64)>,
    }

    impl Simulation {
        fn new(rates: Rates) -> Self {
            let schedule = Throttle::new(rates).schedule.into_inner();
            let now = schedule.began;
            Self { schedule, now, jobs: Vec::new() }
        }

        fn join(&mut self, tenant: &str, writers: usize, piece: usize) -> usize {
            let key = self.schedule.join(tenant.parse().unwrap(), Arc::default());
            (0..writers).for_each(|_| self.schedule.wait(key));
            self.jobs.push((key, piece, 0));
            self.jobs.len() - 1
        }

        /// The next write: the index of its job. It begins `late` after it might.
        fn step(&mut self, late: Duration) -> usize {
            let (key, at) = self.schedule.next().unwrap();
            self.now = self.now.max(at) + late;
            let index = self.jobs.iter().position(|job| job.0 == key).unwrap();
            let (_, piece, written) = &mut self.jobs[index];
            self.schedule.take(key, *piece, self.now);
            *written += *piece as u64;
            index
        }

        fn run(&mut self, seconds: u64) {
            let until = self.now + Duration::from_secs(seconds);
            while self.schedule.next().unwrap().1 < until {
                self.step(Duration::ZERO);
            }
            self.now = until;
        }

        fn written(&self, job: usize) -> u64 {
            self.jobs[job].2
        }
    }

    #[track_caller]
    fn assert_about(actual: u64, expected: u64) {
        assert!(actual.abs_diff(expected) <= expected / 20, "{actual}, should be about {expected}");
    }

    const MIB: u64 = 1 << 20;

    #[test]
    fn two_jobs_get_half_each_whatever_their_writers_and_the_size_of_their_writes() {
        let mut simulation = Simulation::new(Rates { all: MIB, ..Rates::default() });
        let many = simulation.join("t", 8, 32 << 10);
        let small_writes = simulation.join("t", 1, 700);
        simulation.run(10);
        assert_about(simulation.written(many), 5 * MIB);
        assert_about(simulation.written(small_writes), 5 * MIB);
    }

    #[test]
    fn a_job_that_comes_to_a_throttled_one_has_the_next_turn_and_then_half() {
        let mut simulation = Simulation::new(Rates { all: MIB, ..Rates::default() });
        let huge = simulation.join("t", 4, 32 << 10);
        simulation.run(100);
        let before = simulation.written(huge);
        let small = simulation.join("t", 1, 32 << 10);
        assert_eq!(simulation.step(Duration::ZERO), small, "not after turns reserved by the huge one");
        assert_eq!(simulation.step(Duration::ZERO), huge, "nor does it catch up on what it did not ask for");
        simulation.run(10);
        assert_about(simulation.written(small), 5 * MIB);
        assert_about(simulation.written(huge) - before, 5 * MIB);
    }

    #[test]
    fn at_a_high_limit_the_jobs_take_turns_write_by_write() {
        let mut simulation = Simulation::new(Rates { all: 1 << 34, ..Rates::default() });
        let one = simulation.join("t", 2, 256 << 10);
        let other = simulation.join("t", 2, 256 << 10);
        let order: Vec<_> = (0..6).map(|_| simulation.step(Duration::ZERO)).collect();
        assert_eq!(order, [one, other, one, other, one, other]);
    }

    #[test]
    fn a_write_obeys_all_three_limits() {
        let mut simulation = Simulation::new(Rates { all: 4 * MIB, tenant: 2 * MIB, job: MIB });
        let alone = simulation.join("one", 4, 16 << 10);
        let crowd: Vec<_> = (0..4).map(|_| simulation.join("two", 4, 16 << 10)).collect();
        simulation.run(10);
        assert_about(simulation.written(alone), 10 * MIB);
        for job in &crowd {
            assert_about(simulation.written(*job), 5 * MIB);
        }
        for tenant in ["three", "four"] {
            simulation.join(tenant, 4, 16 << 10);
            simulation.join(tenant, 4, 16 << 10);
        }
        let before: u64 = simulation.jobs.iter().map(|job| job.2).sum();
        simulation.run(10);
        let after: u64 = simulation.jobs.iter().map(|job| job.2).sum();
        assert_about(after - before, 40 * MIB);
    }

    #[test]
    fn a_late_writer_loses_no_bytes_and_an_idle_time_is_not_made_up_for() {
        let mut simulation = Simulation::new(Rates { job: MIB, ..Rates::default() });
        let job = simulation.join("t", 1, 32 << 10);
        for _ in 0..320 {
            simulation.step(Duration::from_millis(5));
        }
        let seconds = (simulation.now - simulation.schedule.began).as_secs_f64();
        assert!((9.8..10.2).contains(&seconds), "10 MiB in {seconds} s");
        simulation.now += Duration::from_secs(1000);
        let before = simulation.written(job);
        simulation.run(1);
        assert_about(simulation.written(job) - before, MIB);
    }

    #[test]
    fn what_a_tenant_owes_outlives_its_job_and_is_forgotten_when_it_is_paid() {
        let mut simulation = Simulation::new(Rates { tenant: MIB, ..Rates::default() });
        let job = simulation.join("t", 1, MIB as usize);
        simulation.step(Duration::ZERO);
        simulation.schedule.leave(simulation.jobs[job].0, simulation.now);
        simulation.join("t", 1, 1);
        let (key, at) = simulation.schedule.next().unwrap();
        assert!(at > simulation.schedule.began + Duration::from_millis(900));
        simulation.schedule.leave(key, at);
        assert!(simulation.schedule.tenants.is_empty());
    }

    #[test]
    fn a_write_is_no_larger_than_a_turn_of_the_lowest_limit() {
        let chunk = |all, tenant, job| Throttle::new(Rates { all, tenant, job }).chunk(256 << 10);
        assert_eq!(chunk(0, 0, 0), 256 << 10);
        assert_eq!(chunk(MIB, 0, 0), 32 << 10);
        assert_eq!(chunk(1 << 40, MIB, 2 * MIB), 32 << 10);
        assert_eq!(chunk(0, 0, 1), 1024);
    }
}
