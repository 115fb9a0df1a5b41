//! System calls that fail in the kernel's place, by strace: a second way, independent of the
//! hooks, to the more important rows of `faults::matrix`. The binary knows nothing of it.

use std::collections::BTreeSet;

use super::syscalls::complete_job;
use crate::support::{
    KICKOFF, Setup, assert_disk_equals_store, assert_hidden, assert_only_its_receipt_is_left, can_trace,
    delete, disturb, eventually, get, polling_url, send, trace, try_send, wait_settled,
};

/// What becomes of a DELETE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// 202; sweeps fail and are tried again.
    Retried,
    /// 202, and the files go at once.
    Unharmed,
    /// 500 and hidden.
    HalfDurable,
    /// No 202, or it came before; the process ends with 70.
    Fatal,
}
use Seen::*;

/// On which path (`ID` is the job's), and what is injected into which call.
const DELETIONS: &[(&str, &str, Seen)] = &[
    ("trash/ID", "unlinkat:error=EBUSY:when=1..2", Retried),
    ("trash/ID", "unlinkat:error=EACCES", Retried),
    ("trash/ID", "unlinkat:error=EROFS", Retried),
    ("trash/ID", "getdents64:error=EIO:when=1", Retried),
    ("trash/ID", "openat:error=EMFILE:when=1..2", Retried),
    ("trash/ID", "openat:error=EIO", Retried),
    ("trash", "newfstatat:error=EIO:when=1", Retried),
    ("ready", "renameat2:error=EIO:when=1", Unharmed),
    ("ready", "renameat2:error=EXDEV", Unharmed),
    ("ready", "renameat2:error=EBUSY", Unharmed),
    ("trash", "renameat2,mkdirat:error=EROFS", HalfDurable),
    ("ready", "fsync:error=EIO:when=1", Fatal),
    ("", "fstatfs:error=EIO", Unharmed),
    ("store/db", "pwrite64:error=ENOSPC", Fatal),
    ("store/db", "pwrite64:error=EDQUOT", Fatal),
    ("store/db", "fdatasync:error=ENOSPC:when=1", Fatal),
    ("store/db", "fdatasync:error=EDQUOT:when=1", Fatal),
    ("receipts.ndjson", "write:error=ENOSPC:when=1", Fatal),
    ("receipts.ndjson", "fdatasync:error=EIO:when=1", Fatal),
    ("receipts.tree", "write:error=ENOSPC", Unharmed),
    ("receipts.heads", "write:error=EIO", Unharmed),
];

fn delete_under(path: &str, inject: &str, seen: Seen) {
    let setup = Setup::new().set("reaper.retry_min=20ms").set("reaper.retry_max=50ms");
    let setup = setup.set("reaper.interval=1h").set("reaper.watch=false");
    // Few enough files that one thread unlinks them: `when` counts by thread.
    let job = complete_job(&setup, "$export?_type=Patient");
    let mut server = setup.start();
    if !disturb(&setup, &server, &path.replace("ID", &job.id), &format!("inject={inject}")) {
        return;
    }
    let answer = try_send("DELETE", &polling_url(&server, &job.id), &[]);
    let came = answer.ok().map(|answer| answer.outcome());
    match seen {
        Retried | Unharmed => assert_eq!(came, Some((202, "processing".into()))),
        HalfDurable => assert_eq!(came, Some((500, "exception".into()))),
        // The sweep and its receipt come after the mark: the 202 may be on its way when the process ends.
        Fatal if path == "receipts.ndjson" => {
            assert!(came.is_none_or(|came| came == (202, "processing".into())));
        }
        Fatal => assert!(came.is_none_or(|(status, _)| status >= 500)),
    }
    if seen == Fatal {
        assert_eq!(server.wait_exit().code(), Some(70), "{inject}");
        let calls = trace(&setup);
        assert!(calls.iter().any(|call| call.result.contains("INJECTED")), "{inject}: {calls:?}");
        server = setup.start();
        if get(&polling_url(&server, &job.id)).status == 200 {
            job.assert_intact(&server);
            assert_eq!(delete(&polling_url(&server, &job.id)).status, 202);
        }
    } else {
        assert_hidden(&server, &job.id, &job.files);
        if seen == Retried {
            eventually("a failed sweep", || {
                (server.operator("readyz").json()["reaper"]["failed"] != 0).then_some(())
            });
            setup.wait_logged("a sweep failed and will be tried again");
        }
        if !inject.contains("when") && seen == Retried {
            assert_eq!(server.operator("readyz").json()["reaper"]["marked"], 1);
            server.kill();
            server = setup.start();
        }
    }
    assert_only_its_receipt_is_left(&setup, server, &job, "deleted");
}

