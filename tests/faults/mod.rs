//! Injected faults (P5, P6, P8): unlinks and renames that fail for a while, orphans, lost
//! directories, expiry, a clock that jumps, a source that changes.

use std::time::Duration;

use serde_json::json;

use crate::support::{KICKOFF, Setup, delete, eventually, get, job_id, send, source};

#[test]
fn a_sweep_that_fails_for_a_while_is_retried_and_leaves_nothing_behind() {
    let setup = Setup::new().set("reaper.retry_min=20ms").set("reaper.interval=50ms");
    let server = setup.start_with(&["--fault", "unlink:16:9"]);
    let (polling, _) = server.export("$export?_type=Patient");
    assert_eq!(delete(&polling).status, 202);
    // The error is kept and shown: metrics and status.
    let readyz = server.base.replace("/r4/default", "/readyz");
    eventually("a failed sweep to show", || {
        (get(&readyz).json()["reaper"]["failed"].as_u64().unwrap() > 0).then_some(())
    });
    let receipt = setup.receipt(job_id(&polling));
    assert!(receipt["failed_sweeps"].as_u64().unwrap() >= 1, "{receipt}");
    assert!(receipt["last_error"].as_str().unwrap().contains("busy"), "{receipt}");
    assert_eq!(receipt["files"], 4, "each file is counted once: {receipt}");
    assert!(setup.disk().files().is_empty());
    let metrics = String::from_utf8(get(&server.base.replace("/r4/default", "/metrics")).body).unwrap();
    assert!(metrics.contains("evanesce_sweep_failures_total"), "{metrics}");
}

#[test]
fn a_mark_whose_directory_cannot_be_moved_is_no_202_and_is_carried_out_all_the_same() {
    let setup = Setup::new().set("reaper.retry_min=20ms");
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient");
    let (_, url) = (manifest, polling.clone());
    drop(server);
    // The rename of the mark fails, and the first one of the sweep.
    let server = setup.start_with(&["--fault", "rename:5:2"]);
    let polling = format!("{}/bulk-api/request/{}", server.base, job_id(&url));
    let answer = delete(&polling);
    assert_eq!(answer.outcome(), (500, "exception".into()));
    assert_eq!(get(&polling).outcome(), (404, "deleted".into()));
    assert_eq!(delete(&polling).outcome(), (404, "deleted".into()));
    let receipt = setup.receipt(job_id(&polling));
    assert_eq!(receipt["reason"], "deleted");
    assert!(setup.disk().files().is_empty());
}

#[test]
fn a_kick_off_without_room_is_refused_and_leaves_nothing_behind() {
    let setup = Setup::new();
    // 28: no space left on device.
    let server = setup.start_with(&["--fault", "write:28:1"]);
    let answer = send("GET", &format!("{}/$export", server.base), &KICKOFF);
    assert_eq!(answer.outcome(), (503, "no-store".into()));
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
    assert!(setup.disk().jobs("building").is_empty());
    // The next one finds room.
    server.export("$export?_type=Patient");
}

#[test]
fn a_full_disk_fails_the_job_and_its_partial_files_go_at_once() {
    let setup = Setup::new().set("reaper.retry_min=20ms");
    // request.json, plan.json and two writes succeed.
    let server = setup.start_with(&["--fault", "write:28:1000000:4"]);
    let polling = server.kickoff("$export");
    let answer = eventually("the failure", || {
        let answer = get(&polling);
        (answer.status != 202).then_some(answer)
    });
    assert_eq!(answer.outcome(), (500, "processing".into()));
    assert!(answer.json()["issue"][0]["details"]["text"].as_str().unwrap().contains("no room"));
    eventually("the partial files to go", || setup.disk().files().is_empty().then_some(()));
    // The failure can be deleted like any other job.
    assert_eq!(delete(&polling).status, 202);
    assert_eq!(get(&polling).outcome(), (404, "deleted".into()));
    assert_eq!(setup.receipt(job_id(&polling))["was"], "failed");
    assert!(setup.disk().jobs("building").is_empty());
}

#[test]
fn an_orphan_is_erased_after_its_grace_and_strangers_are_left_alone() {
    let setup = Setup::new().set("retention.orphan_grace=100ms").set("reaper.interval=30ms");
    let server = setup.start();
    let orphan = "0f0e0d0c-0b0a-4908-8706-050403020100";
    let folder = setup.data_dir().join("building").join(orphan);
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("X_Patient.ndjson"), "{}\n").unwrap();
    let stranger = setup.data_dir().join("ready/somebody-elses");
    std::fs::create_dir(&stranger).unwrap();
    let receipt = setup.receipt(orphan);
    assert_eq!((&receipt["reason"], &receipt["files"]), (&json!("orphan"), &json!(1)));
    assert!(!folder.exists());
    assert!(stranger.exists());
    let readyz = get(&server.base.replace("/r4/default", "/readyz")).json();
    assert_eq!(readyz["reaper"]["strangers"], 1);
}

