//! The order of the system calls behind an acknowledged DELETE, seen by strace, and what
//! happens when the one that matters most fails (P1; DESIGN section 3, "the way of a delete").

use std::collections::BTreeSet;

use super::failing_store::assert_gives_up;
use crate::support::{
    Call, Exported, KICKOFF, Server, Setup, assert_disk_equals_store, assert_only_its_receipt_is_left,
    can_trace, delete, disturb, eventually, file_url, get, polling_url, start_traced, trace, wait_settled,
};

/// The first call after `after` that fits and succeeded.
fn find<'a>(calls: &'a [Call], after: usize, what: &str, fits: impl Fn(&Call) -> bool) -> &'a Call {
    let found = calls.iter().find(|call| call.begin > after && fits(call) && call.succeeded());
    found.unwrap_or_else(|| panic!("no {what} after line {after}"))
}

/// Traces the DELETE of a job that stands in `place` and checks the order of the calls.
fn check_order(place: &str, make: impl FnOnce(&Server) -> String) {
    let what = "the order of system calls behind a 202";
    if !can_trace(what) {
        return;
    }
    let setup = Setup::new();
    if place == "building" {
        setup.brake(200_000);
    }
    let calls = "trace=fdatasync,fsync,renameat2,unlinkat,sendto,writev,write,recvfrom,read";
    let server = start_traced(&setup, &["-e", calls]);
    let polling = make(&server);
    assert_eq!(delete(&polling).status, 202);
    let id = crate::support::job_id(&polling).to_string();
    setup.receipt(&id);
    server.kill();

    let calls = trace(&setup);
    let data = setup.data_dir();
    let request = calls
        .iter()
        .find(|call| call.text.starts_with("recvfrom(") && call.text.contains("\"DELETE "))
        .unwrap();
    let answered = |call: &&Call| {
        let sends = ["sendto(", "write(", "writev("].iter().any(|name| call.text.starts_with(name));
        sends && call.begin > request.begin && call.text.contains("\"HTTP/1.1 202")
    };
    let answer = calls.iter().find(answered).unwrap();
    let log = data.join("store/db");
    let mark = find(&calls, request.end, "fdatasync of the store", |call| call.is("fdatasync", &log));
    let to_trash = |call: &Call| {
        call.is("renameat2", &data.join(place))
            && call.is("renameat2", &data.join("trash"))
            && call.text.matches(&id).count() == 2
            && call.text.contains("RENAME_NOREPLACE")
    };
    let renamed = find(&calls, mark.end, "rename to trash", to_trash);
    let synced = |name: &str| find(&calls, renamed.end, name, |call| call.is("fsync", &data.join(name)));
    let (trash, parent) = (synced("trash"), synced(place));
    let last = trash.end.max(parent.end);
    assert!(
        last < answer.begin,
        "answered before the parents were synced:\n{trash:?}\n{parent:?}\n{answer:?}"
    );
    // Nor is there another rename of the directory before the mark is durable.
    let early = calls.iter().find(|call| call.begin < mark.end && to_trash(call));
    assert!(early.is_none(), "renamed before the mark was durable: {early:?}");
    // No output file goes before all of that is durable.
    let unlinks: Vec<_> = calls
        .iter()
        .filter(|call| call.text.starts_with("unlinkat(") && call.text.contains(".ndjson"))
        .collect();
    assert!(!unlinks.is_empty(), "the files were unlinked where nobody could see it");
    for unlink in unlinks {
        assert!(unlink.text.contains(&id), "{unlink:?}");
        assert!(unlink.begin > last, "unlinked before the deletion was durable: {unlink:?}");
    }
}

#[test]
fn the_202_of_a_complete_jobs_deletion_comes_after_mark_rename_and_both_syncs() {
    check_order("ready", |server| server.export("$export").0);
}

#[test]
fn the_202_of_a_cancellation_comes_after_mark_rename_and_both_syncs() {
    check_order("building", |server| {
        let polling = server.kickoff("$export");
        server.wait_braked(&polling);
        polling
    });
}

