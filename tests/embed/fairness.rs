//! Jobs side by side: under the limits on bytes a second, and with a nice value.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evanesce::config::Config;
use evanesce::export::{CancelToken, ExportError, Exporter, Part, PartSummary, PartWriter, Plan};
use evanesce::fhir::ResourceType;
use evanesce::job::{ExportRequest, JobId, JobState, Parameters, StateName};
use evanesce::{Evanesce, Kickoff};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::support::{FakeExporter, InstanceDir, PATIENCE};

/// Bytes taken by the writers, by resource type; each job of a test has a type of its own.
type Written = HashMap<&'static str, u64>;

/// How many parts a job of each type has, and how many bytes each part.
struct WritesRowsByType {
    jobs: &'static [(&'static str, usize, u64)],
    written: Arc<watch::Sender<Written>>,
    /// What had been written when a part of each type began, and when it ended.
    seen: Arc<Mutex<HashMap<&'static str, (Written, Written)>>>,
}

impl WritesRowsByType {
    fn new(jobs: &'static [(&'static str, usize, u64)]) -> Self {
        Self { jobs, written: Arc::default(), seen: Arc::default() }
    }

    fn job(&self, name: &str) -> (&'static str, usize, u64) {
        *self.jobs.iter().find(|job| job.0 == name).unwrap()
    }
}

impl Exporter for WritesRowsByType {
    fn plan(&self, request: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
        let (name, parts, bytes) = self.job(request.parameters().types[0].as_str());
        let part = Part { weight: bytes, content: name.into() };
        Ok(Plan::new(Timestamp::now(), vec![part; parts]))
    }

    fn run(&self, part: &Part, out: &mut PartWriter, _: &CancelToken) -> Result<PartSummary, ExportError> {
        let (name, _, bytes) = self.job(part.content.as_str().unwrap());
        let row = format!("{{\"resourceType\":\"{name}\",\"id\":\"{}\"}}", "1".repeat(960));
        let before = self.written.borrow().clone();
        for _ in 0..bytes / row.len() as u64 {
            out.resource(ResourceType::of(name).unwrap(), row.as_bytes())?;
            self.written.send_modify(|written| *written.entry(name).or_default() += row.len() as u64);
        }
        let after = self.written.borrow().clone();
        self.seen.lock().insert(name, (before, after));
        Ok(PartSummary::default())
    }
}

async fn start(
    folder: &InstanceDir,
    exporter: impl Exporter + 'static,
    set: impl FnOnce(&mut evanesce::config::ExportConfig),
) -> Evanesce {
    let mut config = Config::default();
    set(&mut config.export);
    Evanesce::builder().config(config).data_dir(folder.path()).exporter(exporter).start().await.unwrap()
}

/// What comes before the patience of the test ends.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("waited in vain")
}

async fn submit(evanesce: &Evanesce, tenant: &str, name: &str) -> JobId {
    let kickoff =
        Kickoff { parameters: Parameters::default().with_types(&[name]).unwrap(), ..Kickoff::system() };
    evanesce.submit_for(tenant.parse().unwrap(), kickoff, "host".parse().unwrap()).await.unwrap()
}

async fn cancel(evanesce: &Evanesce, job: JobId) -> StateName {
    evanesce.cancel(job, "host".parse().unwrap()).await.unwrap();
    evanesce.wait_erased(job).await.unwrap().unwrap().was
}

#[tokio::test]
async fn a_small_job_beside_a_huge_one_takes_half_of_the_limit_and_finishes_first() {
    const SMALL: u64 = 1 << 20;
    let folder = InstanceDir::new();
    // Six writers against one; each part of the huge job alone takes many times the small one.
    let rows = WritesRowsByType::new(&[("Patient", 12, 64 << 20), ("Group", 1, SMALL)]);
    let (seen, mut written) = (rows.seen.clone(), rows.written.subscribe());
    let evanesce = start(&folder, rows, |export| {
        export.workers = 6;
        export.max_bytes_per_second = 2 << 20;
    })
    .await;
    let huge = submit(&evanesce, "t", "Patient").await;
    soon(written.wait_for(|written| written.get("Patient").is_some_and(|bytes| *bytes > 1 << 20)))
        .await
        .unwrap();
    let small = submit(&evanesce, "t", "Group").await;
    assert!(matches!(soon(evanesce.wait_finished(small)).await, Some(JobState::Complete(_))));
    let (before, after) = seen.lock()["Group"].clone();
    let beside = after["Patient"] - before["Patient"];
    // Half each, give or take what fills the buffers; shares by writers would be 6 to 1.
    assert!((SMALL / 2..SMALL * 2).contains(&beside), "{beside} bytes of the huge one beside {SMALL}");
    assert_eq!(cancel(&evanesce, huge).await, StateName::Running);
}

#[tokio::test]
async fn each_tenant_has_a_limit_of_its_own_which_its_jobs_share() {
    const ENDLESS: u64 = 1 << 40;
    let folder = InstanceDir::new();
    let rows =
        WritesRowsByType::new(&[("Patient", 1, ENDLESS), ("Group", 1, ENDLESS), ("Device", 1, ENDLESS)]);
    let mut written = rows.written.subscribe();
    let evanesce = start(&folder, rows, |export| export.max_bytes_per_second_per_tenant = 1 << 20).await;
    let jobs = [
        submit(&evanesce, "one", "Patient").await,
        submit(&evanesce, "one", "Group").await,
        submit(&evanesce, "two", "Device").await,
    ];
    soon(written.wait_for(|written| written.len() == 3)).await.unwrap();
    let before = written.borrow().clone();
    let alone = |written: &Written| written["Device"] - before["Device"];
    let after = soon(written.wait_for(|written| alone(written) > 1 << 20)).await.unwrap().clone();
    for shared in ["Patient", "Group"] {
        let half = after[shared] - before[shared];
        assert!((300 << 10..800 << 10).contains(&half), "{shared}: {half} beside {}", alone(&after));
    }
    for job in jobs {
        assert_eq!(cancel(&evanesce, job).await, StateName::Running);
    }
}

#[tokio::test]
async fn a_job_is_no_faster_than_its_own_limit() {
    let folder = InstanceDir::new();
    let rows = WritesRowsByType::new(&[("Patient", 4, 100 << 10)]);
    let evanesce = start(&folder, rows, |export| export.max_bytes_per_second_per_job = 1 << 20).await;
    let began = Instant::now();
    let job = submit(&evanesce, "t", "Patient").await;
    assert!(matches!(soon(evanesce.wait_finished(job)).await, Some(JobState::Complete(_))));
    assert!(began.elapsed() > Duration::from_millis(300), "400 KiB in {:?}", began.elapsed());
}

#[cfg(target_os = "linux")]
fn nice_of_this_thread() -> i32 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // proc_pid_stat(5): field 19; field 2 ends with the last parenthesis.
    let fields = stat.rsplit_once(") ").unwrap().1;
    fields.split(' ').nth(16).unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_threads_that_export_are_nice_and_no_others() {
    let own = nice_of_this_thread();
    let folder = InstanceDir::new();
    let (tell, told) = std::sync::mpsc::channel();
    let exporter = FakeExporter::writes_nothing().run(move |_, _, _| {
        tell.send(nice_of_this_thread()).unwrap();
        Ok(())
    });
    let evanesce = start(&folder, exporter, |export| export.nice = 7).await;
    submit(&evanesce, "t", "Patient").await;
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), (own + 7).min(19));
    assert_eq!(nice_of_this_thread(), own);
}
