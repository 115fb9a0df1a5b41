//! Puts disagreements between the witnesses of a job into words.

use super::{FindingOutcome, FsckFinding, is_pending};
use crate::erase::reconcile::JoinCure;
use crate::erase::reconcile::{ExaminedJob, ReceiptsGap, WitnessExamination};
use crate::job::JobState;
use crate::receipts;

/// Reports witnesses that are older than others.
pub fn older(examination: &WitnessExamination, repaired: FindingOutcome) -> Vec<FsckFinding> {
    let gap = |ReceiptsGap { expected, seen_by_store, .. }: ReceiptsGap| FsckFinding {
        what: format!(
            "{}: entry {}, which the {} has seen, is not there",
            receipts::FILE_NAME,
            expected.count,
            if seen_by_store { "store" } else { "audit log" }
        ),
        cause: "the end of the file was cut off or replaced, or an older copy was restored",
        cure: "none: what is missing cannot be brought back; a gap is entered in the chain",
        outcome: repaired,
    };
    let store = FsckFinding {
        what: "the store is older than the audit log".into(),
        cause: "it has lost its end, or an older copy was restored",
        cure: "what the audit log tells of deletions holds: those jobs are marked and erased",
        outcome: repaired,
    };
    examination.gap.map(gap).into_iter().chain(examination.store_is_behind.then_some(store)).collect()
}

/// Reports what is wrong with a job, if anything.
pub fn explain(
    examined: &ExaminedJob,
    state: Option<&JobState>,
    repaired: FindingOutcome,
) -> Option<FsckFinding> {
    let ExaminedJob { job, testimony, cure } = examined;
    let store = testimony.store.map_or_else(
        || "the store has no record of it".to_string(),
        |state| format!("the store says {state}"),
    );
    let finding = |disk: &str, cause, cure, outcome| {
        Some(FsckFinding { what: format!("{job}: {disk}, {store}"), cause, cure, outcome })
    };
    if is_pending(*cure, testimony.store) {
        let Some(JobState::Marked(mark)) = state else { return None };
        let failure = mark.failure.as_ref();
        let failed =
            failure.map_or_else(String::new, |f| format!("; {} sweeps failed: {}", f.attempts, f.error));
        let what = format!("{job}: marked for deletion since {:.0} and not swept{failed}", mark.at);
        let cause = "the server was stopped before its sweep, the sweep fails, or it is held or paused";
        let cure = "a running server sweeps it";
        return Some(FsckFinding { what, cause, cure, outcome: FindingOutcome::Note });
    }
    let lost_tail = "the store has lost its end";
    match cure {
        JoinCure::Nothing => None,
        JoinCure::Watch => finding(
            "a directory without a plan",
            "a kick-off that was never acknowledged",
            "a running server erases it as an orphan after retention.orphan_grace",
            FindingOutcome::Note,
        ),
        JoinCure::Resume => {
            finding("its directory has a plan", lost_tail, "it is recorded again and exported on", repaired)
        }
        JoinCure::SettleFailure => finding(
            "job.json says that it failed",
            "the process ended before it could record that, or the store has lost its end",
            "the failure is recorded",
            repaired,
        ),
        JoinCure::RollForward => finding(
            "it stands complete in ready/",
            "the process ended before it could record that, or the store has lost its end",
            "it is recorded from its job.json; without a readable one it is marked as lost",
            repaired,
        ),
        JoinCure::MoveToReady => finding(
            "it stands in building/",
            "somebody moved it, or the file system has lost a rename that it had synced",
            "it is moved to ready/",
            repaired,
        ),
        JoinCure::MarkLost => finding(
            "it has no directory",
            "somebody removed it, or it was swept and the store has lost its end",
            "it is marked as lost: it answers 404 deleted and gets a receipt",
            repaired,
        ),
        JoinCure::Erase if testimony.keyless => finding(
            "it is encrypted and its key is gone",
            "it was erased and a backup has brought it back, or the keys are lost",
            "it is marked as lost: nobody can read it; a running server erases it",
            repaired,
        ),
        JoinCure::Erase if testimony.unvouched => finding(
            "its directory is all that is known of it",
            "a backup has brought it back, and the receipts of its time are missing or pruned",
            "nobody can tell whether it was deleted: it is marked as recovered, and erased",
            repaired,
        ),
        JoinCure::Erase if testimony.audit && !testimony.trash => finding(
            "the audit log tells of its deletion",
            "older copies of the store and the receipts were restored",
            "it is marked as recovered; a running server erases it",
            repaired,
        ),
        JoinCure::Erase => finding(
            "it stands in trash/",
            "it was deleted and the store has lost the mark",
            "it is marked as recovered; a running server erases it",
            repaired,
        ),
        JoinCure::Bury if testimony.receipt => finding(
            if testimony.building.is_some() || testimony.ready || testimony.trash {
                "there is a receipt of its erasure, and a directory"
            } else {
                "there is a receipt of its erasure"
            },
            "the store has lost its end, or somebody has brought a directory back",
            "it is recorded as erased, and what is on disk is removed",
            repaired,
        ),
        JoinCure::Bury => finding(
            "it has a directory",
            "somebody has brought it back, or the file system has lost an unlink that it had synced",
            "what is on disk is removed",
            repaired,
        ),
    }
}
