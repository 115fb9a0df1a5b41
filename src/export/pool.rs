//! The worker pool: threads that run parts, one part of each waiting job in turn, so that a
//! small job is not behind all parts of a large one. A worker that outlives its job is
//! abandoned and, up to a cap, replaced.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::{Part, Work};
use crate::job::JobId;

/// See the module. Dropping it lets the workers end after the parts they are at.
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    work_came: Condvar,
    part_ended: Condvar,
}

struct State {
    /// Jobs with parts that nobody runs yet; the first one is next.
    queue: VecDeque<Queued>,
    /// Which job each busy worker is at.
    running: HashMap<u64, JobId>,
    /// Workers that may be started in place of stuck ones.
    replacements_left: usize,
    next_worker: u64,
    closed: bool,
}

struct Queued {
    work: Arc<Work>,
    parts: VecDeque<(u32, Part)>,
}

impl Pool {
    /// Starts `workers` threads; up to `max_replacements` more may be started later.
    pub fn start(workers: usize, max_replacements: usize) -> std::io::Result<Self> {
        let state = State {
            queue: VecDeque::new(),
            running: HashMap::new(),
            replacements_left: max_replacements,
            next_worker: 0,
            closed: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            work_came: Condvar::new(),
            part_ended: Condvar::new(),
        });
        for _ in 0..workers {
            Shared::spawn(&shared)?;
        }
        Ok(Self { shared })
    }

    /// Queues parts, each with its index in the plan.
    pub fn enqueue(&self, work: Arc<Work>, parts: impl IntoIterator<Item = (u32, Part)>) {
        let parts: VecDeque<_> = parts.into_iter().collect();
        if !parts.is_empty() {
            self.shared.state.lock().queue.push_back(Queued { work, parts });
            self.shared.work_came.notify_all();
        }
    }

    /// Drops the parts of a job that have not begun.
    pub fn dismiss(&self, job: JobId) {
        self.shared.state.lock().queue.retain(|queued| queued.work.job != job);
        self.shared.part_ended.notify_all();
    }

    /// How many workers are at a part of the job.
    pub fn running(&self, job: JobId) -> usize {
        self.shared.state.lock().running.values().filter(|running| **running == job).count()
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
    /// any more, and each one that can be replaced ends when its part returns.
    pub fn abandon(&self, job: JobId) {
        let abandoned = {
            let mut state = self.shared.state.lock();
            let before = state.running.len();
            state.running.retain(|_, running| *running != job);
            let abandoned = (before - state.running.len()).min(state.replacements_left);
            state.replacements_left -= abandoned;
            abandoned
        };
        for _ in 0..abandoned {
            if let Err(error) = Shared::spawn(&self.shared) {
                tracing::error!(%error, "a worker that is stuck could not be replaced");
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        state.queue.clear();
        self.shared.work_came.notify_all();
    }
}

impl Shared {
    fn spawn(shared: &Arc<Self>) -> std::io::Result<()> {
        let worker = {
            let mut state = shared.state.lock();
            state.next_worker += 1;
            state.next_worker
        };
        let shared = shared.clone();
        std::thread::Builder::new()
            .name(format!("export-{worker}"))
            .spawn(move || while shared.run_next(worker) {})
            .map(drop)
    }

    /// Runs the next part; false when the worker should end.
    fn run_next(&self, worker: u64) -> bool {
        let (work, index, part) = {
            let mut state = self.state.lock();
            loop {
                if state.closed {
                    return false;
                }
                if let Some(mut queued) = state.queue.pop_front() {
                    // A queued job has parts; one whose last part is taken is not put back.
                    let Some((index, part)) = queued.parts.pop_front() else { continue };
                    let work = queued.work.clone();
                    if !queued.parts.is_empty() {
                        state.queue.push_back(queued);
                    }
                    state.running.insert(worker, work.job);
                    break (work, index, part);
                }
                self.work_came.wait(&mut state);
            }
        };
        let mut kept = true;
        work.run(index, &part, || {
            kept = self.state.lock().running.remove(&worker).is_some();
            self.part_ended.notify_all();
        });
        if !kept {
            let mut state = self.state.lock();
            state.replacements_left += 1;
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::export::{
        CancelToken, ExportError, Exporter, Limits, PartSummary, PartWriter, Plan, Throttle,
    };
    use crate::files::{Files, LocalFiles};
    use crate::hooks::Hooks;
    use crate::job::{ExportRequest, Level};

    /// Says which part it runs; the first one waits until the test lets it go.
    struct Told {
        running: Sender<String>,
        first: Mutex<Option<Receiver<()>>>,
    }

    impl Exporter for Told {
        fn plan(&self, _: &ExportRequest) -> Result<Plan, ExportError> {
            Err(ExportError::Other("not planned".into()))
        }

        fn run(&self, part: &Part, _: &mut PartWriter, _: &CancelToken) -> Result<PartSummary, ExportError> {
            self.running.send(part.content.as_str().unwrap().into()).unwrap();
            let first = self.first.lock().take();
            first.map(|wait| wait.recv());
            Ok(PartSummary::default())
        }
    }

    #[test]
    fn a_small_job_is_not_behind_all_parts_of_a_large_one() {
        let folder = tempfile::tempdir().unwrap();
        let files = LocalFiles::open(folder.path(), Hooks::default()).unwrap();
        let (running, order) = channel();
        let (release, first) = channel();
        let exporter = Arc::new(Told { running, first: Mutex::new(Some(first)) });
        let limits = Limits { throttle: Arc::new(Throttle::new(0)), max_file_bytes: 1 << 20 };
        let work = || {
            let (tenant, owner) = ("t".parse().unwrap(), "o".parse().unwrap());
            let submitted_at = jiff::Timestamp::UNIX_EPOCH;
            let url = String::new();
            let request = ExportRequest {
                tenant,
                owner,
                url,
                level: Level::System,
                types: vec![],
                since: None,
                until: None,
                submitted_at,
            };
            let job = JobId::random();
            let dir = files.create(job, &request).unwrap();
            Arc::new(Work::new(job, exporter.clone(), dir, &limits, Arc::default(), |_| {}))
        };
        let parts = |name: &str, count: u32| {
            let part = |n| (n, Part { weight: 1, content: format!("{name}{n}").into() });
            (0..count).map(part).collect::<Vec<_>>()
        };
        let pool = Pool::start(1, 0).unwrap();
        pool.enqueue(work(), parts("large", 100));
        assert_eq!(order.recv().unwrap(), "large0");
        pool.enqueue(work(), parts("small", 2));
        release.send(()).unwrap();
        let next: Vec<_> = order.iter().take(5).collect();
        assert_eq!(next, ["large1", "small0", "large2", "small1", "large3"]);
    }
}
