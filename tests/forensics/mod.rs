//! What a thief reads from the raw disk (P14). The data directory is on an image of its own; exports with
//! planted markers are cancelled, deleted, expire, fail and are killed on the way. At several instants the
//! image is copied, and each of its blocks, free ones and the journal included, is scanned for the markers
//! and for any text of the source. `scripts/forensics` runs this for each file system and prints tables.
//!
//! `EVANESCE_FORENSICS_FS` (ext4, xfs or btrfs), `EVANESCE_FORENSICS_ENCRYPTION` (aes-256-gcm or none) and
//! `EVANESCE_FORENSICS_KEYS` (inside or outside of the image) choose what is run; unset, a short form runs.

mod attack;
mod lives;
mod raw_disk;
mod scan;

use std::collections::BTreeMap;

use attack::{Loot, opened};
use lives::{Lives, PLANTED};
use raw_disk::{FileSystem, RawDisk};
use scan::{Needles, Where};

/// Where the keys of epochs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPlace {
    /// On the same image as everything else.
    Inside,
    /// On another device.
    Outside,
}

/// What was found at one instant: what of, where, how often.
type Findings = BTreeMap<(&'static str, Where), usize>;

/// One row for each thing and place.
fn print(instant: &str, findings: &Findings) {
    if findings.is_empty() {
        println!("  {instant:<34} nothing");
    }
    for ((what, place), count) in findings {
        println!("  {instant:<34} {what:<22} {count:>7}  {place}");
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn file_system() -> FileSystem {
    match variable("EVANESCE_FORENSICS_FS").as_deref() {
        None | Some("ext4") => FileSystem::Ext4,
        Some("xfs") => FileSystem::Xfs,
        Some("btrfs") => FileSystem::Btrfs,
        Some(other) => panic!("no file system of this test: {other}"),
    }
}

fn key_place() -> KeyPlace {
    match variable("EVANESCE_FORENSICS_KEYS").as_deref() {
        None | Some("inside") => KeyPlace::Inside,
        Some("outside") => KeyPlace::Outside,
        Some(other) => panic!("no place of keys: {other}"),
    }
}

fn is_asked_for(encryption: &str) -> bool {
    variable("EVANESCE_FORENSICS_ENCRYPTION").is_none_or(|asked| asked == encryption)
}

/// Runs all lives on a new disk. Returns what was found at each instant, or `None` where there can be no
/// such disk.
fn run(encryption: &'static str, keys: KeyPlace) -> Option<(Vec<(&'static str, Findings)>, Loot)> {
    let what = format!("forensics on {:?}", file_system());
    let disk = RawDisk::new(file_system(), &what)?;
    let lives = Lives::new(disk, encryption, keys);
    let needles = Needles::new(&PLANTED, &lives.source_lines(), &Lives::common_text());
    println!("{what}, encryption = {encryption}, keys {keys:?}");
    let mut all = Vec::new();
    let loot = lives.run(|instant, disk| {
        let findings = disk.scan(&needles);
        print(instant, &findings);
        all.push((instant, findings));
    });
    Some((all, loot))
}

#[test]
fn no_block_of_the_disk_ever_has_a_marker_or_a_line_and_after_its_epoch_no_erased_job_opens() {
    let encryption = "aes-256-gcm";
    if !is_asked_for(encryption) {
        return;
    }
    let Some((all, loot)) = run(encryption, key_place()) else { return };
    let control = opened(&loot.slots, &loot.keys_before);
    let after = opened(&loot.slots, &loot.keys_after);
    println!(
        "  slots in all copies {}, epoch keys before {}, after {}",
        loot.slots.len(),
        loot.keys_before.len(),
        loot.keys_after.len()
    );
    println!(
        "  erased jobs that open before the end of their epoch: {}, after: {}",
        control.len(),
        after.len()
    );
    for (instant, findings) in &all {
        assert!(findings.is_empty(), "{instant}: {findings:?}");
    }
    let erased = &loot.erased;
    assert!(
        erased.iter().all(|job| control.contains(job)),
        "the attack is not one: {control:?} of {erased:?}"
    );
    let open: Vec<_> = erased.iter().filter(|job| after.contains(*job)).collect();
    assert!(open.is_empty(), "erased jobs open after the end of their epoch: {open:?}");
}

/// What the scan is worth: the same lives, not encrypted, are found.
#[test]
fn without_encryption_the_scan_finds_what_was_erased() {
    let encryption = "none";
    if !is_asked_for(encryption) {
        return;
    }
    let Some((all, _)) = run(encryption, KeyPlace::Inside) else { return };
    let left = &all.last().expect("a last instant").1;
    let in_free_blocks = |what: &str| {
        left.iter().any(|((found, place), count)| *found == what && *place == Where::NoFile && *count > 0)
    };
    assert!(in_free_blocks(scan::TEXT), "{left:?}");
    // Where the log of the store, the index and the audit log are, markers never are.
    let named: Vec<_> = left.keys().filter(|(_, place)| matches!(place, Where::File(_))).collect();
    assert!(named.is_empty(), "{named:?}");
}
