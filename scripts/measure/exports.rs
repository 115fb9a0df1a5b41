//! An export of everything against `cp -r` of the same bytes with fsync.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::server::{Server, delete, generate_source};
use crate::{Args, median};

/// Patients that make about 1 GB.
const PATIENTS: u32 = 21_500;

/// Export and `cp -r` in turn.
pub fn against_cp(args: &Args) {
    let (rounds, patients) = if args.quick { (3, PATIENTS / 10) } else { (5, PATIENTS) };
    let folder = tempfile::tempdir_in(&args.dir).expect("a folder");
    let source = folder.path().join("source");
    let bytes = generate_source(&source, patients);
    let server = Server::start(&args.server, folder.path(), &source, &[]);
    let agent = ureq::agent();
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let export = export(&server, &agent);
        let copy = copy(&source, &folder.path().join("copy"));
        // The first round warms the page cache.
        if round > 0 {
            ours.push(export);
            theirs.push(copy);
            ratios.push(export.as_secs_f64() / copy.as_secs_f64());
        }
    }
    ratios.sort_by(f64::total_cmp);
    let rate = |time: Duration| bytes as f64 / 1e6 / time.as_secs_f64();
    println!(
        "\nExport of {:.2} GB, page-cached, {rounds} rounds in turn with cp -r and fsync",
        bytes as f64 / 1e9
    );
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    println!("  export: p50 {:.2} s, {:.0} MB/s", ours.as_secs_f64(), rate(ours));
    println!("  cp -r:  p50 {:.2} s, {:.0} MB/s", theirs.as_secs_f64(), rate(theirs));
    println!("  time: least {:.2}x, median {:.2}x of cp's", ratios[0], ratios[ratios.len() / 2]);
}

/// From the kick-off to the manifest; the files are deleted after that.
fn export(server: &Server, agent: &ureq::Agent) -> Duration {
    let began = Instant::now();
    let polling = server.kickoff("");
    server.wait(&polling);
    let took = began.elapsed();
    delete(agent, &polling);
    server.wait_empty();
    took
}

fn copy(source: &Path, target: &Path) -> Duration {
    let began = Instant::now();
    let copied = Command::new("cp").arg("-r").arg(source).arg(target).status().expect("cp");
    assert!(copied.success());
    for file in std::fs::read_dir(target).expect("the copy") {
        let file = std::fs::File::open(file.expect("a name").path()).expect("a file");
        file.sync_all().expect("an fsync");
    }
    let took = began.elapsed();
    std::fs::remove_dir_all(target).expect("the copy goes");
    took
}
