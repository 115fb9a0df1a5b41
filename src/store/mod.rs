//! Durable memory. A [`Store`] is a backend that applies a batch of changes and makes it
//! durable before it returns; the [`Committer`] is the one thread that talks to it, many callers
//! sharing one commit; what everybody else reads is [`crate::view`] (DESIGN section 3).

mod committer;
mod sled;

use crate::job::{JobId, JobRecord, SealedPart};
use crate::receipts::ChainHead;

pub use self::sled::SledStore;
pub use committer::{CommitError, CommitOutcome, Committer, DurableChange, OtherWitnesses};

/// Why a store cannot do what was asked.
#[derive(Debug, thiserror::Error)]
#[allow(unnameable_types, reason = "only converted into what is public")]
pub enum StoreError {
    /// Another process has the store open.
    #[error("the store is in use by another process")]
    InUse,
    /// The store was written by a newer version.
    #[error("the store has format {found}, this version knows up to {known}: use the newer version")]
    Newer {
        /// The format found.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// What is stored could not be understood. Nothing was changed.
    #[error(
        "the store is damaged at {place}: {reason}; `evanesce fsck --rebuild` moves it aside and makes a new \
         one of what the disk and the receipts say"
    )]
    Damaged {
        /// The kind and key of an entry, or the part of the backend.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no room for it; nothing it was told in this batch is known to be durable.
    #[error(
        "the store cannot {operation}: {reason}; make some room where the data directory is, or raise the quota"
    )]
    Full {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        reason: String,
    },
    /// The backend failed: nothing it was told in this batch is known to be durable.
    #[error("the store cannot {operation}: {reason}")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// What the backend said.
        reason: String,
    },
}

/// A change that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreEntry {
    /// The job's record; its revision must be one more than the stored one's (1 for a new
    /// job). An erased job's parts are dropped with it.
    Record(JobRecord),
    /// One more sealed part of a job.
    Part(JobId, SealedPart),
    /// The end of a tombstone: nothing is known of the job any more.
    Forget(JobId),
    /// The end of the chain of receipts, in place of the one before.
    Head(ChainHead),
}

/// What became of an entry of a batch that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryOutcome {
    /// It was applied.
    Applied,
    /// Another writer came first: the revision of a record did not follow, and it was left out.
    /// Other entries have no revision, and are never stale.
    Stale,
}

/// What a store knows of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredJob {
    /// Its record.
    pub record: JobRecord,
    /// Its sealed parts, in the order of the plan.
    pub parts: Vec<SealedPart>,
}

/// A backend. It is used by one thread at a time and every call blocks.
pub trait Store: Send {
    /// Applies the entries in order, all or nothing, and returns only when they are on
    /// stable storage. The result has one item an entry. An `Err` means that nothing is known
    /// of the batch; the process must end, for a failed fsync can not be tried again.
    fn commit(&mut self, entries: &[StoreEntry]) -> Result<Vec<EntryOutcome>, StoreError>;

    /// All jobs that are stored.
    fn load(&self) -> Result<Vec<StoredJob>, StoreError>;

    /// The job as it is stored; `None` if it is not.
    fn load_job(&self, job: JobId) -> Result<Option<StoredJob>, StoreError>;

    /// Whether other processes write to the store as well. In a store of this process alone a
    /// stale record shows a second writer that must not be there.
    fn is_shared(&self) -> bool;

    /// The end that the chain of receipts had at the last commit that said so.
    fn head(&self) -> Result<Option<ChainHead>, StoreError>;
}
