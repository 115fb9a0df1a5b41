//! The order of an erasure, as data. [`MARK_ORDER`] and [`ERASURE_ORDER`] state it, once; the
//! committer, which takes marks and erasures through one batch, walks what follows from them here.
//! `tests/model` searches the same data.

use crate::job::{ERASURE_ORDER, MARK_ORDER, TransitionEffect};

/// What the committer does with a batch of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommitStep {
    /// The receipts of the batch are appended to the chain and synced (P9).
    AppendReceipts,
    /// All changes are on stable storage in the store (P1).
    CommitStore,
    /// The directories of marked jobs are renamed to `trash/`, both parents synced (P1).
    MoveToTrash,
    /// For want of room the output of what stands in `trash/` is unlinked.
    GiveRoom,
    /// The published view shows the batch (P2).
    Publish,
}

/// The order of every batch.
pub const COMMIT_ORDER: [CommitStep; 4] =
    [step_of(ERASURE_ORDER[0]), step_of(MARK_ORDER[1]), step_of(MARK_ORDER[2]), step_of(MARK_ORDER[3])];

/// What comes before it when there is no room for a mark. The place in `trash/` is as good a witness
/// at a start and needs no room: it goes first, and the output with it.
pub const FULL_DISK_ORDER: [CommitStep; 2] = [CommitStep::MoveToTrash, CommitStep::GiveRoom];

/// The committer's share of a job's effects.
const fn step_of(effect: TransitionEffect) -> CommitStep {
    match effect {
        TransitionEffect::AppendReceipt => CommitStep::AppendReceipts,
        TransitionEffect::Commit => CommitStep::CommitStore,
        TransitionEffect::MoveToTrash => CommitStep::MoveToTrash,
        TransitionEffect::Publish => CommitStep::Publish,
        _ => panic!("not a step of the committer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_is_durable_twice_before_it_is_shown_and_answered_and_then_swept() {
        use TransitionEffect::*;
        let order = [Commit, MoveToTrash, Publish, Acknowledge, AwaitLastOut, Sweep];
        let stated: Vec<_> = MARK_ORDER.iter().filter(|effect| order.contains(effect)).copied().collect();
        assert_eq!(stated, order);
        assert_eq!(ERASURE_ORDER, [AppendReceipt, Commit, Publish]);
    }

    #[test]
    fn a_batch_of_marks_and_erasures_keeps_the_order_of_both() {
        use CommitStep::*;
        assert_eq!(COMMIT_ORDER, [AppendReceipts, CommitStore, MoveToTrash, Publish]);
        let steps = |effects: &[TransitionEffect]| -> Vec<_> {
            let shared = [
                TransitionEffect::AppendReceipt,
                TransitionEffect::Commit,
                TransitionEffect::MoveToTrash,
                TransitionEffect::Publish,
            ];
            effects.iter().filter(|effect| shared.contains(effect)).map(|effect| step_of(*effect)).collect()
        };
        for effects in [MARK_ORDER, ERASURE_ORDER] {
            let own = steps(effects);
            let kept: Vec<_> = COMMIT_ORDER.into_iter().filter(|step| own.contains(step)).collect();
            assert_eq!(kept, own);
        }
        // Nothing goes for want of room before the second witness stands.
        assert_eq!(FULL_DISK_ORDER, [MoveToTrash, GiveRoom]);
    }
}
