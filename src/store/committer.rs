//! The committer: one thread that owns the store's writes. It takes all waiting changes through one
//! commit (group commit), in the order of [`erase::order`](crate::erase::order), and answers the
//! callers. A failure before the publication poisons it: the callers get the error, nothing is
//! published, and the process must end. An fsync is never retried.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{EntryOutcome, Store, StoreEntry, StoredJob};
use crate::erase::order::{COMMIT_ORDER, CommitStep, FULL_DISK_ORDER};
use crate::files::SweepCounts;
use crate::hooks::{HookFault, HookStep, Hooks};
use crate::job::{JobId, JobRecord, Receipt, SealedPart};
use crate::receipts::{self, ChainHead};
use crate::telemetry::{self, FatalHandler};
use crate::view::{LocalView, PublishedJob, ViewChange};

/// The most changes in one commit.
const BATCH: usize = 1024;

/// A change to make durable and then publish.
#[derive(Debug)]
pub enum DurableChange {
    /// A job not seen before.
    New(PublishedJob),
    /// A new record.
    Update(JobRecord),
    /// A complete job with its files.
    Complete(JobRecord, Arc<[SealedPart]>),
    /// A mark for deletion: its directory moves to `trash/` before it is published.
    Mark(JobRecord),
    /// A mark for a directory that had no record: as `Mark`, with a new record.
    MarkNew(PublishedJob),
    /// An erasure: its receipt is durable before the record is.
    Erase(JobRecord, Box<Receipt>),
    /// A sealed part. Not published.
    Seal(JobId, SealedPart),
    /// The end of a tombstone.
    Forget(JobId),
    /// Only an entry of the chain of receipts. Not published.
    Note(receipts::ReceiptEntry),
    /// No change. The chain of receipts is mended if it must be.
    Mend,
}

impl DurableChange {
    fn entry(&self) -> Option<StoreEntry> {
        match self {
            Self::New(published) | Self::MarkNew(published) => {
                Some(StoreEntry::Record(published.record.clone()))
            }
            Self::Update(record)
            | Self::Complete(record, _)
            | Self::Mark(record)
            | Self::Erase(record, _) => Some(StoreEntry::Record(record.clone())),
            Self::Seal(job, part) => Some(StoreEntry::Part(*job, part.clone())),
            Self::Forget(job) => Some(StoreEntry::Forget(*job)),
            Self::Note(_) | Self::Mend => None,
        }
    }

    fn marked(&self) -> Option<JobId> {
        match self {
            Self::Mark(record) => Some(record.id),
            Self::MarkNew(published) => Some(published.record.id),
            _ => None,
        }
    }

    /// Returns the entry to append to the chain of receipts, if any.
    fn note(&self) -> Option<receipts::ReceiptEntry> {
        match self {
            Self::Erase(_, receipt) => Some(receipts::ReceiptEntry::Erasure(receipt.clone())),
            Self::Note(entry) => Some(entry.clone()),
            _ => None,
        }
    }

    fn publication(self) -> Option<ViewChange> {
        match self {
            Self::New(published) | Self::MarkNew(published) => Some(ViewChange::New(published)),
            Self::Complete(record, parts) => Some(ViewChange::Record(record, Some(parts))),
            Self::Update(record) | Self::Mark(record) | Self::Erase(record, _) => {
                Some(ViewChange::Record(record, None))
            }
            Self::Forget(job) => Some(ViewChange::Forget(job)),
            Self::Seal(..) | Self::Note(_) | Self::Mend => None,
        }
    }
}

/// The outcome of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Durable and published.
    Done,
    /// Durable and published. These files were removed before the commit, for want of room.
    Swept(SweepCounts),
    /// The mark is in the store, but the directory could not be moved to `trash/`. The second witness
    /// is missing, and the reaper keeps trying.
    NotMoved(String),
    /// Nothing was changed, because another process changed the record first. Has the record that is in
    /// the store now and is published, if any. In a store of this process alone this is fatal and never
    /// returned.
    Stale(Option<Box<JobRecord>>),
}

/// It is unknown what became of the change. The committer is poisoned and the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store can promise nothing any more; the server is going down")]
pub struct CommitError;

/// The two witnesses beside the store, as the committer's thread calls them. An `Err` is fatal.
pub trait OtherWitnesses: Send {
    /// Makes room for a commit if it can. Returns false if there is none.
    fn make_room(&mut self) -> bool;

    /// Removes the files of a directory in `trash/`, for their room.
    fn give_room(&mut self, job: JobId) -> SweepCounts;

    /// Appends entries to the chain of receipts durably, and returns its new head.
    fn append_receipts(&mut self, entries: &[receipts::ReceiptEntry]) -> Result<ChainHead, String>;

