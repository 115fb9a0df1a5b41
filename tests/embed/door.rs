//! What HTTP can do, a host does without it: jobs, manifests, files in ranges, Groups and resources.

use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use evanesce::config::{Config, ConfigDuration};
use evanesce::export::{CancelToken, ExportError, Exporter, GroupName, Part, PartSummary, PartWriter, Plan};
use evanesce::fhir::ResourceType;
use evanesce::job::{ClientId, ExportRequest, JobId, JobState, Parameters, StateName};
use evanesce::{Evanesce, JobAbsent, JobOwner, Kickoff, OpenFileError, PageAbsent, SourceReadError};
use jiff::Timestamp;

use crate::support::{Disk, InstanceDir};

/// Patients, in two parts, and a Group.
struct Patients;

const ROW: &str = "{\"resourceType\":\"Patient\",\"id\":\"p\"}\n";
const ROWS: usize = 40_000;

impl Exporter for Patients {
    fn read(&self, resource_type: ResourceType, id: &str) -> Result<Option<Vec<u8>>, ExportError> {
        Ok((resource_type == ResourceType::GROUP && id == "g").then(|| b"{}".to_vec()))
    }

    fn groups(&self) -> Result<Arc<Vec<GroupName>>, ExportError> {
        Ok(Arc::new(vec![GroupName { id: "g".into(), ..GroupName::default() }]))
    }

    fn plan(&self, _: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
        let part = Part { weight: 1, content: serde_json::Value::Null };
        Ok(Plan::new(Timestamp::now(), vec![part]))
    }

    fn run(&self, _: &Part, out: &mut PartWriter, _: &CancelToken) -> Result<PartSummary, ExportError> {
        let patient = ResourceType::of("Patient").unwrap();
        for _ in 0..ROWS {
            out.resource(patient, ROW.trim_end().as_bytes())?;
        }
        out.progress(1)?;
        Ok(PartSummary::default())
    }
}

fn owner() -> JobOwner {
    "host".parse::<ClientId>().unwrap().into()
}

async fn start(folder: &InstanceDir, delete_grace: Duration) -> Evanesce {
    let mut config = Config::default();
    config.download.delete_grace = ConfigDuration(delete_grace);
    Evanesce::builder().config(config).data_dir(folder.path()).exporter(Patients).start().await.unwrap()
}

/// A complete export, and the name of its file.
async fn export(evanesce: &Evanesce) -> (JobId, String) {
    let job = evanesce.submit(Kickoff::system(), owner().client).await.unwrap();
    assert!(matches!(evanesce.wait_finished(job).await, Some(JobState::Complete(_))));
    let page = evanesce.job(&owner(), job).await.unwrap().manifest(0).unwrap();
    let [file] = &page.files[..] else { panic!("{page:?}") };
    (job, file.name.clone())
}

const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_host_follows_an_export_and_reads_its_file_in_ranges() {
    let folder = InstanceDir::new();
    let evanesce = start(&folder, LONG).await;
    let (job, name) = export(&evanesce).await;
    let shown = evanesce.job(&owner(), job).await.unwrap();
    assert_eq!((shown.id(), shown.state().name(), shown.percent()), (job, StateName::Complete, 100.0));
    assert_eq!(shown.manifest(1), Err(PageAbsent::Unknown));
    let [overview] = &evanesce.jobs().await[..] else { panic!() };
    assert_eq!((overview.job, overview.state, overview.held), (job, StateName::Complete, false));

    let file = evanesce.open_file(&owner(), job, &name).await.unwrap();
    let text = ROW.repeat(ROWS);
    assert_eq!(file.file().bytes, text.len() as u64);
    assert_eq!(file.read_at(3, 40).await.unwrap(), &text.as_bytes()[3..43]);
    assert_eq!(file.read_at(text.len() as u64 - 2, 40).await.unwrap(), b"}\n");
    assert!(file.read_at(text.len() as u64, 40).await.unwrap().is_empty());
    let most = file.read_at(0, usize::MAX).await.unwrap();
    assert_eq!((most.len(), &most[..]), (1 << 20, &text.as_bytes()[..1 << 20]), "P13");
}

#[tokio::test]
async fn nobody_opens_what_is_not_theirs_not_there_or_deleted() {
    let folder = InstanceDir::new();
    let evanesce = start(&folder, LONG).await;
    let (job, name) = export(&evanesce).await;
    let other: JobOwner = "other".parse::<ClientId>().unwrap().into();
    let elsewhere = JobOwner { tenant: "elsewhere".parse().unwrap(), ..owner() };
    let opened = async |owner: &JobOwner, job, name: &str| evanesce.open_file(owner, job, name).await.err();
    for stranger in [&other, &elsewhere] {
        assert_eq!(evanesce.job(stranger, job).await.err(), Some(JobAbsent::Unknown), "P10");
        assert_eq!(opened(stranger, job, &name).await, Some(JobAbsent::Unknown.into()), "P10");
    }
    assert_eq!(opened(&owner(), JobId::random(), &name).await, Some(JobAbsent::Unknown.into()));
    for bad in ["request.json", "../request.json", ""] {
        assert_eq!(opened(&owner(), job, bad).await, Some(OpenFileError::UnknownFile), "F-10: {bad}");
    }
    evanesce.cancel(job, owner().client).await.unwrap();
    assert_eq!(evanesce.job(&owner(), job).await.err(), Some(JobAbsent::Deleted), "P2");
    assert_eq!(opened(&owner(), job, &name).await, Some(JobAbsent::Deleted.into()), "P2");
    assert_eq!(opened(&other, job, &name).await, Some(JobAbsent::Unknown.into()), "P10");
    assert_eq!(evanesce.jobs().await[0].percent, None);
}

