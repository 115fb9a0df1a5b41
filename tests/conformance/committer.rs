//! What the committer promises over every `Store`: what it answers is durable and published, and a
//! record that another process changed first is an outcome where there may be such a process, and
//! the end where there may be none.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use evanesce::files::SweepCounts;
use evanesce::hooks::Hooks;
use evanesce::job::life::{
    Action, CancelReply, Canceller, Commit, End, Input, Life, LifeRules, Surroundings, Task,
};
use evanesce::job::{Completion, JobId, JobRecord, JobState, Mark, MarkReason, StateName};
use evanesce::receipts::{ChainHead, ReceiptEntry};
use evanesce::store::{
    CommitOutcome, Committer, DurableChange, EntryOutcome, OtherWitnesses, SledStore, Store, StoreEntry,
    StoreError, StoredJob,
};
use evanesce::telemetry::FatalHandler;
use evanesce::view::{LocalView, PublishedJob, ViewChange};
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

    fn load_job(&self, job: JobId) -> Result<Option<StoredJob>, StoreError> {
        self.store.lock().load_job(job)
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
    folder: Arc<tempfile::TempDir>,
}

impl Room {
    fn new(is_shared: bool) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let store = Arc::new(Mutex::new(SledStore::open(folder.path()).unwrap()));
        Self::over(Several { store, is_shared }, folder)
    }

    /// Another process over the same store, which has read what is there by now.
    fn beside(&self) -> Self {
        let room = Self::over(self.other.clone(), self.folder.clone());
        let publish = |job: StoredJob| PublishedJob::new(job.record, None, job.parts.into());
        let stored = room.other.load().unwrap().into_iter().map(publish);
        room.committer.view().publish(stored.map(ViewChange::New));
        room
    }

    fn over(other: Several, folder: Arc<tempfile::TempDir>) -> Self {
        let (raised, fatal) = channel();
        let raise = FatalHandler::new(move |reason| raised.send(reason.to_string()).unwrap());
        let moved = Arc::<Mutex<Vec<JobId>>>::default();
        let witnesses = Box::new(NotedWitnesses(moved.clone()));
        let view = Arc::new(LocalView::default());
        let store = Box::new(other.clone());
        let committer = Committer::start(store, witnesses, view, Hooks::default(), raise).unwrap();
        Self { other, committer, moved, fatal, folder }
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
    let stale = CommitOutcome::Stale(Some(Box::new(running(&job))));
    assert_eq!(room.submit(DurableChange::Mark(marked(&job))), Some(stale));
    assert_eq!(room.state(&job), StateName::Running, "it shows what stands in the store");
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

/// A job's life in one of the processes. Its commits go through that one's committer; nothing else
/// takes any time.
struct CommittedLife<'a> {
    room: &'a Room,
    life: Life,
    answers: Vec<CancelReply>,
    sweeps: usize,
}

impl<'a> CommittedLife<'a> {
    fn recalled(room: &'a Room, record: &JobRecord) -> Self {
        let life = Life::new(record.id, LifeRules { retention: std::time::Duration::ZERO, max_files: 0 });
        let mut job = Self { room, life, answers: Vec::new(), sweeps: 0 };
        job.tell(Input::Recalled { record: record.clone(), sealed: 0, files: 0 });
        job
    }

    fn cancel(&mut self, request_id: &str) {
        let by = Canceller::Client("o".parse().unwrap());
        self.tell(Input::Cancel { by, request_id: request_id.into(), caller: 1 });
    }

    fn swept(&mut self) {
        self.tell(Input::SweepDone { swept: SweepCounts::default(), error: None });
    }

