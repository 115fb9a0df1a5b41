//! Store, disk and receipts say different things of a job.

use std::collections::BTreeSet;
use std::fs;

use evanesce::job::{JobState, Mark, MarkReason, StateName};
use jiff::Timestamp;

use super::{assert_found_and_repaired, forget, fsck, rewrite, stopped_with_a_job};
use crate::support::{
    Exported, KICKOFF, Setup, assert_disk_equals_store, assert_erased, assert_only_its_receipt_is_left,
    delete, read_stored, set_mode, try_send, wait_settled, write_stored,
};

#[test]
fn a_directory_that_is_as_it_should_be_has_no_findings() {
    let (setup, job) = stopped_with_a_job();
    let (code, findings, said) = fsck(&setup, &[]);
    assert!(code == 0 && findings.is_empty(), "{said}{findings:#?}");
    assert!(said.contains("as it should be"), "{said}");
    let (code, findings, said) = fsck(&setup, &["--repair"]);
    assert!(code == 0 && findings.is_empty(), "{said}{findings:#?}");
    job.assert_intact(&setup.start());
}

#[test]
fn a_directory_that_a_server_uses_is_refused() {
    let setup = Setup::new();
    let server = setup.start();
    for leave in ["--dry-run", "--repair", "--rebuild"] {
        let (code, _, said) = fsck(&setup, &[leave]);
        assert!(code == 2 && said.contains("a server uses"), "{code} {said}");
    }
    drop(server);
    let empty = Setup::new();
    fs::create_dir(empty.data_dir()).unwrap();
    let (code, _, said) = fsck(&empty, &["--rebuild"]);
    assert!(code == 2 && said.contains("not a data directory"), "{code} {said}");
    assert_eq!(fs::read_dir(empty.data_dir()).unwrap().count(), 0, "something was made in it");
}

#[test]
fn a_complete_job_that_the_store_has_lost_is_recorded_again() {
    let (setup, job) = stopped_with_a_job();
    forget(&setup, &job.id);
    assert_found_and_repaired(
        &setup,
        "stands complete in ready/, the store has no record",
        "repaired",
        "--repair",
    );
    job.assert_intact(&setup.start());
}

#[test]
fn a_complete_job_whose_directory_is_gone_is_marked_as_lost() {
    let (setup, job) = stopped_with_a_job();
    fs::remove_dir_all(setup.data_dir().join("ready").join(&job.id)).unwrap();
    assert_found_and_repaired(&setup, "has no directory, the store says complete", "repaired", "--repair");
    assert_only_its_receipt_is_left(&setup, setup.start(), &job, "lost");
}

#[test]
fn a_complete_job_that_stands_in_building_is_moved_to_ready() {
    let (setup, job) = stopped_with_a_job();
    let place = |place: &str| setup.data_dir().join(place).join(&job.id);
    fs::rename(place("ready"), place("building")).unwrap();
    assert_found_and_repaired(&setup, "stands in building/, the store says complete", "repaired", "--repair");
    job.assert_intact(&setup.start());
}

#[test]
fn a_job_in_trash_whose_mark_the_store_has_lost_is_marked_again() {
    let (setup, job) = stopped_with_a_job();
    let place = |place: &str| setup.data_dir().join(place).join(&job.id);
    fs::rename(place("ready"), place("trash")).unwrap();
    assert_found_and_repaired(&setup, "stands in trash/, the store says complete", "repaired", "--repair");
    assert_only_its_receipt_is_left(&setup, setup.start(), &job, "recovered");
}

#[test]
fn a_marked_job_is_a_note_and_is_swept_by_the_next_server() {
    let (setup, job) = stopped_with_a_job();
    rewrite(&setup, &job.id, |record| {
        let (at, was) = (Timestamp::now(), record.state.name());
        JobState::Marked(Mark {
            reason: MarkReason::Deleted,
            by: None,
            at,
            request_id: None,
            was,
            failure: None,
        })
    });
    assert_found_and_repaired(&setup, "marked for deletion since", "note", "--repair");
    assert_only_its_receipt_is_left(&setup, setup.start(), &job, "deleted");
}

