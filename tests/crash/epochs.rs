//! SIGKILL at each step of a key and of a turn of the epoch: no export is lost, nothing of the old epoch
//! is left, and the chain says of each epoch once that it ended (P14).

use std::collections::BTreeSet;

use serde_json::Value;

use super::deeds::{before, breakpoints};
use crate::support::{Server, Setup, copy_folder, delete, evanesce_command, get, polling_url, run_to_death};

/// A row: the kill of each process in turn, while the epoch turns.
macro_rules! turns {
    ($($name:ident: [$($kill:literal),+];)+) => {
        $(#[test] fn $name() { assert!(turn(&[$($kill),+]) > 1); })+
        pub const ROWS: &[&str] = &["job-key-written=kill", $($($kill),+),+];
    };
}

turns! {
    p14_an_epoch_turns_after_a_kill_behind_its_new_key: ["epoch-key-made=kill"];
    p14_an_epoch_turns_after_a_kill_before_the_new_file_has_its_name: ["keys-rewrapped=kill"];
    p14_an_epoch_ends_after_a_kill_before_the_old_file_is_destroyed: ["keys-moved=kill"];
    p14_an_epoch_ends_after_a_kill_before_the_old_key_is_destroyed: ["keys-moved>old-keys-destroyed=kill"];
    p14_an_epochs_end_is_recorded_after_a_kill_before_it_is: ["keys-moved>epoch-key-destroyed=kill"];
    p14_an_epochs_end_is_recorded_once_after_a_kill_behind_it: ["epoch-noted=kill"];
}

#[test]
fn p14_an_epoch_ends_through_a_kill_at_every_step() {
    let steps =
        ["epoch-key-made", "keys-rewrapped", "keys-moved", "old-keys-destroyed", "epoch-key-destroyed"];
    let kills =
        steps.into_iter().chain(["receipt-written", "epoch-noted"]).map(|step| format!("{step}=kill"));
    let kills: Vec<_> = kills.collect();
    assert!(turn(&kills.iter().map(String::as_str).collect::<Vec<_>>()) > 1, "no epoch has ended");
}

/// A copy of the data directory with a complete job, another one and a failed one.
fn copied() -> Setup {
    let setup = Setup::new().set("reaper.watch=false").set("reaper.interval=50ms");
    copy_folder(&before().setup.data_dir(), &setup.data_dir());
    setup
}

/// Returns the epoch that is current in the end.
fn turn(kills: &[&str]) -> u64 {
    let setup = copied();
    for kill in kills {
        run_to_death(&setup, &[&breakpoints(kill)[..], &["--set", "erase.epoch=100ms"]].concat());
    }
    let server = setup.start();
    for job in [&before().victim, &before().bystander] {
        job.assert_intact(&server);
    }
    let epoch = status(&setup)["epoch"].as_u64().unwrap();
    assert_eq!(left(&setup), BTreeSet::from([format!("epoch.{epoch}"), format!("jobs.{epoch}")]));
    assert_recorded(&setup, &server, epoch);
    // A deletion works as before, and the next epoch begins.
    assert_eq!(delete(&polling_url(&server, &before().victim.id)).status, 202);
    server.wait_erased(&before().victim.id);
    assert_eq!(setup.receipts()[0]["key"]["epoch"], epoch);
    let rotated = keys(&setup, "rotate");
    assert_eq!((&rotated["epoch"], &rotated["live"]), (&(epoch + 1).into(), &2.into()));
    assert_recorded(&setup, &server, epoch + 1);
    before().bystander.assert_intact(&server);
    epoch + 1
}

/// The chain says of each epoch before this one that it ended, once and in order.
fn assert_recorded(setup: &Setup, server: &Server, epoch: u64) {
    let ended = || -> Vec<u64> {
        let ends = setup.chain().into_iter().filter(|entry| entry["kind"] == "epoch");
        ends.map(|entry| entry["epoch"].as_u64().unwrap()).collect()
    };
    crate::support::eventually("the ends of the epochs", || {
        (ended().len() as u64 >= epoch - 1).then_some(())
    });
    assert_eq!(ended(), Vec::from_iter(1..epoch), "{}", server.base);
}

fn left(setup: &Setup) -> BTreeSet<String> {
    let entries = std::fs::read_dir(setup.data_dir().join("keys")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("epoch.") || name.starts_with("jobs.")).collect()
}

fn keys(setup: &Setup, command: &str) -> Value {
    let mut asked = evanesce_command();
    asked.args(["keys", command, "-o", "json", "--data-dir"]).arg(setup.data_dir());
    let output = asked.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn status(setup: &Setup) -> Value {
    keys(setup, "status")
}

#[test]
fn p14_a_key_whose_job_was_never_made_is_destroyed_by_the_next_start() {
    let setup = copied();
    let mut server = setup.start_with(&breakpoints("job-key-written=kill"));
    assert!(
        crate::support::try_send("GET", &format!("{}/$export", server.base), &crate::support::KICKOFF)
            .is_err()
    );
    server.wait_exit();
    let server = setup.start();
    assert_eq!(status(&setup)["live"], 3);
    before().victim.assert_intact(&server);
}

#[test]
fn p14_without_the_key_of_their_epoch_exports_wait_for_it_and_deletions_do_not() {
    let setup = copied();
    let (key, away) = (setup.data_dir().join("keys/epoch.1"), setup.folder.path().join("away"));
    std::fs::rename(&key, &away).unwrap();
    let server = setup.start();
    let [victim, bystander] = [&before().victim.id, &before().bystander.id];
    assert_eq!(status(&setup)["unavailable"], 3);
    assert_eq!(get(&polling_url(&server, bystander)).status, 200, "nothing is decided about it");
    assert_eq!(delete(&polling_url(&server, victim)).status, 202);
    server.wait_erased(victim);
    assert_eq!(setup.receipts()[0]["key"]["epoch"], 1);
    server.export("$export?_type=Patient");
    server.kill();
    std::fs::rename(&away, &key).unwrap();
    let server = setup.start();
    before().bystander.assert_intact(&server);
    assert_eq!(get(&polling_url(&server, victim)).outcome(), (404, "deleted".into()));
    assert_eq!((&status(&setup)["unavailable"], &status(&setup)["live"]), (&0.into(), &3.into()));
}
