//! Endings: DELETE of a running export to its last byte, idle and with all cores busy; the
//! erasure of few and of many files against `rm -rf` and a bare unlink; a download while the
//! reaper sweeps.

use std::fs::{File, create_dir, read_dir, remove_dir, remove_file};
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::server::{Server, delete};
use crate::source::generate;
use crate::{Args, median, summary};

/// Unlinks in flight of the bare unlink: the best of 1, 2, 4 and 8 on this class of machine.
const IN_FLIGHT: usize = 4;

/// All of it.
pub fn all(args: &Args) {
    to_the_last_byte(args);
    many_files(args);
}

/// From the sending of a DELETE to the last byte that the export wrote.
fn to_the_last_byte(args: &Args) {
    let rounds = if args.quick { 20 } else { 200 };
    let folder = tempfile::tempdir_in(&args.dir).expect("a folder");
    let source = folder.path().join("source");
    generate(args, &source, 400, &[]);
    let sets = ["export.max_bytes_per_second=20000000"];
    let server = Server::start(&args.server, folder.path(), &source, &sets);
    server.wait_indexed();
    let agent = ureq::agent();
    println!("\nDELETE of a running export (20 MB/s), {rounds} rounds each");
    for (name, busy) in [("idle", false), ("all cores busy", true)] {
        let (mut accepted, mut last) = (Vec::new(), Vec::new());
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
            for _ in 0..if busy { cores } else { 0 } {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            for _ in 0..rounds {
                let polling = server.kickoff("");
                server.wait_first_file(&polling);
                let sent = Timestamp::now();
                accepted.push(delete(&agent, &polling));
                let receipt = server.receipt(&polling);
                let byte = receipt.last_byte_at.map_or(0.0, |at| at.duration_since(sent).as_secs_f64());
                last.push(Duration::from_secs_f64(byte.max(0.0)));
            }
            over.store(true, Ordering::Relaxed);
        });
        println!("  {name}:");
        println!("    to the 202:       {}", summary(&mut accepted));
        let aim = if busy { "50 ms" } else { "10 ms" };
        println!("    to the last byte: {} (aim: p99 {aim})", summary(&mut last));
    }
}

/// The erasure of complete exports of ever more files, and what goes on beside it.
fn many_files(args: &Args) {
    let folder = tempfile::tempdir_in(&args.dir).expect("a folder");
    let source = folder.path().join("source");
    // About 100 000 files of 4 kB, each synced: to make them takes minutes, so they get one round.
    generate(args, &source, if args.quick { 900 } else { 9000 }, &[]);
    let sets = ["export.max_file_bytes=4096", "export.max_active_jobs=10"];
    let server = Server::start(&args.server, folder.path(), &source, &sets);
    server.wait_indexed();
    println!("\nErasure, DELETE to the receipt, in turn with the same files made by hand");
    erase(&server, "?_type=Group", args, folder.path(), 9);
    erase(&server, "?_type=Patient", args, folder.path(), 5);
    erase(&server, "", args, folder.path(), 1);
    drop(server);
    beside_a_sweep(args, folder.path(), &source);
}

/// Rounds of one export of that query, erased; and as many files of that size, removed by
/// `rm -rf` and by bare unlinks.
fn erase(server: &Server, query: &str, args: &Args, folder: &Path, rounds: usize) {
    let rounds = if args.quick { 1 } else { rounds };
    let (mut ours, mut rm, mut bare, mut files, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0, 0);
    for _ in 0..rounds {
        let polling = server.kickoff(query);
        server.wait(&polling);
        rustix::fs::sync();
        delete(&ureq::agent(), &polling);
        let receipt = server.receipt(&polling);
        let took = receipt.gone_at.duration_since(receipt.marked_at).as_secs_f64();
        ours.push(Duration::from_secs_f64(took.max(0.0)));
        (files, bytes) = (receipt.files, receipt.bytes);
        let tree = folder.join("tree");
        make(&tree, files, bytes / files);
        rm.push(timed(|| {
            let removed = Command::new("rm").arg("-rf").arg(&tree).status();
            assert!(removed.is_ok_and(|status| status.success()));
            sync(folder);
        }));
        make(&tree, files, bytes / files);
        bare.push(timed(|| unlink_all(&tree, folder)));
    }
    let rate = |times: &mut Vec<Duration>| files as f64 / median(times).as_secs_f64();
    println!("  {files} files of {} bytes, {rounds} rounds:", bytes / files);
    println!("    ours:               {}, {:.0} files a second", summary(&mut ours), rate(&mut ours));
    println!("    rm -rf + fsync:     {}, {:.0}", summary(&mut rm), rate(&mut rm));
    println!("    {IN_FLIGHT} bare unlinks:     {}, {:.0}", summary(&mut bare), rate(&mut bare));
}

