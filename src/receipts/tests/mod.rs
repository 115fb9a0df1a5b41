//! The chain's life: appended, reopened, torn and damaged.

mod proofs;
mod prune;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::job::{MarkReason, StateName};

fn at(hour: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + 3600 * hour).unwrap()
}

fn receipt(hour: i64) -> Receipt {
    Receipt {
        job: JobId::random(),
        tenant: "default".parse().unwrap(),
        owner: "client".parse().unwrap(),
        reason: MarkReason::Deleted,
        was: StateName::Complete,
        by: None,
        request_id: None,
        submitted_at: at(0),
        marked_at: at(hour),
        hidden_at: None,
        last_byte_at: None,
        gone_at: at(hour),
        files: 17,
        bytes: 0,
        key: None,
        planted_links: 0,
        failed_sweeps: 0,
        last_error: None,
        fenced_writers: 0,
        cut_downloads: 0,
        drained_downloads: 0,
        resumed: false,
    }
}

fn erasure(hour: i64) -> ReceiptEntry {
    ReceiptEntry::Erasure(Box::new(receipt(hour)))
}

fn hold(job: JobId, hour: i64) -> ReceiptEntry {
    ReceiptEntry::Hold(JobHold { job, at: at(hour), by: "ops".into(), reason: "case 7".into() })
}

fn pause(hour: i64) -> ReceiptEntry {
    ReceiptEntry::Pause(ReaperPause { at: at(hour), by: "ops".into(), reason: "migration".into() })
}

/// A data directory with an open chain in it.
struct TestChain {
    dir: tempfile::TempDir,
    receipts: ReceiptFile,
}

impl TestChain {
    fn new(entries: &[ReceiptEntry]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let receipts = ReceiptFile::open(dir.path()).unwrap();
        receipts.append(entries).unwrap();
        Self { dir, receipts }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(FILE_NAME)
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path(), text).unwrap();
    }

    fn lines(&self) -> Vec<String> {
        self.text().split_inclusive('\n').map(String::from).collect()
    }

    /// The chain up to each of its entries, from the first that the file has.
    fn heads(&self) -> Vec<ChainHead> {
        let mut heads = Vec::new();
        walk(&self.path(), |item| {
            heads.push(item.head);
            Ok::<_, ReceiptsError>(())
        })
        .unwrap();
        heads
    }

    fn reopened(self) -> Self {
        let receipts = ReceiptFile::open(self.dir.path()).unwrap();
        Self { receipts, ..self }
    }

    fn due(&self, before: i64) -> Option<u64> {
        self.receipts.due(at(before), &|_| false).unwrap().map(|due| due.count)
    }

    /// The whole of a pruning; gives how many entries are gone by it.
    fn prune(&self, before: i64) -> Option<u64> {
        let due = self.receipts.due(at(before), &|_| false).unwrap()?;
        self.receipts.append(&[ReceiptEntry::Prune { at: at(before), cut: due }]).unwrap();
        self.receipts.cut(due).unwrap();
        Some(due.count)
    }

    fn found(&self, entries: &[ReceiptEntry]) -> Vec<bool> {
        let jobs = entries.iter().map(|entry| match entry {
            ReceiptEntry::Erasure(receipt) => {
                let found = self.receipts.find(receipt.job).unwrap();
                assert_eq!(found.is_some(), self.receipts.has(receipt.job));
                assert!(found.as_ref().is_none_or(|found| found == &**receipt));
                found.is_some()
            }
            _ => panic!("an erasure expected"),
        });
        jobs.collect()
    }
}

fn assert_broken(room: &TestChain, text: &str, line: u64, reason: &str) {
    room.write(text);
    match verify(&room.path()) {
        Err(ReceiptsError::Broken { line: found, reason: why }) => {
            assert_eq!(found, line, "{why}\n{text}");
            assert!(why.contains(reason), "{why}");
        }
        other => panic!("{reason}: {other:?}"),
    }
}

