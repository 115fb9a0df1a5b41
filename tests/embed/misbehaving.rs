//! Exporters that do not do what they should (P3, P4): one that panics, one that ignores its
//! cancel token past the deadline, one that fails, one whose plan never ends, one that writes
//! from a thread of its own. (None can keep its writer: it is lent for the run only.) Those
//! stuck in a system call are in `stuck`, absurd plans in `plans`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use evanesce::config::{Config, ConfigDuration};
use evanesce::export::{CancelToken, ExportError, Exporter, PartWriter};
use evanesce::job::{FailureReason, JobState};
use evanesce::{Evanesce, Kickoff};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;

use crate::support::{Disk, FakeExporter, InstanceDir, plan_of, write_patient};

fn write_one(out: &mut PartWriter) -> Result<(), ExportError> {
    write_patient(out, "p")
}

/// Two parts, each run by this.
fn runs(
    run: impl Fn(&mut PartWriter, &CancelToken) -> Result<(), ExportError> + Send + Sync + 'static,
) -> FakeExporter {
    let exporter = FakeExporter::writes_nothing().plan(|_| Ok(plan_of([Value::Null, Value::Null])));
    exporter.run(move |_, out, cancel| run(out, cancel))
}

async fn start(data_dir: &std::path::Path, exporter: impl Exporter + 'static) -> Evanesce {
    start_with(1, data_dir, exporter).await
}

async fn start_with(
    workers: usize,
    data_dir: &std::path::Path,
    exporter: impl Exporter + 'static,
) -> Evanesce {
    let mut config = Config::default();
    config.export.workers = workers;
    config.export.cancel_deadline = ConfigDuration(Duration::from_millis(100));
    Evanesce::builder().config(config).data_dir(data_dir).exporter(exporter).start().await.unwrap()
}