#[test]
fn a_deletion_whose_system_calls_fail_is_never_half_acknowledged_and_never_dropped() {
    if !can_trace("system calls that fail during a deletion") {
        return;
    }
    for (path, inject, seen) in DELETIONS {
        let result = std::panic::catch_unwind(|| delete_under(path, inject, *seen));
        if let Err(panic) = result {
            eprintln!("{inject} on {path}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn a_kickoff_whose_directory_cannot_be_made_is_refused_and_leaves_nothing() {
    if !can_trace("system calls that fail during a kick-off") {
        return;
    }
    for (call, error, expected) in [
        ("mkdirat", "EROFS", (500, "exception")),
        ("mkdirat", "EDQUOT", (503, "no-store")),
        ("openat", "EMFILE", (500, "exception")),
        ("openat", "ENOSPC", (503, "no-store")),
    ] {
        let setup = Setup::new().set("retention.orphan_grace=0s").set("reaper.interval=50ms");
        let server = setup.start();
        if !disturb(&setup, &server, "building", &format!("inject={call}:error={error}:when=1..4")) {
            return;
        }
        // Each thread of the server meets the fault a few times, and a scan may be what meets it.
        let url = format!("{}/$export?_type=Patient", server.base);
        let refused = eventually("a kick-off that meets the fault", || {
            let answer = send("GET", &url, &KICKOFF);
            if answer.status == 202 {
                assert_eq!(delete(answer.header("content-location")).status, 202);
                return None;
            }
            Some(answer)
        });
        assert_eq!(refused.outcome(), (expected.0, expected.1.to_string()), "{call} {error}");
        let accepted = || Some(send("GET", &url, &KICKOFF)).filter(|answer| answer.status == 202);
        let polling = eventually("an export", accepted).header("content-location").to_string();
        let failed_or_not = || Some(get(&polling)).filter(|answer| answer.status != 202);
        eventually("its end", failed_or_not);
        assert_eq!(delete(&polling).status, 202);
        wait_settled(&setup, &server, &BTreeSet::new());
        server.kill();
        assert_disk_equals_store(&setup);
    }
}

#[test]
fn a_server_that_is_killed_while_its_store_writes_a_snapshot_starts_again() {
    if !can_trace("a kill in the middle of a snapshot of the store") {
        return;
    }
    let setup = Setup::new();
    let job = complete_job(&setup, "$export");
    for _ in 0..2 {
        let mut strace = std::process::Command::new("strace");
        strace.args(["-D", "-f", "-o", "/dev/null", "-e", "trace=rename"]);
        strace.args(["-e", "inject=rename:signal=SIGKILL:when=1"]);
        let end = setup.try_launch(setup.below(strace)).err().expect("it is killed before it is ready");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&end), Some(9), "{end:?}");
        let mut names =
            std::fs::read_dir(setup.data_dir().join("store")).unwrap().map(|entry| entry.unwrap());
        let begun = |name: std::ffi::OsString| name.to_string_lossy().ends_with(".generating");
        assert!(names.any(|entry| begun(entry.file_name())), "it was killed somewhere else");
    }
    let server = setup.start();
    job.assert_intact(&server);
    server.kill();
    assert_disk_equals_store(&setup);
}
