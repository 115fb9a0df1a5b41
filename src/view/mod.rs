//! What readers see: the published jobs, how far each is, who reads its files and how often it is
//! polled. The store's committer publishes a change here only after it is durable, so nobody reads
//! a state that a crash would take back.
//!
//! Each shared fact has one owner, which everybody else asks:
//!
//! | what | owner |
//! |---|---|
//! | the lease on the data directory | `lock.rs`, held by the instance |
//! | the lease on a job: who changes its record | the orchestrator, one actor a job; the record's revision is the fence |
//! | the lease of a reader on a job's files | the view: [`OpenDownloads`], under the lock of a publication |
//! | how many jobs of a client are kept or known | the view, from what is published |
//! | how many jobs are active, and may be | the orchestrator's `KickoffAdmission`, from its own kick-offs |
//! | how far an export is | whoever runs its parts counts in [`ExportProgress`]; the view shows it |
//! | how often a job is polled | the view: [`PollLimit`] |

mod downloads;
mod local;
mod partial;
#[cfg(feature = "server")]
mod polls;
mod progress;

use std::sync::Arc;

use futures_util::future::{BoxFuture, Either, Ready};
use tokio::sync::watch;

use crate::job::{ClientId, JobId, TenantId};

pub use downloads::{DownloadTicket, OpenDownloads};
pub use local::{JobLookup, LocalView, PublishedJob, ViewChange};
pub use partial::{PartialManifests, parts_of};
#[cfg(feature = "server")]
pub use polls::PollLimit;
pub use progress::ExportProgress;

/// An answer of a view: ready at once and without an allocation if it is in memory, or later. There is
/// no error: a view that cannot be read answers when it can, and the caller decides how long to wait.
/// Dropping the future gives up the answer.
pub type ViewAnswer<'a, T> = Either<Ready<T>, BoxFuture<'a, T>>;

/// The published jobs, for readers. An answer never shows what is not durable, and after one has shown
/// a mark no later one shows the job as it was before (P2).
pub trait PublishedView: Send + Sync {
    /// Returns what that client of that tenant may know of a job. A job of somebody else gets the same
    /// answer as one that never existed (P10).
    fn lookup<'a>(
        &'a self,
        tenant: &'a TenantId,
        client: &'a ClientId,
        job: JobId,
    ) -> ViewAnswer<'a, JobLookup>;

    /// Registers a download of the job, and then looks at its state. The files stay until the returned
    /// ticket is dropped or cut (P4). Returns a ticket only if clients may get the job's files.
    fn begin_download<'a>(
        &'a self,
        tenant: &'a TenantId,
        client: &'a ClientId,
        job: JobId,
    ) -> ViewAnswer<'a, (JobLookup, Option<DownloadTicket>)>;

    /// Returns the job, whoever owns it.
    fn job(&self, job: JobId) -> ViewAnswer<'_, Option<Arc<PublishedJob>>>;

    /// Returns all jobs, whoever owns them, tombstones included, in no order.
    fn jobs(&self) -> ViewAnswer<'_, Vec<Arc<PublishedJob>>>;

    /// Returns the units of work of all active jobs: planned, and done.
    fn work(&self) -> ViewAnswer<'_, (u64, u64)>;

    /// Subscribes to publications. A caller that subscribes, looks and then waits misses none.
    fn changes(&self) -> ViewChanges;
}

/// A subscription to the publications of a view.
#[derive(Debug)]
pub struct ViewChanges(watch::Receiver<u64>);

impl ViewChanges {
    /// Waits until something was published since the subscription or the last return. It may return
    /// spuriously, so look again. Never returns if the view is gone.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}
