//! A host whose exports may not hold everything (G-4): its exporter is told, the writer refuses the
//! rest, and a restart changes nothing of it.

use std::sync::Arc;

use evanesce::auth::Scopes;
use evanesce::export::{CancelToken, ExportError, Exporter, Part, PartSummary, PartWriter, Plan};
use evanesce::fhir::ResourceType;
use evanesce::job::{ExportAccess, ExportRequest, FailureReason, JobId, JobState};
use evanesce::{Evanesce, Kickoff, Submission};
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};

use crate::support::{Disk, InstanceDir, PATIENCE};

/// Writes one resource of each of these types, whatever it is asked for.
struct WritesUnasked {
    types: &'static [&'static str],
    /// Gets the access of each plan.
    planned: mpsc::UnboundedSender<ExportAccess>,
    /// If set, a part that has begun goes on until it is stopped, and tells that it has begun.
    endless: Option<Arc<Notify>>,
}

impl Exporter for WritesUnasked {
    fn plan(&self, request: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
        self.planned.send(request.access.clone()).unwrap();
        Ok(Plan::new(Timestamp::now(), vec![Part { weight: 1, content: serde_json::Value::Null }]))
    }

    fn run(&self, _: &Part, out: &mut PartWriter, cancel: &CancelToken) -> Result<PartSummary, ExportError> {
        while let Some(begun) = &self.endless {
            begun.notify_one();
            out.resource(ResourceType::PATIENT, b"{}")?;
            if cancel.is_cancelled() {
                return Err(ExportError::Cancelled);
            }
        }
        for name in self.types {
            let resource_type = ResourceType::of(name).unwrap();
            let line = format!("{{\"resourceType\":\"{name}\",\"id\":\"1\"}}");
            // One that passes over errors gains nothing by it.
            let _ = out.resource(resource_type, line.as_bytes());
            let _ = out.lines(resource_type, format!("{line}\n").as_bytes());
        }
        Ok(PartSummary::default())
    }
}

fn request(scopes: &str) -> ExportRequest {
    let (tenant, owner) = ("default".parse().unwrap(), "host".parse().unwrap());
    let request = ExportRequest::new(tenant, owner, Kickoff::system(), Timestamp::now());
    ExportRequest { access: scopes.parse::<Scopes>().unwrap().access(), ..request }
}

struct Host {
    folder: InstanceDir,
    planned: mpsc::UnboundedReceiver<ExportAccess>,
    told: mpsc::UnboundedSender<ExportAccess>,
}

impl Host {
    fn new() -> Self {
        let (told, planned) = mpsc::unbounded_channel();
        Self { folder: InstanceDir::new(), planned, told }
    }

    async fn start(&self, types: &'static [&'static str], endless: Option<Arc<Notify>>) -> Evanesce {
        let exporter = WritesUnasked { types, planned: self.told.clone(), endless };
        Evanesce::builder().data_dir(self.folder.path()).exporter(exporter).start().await.unwrap()
    }
}

async fn finished(evanesce: &Evanesce, job: JobId) -> JobState {
    tokio::time::timeout(PATIENCE, evanesce.wait_finished(job)).await.unwrap().unwrap()
}

fn reason(state: &JobState) -> Option<FailureReason> {
    match state {
        JobState::Failed(failure) => Some(failure.reason),
        _ => None,
    }
}

#[tokio::test]
async fn g_4_a_type_that_an_export_may_not_hold_fails_it_and_leaves_nothing() {
    let mut host = Host::new();
    let evanesce = host.start(&["Patient", "Observation", "Condition"], None).await;
    let mut submit = async |scopes: &str| {
        let job = evanesce.submit_as(Submission::new(request(scopes))).await.unwrap();
        assert_eq!(host.planned.recv().await.unwrap(), request(scopes).access);
        (job, finished(&evanesce, job).await)
    };
    let part = "system/Patient.rs system/Observation.rs?status=final";
    let (_, state) = submit(part).await;
    assert_eq!(reason(&state), Some(FailureReason::AccessExceeded), "{state:?}");
    let disk = Disk(host.folder.path().into());
    assert!(
        disk.files().iter().all(|file| file.extension().is_none_or(|extension| extension != "ndjson")),
        "{:?}",
        disk.files()
    );
    for enough in
        ["system/*.read", "system/Condition.rs system/Patient.rs system/Observation.rs?status=final"]
    {
        let (job, state) = submit(enough).await;
        let JobState::Complete(completion) = state else { panic!("{state:?}") };
        assert_eq!((completion.files, completion.resources), (3, 6), "{job}");
    }
}

#[tokio::test]
async fn p15_a_group_that_may_not_be_read_fails_an_export_of_a_host_too() {
    let mut host = Host::new();
    let evanesce = host.start(&["Patient", "Group"], None).await;
    for (group, expected) in [("1", None), ("2", Some(FailureReason::AccessExceeded))] {
        let access = ExportAccess::everything().of_groups([group.to_string()].into());
        let request = ExportRequest { access: access.clone(), ..request("system/*.read") };
        let job = evanesce.submit_as(Submission::new(request)).await.unwrap();
        assert_eq!(host.planned.recv().await.unwrap(), access);
        let state = finished(&evanesce, job).await;
        assert_eq!(reason(&state), expected, "{group}: {state:?}");
    }
}

#[tokio::test]
async fn g_4_a_job_that_goes_on_after_a_restart_may_hold_no_more_than_before() {
    let mut host = Host::new();
    for (scopes, expected) in [
        ("system/Patient.rs", Some(FailureReason::AccessExceeded)),
        ("system/Patient.rs system/Condition.rs", None),
    ] {
        let begun = Arc::new(Notify::new());
        let evanesce = host.start(&[], Some(begun.clone())).await;
        let job = evanesce.submit_as(Submission::new(request(scopes))).await.unwrap();
        begun.notified().await;
        evanesce.stop(PATIENCE).await;
        drop(evanesce);
        let evanesce = host.start(&["Condition"], None).await;
        assert_eq!(reason(&finished(&evanesce, job).await), expected, "{scopes}");
        assert_eq!(host.planned.recv().await.unwrap(), request(scopes).access, "it is planned once");
        assert!(host.planned.try_recv().is_err());
    }
}