fn timed(what: impl FnOnce()) -> Duration {
    let began = Instant::now();
    what();
    began.elapsed()
}

fn sync(folder: &Path) {
    File::open(folder).and_then(|folder| folder.sync_all()).expect("an fsync");
}

/// Makes so many files of so many bytes, on disk.
fn make(tree: &Path, files: u64, bytes: u64) {
    create_dir(tree).expect("a new folder");
    let content = vec![b'x'; usize::try_from(bytes).expect("a small file")];
    for n in 0..files {
        std::fs::write(tree.join(format!("{n:08}_Observation.ndjson")), &content).expect("a file");
    }
    rustix::fs::sync();
}

fn unlink_all(tree: &Path, folder: &Path) {
    let names: Vec<_> =
        read_dir(tree).expect("a folder").map(|entry| entry.expect("a name").path()).collect();
    std::thread::scope(|scope| {
        for names in names.chunks(names.len().div_ceil(IN_FLIGHT)) {
            scope.spawn(move || names.iter().for_each(|name| remove_file(name).expect("an unlink")));
        }
    });
    remove_dir(tree).expect("an rmdir");
    sync(folder);
}

/// A download alone, and again and again while all files of another export are swept.
fn beside_a_sweep(args: &Args, folder: &Path, source: &Path) {
    let rounds = if args.quick { 1 } else { 2 };
    let (mut alone, mut beside, mut ratios, mut files) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..rounds {
        let here = tempfile::tempdir_in(folder).expect("a folder");
        let server = Server::start(&args.server, here.path(), source, &["export.max_file_bytes=4096"]);
        let many = server.kickoff("");
        server.wait(&many);
        let id = many.rsplit('/').next().expect("an id").to_owned();
        drop(server);
        // The size of files is the server's: the large one is of another start.
        let server = Server::start(&args.server, here.path(), source, &[]);
        let large = server.kickoff("?_type=Observation");
        let manifest = server.wait(&large);
        let url = manifest["output"][0]["url"].as_str().expect("a url").to_owned();
        rustix::fs::sync();
        download(&url);
        let before: Vec<_> = (0..5).map(|_| download(&url)).collect();
        let many = format!("{}/bulk-api/request/{id}", server.base);
        delete(&ureq::agent(), &many);
        let trash = server.folder_of("trash", &many);
        let mut during = Vec::new();
        while trash.exists() {
            during.push(download(&url));
        }
        files = server.receipt(&many).files;
        let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len() as f64;
        ratios.push(mean(&during) / mean(&before));
        alone.extend(before);
        beside.extend(during);
    }
    let middle = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let ratio = middle(&mut ratios);
    println!("\nA download while {files} files are swept, {rounds} rounds");
    println!(
        "  alone {:.0} MB/s, beside the sweep {:.0} MB/s ({} downloads), {ratio:.2}x",
        middle(&mut alone),
        middle(&mut beside),
        beside.len()
    );
}

/// Reads a URL to its end; MB a second.
fn download(url: &str) -> f64 {
    let began = Instant::now();
    let mut body = ureq::get(url).call().expect("200").into_body().into_reader();
    let (mut buffer, mut bytes) = (vec![0; 1 << 20], 0);
    loop {
        match body.read(&mut buffer).expect("a body") {
            0 => break,
            n => bytes += n,
        }
    }
    bytes as f64 / 1e6 / began.elapsed().as_secs_f64()
}
