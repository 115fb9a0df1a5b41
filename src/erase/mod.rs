//! The contract of an erasure. Whoever reads this page knows why no live file is lost and no dead
//! file kept.
//!
//! An **erasure** takes a job from its mark to its tombstone: after it no name of the job's files is
//! left in the data directory, no descriptor of ours holds one, and a receipt says what was removed,
//! for whom and when. Everything that decides or performs one stands in this room; actors call it,
//! [`files`](crate::files) unlinks the one listed name that it is given.
//!
//! # The order
//! [`MARK_ORDER`](crate::job::MARK_ORDER) and [`ERASURE_ORDER`](crate::job::ERASURE_ORDER) state it
//! as data; [`order`] derives the committer's from them.
//! 1. **Marked**: the mark is on stable storage in the store.
//! 2. **Moved**: the directory stands in `trash/`, or an empty one that says the same of it.
//! 3. **Published**: status and files answer 404; downloads get their deadline.
//! 4. **Acknowledged**: the 202 leaves.
//! 5. **Last one out**: writers are out or fenced, downloads drained or cut, our tasks ended.
//! 6. **Key destroyed**: the wrapped key of everything in the directory is overwritten, durably, under a
//!    [`Warrant`]. What is left of the files anywhere cannot be read any more (P14).
//! 7. **Swept**: every name is unlinked under the same warrant, the directory removed, `trash/` synced.
//! 8. **Receipt**, then the record says **Erased**, then that is published.
//!
//! On a full disk the mark may not fit: then *moved* comes first, the output goes for its room, and
//! the order begins anew.
//!
//! # The walk
//! Who follows a DELETE reads ten files, in this order; whatever else it passes only passes it on.
//!
//! 1. `src/evanesce/life.rs`: the question goes to the job's actor, and its answer comes back.
//! 2. `src/job/life/ending.rs`: decides who is answered what, when the last one is out, what the
//!    receipt says.
//! 3. `src/job/transition.rs`: the order of a mark and of an erasure, as data.
//! 4. `src/actors/export_job/ending.rs`: begins what the life of the job asks for, and says what it
//!    came to.
//! 5. `src/store/committer.rs`: makes mark, place in `trash/` and receipt durable, then publishes.
//! 6. `src/erase/witnesses.rs`: disk and receipts, as the committer asks them.
//! 7. `src/erase/reaper/mod.rs`: decides what is swept when, and what is tried again.
//! 8. `src/erase/warrant.rs`: grants the right to unlink, or refuses it.
//! 9. `src/erase/sweep.rs`: lists, has names unlinked, syncs.
//! 10. `src/files/local_dir.rs`: unlinks one name.
//!
//! # The clauses
//! Each names its promise and the test that fails when it is dropped.
//!
//! | clause | promise | test |
//! |---|---|---|
//! | Nothing is shown or answered before it is marked and moved, durably. | P1 | `crash::breakpoints::nothing_of_a_deletion_is_shown_before_it_is_durable_twice` |
//! | The order is stated once; a batch of many changes keeps it. | P1 | `erase::order::tests::a_batch_of_marks_and_erasures_keeps_the_order_of_both` |
//! | A writer that outlives its job leaves no byte: a listing starts over until the directory is gone. | P3 | `conformance::files::a_name_that_is_made_during_a_sweep_goes_with_it` |
//! | Names under a stuck writer go, but its job is not erased before it is out. | P4 | `embed::stuck::the_names_of_a_stuck_writer_go_and_its_job_is_erased_when_it_returns` |
//! | The key goes before the first name, and a job is not erased before its key is. | P14 | `erase::sweep::tests::p14_a_key_is_destroyed_before_the_first_name_goes_and_else_the_job_is_not_erased` |
//! | The key stays until the last one is out. | P14 | `erase::sweep::tests::p14_the_names_under_a_stuck_writer_go_and_the_key_stays` |
//! | The epoch turns when it is due, and not under a pause; then no copy opens what was erased. | P14 | `erase::reaper::tests::p14_the_epoch_turns_when_it_is_due_and_once_at_a_time` |
//! | The chain says of each epoch once that it ended, whatever crash came between. | P14 | `crash::epochs::p14_an_epoch_ends_through_a_kill_at_every_step` |
//! | What a backup brings back without its key is erased. | P14 | `crash::backups::p14_a_job_whose_key_is_gone_is_erased_whatever_a_backup_brought_back` |
//! | A sweep ends with an fsync; without it nothing counts as erased. | P5 | `conformance::files::a_sweep_whose_fsync_fails_tells_of_no_erasure` |
//! | What is gone already is success. | P5 | `conformance::files::moving_and_sweeping_what_is_gone_is_success` |
//! | A sweep that failed is tried again, later and later, and never dropped. | P5 | `erase::queue::tests::a_failed_sweep_is_tried_again_later_and_later_up_to_a_bound` |
//! | The name in `trash/` goes last: until then it says what must go. | P5 | `faults::in_place::a_kill_in_the_middle_of_an_erasure_in_place_is_ended_by_the_next_start` |
//! | A warrant is granted only on a [`WarrantGround`] that the witnesses show. | P6 | `erase::warrant::tests::a_warrant_is_granted_only_on_a_ground_that_the_witnesses_show` |
//! | A warrant unlinks nothing of another job. | P6 | `conformance::files::a_warrant_for_one_job_unlinks_nothing_of_another` |
//! | A directory that nobody knows is an orphan only when seen twice and longer than the grace. | P6 | `erase::scan::tests::an_orphan_is_nominated_only_when_seen_twice_and_longer_than_the_grace` |
//! | A failed export loses its partial output, and keeps what says so. | P6 | `conformance::files::partial_files_go_and_sealed_ones_and_documents_stay` |
//! | Time ends what is due, and nothing under a hold. | P8 | `erase::expiry::tests::what_is_due_expires_but_not_under_a_hold_and_tombstones_end` |
//! | At a start the later witness wins: what any of them saw deleted is never served. | P1 | `erase::reconcile::table::tests::a_job_that_any_witness_saw_deleted_is_never_served_again` |
//! | What a backup brings back of an erased job goes at once. | P2 | `erase::scan::tests::what_a_backup_brings_back_after_the_tombstone_is_nominated_at_once_by_its_receipt` |
//! | On a full disk a deletion makes its own room, and only what stands in `trash/` goes. | P1 | `faults::full_disk::a_disk_that_others_fill_keeps_nothing_of_what_was_deleted` |
//! | The receipt comes before the record, so each erasure has exactly one. | P9 | `crash::failing_store::an_erasure_whose_commit_fails_has_one_receipt_in_the_end` |
//!
//! Operators may forbid an erasure. An order is an entry in the chain of receipts; it is in force at
//! once, over restarts, and until its end is durable. One lock grants warrants and takes orders.
//!
//! | clause | promise | test |
//! |---|---|---|
//! | A hold is in force before the first unlink, or refused with [`BeingErased`](OrderError::BeingErased): for a mark, | P6 | `operator::warrants::a_pause_is_answered_when_nobody_unlinks_any_more_and_a_hold_is_refused_meanwhile` |
//! | for the partial output of a failed export, | P6 | `operator::warrants::a_hold_is_refused_while_the_partial_files_of_a_failed_export_go` |
//! | for the names of a stuck writer, | P6 | `operator::warrants::a_hold_is_refused_while_the_names_of_a_stuck_writer_go` |
//! | for an attempt that was not recorded, | P6 | `operator::warrants::a_hold_is_refused_while_the_files_of_an_attempt_that_was_not_recorded_go` |
//! | for what goes for want of room. | P6 | `operator::warrants::a_hold_is_refused_while_files_go_for_want_of_room` |
//! | Under a hold nothing of the job goes. A resumed export goes on beside the files of the attempt before; no manifest names them, and they go with the job. | P6 | `operator::warrants::an_export_under_a_hold_is_resumed_beside_the_files_of_the_attempt_before` |
//! | A hold on files that are gone is refused, though their erasure is not published yet. | P6 | `erase::holds::tests::a_hold_on_files_that_are_gone_is_refused_until_the_erasure_is_published` |
//! | Under a pause nothing goes, whatever the ground, | P6 | `operator::warrants::a_paused_reaper_keeps_the_partial_files_of_a_failed_export` |
//! | not even for want of room at a start. | P6 | `operator::warrants::a_start_on_a_full_disk_removes_nothing_while_the_reaper_is_paused` |
//! | A pause is answered when nobody unlinks any more. | P6 | `operator::warrants::a_pause_is_answered_when_nobody_unlinks_any_more_and_a_hold_is_refused_meanwhile` |
//!
//! One unlink in a directory of a job needs no warrant: a document that is being replaced loses
//! its own unfinished `.tmp`.

