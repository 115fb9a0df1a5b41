//! SIGKILL in the join at a start, for each kind of disagreement between the witnesses: what a
//! killed process leaves, and what a store that has lost its tail, or somebody's hand, makes
//! of it (P1, P5, P7, P11; the table of `erase::reconcile`).

use super::deeds::Deed::*;
use super::deeds::End::*;
use super::deeds::{Deed, End, Scene, before, breakpoints};
use crate::support::run_to_death;

/// Something is done to the data directory while nobody runs.
type Tampering = fn(&Scene);

fn nothing(_: &Scene) {}

/// The store has lost everything since the deed began.
fn store_lost(scene: &Scene) {
    before().put_store_back(&scene.machine.setup);
}

/// So it has, and the files of the victim are there again.
fn store_lost_and_files_back(scene: &Scene) {
    store_lost(scene);
    before().put_victim_back(&scene.machine.setup);
}

/// The rename to `ready/` is lost.
fn rename_lost(scene: &Scene) {
    let place = |place| scene.machine.setup.data_dir().join(place).join(&scene.id);
    std::fs::rename(place("ready"), place("building")).unwrap();
}

/// Somebody has removed the directory.
fn directory_lost(scene: &Scene) {
    std::fs::remove_dir_all(scene.machine.setup.data_dir().join("ready").join(&scene.id)).unwrap();
}

/// A row: the deed and the kill that end in a disagreement, what is done by hand then, the
/// kill of each start in turn, all of them in the join, and the end.
macro_rules! joins {
    ($($name:ident: $deed:expr, $first:literal, $by_hand:expr, [$($kill:literal),+] => $end:expr;)+) => {
        $(#[test] fn $name() { join($deed, $first, $by_hand, &[$($kill),+], $end); })+
        pub const ROWS: &[&str] = &[$($first, $($kill),+),+];
    };
}

fn join(deed: Deed, first: &str, by_hand: Tampering, kills: &[&str], end: End) {
    let mut scene = Scene::set(deed, end);
    scene.act(first);
    by_hand(&scene);
    for kill in kills {
        run_to_death(&scene.machine.setup, &breakpoints(kill));
    }
    scene.check(end);
}

joins! {
    a_directory_that_nobody_was_told_of_is_an_orphan_through_kills_of_the_join:
        Export, "directory-created=kill", nothing,
        ["join-begins=kill", "join-decided=kill", "join-committed=kill", "join-moved=kill",
         "join-ends=kill"] => Erased("orphan");
    an_interrupted_export_is_resumed_through_kills_of_the_join:
        Export, "part-sealed:5=kill", nothing,
        ["join-begins=kill", "directory-synced:2=kill", "join-decided=kill", "join-committed=kill",
         "join-moved=kill", "join-ends=kill"] => Complete;
    an_interrupted_export_is_resumed_through_kills_of_the_join_when_the_store_has_lost_it:
        Export, "part-sealed:5=kill", store_lost,
        ["join-decided=kill", "join-decided>batch-applied=kill", "join-decided>log-flushed=kill",
         "join-committed=kill", "join-ends=kill"] => Complete;
    a_failure_is_settled_through_kills_of_the_join:
        Fail, "job-json-written=kill", nothing,
        ["join-begins=kill", "join-decided=kill", "join-decided>batch-applied=kill",
         "join-decided>log-flushed=kill", "join-committed=kill", "join-ends=kill"] => Failed;
    a_completion_is_rolled_forward_through_kills_of_the_join:
        Export, "moved-to-ready=kill", nothing,
        ["join-begins=kill", "join-decided=kill", "join-decided>batch-applied=kill",
         "join-decided>log-synced=kill", "join-committed=kill", "join-ends=kill"] => Complete;
    a_completion_whose_rename_was_lost_is_renamed_again_through_kills_of_the_join:
        Start, "join-ends=kill", rename_lost,
        ["join-begins=kill", "join-begins>renamed-to-ready=kill", "join-decided=kill",
         "join-ends=kill"] => Complete;
    a_job_whose_directory_was_removed_is_marked_lost_through_kills_of_the_join:
        Start, "join-ends=kill", directory_lost,
        ["join-begins=kill", "join-decided=kill", "join-decided>batch-applied=kill",
         "join-decided>log-flushed=kill", "join-committed=kill", "join-moved=kill",
         "join-ends=kill"] => Erased("lost");
    a_mark_is_carried_out_through_kills_of_the_join:
        DeleteComplete, "mark-committed=kill", nothing,
        ["join-begins=kill", "join-decided=kill", "join-committed=kill", "join-committed>renamed-to-trash=kill",
         "join-moved=kill", "join-ends=kill"] => Erased("deleted");
    a_mark_is_carried_out_through_kills_of_the_join_when_the_store_has_lost_it:
        DeleteComplete, "moved-to-trash=kill", store_lost,
        ["join-begins=kill", "join-decided>batch-applied=kill", "join-decided>log-flushed=kill",
         "join-moved=kill", "join-ends=kill"] => Erased("recovered");
    an_erasure_is_recorded_through_kills_of_the_join:
        DeleteComplete, "receipt-appended=kill", nothing,
        ["join-begins=kill", "join-decided>batch-applied=kill", "join-decided>log-flushed=kill",
         "join-moved=kill", "join-ends=kill"] => Erased("deleted");
    an_erasure_holds_through_kills_of_the_join_when_the_store_has_lost_it_and_the_files_are_back:
        DeleteComplete, "receipt-appended>published=kill", store_lost_and_files_back,
        ["join-begins=kill", "join-decided>log-flushed=kill", "join-committed>renamed-to-trash=kill",
         "join-moved=kill", "join-moved>file-unlinked:3=kill", "join-moved>directory-removed=kill",
         "join-ends=kill"] => Erased("deleted");
}
