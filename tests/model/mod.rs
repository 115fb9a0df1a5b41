//! An exhaustive model of one job's life. It drives the real `job::life::Life`, the real table of
//! the reconcile, the real book of holds, the real queue of sweeps and the real order of the
//! committer, explores every interleaving of what clients, writers, the store, the reaper, an
//! operator, a restart and misfortune may do within a scope, and checks the promises P1-P6, P8, P9,
//! P11 and P14 in every state.
//!
//! Read `world.rs` and `process.rs` (what there is), `scopes.rs` (where a search begins), `steps.rs`
//! (what can happen), `actor.rs`, `tasks.rs` and `directory.rs` (what an action does), `export.rs`,
//! `downloads.rs`, `reaper.rs`, `queue.rs` (what runs beside it), `restart.rs` (crash and join),
//! `promises.rs`; `flaws.rs` shows that the model can fail.
//!
//! What is simpler than life: a record that is applied but not synced is `Cached`, so are names
//! and places; a lost tail is what the last sync of the store wrote; unsynced names of one
//! directory are lost all or none (a journal is cut at one point), and the names of one sweep
//! likewise; pausing writers does nothing; a failed fsync is a crash, and a kernel that goes on
//! showing what it could not write is not modelled; there is one download at a time; a sweep that
//! failed is tried again only when the record of its failure is durable.
//!
//! P11 is a property of the whole graph: from every state that was reached, the system's own steps
//! alone (no further fault, nobody's help) lead to one at rest. The graph is finite, so whoever is
//! scheduled fairly gets there.

mod actor;
mod directory;
mod downloads;
mod export;
mod flaws;
mod process;
mod promises;
mod queue;
mod reaper;
mod record;
mod restart;
mod scopes;
mod search;
mod show;
mod steps;
mod tasks;
mod world;

use std::time::Instant;

use flaws::Flaw;
use promises::Promise;
use scopes::{
    ENDING, FULL_DISK, HELD, HELD_EXPORT, IN_PLACE, KICKOFF, LARGE_ENDING, LARGE_LIFE, LIFE, LOST, PARTIAL,
    READING, RESTORED, Scope,
};
use search::{Counterexample, search};
use steps::JobLife;

fn explore(scope: Scope, flaw: Flaw, promises: &'static [Promise]) -> Option<Counterexample<Promise>> {
    let start = Instant::now();
    let report = search(&JobLife { scope, flaw, promises });
    let seconds = start.elapsed().as_secs_f64();
    let (states, transitions, depth) = (report.states, report.transitions, report.depth);
    let name = scope.name;
    println!("{name}, {flaw:?}: {states} states, {transitions} transitions, depth {depth}, {seconds:.1} s");
    report.counterexample
}

/// The search must find a way to break `promise`; shown is a shortest one.
fn breaks(scope: Scope, flaw: Flaw, promise: &'static [Promise; 1]) {
    let counterexample = explore(scope, flaw, promise);
    println!("{}", counterexample.unwrap_or_else(|| panic!("{flaw:?} does not break it: {}", promise[0])));
}

fn keeps(scope: Scope) {
    if let Some(counterexample) = explore(scope, Flaw::None, &Promise::ALL) {
        panic!("\n{counterexample}");
    }
}

#[test]
fn a_life_keeps_every_promise_in_every_state() {
    keeps(LIFE);
}

#[test]
fn a_kickoff_keeps_every_promise_in_every_state() {
    keeps(KICKOFF);
}

#[test]
fn a_complete_job_that_is_read_keeps_every_promise_in_every_state() {
    keeps(READING);
}

#[test]
fn a_complete_job_that_somebody_takes_away_keeps_every_promise_in_every_state() {
    keeps(LOST);
}

#[test]
fn a_deletion_keeps_every_promise_in_every_state() {
    keeps(ENDING);
}

#[test]
fn a_job_under_a_hold_keeps_every_promise_in_every_state() {
    keeps(HELD);
}

#[test]
fn an_export_under_a_hold_or_a_pause_keeps_every_promise_in_every_state() {
    keeps(HELD_EXPORT);
}

#[test]
fn an_export_that_is_read_while_it_runs_keeps_every_promise_in_every_state() {
    keeps(PARTIAL);
}

