//! Exporters with absurd plans: parts without weight, or of the weight of the world; a million
//! parts; plans that never end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use evanesce::config::{Config, ConfigDuration};
use evanesce::export::{Exporter, Part, Plan};
use evanesce::job::bounds::{BoundExceeded, MAX_PATIENTS};
use evanesce::job::{JobState, Level, MarkReason};
use evanesce::{Evanesce, Kickoff, SubmitError};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;

use crate::support::{Disk, FakeExporter, InstanceDir, PATIENCE, plan_of};

/// Parts of these weights, which write nothing and are counted.
fn weights(weights: Vec<u64>, run: Arc<AtomicUsize>) -> FakeExporter {
    let exporter = FakeExporter::writes_nothing().plan(move |_| {
        let part = |weight: &u64| Part { weight: *weight, content: Value::Null };
        Ok(Plan::new(Timestamp::now(), weights.iter().map(part).collect()))
    });
    exporter.run(move |_, out, _| {
        out.progress(u64::MAX)?;
        out.progress(u64::MAX)?;
        // A million of them must not be done before anybody looks.
        std::thread::sleep(Duration::from_micros(20));
        run.fetch_add(1, Ordering::SeqCst);
        Ok(())
    })
}

async fn start(folder: &std::path::Path, exporter: impl Exporter + 'static) -> Evanesce {
    let mut config = Config::default();
    config.export.cancel_deadline = ConfigDuration(Duration::from_millis(50));
    config.export.max_replacements = 2;
    Evanesce::builder().config(config).data_dir(folder).exporter(exporter).start().await.unwrap()
}

#[tokio::test]
async fn parts_of_absurd_weights_are_exported_like_others() {
    for each in [vec![], vec![0, 0], vec![u64::MAX; 3], vec![0, u64::MAX, 1]] {
        let folder = InstanceDir::new();
        let count = each.len();
        let run = Arc::new(AtomicUsize::new(0));
        let evanesce = start(folder.path(), weights(each, run.clone())).await;
        let job = evanesce.submit(Kickoff::system(), "host".parse().unwrap()).await.unwrap();
        assert!(matches!(evanesce.wait_finished(job).await, Some(JobState::Complete(_))));
        assert_eq!(run.load(Ordering::SeqCst), count);
    }
}

#[tokio::test]
async fn a_plan_of_a_million_parts_is_cancelled_like_any_other_and_holds_up_nobody() {
    let folder = InstanceDir::new();
    let run = Arc::new(AtomicUsize::new(0));
    let evanesce = start(folder.path(), weights(vec![1; 1_000_000], run.clone())).await;
    let host = || "host".parse().unwrap();
    let job = evanesce.submit(Kickoff::system(), host()).await.unwrap();
    while run.load(Ordering::SeqCst) < 100 {
        // The actors answer meanwhile.
        evanesce.reaper_status().await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // As a whole in the next process as well.
    evanesce.stop(Duration::from_secs(10)).await;
    drop(evanesce);
    let before = run.load(Ordering::SeqCst);
    let evanesce = start(folder.path(), weights(Vec::new(), run.clone())).await;
    while run.load(Ordering::SeqCst) < before + 100 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    evanesce.cancel(job, host()).await.unwrap();
    let done = run.load(Ordering::SeqCst);
    assert!(done < 500_000, "{done} parts were run before the cancel was answered");
    let receipt = evanesce.wait_erased(job).await.unwrap().unwrap();
    assert_eq!(receipt.reason, MarkReason::Cancelled);
    assert!(Disk(folder.path().into()).files().is_empty());
}

#[tokio::test]
async fn plans_that_never_end_keep_no_other_export_from_being_planned_once_they_are_cancelled() {
    let folder = InstanceDir::new();
    let (tell, planning) = channel();
    let (end, ended) = channel::<()>();
    // The first two wait until the test is over.
    let (endless, tell, ended) = (AtomicUsize::new(2), Mutex::new(tell), Mutex::new(ended));
    let exporter = FakeExporter::writes_nothing().plan(move |_| {
        let take = |left: usize| left.checked_sub(1);
        if endless.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
            tell.lock().send(()).unwrap();
            let _ = ended.lock().recv();
        }
        Ok(plan_of([]))
    });
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

#[tokio::test]
async fn p13_each_part_is_told_the_request_which_a_plan_need_not_repeat_and_which_has_bounds() {
    let folder = InstanceDir::new();
    let asked: Arc<Mutex<Vec<_>>> = Arc::default();
    let exporter = FakeExporter::writes_nothing().plan(|request| {
        assert_eq!(request.parameters().patients.len(), MAX_PATIENTS);
        Ok(plan_of([Value::Null, Value::Null, Value::Null]))
    });
    let exporter = exporter.run({
        let asked = Arc::clone(&asked);
        move |_, out, _| {
            asked.lock().push(out.request()?.parameters().patients.clone());
            Ok(())
        }
    });
    let evanesce = start(folder.path(), exporter).await;
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
    assert!(
        matches!(refused, Err(SubmitError::Exceeded(BoundExceeded { what: "patient", .. }))),
        "{refused:?}"
    );
}
