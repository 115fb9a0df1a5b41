//! Durable memory. A [`Store`] is a backend that applies a batch of changes and makes it durable before
//! it returns. The [`Committer`] is the one thread that calls it, so that many callers share one
//! commit. Everybody else reads [`crate::view`] (DESIGN section 3).

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
    /// The stored data cannot be understood. Nothing was changed.
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
    /// There is no room. Nothing of the batch is known to be durable.
    #[error(
        "the store cannot {operation}: {reason}; make some room where the data directory is, or raise the quota"
    )]
    Full {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        reason: String,
    },
    /// The backend failed. Nothing of the batch is known to be durable.
    #[error("the store cannot {operation}: {reason}")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// What the backend said.
        reason: String,
    },
}

/// One entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreEntry {
    /// The job's record. Its revision must follow on from the stored one (1 for a new job). The parts
    /// of an erased job are dropped.
    Record(JobRecord),
    /// One more sealed part of a job.
    Part(JobId, SealedPart),
    /// The end of a tombstone: the job is forgotten.
    Forget(JobId),
    /// The end of the chain of receipts, which replaces the one before.
    Head(ChainHead),
}

/// The outcome of an entry of a durable batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryOutcome {
    /// The entry was applied.
    Applied,
    /// Another writer came first: the revision of a record does not follow on, and the record was left
    /// out. Other entries have no revision, and are never stale.
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

/// A backend. One thread at a time uses it, and every call blocks.
pub trait Store: Send {
    /// Applies the entries in order, all or nothing, and returns when they are on stable storage. The
    /// result has one item per entry. After an `Err` it is unknown what is stored: the process must
    /// end, because a failed fsync cannot be retried.
    fn commit(&mut self, entries: &[StoreEntry]) -> Result<Vec<EntryOutcome>, StoreError>;

    /// Returns all stored jobs.
    fn load(&self) -> Result<Vec<StoredJob>, StoreError>;

    /// Returns the stored job, or `None` if there is none.
    fn load_job(&self, job: JobId) -> Result<Option<StoredJob>, StoreError>;

    /// Returns whether other processes write to the store as well. In a store of this process alone a
    /// stale record reveals a second writer that must not exist.
    fn is_shared(&self) -> bool;

    /// Returns the end of the chain of receipts, as the last commit of it recorded.
    fn head(&self) -> Result<Option<ChainHead>, StoreError>;
}
