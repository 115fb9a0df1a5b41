//! The limits on the bytes per second that exports write: of all jobs, of each tenant and of each
//! job. Nothing is reserved ahead. A write waits until all three limits have room. Waiting jobs
//! take turns of equal bytes, however many writers they have, so a small job beside a huge one gets
//! its share at once.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::hooks::Hooks;
use crate::job::TenantId;

/// Turns per second: how finely the bytes of a second are shared out.
const TURNS_PER_SECOND: u32 = 32;

/// The least and most bytes of a turn, however low or high the limits are.
const LEAST_TURN: u64 = 1 << 10;
const MOST_TURN: u64 = 256 << 10;

/// Limits in bytes per second; 0 = unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ByteRates {
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
    pub(super) schedule: Mutex<WriteSchedule>,
    pub(super) hooks: Hooks,
    rates: TenantRates,
}

/// The limits, and those of tenants that have their own.
#[derive(Debug, Clone)]
struct TenantRates {
    rates: ByteRates,
    own: HashMap<TenantId, u64>,
}

impl TenantRates {
    /// Returns the limits for a job of `tenant`.
    fn of(&self, tenant: &TenantId) -> ByteRates {
        let own = self.own.get(tenant).copied();
        ByteRates { tenant: own.unwrap_or(self.rates.tenant), ..self.rates }
    }
}

impl Throttle {
    /// Creates a throttle. Tenants in `own` have their own limit instead of `rates.tenant`.
    pub fn new(rates: ByteRates, own: HashMap<TenantId, u64>) -> Self {
        let rates = TenantRates { rates, own };
        let schedule = Mutex::new(WriteSchedule::new(rates.clone(), Instant::now()));
        Self { schedule, hooks: Hooks::default(), rates }
    }

    /// Adds the hooks by which tests let jobs stand still.
    pub fn with_hooks(self, hooks: Hooks) -> Self {
        Self { hooks, ..self }
    }

    /// Returns the most bytes that a job of `tenant` writes at once: one turn of its lowest limit,
    /// so a throttled export still moves several times per second. Returns `None` if there is no
    /// limit.
    pub fn largest_write(&self, tenant: &TenantId) -> Option<usize> {
        let ByteRates { all, tenant, job } = self.rates.of(tenant);
        let lowest = [all, tenant, job].into_iter().filter(|rate| *rate > 0).min()?;
        let turn = (lowest / u64::from(TURNS_PER_SECOND)).clamp(LEAST_TURN, MOST_TURN);
        usize::try_from(turn).ok()
    }
}

/// One limit: when the next write may begin.
#[derive(Debug, Clone, Copy)]
struct RateLimiter {
    bytes_per_second: u64,
    free_at: Instant,
}

impl RateLimiter {
    fn new(bytes_per_second: u64, free_at: Instant) -> Self {
        Self { bytes_per_second, free_at }
    }