#[tokio::test]
async fn p4_a_job_is_not_erased_while_a_host_has_a_file_of_it_open() {
    let folder = InstanceDir::new();
    let evanesce = start(&folder, LONG).await;
    let (job, name) = export(&evanesce).await;
    let file = evanesce.open_file(&owner(), job, &name).await.unwrap();
    evanesce.cancel(job, owner().client).await.unwrap();
    assert_eq!(file.read_at(0, ROW.len()).await.unwrap(), ROW.as_bytes(), "it has its grace");
    let erased = evanesce.wait_erased(job);
    let early = tokio::time::timeout(Duration::from_millis(300), erased).await;
    assert!(early.is_err(), "the download is open: {early:?}");
    drop(file);
    let receipt = evanesce.wait_erased(job).await.unwrap().unwrap();
    assert_eq!((receipt.cut_downloads, Disk(folder.path().into()).files().len()), (0, 0));
}

#[tokio::test]
async fn p4_a_file_is_taken_away_from_a_host_that_does_not_let_go_of_it() {
    let folder = InstanceDir::new();
    let evanesce = start(&folder, Duration::from_millis(1)).await;
    let (job, name) = export(&evanesce).await;
    let file = evanesce.open_file(&owner(), job, &name).await.unwrap();
    evanesce.cancel(job, owner().client).await.unwrap();
    let receipt = evanesce.wait_erased(job).await.unwrap().unwrap();
    assert_eq!((receipt.cut_downloads, Disk(folder.path().into()).files().len()), (1, 0));
    let refused = file.read_at(0, 1).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionAborted, "{refused}");
}

#[tokio::test]
async fn the_manifest_of_an_export_that_runs_is_shown_as_far_as_it_was_allowed() {
    let folder = InstanceDir::new();
    let evanesce = start(&folder, LONG).await;
    let parameters = Parameters { partial_manifests: true, ..Parameters::default() };
    let kickoff = Kickoff { parameters, ..Kickoff::system() };
    let job = evanesce.submit(kickoff, owner().client).await.unwrap();
    // Whenever it is looked at, a page is there as a whole or not yet.
    loop {
        match evanesce.job(&owner(), job).await.unwrap().manifest(0) {
            Ok(page) => break assert_eq!((page.job, page.number, page.files.len()), (job, 0, 1)),
            Err(absent) => assert_eq!(absent, PageAbsent::NotYet),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_host_asks_which_groups_there_are() {
    let folder = InstanceDir::new();
    let evanesce = start(&folder, LONG).await;
    let tenant = owner().tenant;
    assert_eq!(evanesce.groups(&tenant).await.unwrap()[0].id, "g");
    let group = async |id| evanesce.resource(&tenant, ResourceType::GROUP, id).await;
    assert_eq!((group("g").await, group("h").await), (Ok(Some(b"{}".to_vec())), Ok(None)));
    assert!(evanesce.readiness().await.is_ready);
    drop(evanesce);
    let folder = InstanceDir::new();
    let builder = Evanesce::builder().data_dir(folder.path());
    let evanesce = builder.exporter_for("own".parse().unwrap(), Patients).start().await.unwrap();
    assert_eq!(evanesce.tenants().into_iter().collect::<Vec<_>>(), ["own".parse().unwrap()]);
    assert_eq!(evanesce.groups(&tenant).await.err(), Some(SourceReadError::UnknownTenant));
}

/// Runs a future on this thread, without any runtime.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        std::thread::park();
    }
}

#[test]
fn a_host_needs_no_runtime_of_its_own() {
    let folder = InstanceDir::new();
    block_on(async {
        let evanesce = start(&folder, LONG).await;
        let (job, name) = export(&evanesce).await;
        let file = evanesce.open_file(&owner(), job, &name).await.unwrap();
        assert_eq!(file.read_at(0, ROW.len()).await.unwrap(), ROW.as_bytes());
        drop(file);
        assert_eq!(evanesce.groups(&owner().tenant).await.unwrap().len(), 1);
        evanesce.cancel(job, owner().client).await.unwrap();
        assert!(evanesce.wait_erased(job).await.unwrap().is_some());
        evanesce.stop(LONG).await;
    });
}
