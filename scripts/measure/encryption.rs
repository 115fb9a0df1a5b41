//! Files stored encrypted, against plain ones: writing and serving them, and their deletion. The
//! servers take turns in the same run.

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::contest::Contest;
use crate::exports::export;
use crate::server::{Server, delete};
use crate::source::{Source, generate};
use crate::{Args, median, summary};

/// The settings of the two servers.
const FORMS: [(&str, &str); 2] =
    [("encrypted", "storage.encryption=aes-256-gcm"), ("plain", "storage.encryption=none")];

/// Bytes of a small range.
const RANGE: u64 = 4096;

/// Exports, downloads and ranges of everything; deletions; the time to the destroyed key.
pub fn all(args: &Args, large: &Source) {
    let folders = FORMS.map(|_| large.folder());
    let servers: [Server; 2] = std::array::from_fn(|n| {
        let server = Server::start(&args.server, folders[n].path(), &large.path, &[FORMS[n].1]);
        server.wait_indexed();
        server
    });
    let agent = ureq::agent();
    let rounds = if args.quick { 5 } else { 9 };
    let [encrypted, plain] = &servers;
    let contest =
        Contest::hold(rounds, || export(encrypted, &agent, "$export"), || export(plain, &agent, "$export"));
    println!("\nExport of {}, page-cached, {rounds} rounds in turn with plain", large.size());
    contest.print(["encrypted", "plain"], large.bytes, 1.25);

    let jobs = servers.each_ref().map(|server| {
        let polling = server.kickoff("");
        let manifest = server.wait(&polling);
        (polling, manifest)
    });
    let urls = jobs.each_ref().map(|(_, manifest)| urls(manifest));
    for clients in [1, 8] {
        let contest = Contest::hold(rounds, || download(&urls[0], clients), || download(&urls[1], clients));
        let bytes = large.bytes * clients as u64;
        println!("\nDownload of {} by {clients} at once, {rounds} rounds in turn with plain", large.size());
        // At least 0.85 of the rate.
        contest.print(["encrypted", "plain"], bytes, 1.0 / 0.85);
    }
    ranges(&agent, &urls, rounds * 100);

    println!("\nFrom the mark of an export of {} on", large.size());
    for ((form, _), (server, (polling, _))) in FORMS.iter().zip(servers.iter().zip(&jobs)) {
        delete(&agent, polling);
        let receipt = server.receipt(polling);
        let since = |at: jiff::Timestamp| at.duration_since(receipt.marked_at).as_secs_f64() * 1000.0;
        let key = receipt
            .key
            .map_or("has none".into(), |key| format!("destroyed after {:.1} ms", since(key.destroyed_at)));
        println!("  {form}: key {key}, last name gone after {:.1} ms", since(receipt.gone_at));
    }
    deletions(args);
}

/// The URLs of a manifest's files.
fn urls(manifest: &Value) -> Vec<String> {
    let files = manifest["output"].as_array().expect("files").iter();
    files.map(|file| file["url"].as_str().expect("a URL").to_owned()).collect()
}

/// Each client downloads all files, one after the other.
fn download(urls: &[String], clients: usize) -> Duration {
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let agent = ureq::agent();
                for url in urls {
                    let request = agent.get(url).header("Accept-Encoding", "identity");
                    let mut response = request.call().expect("200");
                    let mut body = response.body_mut().as_reader();
                    // As large as a socket's buffer: the client should not be what is measured.
                    let mut buffer = vec![0; 1 << 18];
                    while body.read(&mut buffer).expect("all of it") > 0 {}
                }
            });
        }
    });
    began.elapsed()
}

/// Small ranges from the middle of a file, in turn.
fn ranges(agent: &ureq::Agent, urls: &[Vec<String>; 2], rounds: usize) {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..rounds as u64 {
        for (urls, times) in urls.iter().zip(&mut times) {
            let start = 1_000_000 + round * 7919;
            let range = format!("bytes={start}-{}", start + RANGE - 1);
            let began = Instant::now();
            let request = agent.get(&urls[0]).header("Range", &range).header("Accept-Encoding", "identity");
            let mut response = request.call().expect("206");
            assert_eq!(response.status(), 206);
            assert_eq!(response.body_mut().read_to_vec().expect("all of it").len() as u64, RANGE);
            times.push(began.elapsed());
        }
    }
    print("A range of 4 KiB", times, rounds, 1.0);
}

/// DELETE to its 202, in turn.
fn deletions(args: &Args) {
    let rounds = if args.quick { 40 } else { 400 };
    let folder = tempfile::tempdir_in(&args.dir).expect("a folder");
    let source = folder.path().join("source");
    generate(args, &source, 20, &[]);
    let servers =
        FORMS.map(|(form, set)| Server::start(&args.server, &folder.path().join(form), &source, &[set]));
    let jobs = servers.each_ref().map(|server| server.exports("?_type=Location", rounds));
    let agent = ureq::agent();
    let mut times = [Vec::new(), Vec::new()];
    for pair in jobs[0].iter().zip(&jobs[1]) {
        for ((server, times), polling) in servers.iter().zip(&mut times).zip([pair.0, pair.1]) {
            times.push(delete(&agent, polling));
            server.receipt(polling);
        }
    }
    print("DELETE to 202, one at a time", times, rounds, 0.0);
}

/// Prints times of both and the difference of their medians.
fn print(what: &str, [mut encrypted, mut plain]: [Vec<Duration>; 2], rounds: usize, aim: f64) {
    println!("\n{what}, {rounds} rounds in turn with plain");
    println!("  encrypted: {}", summary(&mut encrypted));
    println!("  plain:     {}", summary(&mut plain));
    let more = (median(&mut encrypted).as_secs_f64() - median(&mut plain).as_secs_f64()) * 1000.0;
    println!("  p50: {more:+.3} ms (aim: within {aim} ms)");
}