    /// Records that a write of `bytes` begins. A write that is late by up to one turn loses
    /// nothing, so exports do reach the limit.
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
pub(super) enum GateState {
    Open,
    Paused,
    Closed,
}

/// A job's share of the limits.
#[derive(Debug)]
pub(super) struct JobShare {
    pub state: GateState,
    /// The number of waiting writers.
    waiting: usize,
    tenant: TenantId,
    line: RateLimiter,
    /// The bytes that the job has written, or could have written while it did not ask. The waiting
    /// job with the fewest is next.
    served: u64,
    /// What its writers wait on.
    changed: Arc<Condvar>,
}

/// Identifies a job in the schedule.
pub(super) type ScheduleKey = u64;

/// Decides which job may write next, and when. It reads no clock.
#[derive(Debug)]
pub(super) struct WriteSchedule {
    rates: TenantRates,
    /// Where each limit begins. A job that comes later has not asked for anything yet.
    began: Instant,
    all: RateLimiter,
    /// The limit of each tenant that has jobs, and the number of its jobs.
    tenants: HashMap<TenantId, (RateLimiter, usize)>,
    shares: HashMap<ScheduleKey, JobShare>,
    /// The jobs with waiting writers, paused jobs included.
    waiting: BTreeSet<ScheduleKey>,
    next_key: ScheduleKey,
    /// How far the job was served that began the last write, or an earlier one if that is more. A
    /// job that asks again after a while begins here.
    served: u64,
}

impl WriteSchedule {
    fn new(rates: TenantRates, began: Instant) -> Self {
        Self {
            all: RateLimiter::new(rates.rates.all, began),
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
    pub fn join(&mut self, tenant: TenantId, changed: Arc<Condvar>) -> ScheduleKey {
        let rates = self.rates.of(&tenant);
        let line = RateLimiter::new(rates.tenant, self.began);
        self.tenants.entry(tenant.clone()).or_insert((line, 0)).1 += 1;
        let line = RateLimiter::new(rates.job, self.began);
        let share = JobShare { state: GateState::Open, waiting: 0, tenant, line, served: 0, changed };
        self.next_key += 1;
        self.shares.insert(self.next_key, share);
        self.next_key
    }

    /// Removes a job. What its tenant has used stays recorded until it is paid off.
    pub fn leave(&mut self, key: ScheduleKey, now: Instant) {
        self.waiting.remove(&key);
        if let Some(share) = self.shares.remove(&key)
            && let Some((_, jobs)) = self.tenants.get_mut(&share.tenant)
        {
            *jobs -= 1;
        }
        self.tenants.retain(|_, (line, jobs)| *jobs > 0 || line.free_at > now);
    }

    /// Returns how many writers of the job wait.
    #[cfg(test)]
    pub fn waiting(&self, key: ScheduleKey) -> usize {
        self.shares.get(&key).map_or(0, |share| share.waiting)
    }

    /// Returns a job that has joined and not left.
    pub fn share(&mut self, key: ScheduleKey) -> &mut JobShare {
        self.shares.get_mut(&key).expect("a gate leaves the schedule when it is dropped")
    }

    /// Records that a writer of the job begins to wait.
    pub fn wait(&mut self, key: ScheduleKey) {
        self.share(key).waiting += 1;
        if self.waiting.insert(key) {
            // A job does not catch up on what it did not ask for.
            let served = self.served;
            let share = self.share(key);
            share.served = share.served.max(served);
        }
    }

    /// Records that a writer of the job no longer waits.
    pub fn stop_waiting(&mut self, key: ScheduleKey) {
        let share = self.share(key);
        share.waiting -= 1;
        if share.waiting == 0 {
            self.waiting.remove(&key);
        }
    }

    /// Returns the job whose writers are next, and when; `None` if no open job has waiting writers.
    /// Only other methods change the result, the passing of time does not.
    pub fn next(&self) -> Option<(ScheduleKey, Instant)> {
        let ready = |share: &JobShare| {
            let tenant = self.tenants.get(&share.tenant).map_or(share.line.free_at, |(line, _)| line.free_at);
            self.all.free_at.max(tenant).max(share.line.free_at)
        };
        let waiting = self.waiting.iter().filter_map(|key| Some((*key, self.shares.get(key)?)));
        let open = waiting.filter(|(_, share)| share.state == GateState::Open);
        let (key, share) = open.min_by_key(|(_, share)| (ready(share), share.served))?;
        Some((key, ready(share)))
    }

    /// Records that a writer of the job begins to write `bytes`.
    pub fn take(&mut self, key: ScheduleKey, bytes: usize, now: Instant) {
        let Some(share) = self.shares.get_mut(&key) else { return };
        self.all.take(bytes, now);
        share.line.take(bytes, now);
        if let Some((line, _)) = self.tenants.get_mut(&share.tenant) {
            line.take(bytes, now);
        }
        self.served = self.served.max(share.served);
        share.served = share.served.saturating_add(bytes as u64).max(self.served);
    }

    /// Wakes a writer of the next job.
    pub fn wake_next(&self) {
        if let Some(share) = self.next().and_then(|(key, _)| self.shares.get(&key)) {
            share.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
