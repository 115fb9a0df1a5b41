//! How a server ends: on the first signal in order, on the second at once; and what the next
//! one finds.

use std::process::Stdio;

use rustix::process::Signal;

use super::*;

#[test]
fn a_terminated_server_exits_with_0_and_the_next_one_completes_its_exports() {
    let setup = Setup::new().set("export.part_bytes=50000").braked(200_000);
    let mut server = setup.start();
    let (complete, manifest) = server.export("$export?_type=Organization");
    let (deleted, _) = server.export("$export?_type=Goal");
    assert_eq!(delete(&deleted).status, 202);
    let running = server.kickoff("$export");
    server.wait_braked(&running);
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(0));
    drop(server);

    // Another port by now: the id is what stays.
    setup.release_brake();
    let server = setup.start();
    let at = |polling: &str| format!("{}/bulk-api/request/{}", server.base, job_id(polling));
    let resumed = server.wait_complete(&at(&running));
    assert!(exported(&resumed) == lines_of(source()), "every line once, however often it was begun");
    assert_eq!(get(&at(&complete)).json()["output"][0]["count"], manifest["output"][0]["count"]);
    assert_eq!(exported(&get(&at(&complete)).json())["Organization"].len(), 3);
    assert_eq!(get(&at(&deleted)).outcome(), outcome(404, "deleted"), "P2: in the next process too");
}

#[test]
fn a_server_without_applications_is_not_ended_by_a_reload() {
    let setup = Setup::new();
    let mut server = setup.start();
    server.signal(Signal::HUP);
    server.export("$export?_type=Patient");
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn the_ready_line_and_that_for_operators_are_all_there_is_on_standard_output() {
    let setup = Setup::new();
    let log = std::fs::File::create(setup.folder.path().join("log")).unwrap();
    let mut child = setup.command().stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut ready = String::new();
    std::io::BufRead::read_line(&mut out, &mut ready).unwrap();
    let base = ready.trim_end().strip_prefix("ready ").unwrap().to_string();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    let operators = line.trim_end().strip_prefix("operators ").unwrap().to_string();
    let mut server = Server { child, base, operators, data_dir: setup.data_dir() };
    let (polling, _) = server.export("$export?_type=Patient");
    assert_eq!(delete(&polling).status, 202);
    // SIGINT is as good as SIGTERM.
    server.signal(Signal::INT);
    assert_eq!(server.wait_exit().code(), Some(0));
    assert_eq!(std::io::read_to_string(out).unwrap(), "");
    for line in setup.log().lines() {
        serde_json::from_str::<Value>(line).expect("one JSON object a line on standard error");
    }
}

#[test]
fn a_download_holds_the_first_signal_and_nothing_holds_the_second() {
    let setup = Setup::new().source(cut::big_source()).set("server.shutdown_grace=50s");
    let mut server = setup.start();
    let (_, manifest) = server.export("$export");
    let (mut stream, length) = cut::begin(&server, &first_file(&manifest));
    server.signal(Signal::TERM);
    setup.wait_logged("a second signal stops at once");
    assert!(server.child.try_wait().unwrap().is_none(), "the download holds it");
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(130));
    assert!(1 + cut::drain(&mut stream) < length, "a failed transfer, not a short file");

    let server = setup.start();
    let url = format!(
        "{}/r4{}",
        server.base.split("/r4").next().unwrap(),
        first_file(&manifest).split_once("/r4").unwrap().1
    );
    assert_eq!(get(&url).body.len() as u64, length, "nothing is lost by it");
}

#[test]
fn a_download_that_is_read_ends_whole_before_the_server_does() {
    let setup = Setup::new().source(cut::big_source()).set("server.shutdown_grace=50s");
    let mut server = setup.start();
    let (_, manifest) = server.export("$export");
    let (mut stream, length) = cut::begin(&server, &first_file(&manifest));
    server.signal(Signal::TERM);
    setup.wait_logged("a second signal stops at once");
    assert_eq!(1 + cut::drain(&mut stream), length);
    assert_eq!(server.wait_exit().code(), Some(0));
}
