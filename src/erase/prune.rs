//! Pruning what the settings do not keep any longer: receipts, and files of the audit log. What may go is
//! found first, then the committer makes a prune entry durable in all witnesses, then the file is cut.
//! An error is logged and left to the next time: nothing is lost by it.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::{JoinError, spawn_blocking};

use crate::audit::AuditLog;
use crate::clock;
use crate::config::Config;
use crate::receipts::{ReceiptChain, ReceiptEntry, ReceiptsError};
use crate::store::{Committer, DurableChange};

/// Cuts off receipts that are older than `retention.receipts`, and removes files of the audit log that are
/// older than `audit.retention`.
///
/// # Errors
/// Fails if the chain or the log panicked.
pub async fn prune(
    receipts: &Arc<dyn ReceiptChain>,
    audit: &Arc<AuditLog>,
    committer: &Committer,
    config: &Config,
    now: Timestamp,
) -> Result<(), JoinError> {
    prune_receipts(receipts, committer, clock::before(now, config.retention.receipts.0), now).await?;
    let (audit, before) = (audit.clone(), clock::before(now, config.audit.retention.0));
    if let Err(error) = spawn_blocking(move || audit.prune(before)).await? {
        tracing::error!(%error, "old files of the audit log could not be removed");
    }
    Ok(())
}

async fn prune_receipts(
    receipts: &Arc<dyn ReceiptChain>,
    committer: &Committer,
    before: Timestamp,
    now: Timestamp,
) -> Result<(), JoinError> {
    let (chain, view) = (receipts.clone(), committer.view().clone());
    let due = spawn_blocking(move || chain.due(before, &|job| view.get(job).is_some())).await?;
    let Some(cut) = logged(due).flatten() else { return Ok(()) };
    if committer.submit(DurableChange::Note(ReceiptEntry::Prune { at: now, cut })).await.is_err() {
        // The process is ending.
        return Ok(());
    }
    let chain = receipts.clone();
    if logged(spawn_blocking(move || chain.cut(cut)).await?).is_some() {
        tracing::info!(%before, count = cut.count, head = %cut.hash, "receipts were pruned up to this one");
    }
    Ok(())
}

fn logged<T>(pruned: Result<T, ReceiptsError>) -> Option<T> {
    pruned.inspect_err(|error| tracing::error!(%error, "the receipts could not be pruned")).ok()
}
