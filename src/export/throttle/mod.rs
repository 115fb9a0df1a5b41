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
    rates: TenantRates,
}

/// The limits, with those of tenants that have one of their own.
#[derive(Debug, Clone)]
struct TenantRates {
    rates: Rates,
    own: HashMap<TenantId, u64>,
}

impl TenantRates {
    /// What holds for a job of `tenant`.
    fn of(&self, tenant: &TenantId) -> Rates {
        let own = self.own.get(tenant).copied();
        Rates { tenant: own.unwrap_or(self.rates.tenant), ..self.rates }
    }
}

impl Throttle {
    /// A throttle that keeps all three limits; tenants in `own` have another one than `rates`.
    pub fn new(rates: Rates, own: HashMap<TenantId, u64>) -> Self {
        let rates = TenantRates { rates, own };
        Self { schedule: Mutex::new(Schedule::new(rates.clone(), Instant::now())), rates }
    }

    /// How much a job of `tenant` writes at once, at the most: no more bytes than one turn of
    /// the lowest of its limits, so that a throttled export still moves several times a second.
    /// `None` if it has no limit.
    pub fn largest_write(&self, tenant: &TenantId) -> Option<usize> {
        let Rates { all, tenant, job } = self.rates.of(tenant);
        let lowest = [all, tenant, job].into_iter().filter(|rate| *rate > 0).min()?;
        let turn = (lowest / u64::from(TURNS_PER_SECOND)).clamp(LEAST_TURN, MOST_TURN);
        usize::try_from(turn).ok()
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
    /// Bytes that it has had, and what it could have had when it did not ask: the waiting job
    /// that has least is the next.
    served: u64,
    /// What its writers wait on.
    changed: Arc<Condvar>,
}

/// Names a job in the schedule.
pub(super) type Key = u64;

/// Who may write next, and when. It reads no clock.
#[derive(Debug)]
pub(super) struct Schedule {
    rates: TenantRates,
    /// Where each limit begins: whoever comes later has not asked for anything yet.
    began: Instant,
    all: Line,
    /// The limit of each tenant that has jobs, and how many.
    tenants: HashMap<TenantId, (Line, usize)>,
    shares: HashMap<Key, Share>,
    /// The jobs that have writers waiting; paused ones, too.
    waiting: BTreeSet<Key>,
    next_key: Key,
    /// How far the job was served that began the last write, or an earlier one if that is more:
    /// where a job begins that asks after a while.
    served: u64,
}

impl Schedule {
    fn new(rates: TenantRates, began: Instant) -> Self {
        Self {
            all: Line::new(rates.rates.all, began),
            rates,
            began,
            tenants: HashMap::new(),
            shares: HashMap::new(),
            waiting: BTreeSet::new(),
            next_key: 0,
            served: 0,
        }
    }

    /// Adds a job whose writers wait on `changed`.
    pub fn join(&mut self, tenant: TenantId, changed: Arc<Condvar>) -> Key {
        let rates = self.rates.of(&tenant);
        let line = Line::new(rates.tenant, self.began);
        self.tenants.entry(tenant.clone()).or_insert((line, 0)).1 += 1;
        let line = Line::new(rates.job, self.began);
        let share = Share { state: State::Open, waiting: 0, tenant, line, served: 0, changed };
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
        if self.waiting.insert(key) {
            // What it did not ask for it does not catch up on.
            let served = self.served;
            let share = self.share(key);
            share.served = share.served.max(served);
        }
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
        let (key, share) = open.min_by_key(|(_, share)| (ready(share), share.served))?;
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
        self.served = self.served.max(share.served);
        share.served = share.served.saturating_add(bytes as u64).max(self.served);
    }

    /// Wakes a writer of the job that is next.
    pub fn wake_next(&self) {
        if let Some(share) = self.next().and_then(|(key, _)| self.shares.get(&key)) {
            share.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