#[test]
fn an_erased_job_that_the_store_shows_as_complete_is_buried_by_its_receipt() {
    let (setup, job) = stopped_with_a_job();
    let backup = setup.folder.path().join("backup");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    };
    let ready = setup.data_dir().join("ready").join(&job.id);
    copy(&ready, &backup);
    let server = setup.start();
    assert_eq!(delete(&crate::support::polling_url(&server, &job.id)).status, 202);
    setup.receipt(&job.id);
    wait_settled(&setup, &server, &BTreeSet::new());
    server.kill();
    copy(&backup, &ready);
    set_mode(&ready, 0o700);
    assert_found_and_repaired(&setup, "receipt of its erasure, and a directory", "repaired", "--repair");
    let server = setup.start();
    assert_erased(&setup, &server, &job.id, &job.files, &["deleted"]);
    server.kill();
    assert_disk_equals_store(&setup);

    forget(&setup, &job.id);
    assert_found_and_repaired(
        &setup,
        "receipt of its erasure, the store has no record",
        "repaired",
        "--repair",
    );
}

#[test]
fn a_kickoff_that_was_never_acknowledged_is_a_note() {
    let setup = Setup::new();
    let mut server = setup.start_with(&["--breakpoint", "directory-created=kill"]);
    let _ = try_send("GET", &format!("{}/$export", server.base), &KICKOFF);
    server.wait_exit();
    drop(server);
    assert_found_and_repaired(&setup, "a directory without a plan", "note", "--repair");
}

#[test]
fn a_running_export_that_the_store_has_lost_goes_on_and_one_that_it_has_is_no_finding() {
    let setup = Setup::new().set("export.part_bytes=65536");
    let mut server = setup.start_with(&["--breakpoint", "part-sealed:5=kill"]);
    let (id, _) = server.kickoff_to_the_end("$export");
    let (code, findings, said) = fsck(&setup, &[]);
    assert!(code == 0 && findings.is_empty(), "{said}{findings:#?}");
    forget(&setup, &id);
    assert_found_and_repaired(
        &setup,
        "its directory has a plan, the store has no record",
        "repaired",
        "--repair",
    );
    let server = setup.start();
    Exported::wait(&server, &id).assert_is_the_source(&setup.source, |_| true);
}

#[test]
fn a_completion_that_was_not_recorded_is_recorded() {
    let setup = Setup::new();
    setup.start().kill();
    let mut server = setup.start_with(&["--breakpoint", "moved-to-ready=kill"]);
    let (id, _) = server.kickoff_to_the_end("$export?_type=Patient");
    assert_found_and_repaired(
        &setup,
        "stands complete in ready/, the store says running",
        "repaired",
        "--repair",
    );
    Exported::wait(&setup.start(), &id);
}

#[test]
fn a_failure_that_was_not_recorded_is_recorded() {
    let (setup, job) = stopped_with_a_job();
    // As if it had failed: the record of a job that is running, and a job.json that says so.
    let place = |place: &str| setup.data_dir().join(place).join(&job.id);
    fs::rename(place("ready"), place("building")).unwrap();
    let path = place("building").join("job.json");
    let mut document: serde_json::Value = serde_json::from_slice(&read_stored(&path).unwrap()).unwrap();
    document["record"]["state"] =
        serde_json::json!({"name": "failed", "at": "2026-01-01T00:00:00Z", "reason": "source_changed"});
    document["parts"] = serde_json::json!([]);
    write_stored(&path, document.to_string().as_bytes());
    forget(&setup, &job.id);
    assert_found_and_repaired(
        &setup,
        "job.json says that it failed, the store has no record",
        "repaired",
        "--repair",
    );
    let stored = evanesce::store::Store::load(&super::open(&setup)).unwrap();
    assert_eq!(stored[0].record.state.name(), StateName::Failed);
}
