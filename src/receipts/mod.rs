//! The receipts of erasures (P9), and the durable memory of holds and pauses: an append-only file of
//! JSON lines outside the store, each bound to the one before by SHA-256. The chain shows whether a
//! line was changed, removed or inserted. That its last lines were cut off shows only to whoever kept a
//! [`ChainHead`]: the store does, and the log.

mod audit_event;
mod chain;
#[cfg(feature = "cli")]
mod consistency;
mod entry;
mod file;
mod heads;
mod known;
mod mend;
#[cfg(feature = "cli")]
mod offline;
mod proof;
mod prove;
mod prune;
#[cfg(feature = "console")]
mod recent;
#[cfg(feature = "cli")]
mod replay;
mod signer;
#[cfg(test)]
mod tests;
mod tree;
mod witness;

use std::io;

use jiff::Timestamp;

use crate::job::{JobId, Receipt};

pub use crate::chain::{ChainHash, ChainHead, InvalidHash};
#[cfg(feature = "cli")]
pub use audit_event::audit_event;
pub use audit_event::describe;
pub use chain::{ReceiptLine, ReceiptSummary, walk};
#[cfg(feature = "generate")]
pub use chain::{read, verify};
#[cfg(feature = "cli")]
pub use consistency::{ConsistencyProof, MOST_PROOF_BYTES, ReceiptProof};
pub use entry::{JobHold, ReaperPause, ReceiptEntry};
pub use file::ReceiptFile;
#[cfg(feature = "cli")]
pub use heads::FILE_NAME as HEADS_NAME;
pub use heads::{SignedTreeHead, walk_heads};
#[cfg(feature = "cli")]
pub use offline::{ProofLack, prove_consistency, prove_erasure, public_key};
pub use proof::{EntryProof, ErasureProof, ProofError};
#[cfg(feature = "console")]
pub(crate) use recent::{walk_back, whole_length};

#[cfg(feature = "cli")]
pub use replay::{ReplayedReceipts, replay};
pub use signer::{HeadSignature, InvalidReceiptKey, ReceiptKey};
pub use witness::{HeadWitness, WitnessError};

/// The name of the file in the data directory.
pub const FILE_NAME: &str = "receipts.ndjson";

/// The name of the new file that is written before it replaces the old one.
const NEW_NAME: &str = "receipts.ndjson.new";

/// Why receipts cannot be read or written.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// evanesce.cancel(job, "me".parse()?).await?;
/// match evanesce.wait_erased(job).await {
///     Ok(receipt) => assert!(receipt.is_some()),
///     Err(ReceiptsError::Broken { line, .. }) => println!("somebody has changed line {line}"),
///     Err(error) => println!("{error}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
pub enum ReceiptsError {
    /// The file could not be read or written.
    #[error("{operation} receipts.ndjson: {source}")]
    Io {
        /// The operation that failed.
        operation: &'static str,
        /// What went wrong.
        source: io::Error,
    },
    /// A file that proofs are made of could not be read or written.
    #[error("{operation} {file}: {source}")]
    ProofFile {
        /// The operation that failed.
        operation: &'static str,
        /// The name of the file in the data directory.
        file: &'static str,
        /// What went wrong.
        source: io::Error,
    },
    /// A line does not follow from the one before it.
    #[error("receipts.ndjson, line {line}: {reason}")]
    Broken {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
}

fn fail(operation: &'static str) -> impl FnOnce(io::Error) -> ReceiptsError {
    move |source| ReceiptsError::Io { operation, source }
}

fn fail_tree(operation: &'static str) -> impl FnOnce(io::Error) -> ReceiptsError {
    move |source| ReceiptsError::ProofFile { operation, file: "receipts.tree", source }
}

/// The chain of receipts, whatever backend keeps it. Calls may block, except those for what is in
/// force, which answer from memory. While an instance runs, only the committer's thread appends.
pub trait ReceiptChain: Send + Sync {
    /// Appends entries durably and returns the head after each. The last head is logged as well,
    /// because a collected log is a witness that nobody on this machine can change.
    ///
    /// # Errors
    /// Fails if it is unknown what was appended. Every later append fails as well: the caller ends the
    /// process, and the next start finds out what is there.
    fn append_each(&self, entries: &[ReceiptEntry]) -> Result<Vec<ChainHead>, ReceiptsError>;

