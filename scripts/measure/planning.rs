//! Kick-off to its 202, to the plan, and to the manifest of an export that selects nothing,
//! against the same over next to no source.

use std::time::{Duration, Instant};

use crate::exports::{GROUP, SINCE};
use crate::server::{Server, delete};
use crate::source::Source;
use crate::{Args, median, summary};

/// Patients of the small source.
const FEW: u32 = 200;

/// Exports that select nothing: there are no resources of these types. The last one has to look
/// at what every resource points to.
const NOTHING: [&str; 4] = [
    "$export?_type=Slot",
    "Patient/$export?_type=Account",
    "Group/cohort-1/$export?_type=Account",
    "Patient/$export?_type=Account,Endpoint",
];

/// An export with a filter, which is read once and asked for each line.
const FILTER: &str = "Patient/$export?_type=Patient&_typeFilter=Patient%3Fgender%3Dfemale";

/// Exports whose kick-off must take no longer over a large source than over next to none.
const KICKOFFS: [&str; 5] = ["$export", SINCE, "Patient/$export", GROUP, FILTER];

/// Measures kick-offs and plans over a large source in turn with next to none.
pub fn kickoff_to_plan(args: &Args, large: &Source) {
    let rounds = if args.quick { 5 } else { 25 };
    let few = Source::of(args, FEW);
    let folders = [large.folder(), few.folder()];
    let start = |n: usize, source: &Source| Server::start(&args.server, folders[n].path(), &source.path, &[]);
    let servers = [start(0, large), start(1, &few)];
    servers.iter().for_each(Server::wait_indexed);
    println!("\nPlanning over {}, {rounds} rounds in turn with {}", large.size(), few.size());
    let agent = ureq::agent();
    println!("  kick-off to its 202, which comes after the estimate:");
    for path in KICKOFFS {
        in_turn(path, rounds, &servers, |server| to_accepted(server, &agent, path));
    }
    println!("  kick-off to the manifest of an export of nothing:");
    for path in NOTHING {
        in_turn(path, rounds, &servers, |server| to_manifest(server, &agent, path));
    }
    println!("  kick-off to the plan on disk:");
    for path in KICKOFFS {
        in_turn(path, rounds, &servers, |server| to_plan(server, &agent, path));
    }
}

fn in_turn(path: &str, rounds: usize, servers: &[Server; 2], measure: impl Fn(&Server) -> Duration) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let [large, few] = [&servers[0], &servers[1]].map(&measure);
        if round > 0 {
            ours.push(large);
            theirs.push(few);
        }
    }
    println!("    {path}: {}", summary(&mut ours));
    println!("      next to no source: {}", summary(&mut theirs));
    let more = median(&mut ours).as_secs_f64() - median(&mut theirs).as_secs_f64();
    println!("      p50: {:+.2} ms", more * 1000.0);
}

fn to_accepted(server: &Server, agent: &ureq::Agent, path: &str) -> Duration {
    let began = Instant::now();
    let polling = server.kickoff_at(path);
    let took = began.elapsed();
    delete(agent, &polling);
    server.wait_empty();
    took
}

fn to_manifest(server: &Server, agent: &ureq::Agent, path: &str) -> Duration {
    let began = Instant::now();
    let polling = server.kickoff_at(path);
    server.wait(&polling);
    let took = began.elapsed();
    delete(agent, &polling);
    server.wait_empty();
    took
}

fn to_plan(server: &Server, agent: &ureq::Agent, path: &str) -> Duration {
    let began = Instant::now();
    let polling = server.kickoff_at(path);
    let plan = |place| server.folder_of(place, &polling).join("plan.json").exists();
    while !plan("building") && !plan("ready") {
        std::thread::sleep(Duration::from_micros(200));
    }
    let took = began.elapsed();
    delete(agent, &polling);
    server.wait_empty();
    took
}
