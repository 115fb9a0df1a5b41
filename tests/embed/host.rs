//! A host that produces rows of its own, cancels half-way, and mounts our routes in its app.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::{App, HttpResponse, test, web};
use evanesce::export::{CancelToken, ExportError, Exporter, Part, PartSummary, PartWriter, Plan};
use evanesce::fhir::ResourceType;
use evanesce::http::{self, Api};
use evanesce::job::{ExportRequest, JobState, MarkReason, StateName};
use evanesce::{CancelError, Evanesce, Kickoff};
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::support::{Disk, InstanceDir};

/// Rows from nowhere: `rows` patients, or without end until the writer refuses one.
struct WritesRows {
    rows: Option<u64>,
    written: Arc<AtomicU64>,
    /// Told after the hundredth row.
    halfway: Arc<Notify>,
    /// What the writer said in the end.
    refused: Arc<AtomicU64>,
}

impl WritesRows {
    fn new(rows: Option<u64>) -> Self {
        Self { rows, written: Arc::default(), halfway: Arc::default(), refused: Arc::default() }
    }
}

impl Exporter for WritesRows {
    fn plan(&self, _: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
        let part = Part { weight: self.rows.unwrap_or(1000), content: serde_json::Value::Null };
        Ok(Plan::new(Timestamp::now(), vec![part]))
    }

    fn run(&self, _: &Part, out: &mut PartWriter, _: &CancelToken) -> Result<PartSummary, ExportError> {
        let patient = ResourceType::of("Patient").unwrap();
        for n in 0..self.rows.unwrap_or(u64::MAX) {
            let row = format!("{{\"resourceType\":\"Patient\",\"id\":\"p{n}\"}}");
            let written = out.resource(patient, row.as_bytes()).and_then(|()| out.progress(1));
            if let Err(error) = written {
                // However often it tries again, not one more byte is taken.
                for _ in 0..3 {
                    let again = out.resource(patient, row.as_bytes());
                    assert!(matches!(again, Err(ExportError::Cancelled)));
                    self.refused.fetch_add(1, Ordering::SeqCst);
                }
                return Err(error);
            }
            self.written.store(n + 1, Ordering::SeqCst);
            if n == 100 {
                self.halfway.notify_one();
            }
        }
        Ok(PartSummary::default())
    }
}

#[tokio::test]
async fn a_host_exports_rows_of_its_own_and_has_them_erased() {
    let folder = InstanceDir::new();
    let evanesce = Evanesce::builder()
        .data_dir(folder.path())
        .exporter(WritesRows::new(Some(1000)))
        .start()
        .await
        .unwrap();
    let host = || "host".parse().unwrap();
    let job = evanesce.submit(Kickoff::system(), host()).await.unwrap();
    let Some(JobState::Complete(completion)) = evanesce.wait_finished(job).await else {
        panic!("not complete")
    };
    assert_eq!((completion.files, completion.resources), (1, 1000));
    let disk = Disk(folder.path().into());
    assert_eq!(disk.jobs("ready"), [job.to_string()]);

    evanesce.cancel(job, host()).await.unwrap();
    let receipt = evanesce.wait_erased(job).await.unwrap().unwrap();
    assert_eq!((receipt.reason, receipt.was), (MarkReason::Deleted, StateName::Complete));
    assert!(receipt.bytes > completion.bytes, "the documents went too");
    assert!(disk.files().is_empty());
    assert_eq!(evanesce.cancel(job, host()).await, Err(CancelError::AlreadyDeleted));
}

#[tokio::test]
async fn a_host_cancels_half_way_and_its_writer_refuses_further_bytes() {
    let folder = InstanceDir::new();
    let rows = WritesRows::new(None);
    let (halfway, refused, written) = (rows.halfway.clone(), rows.refused.clone(), rows.written.clone());
    let evanesce = Evanesce::builder().data_dir(folder.path()).exporter(rows).start().await.unwrap();
    let job = evanesce.submit(Kickoff::system(), "host".parse().unwrap()).await.unwrap();
    halfway.notified().await;
    evanesce.cancel(job, "host".parse().unwrap()).await.unwrap();
    // Durable from here on, in both witnesses: not in building/ any more.
    let disk = Disk(folder.path().into());
    assert!(disk.jobs("building").is_empty());
    let receipt = evanesce.wait_erased(job).await.unwrap().unwrap();
    assert_eq!((receipt.reason, receipt.was), (MarkReason::Cancelled, StateName::Running));
    assert_eq!(receipt.fenced_writers, 0, "it stopped by itself");
    assert_eq!(refused.load(Ordering::SeqCst), 3);
    assert!(written.load(Ordering::SeqCst) > 100);
    assert!(disk.files().is_empty());
}

