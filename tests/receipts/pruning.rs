//! Pruning by the running server.

use std::time::Duration;

use super::*;
use crate::support::run_to_death;

/// Tombstones of a second, receipts of two.
fn short() -> Setup {
    Setup::new().set("retention.tombstones=1s").set("retention.receipts=2s").set("reaper.interval=50ms")
}

/// Erases two jobs, and one more when the others' time is over; the server is gone then.
/// Gives the head after the first two.
fn two_old_and_a_young_one(setup: &Setup) -> ChainHead {
    let server = setup.start();
    let jobs = [erase_one(&server), erase_one(&server)];
    let old = head(setup);
    for job in jobs {
        let polling = format!("{}/bulk-api/request/{job}", server.base);
        eventually("the end of the tombstone", || {
            (get(&polling).outcome() == (404, "not-found".into())).then_some(())
        });
    }
    std::thread::sleep(Duration::from_secs(2));
    erase_one(&server);
    server.kill();
    old
}

fn wait_pruned(setup: &Setup) -> ChainHead {
    let path = setup.data_dir().join(receipts::FILE_NAME);
    eventually("the pruning", || receipts::verify(&path).unwrap().checkpoint)
}

#[test]
fn receipts_whose_time_is_over_are_pruned_at_the_start() {
    let setup = short();
    let old = two_old_and_a_young_one(&setup);
    assert_eq!(setup.receipts().len(), 3, "not before its time, and at most once a day");
    let server = setup.start();
    assert_eq!(wait_pruned(&setup), old);
    let kinds: Vec<_> = setup.chain().iter().map(|entry| entry["kind"].clone()).collect();
    assert_eq!(kinds, ["erasure", "prune"]);
    erase_one(&server);
    let log = setup.settled_log(&server);
    server.kill();
    assert!(log.contains("receipts were pruned up to this one") && !log.contains("\"ERROR\""), "{log}");
    // The store's head is that of the whole chain, and a head of the pruned part is told to be.
    let server = setup.start_with(&["--set", "retention.receipts=1day"]);
    let chain = receipts::verify(&setup.data_dir().join(receipts::FILE_NAME)).unwrap();
    assert_eq!((chain.head.count, chain.gaps, chain.checkpoint), (5, 0, Some(old)));
    let data_dir = setup.data_dir();
    receipts_of(&data_dir, &["verify", "--head", &old.hash.to_string(), "--count", "2"]);
    let (code, _, error) = receipts(&[
        "verify",
        "--data-dir",
        data_dir.to_str().unwrap(),
        "--head",
        &"0".repeat(64),
        "--count",
        "1",
    ]);
    assert_eq!(code, 1);
    assert!(error.contains("pruned"), "{error}");
    drop(server);
}

#[test]
fn a_pruning_that_is_killed_after_its_announcement_is_done_at_the_next_start() {
    let setup = short();
    let old = two_old_and_a_young_one(&setup);
    run_to_death(&setup, &["--breakpoint", "receipt-appended=kill"]);
    assert_eq!(setup.receipts().len(), 3, "announced and not cut");
    assert_eq!(setup.chain().last().unwrap()["count"], old.count);
    let server = setup.start();
    let cut = wait_pruned(&setup);
    assert!(cut.count >= old.count);
    server.kill();
    let chain = receipts::verify(&setup.data_dir().join(receipts::FILE_NAME)).unwrap();
    assert_eq!((chain.gaps, chain.checkpoint), (0, Some(cut)));
}

#[test]
fn a_pruned_chain_whose_end_is_cut_off_is_told_and_holds_nothing_up() {
    let setup = short();
    two_old_and_a_young_one(&setup);
    let server = setup.start();
    wait_pruned(&setup);
    server.kill();
    let path = setup.data_dir().join(receipts::FILE_NAME);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.split_inclusive('\n').take(2).collect::<String>()).unwrap();
    let server = setup.start();
    setup.wait_logged("the end of the receipts was cut off");
    erase_one(&server);
    assert_eq!(setup.chain().iter().filter(|entry| entry["kind"] == "gap").count(), 1);
    let (code, _, error) = receipts(&["verify", "--data-dir", setup.data_dir().to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(error.contains("line 1: no prune entry"), "{error}");
}

#[test]
fn a_server_refuses_to_keep_receipts_for_less_than_tombstones() {
    let setup = Setup::new().set("retention.receipts=29days");
    let output = setup.command().output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("retention.receipts is 29days") && error.contains("30days"), "{error}");
}