    /// Moves directories to `trash/` and syncs the parents. An item has the error of one job.
    fn move_to_trash(&mut self, jobs: &[JobId]) -> Result<Vec<Result<(), String>>, String>;
}

struct SubmittedChange {
    change: DurableChange,
    answer: oneshot::Sender<Result<CommitOutcome, CommitError>>,
}

/// The handle on the committer's thread. Dropping it ends the thread after all submitted changes.
pub struct Committer {
    submissions: Mutex<Option<Sender<SubmittedChange>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    view: Arc<LocalView>,
    healthy: Arc<AtomicBool>,
    waiting: Arc<AtomicUsize>,
}

impl Committer {
    /// Starts the thread over a store whose content `view` already shows.
    pub fn start(
        store: Box<dyn Store>,
        witnesses: Box<dyn OtherWitnesses>,
        view: Arc<LocalView>,
        hooks: Hooks,
        fatal: FatalHandler,
    ) -> std::io::Result<Self> {
        let (submissions, waiting) = channel();
        let healthy = Arc::new(AtomicBool::new(true));
        let waiting_changes = Arc::new(AtomicUsize::new(0));
        let mut writer = BatchWriter {
            waiting: waiting_changes.clone(),
            store,
            witnesses,
            view: view.clone(),
            hooks,
            healthy: healthy.clone(),
        };
        let run = move || {
            if let Err(reason) = writer.run(&waiting) {
                fatal.raise(&format!("committer: {reason}"));
                // Whoever still submits is told so by its answer's end being dropped.
            }
        };
        let thread = std::thread::Builder::new().name("committer".into()).spawn(run)?;
        let (submissions, thread) = (Mutex::new(Some(submissions)), Mutex::new(Some(thread)));
        Ok(Self { submissions, thread, view, healthy, waiting: waiting_changes })
    }

    /// Submits a change. Changes are committed in the order of submission. Dropping the future gives up
    /// the answer, not the change.
    pub fn submit(
        &self,
        change: DurableChange,
    ) -> impl Future<Output = Result<CommitOutcome, CommitError>> + Send + use<> {
        let (answer, answered) = oneshot::channel();
        if let Some(submissions) = &*self.submissions.lock() {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            // A thread that is gone has dropped its end; the answer then says so.
            let _ = submissions.send(SubmittedChange { change, answer });
        }
        async move { answered.await.unwrap_or(Err(CommitError)) }
    }

    /// Returns the published view.
    pub fn view(&self) -> &Arc<LocalView> {
        &self.view
    }

    /// Returns the number of submitted changes without an answer.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Returns whether changes can still be made durable.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    /// Commits what was submitted, closes the store and ends the thread.
    pub fn close(&self) {
        self.submissions.lock().take();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.close();
    }
}

struct BatchWriter {
    waiting: Arc<AtomicUsize>,
    store: Box<dyn Store>,
    witnesses: Box<dyn OtherWitnesses>,
    view: Arc<LocalView>,
    hooks: Hooks,
    healthy: Arc<AtomicBool>,
}

