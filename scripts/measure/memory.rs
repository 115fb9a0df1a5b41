//! Peaks of the resident memory of a real server, phase by phase.

use std::path::Path;

use crate::Args;
use crate::exports::{GROUP, SINCE};
use crate::server::{Server, delete};
use crate::source::Source;

/// The phases in turn, in one process; the peak is set back before each.
pub fn peaks(args: &Args, large: &Source) {
    let folder = large.folder();
    println!("\nPeaks of the server's resident memory over {}", large.size());
    let agent = ureq::agent();
    let server = Server::start(&args.server, folder.path(), &large.path, &[]);
    server.wait_indexed();
    report(&server, "start with an index to build");
    for path in ["$export", GROUP, SINCE] {
        let polling = server.kickoff_at(path);
        server.wait(&polling);
        report(&server, path);
        delete(&agent, &polling);
        server.wait_empty();
    }
    let polling: Vec<_> = (0..4).map(|_| server.kickoff_at(GROUP)).collect();
    polling.iter().for_each(|polling| drop(server.wait(polling)));
    report(&server, "4 exports of the group at once");
    drop(server);
    let server = Server::start(&args.server, folder.path(), &large.path, &[]);
    server.wait_indexed();
    report(&server, "start with the index there");
}

fn report(server: &Server, phase: &str) {
    let proc = Path::new("/proc").join(server.pid().to_string());
    let status = std::fs::read_to_string(proc.join("status")).expect("Linux");
    let megabytes = |name: &str| {
        let text = status.lines().find_map(|line| line.strip_prefix(name));
        let number = text.and_then(|text| text.split_ascii_whitespace().next()?.parse::<f64>().ok());
        number.map_or(f64::NAN, |kib| kib * 1024.0 / 1e6)
    };
    println!("  {phase}: peak {:.0} MB, now {:.0} MB", megabytes("VmHWM:"), megabytes("VmRSS:"));
    // Sets the peak back to what is resident now: proc(5), clear_refs.
    std::fs::write(proc.join("clear_refs"), "5").expect("Linux");
}
