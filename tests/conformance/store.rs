//! What every `Store` promises (P1): batches are whole, durable when `commit` returns, and
//! fenced by the record's revision.

use std::path::Path;

use evanesce::job::{
    CodedForm, Completion, ContentCoding, JobId, JobRecord, JobState, Mark, MarkReason, OrganizeBy,
    OutputFile, SealedPart, StateName, Tombstone,
};
use evanesce::receipts::ChainHead;
use evanesce::store::EntryOutcome::{Applied, Stale};
use evanesce::store::{SledStore, Store, StoreEntry, StoreError};
use jiff::Timestamp;

type Open<'a> = &'a dyn Fn() -> Box<dyn Store>;

/// Runs `check` with a backend that it may open again and again, once each way.
fn on_every_backend(check: impl Fn(Open<'_>)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    check(&|| Box::new(SledStore::open(&path).unwrap()));
}

fn record(revision: u64, state: JobState) -> JobRecord {
    let at = Timestamp::UNIX_EPOCH;
    let (tenant, owner) = ("t".parse().unwrap(), "o".parse().unwrap());
    JobRecord { id: JobId::random(), tenant, owner, revision, submitted_at: at, state }
}

fn part(index: u32, files: u64) -> SealedPart {
    let file = |n| OutputFile {
        count: n + 1,
        bytes: 10 * n,
        coded: (n > 1).then_some(CodedForm { coding: ContentCoding::Zstd, bytes: n, piece: 5 }),
        sha256: (n > 1).then(|| "0f".repeat(32)),
        organized_by: (n > 1).then_some(OrganizeBy::Patient),
        continues_in: (n > 1).then(|| format!("{:03}_Patient.ndjson", n + 1)),
        ..OutputFile::new(format!("{n:03}_Patient.ndjson"), "Patient")
    };
    SealedPart { index, files: (0..files).map(file).collect(), broken_lines: u64::from(index) }
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    on_every_backend(|open| {
        let queued = record(1, JobState::Queued);
        let at = Timestamp::UNIX_EPOCH;
        let running = queued.next(JobState::Running { transaction_time: at });
        let (first, second) = (part(0, 3), part(300, 0));
        {
            let mut store = open();
            assert!(store.load().unwrap().is_empty());
            assert_eq!(store.commit(&[StoreEntry::Record(queued.clone())]).unwrap(), [Applied]);
            let batch = [
                StoreEntry::Part(queued.id, second.clone()),
                StoreEntry::Record(running.clone()),
                StoreEntry::Part(queued.id, first.clone()),
            ];
            assert_eq!(store.commit(&batch).unwrap(), [Applied; 3]);
        }
        let loaded = open().load().unwrap();
        assert_eq!(loaded.len(), 1);
        assert_eq!(loaded[0].record, running);
        assert_eq!(loaded[0].parts, [first, second], "in the order of the plan");
    });
}

#[test]
fn a_record_whose_revision_does_not_follow_is_left_out_and_the_rest_is_not() {
    on_every_backend(|open| {
        let mut store = open();
        let job = record(1, JobState::Queued);
        let other = record(1, JobState::Queued);
        let skipped = JobRecord { revision: 3, ..job.clone() };
        let too_new = record(2, JobState::Queued);
        store.commit(&[StoreEntry::Record(job.clone())]).unwrap();
        let batch = [
            StoreEntry::Record(job.clone()),
            StoreEntry::Record(skipped),
            StoreEntry::Record(too_new),
            StoreEntry::Record(other.clone()),
        ];
        assert_eq!(store.commit(&batch).unwrap(), [Stale, Stale, Stale, Applied]);
        let mut ids: Vec<_> = store.load().unwrap().into_iter().map(|job| job.record.id).collect();
        ids.sort();
        let mut expected = [job.id, other.id];
        expected.sort();
        assert_eq!(ids, expected);
    });
}

#[test]
fn one_job_is_read_as_it_stands_among_others() {
    on_every_backend(|open| {
        let mut store = open();
        let (job, other) = (record(1, JobState::Queued), record(1, JobState::Queued));
        let entries = [
            StoreEntry::Record(other.clone()),
            StoreEntry::Part(other.id, part(0, 1)),
            StoreEntry::Record(job.clone()),
            StoreEntry::Part(job.id, part(1, 2)),
        ];
        store.commit(&entries).unwrap();
        let stored = store.load_job(job.id).unwrap().unwrap();
        assert_eq!((stored.record, stored.parts), (job, vec![part(1, 2)]));
        assert_eq!(store.load_job(JobId::random()).unwrap(), None);
    });
}

#[test]
fn revisions_may_follow_each_other_within_one_batch() {
    on_every_backend(|open| {
        let mut store = open();
        let at = Timestamp::UNIX_EPOCH;
        let queued = record(1, JobState::Queued);
        let complete = queued.next(JobState::Complete(Completion::of(&[], at, at)));
        let mark = Mark {
            reason: MarkReason::Deleted,
            by: None,
            at,
            request_id: None,
            was: StateName::Complete,
            failure: None,
        };
        let marked = complete.next(JobState::Marked(mark));
        let batch = [&queued, &complete, &marked].map(|record| StoreEntry::Record(record.clone()));
        assert_eq!(store.commit(&batch).unwrap(), [Applied; 3]);
        assert_eq!(store.load().unwrap()[0].record, marked);
    });
}

#[test]
fn an_erased_job_keeps_a_tombstone_and_a_forgotten_one_keeps_nothing() {
    on_every_backend(|open| {
        let mut store = open();
        let at = Timestamp::UNIX_EPOCH;
        let job = record(1, JobState::Queued);
        store.commit(&[StoreEntry::Record(job.clone()), StoreEntry::Part(job.id, part(0, 5))]).unwrap();
        let erased =
            job.next(JobState::Erased(Tombstone { reason: MarkReason::Expired, marked_at: at, gone_at: at }));
        store.commit(&[StoreEntry::Record(erased.clone())]).unwrap();
        let loaded = store.load().unwrap();
        assert_eq!((&loaded[0].record, loaded[0].parts.len()), (&erased, 0));
        store.commit(&[StoreEntry::Forget(job.id)]).unwrap();
        assert!(store.load().unwrap().is_empty());
        // The id is as new again.
        assert_eq!(store.commit(&[StoreEntry::Record(job)]).unwrap(), [Applied]);
    });
}

#[test]
fn the_last_head_of_the_receipts_is_there_after_reopening_whatever_else_was_committed() {
    on_every_backend(|open| {
        let head = |count: u64| {
            let hash = format!("{count:064x}").parse().unwrap();
            ChainHead { count, hash }
        };
        let job = record(1, JobState::Queued);
        {
            let mut store = open();
            assert_eq!(store.head().unwrap(), None);
            let batch =
                [StoreEntry::Head(head(3)), StoreEntry::Record(job.clone()), StoreEntry::Head(head(4))];
            assert_eq!(store.commit(&batch).unwrap(), [Applied; 3]);
            assert_eq!(store.head().unwrap(), Some(head(4)));
        }
        {
            let mut store = open();
            assert_eq!(store.head().unwrap(), Some(head(4)));
            assert_eq!(store.load().unwrap().len(), 1, "a head is no job");
            // With a record that is left out, and alone.
            let stale = [StoreEntry::Record(job.clone()), StoreEntry::Head(head(5))];
            assert_eq!(store.commit(&stale).unwrap(), [Stale, Applied]);
            assert_eq!(store.head().unwrap(), Some(head(5)));
            store.commit(&[StoreEntry::Head(head(9))]).unwrap();
            store.commit(&[StoreEntry::Forget(job.id)]).unwrap();
        }
        assert_eq!(open().head().unwrap(), Some(head(9)));
    });
}

#[test]
fn a_sled_store_of_a_newer_format_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    set_format(folder.path(), b"99");
    let refused = SledStore::open(folder.path()).err().unwrap();
    assert!(matches!(refused, StoreError::Newer { found: 99, known: 1 }), "{refused}");
    let db = sled::open(folder.path()).unwrap();
    assert_eq!(db.get("m/format").unwrap().unwrap().as_ref(), b"99");
}

fn set_format(folder: &Path, format: &[u8]) {
    drop(SledStore::open(folder).unwrap());
    let db = sled::open(folder).unwrap();
    db.insert("m/format", format).unwrap();
    db.flush().unwrap();
}

#[test]
fn a_sled_store_that_another_owner_has_open_is_said_to_be_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let _held = SledStore::open(folder.path()).unwrap();
    assert!(matches!(SledStore::open(folder.path()).err(), Some(StoreError::InUse)));
}

#[test]
fn a_sled_store_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    drop(SledStore::open(&store).unwrap());
    assert_eq!(std::fs::metadata(store).unwrap().permissions().mode() & 0o777, 0o700);
}