#[test]
fn a_deletion_on_a_full_disk_keeps_every_promise_in_every_state() {
    keeps(FULL_DISK);
}

#[test]
fn a_deletion_of_what_cannot_be_moved_keeps_every_promise_in_every_state() {
    keeps(IN_PLACE);
}

#[test]
fn a_deletion_that_a_backup_takes_back_keeps_every_promise_in_every_state() {
    keeps(RESTORED);
}

fn is_large() -> bool {
    std::env::var("EVANESCE_MODEL").is_ok_and(|bound| bound == "large")
}

/// `EVANESCE_MODEL=large`: minutes, and gigabytes.
#[test]
fn a_life_with_its_kickoff_keeps_every_promise_in_every_state() {
    if is_large() {
        keeps(LARGE_LIFE);
    }
}

/// `EVANESCE_MODEL=large`, as above.
#[test]
fn an_ending_with_all_that_can_happen_keeps_every_promise_in_every_state() {
    if is_large() {
        keeps(LARGE_ENDING);
    }
}

#[test]
fn a_view_ahead_of_the_store_takes_back_what_it_showed() {
    breaks(LIFE, Flaw::PublishBeforeSync, &[Promise::ShownStays]);
}

#[test]
fn a_202_without_the_second_witness_does_not_survive_a_lost_tail() {
    breaks(LIFE, Flaw::AcknowledgeBeforeMoveToTrash, &[Promise::MarkedTwice]);
    breaks(LIFE, Flaw::AcknowledgeBeforeMoveToTrash, &[Promise::AcknowledgedIsDurable]);
}

#[test]
fn a_sweep_that_waits_for_nobody_erases_under_a_writer() {
    breaks(LIFE, Flaw::UnlinkBeforeLastWriterOut, &[Promise::LastOneOut]);
}

#[test]
fn a_handler_that_reads_the_stored_state_answers_202_twice() {
    breaks(LIFE, Flaw::RereadStateAfterAwait, &[Promise::OneAnswer]);
}

#[test]
fn a_receipt_after_the_record_is_lost_in_a_crash_between_them() {
    breaks(LIFE, Flaw::ReceiptAfterErased, &[Promise::OneReceipt]);
}

#[test]
fn a_record_erased_before_the_sweep_leaves_files_that_nobody_knows_of() {
    breaks(LIFE, Flaw::ErasedBeforeSwept, &[Promise::NoResurrection]);
}

#[test]
fn a_job_complete_before_its_rename_shows_files_that_are_not_there() {
    breaks(LIFE, Flaw::CompleteBeforeRename, &[Promise::NothingLiveLost]);
}

#[test]
fn a_mark_that_looks_in_building_only_misses_a_job_that_finishes_meanwhile() {
    breaks(LIFE, Flaw::NoRenameRetry, &[Promise::MarkedTwice]);
    breaks(LIFE, Flaw::NoRenameRetry, &[Promise::NoResurrection]);
}

#[test]
fn a_sweep_that_does_not_sync_lets_a_power_loss_bring_the_directory_back() {
    breaks(LIFE, Flaw::SweepWithoutSync, &[Promise::NoResurrection]);
}

#[test]
fn a_404_for_a_mark_that_is_not_durable_yet_is_taken_back() {
    breaks(LIFE, Flaw::RefuseBeforeDurable, &[Promise::ShownStays]);
}

#[test]
fn a_message_sent_again_must_not_overtake_the_mark_it_asked_for() {
    breaks(ENDING, Flaw::AcknowledgeResentAtOnce, &[Promise::AcknowledgedIsDurable]);
}

#[test]
fn a_start_that_trusts_the_page_cache_shows_what_a_power_loss_takes_back() {
    breaks(LIFE, Flaw::TrustUnsynced, &[Promise::ShownStays]);
}

#[test]
fn a_start_that_serves_before_it_moves_marked_jobs_shows_what_a_lost_tail_takes_back() {
    breaks(LIFE, Flaw::ServeBeforeMoveToTrash, &[Promise::ShownStays]);
}

#[test]
fn a_start_that_does_not_look_for_the_receipt_writes_a_second_one() {
    breaks(LIFE, Flaw::IgnoreReceipt, &[Promise::OneReceipt]);
}

#[test]
fn a_job_is_not_erased_while_its_finisher_holds_the_directory() {
    breaks(LIFE, Flaw::ForgetFinisher, &[Promise::LastOneOut]);
}

