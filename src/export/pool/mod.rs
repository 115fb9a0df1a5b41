//! The worker pool: threads that run parts, one part of each waiting job in turn, so that a
//! small job is not behind all parts of a large one. Nor is it behind one running part: for a
//! job that nobody works for an extra worker is started, up to a cap. A worker that outlives
//! its job is abandoned, counted as long as that lasts and, up to a cap, replaced.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::{Part, Work};
use crate::job::JobId;
use crate::telemetry;

/// How many threads a pool has, and how the system treats them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threads {
    /// Steady workers: they live as long as the pool and take the jobs in turn.
    pub steady: usize,
    /// Extra workers at once, each started for a job that nobody works for.
    pub max_burst: usize,
    /// Workers that may be started in place of stuck ones.
    pub max_replacements: usize,
    /// Added to the nice value of each thread, 0 to 19; the system may also derive from it in
    /// which order it serves their reads and writes. Linux only.
    pub nice: u8,
}

/// Work on jobs that have ended: what was started for them and has not returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Outliving {
    /// How many pieces of it.
    pub count: usize,
    /// Whether it has all the threads that there are for such work: no other job gets one until
    /// it returns.
    #[serde(rename = "starved")]
    pub is_starved: bool,
}

/// See the module. Dropping it lets the workers end after the parts they are at.
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    threads: Threads,
    state: Mutex<State>,
    work_came: Condvar,
    part_ended: Condvar,
}

struct State {
    /// Jobs with parts that nobody runs yet; the first one is next.
    queue: VecDeque<Queued>,
    /// What each busy worker is at.
    running: HashMap<u64, Running>,
    /// Workers that are at no part: they wait for one, are about to look, or just start.
    free: usize,
    /// Extra workers, stuck ones included.
    extra: usize,
    /// Workers that may be started in place of stuck ones.
    replacements_left: usize,
    /// Workers that are still at a part of a job that has ended.
    outliving: HashMap<u64, Kind>,
    /// Those of them that have been replaced: they end when their parts return.
    replaced: HashSet<u64>,
    next_worker: u64,
    closed: bool,
}

struct Queued {
    work: Arc<Work>,
    parts: VecDeque<(u32, Part)>,
}

struct Running {
    job: JobId,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Lives as long as the pool.
    Steady,
    /// Lives as long as it finds a job that nobody works for.
    Extra,
}

