//! Several tenants in one instance: each with its source, its index and its limits, and what
//! becomes of one that is taken out of the settings.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use evanesce::config::{Config, TenantConfig};
use evanesce::job::{ExportRequest, FailureReason, JobId, JobState, MarkReason, StateName};
use evanesce::{Builder, Evanesce, Kickoff, NoRoom, StartError, Submission, SubmitError};
use jiff::Timestamp;
use tempfile::TempDir;

use crate::support::{FakeExporter, InstanceDir, PATIENCE};

/// A source of so many patients, called `<prefix>-<n>`, of about 1 kB each.
fn patients(prefix: &str, count: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = "x".repeat(1000);
    let line = |n| format!("{{\"resourceType\":\"Patient\",\"id\":\"{prefix}-{n}\",\"x\":\"{text}\"}}\n");
    std::fs::write(folder.path().join("a.ndjson"), (0..count).map(line).collect::<String>()).unwrap();
    folder
}

/// A tenant over a folder.
fn over(folder: &Path) -> TenantConfig {
    let mut tenant = TenantConfig::default();
    tenant.source.folder = Some(folder.into());
    tenant
}

fn config(tenants: &[(&str, TenantConfig)]) -> Config {
    let named = |(name, tenant): &(&str, TenantConfig)| (name.parse().unwrap(), tenant.clone());
    let mut config = Config { tenants: tenants.iter().map(named).collect(), ..Config::default() };
    config.storage.min_free = 0;
    config
}

fn builder(data: &InstanceDir, tenants: &[(&str, TenantConfig)]) -> Builder {
    Evanesce::builder().config(config(tenants)).data_dir(data.path())
}

async fn submit(evanesce: &Evanesce, tenant: &str, client: &str) -> Result<JobId, SubmitError> {
    evanesce.submit_for(tenant.parse().unwrap(), Kickoff::system(), client.parse().unwrap()).await
}

async fn finished(evanesce: &Evanesce, job: JobId) -> Option<JobState> {
    tokio::time::timeout(PATIENCE, evanesce.wait_finished(job)).await.expect("the export ends")
}

/// The ids that an export of a tenant holds.
async fn exported(evanesce: &Evanesce, data: &InstanceDir, tenant: &str) -> BTreeSet<String> {
    let job = submit(evanesce, tenant, "host").await.unwrap();
    let state = finished(evanesce, job).await;
    assert!(matches!(state, Some(JobState::Complete(_))), "{state:?}");
    let files = std::fs::read_dir(data.path().join("ready").join(job.to_string())).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let output = paths.filter(|path| path.extension().is_some_and(|it| it == "ndjson"));
    let text: String = output.map(|path| crate::support::read_stored_text(&path)).collect();
    let id = |line: &str| {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        json["id"].as_str().unwrap().to_string()
    };
    text.lines().map(id).collect()
}

fn ids(prefix: &str, count: usize) -> BTreeSet<String> {
    (0..count).map(|n| format!("{prefix}-{n}")).collect()
}

fn indexes(data: &InstanceDir) -> BTreeSet<String> {
    let names = std::fs::read_dir(data.path().join("index")).unwrap();
    names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn each_tenant_gets_its_own_data_and_two_may_have_the_same_source() {
    let (data, east, west) = (InstanceDir::new(), patients("east", 3), patients("west", 5));
    let tenants = [("a", over(east.path())), ("b", over(west.path())), ("c", over(east.path()))];
    let evanesce = builder(&data, &tenants).start().await.unwrap();
    assert_eq!(exported(&evanesce, &data, "a").await, ids("east", 3));
    assert_eq!(exported(&evanesce, &data, "b").await, ids("west", 5));
    assert_eq!(exported(&evanesce, &data, "c").await, ids("east", 3));
    assert_eq!(indexes(&data), ["a", "b", "c"].map(String::from).into());
}

#[tokio::test]
async fn only_the_tenants_of_the_settings_are_there_and_default_is_no_exception() {
    let (data, source) = (InstanceDir::new(), patients("p", 1));
    let evanesce = builder(&data, &[("a", over(source.path()))]).start().await.unwrap();
    for unknown in ["default", "b", "A"] {
        assert_eq!(submit(&evanesce, unknown, "host").await, Err(SubmitError::UnknownTenant), "{unknown}");
    }
    // They took no place from those that are there.
    assert_eq!(exported(&evanesce, &data, "a").await, ids("p", 1));
    assert!(std::fs::read_dir(data.path().join("building")).unwrap().next().is_none());
}

#[tokio::test]
async fn a_source_that_is_not_there_is_named_by_its_setting_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let tenants = config(&[("a", over(&folder.path().join("missing")))]);
    let Err(error) = Evanesce::builder().config(tenants).data_dir(&data).start().await else { panic!() };
    assert!(matches!(error, StartError::Source { .. }), "{error:?}");
    assert!(error.to_string().contains("tenants.a.source.folder should name a folder"), "{error}");
    assert!(!data.exists());
}

