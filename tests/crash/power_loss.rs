//! Power loss without pulling a plug (DESIGN section 4): the data directory is on an ext4
//! image; the instant an acknowledgement arrives the server is stopped and the *image file* is
//! copied, with nothing synced before; the copy is mounted, which replays its journal, and a
//! server is started on it. What was acknowledged must be there (P1, P2, P6, P9, P11).
//!
//! The server is stopped (SIGSTOP) while the copy is made, so that the copy is of one instant.
//! The journal's own commits are put off, so that nothing becomes durable by luck.

use std::collections::BTreeSet;

use super::machine::Machine;
use crate::support::{
    Exported, Server, Setup, assert_disk_equals_store, assert_erased, assert_receipts, delete, eventually,
    get, job_id, polling_url, wait_settled,
};

/// Images copied by each test.
const ROUNDS: usize = 3;

/// Does `test` for each of several machines, and says how many images survived.
fn rounds(what: &str, test: impl Fn(&Machine)) {
    for _ in 0..ROUNDS {
        let Some(machine) = Machine::new(what) else { return };
        test(&machine);
    }
    println!("{ROUNDS} image copies survived: {what}");
}

fn kill_and_compare(setup: &Setup, server: Server, erased: &[&str]) {
    server.kill();
    assert_receipts(setup, &erased.iter().map(ToString::to_string).collect());
    assert_disk_equals_store(setup);
}

#[test]
fn a_deletion_that_was_acknowledged_holds_after_a_power_loss() {
    rounds("power loss at the 202 of a DELETE", |machine| {
        let server = machine.setup.start();
        let (kept, deleted) = (server.export("$export?_type=Patient"), server.export("$export"));
        let (kept, deleted) = (Exported::of(&kept.0, &kept.1), Exported::of(&deleted.0, &deleted.1));
        assert_eq!(delete(&polling_url(&server, &deleted.id)).status, 202);
        let after = machine.without_power(&server);
        server.kill();

        let server = after.setup.start();
        // The mark itself survived, not only the place of the directory.
        assert_erased(&after.setup, &server, &deleted.id, &deleted.files, &["deleted"]);
        kept.assert_intact(&server);
        wait_settled(&after.setup, &server, &BTreeSet::from([kept.id]));
        kill_and_compare(&after.setup, server, &[&deleted.id]);
    });
}

#[test]
fn a_cancellation_that_was_acknowledged_holds_after_a_power_loss() {
    rounds("power loss at the 202 of a DELETE of a running job", |machine| {
        machine.setup.brake(200_000);
        let server = machine.setup.start();
        let (neighbour, cancelled) = (server.kickoff("$export"), server.kickoff("$export"));
        server.wait_braked(&cancelled);
        assert_eq!(delete(&cancelled).status, 202);
        let after = machine.without_power(&server);
        server.kill();

        let server = after.setup.start();
        let id = job_id(&cancelled);
        assert_erased(&after.setup, &server, id, &[], &["cancelled"]);
        let neighbour = Exported::wait(&server, job_id(&neighbour));
        neighbour.assert_is_the_source(&after.setup.source, |_| true);
        wait_settled(&after.setup, &server, &BTreeSet::from([neighbour.id]));
        kill_and_compare(&after.setup, server, &[id]);
    });
}

#[test]
fn a_kickoff_that_was_acknowledged_is_exported_after_a_power_loss() {
    rounds("power loss at the 202 of a kick-off", |machine| {
        let server = machine.setup.start();
        let polling = server.kickoff("$export");
        let after = machine.without_power(&server);
        server.kill();

        let server = after.setup.start();
        let job = Exported::wait(&server, job_id(&polling));
        job.assert_is_the_source(&after.setup.source, |_| true);
        wait_settled(&after.setup, &server, &BTreeSet::from([job.id]));
        kill_and_compare(&after.setup, server, &[]);
    });
}

#[test]
fn a_manifest_that_was_seen_is_served_byte_for_byte_after_a_power_loss() {
    rounds("power loss at the first sight of a manifest", |machine| {
        let server = machine.setup.start();
        let (polling, manifest) = server.export("$export");
        let after = machine.without_power(&server);
        let job = Exported::of(&polling, &manifest);
        server.kill();

        let server = after.setup.start();
        // At once: there is nothing to be waited for.
        assert_eq!(get(&polling_url(&server, &job.id)).status, 200);
        job.assert_intact(&server);
        job.assert_is_the_source(&after.setup.source, |_| true);
        kill_and_compare(&after.setup, server, &[]);
    });
}

#[test]
fn an_erasure_that_was_recorded_keeps_its_receipt_after_a_power_loss() {
    rounds("power loss at the end of an erasure", |machine| {
        let server = machine.setup.start();
        let (polling, _) = server.export("$export");
        assert_eq!(delete(&polling).status, 202);
        eventually("the erasure to be published", || {
            (server.operator("readyz").json()["reaper"]["marked"] == 0).then_some(())
        });
        let after = machine.without_power(&server);
        server.kill();
        // Before anything could make it again.
        assert_eq!(after.setup.receipts().len(), 1);
        assert!(!after.setup.disk().has(job_id(&polling)));

        let server = after.setup.start();
        assert_erased(&after.setup, &server, job_id(&polling), &[], &["deleted"]);
        kill_and_compare(&after.setup, server, &[job_id(&polling)]);
    });
}