impl BatchWriter {
    fn run(&mut self, waiting: &Receiver<SubmittedChange>) -> Result<(), String> {
        while let Ok(first) = waiting.recv() {
            let mut batch = vec![first];
            batch.extend(waiting.try_iter().take(BATCH - 1));
            let (changes, answers): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|submission| (submission.change, submission.answer)).unzip();
            let committed = catch_unwind(AssertUnwindSafe(|| self.commit(changes)));
            let committed = committed.unwrap_or_else(|_| Err("panic in a commit".into()));
            // Before the answers are dropped: `/readyz` is red when the first caller hears of it.
            let outcomes = committed.inspect_err(|_| self.healthy.store(false, Ordering::Release))?;
            self.waiting.fetch_sub(answers.len(), Ordering::Relaxed);
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // Whoever does not wait for the answer has dropped its end.
                let _ = answer.send(Ok(outcome));
            }
        }
        Ok(())
    }

    /// Takes one batch through all witnesses, in the order that P1, P2 and P9 rest on.
    fn commit(&mut self, changes: Vec<DurableChange>) -> Result<Vec<CommitOutcome>, String> {
        let (began, count) = (Instant::now(), changes.len());
        let mut batch = CommitBatch::new(changes);
        if !self.witnesses.make_room() && !batch.jobs.is_empty() {
            // The mark may not fit.
            FULL_DISK_ORDER.iter().try_for_each(|step| self.perform(*step, &mut batch))?;
        }
        COMMIT_ORDER.iter().try_for_each(|step| self.perform(*step, &mut batch))?;
        telemetry::batch_committed(count, began.elapsed());
        Ok(batch.outcomes)
    }

    fn perform(&mut self, step: CommitStep, batch: &mut CommitBatch) -> Result<(), String> {
        match step {
            CommitStep::AppendReceipts => self.append_receipts(batch)?,
            CommitStep::CommitStore => self.commit_store(batch)?,
            CommitStep::MoveToTrash => {
                let moved = self.witnesses.move_to_trash(&batch.jobs)?;
                for (n, moved) in batch.marks.iter().zip(moved) {
                    if let Err(reason) = moved {
                        batch.outcomes[*n] = CommitOutcome::NotMoved(reason);
                    }
                }
            }
            CommitStep::GiveRoom => {
                for (n, job) in batch.marks.iter().zip(&batch.jobs) {
                    batch.outcomes[*n] = CommitOutcome::Swept(self.witnesses.give_room(*job));
                }
            }
            CommitStep::Publish => {
                let changes = std::mem::take(&mut batch.changes).into_iter().zip(&batch.outcomes);
                let durable = changes.filter(|(_, outcome)| !matches!(outcome, CommitOutcome::Stale(_)));
                let durable = durable.filter_map(|(change, _)| change.publication());
                self.view.publish(std::mem::take(&mut batch.reloaded).into_iter().chain(durable));
                self.hooks.reach(HookStep::Published);
            }
        }
        Ok(())
    }

    fn append_receipts(&mut self, batch: &mut CommitBatch) -> Result<(), String> {
        let notes: Vec<_> = batch.changes.iter().filter_map(DurableChange::note).collect();
        if !notes.is_empty() || batch.changes.iter().any(|change| matches!(change, DurableChange::Mend)) {
            batch.entries.push(StoreEntry::Head(self.witnesses.append_receipts(&notes)?));
            self.hooks.reach(HookStep::ReceiptAppended);
        }
        Ok(())
    }

    fn commit_store(&mut self, batch: &mut CommitBatch) -> Result<(), String> {
        self.hooks.fault(HookFault::Commit).map_err(|e| e.to_string())?;
        let committed = self.store.commit(&batch.entries).map_err(|e| e.to_string())?;
        for (n, outcome) in committed.into_iter().enumerate() {
            if outcome == EntryOutcome::Applied {
                continue;
            }
            if !self.store.is_shared() {
                return Err(format!(
                    "another writer changed a record under this one: {:?}",
                    batch.entries[n]
                ));
            }
            if let StoreEntry::Record(record) = &batch.entries[n] {
                let job = record.id;
                let stored = self.store.load_job(job).map_err(|e| e.to_string())?;
                batch.give_up(n, job, stored, self.view.get(job).is_some());
            }
        }
        if !batch.jobs.is_empty() {
            self.hooks.reach(HookStep::MarkCommitted);
        }
        Ok(())
    }
}

/// Changes on their way through one commit.
struct CommitBatch {
    changes: Vec<DurableChange>,
    entries: Vec<StoreEntry>,
    /// The change that each entry belongs to. The head of the receipts comes last and belongs to none.
    places: Vec<usize>,
    outcomes: Vec<CommitOutcome>,
    /// The records as other processes changed them, for entries that were stale.
    reloaded: Vec<ViewChange>,
    /// The changes that are marks, with their jobs.
    marks: Vec<usize>,
    jobs: Vec<JobId>,
}

impl CommitBatch {
    fn new(changes: Vec<DurableChange>) -> Self {
        let marked = changes.iter().enumerate().filter_map(|(n, change)| Some((n, change.marked()?)));
        let (marks, jobs) = marked.unzip();
        let entries = changes.iter().enumerate().filter_map(|(n, change)| Some((n, change.entry()?)));
        let (places, entries) = entries.unzip();
        let outcomes = vec![CommitOutcome::Done; changes.len()];
        Self { changes, entries, places, outcomes, reloaded: Vec::new(), marks, jobs }
    }

    /// Gives up the change of the `entry`-th entry, which is stale, and publishes `stored`.
    fn give_up(&mut self, entry: usize, job: JobId, stored: Option<StoredJob>, is_known: bool) {
        let change = self.places[entry];
        self.outcomes[change] =
            CommitOutcome::Stale(stored.as_ref().map(|stored| Box::new(stored.record.clone())));
        self.reloaded.push(match stored {
            Some(StoredJob { record, parts }) if is_known => ViewChange::Record(record, Some(parts.into())),
            Some(StoredJob { record, parts }) => {
                ViewChange::New(PublishedJob::new(record, None, parts.into()))
            }
            None => ViewChange::Forget(job),
        });
        if let Some(mark) = self.marks.iter().position(|n| *n == change) {
            self.marks.remove(mark);
            self.jobs.remove(mark);
        }
    }
}