/// A complete job whose server is gone.
pub(super) fn complete_job(setup: &Setup, path: &str) -> Exported {
    let server = setup.start();
    let (polling, manifest) = server.export(path);
    let job = Exported::of(&polling, &manifest);
    server.kill();
    job
}

/// A DELETE of which a system call on `path` fails: no 202, exit code 70, and in the end the
/// job is erased, whether or not the client has to ask again.
fn fail_a_deletion(path: &str, inject: &str, may_be_intact: bool) {
    if !can_trace(inject) {
        return;
    }
    let setup = Setup::new();
    let job = complete_job(&setup, "$export");
    let server = setup.start();
    if !disturb(&setup, &server, path, inject) {
        return;
    }
    let url = polling_url(&server, &job.id);
    assert_gives_up(server, "DELETE", &url, &[]);
    let calls = trace(&setup);
    let failed = calls.iter().position(|call| call.result.contains("EIO")).expect("nothing was injected");
    // What failed is never tried again.
    assert_eq!(failed + 1, calls.len(), "{calls:?}");

    let server = setup.start();
    if may_be_intact && get(&polling_url(&server, &job.id)).status == 200 {
        job.assert_intact(&server);
        assert_eq!(delete(&polling_url(&server, &job.id)).status, 202);
    }
    assert_only_its_receipt_is_left(&setup, server, &job, "deleted");
}

#[test]
fn a_deletion_whose_fdatasync_fails_gets_no_202_and_leaves_no_half_state() {
    fail_a_deletion("store/db", "inject=fdatasync:error=EIO:when=1", true);
}

#[test]
fn a_deletion_whose_fsync_of_trash_fails_gets_no_202_and_is_carried_out_all_the_same() {
    fail_a_deletion("trash", "inject=fsync:error=EIO:when=1", false);
}

#[test]
fn a_kickoff_whose_directory_cannot_be_synced_gets_no_202_and_leaves_nothing() {
    if !can_trace("a failing fsync of building") {
        return;
    }
    let setup = Setup::new().set("retention.orphan_grace=0s").set("reaper.interval=50ms");
    let server = setup.start();
    if !disturb(&setup, &server, "building", "inject=fsync:error=EIO:when=1") {
        return;
    }
    let url = format!("{}/$export", server.base);
    assert_gives_up(server, "GET", &url, &KICKOFF);
    assert!(trace(&setup).iter().any(|call| call.result.contains("EIO")), "nothing was injected");

    let server = setup.start();
    wait_settled(&setup, &server, &BTreeSet::new());
    server.kill();
    assert_disk_equals_store(&setup);
}

#[test]
fn a_download_that_comes_between_rename_and_publication_is_told_that_the_job_is_deleted() {
    if !can_trace("a slow fsync of trash") {
        return;
    }
    let setup = Setup::new();
    let job = complete_job(&setup, "$export");
    let server = setup.start();
    // Microseconds that the fsync of trash takes: after the rename, before the publication.
    if !disturb(&setup, &server, "trash", "inject=fsync:delay_enter=300000") {
        return;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(delete(&polling_url(&server, &job.id)).status, 202));
        let moved = || setup.disk().jobs("trash").contains(&job.id).then_some(());
        eventually("the rename to trash", moved);
        let answer = get(&file_url(&server, &job.id, &job.files[0].0));
        assert_eq!(answer.outcome(), (404, "deleted".into()));
    });
}

#[test]
fn an_answer_does_not_wait_for_the_client_to_acknowledge_the_one_before() {
    if !can_trace("the socket's options") {
        return;
    }
    let setup = Setup::new();
    let server = start_traced(&setup, &["-e", "trace=setsockopt"]);
    server.export("$export?_type=Location");
    server.kill();
    let calls = trace(&setup);
    let without_delay = |call: &&Call| call.text.contains("TCP_NODELAY, [1]") && call.succeeded();
    assert!(calls.iter().any(|call| without_delay(&call)), "{calls:?}");
}

