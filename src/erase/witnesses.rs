//! The two witnesses beside the store, disk and receipts, as the committer asks them. For want of room
//! they give up the ballast, and then the files of what is deleted.

use std::sync::Arc;

use super::Eraser;
use crate::audit::{AuditLog, AuditedEvent};
use crate::files::{CommitRoom, Files, SweepCounts};
use crate::job::JobId;
use crate::receipts::{ChainHead, ReceiptChain, ReceiptEntry};
use crate::store::OtherWitnesses;

/// Bytes that must be free before a commit; below that the ballast is given up.
const ROOM_BYTES: u64 = 16 << 20;

/// The disk and the receipts.
pub struct DiskWitnesses {
    /// Job directories.
    pub files: Arc<dyn Files>,
    /// The chain.
    pub receipts: Arc<dyn ReceiptChain>,
    /// What performs erasures.
    pub eraser: Arc<Eraser>,
    /// Where erasures and orders are recorded, once their receipts are durable.
    pub audit: Arc<AuditLog>,
}

impl OtherWitnesses for DiskWitnesses {
    fn make_room(&mut self) -> bool {
        match self.files.release_ballast(ROOM_BYTES) {
            Ok(CommitRoom::There) => true,
            Ok(CommitRoom::Made) => {
                tracing::warn!(
                    "the disk is nearly full: the ballast was given up so that deletions go on working"
                );
                true
            }
            Ok(CommitRoom::None) => false,
            Err(error) => {
                tracing::warn!(%error, "the free space is unknown; the commit will show whether there is room");
                true
            }
        }
    }

    fn give_room(&mut self, job: JobId) -> SweepCounts {
        self.eraser.give_room(job)
    }

    fn append_receipts(&mut self, entries: &[ReceiptEntry]) -> Result<ChainHead, String> {
        let heads = self.receipts.append_each(entries).map_err(|e| e.to_string())?;
        for (entry, head) in entries.iter().zip(&heads) {
            self.audit.record(AuditedEvent::of_receipt(entry, *head));
        }
        Ok(heads.last().copied().unwrap_or_else(|| self.receipts.head()))
    }

    fn move_to_trash(&mut self, jobs: &[JobId]) -> Result<Vec<Result<(), String>>, String> {
        let moved = self.files.move_to_trash(jobs).map_err(|e| e.to_string())?;
        Ok(moved.into_iter().map(|result| result.map_err(|e| e.to_string())).collect())
    }
}
