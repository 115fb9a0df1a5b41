//! Power loss at each step: the process is held there, the image of its disk is copied and a
//! server is started on the copy. Before that the witnesses on it are read by themselves: none
//! may be behind what was acknowledged, nor where no crash can have brought it (P1, P5, P6,
//! P9, P11; the table of `erase::reconcile`).

use evanesce::erase::reconcile::JobTestimony;
use evanesce::job::StateName;

use super::deeds::Deed::*;
use super::deeds::End::*;
use super::deeds::{Deed, End, Scene, before, breakpoints, comes_after_202};
use super::machine::Machine;
use super::witnesses::witnesses;
use crate::support::{copy_folder, run_to_death};

/// The store's log when the deed begins. A sync of one file often makes another durable as
/// well: with the one a missing sync of the log is seen, with the other that of a directory.
#[derive(Clone, Copy, PartialEq)]
enum Log {
    /// New: it grows with every batch, and its sync takes all names along.
    Grows,
    /// Opened again: it is padded to its next 512 KiB, and its sync takes nothing along.
    IsPadded,
}

/// A row: the deed; processes that are killed; the step where the last one is held when the
/// power goes; the end.
macro_rules! losses {
    ($log:expr; $($name:ident: $deed:expr, [$($breaks:literal),+] => $end:expr;)+) => {
        $(#[test] fn $name() { lose_power($log, $deed, &[$($breaks),+], $end); })+
    };
}

losses! {
    Log::Grows;
    // DELETE of a complete job.
    a_deletion_is_all_or_nothing_when_the_power_goes_before_its_mark_is_flushed:
        DeleteComplete, ["join-ends>batch-applied=hold"] => Untold("deleted");
    a_deletion_is_all_or_nothing_when_the_power_goes_between_the_marks_flush_and_its_sync:
        DeleteComplete, ["join-ends>log-flushed=hold"] => Untold("deleted");
    a_deletion_holds_when_the_power_goes_after_the_marks_sync:
        DeleteComplete, ["join-ends>log-synced=hold"] => Erased("deleted");
    a_deletion_holds_when_the_power_goes_between_the_rename_to_trash_and_its_sync:
        DeleteComplete, ["renamed-to-trash=hold"] => Erased("deleted");
    a_deletion_holds_when_the_power_goes_between_the_syncs_of_trash_and_ready:
        DeleteComplete, ["trash-synced=hold"] => Erased("deleted");
    a_deletion_holds_when_the_power_goes_after_the_rename_to_trash:
        DeleteComplete, ["moved-to-trash=hold"] => Erased("deleted");
    a_deletion_holds_when_the_power_goes_between_the_publication_and_the_202:
        DeleteComplete, ["mark-committed>published=hold"] => Erased("deleted");
    a_deletion_holds_when_the_power_goes_after_the_202:
        DeleteComplete, ["acknowledged=hold"] => Erased("deleted");
    a_deletion_holds_when_the_power_goes_before_the_sweep:
        DeleteComplete, ["sweep-begins=hold"] => Erased("deleted");
    a_deletion_holds_when_the_power_goes_in_the_middle_of_the_unlinks:
        DeleteComplete, ["file-unlinked:3=hold"] => Erased("deleted");
    a_deletion_holds_when_the_power_goes_between_the_rmdir_and_its_sync:
        DeleteComplete, ["directory-removed=hold"] => Erased("deleted");
    a_deletion_holds_when_the_power_goes_before_the_receipt:
        DeleteComplete, ["sweep-ends=hold"] => Erased("deleted");
    an_erasure_has_one_receipt_when_the_power_goes_between_the_receipts_write_and_its_sync:
        DeleteComplete, ["receipt-written=hold"] => Erased("deleted");
    an_erasure_has_one_receipt_when_the_power_goes_before_its_commit:
        DeleteComplete, ["receipt-appended=hold"] => Erased("deleted");
    an_erasure_has_one_receipt_when_the_power_goes_between_its_flush_and_its_sync:
        DeleteComplete, ["receipt-appended>log-flushed=hold"] => Erased("deleted");
    an_erasure_has_one_receipt_when_the_power_goes_after_its_commit:
        DeleteComplete, ["receipt-appended>published=hold"] => Erased("deleted");

    // DELETE of a running, a finishing and a failed job; expiry.
    a_cancellation_holds_when_the_power_goes_between_the_rename_to_trash_and_its_sync:
        DeleteRunning, ["renamed-to-trash=hold"] => Erased("cancelled");
    a_cancellation_holds_when_the_power_goes_after_the_202:
        DeleteRunning, ["acknowledged=hold"] => Erased("cancelled");
    a_cancellation_holds_when_the_power_goes_before_the_receipt:
        DeleteRunning, ["sweep-ends=hold"] => Erased("cancelled");
    a_deletion_of_a_failed_job_holds_when_the_power_goes_after_the_rename_to_trash:
        DeleteFailed, ["moved-to-trash=hold"] => Erased("deleted");
    an_expiry_holds_when_the_power_goes_between_two_renames_to_trash:
        Expire, ["renamed-to-trash:2=hold"] => Erased("expired");
    an_expiry_holds_when_the_power_goes_between_two_rmdirs:
        Expire, ["directory-removed:2=hold"] => Erased("expired");

    // A kick-off.
    a_kickoff_is_all_or_nothing_when_the_power_goes_before_its_request_is_written:
        Export, ["directory-made=hold"] => Untold("orphan");
    a_kickoff_is_all_or_nothing_when_the_power_goes_before_its_directory_is_synced:
        Export, ["document-renamed=hold"] => Untold("orphan");
    a_kickoff_is_all_or_nothing_when_the_power_goes_before_its_record_is_flushed:
        Export, ["join-ends>batch-applied=hold"] => Untold("orphan");
    a_kickoff_is_all_or_nothing_when_the_power_goes_between_its_flush_and_its_sync:
        Export, ["join-ends>log-flushed=hold"] => Untold("orphan");
    a_job_is_exported_when_the_power_goes_after_its_first_sync:
        Export, ["join-ends>log-synced=hold"] => Complete;
    a_job_is_exported_when_the_power_goes_before_the_202:
        Export, ["queued-committed=hold"] => Complete;

}

losses! {
    Log::IsPadded;
    // The run of an export, a completion.
    a_job_is_exported_when_the_power_goes_with_half_a_plan:
        Export, ["document-written:2=hold"] => Complete;
    a_job_is_exported_when_the_power_goes_between_the_plans_rename_and_its_sync:
        Export, ["document-renamed:2=hold"] => Complete;
    a_job_is_exported_when_the_power_goes_between_its_starts_flush_and_its_sync:
        Export, ["plan-written>log-flushed=hold"] => Complete;
    a_job_is_exported_when_the_power_goes_before_a_file_is_synced:
        Export, ["output-written:4=hold"] => Complete;
    a_job_is_exported_when_the_power_goes_between_the_syncs_of_file_and_directory:
        Export, ["output-synced:4=hold"] => Complete;
    a_job_is_exported_when_the_power_goes_between_a_parts_flush_and_its_sync:
        Export, ["directory-synced>log-flushed:3=hold"] => Complete;
    a_job_is_exported_when_the_power_goes_after_some_of_its_parts:
        Export, ["part-sealed:9=hold"] => Complete;
    a_job_is_complete_when_the_power_goes_between_the_rename_of_job_json_and_its_sync:
        Export, ["document-renamed:3=hold"] => Complete;
    a_job_is_complete_when_the_power_goes_between_the_rename_to_ready_and_its_sync:
        Export, ["renamed-to-ready=hold"] => Complete;
    a_job_is_complete_when_the_power_goes_between_the_syncs_of_ready_and_building:
        Export, ["ready-synced=hold"] => Complete;
    a_job_is_complete_when_the_power_goes_between_rename_and_commit:
        Export, ["moved-to-ready=hold"] => Complete;
    a_job_is_complete_when_the_power_goes_between_its_completions_flush_and_its_sync:
        Export, ["moved-to-ready>log-flushed=hold"] => Complete;
    a_job_is_complete_when_the_power_goes_before_its_completion_is_published:
        Export, ["moved-to-ready>log-synced=hold"] => Complete;

    // A failure.
    a_job_has_failed_when_the_power_goes_before_the_commit:
        Fail, ["job-json-written=hold"] => Failed;
    a_job_has_failed_when_the_power_goes_after_the_commit:
        Fail, ["job-json-written>log-synced=hold"] => Failed;
    a_failed_job_leaves_no_file_when_the_power_goes_in_the_middle_of_the_unlinks:
        Fail, ["file-unlinked:2=hold"] => Failed;

    // What a killed process left is not durable yet when the next one believes it.
    a_mark_that_was_believed_holds_when_the_power_goes_after_the_join:
        DeleteComplete, ["log-flushed=kill", "join-ends=hold"] => Erased("deleted");
    a_rename_to_trash_that_was_believed_holds_when_the_power_goes_after_the_join:
        DeleteComplete, ["renamed-to-trash=kill", "join-ends=hold"] => Erased("deleted");
    a_completion_that_was_believed_holds_when_the_power_goes_after_the_join:
        Export, ["renamed-to-ready=kill", "join-ends=hold"] => Complete;
    a_completion_that_was_believed_holds_when_the_power_goes_in_the_middle_of_the_join:
        Export, ["moved-to-ready=kill", "join-decided>log-flushed=hold"] => Complete;
    an_erasure_that_was_believed_holds_when_the_power_goes_after_the_join:
        DeleteComplete, ["directory-removed=kill", "receipt-appended=hold"] => Erased("deleted");
    a_resumed_job_is_exported_when_the_power_goes_after_its_partial_files_went:
        Export, ["part-sealed:5=kill", "partials-removed=hold"] => Complete;
    a_resumed_job_is_exported_when_the_power_goes_after_another_part:
        Export, ["part-sealed:5=kill", "part-sealed:3=hold"] => Complete;
    a_resumed_job_is_complete_when_the_power_goes_between_rename_and_commit:
        Export, ["part-sealed:5=kill", "moved-to-ready=hold"] => Complete;
}

fn lose_power(log: Log, deed: Deed, breaks: &[&str], end: End) {
    let Some(mut machine) = Machine::new("power loss at each step") else { return };
    machine.setup.sets = Scene::settings(deed, end).sets;
    copy_folder(&before().setup.data_dir(), &machine.setup.data_dir());
    if log == Log::Grows {
        // The join makes the store again.
        std::fs::remove_dir_all(machine.setup.data_dir().join("store")).unwrap();
    }
    // The copy is ours: it shall not be lost.
    rustix::fs::syncfs(std::fs::File::open(machine.setup.data_dir()).unwrap()).unwrap();
    let mut scene = Scene::on(machine, deed);
    let (hold, kills) = breaks.split_last().unwrap();
    if let Some((first, later)) = kills.split_first() {
        scene.act(first);
        for kill in later {
            run_to_death(&scene.machine.setup, &breakpoints(kill));
        }
    }
    let server = scene.hold(hold, !kills.is_empty());
    let (scene, disk) = scene.without_power(&server);
    server.kill();
    drop(disk);
    check_witnesses(&scene, end, comes_after_202(hold));
    scene.check(end);
}

fn check_witnesses(scene: &Scene, end: End, is_promised: bool) {
    let witnesses = witnesses(&scene.machine.setup);
    let state = |job: &str| witnesses.get(job).and_then(JobTestimony::joined);
    let least = match end {
        // Nobody asked for it: its time will be over again.
        Erased("expired") => None,
        Erased(_) => Some(StateName::Marked),
        Failed => Some(StateName::Failed),
        Complete => Some(StateName::Queued),
        Untold(_) => None,
    };
    assert!(state(&scene.id) >= least, "behind what was acknowledged: {:?}", witnesses.get(&scene.id));
    let back = witnesses.get(&scene.id).is_some_and(|job| job.building.is_some() || job.ready);
    let is_promised = is_promised && matches!(end, Erased("deleted" | "cancelled"));
    assert!(!(is_promised && back), "the second witness of a 202 is missing");
    assert!(state(&before().bystander.id) >= Some(StateName::Complete), "{witnesses:?}");
    assert!(state(&before().failed) >= Some(StateName::Failed), "{witnesses:?}");
}