async fn failure(evanesce: &Evanesce) -> FailureReason {
    let job = evanesce.submit(Kickoff::system(), "host".parse().unwrap()).await.unwrap();
    match evanesce.wait_finished(job).await {
        Some(JobState::Failed(failure)) => failure.reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_exporter_that_panics_fails_its_job_and_not_the_server() {
    let folder = InstanceDir::new();
    let panics = runs(|out, _| {
        write_one(out)?;
        panic!("on purpose")
    });
    let evanesce = start(folder.path(), panics).await;
    // The only worker lives on: a second job meets the same fate, not a dead pool.
    for _ in 0..2 {
        assert_eq!(failure(&evanesce).await, FailureReason::ExporterPanicked);
    }
    // The partial files go at once; what says that it failed stays.
    let disk = Disk(folder.path().into());
    crate::support::eventually("partial files to go", || {
        disk.files().iter().all(|file| file.ends_with("job.json")).then_some(())
    });
    assert_eq!(disk.jobs("building").len(), 2);
}

#[tokio::test]
async fn the_partial_files_of_a_failed_job_wait_for_its_last_writer_and_then_go() {
    let folder = InstanceDir::new();
    let (release, released) = channel::<()>();
    let (released, turn) = (Mutex::new(released), AtomicU32::new(0));
    let fails = runs(move |out, _| {
        write_one(out)?;
        if turn.fetch_add(1, Ordering::SeqCst) == 0 {
            // The first one to come stays in until the test lets it go.
            let _ = released.lock().recv();
            return Ok(());
        }
        Err(ExportError::Other("on purpose".into()))
    });
    let evanesce = start_with(2, folder.path(), fails).await;
    assert_eq!(failure(&evanesce).await, FailureReason::ExporterFailed);
    // Many turns of the actors' thread: a job that took itself to be at rest is gone by now.
    for _ in 0..100 {
        evanesce.reaper_status().await.unwrap();
    }
    drop(release);
    let disk = Disk(folder.path().into());
    crate::support::eventually("partial files to go", || {
        disk.files().iter().all(|file| file.ends_with("job.json")).then_some(())
    });
}

#[tokio::test]
async fn an_exporter_that_cancels_itself_fails_and_is_not_stuck() {
    let folder = InstanceDir::new();
    let evanesce = start(folder.path(), runs(|_, _| Err(ExportError::Cancelled))).await;
    assert_eq!(failure(&evanesce).await, FailureReason::ExporterFailed);
}

#[tokio::test]
async fn an_exporter_that_fails_gives_its_reason() {
    let folder = InstanceDir::new();
    let fails = runs(|_, _| Err(ExportError::SourceChanged("a table".into())));
    let evanesce = start(folder.path(), fails).await;
    assert_eq!(failure(&evanesce).await, FailureReason::SourceChanged);
}

#[tokio::test]
async fn an_exporter_that_ignores_its_cancel_token_is_fenced_and_replaced() {
    let folder = InstanceDir::new();
    let running = Arc::new(Notify::new());
    let (release, released): (Sender<()>, Receiver<()>) = channel();
    let released = Mutex::new(released);
    let (told, answer) = channel();
    let told = Mutex::new(told);
    let started = running.clone();
    let ignores = runs(move |out, cancel| {
        write_one(out)?;
        started.notify_one();
        if cancel.is_cancelled() {
            return Err(ExportError::Cancelled);
        }
        // Far past the deadline: until the test lets it go, or at once if it has gone before.
        if released.lock().recv().is_ok() {
            told.lock().send(write_one(out).is_err()).unwrap();
        }
        Ok(())
    });
    let evanesce = start(folder.path(), ignores).await;
    let client = || "host".parse().unwrap();
    let job = evanesce.submit(Kickoff::system(), client()).await.unwrap();
    running.notified().await;
    evanesce.cancel(job, client()).await.unwrap();
    let receipt = evanesce.wait_erased(job).await.unwrap().unwrap();
    assert_eq!(receipt.fenced_writers, 1);
    assert!(Disk(folder.path().into()).files().is_empty());
    // The worker is still stuck, and the pool of one has another one.
    let second = evanesce.submit(Kickoff::system(), client()).await.unwrap();
    running.notified().await;
    // Its writer takes nothing any more.
    release.send(()).unwrap();
    assert!(answer.recv_timeout(Duration::from_secs(60)).unwrap(), "a fenced writer took a byte");
    drop(release);
    assert!(matches!(evanesce.wait_finished(second).await, Some(JobState::Complete(_))));
    assert_eq!(Disk(folder.path().into()).jobs("trash").len(), 0);
}

type Call = fn(&mut PartWriter) -> Result<(), ExportError>;

#[tokio::test]
async fn p13_a_host_that_writes_small_rows_slowly_hears_of_the_cancel_at_its_next_call_whatever_that_is() {
    let calls: [Call; 2] = [write_one, |out| out.progress(0)];
    for call in calls {
        let folder = InstanceDir::new();
        let running = Arc::new(Notify::new());
        let (next, rows) = channel::<()>();
        let (rows, started) = (Mutex::new(rows), running.clone());
        let slow = runs(move |out, _| {
            write_one(out)?;
            started.notify_one();
            let _ = rows.lock().recv();
            call(out)?;
            // It did not hear of it: the job is not erased before the test is over.
            let _ = rows.lock().recv();
            Ok(())
        });
        let mut config = Config::default();
        config.export.workers = 1;
        config.export.cancel_deadline = ConfigDuration(Duration::from_secs(20));
        let builder = Evanesce::builder().config(config).data_dir(folder.path()).exporter(slow);
        let evanesce = builder.start().await.unwrap();
        let client = || "host".parse().unwrap();
        let job = evanesce.submit(Kickoff::system(), client()).await.unwrap();
        running.notified().await;
        evanesce.cancel(job, client()).await.unwrap();
        next.send(()).unwrap();
        let erased = tokio::time::timeout(crate::support::PATIENCE, evanesce.wait_erased(job)).await;
        let receipt = erased.expect("the host was told nothing").unwrap().unwrap();
        assert_eq!((receipt.fenced_writers, receipt.bytes > 0), (0, true), "{receipt:?}");
        drop(next);
    }
}

/// Writes until it is refused, on a thread of its own, while its worker panics.
fn panic_while_another_thread_writes(out: &mut PartWriter, refused: &Sender<()>) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while write_one(out).is_ok() {}
            assert!(matches!(write_one(out), Err(ExportError::Cancelled)));
            refused.send(()).unwrap();
        });
        panic!("on purpose, while another thread has the writer");
    });
}