#[test]
fn receipts_are_chained_over_reopening_and_found_by_their_job() {
    let entries = [erasure(1), erasure(2), erasure(3)];
    let room = TestChain::new(&entries[..2]).reopened();
    room.receipts.append(&entries[2..]).unwrap();
    let summary = verify(&room.path()).unwrap();
    assert_eq!((summary.head, summary.erasures, summary.gaps), (room.receipts.head(), 3, 0));
    assert_eq!((summary.head.count, summary.first, summary.last), (3, Some(at(1)), Some(at(3))));
    assert_eq!(room.found(&entries), [true; 3]);
    assert_eq!(room.receipts.find(JobId::random()).unwrap(), None);
    assert_eq!(read(&room.path(), entries[1].job().unwrap()).unwrap().map(|r| r.gone_at), Some(at(2)));
    assert_eq!(room.receipts.erased_since(at(2)).len(), 2);
}

#[test]
fn a_line_can_be_checked_with_the_tools_of_any_system() {
    let room = TestChain::new(&[erasure(1), erasure(2)]);
    for line in room.lines() {
        let entry = line.strip_prefix("{\"entry\":").unwrap().split_once(",\"previous\":\"").unwrap().0;
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["entry"]["kind"], "erasure");
        use sha2::Digest;
        let hashed = format!("{}{entry}", json["previous"].as_str().unwrap());
        assert_eq!(json["hash"], hex::encode(sha2::Sha256::digest(hashed)));
    }
}

#[test]
fn every_kind_of_entry_is_what_it_was_after_reading_it() {
    let job = JobId::random();
    let head = ChainHead { count: 7, hash: ChainHash::of(ChainHash::GENESIS, "x") };
    let entries = [
        erasure(1),
        hold(job, 2),
        ReceiptEntry::Release { job, at: at(3), by: "ops".into() },
        pause(4),
        ReceiptEntry::Resume { at: at(5), by: "ops".into() },
        ReceiptEntry::Prune { at: at(6), cut: head },
        ReceiptEntry::Gap { at: at(7), expected: head, found: ChainHead::EMPTY },
        ReceiptEntry::Epoch { at: at(8), epoch: 3 },
    ];
    let room = TestChain::new(&entries);
    let mut read = Vec::new();
    walk(&room.path(), |item| {
        let json: serde_json::Value = serde_json::from_str(item.text).unwrap();
        assert_eq!(json["kind"], item.entry.kind());
        assert_eq!(item.entry.at(), at(item.head.count as i64));
        read.push(item.entry.clone());
        Ok::<_, ReceiptsError>(())
    })
    .unwrap();
    assert_eq!(read, entries);
    assert_eq!(verify(&room.path()).unwrap().gaps, 1);
    let text = room.lines()[5].clone();
    assert!(text.contains(&format!("\"count\":7,\"head\":\"{}\"", head.hash)), "{text}");
}

#[test]
fn a_torn_last_line_is_cut_off_and_the_chain_goes_on() {
    let room = TestChain::new(&[erasure(1)]);
    let (whole, head) = (room.text(), room.receipts.head());
    for length in [1, whole.len() / 2, whole.len() - 1] {
        room.write(&format!("{whole}{}", &whole[..length]));
        assert_eq!(verify(&room.path()).unwrap().head, head, "a reader takes it for an append that goes on");
        ReceiptFile::open(room.dir.path()).unwrap().append(&[erasure(2)]).unwrap();
        assert_eq!(verify(&room.path()).unwrap().head.count, 2);
    }
}

#[test]
fn a_changed_or_missing_line_breaks_the_chain() {
    let room = TestChain::new(&[erasure(1), erasure(2), erasure(3)]);
    let (text, lines) = (room.text(), room.lines());
    let changed = text.replacen("\"files\":17", "\"files\":16", 1);
    let last_changed = [&lines[0], &lines[1], &lines[2].replace("\"files\":17", "\"files\":16")];
    let inserted = [&lines[0], &lines[0], &lines[1], &lines[2]].map(String::as_str).concat();
    let checkpoint = format!("{{\"checkpoint\":{{\"count\":1,\"head\":\"{}\"}}}}\n", room.heads()[0].hash);
    assert_broken(&room, &changed, 1, "not what its hash says");
    assert_broken(&room, &last_changed.map(String::as_str).concat(), 3, "not what its hash says");
    assert_broken(&room, &lines[1..].concat(), 1, "does not follow");
    assert_broken(&room, &[&lines[0], &lines[2]].map(String::as_str).concat(), 2, "does not follow");
    assert_broken(&room, &inserted, 2, "does not follow");
    assert_broken(&room, &format!("{text}\n"), 4, "not a line of a chain");
    assert_broken(&room, &text.replacen("\"previous\"", " \"previous\"", 1), 1, "does not cover");
    assert_broken(&room, &text.replacen("}\n", ",\"note\":1}\n", 1), 1, "does not cover");
    assert_broken(&room, &format!("{checkpoint}{}", lines[1..].concat()), 1, "no prune entry");
    assert_broken(&room, &format!("{}{checkpoint}{}", lines[0], lines[1]), 2, "not a line of a chain");
    // A checkpoint that nobody has announced is a missing end, not a broken link: see below.
    room.write(&changed);
    assert!(ReceiptFile::open(room.dir.path()).is_err());
}

