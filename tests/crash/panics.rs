//! Crash-only: a panic in an actor, in its tasks or in the committer ends the process with 70,
//! for a job without a master would be stuck for ever (P11); the next start goes on.

use std::collections::BTreeSet;

use crate::support::{
    Exported, KICKOFF, Setup, assert_only_its_receipt_is_left, polling_url, source, try_send, wait_settled,
};

#[test]
fn a_panic_in_the_actor_of_a_job_ends_the_process_and_the_job_is_resumed() {
    let setup = Setup::new().set("export.part_bytes=65536");
    let mut server = setup.start_with(&["--breakpoint", "part-sealed:3=panic"]);
    let (job, end) = server.kickoff_to_the_end("$export");
    assert_eq!(end.code(), Some(70));
    let server = setup.start();
    Exported::wait(&server, &job).assert_is_the_source(source(), |_| true);
}

#[test]
fn a_panic_before_the_202_of_a_kick_off_acknowledges_nothing() {
    let setup = Setup::new();
    let mut server = setup.start_with(&["--breakpoint", "queued-committed=panic"]);
    let answer = try_send("GET", &format!("{}/$export", server.base), &KICKOFF);
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status >= 500));
    assert_eq!(server.wait_exit().code(), Some(70));
    drop(server);
    // Nobody knows its id, and it is not stuck all the same.
    let jobs = BTreeSet::from_iter(setup.disk().jobs("building"));
    assert_eq!(jobs.len(), 1);
    wait_settled(&setup, &setup.start(), &jobs);
}

#[test]
fn a_panic_in_the_ledger_or_in_a_sweep_ends_the_process_and_the_deletion_is_carried_out() {
    for (step, acknowledged) in [("mark-committed", false), ("sweep-begins", true)] {
        let setup = Setup::new();
        let server = setup.start();
        let (polling, manifest) = server.export("$export?_type=Patient");
        let job = Exported::of(&polling, &manifest);
        server.kill();

        let mut server = setup.start_with(&["--breakpoint", &format!("{step}=panic")]);
        let answer = try_send("DELETE", &polling_url(&server, &job.id), &[]);
        if !acknowledged {
            assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status >= 500), "{step}");
        }
        assert_eq!(server.wait_exit().code(), Some(70), "{step}");
        drop(server);

        let server = setup.start();
        assert_only_its_receipt_is_left(&setup, server, &job, "deleted");
    }
}
