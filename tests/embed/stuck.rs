//! Writers that are stuck inside a system call, where nobody can take their files away (P3,
//! P4): the names go, `Erased` waits for the return, the pool is made up to its cap.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use evanesce::config::{Config, ConfigDuration};
use evanesce::export::{ExportError, Exporter};
use evanesce::hooks::{HookStep, Hooks};
use evanesce::job::{JobId, JobState};
use evanesce::{Evanesce, Kickoff};
use parking_lot::Mutex;

use crate::support::{
    Disk, FakeExporter, InstanceDir, PATIENCE, Setup, delete, eventually, get, job_id, plan_of, write_patient,
};

/// An instance of one worker, whose first writers do not return from a step until the test
/// drops what `held` gives.
struct Bench {
    evanesce: Evanesce,
    held: Receiver<Sender<()>>,
    disk: Disk,
    folder: InstanceDir,
}

impl Bench {
    async fn new(at: HookStep, hold: usize, max_replacements: usize) -> Self {
        Self::with(FakeExporter::writes_patient("p"), 1, at, hold, max_replacements).await
    }

    async fn with(
        exporter: impl Exporter + 'static,
        workers: usize,
        at: HookStep,
        hold: usize,
        max_replacements: usize,
    ) -> Self {
        let folder = InstanceDir::new();
        let (tell, held) = channel();
        let left = Arc::new(Mutex::new((hold, tell)));
        let hooks = Hooks::directed(move |step| {
            if step != at {
                return;
            }
            let (release, released) = channel::<()>();
            {
                let mut left = left.lock();
                if left.0 == 0 {
                    return;
                }
                left.0 -= 1;
                left.1.send(release).unwrap();
            }
            let _ = released.recv();
        });
        let mut config = Config::default();
        config.export.workers = workers;
        config.export.max_burst_workers = 0;
        config.export.max_replacements = max_replacements;
        config.export.cancel_deadline = ConfigDuration(Duration::from_millis(50));
        let builder = Evanesce::builder().config(config).data_dir(folder.path()).exporter(exporter);
        let evanesce = builder.hooks(hooks).start().await.unwrap();
        Self { evanesce, held, disk: Disk(folder.path().into()), folder }
    }

    async fn submit(&self) -> JobId {
        self.evanesce.submit(Kickoff::system(), "host".parse().unwrap()).await.unwrap()
    }

    /// A job whose writer is held in the step, cancelled.
    async fn stuck(&self) -> (JobId, Sender<()>) {
        let job = self.submit().await;
        let release = self.held.recv_timeout(PATIENCE).unwrap();
        self.evanesce.cancel(job, "host".parse().unwrap()).await.unwrap();
        (job, release)
    }

    async fn assert_completes(&self, job: JobId) {
        let finished = tokio::time::timeout(PATIENCE, self.evanesce.wait_finished(job)).await;
        assert!(matches!(finished, Ok(Some(JobState::Complete(_)))), "{finished:?}");
    }

    fn receipts(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("receipts.ndjson")).unwrap()
    }
}

#[tokio::test]
async fn the_names_of_a_stuck_writer_go_and_its_job_is_erased_when_it_returns() {
    for step in [HookStep::WriteBegins, HookStep::OutputWritten, HookStep::OutputSynced] {
        let bench = Bench::new(step, 1, 1).await;
        let (job, release) = bench.stuck().await;
        eventually("its names to go", || (!bench.disk.has(&job.to_string())).then_some(()));
        // The pool of one has another one, which is of use.
        let other = bench.submit().await;
        bench.assert_completes(other).await;
        assert_eq!(bench.evanesce.reaper_status().await.unwrap().marked, 1);
        assert_eq!(bench.receipts(), "", "P4: erased while a descriptor is open");
        drop(release);
        let receipt = bench.evanesce.wait_erased(job).await.unwrap().unwrap();
        assert_eq!(bench.disk.jobs("ready"), [other.to_string()]);
        assert!(bench.disk.jobs("trash").is_empty());
        assert!(receipt.files >= 3, "what went early counts: {receipt:?}");
        // It left by itself, or was fenced between two calls.
        assert!(receipt.fenced_writers <= 1, "{receipt:?}");
    }
}

