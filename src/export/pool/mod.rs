//! The worker pool. Its threads run one part of each waiting job in turn, so a small job does not
//! wait for all parts of a large one. An extra worker, up to a cap, is started for a job that no
//! worker serves, so it does not wait for one long part either. A worker that outlives its job is
//! abandoned: it is counted until it returns and, up to a cap, replaced.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::{Part, Work};
use crate::job::JobId;
use crate::telemetry;

/// How many threads a pool has, and their priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolThreads {
    /// Steady workers. They live as long as the pool and take the jobs in turn.
    pub steady: usize,
    /// The most extra workers at once. Each is started for a job that no worker serves.
    pub max_burst: usize,
    /// The most workers that may be started in place of stuck ones.
    pub max_replacements: usize,
    /// Added to the nice value of each thread, 0 to 19. The system may also order their reads and
    /// writes by it. Linux only.
    pub nice: u8,
}

/// Work that was started for jobs that have ended, and has not returned.
///
/// ```
/// let none = evanesce::OutlivingWork { count: 0, is_starved: false };
/// assert_eq!(serde_json::to_value(none)?["starved"], false);
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct OutlivingWork {
    /// How many parts or plans there are.
    pub count: usize,
    /// Whether they occupy all threads there are for such work. No other job gets a thread until
    /// one returns.
    #[serde(rename = "starved")]
    pub is_starved: bool,
}

/// A pool of workers. When it is dropped, each worker ends after its current part.
pub struct Pool {
    shared: Arc<PoolCore>,
}

struct PoolCore {
    threads: PoolThreads,
    state: Mutex<PoolState>,
    work_came: Condvar,
    part_ended: Condvar,
}

struct PoolState {
    /// Jobs with parts that no worker has begun. The first one is next.
    queue: VecDeque<QueuedJob>,
    /// What each busy worker runs.
    running: HashMap<u64, BusyWorker>,
    /// Workers without a part: they wait, are about to look for one, or are starting.
    free: usize,
    /// Extra workers, including stuck ones.
    extra: usize,
    /// Workers that may be started in place of stuck ones.
    replacements_left: usize,
    /// Workers that still run a part of a job that has ended.
    outliving: HashMap<u64, WorkerKind>,
    /// The abandoned workers that have been replaced. They end when their parts return.
    replaced: HashSet<u64>,
    next_worker: u64,
    closed: bool,
}

struct QueuedJob {
    work: Arc<Work>,
    parts: VecDeque<(u32, Part)>,
}