#[tokio::test]
async fn a_writer_on_a_thread_of_its_own_is_stopped_like_any_other_when_its_worker_panics() {
    let folder = InstanceDir::new();
    let (tell, refused) = channel();
    let tell = Mutex::new(tell);
    let leaks = runs(move |out, _| {
        let tell = tell.lock().clone();
        panic_while_another_thread_writes(out, &tell);
        Ok(())
    });
    let evanesce = start_with(2, folder.path(), leaks).await;
    let client = || "host".parse().unwrap();
    let job = evanesce.submit(Kickoff::system(), client()).await.unwrap();
    let disk = Disk(folder.path().into());
    crate::support::eventually("bytes of both parts", || {
        let outputs = disk.files().into_iter().filter(|file| file.extension() == Some("ndjson".as_ref()));
        (outputs.count() == 2).then_some(())
    });
    evanesce.cancel(job, client()).await.unwrap();
    for _ in 0..2 {
        refused.recv_timeout(Duration::from_secs(60)).unwrap();
    }
    evanesce.wait_erased(job).await.unwrap().unwrap();
    assert!(disk.files().is_empty());
    // Both workers are of use again.
    let next = evanesce.submit(Kickoff::system(), client()).await.unwrap();
    crate::support::eventually("the next job to write", || (disk.files().len() > 3).then_some(()));
    evanesce.cancel(next, client()).await.unwrap();
    evanesce.wait_erased(next).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_exporter_that_panics_when_it_is_cancelled_is_cancelled_all_the_same() {
    let folder = InstanceDir::new();
    let running = Arc::new(Notify::new());
    let started = running.clone();
    let panics = runs(move |out, cancel| {
        write_one(out)?;
        started.notify_one();
        while !cancel.is_cancelled() {
            std::thread::yield_now();
        }
        panic!("on purpose, when it should stop");
    });
    let evanesce = start(folder.path(), panics).await;
    let client = || "host".parse().unwrap();
    let job = evanesce.submit(Kickoff::system(), client()).await.unwrap();
    running.notified().await;
    evanesce.cancel(job, client()).await.unwrap();
    let receipt = evanesce.wait_erased(job).await.unwrap().unwrap();
    assert_eq!(receipt.reason, evanesce::job::MarkReason::Cancelled);
    assert!(Disk(folder.path().into()).files().is_empty());
}

#[tokio::test]
async fn a_job_is_erased_while_its_plan_still_goes_on() {
    let folder = InstanceDir::new();
    let planning = Arc::new(Notify::new());
    let (end, ended) = channel::<()>();
    let endless = FakeExporter::writes_nothing().plan({
        let (planning, ended) = (planning.clone(), Mutex::new(ended));
        move |_| {
            planning.notify_one();
            let _ = ended.lock().recv();
            Ok(plan_of([]))
        }
    });
    let evanesce = start(folder.path(), endless).await;
    let client = || "host".parse().unwrap();
    let job = evanesce.submit(Kickoff::system(), client()).await.unwrap();
    planning.notified().await;
    evanesce.cancel(job, client()).await.unwrap();
    evanesce.wait_erased(job).await.unwrap().unwrap();
    assert!(Disk(folder.path().into()).files().is_empty());
    drop(end);
}
