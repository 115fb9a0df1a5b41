//! A server whose log cannot be written, or is read by nobody, goes on: no request, no job and no
//! end of the process waits for it.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::process::{Command, Stdio};

use rustix::fs::OFlags;
use rustix::process::Signal;
use serde_json::Value;

use super::{full, gone};
use crate::support::*;

/// A pipe that is full, and that nobody reads.
fn blocked() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let set = |flags| rustix::fs::fcntl_setfl(&writer, flags).unwrap();
    set(OFlags::NONBLOCK);
    while (&writer).write(&[b'\n'; 4096]).is_ok() {}
    while (&writer).write(b"\n").is_ok() {}
    set(OFlags::empty());
    writer.flush().unwrap();
    (reader, writer)
}

fn started(setup: &Setup, log: impl Into<Stdio>, change: impl FnOnce(&mut Command)) -> Server {
    let mut command = setup.command();
    change(&mut command);
    setup.try_launch_into(log, command).unwrap_or_else(|end| panic!("not ready: {end:?}"))
}

/// What a server is for, more often than any buffer has room for.
fn assert_serves(server: &Server) {
    let healthz = format!("{}/healthz", server.base.split("/r4/").next().unwrap());
    for _ in 0..500 {
        assert_eq!(get(&healthz).status, 200);
    }
    let (polling, manifest) = server.export("$export?_type=Patient");
    assert!(!download_all(&manifest).is_empty());
    assert_eq!(delete(&polling).status, 202);
    assert_eq!(get(&polling).outcome(), (404, "deleted".into()));
    server_has_erased(server, job_id(&polling));
}

fn server_has_erased(server: &Server, job: &str) {
    Disk(server.data_dir.clone()).wait_gone(job);
}

/// How many lines were lost, by the metric.
fn lost(server: &Server, reason: &str) -> u64 {
    let metrics = server.metrics();
    let name = format!("evanesce_lost_log_lines_total{{reason=\"{reason}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
}

#[test]
fn a_server_goes_on_when_the_reader_of_its_log_has_gone() {
    let setup = Setup::new();
    let mut server = started(&setup, gone(), |_| {});
    assert_serves(&server);
    eventually("lost lines are counted", || (lost(&server, "write") >= 500).then_some(()));
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn a_server_goes_on_when_its_log_is_on_a_full_disk() {
    let setup = Setup::new();
    let mut server = started(&setup, full(), |_| {});
    assert_serves(&server);
    eventually("lost lines are counted", || (lost(&server, "write") >= 500).then_some(()));
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn a_server_goes_on_when_nobody_reads_its_log_and_says_how_much_was_lost_when_somebody_does() {
    let (mut reader, writer) = blocked();
    let setup = Setup::new();
    // So that each request says a lot.
    let server = started(&setup, writer, |command| {
        command.env("RUST_LOG", "trace,actix_http=trace,actix_web=trace,mio=trace,sled=trace");
    });
    assert_serves(&server);
    let healthz = format!("{}/healthz", server.base.split("/r4/").next().unwrap());
    eventually("there is no room for lines any more", || {
        assert_eq!(get(&healthz).status, 200);
        (lost(&server, "full") > 0).then_some(())
    });
    assert_serves(&server);

    let (told, telling) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let mut buffer = [0; 65536];
        // To the end of the server.
        while let Ok(n @ 1..) = reader.read(&mut buffer) {
            text.extend_from_slice(&buffer[..n]);
        }
        told.send(text).unwrap();
    });
    // The log is written again.
    let written = || std::fs::metadata(setup.data_dir()).is_ok();
    assert!(written());
    assert_serves(&server);
    drop(server);
    let text = String::from_utf8(telling.recv_timeout(PATIENCE).unwrap()).unwrap();
    // What filled the pipe, and a line that the end of the process cut.
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n') && *line != "\n");
    let lines: Vec<Value> =
        whole.map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect();
    let lost = lines.iter().find(|line| line["message"] == "log lines were lost").expect("it says so");
    assert!(lost["lines"].as_u64().unwrap() > 0, "{lost}");
    assert_eq!(lost["level"], "WARN");
    assert!(lost["timestamp"].as_str().unwrap().ends_with('Z'), "{lost}");
}

#[test]
fn a_server_that_nobody_listens_to_stops_when_it_is_told_to() {
    let (_reader, writer) = blocked();
    let setup = Setup::new();
    let mut server = started(&setup, writer, |_| {});
    assert_serves(&server);
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn a_panic_ends_the_process_although_nobody_reads_of_it() {
    for log in [blocked_for_ever(), gone(), full()] {
        let setup = Setup::new();
        let mut server = started(&setup, log, |command| {
            command.args(["--breakpoint", "part-sealed:1=panic"]);
        });
        assert_eq!(server.kickoff_to_the_end("$export").1.code(), Some(70));
    }
}

#[test]
fn a_store_that_fails_ends_the_process_although_nobody_reads_of_it() {
    for log in [blocked_for_ever(), gone(), full()] {
        let setup = Setup::new();
        let mut server = started(&setup, log, |command| {
            command.args(["--fault", "commit:5:1"]);
        });
        let _ = try_send("GET", &format!("{}/$export", server.base), &KICKOFF);
        assert_eq!(server.wait_exit().code(), Some(70));
    }
}

#[test]
fn the_last_words_of_a_server_are_in_its_log() {
    let setup = Setup::new();
    let mut server = setup.start_with(&["--breakpoint", "part-sealed:1=panic"]);
    assert_eq!(server.kickoff_to_the_end("$export").1.code(), Some(70));
    let log = setup.log();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "ERROR", "{log}");
    assert!(last["message"].as_str().unwrap().starts_with("fatal: "), "{log}");
    let panic = log.lines().find(|line| line.contains("panicked")).expect("a line of the panic");
    let panic: Value = serde_json::from_str(panic).expect("it is a line like all others");
    assert!(panic["location"].as_str().unwrap().contains(".rs:"), "{panic}");
}

#[test]
fn a_server_that_cannot_begin_ends_although_nobody_reads_why() {
    for log in [blocked_for_ever(), gone(), full()] {
        let setup = Setup::new().set("export.workers=0");
        let end = setup.try_launch_into(log, setup.command()).err().expect("it should not start");
        assert_eq!(end.code(), Some(2));
    }
}

#[test]
fn a_server_goes_on_when_nobody_reads_that_it_is_ready() {
    for out in [blocked_for_ever(), gone(), full()] {
        let setup = Setup::new();
        let log = std::fs::File::create(setup.folder.path().join("log")).unwrap();
        let mut server = setup.command().stdout(out).stderr(log).spawn().unwrap();
        let status = || {
            let mut status = evanesce_command();
            let output = status.args(["status", "--data-dir"]).arg(setup.data_dir()).output().unwrap();
            output.status.success().then_some(())
        };
        eventually("it answers operators", status);
        rustix::process::kill_process(rustix::process::Pid::from_child(&server), Signal::TERM).unwrap();
        let end = eventually("it stops when it is told to", || server.try_wait().unwrap());
        assert_eq!(end.code(), Some(0), "{}", setup.log());
    }
}

/// The same; its reader stays open as long as the tests run.
fn blocked_for_ever() -> Stdio {
    let (reader, writer) = blocked();
    std::mem::forget(reader);
    writer.into()
}