struct BusyWorker {
    job: JobId,
    kind: WorkerKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WorkerKind {
    /// Lives as long as the pool.
    Steady,
    /// Lives as long as it finds a job that no worker serves.
    Extra,
}

impl Pool {
    /// Starts the steady workers.
    ///
    /// # Errors
    /// Fails if the system refuses a thread.
    pub fn start(threads: PoolThreads) -> std::io::Result<Self> {
        let state = PoolState {
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
        let shared = Arc::new(PoolCore {
            threads,
            state: Mutex::new(state),
            work_came: Condvar::new(),
            part_ended: Condvar::new(),
        });
        for _ in 0..threads.steady {
            PoolCore::spawn(&shared, WorkerKind::Steady)?;
        }
        Ok(Self { shared })
    }

    /// Queues parts, each with its index in the plan. A closed pool ignores them.
    pub fn enqueue(&self, work: Arc<Work>, parts: impl IntoIterator<Item = (u32, Part)>) {
        let parts: VecDeque<_> = parts.into_iter().collect();
        if !parts.is_empty() {
            let mut state = self.shared.state.lock();
            if state.closed {
                return;
            }
            state.queue.push_back(QueuedJob { work, parts });
            drop(state);
            self.shared.work_came.notify_all();
            PoolCore::spawn_extra(&self.shared);
        }
    }

    /// Closes the pool. No part begins any more, and workers end after their current parts.
    pub fn close(&self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        state.queue.clear();
        self.shared.work_came.notify_all();
        self.shared.part_ended.notify_all();
    }

    /// Removes the queued parts of a job.
    pub fn dismiss(&self, job: JobId) {
        self.shared.state.lock().queue.retain(|queued| queued.work.job != job);
        self.shared.part_ended.notify_all();
    }

    /// Returns how many workers run a part of the job.
    pub fn running(&self, job: JobId) -> usize {
        self.shared.state.lock().running.values().filter(|running| running.job == job).count()
    }

    /// Returns the work of ended jobs that still occupies workers.
    pub fn outliving(&self) -> OutlivingWork {
        let state = self.shared.state.lock();
        let of_kind = |wanted| {
            let of_kind = state.outliving.iter().filter(|(_, kind)| **kind == wanted);
            of_kind.filter(|(worker, _)| !state.replaced.contains(worker)).count()
        };
        let PoolThreads { steady, max_burst, .. } = self.shared.threads;
        let is_starved = of_kind(WorkerKind::Steady) >= steady && of_kind(WorkerKind::Extra) >= max_burst;
        OutlivingWork { count: state.outliving.len(), is_starved }
    }

    /// Blocks until no worker runs a part, or for `patience` at most. Returns whether all are idle.
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

    /// Abandons the workers that still run a part of the job. They no longer count as running, and
    /// each steady worker that can be replaced ends when its part returns.
    pub fn abandon(&self, job: JobId) {
        let replaced: Vec<_> = {
            let mut state = self.shared.state.lock();
            let of_job = |running: &BusyWorker| running.job == job;
            let steady = |running: &BusyWorker| of_job(running) && running.kind == WorkerKind::Steady;
            let stuck =
                state.running.iter().filter(|(_, running)| steady(running)).map(|(worker, _)| *worker);
            let replaced: Vec<_> = stuck.take(state.replacements_left).collect();
            let PoolState { running, outliving, .. } = &mut *state;
            outliving.extend(running.extract_if(|_, it| of_job(it)).map(|(worker, it)| (worker, it.kind)));
            telemetry::outliving_workers("part", outliving.len());
            state.replacements_left -= replaced.len();
            state.replaced.extend(&replaced);
            replaced
        };
        for worker in replaced {
            if let Err(error) = PoolCore::spawn(&self.shared, WorkerKind::Steady) {
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

impl PoolState {
    /// Returns the position in the queue of the first job that no worker serves.
    fn first_unserved(&self) -> Option<usize> {
        let served = self.served();
        self.queue.iter().position(|queued| !served.contains(&queued.work.job))
    }

    /// Returns how many extra workers to start. Idle workers look at the queue themselves.
    fn missing(&self) -> usize {
        let served = self.served();
        let unserved = self.queue.iter().filter(|queued| !served.contains(&queued.work.job)).count();
        unserved.saturating_sub(self.free)
    }

    fn served(&self) -> HashSet<JobId> {
        self.running.values().map(|running| running.job).collect()
    }

    /// Takes the next part of the job at a position in the queue. The job moves to the end.
    fn take(&mut self, place: usize, worker: u64, kind: WorkerKind) -> Option<(Arc<Work>, u32, Part)> {
        let mut queued = self.queue.remove(place)?;
        let (index, part) = queued.parts.pop_front()?;
        let work = queued.work.clone();
        if !queued.parts.is_empty() {
            self.queue.push_back(queued);
        }
        self.running.insert(worker, BusyWorker { job: work.job, kind });
        self.free -= 1;
        Some((work, index, part))
    }

    /// Returns whether the worker had been replaced, and frees that replacement.
    fn take_back_replacement(&mut self, worker: u64) -> bool {
        let had_been = self.replaced.remove(&worker);
        self.replacements_left += usize::from(had_been);
        had_been
    }
}

impl PoolCore {
    fn spawn(shared: &Arc<Self>, kind: WorkerKind) -> std::io::Result<()> {
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

    /// Starts a worker for each job that no worker serves, up to the cap.
    fn spawn_extra(shared: &Arc<Self>) {
        let wanted = {
            let mut state = shared.state.lock();
            let wanted = state.missing().min(shared.threads.max_burst.saturating_sub(state.extra));
            state.extra += wanted;
            wanted
        };
        for _ in 0..wanted {
            if let Err(error) = Self::spawn(shared, WorkerKind::Extra) {
                tracing::warn!(%error, "an export waits for a worker: no extra one could be started");
                shared.state.lock().extra -= 1;
            }
        }
    }

    /// Runs the next part. Returns false when the worker should end.
    fn run_next(shared: &Arc<Self>, worker: u64, kind: WorkerKind) -> bool {
        let next = match kind {
            WorkerKind::Steady => shared.wait_for_part(worker),
            WorkerKind::Extra => shared.unserved_part(worker),
        };
        let Some((work, index, part)) = next else { return false };
        // The previous job of this worker may have no worker now.
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

    /// Waits for the next part in turn. Returns `None` when the pool is closed.
    fn wait_for_part(&self, worker: u64) -> Option<(Arc<Work>, u32, Part)> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(taken) = state.take(0, worker, WorkerKind::Steady) {
                return Some(taken);
            }
            self.work_came.wait(&mut state);
        }
    }

    /// Returns a part of a job that no worker serves. Without one the extra worker ends.
    fn unserved_part(&self, worker: u64) -> Option<(Arc<Work>, u32, Part)> {
        let mut state = self.state.lock();
        let place = state.first_unserved();
        let taken = place.and_then(|place| state.take(place, worker, WorkerKind::Extra));
        if taken.is_none() {
            state.extra -= 1;
            state.free -= 1;
        }
        taken
    }
}

/// Raises the nice value of this thread, where threads have one of their own.
fn be_nice(nice: u8) {
    if nice == 0 || !cfg!(target_os = "linux") {
        return;
    }
    // POSIX means the process, Linux means the calling thread (setpriority(2), "C library/kernel
    // differences").
    if let Err(error) = rustix::process::nice(i32::from(nice)) {
        tracing::warn!(%error, nice, "the nice value of a worker could not be set");
    }
}

#[cfg(test)]
mod tests;
