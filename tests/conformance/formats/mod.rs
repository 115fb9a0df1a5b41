//! The files as the first version of their format wrote them, checked in: read as they are, and
//! written again byte for byte. A change that does not is another format, and needs a migration.

use std::fs;

use evanesce::audit::{self, AuditError, AuditLog, AuditedEvent};
use evanesce::clock::Clock;
use evanesce::config::AuditConfig;
use evanesce::receipts::{self, ReceiptChain, ReceiptEntry, ReceiptFile, ReceiptsError};

/// A hold, two erasures, a release, a pause and its end.
const RECEIPTS: &str = include_str!("receipts.ndjson");

/// The same, with the hold pruned.
const PRUNED: &str = include_str!("pruned.ndjson");

/// A start, two kick-offs, what came of them.
const AUDIT: &str = include_str!("audit.ndjson");

/// The entries of a file of receipts, checked.
fn entries(text: &str) -> Vec<ReceiptEntry> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(receipts::FILE_NAME);
    fs::write(&path, text).unwrap();
    let mut entries = Vec::new();
    receipts::walk(&path, |line| {
        entries.push(line.entry.clone());
        Ok::<_, ReceiptsError>(())
    })
    .unwrap();
    entries
}

#[test]
fn receipts_of_before_are_read_and_written_again_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(receipts::FILE_NAME);
    let chain = ReceiptFile::open(folder.path()).unwrap();
    let heads = chain.append_each(&entries(RECEIPTS)).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), RECEIPTS);
    // And pruned, by the announcement that stands in the other file.
    let announcement = entries(PRUNED).pop().unwrap();
    assert!(matches!(&announcement, ReceiptEntry::Prune { cut, .. } if *cut == heads[0]));
    chain.append(&[announcement]).unwrap();
    chain.cut(heads[0]).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), PRUNED);
}

#[test]
fn pruned_receipts_of_before_are_taken_up_and_the_chain_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(receipts::FILE_NAME);
    fs::write(&path, PRUNED).unwrap();
    let chain = ReceiptFile::open(folder.path()).unwrap();
    assert_eq!(chain.head().count, 7);
    for entry in entries(PRUNED) {
        if let ReceiptEntry::Erasure(receipt) = entry {
            assert_eq!(chain.find(receipt.job).unwrap(), Some(*receipt));
        }
    }
    assert!(chain.holds().is_empty() && chain.pause().is_none());
    chain.append(&entries(RECEIPTS)[1..2]).unwrap();
    assert_eq!(receipts::verify(&path).unwrap().head, chain.head());
    assert!(fs::read_to_string(&path).unwrap().starts_with(PRUNED));
}

#[test]
fn an_audit_log_of_before_is_whole_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join(audit::FOLDER);
    fs::create_dir(&log).unwrap();
    let first = log.join("audit-000000000001.ndjson");
    fs::write(&first, AUDIT).unwrap();
    let walk = || {
        let summary = audit::walk(&log, |_| Ok::<_, AuditError>(())).unwrap();
        assert_eq!(summary.breaks, []);
        summary.head
    };
    let head = walk();
    assert_eq!(head.count, 6);
    assert_eq!(head.hash.to_string(), "d859c75fb5ff9c2ce12a1527666deb65148ac399ff1b557bb3ce2d0089783adf");
    let opened = AuditLog::open(folder.path(), &AuditConfig::default(), Clock::system()).unwrap();
    opened.record(AuditedEvent::Stopped);
    opened.close();
    assert!(walk().count > 6);
    assert!(fs::read_to_string(&first).unwrap().starts_with(AUDIT));
}
