//! Mistakes that the protocol avoids, so that the model can prove that it would have seen them.
//! Some are another order of the committer's effects, the others an actor that does not do what the
//! job's life asks for, or does not say what is so; they are looked up where they would be made.

use evanesce::erase::order::CommitStep::{self, *};
use evanesce::erase::order::{COMMIT_ORDER, FULL_DISK_ORDER};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The protocol as it is.
    None,
    /// The view shows what the store has not synced.
    PublishBeforeSync,
    /// 202 when only one of the two witnesses is durable.
    AcknowledgeBeforeMoveToTrash,
    /// The sweep does not wait for writers and downloads.
    UnlinkBeforeLastWriterOut,
    /// The handler of a DELETE looks at the stored state instead of the actor's.
    RereadStateAfterAwait,
    /// The record says Erased before there is a receipt.
    ReceiptAfterErased,
    /// The record says Erased before the directory was looked at.
    ErasedBeforeSwept,
    /// The record says Complete while the directory is still in `building/`.
    CompleteBeforeRename,
    /// The mark looks for the directory in `building/` only.
    NoRenameRetry,
    /// The end of the sweep is told before its fsync.
    SweepWithoutSync,
    /// A second DELETE gets its 404 while the first one's mark is not durable yet.
    RefuseBeforeDurable,
    /// A DELETE that is sent again gets its 202 at once, wherever the effects of its mark have come to.
    AcknowledgeResentAtOnce,
    /// An actor that knows of a mark from its record answers 202, wherever the directory is.
    TrustRecalledMark,
    /// An actor is let go of while its record is being committed.
    RetireWhileCommitting,
    /// A start believes what it reads, although nobody has synced it.
    TrustUnsynced,
    /// A start answers "deleted" for a mark that the disk does not witness yet.
    ServeBeforeMoveToTrash,
    /// A start does not look whether the job has its receipt already.
    IgnoreReceipt,
    /// A start appends to a torn receipt.
    KeepTornReceipt,
    /// A start wakes marked jobs only.
    ForgetToResume,
    /// A resumed export makes another plan.
    PlanAgain,
    /// A resumed export leaves the files of parts that were not sealed.
    KeepPartialFiles,
    /// A part is recorded before its file is synced.
    SealBeforeSync,
    /// A kick-off is answered before its record is durable.
    AnswerKickoffAtOnce,
    /// The cancel of a finishing job does not wait for the finisher's file operation.
    ForgetFinisher,
    /// A writer that does not stop is not fenced.
    NeverFence,
    /// The reaper sweeps what an operator holds.
    SweepHeld,
    /// The partial files of a failed export are swept although an operator holds them.
    SweepHeldPartials,
    /// The names of a stuck writer are unlinked although an operator holds them.
    SweepHeldEarly,
    /// A hold is taken although a warrant is out.
    HoldTooLate,
    /// A pause is answered although a warrant is out.
    PauseTooEarly,
    /// A resumed export removes the files of attempts although an operator holds them.
    RemoveHeldAttempts,
    /// Files go for want of room before their place in `trash/` says that they may.
    GiveRoomFirst,
    /// A sweep that failed is dropped.
    ForgetFailedSweep,
    /// The reaper's queue does not hear that a hold was released.
    ForgetHeldBack,
    /// A job whose sweep meets a pause leaves the queue.
    DropPaused,
    /// A directory that cannot be moved has no name in `trash/`.
    NoNameInTrash,
    /// The name in `trash/` goes before the directory that it stands for.
    NameGoesFirst,
    /// The name in `trash/` goes before it is durable that the directory is gone.
    EraseInPlaceWithoutSync,
    /// A sweep leaves the key.
    KeepKey,
    /// The first name goes before it is durable that the key is destroyed.
    KeyWithoutSync,
    /// The key goes with the names of a stuck writer.
    KeyGoesEarly,
    /// The key of a job goes although an operator holds it.
    DestroyHeldKey,
    /// A start does not ask for keys.
    IgnoreKeys,
    /// A start does not hear the audit log.
    IgnoreAudit,
    /// The audit log tells of a mark that is not durable yet.
    AuditBeforeDurable,
    /// A download registers when it has its file.
    RegisterLast,
    /// A download that is cut counts as out before it has let go of its file.
    CutWithoutDrain,
    /// The transfer of a download that is cut ends as if it were whole.
    CutLooksWhole,
    /// A file that is not there is a fault of the server, although a mark may be under way.
    MissingIsAFault,
    /// An expiry cuts downloads as a DELETE does.
    ExpiryCutsAtOnce,
    /// The wall clock is believed, however it jumps.
    BelieveTheClock,
    /// The next process does not know that the clock jumped.
    ForgetTheJump,
    /// A directory without a record is taken for an orphan without asking the job's actor.
    NoSecondLook,
    /// A complete job is taken for lost when one scan did not see it, without asking its actor.
    ReapAtFirstSight,
}

/// The order in which the committer takes each record through its steps.
pub fn commit_order(flaw: Flaw) -> &'static [CommitStep] {
    match flaw {
        Flaw::PublishBeforeSync => &[AppendReceipts, Publish, CommitStore, MoveToTrash],
        Flaw::AcknowledgeBeforeMoveToTrash => &[AppendReceipts, CommitStore, Publish, MoveToTrash],
        Flaw::ReceiptAfterErased => &[CommitStore, MoveToTrash, Publish, AppendReceipts],
        _ => &COMMIT_ORDER,
    }
}

/// What comes before it when the disk is full.
pub fn full_disk_order(flaw: Flaw) -> &'static [CommitStep] {
    if flaw == Flaw::GiveRoomFirst { &[GiveRoom, MoveToTrash] } else { &FULL_DISK_ORDER }
}
