//! DELETE to its 202, alone and many at once, against the bare commit; DELETE to the last
//! byte and to the empty disk.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use evanesce::job::JobId;

use crate::baseline::Bare;
use crate::host::Host;
use crate::server::{Server, delete};
use crate::source::generate;
use crate::{Args, median, summary};

/// Clients at once.
const CLIENTS: usize = 64;

/// All of it.
pub fn all(args: &Args) {
    one_at_a_time(args);
    many_at_once(args);
    to_the_empty_disk(args);
}

/// A DELETE and a bare commit in turn.
fn one_at_a_time(args: &Args) {
    let rounds = if args.quick { 40 } else { 400 };
    let folder = tempfile::tempdir_in(&args.dir).expect("a folder");
    generate(args, &folder.path().join("source"), 20, &[]);
    let server = Server::start(&args.server, folder.path(), &folder.path().join("source"), &[]);
    let mut bare = Bare::prepare(&folder.path().join("bare"), rounds);
    let agent = ureq::agent();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for polling in server.exports("?_type=Location", rounds) {
        ours.push(delete(&agent, &polling));
        server.receipt(&polling);
        theirs.push(bare.commit());
    }
    println!("DELETE to 202, one at a time, {rounds} rounds in turn");
    println!("  over HTTP:   {}", summary(&mut ours));
    println!("  bare commit: {}", summary(&mut theirs));
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    let more = (ours.as_secs_f64() - theirs.as_secs_f64()) * 1000.0;
    println!("  p50: {ratio:.2}x, {more:+.2} ms (aim: within 1 ms)");
}

/// 64 clients, each deleting one job after the other, against the bare commit in a serial
/// loop: over HTTP, and embedded, where the clients' own work is next to nothing.
fn many_at_once(args: &Args) {
    let folder = tempfile::tempdir_in(&args.dir).expect("a folder");
    let source = folder.path().join("source");
    generate(args, &source, 20, &[]);
    for (each, rounds) in [(1, 45), (16, 9)] {
        let rounds = if args.quick { rounds / 3 } else { rounds };
        let count = CLIENTS * each;
        println!(
            "\nDELETE to 202, {CLIENTS} clients of {each} each, {rounds} rounds in turn with as many bare commits in a loop"
        );
        let here = tempfile::tempdir_in(folder.path()).expect("a folder");
        let mut bare = Bare::prepare(&here.path().join("bare"), 2 * rounds * count);

        let server = Server::start(&args.server, here.path(), &source, &["export.max_active_jobs=100000"]);
        let agents: Vec<_> = (0..CLIENTS).map(|_| ureq::agent()).collect();
        let prepare = || {
            // Connections are open before the clock starts, as the files of the loop are.
            for agent in &agents {
                agent.get(&format!("{}/metadata", server.base)).call().expect("metadata");
            }
            server.exports("?_type=Location", count)
        };
        let delete_one = |client: usize, polling: &String| delete(&agents[client], polling);
        contest("over HTTP:", rounds, &mut bare, prepare, delete_one, || server.wait_empty());
        drop(server);

        let host = Host::start(&here.path().join("embedded"), &source);
        let delete_one = |_: usize, job: &JobId| host.cancel(*job);
        contest("embedded:", rounds, &mut bare, || host.exports(count), delete_one, || host.wait_erased());
    }
}

/// Rounds of: prepare jobs, let the clients delete them all at once, wait until they are gone,
/// and do as many bare commits.
fn contest<J: Sync>(
    title: &str,
    rounds: usize,
    bare: &mut Bare,
    prepare: impl Fn() -> Vec<J>,
    delete: impl Fn(usize, &J) -> Duration + Sync,
    wait_gone: impl Fn(),
) {
    let (mut latencies, mut ratios, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let jobs = prepare();
        let barrier = Barrier::new(CLIENTS + 1);
        let (barrier, delete) = (&barrier, &delete);
        let took = std::thread::scope(|scope| {
            let share = jobs.chunks(jobs.len() / CLIENTS).enumerate();
            let clients: Vec<_> = share
                .map(|(client, jobs)| {
                    scope.spawn(move || {
                        barrier.wait();
                        jobs.iter().map(|job| delete(client, job)).collect::<Vec<_>>()
                    })
                })
                .collect();
            barrier.wait();
            let began = Instant::now();
            for client in clients {
                latencies.extend(client.join().expect("a client"));
            }
            began.elapsed()
        });
        wait_gone();
        let serial: Duration = (0..jobs.len()).map(|_| bare.commit()).sum();
        ratios.push(serial.as_secs_f64() / took.as_secs_f64());
        rates.push(jobs.len() as f64 / took.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    rates.sort_by(f64::total_cmp);
    println!("  {title:<10} {}", summary(&mut latencies));
    let (rate, ratio, least) = (rates[rates.len() / 2], ratios[ratios.len() / 2], ratios[0]);
    println!("             {rate:.0} a second, {ratio:.1}x the loop's (least {least:.1}x; aim: 6x)");
}

/// DELETE of a running export: to the last byte written, to the empty disk.
fn to_the_empty_disk(args: &Args) {
    let rounds = if args.quick { 3 } else { 15 };
    println!("\nDELETE of a running export, {rounds} rounds each");
    let folder = tempfile::tempdir_in(&args.dir).expect("a folder");
    generate(args, &folder.path().join("source"), 400, &[]);
    for (files, query, sets) in [
        (1, "?_type=Observation", &["export.max_bytes_per_second=20000000"][..]),
        (1000, "", &["export.max_file_bytes=8192", "export.max_bytes_per_second=40000000"][..]),
    ] {
        let server = Server::start(&args.server, folder.path(), &folder.path().join("source"), sets);
        let agent = ureq::agent();
        let (mut accepted, mut last_byte, mut empty, mut count) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let polling = server.kickoff(query);
            let job = polling.rsplit('/').next().expect("an id");
            let dir = server.data_dir.join("building").join(job);
            // request.json, plan.json and so many output files.
            while std::fs::read_dir(&dir).map_or(0, |names| names.count()) < files + 2 {
                std::thread::sleep(Duration::from_micros(500));
            }
            let began = Instant::now();
            accepted.push(delete(&agent, &polling));
            server.wait_empty();
            empty.push(began.elapsed());
            let receipt = server.receipt(&polling);
            let last =
                receipt.last_byte_at.map_or(0.0, |at| at.duration_since(receipt.marked_at).as_secs_f64());
            last_byte.push(Duration::from_secs_f64(last.max(0.0)));
            count.push(receipt.files);
        }
        count.sort_unstable();
        println!("  about {files} files (median {}):", count[count.len() / 2]);
        println!("    to the 202:        {}", summary(&mut accepted));
        println!("    to the last byte:  {}", summary(&mut last_byte));
        println!("    to the empty disk: {}", summary(&mut empty));
        drop(server);
        std::fs::remove_dir_all(folder.path().join("data")).expect("the data directory");
    }
}
