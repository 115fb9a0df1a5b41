//! Time: expiry counts from the end of an export, and a clock that jumps, in either direction,
//! while the server runs or while it does not, expires nothing (P8).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use evanesce::clock::Clock;
use evanesce::config::{Config, ConfigDuration};
use evanesce::job::{JobId, MarkReason, Parameters, StateName};
use evanesce::{Evanesce, Kickoff};
use serde_json::Value;

use crate::support::{InstanceDir, Setup, get, job_id, source};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

#[test]
fn a_finished_job_expires_counted_from_its_completion_and_a_failed_one_too() {
    const TO_LIVE: Duration = Duration::from_secs(2);
    let setup = Setup::new().set("retention.completed=2s").set("reaper.interval=20ms").braked(0);
    let server = setup.start();
    let polling = server.kickoff("$export?_type=Patient");
    // A time to live counted from the kick-off is over before the end.
    std::thread::sleep(TO_LIVE);
    server.pause_reaper();
    let before_the_end = jiff::Timestamp::now();
    setup.release_brake();
    let manifest = server.wait_complete(&polling);
    let url = manifest["output"][0]["url"].as_str().unwrap();
    assert_eq!(get(url).status, 200);
    server.resume_reaper();
    let receipt = setup.receipt(job_id(&polling));
    assert_eq!(receipt["reason"], "expired");
    let marked_at: jiff::Timestamp = receipt["marked_at"].as_str().unwrap().parse().unwrap();
    let lived = marked_at.duration_since(before_the_end);
    // What is recorded is rounded to milliseconds.
    let least = jiff::SignedDuration::try_from(TO_LIVE).unwrap() - jiff::SignedDuration::from_millis(1);
    assert!(lived >= least, "it lived {lived}");
    assert_eq!(get(&polling).outcome(), (404, "deleted".into()));
    assert_eq!(get(url).outcome(), (404, "deleted".into()));

    server.kill();
    let server = setup.start_with(&["--fault", "write:5:ever:12"]);
    let failed = server.kickoff("$export");
    let receipt = setup.receipt(job_id(&failed));
    assert_eq!((&receipt["reason"], &receipt["was"]), (&"expired".into(), &"failed".into()));
}

/// An instance whose wall clock the test sets, on a data directory that is used again.
struct Machine {
    folder: InstanceDir,
    /// Seconds that the wall clock is ahead.
    ahead: Arc<AtomicI64>,
}

impl Machine {
    fn new() -> Self {
        Self { folder: InstanceDir::new(), ahead: Arc::default() }
    }

    fn set(&self, ahead: i64) {
        self.ahead.store(ahead, Ordering::SeqCst);
    }

    async fn start(&self) -> Evanesce {
        let ahead = self.ahead.clone();
        let clock = Clock::new(move || {
            jiff::Timestamp::now() + jiff::SignedDuration::from_secs(ahead.load(Ordering::SeqCst))
        });
        let mut config = Config::default();
        config.source.folder = source().into();
        config.reaper.interval = ConfigDuration(Duration::from_millis(10));
        let builder = Evanesce::builder().config(config).data_dir(self.folder.path()).clock(clock);
        builder.start().await.unwrap()
    }

