//! SIGKILL while the ballast is made or given up: one that was only begun is made again, and
//! a deletion that it was given up for is done without it.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;

use rustix::fs::FallocateFlags;

use super::deeds::breakpoints;
use super::machine::Machine;
use crate::support::{
    Exported, Setup, assert_only_its_receipt_is_left, delete, eventually, polling_url, run_to_death,
    try_send, wait_settled,
};

/// The breakpoints of the tests below.
pub const ROWS: &[&str] = &["ballast-made=kill", "ballast-restored=kill", "ballast-released=kill"];

const BALLAST: u64 = 64 << 20;

/// Bytes of the ballast that are really there; not those that say where they are, which a file in many
/// pieces has as well.
fn allocated(setup: &Setup) -> Option<u64> {
    let metadata = std::fs::metadata(setup.data_dir().join("ballast")).ok()?;
    Some((metadata.blocks() * 512).min(BALLAST))
}

#[test]
fn a_ballast_is_made_whole_when_killed_while_it_was_made() {
    for (kill, left) in [(ROWS[0], 0), (ROWS[1], BALLAST)] {
        let setup = Setup::new();
        run_to_death(&setup, &breakpoints(kill));
        assert_eq!(allocated(&setup), Some(left), "{kill}");
        setup.start().kill();
        assert_eq!(allocated(&setup), Some(BALLAST), "{kill}");
    }
}

#[test]
fn a_deletion_on_a_full_disk_is_done_when_killed_after_the_ballast_was_given_up() {
    let Some(machine) = Machine::new("a full disk") else { return };
    let setup = &machine.setup;
    let mut server = setup.start_with(&breakpoints(ROWS[2]));
    let (polling, manifest) = server.export("$export");
    let job = Exported::of(&polling, &manifest);
    let filler = setup.data_dir().join("filler");
    fill(&filler, 8 << 20);
    let answer = try_send("DELETE", &polling, &[]);
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(server.wait_exit().signal(), Some(9));
    drop(server);

    let server = setup.start();
    assert_eq!(allocated(setup), None, "there is no room for another one");
    job.assert_intact(&server);
    assert_eq!(delete(&polling_url(&server, &job.id)).status, 202);
    wait_settled(setup, &server, &BTreeSet::new());
    std::fs::remove_file(filler).unwrap();
    server.kill();
    let server = setup.start();
    eventually("another ballast", || (allocated(setup) == Some(BALLAST)).then_some(()));
    assert_only_its_receipt_is_left(setup, server, &job, "deleted");
}

/// Makes a file that leaves so many bytes free.
fn fill(path: &std::path::Path, leave: u64) {
    let file = std::fs::File::create(path).unwrap();
    let stat = rustix::fs::fstatvfs(&file).unwrap();
    let free = stat.f_bavail * stat.f_frsize;
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, free - leave).unwrap();
}
