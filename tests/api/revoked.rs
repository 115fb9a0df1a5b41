//! Downloads that are cut, of all kinds of clients (P4, P8): whoever they are, however they
//! read, none takes a part of a file for the whole, and none holds a deletion up.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::cut::{big_source, drain};
use super::*;

/// A complete job of one big file: its polling URL and the file's.
fn big_job(server: &Server) -> (String, String) {
    let (polling, manifest) = server.export("$export");
    (polling, first_file(&manifest))
}

/// As [`raw::begin`], and one byte of the body.
fn begin(server: &Server, url: &str, version: &str, headers: &str) -> (TcpStream, Answer) {
    let (mut stream, answer) = raw::begin(server, url, version, headers);
    stream.read_exact(&mut [0]).unwrap();
    (stream, answer)
}

/// A URL of an earlier server on the same data directory.
fn below(server: &Server, old: &str) -> String {
    format!("{}{}", server.base, old.split_once("/r4/default").unwrap().1)
}

fn length(answer: &Answer) -> u64 {
    answer.header("content-length").parse().expect("the end of the body is told by its length")
}

#[test]
fn no_client_takes_the_part_of_a_file_that_was_cut_for_the_whole() {
    let setup = Setup::new().source(big_source()).set("download.delete_grace=100ms");
    let server = setup.start();
    let clients = [
        ("1.1", "", 200),
        ("1.1", "Connection: close\r\n", 200),
        ("1.0", "", 200),
        ("1.0", "Connection: keep-alive\r\n", 200),
        ("1.1", "Range: bytes=1000-\r\n", 206),
        ("1.1", "Range: bytes=1000-16000000\r\n", 206),
        ("1.1", "Accept-Encoding: gzip, identity\r\n", 200),
        ("1.1", "TE: chunked, trailers\r\n", 200),
    ];
    let (polling, url) = big_job(&server);
    let open: Vec<_> = clients.map(|(version, headers, _)| begin(&server, &url, version, headers)).into();
    assert_eq!(delete(&polling).status, 202);
    let receipt = setup.receipt(job_id(&polling));
    assert_eq!(receipt["cut_downloads"], clients.len(), "{receipt}");
    for ((version, headers, status), (mut stream, answer)) in clients.into_iter().zip(open) {
        assert_eq!(answer.status, status, "{version} {headers}");
        assert_eq!(answer.header("transfer-encoding"), "", "{version} {headers}");
        let got = 1 + drain(&mut stream);
        assert!(got < length(&answer), "{version} {headers}: {got} bytes look whole");
        // The connection has ended: nothing can be taken for more of the file, or for another answer.
        let again = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let read = again.and_then(|()| stream.read(&mut [0]));
        assert!(read.as_ref().map_or_else(|e| e.kind() != ErrorKind::WouldBlock, |n| *n == 0), "{read:?}");
    }
}

#[test]
fn hundreds_of_clients_that_do_not_read_hold_no_deletion_up() {
    let setup =
        Setup::new().source(big_source()).set("download.delete_grace=200ms").set("limits.downloads=0");
    let server = setup.start();
    let (polling, url) = big_job(&server);
    let stalled: Vec<_> = (0..300).map(|_| begin(&server, &url, "1.1", "")).collect();
    assert_eq!(delete(&polling).status, 202);
    let receipt = setup.receipt(job_id(&polling));
    assert_eq!(receipt["cut_downloads"], stalled.len(), "{receipt}");
    assert!(!setup.disk().has(job_id(&polling)));
    // The server has their descriptors back, though nobody has closed a connection.
    let held = || {
        let links = std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap();
        let targets = links.filter_map(|link| std::fs::read_link(link.unwrap().path()).ok());
        targets.filter(|target| target.to_string_lossy().contains(job_id(&polling))).count()
    };
    assert_eq!(held(), 0, "P4: every descriptor is closed before the receipt");
    let (polling, url) = big_job(&server);
    assert_eq!(get(&url).status, 200);
    assert_eq!(delete(&polling).status, 202);
}

#[test]
fn a_slow_reader_that_is_not_done_in_the_grace_is_cut_and_one_that_is_gets_all() {
    let setup = Setup::new().source(big_source());
    let server = setup.start();
    let (polling, url) = big_job(&server);
    // Time enough for this machine, whatever else it does.
    let asked = Instant::now();
    assert_eq!(get(&url).status, 200);
    let grace = Duration::from_secs(1).max(10 * asked.elapsed());
    server.kill();
    let setup = setup.set(&format!("download.delete_grace={}ms", grace.as_millis()));
    let server = setup.start();
    let [polling, url] = [polling, url].map(|old| below(&server, &old));
    let (mut slow, slow_answer) = begin(&server, &url, "1.1", "");
    let (mut fast, fast_answer) = begin(&server, &url, "1.1", "Connection: close\r\n");
    assert_eq!(delete(&polling).status, 202);
    assert_eq!(get(&url).outcome(), outcome(404, "deleted"));
    assert_eq!(send("HEAD", &url, &[]).status, 404);
    assert_eq!(1 + drain(&mut fast), length(&fast_answer));
    // A little at a time, and never all of it, until it is ended.
    let mut got = 1;
    let mut buffer = vec![0; 64 << 10];
    let receipt = eventually("the receipt", || {
        if got < length(&slow_answer) / 4 {
            got += slow.read(&mut buffer).unwrap_or_default() as u64;
        }
        setup.receipts().pop()
    });
    got += drain(&mut slow);
    assert_eq!(receipt["cut_downloads"], 1, "{receipt}");
    assert!(got < length(&slow_answer));
}

#[test]
fn a_head_or_a_refused_range_holds_nothing_open() {
    let setup = Setup::new().source(big_source()).set("download.delete_grace=50s");
    let server = setup.start();
    let (polling, url) = big_job(&server);
    assert_eq!(send("HEAD", &url, &[]).status, 200);
    assert_eq!(send("GET", &url, &[("Range", "bytes=999999999999-")]).status, 416);
    assert_eq!(send("GET", &url, &[("If-None-Match", "*")]).status, 304);
    // A client that went away is out as well.
    drop(begin(&server, &url, "1.1", ""));
    assert_eq!(delete(&polling).status, 202);
    assert_eq!(setup.receipt(job_id(&polling))["cut_downloads"], 0);
}

#[test]
fn an_expiry_cuts_what_is_still_open_at_the_end_of_its_drain_and_a_delete_meanwhile_is_too_late() {
    let setup = Setup::new().source(big_source()).set("retention.completed=1ms");
    let setup =
        setup.set("reaper.interval=20ms").set("download.expiry_drain=1s").set("download.delete_grace=50s");
    let server = setup.start();
    server.pause_reaper();
    let (polling, url) = big_job(&server);
    let (mut stalled, answer) = begin(&server, &url, "1.1", "");
    server.resume_reaper();
    eventually("the expiry", || (get(&polling).status == 404).then_some(()));
    // It is marked, and was: who asks now is told that it is deleted (D-8).
    assert_eq!(delete(&polling).outcome(), outcome(404, "deleted"));
    assert!(setup.disk().has(job_id(&polling)), "the download is still open");
    let receipt = setup.receipt(job_id(&polling));
    assert_eq!((&receipt["reason"], &receipt["cut_downloads"]), (&"expired".into(), &1.into()), "{receipt}");
    assert!(1 + drain(&mut stalled) < length(&answer));
    assert!(!setup.disk().has(job_id(&polling)));
}