#[tokio::test]
async fn k_9_each_tenant_has_limits_of_jobs_and_of_room_and_a_client_may_have_another() {
    let (data, source) = (InstanceDir::new(), patients("p", 500));
    let own = over(source.path());
    let tenants = [
        ("jobs", TenantConfig { max_active_jobs: Some(2), ..own.clone() }),
        ("clients", TenantConfig { max_active_jobs_per_client: Some(1), ..own.clone() }),
        ("room", TenantConfig { max_bytes: Some(1), ..own.clone() }),
        ("free", own),
    ];
    let mut config = config(&tenants);
    // None of them ends.
    config.export.max_bytes_per_second_per_job = 1;
    config.export.max_active_jobs_per_client = 3;
    let evanesce = Evanesce::builder().config(config).data_dir(data.path()).start().await.unwrap();
    for client in ["one", "two"] {
        submit(&evanesce, "jobs", client).await.unwrap();
    }
    assert_eq!(submit(&evanesce, "jobs", "three").await, Err(SubmitError::TenantBusy));

    let first = submit(&evanesce, "clients", "one").await.unwrap();
    assert_eq!(submit(&evanesce, "clients", "one").await, Err(SubmitError::ClientBusy(vec![first])));
    submit(&evanesce, "clients", "two").await.unwrap();

    assert_eq!(submit(&evanesce, "room", "one").await, Err(SubmitError::NoRoom(NoRoom::TooLarge)));

    for _ in 0..3 {
        submit(&evanesce, "free", "one").await.unwrap();
    }
    let refused = submit(&evanesce, "free", "one").await;
    assert!(matches!(&refused, Err(SubmitError::ClientBusy(jobs)) if jobs.len() == 3), "{refused:?}");

    let submit_as = async |client: &str, max_active_jobs| {
        let (tenant, client) = ("free".parse().unwrap(), client.parse().unwrap());
        let request = ExportRequest::new(tenant, client, Kickoff::system(), Timestamp::now());
        evanesce.submit_as(Submission { max_active_jobs, ..Submission::new(request) }).await
    };
    assert!(matches!(submit_as("one", None).await, Err(SubmitError::ClientBusy(_))));
    submit_as("one", Some(4)).await.unwrap();
    assert!(matches!(submit_as("one", Some(4)).await, Err(SubmitError::ClientBusy(_))));
    submit_as("one", Some(0)).await.unwrap();
    submit_as("small", Some(1)).await.unwrap();
    assert!(matches!(submit_as("small", Some(1)).await, Err(SubmitError::ClientBusy(_))));
}

#[tokio::test]
async fn a_tenant_is_no_faster_than_its_own_limit_and_holds_up_no_other() {
    let (data, source) = (InstanceDir::new(), patients("p", 400));
    let slow = TenantConfig { max_bytes_per_second: Some(1 << 20), ..over(source.path()) };
    let crawling = TenantConfig { max_bytes_per_second: Some(1), ..over(source.path()) };
    let tenants = [("slow", slow), ("crawling", crawling), ("free", over(source.path()))];
    let evanesce = builder(&data, &tenants).start().await.unwrap();
    let never = submit(&evanesce, "crawling", "host").await.unwrap();
    // Its index is there from here on.
    exported(&evanesce, &data, "free").await;
    exported(&evanesce, &data, "slow").await;
    let began = Instant::now();
    exported(&evanesce, &data, "slow").await;
    assert!(began.elapsed() > Duration::from_millis(300), "400 kB in {:?}", began.elapsed());
    evanesce.cancel(never, "host".parse().unwrap()).await.unwrap();
    assert_eq!(evanesce.wait_erased(never).await.unwrap().unwrap().was, StateName::Running);
}