/// The advices that pages are not needed, and on what.
fn dropped(setup: &Setup) -> Vec<String> {
    let calls = trace(setup);
    let texts = calls.iter().filter(|call| call.succeeded()).map(|call| call.text.clone());
    texts.filter(|text| text.starts_with("fadvise64(") && text.contains("POSIX_FADV_DONTNEED")).collect()
}

#[test]
fn pages_of_the_source_leave_the_cache_only_when_that_is_asked_for() {
    if !can_trace("the page cache of the source") {
        return;
    }
    for (page_cache, leaves) in [("keep", false), ("drop", true)] {
        let setup = Setup::new().set(&format!("source.page_cache={page_cache}"));
        let server = start_traced(&setup, &["-e", "trace=fadvise64"]);
        server.export("$export?_type=Location");
        server.kill();
        let of_source = |text: &String| text.contains("Location.ndjson>");
        assert_eq!(dropped(&setup).iter().any(of_source), leaves, "{page_cache}");
    }
}

#[test]
fn the_way_to_the_disk_is_begun_while_a_large_file_is_written() {
    if !can_trace("writing behind") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let line = |n: usize| {
        format!("{{\"resourceType\":\"Media\",\"id\":\"{n}\",\"data\":\"{}\"}}\n", "x".repeat(1 << 20))
    };
    let lines: Vec<_> = (0..20).map(line).collect();
    std::fs::write(folder.path().join("Media.ndjson"), lines.concat()).unwrap();
    let setup = Setup::new().source(folder.path());
    let server = start_traced(&setup, &["-e", "trace=fadvise64"]);
    server.export("$export");
    server.kill();
    let begun = dropped(&setup).iter().filter(|text| text.contains("_Media.ndjson>")).count();
    assert_eq!(begun, 2, "once every 8 MiB");
}

#[test]
fn signing_adds_no_sync_to_a_deletion() {
    if !can_trace("the syncs of a deletion") {
        return;
    }
    let setup = Setup::new();
    let server = start_traced(&setup, &["-e", "trace=fsync,fdatasync,write"]);
    let (polling, _) = server.export("$export?_type=Patient");
    assert_eq!(delete(&polling).status, 202);
    setup.receipt(crate::support::job_id(&polling));
    server.wait_erased(crate::support::job_id(&polling));
    server.kill();
    let (calls, data) = (trace(&setup), setup.data_dir());
    let ready = calls.iter().find(|call| call.text.contains("\"ready http")).expect("the line of a start");
    let of = |name: &str, path: &str| {
        calls.iter().filter(|call| call.begin > ready.end && call.is(name, &data.join(path))).count()
    };
    assert_eq!((of("fdatasync", "receipts.ndjson"), of("write", "receipts.ndjson")), (1, 1));
    for path in ["receipts.tree", "receipts.heads", "receipts.key"] {
        assert_eq!((of("fsync", path), of("fdatasync", path)), (0, 0), "{path}");
    }
    assert_eq!((of("write", "receipts.tree"), of("write", "receipts.heads")), (1, 1));
}

#[test]
fn what_a_killed_process_left_is_synced_before_the_next_one_is_ready() {
    let what = "the syncs of a start";
    if !can_trace(what) {
        return;
    }
    let setup = Setup::new();
    complete_job(&setup, "$export");
    start_traced(&setup, &["-e", "trace=fsync,fdatasync,write"]).kill();
    let calls = trace(&setup);
    let ready = calls.iter().find(|call| call.text.contains("\"ready http")).expect("the line of a start");
    let syncs = [("fdatasync", "store/db"), ("fsync", "store"), ("fsync", "receipts.ndjson")];
    for (name, path) in syncs.into_iter().chain(["building", "ready", "trash"].map(|place| ("fsync", place)))
    {
        let synced = find(&calls, 0, name, |call| call.is(name, &setup.data_dir().join(path)));
        assert!(synced.end < ready.begin, "{path} was synced too late");
    }
}
