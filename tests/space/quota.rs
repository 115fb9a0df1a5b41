//! The limit of a tenant, `storage.max_bytes`, with a host whose exports say what they need
//! and write what they like.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use evanesce::config::Config;
use evanesce::export::{CancelToken, ExportError, Exporter, Part, PartSummary, PartWriter, Plan};
use evanesce::fhir::ResourceType;
use evanesce::job::{ExportRequest, FailureReason, JobId, JobState};
use evanesce::{Evanesce, Kickoff, NoRoom, SubmitError};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::support::{InstanceDir, PATIENCE};

/// What an export does, in megabytes.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Script {
    estimate: Option<u64>,
    plan: Option<u64>,
    writes: u64,
    /// Whether it fails after that.
    fails: bool,
    /// Whether its plan, or its part after it has written, waits for the end of the test.
    hold: Option<Hold>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Hold {
    Plan,
    Part,
}

const MEGABYTE: u64 = 1_000_000;

/// Follows the scripts that come as the URLs of requests.
struct FollowsScript {
    /// Told when an export holds.
    holding: Arc<Semaphore>,
    runs: Arc<AtomicU32>,
    end: Mutex<Receiver<()>>,
}

impl FollowsScript {
    fn hold(&self) {
        self.holding.add_permits(1);
        // The sender is dropped at the end.
        let _ = self.end.lock().recv();
    }
}

impl Exporter for FollowsScript {
    fn check(&self, request: &ExportRequest, _: &CancelToken) -> Result<Option<u64>, ExportError> {
        let script: Script = serde_json::from_str(&request.kickoff.url).unwrap();
        Ok(script.estimate.map(|megabytes| megabytes * MEGABYTE))
    }

    fn plan(&self, request: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
        let script: Script = serde_json::from_str(&request.kickoff.url).unwrap();
        if script.hold == Some(Hold::Plan) {
            self.hold();
        }
        let part = Part { weight: 1, content: serde_json::to_value(script).unwrap() };
        let bytes = script.plan.map(|megabytes| megabytes * MEGABYTE);
        Ok(Plan { bytes, ..Plan::new(Timestamp::now(), vec![part]) })
    }

    fn run(&self, part: &Part, out: &mut PartWriter, _: &CancelToken) -> Result<PartSummary, ExportError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let script = Script::deserialize(&part.content).unwrap();
        let start = "{\"resourceType\":\"Patient\",\"id\":\"";
        let row = format!("{start}{}\"}}", "1".repeat(MEGABYTE as usize - start.len() - 3));
        for _ in 0..script.writes {
            out.resource(ResourceType::of("Patient").unwrap(), row.as_bytes())?;
        }
        if script.hold == Some(Hold::Part) {
            self.hold();
        }
        if script.fails {
            return Err(ExportError::Other("on purpose".into()));
        }
        Ok(PartSummary::default())
    }
}

/// An instance whose tenants may have 100 MB each.
struct Host {
    evanesce: Evanesce,
    holding: Arc<Semaphore>,
    runs: Arc<AtomicU32>,
    _end: Sender<()>,
}

impl Host {
    async fn start(folder: &InstanceDir) -> Self {
        let (end, ended) = channel();
        let exporter =
            FollowsScript { holding: Arc::new(Semaphore::new(0)), runs: Arc::default(), end: ended.into() };
        let (holding, runs) = (exporter.holding.clone(), exporter.runs.clone());
        let mut config = Config::default();
        config.storage.min_free = 0;
        config.storage.max_bytes = 100 * MEGABYTE;
        config.export.max_active_jobs = 6;
        config.export.cancel_deadline.0 = Duration::from_millis(50);
        let builder = Evanesce::builder().config(config).data_dir(folder.path()).exporter(exporter);
        Self { evanesce: builder.start().await.unwrap(), holding, runs, _end: end }
    }

    async fn submit(&self, tenant: &str, script: Script) -> Result<JobId, SubmitError> {
        let url = serde_json::to_string(&script).unwrap();
        let kickoff = Kickoff { url, ..Kickoff::system() };
        self.evanesce.submit_for(tenant.parse().unwrap(), kickoff, "host".parse().unwrap()).await
    }

    /// Whether an export of so many megabytes, which is then erased, has room.
    async fn has_room(&self, tenant: &str, megabytes: u64) -> bool {
        let script = Script { estimate: Some(megabytes), ..Script::default() };
        match self.submit(tenant, script).await {
            Ok(job) => {
                self.erase(job).await;
                true
            }
            Err(SubmitError::NoRoom(NoRoom::Quota { .. } | NoRoom::TooLarge)) => false,
            Err(other) => panic!("{other:?}"),
        }
    }

    /// How much room a tenant has, to the megabyte.
    async fn assert_room(&self, tenant: &str, megabytes: u64) {
        assert!(self.has_room(tenant, megabytes).await, "less than {megabytes} MB");
        assert!(!self.has_room(tenant, megabytes + 1).await, "more than {megabytes} MB");
    }

    async fn finish(&self, job: JobId) -> JobState {
        let ended = self.evanesce.wait_finished(job);
        tokio::time::timeout(PATIENCE, ended).await.expect("waited in vain").unwrap()
    }

    async fn cancel(&self, job: JobId) {
        self.evanesce.cancel(job, "host".parse().unwrap()).await.unwrap();
    }

    async fn erase(&self, job: JobId) {
        self.cancel(job).await;
        let erased = self.evanesce.wait_erased(job);
        tokio::time::timeout(PATIENCE, erased).await.expect("waited in vain").unwrap().unwrap();
    }

    async fn wait_holding(&self) {
        let held = tokio::time::timeout(PATIENCE, self.holding.acquire());
        held.await.expect("waited in vain").unwrap().forget();
    }
}

