//! The entries of the chain. They hold only ids, instants, counts and reasons, so nothing that could
//! name a patient (P12), unless operators write it into the reasons they give.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::chain::ChainHead;
use crate::job::{JobId, Receipt};

/// What one line of the chain records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ReceiptEntry {
    /// A job's files are gone (P9).
    Erasure(Box<Receipt>),
    /// A job's files must stay until they are released.
    Hold(JobHold),
    /// The end of a hold.
    Release {
        /// The job.
        job: JobId,
        /// When.
        at: Timestamp,
        /// The operator's user name.
        by: String,
    },
    /// The reaper must not erase anything until it is resumed.
    Pause(ReaperPause),
    /// The end of a pause.
    Resume {
        /// When.
        at: Timestamp,
        /// The operator's user name.
        by: String,
    },
    /// The first entries, which were too old, were cut off after this one was durable.
    Prune {
        /// When.
        at: Timestamp,
        /// The last one that was cut off.
        #[serde(flatten)]
        cut: ChainHead,
    },
    /// The key of an epoch was destroyed, durably: nothing opens what only it had wrapped (P14).
    Epoch {
        /// When that was certain.
        at: Timestamp,
        /// The epoch.
        epoch: u64,
    },
    /// The store had seen more of the chain than was found: its end had been cut off or replaced.
    Gap {
        /// When it was found.
        at: Timestamp,
        /// What the store remembers.
        expected: ChainHead,
        /// What was found there, or the end of a shorter chain.
        found: ChainHead,
    },
}

/// A hold on a job, as an operator placed it.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// evanesce.hold(job, "legal", "case 4711").await?;
/// assert_eq!(evanesce.holds()[0].by, "legal");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobHold {
    /// The job.
    pub job: JobId,
    /// Since when.
    pub at: Timestamp,
    /// The operator's user name.
    pub by: String,
    /// Why, in the operator's words.
    pub reason: String,
}

/// A pause of the reaper, as an operator ordered it.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce) = example::host().await?;
/// evanesce.pause_reaper("ops", "the disk is being replaced").await?;
/// let pause: Option<ReaperPause> = evanesce.reaper_status().await.and_then(|status| status.pause);
/// assert_eq!(pause.map(|pause| pause.reason), Some("the disk is being replaced".into()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaperPause {
    /// Since when.
    pub at: Timestamp,
    /// The operator's user name.
    pub by: String,
    /// Why, in the operator's words.
    pub reason: String,
}

impl ReceiptEntry {
    /// Returns when it happened: for an erasure, when the files were gone.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Erasure(receipt) => receipt.gone_at,
            Self::Hold(JobHold { at, .. }) | Self::Pause(ReaperPause { at, .. }) => *at,
            Self::Release { at, .. }
            | Self::Resume { at, .. }
            | Self::Prune { at, .. }
            | Self::Epoch { at, .. }
            | Self::Gap { at, .. } => *at,
        }
    }

    /// Returns the job that the entry is about, if any.
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::Erasure(receipt) => Some(receipt.job),
            Self::Hold(hold) => Some(hold.job),
            Self::Release { job, .. } => Some(*job),
            Self::Pause(_)
            | Self::Resume { .. }
            | Self::Prune { .. }
            | Self::Epoch { .. }
            | Self::Gap { .. } => None,
        }
    }

    /// Returns the name of the kind, as in the file.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Erasure(_) => "erasure",
            Self::Hold(_) => "hold",
            Self::Release { .. } => "release",
            Self::Pause(_) => "pause",
            Self::Resume { .. } => "resume",
            Self::Prune { .. } => "prune",
            Self::Epoch { .. } => "epoch",
            Self::Gap { .. } => "gap",
        }
    }
}
