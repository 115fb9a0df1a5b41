//! Pauses and holds: in force at once, over restarts, and in the chain of receipts.

use serde_json::Value;

use super::{order, refused};
use crate::support::{
    Exported, Server, Setup, assert_hidden, assert_only_its_receipt_is_left, delete, eventually, get, job_id,
    polling_url, read_stored,
};

fn status(server: &Server) -> Value {
    server.operator("readyz").json()["reaper"].take()
}

/// The kinds of the chain's entries, in their order.
fn kinds(setup: &Setup) -> Vec<String> {
    setup.chain().iter().map(|entry| entry["kind"].as_str().unwrap().to_string()).collect()
}

/// The reaper has passed over everything since now.
fn wait_for_a_pass(server: &Server) {
    let passes = || status(server)["passes"].as_u64().unwrap();
    let before = passes();
    eventually("two passes of the reaper", || (passes() >= before + 2).then_some(()));
}

#[test]
fn a_paused_reaper_sweeps_nothing_and_what_is_deleted_is_hidden_all_the_same() {
    let setup = Setup::new().set("reaper.interval=20ms");
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient");
    let job = Exported::of(&polling, &manifest);
    order(&setup, &["reaper", "pause", "--reason", "an audit"]);
    assert!(refused(&setup, &["reaper", "pause", "--reason", "twice"], 1).contains("paused already"));

    assert_eq!(delete(&polling).outcome(), (202, "processing".into()));
    wait_for_a_pass(&server);
    assert_hidden(&server, &job.id, &job.files);
    assert!(setup.disk().has(&job.id), "it was swept in spite of the pause");
    assert_eq!(status(&server)["pause"]["reason"], "an audit");
    assert_eq!(status(&server)["marked"], 1);
    let bytes = job.files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    assert_eq!(status(&server)["bytes"], bytes);

    // Over a restart as well.
    server.kill();
    let server = setup.start();
    wait_for_a_pass(&server);
    assert_hidden(&server, &job.id, &job.files);
    assert!(setup.disk().has(&job.id), "it was swept after the restart");

    order(&setup, &["reaper", "resume"]);
    assert!(refused(&setup, &["reaper", "resume"], 1).contains("not paused"));
    assert_only_its_receipt_is_left(&setup, server, &job, "deleted");
    assert_eq!(kinds(&setup), ["pause", "resume", "erasure"]);
}

#[test]
fn a_paused_reaper_lets_nothing_expire() {
    let setup = Setup::new().set("reaper.interval=20ms");
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient");
    let job = Exported::of(&polling, &manifest);
    order(&setup, &["reaper", "pause", "--reason", "an audit"]);
    server.kill();

    let server = setup.start_with(&["--set", "retention.completed=0s"]);
    wait_for_a_pass(&server);
    job.assert_intact(&server);
    order(&setup, &["reaper", "resume"]);
    eventually("the expiry", || (get(&polling_url(&server, &job.id)).status == 404).then_some(()));
    assert_only_its_receipt_is_left(&setup, server, &job, "expired");
}

#[test]
fn a_job_under_a_hold_keeps_its_files_when_it_is_deleted_until_it_is_released() {
    let setup = Setup::new().set("reaper.interval=20ms");
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient");
    let job = Exported::of(&polling, &manifest);
    order(&setup, &["hold", &job.id, "--reason", "case 17"]);
    assert!(refused(&setup, &["hold", &job.id, "--reason", "twice"], 1).contains("under a hold already"));
    let jobs = order(&setup, &["jobs"]);
    assert!(jobs.contains("held") && jobs.contains("100%"), "{jobs}");
    job.assert_intact(&server);

    assert_eq!(delete(&polling).outcome(), (202, "processing".into()));
    wait_for_a_pass(&server);
    server.kill();
    let server = setup.start();
    wait_for_a_pass(&server);
    assert_hidden(&server, &job.id, &job.files);
    let trash = setup.data_dir().join("trash").join(&job.id);
    for (name, bytes) in &job.files {
        assert_eq!(read_stored(&trash.join(name)).unwrap(), *bytes, "{name}");
    }
    // Others go on as ever.
    let (other, _) = server.export("$export?_type=Goal");
    assert_eq!(delete(&other).status, 202);
    server.wait_erased(job_id(&other));
    assert!(!setup.disk().has(job_id(&other)) && setup.disk().has(&job.id));
    let jobs = order(&setup, &["jobs", "--all"]);
    let line = jobs.lines().find(|line| line.starts_with(job_id(&other))).unwrap();
    assert!(!line.contains('%'), "what is gone is not done: {line}");

    order(&setup, &["release", &job.id]);
    assert_eq!(setup.receipt(&job.id)["reason"], "deleted");
    setup.disk().wait_gone(&job.id);
    assert_eq!(kinds(&setup), ["hold", "erasure", "release", "erasure"]);
    assert!(refused(&setup, &["release", &job.id], 1).contains("under no hold"));
    assert!(refused(&setup, &["hold", &job.id, "--reason", "late"], 1).contains("gone"));
}

