//! The events that are recorded: who, which job, how many bytes and how it went. They contain no
//! parameter of a kick-off, no id of a group or a patient, no token and no assertion (P12). Nothing
//! that a client may have written itself has a field here; reasons are the server's own words.

use std::net::IpAddr;

use crate::chain::ChainHead;
use crate::job::{ClientId, FailureReason, JobId, JobRecord, JobState, MarkReason, Receipt, TenantId};
use crate::receipts;

/// Who asks, and from where, as far as known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditedCaller {
    /// The client, if it is registered. What an unknown one calls itself may be anything.
    pub client: Option<ClientId>,
    /// The tenant, if it exists.
    pub tenant: Option<TenantId>,
    /// The id that the server gave the request (G-6), never the client's own.
    pub request_id: Option<String>,
    /// The address of the connection, or the one that a trusted proxy gives.
    pub address: Option<IpAddr>,
}

/// How a download ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownloadEnding {
    /// Every byte was handed to the connection.
    Whole,
    /// The server cut it: its job was deleted, or expired long ago.
    Cut,
    /// It broke off: the client went away, or the file could not be read.
    BrokenOff,
}

impl DownloadEnding {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Cut => "cut",
            Self::BrokenOff => "broken-off",
        }
    }
}

/// One thing to record.
#[derive(Debug, Clone)]
pub enum AuditedEvent {
    /// The instance has started.
    Started,
    /// The instance stops in order. A killed one records nothing.
    Stopped,
    /// HTTP: a kick-off was accepted. `level` is `system`, `patient` or `group`, without the group's
    /// id, which may name a population.
    KickOff {
        /// Who asked.
        caller: AuditedCaller,
        /// The new job.
        job: JobId,
        /// The level of the operation.
        level: &'static str,
    },
    /// HTTP: a kick-off was refused, with this status and for this reason, such as
    /// [`SubmitError::name`](crate::SubmitError::name).
    KickOffRefused {
        /// Who asked.
        caller: AuditedCaller,
        /// The status of the answer.
        status: u16,
        /// Why, in a word.
        reason: &'static str,
    },
    /// HTTP: a client was shown the manifest of its job.
    Manifest {
        /// Who asked.
        caller: AuditedCaller,
        /// The job.
        job: JobId,
    },
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
    /// HTTP: a download begins. [`AuditLog::download`](super::AuditLog::download) records it.
    DownloadBegan {
        /// Who asked.
        caller: AuditedCaller,
        /// The job.
        job: JobId,
        /// The file's name, as the server made it.
        file: String,
    },
    /// HTTP: a download is over.
    DownloadEnded {
        /// Who asked.
        caller: AuditedCaller,
        /// The job.
        job: JobId,
        /// The file's name, as the server made it.
        file: String,
        /// Bytes of the body that were handed to the connection, as they were coded.
        bytes: u64,
        /// How it ended.
        ending: DownloadEnding,
    },
    /// HTTP: a DELETE was answered with 202.
    Deleted {
        /// Who asked.
        caller: AuditedCaller,
        /// The job.
        job: JobId,
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
    /// HTTP: an access token was issued, with so many scopes, for so many seconds.
    TokenIssued {
        /// Who asked; the client is authenticated.
        caller: AuditedCaller,
        /// Scopes granted.
        scopes: usize,
        /// Seconds until it expires.
        expires_in: u64,
    },
    /// HTTP: no access token was issued.
    TokenRefused {
        /// Who asked; the client only if it is registered.
        caller: AuditedCaller,
        /// Why, in a word, such as OAuth's error code.
        reason: &'static str,
    },
    /// HTTP: a request for a resource came without a valid token (401).
    AuthenticationRefused {
        /// Who asked; the client only if the token names one.
        caller: AuditedCaller,
        /// Why, in a word.
        reason: &'static str,
    },
    /// HTTP: the token's scopes do not cover what was asked for (403).
    ScopeRefused {
        /// Who asked.
        caller: AuditedCaller,
        /// The job, if it was about one.
        job: Option<JobId>,
        /// Why, in a word.
        reason: &'static str,
    },
    /// An operator did something, such as registering a client or confirming the clock.
    Admin {
        /// What, in a word.
        action: &'static str,
        /// The operator's user name, or the id of an authenticated administrator.
        by: String,
        /// The job that it is about.
        job: Option<JobId>,
        /// The client that it is about.
        client: Option<ClientId>,
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
            Self::KickOff { .. } => "kick-off",
            Self::KickOffRefused { .. } => "kick-off-refused",
            Self::Manifest { .. } => "manifest",
            Self::Completed { .. } => "complete",
            Self::Failed { .. } => "failed",
            Self::DownloadBegan { .. } => "download-start",
            Self::DownloadEnded { .. } => "download-end",
            Self::Deleted { .. } => "delete",
            Self::Marked { reason: MarkReason::Expired, .. } => "expiry",
            Self::Marked { .. } => "mark",
            Self::Erased { .. } => "erase",
            Self::TokenIssued { .. } => "token",
            Self::TokenRefused { .. } => "token-refused",
            Self::AuthenticationRefused { .. } => "authentication-refused",
            Self::ScopeRefused { .. } => "scope-refused",
            Self::Admin { .. } => "admin",
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
}
