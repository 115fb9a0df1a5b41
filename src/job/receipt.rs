//! What is left of an erased job: the tombstone in the store and the receipt in the chain.

use std::ops::AddAssign;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ClientId, JobId, MarkReason, StateName, TenantId};

/// The tombstone: enough to answer 404 `deleted` until `retention.tombstones` (P2).
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// evanesce.cancel(job, "me".parse()?).await?;
/// evanesce.wait_erased(job).await?;
/// let Some(JobState::Erased(erasure)) = evanesce.wait_finished(job).await else { panic!() };
/// assert!(erasure.reason == MarkReason::Deleted && erasure.gone_at >= erasure.marked_at);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tombstone {
    /// Why it was erased.
    pub reason: MarkReason,
    /// When the mark was made.
    pub marked_at: Timestamp,
    /// When the last name was unlinked and the directory synced.
    pub gone_at: Timestamp,
}

/// The destruction of a job's key (P14).
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// evanesce.cancel(job, "me".parse()?).await?;
/// let receipt = evanesce.wait_erased(job).await?.expect("it was there");
/// let KeyDestruction { destroyed_at, epoch } = receipt.key.expect("exports are encrypted by default");
/// assert!(destroyed_at >= receipt.marked_at && epoch == 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyDestruction {
    /// When the wrapped key was overwritten, durably.
    pub destroyed_at: Timestamp,
    /// The epoch whose key had wrapped it. Once that is destroyed too, no copy of anything opens the job.
    pub epoch: u64,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SweepCounts {
    /// Names unlinked, documents included.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Files that had a second name elsewhere.
    pub planted_links: u64,
    /// When the job's key was destroyed, if it had one.
    pub key: Option<KeyDestruction>,
}

impl AddAssign for SweepCounts {
    fn add_assign(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.planted_links += other.planted_links;
        self.key = self.key.or(other.key);
    }
}

/// Evidence of one erasure (P9): counts, instants and reasons, but no parameters and no content.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// evanesce.cancel(job, "me".parse()?).await?;
/// let receipt: Receipt = evanesce.wait_erased(job).await?.expect("it was there");
/// assert!(receipt.files > 0 && receipt.gone_at >= receipt.marked_at);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Receipt {
    /// The job.
    pub job: JobId,
    /// Whose data it had exported.
    pub tenant: TenantId,
    /// Who owned it.
    pub owner: ClientId,
    /// Why it was erased.
    pub reason: MarkReason,
    /// The state that the mark ended.
    pub was: StateName,
    /// Who asked, if a client did.
    pub by: Option<ClientId>,
    /// The request that asked.
    pub request_id: Option<String>,
    /// When the kick-off was received.
    pub submitted_at: Timestamp,
    /// When the deletion was asked for.
    pub marked_at: Timestamp,
    /// When its URLs began to answer 404; absent if that was before a restart.
    pub hidden_at: Option<Timestamp>,
    /// When a writer last wrote a byte; absent if none did in this process.
    pub last_byte_at: Option<Timestamp>,
    /// When the last name was unlinked and the directory synced.
    pub gone_at: Timestamp,
    /// When the key was destroyed that everything was encrypted with; absent if the job had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyDestruction>,
    /// Files unlinked by the sweeps of this process.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Files that had a second name elsewhere: somebody planted a hard link.
    pub planted_links: u64,
    /// Sweeps that failed before the one that did not.
    pub failed_sweeps: u32,
    /// What the last failed sweep said.
    pub last_error: Option<String>,
    /// Writers that did not stop in time and had their file taken away (P4).
    pub fenced_writers: u32,
    /// Downloads that were cut because they outlived their grace (P4).
    pub cut_downloads: u32,
    /// Downloads that were open at the mark and ended by themselves (P4).
    pub drained_downloads: u32,
    /// Whether the mark was found at a start: then counts cover what was left by then.
    pub resumed: bool,
}

impl Receipt {
    /// Returns the tombstone that goes with this receipt.
    pub(crate) fn tombstone(&self) -> Tombstone {
        Tombstone { reason: self.reason, marked_at: self.marked_at, gone_at: self.gone_at }
    }
}