#[test]
fn a_young_orphan_is_not_touched() {
    let setup = Setup::new().set("retention.orphan_grace=1h").set("reaper.interval=10ms");
    let server = setup.start();
    let orphan = setup.data_dir().join("building/0f0e0d0c-0b0a-4908-8706-050403020100");
    std::fs::create_dir(&orphan).unwrap();
    let readyz = server.base.replace("/r4/default", "/readyz");
    eventually("ten passes that saw it", || {
        let reaper = get(&readyz).json()["reaper"].clone();
        (reaper["orphans"] == 1 && reaper["passes"].as_u64().unwrap() > 10).then_some(())
    });
    assert!(orphan.exists());
}

#[test]
fn a_complete_job_whose_files_somebody_removed_does_not_stay_complete() {
    let setup = Setup::new().set("retention.orphan_grace=50ms").set("reaper.interval=30ms");
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    std::fs::remove_dir_all(setup.data_dir().join("ready").join(job_id(&polling))).unwrap();
    assert_eq!(setup.receipt(job_id(&polling))["reason"], "lost");
    assert_eq!(get(&polling).outcome(), (404, "deleted".into()));
}

#[test]
fn a_finished_job_expires_counted_from_its_completion_and_a_failed_one_too() {
    let setup = Setup::new().set("retention.completed=1s").set("reaper.interval=20ms");
    // Slow enough that a time to live counted from the kick-off would be over before the end.
    let setup = setup.set("export.max_bytes_per_second=20000");
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient");
    let url = manifest["output"][0]["url"].as_str().unwrap();
    assert_eq!(get(url).status, 200);
    let receipt = setup.receipt(job_id(&polling));
    let seconds = |key: &str| receipt[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(receipt["reason"], "expired");
    let transaction: jiff::Timestamp = manifest["transactionTime"].as_str().unwrap().parse().unwrap();
    let lived = seconds("marked_at").duration_since(transaction);
    assert!(
        lived > jiff::SignedDuration::from_secs(2),
        "it took over a second to write and lived one: {lived}"
    );
    assert_eq!(get(&polling).outcome(), (404, "deleted".into()));
    assert_eq!(get(url).outcome(), (404, "deleted".into()));
}

#[test]
fn a_source_that_changes_under_a_running_job_fails_it() {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(source()).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let setup = Setup::new().source(folder.path()).set("export.max_bytes_per_second=300000");
    let setup = setup.set("retention.completed=300ms").set("reaper.interval=20ms");
    let server = setup.start();
    let polling = server.kickoff("$export");
    server.wait_halfway(&polling);
    let changed = folder.path().join("Provenance.ndjson");
    // In place, with the same length and time, as a careless copy does it.
    let (text, before) = (std::fs::read(&changed).unwrap(), std::fs::metadata(&changed).unwrap());
    let mut lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
    lines.reverse();
    std::fs::write(&changed, lines.concat()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&changed).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    let answer = eventually("the failure", || {
        let answer = get(&polling);
        (answer.status != 202).then_some(answer)
    });
    assert_eq!(answer.outcome(), (500, "processing".into()));
    // The failed job expires as well.
    assert_eq!(setup.receipt(job_id(&polling))["reason"], "expired");
    assert!(setup.disk().files().is_empty());
}

#[tokio::test]
async fn a_clock_that_jumps_expires_nothing() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use evanesce::clock::Clock;
    use evanesce::config::{Config, Time};
    use evanesce::{Evanesce, Kickoff};

    let folder = tempfile::tempdir().unwrap();
    let offset = Arc::new(AtomicI64::new(0));
    let shown = offset.clone();
    let clock = Clock::new(move || {
        jiff::Timestamp::now() + jiff::SignedDuration::from_secs(shown.load(Ordering::SeqCst))
    });
    let mut config = Config::default();
    config.source.folder = source().into();
    config.reaper.interval = Time(Duration::from_millis(10));
    let builder = Evanesce::builder().config(config).data_dir(folder.path()).clock(clock);
    let evanesce = builder.start().await.unwrap();
    let job = evanesce.submit(Kickoff::system(), "host".parse().unwrap()).await.unwrap();
    evanesce.wait_finished(job).await;
    // Two days later, says the clock.
    offset.store(2 * 24 * 3600, Ordering::SeqCst);
    let before = evanesce.reaper_status().await.unwrap().passes;
    let status = loop {
        let status = evanesce.reaper_status().await.unwrap();
        if status.passes > before + 10 {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(status.clock_jumped);
    let state = evanesce.wait_finished(job).await.unwrap();
    assert!(matches!(state, evanesce::job::JobState::Complete(_)), "{state:?}");
}
