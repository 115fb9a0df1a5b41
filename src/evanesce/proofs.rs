//! Proofs of erasures, for those whose jobs they were.

use super::{Evanesce, JobAbsent, JobOwner};
use crate::job::JobId;
#[cfg(feature = "server")]
use crate::receipts::SignedTreeHead;
use crate::receipts::{ErasureProof, ReceiptKey, ReceiptsError};

/// Why there is no proof of an erasure.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// let (me, stranger): (ClientId, ClientId) = ("me".parse()?, "somebody-else".parse()?);
/// let lack = evanesce.prove_erasure(&me.into(), job).await.unwrap_err();
/// assert!(matches!(lack, ProofAbsent::NotDeleted));
/// let lack = evanesce.prove_erasure(&stranger.into(), job).await.unwrap_err();
/// assert!(matches!(lack, ProofAbsent::Unknown));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
pub enum ProofAbsent {
    /// The job was never there, is somebody else's, or its receipt was pruned: the same answer by the same
    /// path (P10).
    #[error("there is no such job")]
    Unknown,
    /// The job is there and was not deleted.
    #[error("the job was not deleted")]
    NotDeleted,
    /// The job was deleted, and its files are not all gone yet.
    #[error("the files of the job are not all gone yet")]
    NotYet,
    /// There is a receipt, and no signed head commits to it: the tree of the receipts could not be written. The
    /// next start makes it anew.
    #[error("the tree of the receipts could not be written; the next start makes it anew")]
    Unsigned,
    /// The receipts cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ReceiptsError),
}

impl Evanesce {
    /// Proves to the owner of a job that it was erased. Its receipt outlives the tombstone, so there is a proof
    /// as long as there is a receipt (`retention.receipts`). Dropping the future gives up the answer.
    ///
    /// # Errors
    /// Says why there is no proof.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce, job) = example::complete().await?;
    /// let me: ClientId = "me".parse()?;
    /// evanesce.cancel(job, me.clone()).await?;
    /// evanesce.wait_erased(job).await?;
    /// let proof = evanesce.prove_erasure(&me.into(), job).await?;
    /// let key = evanesce.receipt_key().expect("an instance has one");
    /// assert_eq!(proof.check(&key)?.job, job);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn prove_erasure(&self, owner: &JobOwner, job: JobId) -> Result<ErasureProof, ProofAbsent> {
        let shown = self.job(owner, job).await;
        let (services, owner) = (self.0.running.services.clone(), owner.clone());
        let find = move || {
            let receipt = services.receipts.find(job)?;
            let is_owners = receipt
                .is_some_and(|receipt| (receipt.tenant, receipt.owner) == (owner.tenant, owner.client));
            if is_owners { services.receipts.prove(job).map(Some) } else { Ok(None) }
        };
        match self.blocking_pool().spawn_blocking(find).await {
            Ok(Ok(Some(proof))) => proof.ok_or(ProofAbsent::Unsigned),
            Ok(Ok(None)) => Err(match shown {
                Ok(_) => ProofAbsent::NotDeleted,
                Err(JobAbsent::Deleted) => ProofAbsent::NotYet,
                Err(JobAbsent::Unknown) => ProofAbsent::Unknown,
            }),
            Ok(Err(error)) => Err(error.into()),
            // The runtime is ending.
            Err(_) => Err(ProofAbsent::Unknown),
        }
    }

    /// Returns the public key that checks proofs. It is the same as long as `receipts.key` stays in the data
    /// directory. `None` if nothing is signed, which an instance that runs never is.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// let key: ReceiptKey = evanesce.receipt_key().expect("an instance has one");
    /// assert_eq!(key.to_string().len(), 64);
    /// # Ok(())
    /// # }
    /// ```
    pub fn receipt_key(&self) -> Option<ReceiptKey> {
        self.services().receipts.key()
    }

    /// Proves that a job was erased, whoever owned it. `None` if it has no receipt, or nothing is signed.
    ///
    /// # Errors
    /// The receipts cannot be read.
    #[cfg(feature = "console")]
    pub(crate) async fn prove_any_erasure(&self, job: JobId) -> Result<Option<ErasureProof>, ReceiptsError> {
        let services = self.0.running.services.clone();
        let proof = self.blocking_pool().spawn_blocking(move || services.receipts.prove(job)).await;
        // The runtime is ending.
        proof.unwrap_or(Ok(None))
    }

    /// Returns the last signed tree head.
    #[cfg(feature = "server")]
    pub(crate) fn tree_head(&self) -> Option<SignedTreeHead> {
        self.services().receipts.signed_head()
    }
}
