//! SIGKILL at each named step of a deletion, a completion and a kick-off, also while the
//! process recovers from the one before (P1, P2, P5, P6, P9, P11). A new step is one row.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;

use super::{
    Exported, assert_disk_equals_store, assert_erased, assert_receipts, polling_url, run_to_death,
    wait_settled,
};
use crate::support::{KICKOFF, PATIENCE, Server, Setup, eventually, get, job_id, try_send};

/// What the client does to the server that is going to be killed.
#[derive(Clone, Copy, PartialEq)]
enum Deed {
    /// DELETE of a complete job.
    DeleteComplete,
    /// DELETE of a job that has written a tenth of its files, beside another that runs on.
    DeleteRunning,
    /// DELETE of a job that is held between its rename to `ready/` and the commit.
    DeleteFinishing,
    /// An export of everything.
    Export,
}

/// What becomes of the job.
#[derive(Clone, Copy)]
enum End {
    /// Gone, with one receipt of this reason.
    Erased(&'static str),
    /// Complete, with all that the source has.
    Complete,
}
use Deed::*;
use End::*;

/// A row: the deed; the breakpoints of each process in turn, of which the last one is reached;
/// the end. `hold` means that the client gets its 202 and then kills the process itself.
macro_rules! crashes {
    ($($name:ident: $deed:expr, [$($kill:literal),+] => $end:expr;)+) => {
        $(#[test] fn $name() { crash($deed, &[$($kill),+], $end); })+
    };
}

crashes! {
    // DELETE of a complete job.
    a_complete_job_is_erased_when_killed_after_the_marks_commit:
        DeleteComplete, ["mark-committed=kill"] => Erased("deleted");
    a_complete_job_is_erased_when_killed_after_the_rename_to_trash:
        DeleteComplete, ["moved-to-trash=kill"] => Erased("deleted");
    a_complete_job_is_erased_when_killed_after_the_202:
        DeleteComplete, ["sweep-begins=hold"] => Erased("deleted");
    a_complete_job_is_erased_when_killed_in_the_middle_of_the_unlinks:
        DeleteComplete, ["file-unlinked:3=kill"] => Erased("deleted");
    a_complete_job_is_erased_when_killed_before_the_receipt:
        DeleteComplete, ["sweep-ends=kill"] => Erased("deleted");
    a_complete_job_has_one_receipt_when_killed_before_the_erasures_commit:
        DeleteComplete, ["receipt-appended=kill"] => Erased("deleted");

    // DELETE of a running job.
    a_cancelled_job_is_erased_when_killed_before_the_rename:
        DeleteRunning, ["mark-committed=kill"] => Erased("cancelled");
    a_cancelled_job_is_erased_when_killed_after_the_rename_to_trash:
        DeleteRunning, ["moved-to-trash=kill"] => Erased("cancelled");
    a_cancelled_job_is_erased_when_killed_after_the_202:
        DeleteRunning, ["sweep-begins=hold"] => Erased("cancelled");
    a_cancelled_job_is_erased_when_killed_in_the_middle_of_the_unlinks:
        DeleteRunning, ["file-unlinked:3=kill"] => Erased("cancelled");
    a_cancelled_job_is_erased_when_killed_before_the_receipt:
        DeleteRunning, ["sweep-ends=kill"] => Erased("cancelled");
    a_cancelled_job_has_one_receipt_when_killed_before_the_erasures_commit:
        DeleteRunning, ["receipt-appended=kill"] => Erased("cancelled");

    // DELETE while the completion is between its rename and its commit.
    a_job_cancelled_while_finishing_is_erased_when_killed_after_the_202:
        DeleteFinishing, ["moved-to-ready=hold"] => Erased("cancelled");
    a_job_cancelled_while_finishing_is_erased_when_killed_after_the_marks_commit:
        DeleteFinishing, ["moved-to-ready=hold mark-committed=kill"] => Erased("cancelled");
    a_job_cancelled_while_finishing_is_erased_when_killed_after_the_rename_to_trash:
        DeleteFinishing, ["moved-to-ready=hold moved-to-trash=kill"] => Erased("cancelled");

    // A kick-off, an export, a completion.
    a_kickoff_that_was_never_acknowledged_leaves_no_directory_behind:
        Export, ["directory-created=kill"] => Erased("orphan");
    a_job_is_exported_when_killed_after_its_first_commit:
        Export, ["queued-committed=kill"] => Complete;
    a_job_is_exported_when_killed_after_its_plan:
        Export, ["plan-written=kill"] => Complete;
    a_job_is_exported_when_killed_after_some_of_its_parts:
        Export, ["part-sealed:5=kill"] => Complete;
    a_job_is_complete_when_killed_between_seal_and_rename:
        Export, ["job-json-written=kill"] => Complete;
    a_job_is_complete_when_killed_between_rename_and_commit:
        Export, ["moved-to-ready=kill"] => Complete;

    // Killed again during the recovery.
    a_complete_job_is_erased_through_a_kill_at_every_step_of_its_deletion:
        DeleteComplete, ["mark-committed=kill", "moved-to-trash=kill", "sweep-begins=kill", "file-unlinked:3=kill",
                         "sweep-ends=kill", "receipt-appended=kill", "sweep-begins=kill"] => Erased("deleted");
    a_cancelled_job_is_erased_through_two_kills_before_its_rename:
        DeleteRunning, ["mark-committed=kill", "moved-to-trash=kill"] => Erased("cancelled");
    a_cancelled_job_is_erased_through_two_kills_among_its_unlinks:
        DeleteRunning, ["file-unlinked:2=kill", "file-unlinked:2=kill"] => Erased("cancelled");
    a_cancelled_job_has_one_receipt_through_two_kills_about_its_receipt:
        DeleteRunning, ["sweep-ends=kill", "receipt-appended=kill"] => Erased("cancelled");
    an_orphan_is_erased_through_kills_of_its_erasure:
        Export, ["directory-created=kill", "mark-committed=kill", "file-unlinked=kill",
                 "receipt-appended=kill"] => Erased("orphan");
    a_job_is_exported_through_a_kill_at_every_step:
        Export, ["queued-committed=kill", "plan-written=kill", "part-sealed:2=kill", "part-sealed:3=kill",
                 "job-json-written=kill", "job-json-written=kill", "moved-to-ready=kill"] => Complete;
}

/// Bytes a second of a server whose exports should still run when something happens to them.
const SLOW: &str = "export.max_bytes_per_second=1000000";

fn crash(deed: Deed, kills: &[&str], end: End) {
    let mut setup = Setup::new().set("export.part_bytes=65536").set("reaper.watch=false");
    if matches!(end, Erased("orphan")) {
        setup = setup.set("retention.orphan_grace=0s").set("reaper.interval=50ms");
    }
    // What nobody deletes must stay as it is.
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient,Group");
    let bystander = Exported::of(&polling, &manifest);
    let victim = (deed == DeleteComplete).then(|| {
        let (polling, manifest) = server.export("$export");
        Exported::of(&polling, &manifest)
    });
    server.kill();

    let (first, later) = kills.split_first().unwrap();
    let (id, neighbour) = do_and_die(&setup, deed, first, victim.as_ref());
    for kill in later {
        run_to_death(&setup, &breakpoints(kill));
    }

    let server = setup.start();
    let mut complete = BTreeSet::from([bystander.id.clone()]);
    let mut erased = BTreeSet::new();
    match end {
        Erased("orphan") => {
            setup.disk().wait_gone(&id);
            assert_eq!(setup.receipt(&id)["reason"], "orphan");
            // Nobody was told of it: to every client it is unknown (P10).
            let answer = get(&polling_url(&server, &id));
            assert_eq!(answer.outcome(), (404, "not-found".into()));
            erased.insert(id);
        }
        Erased(reason) => {
            let files = victim.map(|victim| victim.files).unwrap_or_default();
            let receipt = assert_erased(&setup, &server, &id, &files, &[reason]);
            assert!(receipt["by"].is_string() && receipt["request_id"].is_string(), "{receipt}");
            erased.insert(id);
        }
        Complete => {
            let job = Exported::wait(&server, &id);
            job.assert_is_the_source(&setup.source, |_| true);
            complete.insert(id);
        }
    }
    if let Some(neighbour) = neighbour {
        Exported::wait(&server, &neighbour).assert_is_the_source(&setup.source, |_| true);
        complete.insert(neighbour);
    }
    bystander.assert_intact(&server);
    wait_settled(&setup, &server, &complete);
    server.kill();
    assert_receipts(&setup, &erased);
    assert_disk_equals_store(&setup);
}

fn breakpoints(text: &str) -> Vec<&str> {
    text.split(' ').flat_map(|breakpoint| ["--breakpoint", breakpoint]).collect()
}

/// Does the deed to a server with these breakpoints and sees it die. Gives the id of the job
/// that is concerned, and of another one that was running.
fn do_and_die(
    setup: &Setup,
    deed: Deed,
    breaks: &str,
    victim: Option<&Exported>,
) -> (String, Option<String>) {
    let mut arguments = breakpoints(breaks);
    if deed == DeleteRunning {
        arguments.extend(["--set", SLOW]);
    }
    let server = setup.start_with(&arguments);
    let dies_by_itself = breaks.contains("=kill");
    match deed {
        DeleteComplete => {
            let id = victim.unwrap().id.clone();
            delete_and_die(server, &id, dies_by_itself);
            (id, None)
        }
        DeleteRunning => {
            let neighbour = server.kickoff("$export");
            let polling = server.kickoff("$export");
            server.wait_halfway(&polling);
            let id = job_id(&polling).to_string();
            delete_and_die(server, &id, dies_by_itself);
            (id, Some(job_id(&neighbour).into()))
        }
        DeleteFinishing => {
            let id = job_id(&server.kickoff("$export")).to_string();
            let in_ready = || setup.disk().jobs("ready").contains(&id).then_some(());
            eventually("the rename to ready", in_ready);
            delete_and_die(server, &id, dies_by_itself);
            (id, None)
        }
        Export => {
            let before: BTreeSet<_> = setup.disk().jobs("ready").into_iter().collect();
            let answer = try_send("GET", &format!("{}/$export", server.base), &KICKOFF);
            wait_killed(server);
            // The answer may have been lost: the disk knows the job's id.
            let disk = setup.disk();
            let ids = ["building", "ready"].iter().flat_map(|place| disk.jobs(place));
            let ids: Vec<_> = ids.filter(|id| !before.contains(id)).collect();
            let [id] = &ids[..] else { panic!("one new job expected: {ids:?}") };
            if let Ok(answer) = answer {
                assert_eq!((answer.status, job_id(answer.header("content-location"))), (202, id.as_str()));
            }
            (id.clone(), None)
        }
    }
}

fn delete_and_die(server: Server, id: &str, dies_by_itself: bool) {
    let answer = try_send("DELETE", &polling_url(&server, id), &[]);
    if dies_by_itself {
        if let Ok(answer) = answer {
            assert_eq!(answer.outcome(), (202, "processing".into()));
        }
        wait_killed(server);
    } else {
        assert_eq!(answer.unwrap().outcome(), (202, "processing".into()));
        server.kill();
    }
}

/// The process dies of SIGKILL by itself.
fn wait_killed(mut server: Server) {
    let status = server.wait_exit();
    assert_eq!(status.signal(), Some(9), "within {PATIENCE:?}: {status:?}");
}
