//! Exports against `cp -r` of the same bytes with fsync.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Args;
use crate::contest::Contest;
use crate::copy::copy;
use crate::server::{Server, delete};
use crate::source::Source;

/// An export of a tenth of everything, by age.
pub const SINCE: &str = "$export?_since=2026-01-01T00:00:00Z";

/// An export of a tenth of everything, by patient.
pub const GROUP: &str = "Group/cohort-1/$export";

/// An export of everything.
pub fn everything(args: &Args, large: &Source) {
    let rounds = if args.quick { 3 } else { 7 };
    let folder = large.folder();
    let server = Server::start(&args.server, folder.path(), &large.path, &[]);
    server.wait_indexed();
    let agent = ureq::agent();
    let target = folder.path().join("copy");
    let contest = Contest::hold(rounds, || export(&server, &agent, "$export"), || copy(&large.path, &target));
    println!("\nExport of {}, page-cached, {rounds} rounds in turn with cp -r and fsync", large.size());
    contest.print(["export", "cp -r"], large.bytes, 1.15);
}

/// Exports of a tenth: of what is new, and of a group.
pub fn selections(args: &Args, large: &Source) {
    let rounds = if args.quick { 3 } else { 11 };
    let folder = large.folder();
    let server = Server::start(&args.server, folder.path(), &large.path, &[]);
    server.wait_indexed();
    let agent = ureq::agent();
    for path in [SINCE, GROUP] {
        let (selected, target) = (folder.path().join("selected"), folder.path().join("copy"));
        let bytes = keep_output(&server, &agent, path, &selected);
        let contest = Contest::hold(rounds, || export(&server, &agent, path), || copy(&selected, &target));
        println!(
            "\n{path}: {:.0} MB of {:.0}, page-cached, {rounds} rounds in turn with cp -r and fsync of just these",
            bytes as f64 / 1e6,
            large.bytes as f64 / 1e6
        );
        contest.print(["export", "cp -r"], bytes, 2.0);
        std::fs::remove_dir_all(selected).expect("the copy goes");
    }
}

/// From the kick-off to the manifest; the files are deleted after that.
pub fn export(server: &Server, agent: &ureq::Agent, path: &str) -> Duration {
    let began = Instant::now();
    let polling = server.kickoff_at(path);
    server.wait(&polling);
    let took = began.elapsed();
    delete(agent, &polling);
    server.wait_empty();
    took
}

/// Copies the files of an export to a new folder; their bytes.
fn keep_output(server: &Server, agent: &ureq::Agent, path: &str, target: &Path) -> u64 {
    let polling = server.kickoff_at(path);
    server.wait(&polling);
    std::fs::create_dir(target).expect("a new folder");
    let mut bytes = 0;
    for file in std::fs::read_dir(server.folder_of("ready", &polling)).expect("the files") {
        let file = file.expect("a name");
        if file.path().extension().is_some_and(|extension| extension == "ndjson") {
            bytes += std::fs::copy(file.path(), target.join(file.file_name())).expect("a copy");
        }
    }
    delete(agent, &polling);
    server.wait_empty();
    bytes
}