#[test]
fn a_failed_sweep_that_is_dropped_leaves_a_marked_job_for_ever() {
    breaks(LIFE, Flaw::ForgetFailedSweep, &[Promise::NothingForgotten]);
}

#[test]
fn a_kickoff_answered_before_its_record_is_durable_is_forgotten() {
    breaks(KICKOFF, Flaw::AnswerKickoffAtOnce, &[Promise::AcceptedIsDurable]);
}

#[test]
fn a_scan_that_is_obeyed_takes_a_kickoff_for_an_orphan() {
    breaks(KICKOFF, Flaw::NoSecondLook, &[Promise::NothingUnasked]);
}

#[test]
fn a_scan_that_is_obeyed_at_first_sight_takes_a_job_that_finishes_for_lost() {
    breaks(KICKOFF, Flaw::ReapAtFirstSight, &[Promise::NothingUnasked]);
}

#[test]
fn a_start_that_wakes_marked_jobs_only_leaves_exports_running_for_ever() {
    breaks(LIFE, Flaw::ForgetToResume, &[Promise::NotStuck]);
}

#[test]
fn a_resumed_export_that_plans_again_mixes_two_views_of_the_source() {
    breaks(LIFE, Flaw::PlanAgain, &[Promise::OnePlan]);
}

#[test]
fn a_resumed_export_that_keeps_partial_files_has_them_in_the_complete_one() {
    breaks(LIFE, Flaw::KeepPartialFiles, &[Promise::OnlyItsFiles]);
}

#[test]
fn a_part_recorded_before_its_file_is_synced_is_missing_after_a_power_loss() {
    breaks(LIFE, Flaw::SealBeforeSync, &[Promise::NothingLiveLost]);
}

#[test]
fn a_writer_that_is_never_fenced_keeps_a_marked_job_for_ever() {
    breaks(LIFE, Flaw::NeverFence, &[Promise::NothingForgotten]);
}

#[test]
fn an_actor_let_go_of_too_early_leaves_a_mark_that_nobody_carries_out() {
    breaks(LIFE, Flaw::RetireWhileCommitting, &[Promise::NothingForgotten]);
}

#[test]
fn a_mark_found_at_a_start_is_acknowledged_only_when_the_disk_witnesses_it() {
    breaks(ENDING, Flaw::TrustRecalledMark, &[Promise::MarkedTwice]);
}

#[test]
fn a_receipt_appended_to_a_torn_one_breaks_the_chain() {
    breaks(ENDING, Flaw::KeepTornReceipt, &[Promise::ChainUnbroken]);
}

#[test]
fn a_download_that_registers_when_it_has_its_file_is_not_waited_for() {
    breaks(READING, Flaw::RegisterLast, &[Promise::LastOneOut]);
}

#[test]
fn a_cut_download_may_still_hold_its_file() {
    breaks(READING, Flaw::CutWithoutDrain, &[Promise::LastOneOut]);
}

#[test]
fn a_cut_download_must_not_end_as_if_it_were_whole() {
    breaks(READING, Flaw::CutLooksWhole, &[Promise::WholeOrFailed]);
}

#[test]
fn a_file_that_is_missing_may_be_one_that_is_just_being_deleted() {
    breaks(READING, Flaw::MissingIsAFault, &[Promise::WholeOrFailed]);
}

#[test]
fn an_expiry_with_the_grace_of_a_delete_cuts_those_who_read() {
    breaks(READING, Flaw::ExpiryCutsAtOnce, &[Promise::ExpiryWaits]);
}

#[test]
fn a_clock_that_is_believed_when_it_jumps_expires_what_is_young() {
    breaks(READING, Flaw::BelieveTheClock, &[Promise::HonestExpiry]);
}

#[test]
fn a_clock_that_jumped_is_believed_by_a_process_that_did_not_see_it() {
    breaks(READING, Flaw::ForgetTheJump, &[Promise::HonestExpiry]);
}

#[test]
fn a_reaper_that_does_not_ask_for_holds_sweeps_what_is_held() {
    breaks(HELD, Flaw::SweepHeld, &[Promise::HeldStays]);
}

#[test]
fn a_hold_that_is_taken_when_a_sweep_has_begun_is_broken() {
    breaks(HELD, Flaw::HoldTooLate, &[Promise::HeldStays]);
}

