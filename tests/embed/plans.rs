//! Exporters with absurd plans: parts without weight, or of the weight of the world; a million
//! parts; plans that never end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use evanesce::config::{Config, Time};
use evanesce::export::{CancelToken, ExportError, Exporter, Part, PartSummary, PartWriter, Plan};
use evanesce::job::bounds::{Exceeded, MAX_PATIENTS};
use evanesce::job::{ExportRequest, JobState, Level, MarkReason};
use evanesce::{Evanesce, Kickoff, SubmitError};
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::support::{Disk, PATIENCE};

/// Parts of these weights, which write nothing.
struct Weights(Vec<u64>, Arc<AtomicUsize>);

impl Exporter for Weights {
    fn plan(&self, _: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
        let part = |weight: &u64| Part { weight: *weight, content: serde_json::Value::Null };
        Ok(Plan::new(Timestamp::now(), self.0.iter().map(part).collect()))
    }

    fn run(&self, _: &Part, out: &mut PartWriter, _: &CancelToken) -> Result<PartSummary, ExportError> {
        out.progress(u64::MAX)?;
        out.progress(u64::MAX)?;
        // A million of them must not be done before anybody looks.
        std::thread::sleep(Duration::from_micros(20));
        self.1.fetch_add(1, Ordering::SeqCst);
        Ok(PartSummary::default())
    }
}

async fn start(folder: &std::path::Path, exporter: impl Exporter + 'static) -> Evanesce {
    let mut config = Config::default();
    config.export.cancel_deadline = Time(Duration::from_millis(50));
    config.export.max_replacements = 2;
    Evanesce::builder().config(config).data_dir(folder).exporter(exporter).start().await.unwrap()
}

#[tokio::test]
async fn parts_of_absurd_weights_are_exported_like_others() {
    for weights in [vec![], vec![0, 0], vec![u64::MAX; 3], vec![0, u64::MAX, 1]] {
        let folder = tempfile::tempdir().unwrap();
        let count = weights.len();
        let run = Arc::new(AtomicUsize::new(0));
        let evanesce = start(folder.path(), Weights(weights, run.clone())).await;
        let job = evanesce.submit(Kickoff::system(), "host".parse().unwrap()).await.unwrap();
        assert!(matches!(evanesce.wait_finished(job).await, Some(JobState::Complete(_))));
        assert_eq!(run.load(Ordering::SeqCst), count);
    }
}

#[tokio::test]
async fn a_plan_of_a_million_parts_is_cancelled_like_any_other_and_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let run = Arc::new(AtomicUsize::new(0));
    let evanesce = start(folder.path(), Weights(vec![1; 1_000_000], run.clone())).await;
    let host = || "host".parse().unwrap();
    let job = evanesce.submit(Kickoff::system(), host()).await.unwrap();
    while run.load(Ordering::SeqCst) < 100 {
        // The actors answer meanwhile.
        let asked = Instant::now();
        evanesce.reaper_status().await.unwrap();
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // As a whole in the next process as well.
    evanesce.stop(Duration::from_secs(10)).await;
    drop(evanesce);
    let before = run.load(Ordering::SeqCst);
    let evanesce = start(folder.path(), Weights(Vec::new(), run.clone())).await;
    while run.load(Ordering::SeqCst) < before + 100 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let asked = Instant::now();
    evanesce.cancel(job, host()).await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    let receipt = evanesce.wait_erased(job).await.unwrap().unwrap();
    assert_eq!(receipt.reason, MarkReason::Cancelled);
    assert!(Disk(folder.path().into()).files().is_empty());
}

/// An exporter whose first plans wait until the test is over.
struct EndlessPlans {
    endless: AtomicUsize,
    planning: Mutex<Sender<()>>,
    end: Mutex<Receiver<()>>,
}

impl Exporter for EndlessPlans {
    fn plan(&self, _: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
        let take = |left: usize| left.checked_sub(1);
        if self.endless.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
            self.planning.lock().send(()).unwrap();
            let _ = self.end.lock().recv();
        }
        Ok(Plan::new(Timestamp::now(), Vec::new()))
    }

    fn run(&self, _: &Part, _: &mut PartWriter, _: &CancelToken) -> Result<PartSummary, ExportError> {
        Ok(PartSummary::default())
    }
}

#[tokio::test]
async fn plans_that_never_end_keep_no_other_export_from_being_planned_once_they_are_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let (tell, planning) = channel();
    let (end, ended) = channel::<()>();
    let exporter =
        EndlessPlans { endless: AtomicUsize::new(2), planning: Mutex::new(tell), end: Mutex::new(ended) };
    let evanesce = start(folder.path(), exporter).await;
    let host = || "host".parse().unwrap();
    for _ in 0..2 {
        let job = evanesce.submit(Kickoff::system(), host()).await.unwrap();
        planning.recv_timeout(PATIENCE).unwrap();
        evanesce.cancel(job, host()).await.unwrap();
        evanesce.wait_erased(job).await.unwrap().unwrap();
    }
    let job = evanesce.submit(Kickoff::system(), host()).await.unwrap();
    let finished = tokio::time::timeout(PATIENCE, evanesce.wait_finished(job)).await;
    assert!(matches!(finished, Ok(Some(JobState::Complete(_)))), "{finished:?}");
    drop(end);
}

/// Says in each of its parts what was asked for.
struct Asked(Arc<Mutex<Vec<Vec<String>>>>);

impl Exporter for Asked {
    fn plan(&self, request: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
        assert_eq!(request.parameters().patients.len(), MAX_PATIENTS);
        let part = Part { weight: 1, content: serde_json::Value::Null };
        Ok(Plan::new(Timestamp::now(), vec![part; 3]))
    }

    fn run(&self, _: &Part, out: &mut PartWriter, _: &CancelToken) -> Result<PartSummary, ExportError> {
        self.0.lock().push(out.request()?.parameters().patients.clone());
        Ok(PartSummary::default())
    }
}

#[tokio::test]
async fn p13_each_part_is_told_the_request_which_a_plan_need_not_repeat_and_which_has_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let asked = Arc::default();
    let evanesce = start(folder.path(), Asked(Arc::clone(&asked))).await;
    let kickoff = |patients: usize| {
        let mut kickoff = Kickoff::new(Level::Patient);
        kickoff.parameters.patients = (0..patients).map(|n| n.to_string()).collect();
        kickoff
    };
    let job = evanesce.submit(kickoff(MAX_PATIENTS), "host".parse().unwrap()).await.unwrap();
    assert!(matches!(evanesce.wait_finished(job).await, Some(JobState::Complete(_))));
    let told = asked.lock().clone();
    assert_eq!(told, vec![kickoff(MAX_PATIENTS).parameters.patients; 3]);
    let plan = std::fs::metadata(folder.path().join(format!("ready/{job}/plan.json"))).unwrap();
    assert!(plan.len() < 1000, "{}", plan.len());
    let refused = evanesce.submit(kickoff(MAX_PATIENTS + 1), "host".parse().unwrap()).await;
    assert!(matches!(refused, Err(SubmitError::Exceeded(Exceeded { what: "patient", .. }))), "{refused:?}");
}