    /// Stops the instance after what its clock shows now was kept for the next start.
    async fn stop(&self, evanesce: Evanesce) {
        let kept = self.folder.path().join("clock.json");
        // The first one may be of before.
        for _ in 0..2 {
            // There may be none yet.
            let _ = std::fs::remove_file(&kept);
            while !kept.exists() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        drop(evanesce);
    }

    /// A complete job, which expires in a day.
    async fn export(&self, evanesce: &Evanesce) -> JobId {
        let kickoff = Kickoff {
            parameters: Parameters::default().with_types(&["Location"]).unwrap(),
            ..Kickoff::system()
        };
        let job = evanesce.submit(kickoff, "host".parse().unwrap()).await.unwrap();
        assert_eq!(evanesce.wait_finished(job).await.unwrap().name(), StateName::Complete);
        job
    }

    /// What `clock.json` says, changed.
    fn edit(&self, edit: impl FnOnce(&mut Value)) {
        let path: &Path = &self.folder.path().join("clock.json");
        let mut kept = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        edit(&mut kept);
        std::fs::write(path, kept.to_string()).unwrap();
    }
}

/// After some passes that could have expired the job: it is there, and that the clock is not
/// believed shows.
async fn assert_held(evanesce: &Evanesce, job: JobId) {
    passes(evanesce).await;
    assert!(evanesce.reaper_status().await.unwrap().clock_jumped);
    assert_eq!(evanesce.wait_finished(job).await.unwrap().name(), StateName::Complete);
}

async fn passes(evanesce: &Evanesce) {
    let before = evanesce.reaper_status().await.unwrap().passes;
    while evanesce.reaper_status().await.unwrap().passes < before + 5 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn assert_expires(evanesce: &Evanesce, job: JobId) {
    let receipt = evanesce.wait_erased(job).await.unwrap().unwrap();
    assert_eq!(receipt.reason, MarkReason::Expired);
    assert!(!evanesce.reaper_status().await.unwrap().clock_jumped);
}

#[tokio::test]
async fn a_clock_that_jumps_expires_nothing_until_an_operator_confirms_it() {
    let machine = Machine::new();
    let evanesce = machine.start().await;
    let job = machine.export(&evanesce).await;
    assert_eq!(evanesce.confirm_clock().await, Some(false), "there is nothing to confirm");
    for ahead in [2 * DAY, -2 * DAY, 2 * DAY] {
        machine.set(ahead);
        assert_held(&evanesce, job).await;
    }
    assert_eq!(evanesce.confirm_clock().await, Some(true));
    assert_expires(&evanesce, job).await;
}

#[tokio::test]
async fn a_clock_that_jumps_back_delays_expiry_and_does_no_harm() {
    let machine = Machine::new();
    let evanesce = machine.start().await;
    let job = machine.export(&evanesce).await;
    machine.set(-30 * DAY);
    assert_held(&evanesce, job).await;
    assert_eq!(evanesce.confirm_clock().await, Some(true));
    passes(&evanesce).await;
    assert_eq!(evanesce.wait_finished(job).await.unwrap().name(), StateName::Complete);
    evanesce.cancel(job, "host".parse().unwrap()).await.unwrap();
    assert_eq!(evanesce.wait_erased(job).await.unwrap().unwrap().reason, MarkReason::Deleted);
}

#[tokio::test]
async fn a_clock_that_jumps_while_the_server_is_down_expires_nothing() {
    for ahead in [2 * DAY, -2 * DAY] {
        let machine = Machine::new();
        let evanesce = machine.start().await;
        let job = machine.export(&evanesce).await;
        passes(&evanesce).await;
        machine.stop(evanesce).await;
        machine.set(ahead);
        let evanesce = machine.start().await;
        assert_held(&evanesce, job).await;
        machine.stop(evanesce).await;
        // However often it is started: an hour of steady time is an hour.
        let evanesce = machine.start().await;
        assert_held(&evanesce, job).await;
        machine.set(2 * DAY);
        assert_eq!(evanesce.confirm_clock().await, Some(true));
        if ahead < 0 {
            // That was another jump.
            assert_held(&evanesce, job).await;
            evanesce.confirm_clock().await;
        }
        assert_expires(&evanesce, job).await;
    }
}

#[tokio::test]
async fn a_clock_that_jumps_by_less_than_an_hour_again_and_again_expires_nothing() {
    for restarts in [false, true] {
        let machine = Machine::new();
        let mut evanesce = machine.start().await;
        let job = machine.export(&evanesce).await;
        for step in 1..=25 {
            machine.set(step * 59 * 60);
            if restarts {
                drop(evanesce);
                evanesce = machine.start().await;
            }
            passes(&evanesce).await;
            assert_eq!(evanesce.wait_finished(job).await.unwrap().name(), StateName::Complete, "step {step}");
        }
        assert_held(&evanesce, job).await;
        assert_eq!(evanesce.confirm_clock().await, Some(true));
        assert_expires(&evanesce, job).await;
    }
}

#[tokio::test]
async fn a_long_time_off_is_believed_if_the_machine_was_up_and_not_over_a_reboot() {
    for reboots in [false, true] {
        let machine = Machine::new();
        let evanesce = machine.start().await;
        passes(&evanesce).await;
        machine.stop(evanesce).await;
        // As if that had been long ago: for half of the time that this machine is up.
        machine.edit(|kept| {
            let last = &mut kept["last"];
            let wall: jiff::Timestamp = last["wall"].as_str().unwrap().parse().unwrap();
            let up = last["up_milliseconds"].as_i64().unwrap();
            let gap = if reboots { DAY * 1000 } else { up / 2 };
            last["wall"] = (wall - jiff::SignedDuration::from_millis(gap)).to_string().into();
            if reboots {
                last["boot"] = "another boot".into();
            } else {
                last["up_milliseconds"] = (up - gap).into();
            }
        });
        let evanesce = machine.start().await;
        passes(&evanesce).await;
        assert_eq!(evanesce.reaper_status().await.unwrap().clock_jumped, reboots);
    }
}

#[tokio::test]
async fn a_hold_ends_after_an_hour_of_steady_time_over_restarts() {
    let machine = Machine::new();
    let evanesce = machine.start().await;
    let job = machine.export(&evanesce).await;
    machine.set(2 * DAY);
    assert_held(&evanesce, job).await;
    machine.stop(evanesce).await;
    machine.edit(|kept| kept["steady_for"]["secs"] = (HOUR - 1).into());
    let evanesce = machine.start().await;
    // Less than a second is left of it.
    assert_expires(&evanesce, job).await;
}
