//! The events that are recorded: who, which job, how many bytes and how it went. They contain no
//! parameter of a kick-off, no id of a group or a patient, no token and no assertion (P12). Nothing
//! that a client may have written itself has a field here; reasons are the server's own words.

#[cfg(feature = "server")]
use super::RequestEvent;
use crate::chain::ChainHead;
use crate::job::{ClientId, FailureReason, JobId, JobRecord, JobState, MarkReason, Receipt, TenantId};
use crate::receipts;

/// One thing to record.
#[derive(Debug, Clone)]
pub enum AuditedEvent {
    /// The instance has started.
    Started,
    /// The instance stops in order. A killed one records nothing.
    Stopped,
    /// Somebody asked for something.
    #[cfg(feature = "server")]
    Request(RequestEvent),
    /// An export is complete, durably.
    Completed {
        /// The job.
        job: JobId,
        /// Its tenant.
        tenant: TenantId,
        /// Its owner.
        owner: ClientId,
        /// Output files.
        files: u64,
        /// Resources in them.
        resources: u64,
        /// Bytes of their text.
        bytes: u64,
    },
    /// An export failed, durably.
    Failed {
        /// The job.
        job: JobId,
        /// Its tenant.
        tenant: TenantId,
        /// Its owner.
        owner: ClientId,
        /// Why.
        reason: FailureReason,
    },
    /// A job's files are durably marked for deletion, because it expired or somebody asked.
    Marked {
        /// The job.
        job: JobId,
        /// Its tenant.
        tenant: TenantId,
        /// Its owner.
        owner: ClientId,
        /// Why.
        reason: MarkReason,
        /// Who asked, if a client did.
        by: Option<ClientId>,
        /// The request that asked.
        request_id: Option<String>,
    },
    /// A job's files are gone, and the receipt says so (P9).
    Erased {
        /// The receipt.
        receipt: Box<Receipt>,
        /// Where it stands in the chain of receipts.
        head: ChainHead,
    },
    /// An operator's order, or a pruning, that the chain of receipts holds.
    Receipt {
        /// The entry, which is not an erasure.
        entry: Box<receipts::ReceiptEntry>,
        /// Where it stands in the chain of receipts.
        head: ChainHead,
    },
    /// The log goes on in a new file.
    Rotated {
        /// The file before.
        before: String,
        /// The end of the chain in it.
        end: ChainHead,
    },
    /// Old files are being removed.
    Removed {
        /// How many.
        files: usize,
        /// The last event in them.
        cut: ChainHead,
    },
    /// A line that a crash had torn was cut off.
    Torn {
        /// Where.
        file: String,
        /// How many bytes of it there were.
        bytes: u64,
    },
    /// Files of the log were removed or changed under the running server.
    Missing {
        /// How many files are missing.
        files: usize,
        /// The end of the chain before this event.
        end: ChainHead,
    },
    /// A file was changed and is broken. The log goes on in another one.
    Broken {
        /// The file.
        file: String,
        /// The first line that does not follow.
        line: u64,
    },
    /// So many requests without a valid token were not recorded one by one: there were more than
    /// `audit.max_refusals` in a minute.
    Withheld {
        /// How many.
        events: u64,
    },
    /// Recording goes on after events could not be written.
    Lost {
        /// How many.
        events: u64,
    },
}

impl AuditedEvent {
    /// Returns the event of an entry in the chain of receipts at `head`.
    pub fn of_receipt(entry: &receipts::ReceiptEntry, head: ChainHead) -> Self {
        match entry {
            receipts::ReceiptEntry::Erasure(receipt) => Self::Erased { receipt: receipt.clone(), head },
            entry => Self::Receipt { entry: Box::new(entry.clone()), head },
        }
    }

    /// Returns the event of a record that is durable: a job's end, its failure or its mark. Kick-offs, downloads
    /// and deletions are recorded where their requests are answered, erasures and orders where the
    /// chain of receipts is.
    pub fn of_record(record: &JobRecord) -> Option<Self> {
        let (job, tenant, owner) = (record.id, record.tenant.clone(), record.owner.clone());
        match &record.state {
            JobState::Complete(completion) => {
                let (files, resources, bytes) = (completion.files, completion.resources, completion.bytes);
                Some(Self::Completed { job, tenant, owner, files, resources, bytes })
            }
            JobState::Failed(failure) => Some(Self::Failed { job, tenant, owner, reason: failure.reason }),
            // The first record of a mark; later ones tell of failed sweeps.
            JobState::Marked(mark) if mark.failure.is_none() => {
                let (reason, by, request_id) = (mark.reason, mark.by.clone(), mark.request_id.clone());
                Some(Self::Marked { job, tenant, owner, reason, by, request_id })
            }
            _ => None,
        }
    }

    /// Returns the name of the kind, as in the detail `kind` and in `evanesce audit export --kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Started => "start",
            Self::Stopped => "stop",
            #[cfg(feature = "server")]
            Self::Request(event) => event.kind(),
            Self::Completed { .. } => "complete",
            Self::Failed { .. } => "failed",
            Self::Marked { reason: MarkReason::Expired, .. } => "expiry",
            Self::Marked { .. } => "mark",
            Self::Erased { .. } => "erase",
            Self::Receipt { entry, .. } => match **entry {
                receipts::ReceiptEntry::Prune { .. } | receipts::ReceiptEntry::Gap { .. } => "receipts",
                _ => "admin",
            },
            Self::Rotated { .. } => "audit-rotated",
            Self::Removed { .. } => "audit-removed",
            Self::Torn { .. } => "audit-torn",
            Self::Broken { .. } => "audit-broken",
            Self::Missing { .. } => "audit-missing",
            Self::Withheld { .. } => "audit-withheld",
            Self::Lost { .. } => "audit-lost",
        }
    }

    /// Returns whether it is a request without a valid token.
    pub fn is_refusal(&self) -> bool {
        match self {
            #[cfg(feature = "server")]
            Self::Request(event) => event.is_refusal(),
            _ => false,
        }
    }
}