#[test]
fn a_job_under_a_hold_does_not_expire_and_does_once_it_is_released() {
    let setup = Setup::new().set("reaper.interval=20ms");
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient");
    let job = Exported::of(&polling, &manifest);
    order(&setup, &["hold", &job.id, "--reason", "case 17"]);
    server.kill();
    let server = setup.start_with(&["--set", "retention.completed=0s"]);
    wait_for_a_pass(&server);
    job.assert_intact(&server);
    order(&setup, &["release", &job.id]);
    eventually("the expiry", || (get(&polling_url(&server, &job.id)).status == 404).then_some(()));
    assert_only_its_receipt_is_left(&setup, server, &job, "expired");
}

#[test]
fn a_failed_export_under_a_hold_keeps_what_it_had_written() {
    let setup = Setup::new().set("reaper.interval=20ms").set("export.part_bytes=65536").braked(0);
    let server =
        setup.start_with(&["--set", "export.max_bytes_per_second=1000000", "--fault", "write:28:ever:12"]);
    let polling = server.kickoff("$export");
    order(&setup, &["hold", job_id(&polling), "--reason", "case 17"]);
    setup.release_brake();
    eventually("the failure", || (get(&polling).status == 500).then_some(()));
    wait_for_a_pass(&server);
    let directory = setup.data_dir().join("building").join(job_id(&polling));
    let files = || std::fs::read_dir(&directory).unwrap().count();
    let held = files();
    assert!(held > 2, "only {held} files were kept");
    order(&setup, &["release", job_id(&polling)]);
    eventually("the partial files to go", || (files() <= 1).then_some(()));
}

#[test]
fn a_clock_that_jumped_while_the_server_was_stopped_is_confirmed_by_an_operator() {
    let setup = Setup::new().set("reaper.interval=20ms");
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient");
    let job = Exported::of(&polling, &manifest);
    assert!(refused(&setup, &["clock", "confirm"], 1).contains("believed already"));
    let clock = setup.data_dir().join("clock.json");
    eventually("the clock to be kept", || clock.exists().then_some(()));
    server.kill();
    // Another boot, a year ago: the machine was off, or the clock is wrong.
    let kept =
        r#"{"last":{"wall":"2025-01-01T00:00:00Z","boot":"another","up_milliseconds":5},"steady_for":null}"#;
    std::fs::write(&clock, kept).unwrap();

    let server = setup.start_with(&["--set", "retention.completed=0s"]);
    wait_for_a_pass(&server);
    job.assert_intact(&server);
    assert_eq!(status(&server)["clock_jumped"], true);
    assert_eq!(order(&setup, &["clock", "confirm", "-o", "json"]), "{\"clock\":\"believed\"}\n");
    eventually("the expiry", || (get(&polling_url(&server, &job.id)).status == 404).then_some(()));
    assert_only_its_receipt_is_left(&setup, server, &job, "expired");
}

#[test]
fn an_order_that_was_answered_survives_a_kill() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    order(&setup, &["hold", job_id(&polling), "--reason", "case 17"]);
    order(&setup, &["reaper", "pause", "--reason", "an audit"]);
    server.kill();
    let server = setup.start();
    assert_eq!(status(&server)["held"], 1);
    assert_eq!(status(&server)["pause"]["reason"], "an audit");
    let entries = setup.chain();
    assert_eq!(entries[0]["job"], job_id(&polling));
    assert_eq!(entries[0]["reason"], "case 17");
    assert!(!entries[0]["by"].as_str().unwrap().is_empty());
}

#[test]
fn an_order_without_a_server_or_for_nobodys_job_is_refused() {
    let setup = Setup::new();
    let nobody = "0b7c8f0e-5b0a-4f3e-9d52-8f3c5a1b2c3d";
    assert!(refused(&setup, &["status"], 2).contains("no server runs"));
    let server = setup.start();
    assert!(refused(&setup, &["hold", nobody, "--reason", "x"], 1).contains("no such job"));
    assert!(refused(&setup, &["release", nobody], 1).contains("under no hold"));
    assert!(refused(&setup, &["hold", "nonsense", "--reason", "x"], 2).contains("nonsense"));
    assert!(order(&setup, &["status"]).starts_with("Everything is well."));
    server.kill();
    assert!(refused(&setup, &["status"], 2).contains("no server runs"), "what a killed one left");
    let server = setup.start();
    assert!(order(&setup, &["status", "--json"]).starts_with('{'));
    assert_eq!(get(&polling_url(&server, nobody)).status, 404);
}

#[test]
fn the_control_socket_is_the_owners_only_and_shrugs_off_nonsense() {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;
    let setup = Setup::new();
    let _server = setup.start();
    let path = setup.data_dir().join("control.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for nonsense in ["", "\n", "{}\n", "{\"ask\":\"everything\"}\n", &"x".repeat(100_000)] {
        let mut stream = UnixStream::connect(&path).unwrap();
        // The server may have hung up on what is too long.
        let _ = stream.write_all(nonsense.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.contains("cannot be understood"), "{nonsense:.20}: {answer}");
    }
    order(&setup, &["status"]);
}
