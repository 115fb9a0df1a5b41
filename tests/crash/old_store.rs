//! A store that lost its tail: after the server is gone the store is put back to what it was
//! earlier, while disk and receipts stay. The later witness wins: what was acknowledged holds
//! all the same (P1, P2, P9, P11; the join table of `erase::reconcile`).

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use crate::support::{
    Exported, Setup, assert_disk_equals_store, assert_erased, assert_only_its_receipt_is_left,
    assert_receipts, copy_folder, delete, job_id, polling_url, run_to_death, run_to_end, wait_settled,
};

/// The store as it is now, of a server that is gone.
fn keep(setup: &Setup, name: &str) -> PathBuf {
    let kept = setup.folder.path().join(name);
    copy_folder(&setup.data_dir().join("store"), &kept);
    kept
}

fn put_back(setup: &Setup, kept: &Path) {
    let store = setup.data_dir().join("store");
    std::fs::remove_dir_all(&store).unwrap();
    copy_folder(kept, &store);
}

/// A setup with an empty store kept, and one kept with a complete job in it.
fn kept_stores(setup: &Setup) -> (Exported, [PathBuf; 2]) {
    setup.start().kill();
    let empty = keep(setup, "empty");
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient,Encounter");
    let job = Exported::of(&polling, &manifest);
    server.kill();
    let complete = keep(setup, "complete");
    (job, [empty, complete])
}

#[test]
fn a_deletion_that_was_acknowledged_holds_when_the_store_has_lost_it() {
    for n in 0..2 {
        let setup = Setup::new();
        let (job, stores) = kept_stores(&setup);
        let server = setup.start_with(&["--breakpoint", "sweep-begins=hold"]);
        assert_eq!(delete(&polling_url(&server, &job.id)).status, 202);
        server.kill();
        put_back(&setup, &stores[n]);

        let server = setup.start();
        assert_only_its_receipt_is_left(&setup, server, &job, "recovered");
    }
}

#[test]
fn an_erasure_holds_when_the_store_has_lost_it() {
    for n in 0..2 {
        let setup = Setup::new();
        let (job, stores) = kept_stores(&setup);
        let server = setup.start();
        assert_eq!(delete(&polling_url(&server, &job.id)).status, 202);
        wait_settled(&setup, &server, &BTreeSet::new());
        server.kill();
        put_back(&setup, &stores[n]);

        let server = setup.start();
        assert_erased(&setup, &server, &job.id, &job.files, &["deleted"]);
        server.kill();
        assert_receipts(&setup, &BTreeSet::from([job.id]));
        assert_disk_equals_store(&setup);
    }
}

#[test]
fn an_erasure_holds_when_the_store_has_lost_it_and_the_directory_is_back_as_well() {
    let setup = Setup::new();
    let (job, stores) = kept_stores(&setup);
    let ready = setup.data_dir().join("ready").join(&job.id);
    let backup = setup.folder.path().join("backup");
    copy_folder(&ready, &backup);
    let server = setup.start();
    assert_eq!(delete(&polling_url(&server, &job.id)).status, 202);
    wait_settled(&setup, &server, &BTreeSet::new());
    server.kill();
    put_back(&setup, &stores[1]);
    copy_folder(&backup, &ready);

    // Store and disk agree that it is there; the receipt knows better.
    let server = setup.start();
    assert_only_its_receipt_is_left(&setup, server, &job, "deleted");
}

#[test]
fn a_complete_job_is_served_as_before_when_the_store_has_lost_it() {
    let setup = Setup::new();
    let (job, [empty, _]) = kept_stores(&setup);
    put_back(&setup, &empty);
    let server = setup.start();
    job.assert_intact(&server);
    server.kill();
    assert_receipts(&setup, &BTreeSet::new());
    assert_disk_equals_store(&setup);
}

#[test]
fn a_running_job_is_exported_when_the_store_has_lost_it() {
    let setup = Setup::new().set("export.part_bytes=65536");
    setup.start().kill();
    let empty = keep(&setup, "empty");
    setup.brake(200_000);
    let server = setup.start();
    let polling = server.kickoff("$export");
    server.wait_braked(&polling);
    server.kill();
    setup.release_brake();
    put_back(&setup, &empty);

    // Killed once more while it is being recovered.
    run_to_death(&setup, &["--breakpoint", "part-sealed:2=kill"]);
    put_back(&setup, &empty);
    let server = setup.start();
    Exported::wait(&server, job_id(&polling)).assert_is_the_source(&setup.source, |_| true);
    server.kill();
    assert_receipts(&setup, &BTreeSet::new());
    assert_disk_equals_store(&setup);
}

/// sled cuts silently at a damaged byte: wherever the log ends, either the store is refused
/// with exit code 2 or the deletion holds.
#[test]
fn a_deletion_that_was_acknowledged_holds_wherever_the_stores_log_is_cut() {
    let setup = Setup::new();
    let (job, _) = kept_stores(&setup);
    let server = setup.start_with(&["--breakpoint", "sweep-begins=hold"]);
    assert_eq!(delete(&polling_url(&server, &job.id)).status, 202);
    server.kill();
    let whole = keep(&setup, "whole");
    let others = ["trash", "audit"].map(|name| (setup.data_dir().join(name), setup.folder.path().join(name)));
    for (folder, kept) in &others {
        copy_folder(folder, kept);
    }
    let receipts = setup.data_dir().join("receipts.ndjson");
    let length = std::fs::metadata(whole.join("db")).unwrap().len();

    let (mut opened, mut refused) = (0, 0);
    for eighth in 0..8 {
        put_back(&setup, &whole);
        for (folder, kept) in &others {
            std::fs::remove_dir_all(folder).unwrap();
            copy_folder(kept, folder);
        }
        std::fs::write(&receipts, "").unwrap();
        let log = std::fs::OpenOptions::new().write(true).open(setup.data_dir().join("store/db")).unwrap();
        log.set_len(length * eighth / 8).unwrap();

        let status = run_to_end(&setup, &["--breakpoint", "receipt-appended=kill"]);
        if status.code() == Some(2) {
            refused += 1;
            assert!(setup.disk().has(&job.id), "something was removed on the word of a broken store");
            continue;
        }
        opened += 1;
        assert_eq!(status.signal(), Some(9), "{status:?}");
        let server = setup.start();
        assert_erased(&setup, &server, &job.id, &job.files, &["deleted", "recovered"]);
        server.kill();
        assert_receipts(&setup, &BTreeSet::from([job.id.clone()]));
    }
    println!("{opened} cut logs opened, {refused} were refused");
    assert!(opened > 0, "no cut log could be opened");
}