mod backlog;
mod ending;
mod epochs;
mod expiry;
mod holds;
pub mod order;
mod prune;
mod queue;
mod reaper;
pub mod reconcile;
mod scan;
mod sweep;
mod warrant;
mod witnesses;

pub use backlog::{FailingSweep, ReaperStatus};
pub use ending::EarlySweep;
pub use epochs::ended_epochs;
pub use expiry::DueJobs;
pub use holds::{HoldBook, OrderError, WarrantRefusal};
pub use prune::prune;
pub use queue::{NextSweep, SweepQueue, SweepRetry};
pub use reaper::{ReaperAction, ReaperCore, ReaperInput, ReaperSurroundings};
pub use scan::{DiskSurvey, ScanNominations, ScanSightings};
pub use sweep::{Eraser, SweepResult};
pub use warrant::{HoldRegistry, LiveEvidence, Warrant, WarrantEvidence, WarrantGround};
pub use witnesses::DiskWitnesses;

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_walk_of_a_deletion_has_ten_files_and_each_is_there() {
        let walk = include_str!("mod.rs").lines().filter_map(|line| line.strip_prefix("//! "));
        let file = |line: &'static str| Some(line.split_once(". `src/")?.1.split_once('`')?.0);
        let files: Vec<_> = walk.filter_map(file).collect();
        assert_eq!(files.len(), 10);
        for file in files {
            assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file).is_file(), "{file}");
        }
    }
}