    /// Appends entries durably and returns the head of the chain.
    ///
    /// # Errors
    /// As [`append_each`](Self::append_each).
    fn append(&self, entries: &[ReceiptEntry]) -> Result<ChainHead, ReceiptsError> {
        let heads = self.append_each(entries)?;
        Ok(heads.last().copied().unwrap_or_else(|| self.head()))
    }

    /// Returns the end of the chain.
    fn head(&self) -> ChainHead;

    /// Looks for a head that the chain once had. Returns `None` if it is there, or in the pruned part,
    /// of which nothing is known. Otherwise returns what is in its place: the entry of that count, or
    /// the last one of a shorter chain.
    ///
    /// # Errors
    /// Fails if the chain cannot be read.
    fn missing(&self, expected: ChainHead) -> Result<Option<ChainHead>, ReceiptsError>;

    /// Returns whether the chain records that what followed `expected` is missing.
    fn tells_gap(&self, expected: ChainHead) -> bool;

    /// Returns the receipt of a job, if it was erased and the receipt is not pruned.
    ///
    /// # Errors
    /// Fails if the chain cannot be read.
    fn find(&self, job: JobId) -> Result<Option<Receipt>, ReceiptsError>;

    /// Returns the proof of a job's erasure. `None` if the job has no receipt, or no signed head commits to it.
    ///
    /// # Errors
    /// Fails if the chain or the tree cannot be read.
    fn prove(&self, job: JobId) -> Result<Option<ErasureProof>, ReceiptsError>;

    /// Returns the last signed head. It commits to every receipt that [`find`](Self::find) finds, unless the tree
    /// cannot be written. `None` if heads are not signed.
    #[cfg(any(feature = "server", test))]
    fn signed_head(&self) -> Option<SignedTreeHead>;

    /// Returns the public key that checks heads. `None` if heads are not signed.
    fn key(&self) -> Option<ReceiptKey>;

    /// Returns whether the job has a receipt.
    fn has(&self, job: JobId) -> bool;

    /// Returns the jobs that were erased at `since` or later, to the microsecond, in no order.
    fn erased_since(&self, since: Timestamp) -> Vec<JobId>;

    /// Returns until when receipts may have been pruned, as this process found the chain: erasures
    /// before that are unknown. `None` if nothing was ever pruned.
    fn pruned_until(&self) -> Option<Timestamp>;

    /// Returns the hold on a job, if one is in force.
    #[cfg(feature = "server")]
    fn hold_of(&self, job: JobId) -> Option<JobHold>;

    /// Returns all holds in force.
    fn holds(&self) -> Vec<JobHold>;

    /// Returns the pause of the reaper, if one is in force.
    fn pause(&self) -> Option<ReaperPause>;

    /// Returns the last epoch whose end the chain records, or 0 if it records none.
    fn ended_epoch(&self) -> u64;

    /// Returns the last entry that may be pruned, which the prune entry must name: all entries before
    /// `before` may go, up to the first one that must stay. A hold or a pause in force must stay, and
    /// the receipt of a job whose record `is_kept`. `None` if only the entries of earlier prunings may
    /// go.
    ///
    /// # Errors
    /// Fails if the chain cannot be read, or is broken.
    fn due(
        &self,
        before: Timestamp,
        is_kept: &dyn Fn(JobId) -> bool,
    ) -> Result<Option<ChainHead>, ReceiptsError>;

    /// Cuts off the entries up to `due`. A prune entry that names it must have been appended.
    ///
    /// # Errors
    /// Fails if `due` is no longer in the chain, or the chain cannot be read or written. The chain is
    /// as before; if even that is unknown, every later append fails.
    fn cut(&self, due: ChainHead) -> Result<(), ReceiptsError>;

    /// Returns whether the chain is where this process left it. The next append mends it if not.
    fn is_in_place(&self) -> bool;
}
