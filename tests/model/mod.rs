//! An exhaustive model of one job's life. It drives the real `job::transition` and explores every
//! interleaving of two writers, a downloader, two DELETEs (and the first one sent again), the time
//! to live, the reaper, a failing export, two failing sweeps, a lost tail of the store and two
//! crashes (SIGKILL or power loss), and checks the promises P1-P6 (and P9's single receipt) in every state.
//!
//! Read `world.rs` (what there is), `steps.rs` (what can happen), `actor.rs` and `directory.rs` (what an
//! effect does), `restart.rs` (crash and join), `promises.rs`; `flaws.rs` shows that the model can fail.
//!
//! What is simpler than life: the kick-off is over; a record that is applied but not synced is
//! `Cached`, so are names and places; a lost tail is what the last sync of the store wrote; unsynced
//! names of one directory are lost all or none (a journal is cut at one point); pausing writers does
//! nothing; a stuck writer is one that is slow to stop.

mod actor;
mod directory;
mod flaws;
mod promises;
mod record;
mod restart;
mod search;
mod steps;
mod world;

use std::time::Instant;

use flaws::Flaw;
use promises::Promise;
use search::{Counterexample, search};
use steps::JobLife;

fn explore(flaw: Flaw, promises: &'static [Promise]) -> Option<Counterexample<Promise>> {
    let start = Instant::now();
    let report = search(&JobLife { flaw, promises });
    let seconds = start.elapsed().as_secs_f64();
    let (states, transitions, depth) = (report.states, report.transitions, report.depth);
    println!("{flaw:?}: {states} states, {transitions} transitions, depth {depth}, {seconds:.1} s");
    report.counterexample
}

/// The search must find a way to break `promise`; shown is a shortest one.
fn breaks(flaw: Flaw, promise: &'static [Promise; 1]) {
    let counterexample = explore(flaw, promise);
    println!("{}", counterexample.unwrap_or_else(|| panic!("{flaw:?} does not break it: {}", promise[0])));
}

#[test]
fn the_protocol_keeps_every_promise_in_every_state() {
    if let Some(counterexample) = explore(Flaw::None, &Promise::ALL) {
        panic!("\n{counterexample}");
    }
}

#[test]
fn a_view_ahead_of_the_store_takes_back_what_it_showed() {
    breaks(Flaw::PublishBeforeSync, &[Promise::ShownStays]);
}

#[test]
fn a_202_without_the_second_witness_does_not_survive_a_lost_tail() {
    breaks(Flaw::AcknowledgeBeforeMoveToTrash, &[Promise::MarkedTwice]);
    breaks(Flaw::AcknowledgeBeforeMoveToTrash, &[Promise::AcknowledgedIsDurable]);
}

#[test]
fn a_sweep_that_waits_for_nobody_erases_under_a_writer() {
    breaks(Flaw::UnlinkBeforeLastWriterOut, &[Promise::LastOneOut]);
}

#[test]
fn a_handler_that_reads_the_stored_state_answers_202_twice() {
    breaks(Flaw::RereadStateAfterAwait, &[Promise::OneAnswer]);
}

#[test]
fn a_receipt_after_the_record_is_lost_in_a_crash_between_them() {
    breaks(Flaw::ReceiptAfterErased, &[Promise::OneReceipt]);
}

#[test]
fn a_record_erased_before_the_sweep_leaves_files_that_nobody_knows_of() {
    breaks(Flaw::ErasedBeforeSwept, &[Promise::NoResurrection]);
}

#[test]
fn a_job_complete_before_its_rename_shows_files_that_are_not_there() {
    breaks(Flaw::CompleteBeforeRename, &[Promise::NothingLiveLost]);
}

#[test]
fn a_mark_that_looks_in_building_only_misses_a_job_that_finishes_meanwhile() {
    breaks(Flaw::NoRenameRetry, &[Promise::MarkedTwice]);
    breaks(Flaw::NoRenameRetry, &[Promise::NoResurrection]);
}

#[test]
fn a_sweep_that_does_not_sync_lets_a_power_loss_bring_the_directory_back() {
    breaks(Flaw::SweepWithoutSync, &[Promise::NoResurrection]);
}

#[test]
fn a_404_for_a_mark_that_is_not_durable_yet_is_taken_back() {
    breaks(Flaw::RefuseBeforeDurable, &[Promise::ShownStays]);
}

#[test]
fn a_message_sent_again_must_not_overtake_the_mark_it_asked_for() {
    breaks(Flaw::AcknowledgeResentAtOnce, &[Promise::AcknowledgedIsDurable]);
}

#[test]
fn a_start_that_trusts_the_page_cache_shows_what_a_power_loss_takes_back() {
    breaks(Flaw::TrustUnsynced, &[Promise::ShownStays]);
}

#[test]
fn a_start_that_serves_before_it_moves_marked_jobs_shows_what_a_lost_tail_takes_back() {
    breaks(Flaw::ServeBeforeMoveToTrash, &[Promise::ShownStays]);
}

#[test]
fn a_start_that_does_not_look_for_the_receipt_writes_a_second_one() {
    breaks(Flaw::ReceiptTwice, &[Promise::OneReceipt]);
}

#[test]
fn a_job_is_not_erased_while_its_finisher_holds_the_directory() {
    breaks(Flaw::ForgetFinisher, &[Promise::LastOneOut]);
}

#[test]
fn a_failed_sweep_that_is_dropped_leaves_a_marked_job_for_ever() {
    breaks(Flaw::ForgetFailedSweep, &[Promise::NothingForgotten]);
}