#[tokio::test]
async fn stuck_writers_are_replaced_up_to_the_cap_and_then_exports_wait() {
    let bench = Bench::new(HookStep::WriteBegins, 2, 1).await;
    let (first, release_first) = bench.stuck().await;
    let (second, release_second) = bench.stuck().await;
    // The worker and its one replacement are stuck; a deletion does not need any.
    let waits = bench.submit().await;
    let cancelled = bench.submit().await;
    bench.evanesce.cancel(cancelled, "host".parse().unwrap()).await.unwrap();
    bench.evanesce.wait_erased(cancelled).await.unwrap().unwrap();
    for job in [first, second] {
        eventually("its names to go", || (!bench.disk.has(&job.to_string())).then_some(()));
    }
    assert_eq!(bench.evanesce.reaper_status().await.unwrap().marked, 2);
    assert_eq!(bench.disk.jobs("building"), [waits.to_string()]);
    drop(release_second);
    bench.assert_completes(waits).await;
    bench.evanesce.wait_erased(second).await.unwrap().unwrap();
    drop(release_first);
    bench.evanesce.wait_erased(first).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_failed_job_with_a_stuck_writer_is_deleted_and_erased_like_others() {
    let (fail, fails) = channel::<()>();
    let fails = Mutex::new(fails);
    // Two parts, of which the second one fails when the test says so.
    let exporter = FakeExporter::writes_nothing().plan(|_| Ok(plan_of([false.into(), true.into()])));
    let exporter = exporter.run(move |part, out, _| {
        if part.content == true {
            let _ = fails.lock().recv();
            return Err(ExportError::Other("on purpose".into()));
        }
        write_patient(out, "p")
    });
    let bench = Bench::with(exporter, 2, HookStep::WriteBegins, 1, 1).await;
    let job = bench.submit().await;
    let release = bench.held.recv_timeout(PATIENCE).unwrap();
    drop(fail);
    assert!(matches!(bench.evanesce.wait_finished(job).await, Some(JobState::Failed(_))));
    // Past its deadline: the writer has been asked for its files, and keeps them.
    tokio::time::sleep(Duration::from_millis(200)).await;
    bench.evanesce.cancel(job, "host".parse().unwrap()).await.unwrap();
    eventually("its names to go", || (!bench.disk.has(&job.to_string())).then_some(()));
    assert_eq!(bench.receipts(), "", "P4: erased while a descriptor is open");
    drop(release);
    let erased = tokio::time::timeout(PATIENCE, bench.evanesce.wait_erased(job)).await;
    assert!(erased.expect("nobody asks the writer again").unwrap().unwrap().files >= 3);
}

#[test]
fn a_stuck_writer_is_counted_and_named_and_its_job_is_erased_by_the_next_process() {
    let setup = Setup::new().set("export.cancel_deadline=50ms");
    let server = setup.start_with(&["--breakpoint", "write-begins=hold"]);
    let polling = server.kickoff("$export?_type=Patient");
    eventually("the writer", || {
        let files = setup.disk().files();
        files.iter().any(|file| file.to_string_lossy().ends_with(".ndjson")).then_some(())
    });
    assert_eq!(delete(&polling).status, 202);
    let id = job_id(&polling);
    setup.disk().wait_gone(id);
    let metrics = server.operator("metrics").body;
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(metrics.contains("\nevanesce_stuck_writers_total 1\n"), "{metrics}");
    assert!(metrics.contains("\nevanesce_outliving_workers{what=\"part\"} 1\n"), "{metrics}");
    assert_eq!(server.operator("readyz").status, 200, "other workers are left");
    let log = setup.settled_log(&server);
    let line = log.lines().find(|line| line.contains("stuck in a system call")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["job"], &line["part"]), (&id.into(), &0.into()), "{line}");
    assert!(line["worker"].as_str().unwrap().starts_with("export-"), "{line}");
    assert!(setup.receipts().is_empty());
    server.kill();

    let server = setup.start();
    let receipt = setup.receipt(id);
    assert_eq!((&receipt["reason"], &receipt["was"]), (&"cancelled".into(), &"running".into()));
    let polling = crate::support::polling_url(&server, id);
    assert_eq!(get(&polling).outcome(), (404, "deleted".into()));
    crate::support::wait_settled(&setup, &server, &[].into());
    server.kill();
    crate::support::assert_disk_equals_store(&setup);
}

#[test]
fn p13_readyz_is_red_while_jobs_that_have_ended_have_all_workers() {
    let setup = Setup::new()
        .set("export.cancel_deadline=50ms")
        .set("export.workers=1")
        .set("export.max_burst_workers=0")
        .set("export.max_replacements=0");
    let server = setup.start_with(&["--breakpoint", "write-begins=hold"]);
    let readyz = || server.operator("readyz");
    assert_eq!(readyz().json()["workers"], serde_json::json!({"count": 0, "starved": false}));
    let polling = server.kickoff("$export?_type=Patient");
    eventually("the writer", || {
        let files = setup.disk().files();
        files.iter().any(|file| file.to_string_lossy().ends_with(".ndjson")).then_some(())
    });
    assert_eq!(readyz().status, 200, "a job that is active may have it");
    assert_eq!(delete(&polling).status, 202);
    let red = eventually("the alarm", || Some(readyz()).filter(|answer| answer.status == 503)).json();
    assert_eq!(red["ready"], false);
    assert_eq!(red["workers"], serde_json::json!({"count": 1, "starved": true}), "{red}");
    assert_eq!(red["planners"], serde_json::json!({"count": 0, "starved": false}), "{red}");
}
