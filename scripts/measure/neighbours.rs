//! A small export by itself, beside one and beside three exports of everything; in turn with
//! it a bare commit, which tells how long the disk alone makes everybody wait.

use std::time::{Duration, Instant};

use crate::baseline::Bare;
use crate::server::{Server, delete};
use crate::source::Source;
use crate::{Args, median, summary};

/// Small exports in one turn.
const EACH: usize = 5;

/// In turn: small exports alone, with one neighbour, with three; with burst workers and without.
pub fn small_beside_huge(args: &Args, large: &Source) {
    let rounds = if args.quick { 2 } else { 5 };
    let bursts: [&[&str]; 2] = [&[], &["export.max_burst_workers=0"]];
    for path in ["$export?_type=Location", "Patient/$export?_type=Location"] {
        println!("\n{path} to its manifest beside $export of {}, {rounds} rounds of {EACH}", large.size());
        for sets in bursts {
            let folder = large.folder();
            let server = Server::start(&args.server, folder.path(), &large.path, sets);
            server.wait_indexed();
            let mut neighbours = Neighbours {
                server: &server,
                agent: ureq::agent(),
                path,
                bare: Bare::prepare(&folder.path().join("bare"), (3 * rounds + 1) * EACH),
            };
            neighbours.beside(0);
            let mut measured = [0, 1, 3].map(|huge| (huge, Vec::new(), Vec::new()));
            for _ in 0..rounds {
                for (huge, small, bare) in &mut measured {
                    let (more_small, more_bare) = neighbours.beside(*huge);
                    small.extend(more_small);
                    bare.extend(more_bare);
                }
            }
            println!("  {}:", sets.first().unwrap_or(&"export.max_burst_workers=16"));
            let alone = median(&mut measured[0].1).as_secs_f64();
            for (huge, small, bare) in &mut measured {
                if small.is_empty() {
                    println!("    beside {huge}: these ended too early");
                    continue;
                }
                let ratio = median(small).as_secs_f64() / alone;
                println!("    beside {huge}:      {}, p50 {ratio:.1}x of alone", summary(small));
                println!("      bare commit: {}", summary(bare));
            }
        }
    }
}

struct Neighbours<'a> {
    server: &'a Server,
    agent: ureq::Agent,
    path: &'a str,
    bare: Bare,
}

impl Neighbours<'_> {
    /// Small exports and bare commits while `huge` others run, which are cancelled after that.
    fn beside(&mut self, huge: usize) -> (Vec<Duration>, Vec<Duration>) {
        let Self { server, agent, path, bare } = self;
        let others: Vec<_> = (0..huge).map(|_| server.kickoff_at("$export")).collect();
        for other in &others {
            server.wait_first_file(other);
        }
        let (mut small, mut commits) = (Vec::new(), Vec::new());
        for _ in 0..EACH {
            let began = Instant::now();
            let polling = server.kickoff_at(path);
            server.wait(&polling);
            let took = began.elapsed();
            delete(agent, &polling);
            let commit = bare.commit();
            // What ran beside huge ones that had ended meanwhile says nothing.
            if others.iter().all(|other| server.folder_of("building", other).exists()) {
                small.push(took);
                commits.push(commit);
            }
        }
        for other in &others {
            delete(agent, other);
        }
        server.wait_empty();
        (small, commits)
    }
}
