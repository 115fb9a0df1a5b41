//! Pruning the receipts, off the actors' thread: what may go is found, the committer makes the
//! prune entry durable in all witnesses, then the file is cut. And the audit log's old files.

use std::sync::Arc;

use jiff::Timestamp;

use super::Services;
use crate::clock;
use crate::receipts::{ReceiptEntry, ReceiptsError};
use crate::store::DurableChange;

/// Removes the audit log's files that are older than `audit.retention`. An error is logged and left
/// to the next time.
pub async fn prune_audit(services: Arc<Services>, now: Timestamp) {
    let before = clock::before(now, services.config.audit.retention.0);
    let audit = services.audit.clone();
    match tokio::task::spawn_blocking(move || audit.prune(before)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::error!(%error, "old files of the audit log could not be removed"),
        Err(panic) => services.fatal.raise(&format!("panic while the audit log was pruned: {panic}")),
    }
}

/// Prunes what is older than `retention.receipts`, if there is anything. An error is logged
/// and left to the next time: nothing is lost by it.
pub async fn prune(services: Arc<Services>, now: Timestamp) {
    let before = clock::before(now, services.config.retention.receipts.0);
    let find = {
        let (receipts, view) = (services.receipts.clone(), services.committer.view().clone());
        move || receipts.due(before, &|job| view.get(job).is_some())
    };
    let Some(Some(cut)) = run(&services, find).await else { return };
    let receipts = services.receipts.clone();
    if services.committer.submit(DurableChange::Note(ReceiptEntry::Prune { at: now, cut })).await.is_err() {
        // The process is ending.
        return;
    }
    if run(&services, move || receipts.cut(cut)).await.is_some() {
        tracing::info!(%before, count = cut.count, head = %cut.hash, "receipts were pruned up to this one");
    }
}

async fn run<T: Send + 'static>(
    services: &Services,
    work: impl FnOnce() -> Result<T, ReceiptsError> + Send + 'static,
) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => return Some(done),
        Ok(Err(error)) => tracing::error!(%error, "the receipts could not be pruned"),
        Err(panic) => services.fatal.raise(&format!("panic while receipts were pruned: {panic}")),
    }
    None
}
