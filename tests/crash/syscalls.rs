//! The order of the system calls behind an acknowledged DELETE, seen by strace, and what
//! happens when the one that matters most fails (P1; DESIGN section 3, "the way of a delete").

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::failing_store::assert_gives_up;
use super::{
    Exported, assert_disk_equals_store, assert_only_its_receipt_is_left, file_url, polling_url, skip,
    wait_settled,
};
use crate::support::{KICKOFF, Server, Setup, delete, eventually, get};

/// Whether strace can be had, and may trace; says so loudly if not.
pub fn can_trace(what: &str) -> bool {
    match Command::new("strace").args(["-o", "/dev/null", "true"]).output() {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            skip(what, &String::from_utf8_lossy(&output.stderr));
            false
        }
        Err(e) => {
            skip(what, &format!("strace: {e}"));
            false
        }
    }
}

/// The server under strace. `-D` leaves the server our child: we kill it and see its exit code.
pub fn start_traced(setup: &Setup, options: &[&str]) -> Server {
    let server = setup.command();
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-y", "-s", "64", "-o"]).arg(trace_file(setup)).args(options);
    command.arg(server.get_program()).args(server.get_args());
    for (name, _) in server.get_envs() {
        command.env_remove(name);
    }
    setup.launch(command)
}

/// Has strace watch, and disturb, a server that is running, from here on: `when=N` counts by
/// thread, so that the calls of a start would be in the way. strace ends with the server.
pub(super) fn disturb(setup: &Setup, server: &Server, path: &str, inject: &str) -> bool {
    let call = inject.split([':', '=']).nth(1).unwrap();
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-p", &server.child.id().to_string(), "-o"]).arg(trace_file(setup));
    command.arg("-P").arg(setup.data_dir().join(path));
    command.args(["-e", &format!("trace={call}"), "-e", inject]);
    let mut strace = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut stderr = BufReader::new(strace.stderr.take().unwrap());
    // It may have something to say of the path before.
    while !said.contains("attached") && stderr.read_line(&mut said).unwrap() > 0 {}
    let attached = said.contains("attached");
    if !attached {
        skip("a disturbed server", said.trim_end());
    }
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()).and_then(|_| strace.wait()));
    attached
}

fn trace_file(setup: &Setup) -> PathBuf {
    setup.folder.path().join("trace")
}

/// One system call: its text, its result, and the lines of the trace on which it began and ended.
#[derive(Debug)]
pub(super) struct Call {
    text: String,
    pub(super) result: String,
    begin: usize,
    end: usize,
}

impl Call {
    fn is(&self, name: &str, path: &Path) -> bool {
        self.text.starts_with(&format!("{name}(")) && self.text.contains(&format!("<{}>", path.display()))
    }

    fn succeeded(&self) -> bool {
        self.result.starts_with('0')
    }
}

/// All calls of a server that has ended, those of several threads put together again.
pub(super) fn trace(setup: &Setup) -> Vec<Call> {
    let text = eventually("the end of the trace", || {
        let text = std::fs::read_to_string(trace_file(setup)).unwrap_or_default();
        let last = text.lines().last().unwrap_or_default();
        (text.ends_with('\n') && last.contains("+++")).then_some(text)
    });
    let mut calls: Vec<Call> = Vec::new();
    let mut unfinished: Vec<(&str, usize)> = Vec::new();
    for (line, text) in text.lines().enumerate() {
        let (thread, text) = text.split_once(' ').unwrap();
        let text = text.trim_start();
        if let Some(begun) = text.strip_suffix(" <unfinished ...>") {
            unfinished.push((thread, calls.len()));
            calls.push(Call { text: begun.into(), result: String::new(), begin: line, end: usize::MAX });
        } else if text.starts_with("<... ") {
            // One that was under way when strace came has no beginning.
            let Some(position) = unfinished.iter().position(|(waiting, _)| *waiting == thread) else {
                continue;
            };
            let call = &mut calls[unfinished.remove(position).1];
            call.end = line;
            let (rest, result) = text.rsplit_once(" = ").unwrap();
            call.text += rest.split_once("resumed>").unwrap().1;
            call.result = result.into();
        } else if let Some((text, result)) = text.rsplit_once(" = ") {
            calls.push(Call { text: text.into(), result: result.into(), begin: line, end: line });
        }
    }
    calls
}

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
    let setup = Setup::new().set("export.max_bytes_per_second=1000000");
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
        server.wait_halfway(&polling);
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
