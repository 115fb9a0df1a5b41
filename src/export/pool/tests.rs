//! Which worker takes which part; every part lasts until the test ends it.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::export::{
    ByteRates, CancelToken, ExportError, Exporter, OutputForm, PartSummary, PartWriter, Plan, Throttle,
    WriteLimits,
};
use crate::files::{Files, LocalFiles};
use crate::hooks::Hooks;
use crate::job::{ExportRequest, Kickoff};

const PATIENCE: Duration = Duration::from_secs(60);

/// Says which part begins, and on which thread, and waits until the test ends it.
struct Told {
    running: Mutex<Sender<(String, Sender<()>)>>,
}

impl Exporter for Told {
    fn plan(&self, _: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
        Err(ExportError::Other("not planned".into()))
    }

    fn run(&self, part: &Part, _: &mut PartWriter, _: &CancelToken) -> Result<PartSummary, ExportError> {
        let (end, ended) = channel();
        let part = part.content.as_str().unwrap().to_string();
        // A test that is over ends all parts.
        let _ = self.running.lock().send((part, end));
        let _ = ended.recv();
        Ok(PartSummary::default())
    }
}

/// A pool, and the parts that run in it until they are ended.
struct Bench {
    pool: Pool,
    files: LocalFiles,
    exporter: Arc<Told>,
    began: Receiver<(String, Sender<()>)>,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new(steady: usize, max_burst: usize, max_replacements: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = LocalFiles::open(folder.path(), Hooks::default()).unwrap();
        let (running, began) = channel();
        let exporter = Arc::new(Told { running: Mutex::new(running) });
        let pool = Pool::start(PoolThreads { steady, max_burst, max_replacements, nice: 0 }).unwrap();
        Self { pool, files, exporter, began, _folder: folder }
    }

    /// Queues a job with parts `name0`, `name1` and so on.
    fn enqueue(&self, name: &str, parts: u32) -> JobId {
        let tenant = || "t".parse().unwrap();
        let owner = "o".parse().unwrap();
        let request = ExportRequest::new(tenant(), owner, Kickoff::system(), jiff::Timestamp::UNIX_EPOCH);
        let job = JobId::random();
        let dir =
            self.files.create(job, &crate::files::DocumentKind::Request.content(&request).unwrap()).unwrap();
        let throttle = Arc::new(Throttle::new(ByteRates::default(), Default::default()));
        let limits = WriteLimits { throttle, max_file_bytes: 1 << 20, form: OutputForm::default() };
        let exporter = self.exporter.clone();
        let work = Work::new(job, tenant(), exporter, dir, &limits, Arc::default(), |_| {});
        let part = |n| (n, Part { weight: 1, content: format!("{name}{n}").into() });
        self.pool.enqueue(Arc::new(work), (0..parts).map(part));
        job
    }

    /// The next part that begins, which should be `expected`; dropping it ends the part.
    #[track_caller]
    fn begins(&self, expected: &str) -> Sender<()> {
        let (part, end) = self.began.recv_timeout(PATIENCE).unwrap();
        assert_eq!(part, expected);
        end
    }

    /// No other part can begin: every worker is at one, is waiting or has ended.
    #[track_caller]
    fn nothing_begins(&self, running: usize, extra: usize) {
        let until = Instant::now() + PATIENCE;
        loop {
            let state = self.pool.shared.state.lock();
            if (state.running.len(), state.extra) == (running, extra) {
                break;
            }
            let seen = (state.running.len(), state.extra);
            assert!(Instant::now() < until, "running and extra: {seen:?}");
            drop(state);
            std::thread::yield_now();
        }
        assert!(self.began.try_recv().is_err());
    }
}

#[test]
fn a_small_job_is_not_behind_all_parts_of_a_large_one() {
    let bench = Bench::new(1, 0, 0);
    bench.enqueue("large", 100);
    let first = bench.begins("large0");
    bench.enqueue("small", 2);
    bench.nothing_begins(1, 0);
    drop(first);
    for expected in ["large1", "small0", "large2", "small1", "large3"] {
        drop(bench.begins(expected));
    }
}

#[test]
fn a_job_that_nobody_works_for_is_not_behind_a_running_part() {
    let bench = Bench::new(1, 2, 0);
    let large = bench.enqueue("large", 2);
    let large0 = bench.begins("large0");
    let small = bench.enqueue("small", 3);
    let small0 = bench.begins("small0");
    assert_eq!((bench.pool.running(large), bench.pool.running(small)), (1, 1));
    // The extra worker stays with it: the steady one is still busy.
    drop(small0);
    let small1 = bench.begins("small1");
    // In turn, the steady worker goes to the large job; the extra one keeps its own.
    drop(large0);
    let large1 = bench.begins("large1");
    drop(small1);
    let small2 = bench.begins("small2");
    drop(small2);
    bench.nothing_begins(1, 0);
    drop(large1);
    assert!(bench.pool.wait_idle(PATIENCE));
}

#[test]
fn an_extra_worker_takes_no_part_of_a_job_that_somebody_works_for() {
    let bench = Bench::new(1, 8, 0);
    bench.enqueue("large", 3);
    let large0 = bench.begins("large0");
    bench.enqueue("small", 1);
    drop(bench.begins("small0"));
    // The large job has open parts and a worker.
    bench.nothing_begins(1, 0);
    drop(large0);
    drop(bench.begins("large1"));
    drop(bench.begins("large2"));
}

