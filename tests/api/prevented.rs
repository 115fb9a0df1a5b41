//! What other servers get wrong at the end of an export, as their issues and sources tell it,
//! and what prevents it here: the tests of this file, and those named below.
//!
//! | failure | prevented by |
//! |---|---|
//! | DELETE races the worker, an orphan directory stays (pathling#2687, hfs#1272) | `an_exporter_that_ignores_its_cancel_token_is_fenced_and_replaced`, `crash::breakpoints::a_job_with_a_stuck_writer_...` |
//! | a failed unlink is dropped with its record (hfs) | `faults::matrix::a_deletion_that_meets_a_fault_is_never_half_acknowledged_and_never_dropped` |
//! | the marker goes before the files (torch) | `crash::breakpoints::a_complete_job_is_erased_when_killed_in_the_middle_of_the_unlinks`, and `crash::power_steps` |
//! | jobs are lost, stuck or undeletable after a restart (pathling, medplum#10425, LinuxForHealth#3033) | every row of `crash::breakpoints`; `crash::random_kills` |
//! | an interrupted export begins at zero (hfs#1041, #1210) | `a_stopped_server_goes_on_where_it_was` |
//! | nothing is synced before it is called complete (hfs) | `crash::power_steps::a_job_is_complete_when_the_power_goes_...` |
//! | files are served after the DELETE (BCDA#1495, hfs#144); downloads are never cut | `crash::assert_hidden` in every crash test; `api::cut`, `api::revoked` |
//! | the answer to a GET after a DELETE is 202 or 500 (HAPI#5849, AB2D#1395) | `api::life_table` |
//! | an update brings a deleted job back (torch#861) | `crash::breakpoints::a_job_cancelled_while_finishing_...`; the model's `RereadStateAfterAwait` |
//! | failed jobs are never purged (HAPI) | `a_finished_job_expires_counted_from_its_completion_and_a_failed_one_too` |
//! | directories without a row are never looked for (BCDA, hfs) | `an_orphan_is_erased_after_its_grace_and_strangers_are_left_alone` |
//! | stragglers fill the disk after unclean exits (BCDA#958, #924) | the empty disk at the end of `crash::random_kills` |
//! | a full disk, or no leave to unlink, and nobody is told | `faults::full_disk`, `operator::signs` |

use std::collections::BTreeSet;

use crate::support::{
    Exported, Setup, assert_receipts, delete, eventually, get, job_id, polling_url, wait_settled,
};

/// HAPI FHIR #7320: a cancelled job was handed out as the cached one of the next client.
#[test]
fn a_cancelled_export_is_not_given_again_to_the_next_identical_kick_off() {
    let setup = Setup::new();
    let server = setup.start();
    let (first, _) = server.export("$export?_type=Patient");
    assert_eq!(delete(&first).status, 202);
    let (second, manifest) = server.export("$export?_type=Patient");
    assert_ne!(job_id(&first), job_id(&second));
    Exported::of(&second, &manifest).assert_is_the_source(&setup.source, |name| name == "Patient.ndjson");
    assert_eq!(get(&first).outcome(), (404, "deleted".into()));
}

/// LinuxForHealth FHIR #2742: a poll after the DELETE resumed the stopped parts.
#[test]
fn polls_after_a_delete_do_not_wake_the_export_again() {
    let setup = Setup::new().set("export.part_bytes=65536").braked(200_000);
    let server = setup.start();
    let polling = server.kickoff("$export");
    server.wait_braked(&polling);
    assert_eq!(delete(&polling).status, 202);
    let id = job_id(&polling).to_string();
    setup.receipt(&id);
    for _ in 0..20 {
        assert_eq!(get(&polling).outcome(), (404, "deleted".into()));
    }
    wait_settled(&setup, &server, &BTreeSet::new());
    assert_receipts(&setup, &BTreeSet::from([id]));
}

/// AB2D: the sweeper looked for `.ndjson` when the outputs had become `.ndjson.gz`.
#[test]
fn a_deletion_removes_files_whatever_their_names_are() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    let folder = setup.data_dir().join("ready").join(job_id(&polling));
    for name in ["x.ndjson.gz", ".hidden", "no suffix", "job.json.tmp"] {
        std::fs::write(folder.join(name), "left over").unwrap();
    }
    assert_eq!(delete(&polling).status, 202);
    setup.disk().wait_gone(job_id(&polling));
    assert!(setup.disk().files().is_empty());
}

/// HAPI FHIR #3561: the time to live counted from the kick-off, and running exports were purged.
#[test]
fn an_export_that_runs_for_longer_than_the_time_to_live_is_not_purged_while_it_runs() {
    let setup = Setup::new()
        .set("export.part_bytes=65536")
        .set("retention.completed=1ms")
        .set("reaper.interval=20ms")
        .braked(200_000);
    let server = setup.start();
    let polling = server.kickoff("$export");
    server.wait_braked(&polling);
    let passes = || server.operator("readyz").json()["reaper"]["passes"].as_u64().unwrap();
    let before = passes();
    eventually("some passes", || (passes() > before + 2).then_some(()));
    assert_eq!(get(&polling).status, 202);
    setup.release_brake();
    let url = polling_url(&server, job_id(&polling));
    let expired = || {
        let answer = get(&url);
        // It may be seen complete for a moment, and never as anything else.
        assert!(matches!(answer.status, 200 | 202 | 404), "{answer:?}");
        (answer.status == 404).then(|| answer.outcome())
    };
    assert_eq!(eventually("the expiry", expired), (404, "deleted".into()));
    let receipt = setup.receipt(job_id(&polling));
    assert_eq!((receipt["reason"].as_str(), receipt["was"].as_str()), (Some("expired"), Some("complete")));
}