impl Pool {
    /// Starts the steady workers.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(threads: Threads) -> std::io::Result<Self> {
        let state = State {
            queue: VecDeque::new(),
            running: HashMap::new(),
            free: 0,
            extra: 0,
            replacements_left: threads.max_replacements,
            outliving: HashMap::new(),
            replaced: HashSet::new(),
            next_worker: 0,
            closed: false,
        };
        let shared = Arc::new(Shared {
            threads,
            state: Mutex::new(state),
            work_came: Condvar::new(),
            part_ended: Condvar::new(),
        });
        for _ in 0..threads.steady {
            Shared::spawn(&shared, Kind::Steady)?;
        }
        Ok(Self { shared })
    }

    /// Queues parts, each with its index in the plan. A closed pool takes none.
    pub fn enqueue(&self, work: Arc<Work>, parts: impl IntoIterator<Item = (u32, Part)>) {
        let parts: VecDeque<_> = parts.into_iter().collect();
        if !parts.is_empty() {
            let mut state = self.shared.state.lock();
            if state.closed {
                return;
            }
            state.queue.push_back(Queued { work, parts });
            drop(state);
            self.shared.work_came.notify_all();
            Shared::spawn_extra(&self.shared);
        }
    }

    /// No part begins any more, however late its job comes with it; workers end after theirs.
    pub fn close(&self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        state.queue.clear();
        self.shared.work_came.notify_all();
        self.shared.part_ended.notify_all();
    }

    /// Drops the parts of a job that have not begun.
    pub fn dismiss(&self, job: JobId) {
        self.shared.state.lock().queue.retain(|queued| queued.work.job != job);
        self.shared.part_ended.notify_all();
    }

    /// How many workers are at a part of the job.
    pub fn running(&self, job: JobId) -> usize {
        self.shared.state.lock().running.values().filter(|running| running.job == job).count()
    }

    /// What the ends of jobs have left of the workers.
    pub fn outliving(&self) -> Outliving {
        let state = self.shared.state.lock();
        let of_kind = |wanted| {
            let of_kind = state.outliving.iter().filter(|(_, kind)| **kind == wanted);
            of_kind.filter(|(worker, _)| !state.replaced.contains(worker)).count()
        };
        let Threads { steady, max_burst, .. } = self.shared.threads;
        let is_starved = of_kind(Kind::Steady) >= steady && of_kind(Kind::Extra) >= max_burst;
        Outliving { count: state.outliving.len(), is_starved }
    }

    /// Waits until no worker is at a part, at most for `patience`; true if so.
    pub fn wait_idle(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut state = self.shared.state.lock();
        while !state.running.is_empty() || !state.queue.is_empty() {
            if self.shared.part_ended.wait_until(&mut state, until).timed_out() {
                return state.running.is_empty() && state.queue.is_empty();
            }
        }
        true
    }

    /// Gives up the workers that are still at a part of the job: they do not count as running
    /// any more, and each steady one that can be replaced ends when its part returns.
    pub fn abandon(&self, job: JobId) {
        let replaced: Vec<_> = {
            let mut state = self.shared.state.lock();
            let of_job = |running: &Running| running.job == job;
            let steady = |running: &Running| of_job(running) && running.kind == Kind::Steady;
            let stuck =
                state.running.iter().filter(|(_, running)| steady(running)).map(|(worker, _)| *worker);
            let replaced: Vec<_> = stuck.take(state.replacements_left).collect();
            let State { running, outliving, .. } = &mut *state;
            outliving.extend(running.extract_if(|_, it| of_job(it)).map(|(worker, it)| (worker, it.kind)));
            telemetry::outliving_workers("part", outliving.len());
            state.replacements_left -= replaced.len();
            state.replaced.extend(&replaced);
            replaced
        };
        for worker in replaced {
            if let Err(error) = Shared::spawn(&self.shared, Kind::Steady) {
                tracing::error!(%error, "a worker that is stuck could not be replaced");
                self.shared.state.lock().take_back_replacement(worker);
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

impl State {
    /// The place in the queue of the first job that nobody works for.
    fn first_unserved(&self) -> Option<usize> {
        let served = self.served();
        self.queue.iter().position(|queued| !served.contains(&queued.work.job))
    }

    /// How many extra workers are wanted: those that are free look at the queue themselves.
    fn missing(&self) -> usize {
        let served = self.served();
        let unserved = self.queue.iter().filter(|queued| !served.contains(&queued.work.job)).count();
        unserved.saturating_sub(self.free)
    }

    fn served(&self) -> HashSet<JobId> {
        self.running.values().map(|running| running.job).collect()
    }

    /// Takes the next part of the job at a place in the queue; the job goes to its end.
    fn take(&mut self, place: usize, worker: u64, kind: Kind) -> Option<(Arc<Work>, u32, Part)> {
        let mut queued = self.queue.remove(place)?;
        let (index, part) = queued.parts.pop_front()?;
        let work = queued.work.clone();
        if !queued.parts.is_empty() {
            self.queue.push_back(queued);
        }
        self.running.insert(worker, Running { job: work.job, kind });
        self.free -= 1;
        Some((work, index, part))
    }

    /// Whether the worker had been replaced; then another one may be.
    fn take_back_replacement(&mut self, worker: u64) -> bool {
        let had_been = self.replaced.remove(&worker);
        self.replacements_left += usize::from(had_been);
        had_been
    }
}

impl Shared {
    fn spawn(shared: &Arc<Self>, kind: Kind) -> std::io::Result<()> {
        let worker = {
            let mut state = shared.state.lock();
            state.next_worker += 1;
            state.free += 1;
            state.next_worker
        };
        let body = {
            let shared = shared.clone();
            move || {
                be_nice(shared.threads.nice);
                while Self::run_next(&shared, worker, kind) {}
            }
        };
        let spawned = std::thread::Builder::new().name(format!("export-{worker}")).spawn(body);
        spawned.map(drop).inspect_err(|_| shared.state.lock().free -= 1)
    }

    /// Starts a worker for each job that nobody works for, up to the cap.
    fn spawn_extra(shared: &Arc<Self>) {
        let wanted = {
            let mut state = shared.state.lock();
            let wanted = state.missing().min(shared.threads.max_burst.saturating_sub(state.extra));
            state.extra += wanted;
            wanted
        };
        for _ in 0..wanted {
            if let Err(error) = Self::spawn(shared, Kind::Extra) {
                tracing::warn!(%error, "an export waits for a worker: no extra one could be started");
                shared.state.lock().extra -= 1;
            }
        }
    }

    /// Runs the next part; false when the worker should end.
    fn run_next(shared: &Arc<Self>, worker: u64, kind: Kind) -> bool {
        let next = match kind {
            Kind::Steady => shared.wait_for_part(worker),
            Kind::Extra => shared.unserved_part(worker),
        };
        let Some((work, index, part)) = next else { return false };
        // The job that this worker was at before may have nobody now.
        Self::spawn_extra(shared);
        work.run(index, &part, || {
            let mut state = shared.state.lock();
            state.running.remove(&worker);
            if state.outliving.remove(&worker).is_some() {
                telemetry::outliving_workers("part", state.outliving.len());
            }
            shared.part_ended.notify_all();
        });
        let mut state = shared.state.lock();
        let ends = state.take_back_replacement(worker);
        if !ends {
            state.free += 1;
        }
        !ends
    }

    /// The next part in turn, waited for; `None` when the pool is closed.
    fn wait_for_part(&self, worker: u64) -> Option<(Arc<Work>, u32, Part)> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(taken) = state.take(0, worker, Kind::Steady) {
                return Some(taken);
            }
            self.work_came.wait(&mut state);
        }
    }

    /// A part of a job that nobody works for; without one the extra worker is done.
    fn unserved_part(&self, worker: u64) -> Option<(Arc<Work>, u32, Part)> {
        let mut state = self.state.lock();
        let place = state.first_unserved();
        let taken = place.and_then(|place| state.take(place, worker, Kind::Extra));
        if taken.is_none() {
            state.extra -= 1;
            state.free -= 1;
        }
        taken
    }
}

/// Lets other threads go first, where a thread can have a nice value of its own.
fn be_nice(nice: u8) {
    if nice == 0 || !cfg!(target_os = "linux") {
        return;
    }
    // POSIX means the process, Linux the calling thread (setpriority(2), "C library/kernel
    // differences").
    if let Err(error) = rustix::process::nice(i32::from(nice)) {
        tracing::warn!(%error, nice, "the nice value of a worker could not be set");
    }
}

#[cfg(test)]
mod tests;
