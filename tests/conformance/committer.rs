//! What the committer promises over every `Store`: what it answers is durable and published, and a
//! record that another process changed first is an outcome where there may be such a process, and
//! the end where there may be none.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use evanesce::files::SweepCounts;
use evanesce::hooks::Hooks;
use evanesce::job::{JobId, JobRecord, JobState, Mark, MarkReason, StateName};
use evanesce::receipts::{ChainHead, ReceiptEntry};
use evanesce::store::{
    CommitOutcome, Committer, DurableChange, EntryOutcome, OtherWitnesses, SledStore, Store, StoreEntry,
    StoreError, StoredJob,
};
use evanesce::telemetry::FatalHandler;
use evanesce::view::{LocalView, PublishedJob};
use jiff::Timestamp;
use parking_lot::Mutex;

/// A store that another process writes to as well, or says so.
#[derive(Clone)]
struct Several {
    store: Arc<Mutex<SledStore>>,
    is_shared: bool,
}

impl Store for Several {
    fn commit(&mut self, entries: &[StoreEntry]) -> Result<Vec<EntryOutcome>, StoreError> {
        self.store.lock().commit(entries)
    }

    fn load(&self) -> Result<Vec<StoredJob>, StoreError> {
        self.store.lock().load()
    }

    fn is_shared(&self) -> bool {
        self.is_shared
    }

    fn head(&self) -> Result<Option<ChainHead>, StoreError> {
        self.store.lock().head()
    }
}

/// Notes which directories were moved.
struct NotedWitnesses(Arc<Mutex<Vec<JobId>>>);

impl OtherWitnesses for NotedWitnesses {
    fn make_room(&mut self) -> bool {
        true
    }

    fn give_room(&mut self, _: JobId) -> SweepCounts {
        SweepCounts::default()
    }

    fn append_receipts(&mut self, _: &[ReceiptEntry]) -> Result<ChainHead, String> {
        Ok(ChainHead::EMPTY)
    }

    fn move_to_trash(&mut self, jobs: &[JobId]) -> Result<Vec<Result<(), String>>, String> {
        self.0.lock().extend(jobs);
        Ok(jobs.iter().map(|_| Ok(())).collect())
    }
}

struct Room {
    other: Several,
    committer: Committer,
    moved: Arc<Mutex<Vec<JobId>>>,
    fatal: Receiver<String>,
    _folder: tempfile::TempDir,
}

impl Room {
    fn new(is_shared: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Mutex::new(SledStore::open(folder.path()).unwrap()));
        let other = Several { store, is_shared };
        let (raised, fatal) = channel();
        let raise = FatalHandler::new(move |reason| raised.send(reason.to_string()).unwrap());
        let moved = Arc::<Mutex<Vec<JobId>>>::default();
        let witnesses = Box::new(NotedWitnesses(moved.clone()));
        let view = Arc::new(LocalView::default());
        let store = Box::new(other.clone());
        let committer = Committer::start(store, witnesses, view, Hooks::default(), raise).unwrap();
        Self { other, committer, moved, fatal, _folder: folder }
    }

    fn submit(&self, change: DurableChange) -> Option<CommitOutcome> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.committer.submit(change)).ok()
    }

    /// A queued job that is committed and published.
    fn queued(&self) -> JobRecord {
        let (tenant, owner) = ("t".parse().unwrap(), "o".parse().unwrap());
        let (at, id) = (Timestamp::UNIX_EPOCH, JobId::random());
        let record = JobRecord { id, tenant, owner, revision: 1, submitted_at: at, state: JobState::Queued };
        let published = PublishedJob::new(record.clone(), None, Arc::new([]));
        assert_eq!(self.submit(DurableChange::New(published)), Some(CommitOutcome::Done));
        record
    }

    fn state(&self, job: &JobRecord) -> StateName {
        self.committer.view().get(job.id).unwrap().record.state.name()
    }
}

fn running(record: &JobRecord) -> JobRecord {
    record.next(JobState::Running { transaction_time: Timestamp::UNIX_EPOCH })
}

fn marked(record: &JobRecord) -> JobRecord {
    let at = Timestamp::UNIX_EPOCH;
    let was = StateName::Queued;
    let mark = Mark { reason: MarkReason::Cancelled, by: None, at, request_id: None, was, failure: None };
    record.next(JobState::Marked(mark))
}

#[test]
fn in_a_shared_store_a_record_that_another_process_changed_first_is_stale_and_nothing_comes_of_it() {
    let mut room = Room::new(true);
    let (job, untouched) = (room.queued(), room.queued());
    let applied = room.other.commit(&[StoreEntry::Record(running(&job))]).unwrap();
    assert_eq!(applied, [EntryOutcome::Applied]);
    assert_eq!(room.submit(DurableChange::Mark(marked(&job))), Some(CommitOutcome::Stale));
    assert_eq!(room.state(&job), StateName::Queued, "it is not published");
    assert!(room.moved.lock().is_empty(), "its directory stays");
    // Everything else goes on.
    assert_eq!(room.submit(DurableChange::Mark(marked(&untouched))), Some(CommitOutcome::Done));
    assert_eq!(room.state(&untouched), StateName::Marked);
    assert_eq!(*room.moved.lock(), [untouched.id]);
    // Who reloads and looks again marks what is there.
    assert_eq!(room.submit(DurableChange::Mark(marked(&running(&job)))), Some(CommitOutcome::Done));
    assert_eq!(room.state(&job), StateName::Marked);
    assert!(room.committer.is_healthy() && room.fatal.try_recv().is_err());
}

#[test]
fn in_a_store_of_one_process_a_second_writer_ends_it() {
    let mut room = Room::new(false);
    let job = room.queued();
    room.other.commit(&[StoreEntry::Record(running(&job))]).unwrap();
    assert_eq!(room.submit(DurableChange::Mark(marked(&job))), None);
    assert!(room.fatal.recv_timeout(crate::support::PATIENCE).unwrap().contains("another writer"));
    assert!(!room.committer.is_healthy());
    assert_eq!(room.state(&job), StateName::Queued);
    assert!(room.moved.lock().is_empty());
}