#[test]
fn holds_and_the_pause_are_remembered_until_they_end() {
    let (a, b) = (JobId::random(), JobId::random());
    let room = TestChain::new(&[hold(a, 1), hold(b, 2), pause(3)]);
    let assert_in_force = |receipts: &ReceiptFile, jobs: &[JobId], paused: bool| {
        assert_eq!([a, b].map(|job| receipts.hold_of(job).is_some()), [a, b].map(|job| jobs.contains(&job)));
        assert_eq!(receipts.holds().len(), jobs.len());
        assert_eq!(receipts.pause().map(|pause| pause.reason), paused.then(|| "migration".to_string()));
    };
    assert_in_force(&room.receipts, &[a, b], true);
    let room = room.reopened();
    assert_in_force(&room.receipts, &[a, b], true);
    assert_eq!(room.receipts.hold_of(a).map(|hold| hold.reason), Some("case 7".into()));
    room.receipts.append(&[ReceiptEntry::Release { job: a, at: at(4), by: "ops".into() }]).unwrap();
    assert_in_force(&room.receipts, &[b], true);
    room.receipts.append(&[ReceiptEntry::Resume { at: at(5), by: "ops".into() }]).unwrap();
    assert_in_force(&room.receipts, &[b], false);
    assert_in_force(&room.reopened().receipts, &[b], false);
}

#[test]
fn a_head_that_the_chain_does_not_go_through_is_missing() {
    let room = TestChain::new(&[erasure(1), erasure(2), erasure(3), erasure(4)]);
    let heads = room.heads();
    let missing = |room: &TestChain, head| room.receipts.missing(head).unwrap();
    for head in heads.iter().chain([&ChainHead::EMPTY]) {
        assert_eq!(missing(&room, *head), None, "{head:?}");
    }
    for (n, head) in heads.iter().enumerate() {
        let other = ChainHead { hash: ChainHash::of(head.hash, "other"), ..*head };
        assert_eq!(missing(&room, other), Some(heads[n]), "replaced");
    }
    room.write(&room.lines()[..2].concat());
    let room = room.reopened();
    assert_eq!(missing(&room, heads[2]), Some(heads[1]), "cut off");
    assert_eq!(missing(&room, heads[1]), None);
    std::fs::remove_file(room.path()).unwrap();
    assert_eq!(missing(&room.reopened(), heads[2]), Some(ChainHead::EMPTY));
}

#[test]
fn nothing_is_appended_after_an_append_that_failed() {
    let room = TestChain::new(&[erasure(1)]);
    let read_only = Arc::new(File::open(room.path()).unwrap());
    let file = room.receipts.end.lock().file.swap(read_only);
    let entry = erasure(2);
    assert!(room.receipts.append(std::slice::from_ref(&entry)).is_err());
    room.receipts.end.lock().file.swap(file);
    assert!(room.receipts.append(&[erasure(3)]).is_err(), "only a new start can go on");
    assert!(!room.receipts.has(entry.job().unwrap()), "what is not durable is not known");
    assert_eq!(verify(&room.path()).unwrap().head.count, 1);
}

#[test]
fn a_hash_has_one_way_to_be_written() {
    let hash = ChainHash::of(ChainHash::GENESIS, "x");
    let text = hash.to_string();
    assert_eq!(text.parse(), Ok(hash));
    for other in [text.to_uppercase().as_str(), &text[1..], &format!("{text}0"), "", "x"] {
        assert_eq!(other.parse::<ChainHash>(), Err(InvalidHash), "{other}");
    }
}