#[tokio::test]
async fn an_estimate_is_reserved_and_a_complete_export_takes_what_it_has_written() {
    let folder = InstanceDir::new();
    let host = Host::start(&folder).await;
    let script = Script { estimate: Some(60), writes: 20, ..Script::default() };
    let held = host.submit("t", Script { hold: Some(Hold::Part), ..script }).await.unwrap();
    host.wait_holding().await;
    host.assert_room("t", 40).await;
    host.assert_room("u", 100).await;
    host.erase(held).await;
    let complete = host.submit("t", script).await.unwrap();
    assert!(matches!(host.finish(complete).await, JobState::Complete(_)));
    host.assert_room("t", 80).await;
    host.erase(complete).await;
    host.assert_room("t", 100).await;
}

#[tokio::test]
async fn of_two_kick_offs_at_once_that_do_not_fit_together_one_is_accepted() {
    let folder = InstanceDir::new();
    let host = Host::start(&folder).await;
    for round in 0..50 {
        let script = Script { estimate: Some(60), ..Script::default() };
        let both = tokio::join!(host.submit("t", script), host.submit("t", script));
        match both {
            (Ok(job), Err(SubmitError::NoRoom(NoRoom::Quota { .. })))
            | (Err(SubmitError::NoRoom(NoRoom::Quota { .. })), Ok(job)) => host.erase(job).await,
            other => panic!("round {round}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_cancelled_export_gives_back_at_once_what_it_has_not_written() {
    let folder = InstanceDir::new();
    let host = Host::start(&folder).await;
    let script = Script { estimate: Some(90), writes: 30, hold: Some(Hold::Part), ..Script::default() };
    let job = host.submit("t", script).await.unwrap();
    host.wait_holding().await;
    host.assert_room("t", 10).await;
    host.cancel(job).await;
    // Its writer is still there; the files go when it is fenced.
    assert!(host.has_room("t", 70).await);
    host.evanesce.wait_erased(job).await.unwrap().unwrap();
    host.assert_room("t", 100).await;
}

#[tokio::test]
async fn a_failed_export_gives_back_what_it_has_not_written_and_the_rest_when_its_files_are_gone() {
    let folder = InstanceDir::new();
    let host = Host::start(&folder).await;
    let script = Script { estimate: Some(90), writes: 30, fails: true, ..Script::default() };
    let job = host.submit("t", script).await.unwrap();
    assert!(matches!(host.finish(job).await, JobState::Failed(_)));
    assert!(host.has_room("t", 70).await);
    // Nothing tells when its partial files are gone, which is soon.
    let began = Instant::now();
    while !host.has_room("t", 100).await {
        assert!(began.elapsed() < PATIENCE, "waited in vain");
    }
}

#[tokio::test]
async fn a_restart_keeps_what_is_reserved_and_what_is_there() {
    let folder = InstanceDir::new();
    let host = Host::start(&folder).await;
    let script = Script { estimate: Some(30), writes: 10, ..Script::default() };
    let complete = host.submit("t", script).await.unwrap();
    assert!(matches!(host.finish(complete).await, JobState::Complete(_)));
    // One has a plan, which says more than its estimate; one has none.
    host.submit("t", Script { plan: Some(40), hold: Some(Hold::Part), ..script }).await.unwrap();
    host.wait_holding().await;
    host.submit("t", Script { hold: Some(Hold::Plan), ..script }).await.unwrap();
    host.wait_holding().await;
    host.assert_room("t", 20).await;
    host.evanesce.stop(Duration::from_millis(100)).await;
    drop(host);

    let host = Host::start(&folder).await;
    host.wait_holding().await;
    host.wait_holding().await;
    host.assert_room("t", 20).await;
    host.erase(complete).await;
    host.assert_room("t", 30).await;
}

#[tokio::test]
async fn a_plan_that_is_larger_than_the_room_fails_its_job_before_a_byte_is_written() {
    let folder = InstanceDir::new();
    let host = Host::start(&folder).await;
    let neighbour = Script { estimate: Some(50), hold: Some(Hold::Plan), ..Script::default() };
    host.submit("t", neighbour).await.unwrap();
    for (estimate, plan) in [(Some(10), 51), (None, 51), (Some(50), 101)] {
        let script = Script { estimate, plan: Some(plan), writes: 1, ..Script::default() };
        let job = host.submit("t", script).await.unwrap();
        match host.finish(job).await {
            JobState::Failed(failure) => assert_eq!(failure.reason, FailureReason::StorageFull),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(host.runs.load(Ordering::SeqCst), 0);
    // What it did not get is there for others; what fits into the room is no failure.
    let script = Script { estimate: Some(10), plan: Some(50), writes: 1, ..Script::default() };
    let job = host.submit("t", script).await.unwrap();
    assert!(matches!(host.finish(job).await, JobState::Complete(_)));
    host.assert_room("t", 49).await;
}

#[tokio::test]
async fn a_plan_that_is_smaller_than_its_estimate_gives_the_rest_back() {
    let folder = InstanceDir::new();
    let host = Host::start(&folder).await;
    let script = Script { estimate: Some(90), plan: Some(30), hold: Some(Hold::Part), ..Script::default() };
    host.submit("t", script).await.unwrap();
    host.wait_holding().await;
    host.assert_room("t", 70).await;
}

#[tokio::test]
async fn an_export_that_could_never_fit_is_told_so() {
    let folder = InstanceDir::new();
    let host = Host::start(&folder).await;
    let refused = host.submit("t", Script { estimate: Some(101), ..Script::default() }).await;
    assert_eq!(refused, Err(SubmitError::NoRoom(NoRoom::TooLarge)));
    host.submit("t", Script { estimate: Some(100), ..Script::default() }).await.unwrap();
}