#[tokio::test]
async fn a_job_nobody_knows_cannot_be_cancelled() {
    let folder = InstanceDir::new();
    let evanesce =
        Evanesce::builder().data_dir(folder.path()).exporter(WritesRows::new(Some(1))).start().await.unwrap();
    let nobody = evanesce::job::JobId::random();
    assert_eq!(evanesce.cancel(nobody, "host".parse().unwrap()).await, Err(CancelError::NotFound));
    assert_eq!(evanesce.wait_finished(nobody).await, None);
    assert_eq!(evanesce.wait_erased(nobody).await.unwrap(), None);
}

#[tokio::test]
async fn the_same_request_sent_again_gets_its_answer_again() {
    let folder = InstanceDir::new();
    let evanesce =
        Evanesce::builder().data_dir(folder.path()).exporter(WritesRows::new(None)).start().await.unwrap();
    let client = || "host".parse().unwrap();
    let job = evanesce.submit(Kickoff::system(), client()).await.unwrap();
    let (first, again, other) = tokio::join!(
        evanesce.cancel_as(job, client(), "a".into()),
        evanesce.cancel_as(job, client(), "a".into()),
        evanesce.cancel_as(job, client(), "b".into()),
    );
    assert_eq!(first, again);
    assert!(first.is_ok());
    assert_eq!(other, Err(CancelError::AlreadyDeleted));
}

#[tokio::test]
async fn a_stopped_instance_goes_on_where_it_was() {
    let folder = InstanceDir::new();
    let rows = WritesRows::new(None);
    let halfway = rows.halfway.clone();
    let evanesce = Evanesce::builder().data_dir(folder.path()).exporter(rows).start().await.unwrap();
    let job = evanesce.submit(Kickoff::system(), "host".parse().unwrap()).await.unwrap();
    halfway.notified().await;
    evanesce.stop(std::time::Duration::from_secs(10)).await;
    drop(evanesce);
    let again =
        Evanesce::builder().data_dir(folder.path()).exporter(WritesRows::new(Some(5))).start().await.unwrap();
    let Some(JobState::Complete(completion)) = again.wait_finished(job).await else { panic!("not complete") };
    assert_eq!(completion.resources, 5, "the part was not sealed, so it ran again as a whole");
}

#[tokio::test]
async fn a_second_instance_on_the_same_directory_is_refused() {
    let folder = InstanceDir::new();
    let start = || Evanesce::builder().data_dir(folder.path()).exporter(WritesRows::new(Some(1))).start();
    let first = start().await.unwrap();
    let error = start().await.err().unwrap();
    assert!(matches!(error, evanesce::StartError::InUse(_)), "{error}");
    drop(first);
    start().await.unwrap();
}

#[actix::test]
async fn routes_are_mounted_in_the_app_of_a_host() {
    let folder = InstanceDir::new();
    let evanesce =
        Evanesce::builder().data_dir(folder.path()).exporter(WritesRows::new(Some(3))).start().await.unwrap();
    let api = Api::new(evanesce, "https://fhir.example.org");
    let app = App::new().configure(http::configure(api)).route("/own", web::get().to(HttpResponse::Ok));
    let app = test::init_service(app).await;
    let own = test::call_service(&app, test::TestRequest::get().uri("/own").to_request()).await;
    assert!(own.status().is_success());
    let kickoff = test::TestRequest::get()
        .uri("/r4/default/$export")
        .insert_header(("Accept", "application/fhir+json"))
        .insert_header(("Prefer", "respond-async"));
    let accepted = test::call_service(&app, kickoff.to_request()).await;
    assert_eq!(accepted.status(), 202);
    let location = accepted.headers().get("content-location").unwrap().to_str().unwrap();
    assert!(location.starts_with("https://fhir.example.org/r4/default/bulk-api/request/"), "{location}");
    // The process of a host has a recorder of its own.
    let metrics = test::call_service(&app, test::TestRequest::get().uri("/metrics").to_request()).await;
    assert_eq!(metrics.status(), 404);
}
