//! A host follows its jobs without polling: progress, files, completion, and the end of the instance.

use std::sync::Arc;
use std::time::Duration;

use evanesce::export::{CancelToken, ExportError, Exporter, Part, PartSummary, PartWriter, Plan};
use evanesce::fhir::ResourceType;
use evanesce::job::{ClientId, ExportRequest, FailureReason, JobId, Parameters, StateName};
use evanesce::{CompletionError, Evanesce, JobAbsent, JobOwner, JobProgress, JobWatch, Kickoff};
use jiff::Timestamp;
use parking_lot::{Condvar, Mutex};

use crate::support::{InstanceDir, PATIENCE};

const ROW: &[u8] = br#"{"resourceType":"Patient","id":"p"}"#;

/// Writes one row a part, each when it is let to.
#[derive(Clone, Default)]
struct WritesOnRequest(Arc<(Mutex<u32>, Condvar)>);

impl WritesOnRequest {
    /// Lets so many more rows be written.
    fn allow(&self, rows: u32) {
        *self.0.0.lock() += rows;
        self.0.1.notify_all();
    }
}

impl Exporter for WritesOnRequest {
    fn plan(&self, _: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
        let part = |n| Part { weight: 5, content: serde_json::Value::from(n) };
        Ok(Plan::new(Timestamp::now(), (0..4).map(part).collect()))
    }

    fn run(
        &self,
        part: &Part,
        out: &mut PartWriter,
        cancel: &CancelToken,
    ) -> Result<PartSummary, ExportError> {
        let mut allowed = self.0.0.lock();
        while *allowed == 0 {
            cancel.check()?;
            self.0.1.wait_for(&mut allowed, Duration::from_millis(10));
        }
        *allowed -= 1;
        drop(allowed);
        if part.content == 3 {
            return Err(ExportError::Other("the last row cannot be read".into()));
        }
        out.resource(ResourceType::PATIENT, ROW)?;
        out.progress(5)?;
        Ok(PartSummary::default())
    }
}

fn owner() -> JobOwner {
    "host".parse::<ClientId>().unwrap().into()
}

async fn start(folder: &InstanceDir) -> (Evanesce, WritesOnRequest) {
    let rows = WritesOnRequest::default();
    let evanesce = Evanesce::builder().data_dir(folder.path()).exporter(rows.clone()).start().await.unwrap();
    (evanesce, rows)
}

async fn submit(evanesce: &Evanesce) -> JobId {
    let parameters = Parameters { partial_manifests: true, ..Parameters::default() };
    evanesce.submit(Kickoff { parameters, ..Kickoff::system() }, owner().client).await.unwrap()
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("waited in vain")
}

/// Watches until the progress is as it is wanted.
async fn until(watch: &mut JobWatch, wanted: impl Fn(&JobProgress) -> bool) -> JobProgress {
    soon(async {
        loop {
            let progress = watch.next().await.expect("the job is there").progress();
            if wanted(&progress) {
                return progress;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_host_watches_the_parts_of_an_export_and_opens_the_files_that_are_there() {
    let folder = InstanceDir::new();
    let (evanesce, rows) = start(&folder).await;
    let job = submit(&evanesce).await;
    let mut watch = evanesce.watch(owner(), job).await.unwrap();
    let planned = until(&mut watch, |progress| progress.parts > 0).await;
    assert_eq!((planned.parts, planned.sealed_parts, planned.percent), (4, 0, 0.0));
    rows.allow(2);
    let half = until(&mut watch, |progress| progress.sealed_parts == 2).await;
    assert_eq!((half.planned, half.done, half.bytes, half.percent), (20, 10, 72, 50.0));

    let shown = evanesce.job(&owner(), job).await.unwrap();
    let files = shown.files();
    assert_eq!(
        files.iter().map(|file| (&*file.resource_type, file.count)).collect::<Vec<_>>(),
        [("Patient", 1), ("Patient", 1)]
    );
    let opened = evanesce.open_file(&owner(), job, &files[0].name).await.unwrap();
    assert_eq!(opened.read_at(0, 1000).await.unwrap().trim_ascii_end(), ROW);

    // Nothing moves: there is nothing to see, and no turn of a loop either.
    assert!(tokio::time::timeout(Duration::from_millis(1200), watch.next()).await.is_err());
    drop(opened);
    evanesce.cancel(job, owner().client).await.unwrap();
    assert!(soon(watch.next()).await.is_none());
    assert_eq!(evanesce.watch(owner(), job).await.err(), Some(JobAbsent::Deleted));
}

#[tokio::test]
async fn p10_nobody_watches_the_job_of_another() {
    let folder = InstanceDir::new();
    let (evanesce, _rows) = start(&folder).await;
    let job = submit(&evanesce).await;
    let other: JobOwner = "other".parse::<ClientId>().unwrap().into();
    for (owner, job) in [(other, job), (owner(), JobId::random())] {
        assert_eq!(evanesce.watch(owner, job).await.err(), Some(JobAbsent::Unknown));
    }
}

#[tokio::test]
async fn an_export_that_does_not_become_complete_says_why() {
    let folder = InstanceDir::new();
    let (evanesce, rows) = start(&folder).await;
    assert_eq!(evanesce.wait_complete(JobId::random()).await, Err(CompletionError::Unknown));
    let (failing, cancelled) = (submit(&evanesce).await, submit(&evanesce).await);
    evanesce.cancel(cancelled, owner().client).await.unwrap();
    assert_eq!(evanesce.wait_complete(cancelled).await, Err(CompletionError::Deleted));
    rows.allow(4);
    let Err(CompletionError::Failed(failure)) = soon(evanesce.wait_complete(failing)).await else { panic!() };
    assert_eq!(failure.reason, FailureReason::ExporterFailed);
    let failed = evanesce.job(&owner(), failing).await.unwrap();
    assert_eq!((failed.state().name(), failed.files()), (StateName::Failed, Vec::new()));
}

#[tokio::test]
async fn whoever_waits_for_a_job_hears_when_the_instance_stops() {
    let folder = InstanceDir::new();
    let (evanesce, _rows) = start(&folder).await;
    let job = submit(&evanesce).await;
    let mut watch = evanesce.watch(owner(), job).await.unwrap();
    let watching = tokio::spawn(async move { while watch.next().await.is_some() {} });
    let (one, two) = (evanesce.clone(), evanesce.clone());
    let completing = tokio::spawn(async move { one.wait_complete(job).await });
    let erasing = tokio::spawn(async move { two.wait_erased(job).await.unwrap() });
    evanesce.stop(PATIENCE).await;
    soon(watching).await.unwrap();
    assert_eq!(soon(completing).await.unwrap(), Err(CompletionError::Stopped));
    assert_eq!(soon(erasing).await.unwrap(), None);
    // One that begins to wait only now does not either.
    assert_eq!(soon(evanesce.wait_finished(job)).await, None);
}