    fn tell(&mut self, input: Input) {
        let around = Surroundings { now: Timestamp::UNIX_EPOCH, writers: 0, downloads: 0 };
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for action in self.life.handle(input, around) {
                match action {
                    Action::Answer { reply, .. } => self.answers.push(reply),
                    Action::Sweep => self.sweeps += 1,
                    Action::Start(Task::Commit(commit)) => {
                        inputs.push_back(Input::Ended(self.commit(commit)));
                    }
                    Action::Start(Task::FindMark) => {
                        inputs.push_back(Input::Ended(End::MarkFound { moved: true }));
                    }
                    _ => {}
                }
            }
        }
    }

    fn commit(&self, commit: Commit) -> End {
        let of = commit.record().state.name();
        let outcome = self.room.submit(match commit {
            Commit::New(record) => DurableChange::New(PublishedJob::new(record, None, Arc::new([]))),
            Commit::MarkNew(record) => DurableChange::MarkNew(PublishedJob::new(record, None, Arc::new([]))),
            Commit::Update(record) => DurableChange::Update(record),
            Commit::Complete(record) => DurableChange::Complete(record, Arc::new([])),
            Commit::Mark(record) => DurableChange::Mark(record),
            Commit::Erase(record, receipt) => DurableChange::Erase(record, receipt),
        });
        match outcome.unwrap() {
            CommitOutcome::Stale(stored) => End::Stale { stored },
            _ => End::Committed { of, moved: true, swept: SweepCounts::default() },
        }
    }
}

/// Two processes that know a job which is complete.
fn two_processes() -> (Room, Room, JobRecord) {
    let room = Room::new(true);
    let at = Timestamp::UNIX_EPOCH;
    let complete = room.queued().next(JobState::Complete(Completion::of(&[], at, at)));
    let change = DurableChange::Complete(complete.clone(), Arc::new([]));
    assert_eq!(room.submit(change), Some(CommitOutcome::Done));
    let other = room.beside();
    (room, other, complete)
}

#[test]
fn of_two_processes_that_delete_a_job_at_once_one_accepts_it_and_both_see_it_erased() {
    let (room, other, record) = two_processes();
    let (mut here, mut there) =
        (CommittedLife::recalled(&room, &record), CommittedLife::recalled(&other, &record));
    here.cancel("a");
    there.cancel("b");
    assert!(matches!(here.answers[..], [CancelReply::Accepted { .. }]), "{:?}", here.answers);
    assert_eq!(there.answers, [CancelReply::AlreadyDeleted]);
    assert_eq!(other.state(&record), StateName::Marked);
    // The directory was moved once; whoever knows of a mark carries it out.
    assert_eq!((room.moved.lock().len(), other.moved.lock().len()), (1, 0));
    assert_eq!((here.sweeps, there.sweeps), (1, 1));
    here.swept();
    there.swept();
    assert_eq!((room.state(&record), other.state(&record)), (StateName::Erased, StateName::Erased));
    let stored = room.other.load_job(record.id).unwrap().unwrap();
    assert_eq!(stored.record.revision, record.revision + 2, "nothing was recorded twice");
}

#[test]
fn a_deletion_of_what_another_process_changed_meanwhile_is_accepted_of_what_it_has_become() {
    let room = Room::new(true);
    let queued = room.queued();
    let other = room.beside();
    let mut there = CommittedLife::recalled(&other, &queued);
    let at = Timestamp::UNIX_EPOCH;
    let complete = queued.next(JobState::Complete(Completion::of(&[], at, at)));
    room.submit(DurableChange::Complete(complete, Arc::new([]))).unwrap();
    there.cancel("a");
    assert!(matches!(there.answers[..], [CancelReply::Accepted { .. }]), "{:?}", there.answers);
    let stored = room.other.load_job(queued.id).unwrap().unwrap();
    let JobState::Marked(mark) = stored.record.state else { panic!("{stored:?}") };
    assert_eq!((mark.reason, mark.was), (MarkReason::Deleted, StateName::Complete));
    assert_eq!(*other.moved.lock(), [queued.id]);
}

#[test]
fn a_job_that_another_process_has_forgotten_is_unknown() {
    let (room, other, record) = two_processes();
    let mut there = CommittedLife::recalled(&other, &record);
    room.submit(DurableChange::Forget(record.id)).unwrap();
    there.cancel("a");
    assert_eq!(there.answers, [CancelReply::NotFound]);
    assert!(other.committer.view().get(record.id).is_none());
}