#[test]
fn a_pause_that_is_answered_while_a_warrant_is_out_is_broken() {
    breaks(HELD, Flaw::PauseTooEarly, &[Promise::HeldStays]);
}

#[test]
fn the_files_of_a_failed_export_are_held_too() {
    breaks(HELD_EXPORT, Flaw::SweepHeldPartials, &[Promise::HeldStays]);
}

#[test]
fn a_hold_that_is_taken_while_a_failed_export_is_swept_is_broken() {
    breaks(HELD_EXPORT, Flaw::HoldTooLate, &[Promise::HeldStays]);
}

#[test]
fn the_names_of_a_stuck_writer_are_held_too() {
    breaks(HELD_EXPORT, Flaw::SweepHeldEarly, &[Promise::HeldStays]);
}

#[test]
fn the_files_of_an_attempt_that_was_not_recorded_are_held_too() {
    breaks(HELD_EXPORT, Flaw::RemoveHeldAttempts, &[Promise::HeldStays]);
}

#[test]
fn a_failed_export_is_not_swept_while_its_files_are_read() {
    breaks(PARTIAL, Flaw::UnlinkBeforeLastWriterOut, &[Promise::UsersWaitedFor]);
}

#[test]
fn on_a_full_disk_files_that_go_before_the_second_witness_are_missing_after_a_crash() {
    breaks(FULL_DISK, Flaw::GiveRoomFirst, &[Promise::NothingLiveLost]);
}

#[test]
fn a_job_held_back_is_swept_only_when_the_queue_hears_of_its_release() {
    breaks(HELD, Flaw::ForgetHeldBack, &[Promise::NothingForgotten]);
}

#[test]
fn a_job_whose_sweep_meets_a_pause_must_stay_in_the_queue() {
    breaks(HELD, Flaw::DropPaused, &[Promise::NothingForgotten]);
}

#[test]
fn a_directory_that_cannot_be_moved_and_has_no_name_in_trash_has_one_witness_only() {
    breaks(IN_PLACE, Flaw::NoNameInTrash, &[Promise::MarkedTwice]);
    breaks(IN_PLACE, Flaw::NoNameInTrash, &[Promise::AcknowledgedIsDurable]);
}

#[test]
fn a_name_in_trash_that_goes_first_says_nothing_to_the_next_start() {
    breaks(IN_PLACE, Flaw::NameGoesFirst, &[Promise::AcknowledgedIsDurable]);
}

#[test]
fn a_directory_erased_where_it_stood_comes_back_if_that_was_not_synced() {
    breaks(IN_PLACE, Flaw::EraseInPlaceWithoutSync, &[Promise::NoResurrection]);
}

#[test]
fn a_start_that_does_not_hear_the_audit_log_shows_what_a_backup_brings_back() {
    breaks(RESTORED, Flaw::IgnoreAudit, &[Promise::ShownStays]);
}

#[test]
fn an_audit_log_that_is_told_too_early_ends_a_job_that_nobody_deleted() {
    breaks(RESTORED, Flaw::AuditBeforeDurable, &[Promise::NothingUnasked]);
}

#[test]
fn p14_a_sweep_that_leaves_the_key_erases_nothing() {
    breaks(ENDING, Flaw::KeepKey, &[Promise::KeyGoneFirst]);
}

#[test]
fn p14_a_key_whose_destruction_is_not_synced_comes_back() {
    breaks(ENDING, Flaw::KeyWithoutSync, &[Promise::KeyGoneFirst]);
}

#[test]
fn p14_a_key_that_goes_with_the_names_of_a_stuck_writer_is_in_use() {
    breaks(HELD_EXPORT, Flaw::KeyGoesEarly, &[Promise::KeyNotInUse]);
}

#[test]
fn p14_a_key_is_held_with_its_job() {
    breaks(HELD, Flaw::DestroyHeldKey, &[Promise::HeldStays]);
}

#[test]
fn p14_a_start_that_does_not_ask_for_keys_serves_what_a_backup_brings_back() {
    breaks(RESTORED, Flaw::IgnoreKeys, &[Promise::ServedHasKey]);
    breaks(RESTORED, Flaw::IgnoreKeys, &[Promise::ShownStays]);
}