#[tokio::test]
async fn p_11_the_running_job_of_a_removed_tenant_fails_and_its_complete_one_can_be_deleted() {
    const FORMER: &str = "0123456789abcdef0123456789abcdef.segment";
    let (data, source) = (InstanceDir::new(), patients("p", 500));
    let crawling = TenantConfig { max_bytes_per_second: Some(1), ..over(source.path()) };
    let before = [("stays", crawling.clone()), ("goes", crawling), ("ends", over(source.path()))];
    let evanesce = builder(&data, &before).start().await.unwrap();
    let ended = submit(&evanesce, "ends", "host").await.unwrap();
    assert!(matches!(finished(&evanesce, ended).await, Some(JobState::Complete(_))));
    let running = submit(&evanesce, "goes", "host").await.unwrap();
    let goes_on = submit(&evanesce, "stays", "host").await.unwrap();
    // Both are planned, or still to be planned: either way they are interrupted.
    evanesce.stop(Duration::from_secs(10)).await;
    drop(evanesce);
    assert_eq!(indexes(&data), ["ends", "goes", "stays"].map(String::from).into());
    std::fs::write(data.path().join("index").join(FORMER), "of the former layout").unwrap();

    let evanesce = builder(&data, &[("stays", over(source.path()))]).start().await.unwrap();
    assert_eq!(indexes(&data), ["stays"].map(String::from).into());
    match finished(&evanesce, running).await {
        Some(JobState::Failed(failure)) => assert_eq!(failure.reason, FailureReason::TenantRemoved),
        other => panic!("{other:?}"),
    }
    assert!(matches!(finished(&evanesce, goes_on).await, Some(JobState::Complete(_))));
    assert_eq!(submit(&evanesce, "goes", "host").await, Err(SubmitError::UnknownTenant));

    assert!(matches!(finished(&evanesce, ended).await, Some(JobState::Complete(_))));
    for job in [ended, running] {
        evanesce.cancel(job, "operator".parse().unwrap()).await.unwrap();
        let receipt = evanesce.wait_erased(job).await.unwrap().unwrap();
        assert_eq!(receipt.reason, MarkReason::Deleted);
    }
    let mut left = std::fs::read_dir(data.path().join("building")).unwrap();
    assert!(left.next().is_none(), "something is left of the job that failed");
}

#[tokio::test]
async fn a_host_may_give_an_exporter_for_one_tenant_beside_folders_or_beside_one_for_all() {
    let (data, source) = (InstanceDir::new(), patients("p", 1));
    let id = |name: &str| name.parse().unwrap();
    let one = |name: &str| BTreeSet::from([name.to_string()]);
    let tenants = [("folder", over(source.path()))];

    let evanesce = builder(&data, &tenants)
        .exporter_for(id("own"), FakeExporter::writes_patient("own"))
        .start()
        .await
        .unwrap();
    assert_eq!(exported(&evanesce, &data, "own").await, one("own"));
    assert_eq!(exported(&evanesce, &data, "folder").await, ids("p", 1));
    assert_eq!(submit(&evanesce, "default", "host").await, Err(SubmitError::UnknownTenant));
    assert_eq!(indexes(&data), one("folder"));
    evanesce.stop(Duration::from_secs(10)).await;
    drop(evanesce);

    // The common one serves the tenants of the settings, if they name any.
    let hosts = builder(&data, &tenants)
        .exporter(FakeExporter::writes_patient("common"))
        .exporter_for(id("own"), FakeExporter::writes_patient("own"));
    let evanesce = hosts.start().await.unwrap();
    assert_eq!(exported(&evanesce, &data, "own").await, one("own"));
    assert_eq!(exported(&evanesce, &data, "folder").await, one("common"));
    assert_eq!(submit(&evanesce, "other", "host").await, Err(SubmitError::UnknownTenant));
    assert!(indexes(&data).is_empty(), "the index of a folder that is not read any more");
    evanesce.stop(Duration::from_secs(10)).await;
    drop(evanesce);

    let hosts = builder(&data, &[])
        .exporter(FakeExporter::writes_patient("common"))
        .exporter_for(id("own"), FakeExporter::writes_patient("own"));
    let evanesce = hosts.start().await.unwrap();
    assert_eq!(exported(&evanesce, &data, "own").await, one("own"));
    assert_eq!(exported(&evanesce, &data, "default").await, one("common"));
    assert_eq!(exported(&evanesce, &data, "other").await, one("common"));
    evanesce.stop(Duration::from_secs(10)).await;
    drop(evanesce);

    let evanesce = builder(&data, &[])
        .exporter_for(id("own"), FakeExporter::writes_patient("own"))
        .start()
        .await
        .unwrap();
    assert_eq!(exported(&evanesce, &data, "own").await, one("own"));
    assert_eq!(submit(&evanesce, "default", "host").await, Err(SubmitError::UnknownTenant));
}
