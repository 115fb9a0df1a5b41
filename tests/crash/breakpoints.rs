//! SIGKILL at each named step of a deletion, a completion, a failure, an expiry and a kick-off,
//! also while the process recovers from the one before (P1, P2, P5, P6, P8, P9, P11). A new
//! step is one row; one that is forgotten fails the last test here.

use std::collections::BTreeSet;

use clap::ValueEnum;
use evanesce::hooks::HookStep;

use super::deeds::Deed::*;
use super::deeds::End::*;
use super::deeds::Scene;
use super::{ballast, epochs, joins};
use crate::support::{get, polling_url};

/// A row: the deed; the breakpoints of each process in turn, of which the last one is reached;
/// the end. `hold` means that the client gets its 202 and then kills the process itself.
macro_rules! crashes {
    ($($name:ident: $deed:expr, [$($kill:literal),+] => $end:expr;)+) => {
        $(#[test] fn $name() { Scene::play($deed, &[$($kill),+], $end); })+
        const ROWS: &[&str] = &[$($($kill),+),+];
    };
}

crashes! {
    // DELETE of a complete job.
    a_deletion_killed_before_its_mark_is_flushed_was_never_promised:
        DeleteComplete, ["batch-applied=kill"] => Untold("deleted");
    a_complete_job_is_erased_when_killed_between_the_marks_flush_and_its_sync:
        DeleteComplete, ["log-flushed=kill"] => Erased("deleted");
    a_complete_job_is_erased_when_killed_after_the_marks_sync:
        DeleteComplete, ["log-synced=kill"] => Erased("deleted");
    a_complete_job_is_erased_when_killed_after_the_marks_commit:
        DeleteComplete, ["mark-committed=kill"] => Erased("deleted");
    a_complete_job_is_erased_when_killed_between_the_rename_to_trash_and_its_sync:
        DeleteComplete, ["renamed-to-trash=kill"] => Erased("deleted");
    a_complete_job_is_erased_when_killed_between_the_syncs_of_trash_and_ready:
        DeleteComplete, ["trash-synced=kill"] => Erased("deleted");
    a_complete_job_is_erased_when_killed_after_the_rename_to_trash:
        DeleteComplete, ["moved-to-trash=kill"] => Erased("deleted");
    a_complete_job_is_erased_when_killed_between_the_publication_and_the_202:
        DeleteComplete, ["mark-committed>published=kill"] => Erased("deleted");
    a_complete_job_is_erased_when_killed_before_the_202:
        DeleteComplete, ["parts-stopped=kill"] => Erased("deleted");
    a_complete_job_is_erased_when_killed_while_the_202_is_on_its_way:
        DeleteComplete, ["acknowledged=kill"] => Erased("deleted");
    a_complete_job_is_erased_when_killed_after_the_last_one_is_out:
        DeleteComplete, ["last-one-out=kill"] => Erased("deleted");
    p14_a_complete_job_is_erased_when_killed_after_its_key_is_destroyed:
        DeleteComplete, ["job-key-destroyed=kill"] => Erased("deleted");
    a_complete_job_is_erased_when_killed_after_the_202:
        DeleteComplete, ["sweep-begins=hold"] => Erased("deleted");
    a_complete_job_is_erased_when_killed_before_the_first_unlink:
        DeleteComplete, ["unlink-begins=kill"] => Erased("deleted");
    a_complete_job_is_erased_when_killed_after_the_first_unlink:
        DeleteComplete, ["file-unlinked=kill"] => Erased("deleted");
    a_complete_job_is_erased_when_killed_in_the_middle_of_the_unlinks:
        DeleteComplete, ["file-unlinked:3=kill"] => Erased("deleted");
    a_complete_job_is_erased_when_killed_between_the_rmdir_and_its_sync:
        DeleteComplete, ["directory-removed=kill"] => Erased("deleted");
    a_complete_job_is_erased_when_killed_before_the_receipt:
        DeleteComplete, ["sweep-ends=kill"] => Erased("deleted");
    a_complete_job_has_one_receipt_when_killed_between_the_receipts_write_and_its_sync:
        DeleteComplete, ["receipt-written=kill"] => Erased("deleted");
    a_complete_job_has_one_receipt_and_one_head_when_killed_after_the_head_is_signed:
        DeleteComplete, ["receipt-written>receipt-signed=kill"] => Erased("deleted");
    a_complete_job_has_one_receipt_when_killed_before_the_erasures_commit:
        DeleteComplete, ["receipt-appended=kill"] => Erased("deleted");
    a_complete_job_has_one_receipt_when_killed_before_the_erasure_is_flushed:
        DeleteComplete, ["receipt-appended>batch-applied=kill"] => Erased("deleted");
    a_complete_job_has_one_receipt_when_killed_between_the_erasures_flush_and_its_sync:
        DeleteComplete, ["receipt-appended>log-flushed=kill"] => Erased("deleted");
    a_complete_job_has_one_receipt_when_killed_after_the_erasures_sync:
        DeleteComplete, ["receipt-appended>log-synced=kill"] => Erased("deleted");
    a_complete_job_has_one_receipt_when_killed_after_everything:
        DeleteComplete, ["receipt-appended>published=kill"] => Erased("deleted");

    // DELETE of a running job.
    a_cancelled_job_is_erased_when_killed_before_the_rename:
        DeleteRunning, ["mark-committed=kill"] => Erased("cancelled");
    a_cancelled_job_is_erased_when_killed_between_the_rename_to_trash_and_its_sync:
        DeleteRunning, ["renamed-to-trash=kill"] => Erased("cancelled");
    a_cancelled_job_is_erased_when_killed_between_the_syncs_of_trash_and_building:
        DeleteRunning, ["trash-synced=kill"] => Erased("cancelled");
    a_cancelled_job_is_erased_when_killed_after_the_rename_to_trash:
        DeleteRunning, ["moved-to-trash=kill"] => Erased("cancelled");
    a_cancelled_job_is_erased_when_killed_between_the_publication_and_the_202:
        DeleteRunning, ["moved-to-trash>published=kill"] => Erased("cancelled");
    a_cancelled_job_is_erased_when_killed_before_the_202:
        DeleteRunning, ["parts-stopped=kill"] => Erased("cancelled");
    a_cancelled_job_is_erased_when_killed_while_the_202_is_on_its_way:
        DeleteRunning, ["acknowledged=kill"] => Erased("cancelled");
    a_cancelled_job_is_erased_when_killed_after_the_last_one_is_out:
        DeleteRunning, ["last-one-out=kill"] => Erased("cancelled");
    a_cancelled_job_is_erased_when_killed_after_the_202:
        DeleteRunning, ["sweep-begins=hold"] => Erased("cancelled");
    a_cancelled_job_is_erased_when_killed_in_the_middle_of_the_unlinks:
        DeleteRunning, ["file-unlinked:3=kill"] => Erased("cancelled");
    a_cancelled_job_is_erased_when_killed_between_the_rmdir_and_its_sync:
        DeleteRunning, ["directory-removed=kill"] => Erased("cancelled");
    a_cancelled_job_is_erased_when_killed_before_the_receipt:
        DeleteRunning, ["sweep-ends=kill"] => Erased("cancelled");
    a_cancelled_job_has_one_receipt_when_killed_before_the_erasures_commit:
        DeleteRunning, ["receipt-appended=kill"] => Erased("cancelled");
    a_cancelled_job_has_one_receipt_when_killed_after_the_erasures_sync:
        DeleteRunning, ["receipt-appended>log-synced=kill"] => Erased("cancelled");

    // DELETE while the completion is between its seal and its commit.
    a_job_cancelled_before_its_rename_is_erased_when_killed_after_the_202:
        DeleteFinishing, ["document-renamed:3=hold"] => Erased("cancelled");
    a_job_cancelled_before_its_rename_is_erased_when_killed_after_the_marks_commit:
        DeleteFinishing, ["document-renamed:3=hold mark-committed=kill"] => Erased("cancelled");
    a_job_cancelled_before_its_rename_is_erased_when_killed_between_the_rename_to_trash_and_its_sync:
        DeleteFinishing, ["document-renamed:3=hold renamed-to-trash=kill"] => Erased("cancelled");
    a_job_cancelled_while_finishing_is_erased_when_killed_after_the_202:
        DeleteFinishing, ["moved-to-ready=hold"] => Erased("cancelled");
    a_job_cancelled_while_finishing_is_erased_when_killed_after_the_marks_commit:
        DeleteFinishing, ["moved-to-ready=hold mark-committed=kill"] => Erased("cancelled");
    a_job_cancelled_while_finishing_is_erased_when_killed_between_the_rename_to_trash_and_its_sync:
        DeleteFinishing, ["moved-to-ready=hold renamed-to-trash=kill"] => Erased("cancelled");
    a_job_cancelled_while_finishing_is_erased_when_killed_between_the_syncs_of_trash_and_ready:
        DeleteFinishing, ["moved-to-ready=hold trash-synced=kill"] => Erased("cancelled");
    a_job_cancelled_while_finishing_is_erased_when_killed_after_the_rename_to_trash:
        DeleteFinishing, ["moved-to-ready=hold moved-to-trash=kill"] => Erased("cancelled");

    // DELETE under a writer that does not come out: its names are unlinked before it does.
    a_job_with_a_stuck_writer_is_erased_when_killed_before_the_early_sweep:
        DeleteStuck, ["write-begins:9=hold sweep-begins=kill"] => Erased("cancelled");
    a_job_with_a_stuck_writer_is_erased_when_killed_in_the_middle_of_the_early_sweep:
        DeleteStuck, ["write-begins:9=hold file-unlinked:3=kill"] => Erased("cancelled");
    a_job_with_a_stuck_writer_is_erased_when_killed_after_the_early_sweep:
        DeleteStuck, ["write-begins:9=hold sweep-ends=kill"] => Erased("cancelled");

    // DELETE of a failed job.
    a_failed_job_is_erased_when_killed_after_the_marks_commit:
        DeleteFailed, ["mark-committed=kill"] => Erased("deleted");
    a_failed_job_is_erased_when_killed_between_the_rename_to_trash_and_its_sync:
        DeleteFailed, ["renamed-to-trash=kill"] => Erased("deleted");
    a_failed_job_is_erased_when_killed_after_the_rename_to_trash:
        DeleteFailed, ["moved-to-trash=kill"] => Erased("deleted");
    a_failed_job_is_erased_when_killed_after_the_202:
        DeleteFailed, ["sweep-begins=hold"] => Erased("deleted");
    a_failed_job_is_erased_when_killed_between_unlink_and_rmdir:
        DeleteFailed, ["file-unlinked=kill"] => Erased("deleted");
    a_failed_job_is_erased_when_killed_between_the_rmdir_and_its_sync:
        DeleteFailed, ["directory-removed=kill"] => Erased("deleted");
    a_failed_job_has_one_receipt_when_killed_before_the_erasures_commit:
        DeleteFailed, ["receipt-appended=kill"] => Erased("deleted");

    // Expiry, of several jobs at once.
    an_expiry_is_begun_again_when_killed_before_its_mark_is_flushed:
        Expire, ["batch-applied=kill"] => Erased("expired");
    expired_jobs_are_erased_when_killed_after_the_marks_commit:
        Expire, ["mark-committed=kill"] => Erased("expired");
    expired_jobs_are_erased_when_killed_between_their_renames_to_trash:
        Expire, ["renamed-to-trash:2=kill"] => Erased("expired");
    expired_jobs_are_erased_when_killed_after_their_renames_to_trash:
        Expire, ["moved-to-trash=kill"] => Erased("expired");
    expired_jobs_are_erased_when_killed_between_two_rmdirs:
        Expire, ["directory-removed:2=kill"] => Erased("expired");
    expired_jobs_have_one_receipt_each_when_killed_before_the_receipt:
        Expire, ["sweep-ends=kill"] => Erased("expired");
    expired_jobs_have_one_receipt_each_when_killed_before_an_erasures_commit:
        Expire, ["receipt-appended=kill"] => Erased("expired");
    expired_jobs_have_one_receipt_each_when_killed_after_an_erasures_sync:
        Expire, ["receipt-appended>log-synced=kill"] => Erased("expired");

    // A kick-off.
    a_directory_without_a_request_is_an_orphan:
        Export, ["directory-made=kill"] => Erased("orphan");
    a_directory_with_half_a_request_is_an_orphan:
        Export, ["document-written=kill"] => Erased("orphan");
    a_directory_with_a_request_and_no_record_is_an_orphan:
        Export, ["document-renamed=kill"] => Erased("orphan");
    a_kickoff_that_was_never_acknowledged_leaves_no_directory_behind:
        Export, ["directory-created=kill"] => Erased("orphan");
    a_kickoff_killed_before_its_record_is_flushed_was_never_promised:
        Export, ["batch-applied=kill"] => Untold("orphan");
    a_job_is_exported_when_killed_between_its_first_flush_and_its_sync:
        Export, ["log-flushed=kill"] => Complete;
    a_job_is_exported_when_killed_after_its_first_sync:
        Export, ["log-synced=kill"] => Complete;
    a_job_is_exported_when_killed_after_its_first_publication:
        Export, ["published=kill"] => Complete;
    a_job_is_exported_when_killed_after_its_first_commit:
        Export, ["queued-committed=kill"] => Complete;

    // The run of an export.
    a_job_is_exported_when_killed_with_half_a_plan:
        Export, ["document-written:2=kill"] => Complete;
    a_job_is_exported_when_killed_between_the_plans_rename_and_its_sync:
        Export, ["document-renamed:2=kill"] => Complete;
    a_job_is_exported_when_killed_after_its_plan:
        Export, ["plan-written=kill"] => Complete;
    a_job_is_exported_when_killed_before_its_start_is_flushed:
        Export, ["plan-written>batch-applied=kill"] => Complete;
    a_job_is_exported_when_killed_after_its_start_is_committed:
        Export, ["plan-written>log-synced=kill"] => Complete;
    a_job_is_exported_when_killed_with_an_empty_file:
        Export, ["write-begins=kill"] => Complete;
    a_job_is_exported_when_killed_in_the_middle_of_a_file:
        Export, ["write-begins:30=kill"] => Complete;
    a_job_is_exported_when_killed_before_a_file_is_synced:
        Export, ["output-written:4=kill"] => Complete;
    a_job_is_exported_when_killed_between_the_syncs_of_file_and_directory:
        Export, ["output-synced:4=kill"] => Complete;
    a_job_is_exported_when_killed_before_a_part_is_recorded:
        Export, ["output-synced>directory-synced:4=kill"] => Complete;
    a_job_is_exported_when_killed_before_a_parts_record_is_flushed:
        Export, ["directory-synced>batch-applied:3=kill"] => Complete;
    a_job_is_exported_when_killed_between_a_parts_flush_and_its_sync:
        Export, ["directory-synced>log-flushed:3=kill"] => Complete;
    a_job_is_exported_when_killed_after_a_parts_sync:
        Export, ["directory-synced>log-synced:3=kill"] => Complete;
    a_job_is_exported_when_killed_after_some_of_its_parts:
        Export, ["part-sealed:5=kill"] => Complete;

    // A completion.
    a_job_is_complete_when_killed_with_half_a_job_json:
        Export, ["document-written:3=kill"] => Complete;
    a_job_is_complete_when_killed_between_the_rename_of_job_json_and_its_sync:
        Export, ["document-renamed:3=kill"] => Complete;
    a_job_is_complete_when_killed_between_seal_and_rename:
        Export, ["job-json-written=kill"] => Complete;
    a_job_is_complete_when_killed_between_the_rename_to_ready_and_its_sync:
        Export, ["renamed-to-ready=kill"] => Complete;
    a_job_is_complete_when_killed_between_the_syncs_of_ready_and_building:
        Export, ["ready-synced=kill"] => Complete;
    a_job_is_complete_when_killed_between_rename_and_commit:
        Export, ["moved-to-ready=kill"] => Complete;
    a_job_is_complete_when_killed_before_its_completion_is_flushed:
        Export, ["moved-to-ready>batch-applied=kill"] => Complete;
    a_job_is_complete_when_killed_between_its_completions_flush_and_its_sync:
        Export, ["moved-to-ready>log-flushed=kill"] => Complete;
    a_job_is_complete_when_killed_before_its_completion_is_published:
        Export, ["moved-to-ready>log-synced=kill"] => Complete;
    a_job_is_complete_when_killed_after_its_completion_is_published:
        Export, ["moved-to-ready>published=kill"] => Complete;

    // A failure: where it is not on disk yet the next process exports the job.
    a_failing_job_is_exported_when_killed_after_its_parts_were_stopped:
        Fail, ["parts-stopped=kill"] => Complete;
    a_failing_job_is_exported_when_killed_with_half_a_job_json:
        Fail, ["document-written:3=kill"] => Complete;
    a_failing_job_has_failed_when_killed_between_the_rename_of_job_json_and_its_sync:
        Fail, ["document-renamed:3=kill"] => Failed;
    a_failing_job_has_failed_when_killed_before_the_commit:
        Fail, ["job-json-written=kill"] => Failed;
    a_failing_job_has_failed_when_killed_before_the_commit_is_flushed:
        Fail, ["job-json-written>batch-applied=kill"] => Failed;
    a_failing_job_has_failed_when_killed_between_the_commits_flush_and_its_sync:
        Fail, ["job-json-written>log-flushed=kill"] => Failed;
    a_failing_job_has_failed_when_killed_after_the_publication:
        Fail, ["job-json-written>published=kill"] => Failed;
    a_failed_job_leaves_no_file_when_killed_after_the_last_one_is_out:
        Fail, ["last-one-out=kill"] => Failed;
    a_failed_job_leaves_no_file_when_killed_in_the_middle_of_the_unlinks:
        Fail, ["file-unlinked:2=kill"] => Failed;
    a_failed_job_leaves_no_file_when_killed_again_in_the_middle_of_the_unlinks:
        Fail, ["file-unlinked:2=kill", "file-unlinked=kill"] => Failed;

    // Killed again during the recovery.
    a_complete_job_is_erased_through_a_kill_at_every_step_of_its_deletion:
        DeleteComplete, ["mark-committed=kill", "moved-to-trash=kill", "last-one-out=kill", "sweep-begins=kill",
                         "file-unlinked:3=kill", "directory-removed=kill", "sweep-ends=kill",
                         "receipt-appended=kill", "sweep-begins=kill"] => Erased("deleted");
    a_cancelled_job_is_erased_through_two_kills_before_its_rename:
        DeleteRunning, ["mark-committed=kill", "renamed-to-trash=kill"] => Erased("cancelled");
    a_cancelled_job_is_erased_through_two_kills_among_its_unlinks:
        DeleteRunning, ["file-unlinked:2=kill", "file-unlinked:2=kill"] => Erased("cancelled");
    a_cancelled_job_has_one_receipt_through_two_kills_about_its_receipt:
        DeleteRunning, ["sweep-ends=kill", "receipt-appended=kill"] => Erased("cancelled");
    an_orphan_is_erased_through_kills_of_its_erasure:
        Export, ["directory-created=kill", "batch-applied=kill", "mark-committed=kill", "renamed-to-trash=kill",
                 "file-unlinked=kill", "receipt-appended=kill"] => Erased("orphan");
    a_job_is_exported_through_a_kill_at_every_step:
        Export, ["queued-committed=kill", "document-written=kill", "plan-written=kill", "part-sealed:2=kill",
                 "partials-removed=kill", "part-sealed:3=kill", "output-synced=kill", "log-flushed:2=kill",
                 "document-written=kill", "document-renamed=kill", "job-json-written=kill",
                 "renamed-to-ready=kill"] => Complete;
    a_resumed_job_is_exported_when_killed_among_its_partial_files:
        Export, ["output-written:9=kill", "file-unlinked=kill", "partials-removed=kill"] => Complete;
    a_resumed_job_is_exported_when_killed_before_a_part_is_recorded:
        Export, ["part-sealed:5=kill", "partials-removed>directory-synced=kill",
                 "partials-removed>part-sealed=kill"] => Complete;
}

#[test]
fn nothing_of_a_deletion_is_shown_before_it_is_durable_twice() {
    let steps = ["batch-applied", "log-flushed", "log-synced", "mark-committed", "renamed-to-trash"];
    for step in steps.into_iter().chain(["trash-synced", "moved-to-trash"]) {
        let mut scene = Scene::set(DeleteComplete, Untold("deleted"));
        let server = scene.hold(&format!("{step}=hold"), false);
        assert_eq!(get(&polling_url(&server, &scene.id)).status, 200, "{step}");
    }
}

#[test]
fn every_step_is_in_a_row() {
    let rows = [ROWS, joins::ROWS, ballast::ROWS, epochs::ROWS].concat();
    let steps = rows.iter().flat_map(|row| row.split(' ')).map(|breakpoint| {
        let place = breakpoint.split('=').next().unwrap();
        place.rsplit('>').next().unwrap().split(':').next().unwrap()
    });
    let covered: BTreeSet<_> = steps.map(String::from).collect();
    // A download changes nothing on disk; `tests/races` stops at its steps.
    let changes = |step: &&HookStep| !matches!(step, HookStep::DownloadRegistered | HookStep::DownloadOpened);
    let all = HookStep::value_variants().iter().filter(changes).map(|step| step.to_possible_value().unwrap());
    assert_eq!(covered, all.map(|step| step.get_name().to_string()).collect());
}