#[test]
fn a_job_that_its_steady_worker_leaves_in_turn_gets_an_extra_one() {
    let bench = Bench::new(1, 8, 0);
    bench.enqueue("a", 3);
    let a0 = bench.begins("a0");
    bench.enqueue("b", 3);
    let b0 = bench.begins("b0");
    drop(a0);
    // The queue was a, b: it is the turn of a.
    let a1 = bench.begins("a1");
    drop(a1);
    // Now it is b's turn, and a has nobody.
    let mut both = [bench.began.recv_timeout(PATIENCE).unwrap(), bench.began.recv_timeout(PATIENCE).unwrap()];
    both.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!([both[0].0.as_str(), both[1].0.as_str()], ["a2", "b1"]);
    drop(b0);
}

#[test]
fn there_are_no_more_extra_workers_than_the_cap() {
    let bench = Bench::new(1, 2, 0);
    for name in ["a", "b", "c", "d"] {
        bench.enqueue(name, 1);
    }
    let mut began: Vec<_> = (0..3).map(|_| bench.began.recv_timeout(PATIENCE).unwrap()).collect();
    bench.nothing_begins(3, 2);
    assert!(began.iter().all(|(part, _)| part != "d0"), "first come, first served");
    began.pop();
    drop(bench.begins("d0"));
}

#[test]
fn a_worker_that_waits_is_used_before_an_extra_one_is_started() {
    let bench = Bench::new(2, 8, 0);
    bench.enqueue("a", 1);
    let a = bench.begins("a0");
    bench.enqueue("b", 1);
    let b = bench.begins("b0");
    bench.nothing_begins(2, 0);
    drop((a, b));
}

#[test]
fn an_abandoned_worker_is_replaced_and_ends_when_its_part_returns() {
    let bench = Bench::new(1, 0, 1);
    let stuck = bench.enqueue("stuck", 1);
    let stuck0 = bench.begins("stuck0");
    bench.pool.abandon(stuck);
    assert_eq!(bench.pool.running(stuck), 0);
    bench.enqueue("next", 2);
    let next0 = bench.begins("next0");
    drop(stuck0);
    // The pool and each thread that lives hold it.
    let until = Instant::now() + PATIENCE;
    while Arc::strong_count(&bench.pool.shared) > 2 {
        assert!(Instant::now() < until, "it lives on beside the one in its place");
        std::thread::yield_now();
    }
    assert_eq!(bench.pool.shared.state.lock().replacements_left, 1);
    bench.nothing_begins(1, 0);
    drop(next0);
    drop(bench.begins("next1"));
}

#[test]
fn an_abandoned_worker_that_cannot_be_replaced_goes_on_when_its_part_returns() {
    let bench = Bench::new(1, 0, 0);
    let stuck = bench.enqueue("stuck", 1);
    let stuck0 = bench.begins("stuck0");
    bench.pool.abandon(stuck);
    bench.enqueue("next", 1);
    drop(stuck0);
    drop(bench.begins("next0"));
}

#[test]
fn an_abandoned_extra_worker_is_not_replaced() {
    let bench = Bench::new(1, 1, 8);
    let large = bench.enqueue("large", 1);
    let large0 = bench.begins("large0");
    let stuck = bench.enqueue("stuck", 1);
    let stuck0 = bench.begins("stuck0");
    bench.pool.abandon(stuck);
    assert_eq!((bench.pool.running(large), bench.pool.running(stuck)), (1, 0));
    assert_eq!(bench.pool.shared.state.lock().replacements_left, 8);
    drop(stuck0);
    bench.nothing_begins(1, 0);
    drop(large0);
}

#[test]
fn p13_a_worker_that_outlives_its_job_is_counted_and_the_pool_is_starved_if_there_is_no_other() {
    let of = |count, is_starved| OutlivingWork { count, is_starved };
    let ends = |bench: &Bench| {
        let until = Instant::now() + PATIENCE;
        while bench.pool.outliving() != of(0, false) {
            assert!(Instant::now() < until, "{:?}", bench.pool.outliving());
            std::thread::yield_now();
        }
    };
    for (threads, expected) in
        [((1, 0, 0), of(1, true)), ((1, 0, 1), of(1, false)), ((1, 1, 0), of(1, false))]
    {
        let (steady, max_burst, max_replacements) = threads;
        let bench = Bench::new(steady, max_burst, max_replacements);
        let stuck = bench.enqueue("stuck", 1);
        let stuck0 = bench.begins("stuck0");
        assert_eq!(bench.pool.outliving(), of(0, false), "it has its job");
        bench.pool.abandon(stuck);
        assert_eq!(bench.pool.outliving(), expected, "{threads:?}");
        drop(stuck0);
        ends(&bench);
    }
}

#[test]
fn p13_the_pool_is_starved_when_the_extra_workers_are_gone_too() {
    let bench = Bench::new(1, 1, 0);
    let jobs = [bench.enqueue("first", 1), bench.enqueue("second", 1)];
    let mut began: Vec<_> = (0..2).map(|_| bench.began.recv_timeout(PATIENCE).unwrap()).collect();
    jobs.iter().for_each(|job| bench.pool.abandon(*job));
    assert_eq!(bench.pool.outliving(), OutlivingWork { count: 2, is_starved: true });
    began.pop();
    let until = Instant::now() + PATIENCE;
    while bench.pool.outliving() != (OutlivingWork { count: 1, is_starved: false }) {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
}
