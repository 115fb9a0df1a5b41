//! The ends of epochs, as the chain of receipts records them: from then on no copy of anything opens what
//! was erased before (P14).

use jiff::Timestamp;

use crate::keys::KeyStore;
use crate::receipts::{ReceiptChain, ReceiptEntry};

/// Returns the entries for the epochs that have ended and are not recorded yet, the first one first.
pub fn ended_epochs(keys: &KeyStore, receipts: &dyn ReceiptChain, at: Timestamp) -> Vec<ReceiptEntry> {
    let ended = keys.ended_after(receipts.ended_epoch());
    ended.into_iter().map(|epoch| ReceiptEntry::Epoch { at, epoch }).collect()
}
