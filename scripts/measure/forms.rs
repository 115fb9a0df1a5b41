//! Files stored compressed, against plain ones: writing them, and serving them in each form.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Args;
use crate::contest::Contest;
use crate::exports::export;
use crate::server::Server;
use crate::source::Source;

/// What is asked of files that are stored so, the name of that, and the aim.
const DOWNLOADS: [(&str, &str, &str, f64); 6] = [
    ("zstd", "identity", "plain text out of zstd", 2.0),
    ("gzip", "identity", "plain text out of gzip", 2.0),
    ("gzip", "gzip", "gzip as it is stored", 0.3),
    ("zstd", "zstd", "zstd as it is stored", 0.3),
    ("plain", "gzip", "gzip, compressed on its way", 3.0),
    ("plain", "zstd", "zstd, compressed on its way", 3.0),
];

/// Exports that compress, in turn with those that do not; then downloads of all their files, in turn
/// with those of plain ones.
pub fn all(args: &Args, large: &Source) {
    let rounds = if args.quick { 3 } else { 7 };
    let folders = ["plain", "gzip", "zstd"].map(|form| (form, large.folder()));
    let servers = folders.each_ref().map(|(form, folder)| {
        let stored = format!("export.stored={form}");
        let server = Server::start(&args.server, folder.path(), &large.path, &[&stored]);
        server.wait_indexed();
        (*form, server)
    });
    let of = |form: &str| &servers.iter().find(|(name, _)| *name == form).expect("one of three").1;
    let agent = ureq::agent();
    for (form, aim) in [("gzip", 4.0), ("zstd", 1.5)] {
        let contest = Contest::hold(
            rounds,
            || export(of(form), &agent, "$export"),
            || export(of("plain"), &agent, "$export"),
        );
        println!("\nExport of {} stored as {form}, {rounds} rounds in turn with plain", large.size());
        contest.print([form, "plain"], large.bytes, aim);
    }
    let jobs = servers.each_ref().map(|(form, server)| {
        let polling = server.kickoff("");
        let manifest = server.wait(&polling);
        let files = std::fs::read_dir(server.folder_of("ready", &polling)).expect("the files");
        let lengths = files.map(|file| file.expect("a name").metadata().expect("its length").len());
        println!("  {form}: {:.1} MB on disk", lengths.sum::<u64>() as f64 / 1e6);
        (*form, manifest)
    });
    let manifest = |form: &str| &jobs.iter().find(|(name, _)| *name == form).expect("one of three").1;
    for (form, coding, what, aim) in DOWNLOADS {
        let contest = Contest::hold(
            rounds,
            || download(&agent, manifest(form), coding),
            || download(&agent, manifest("plain"), "identity"),
        );
        println!("\nDownload of {}: {what}, in turn with plain text as it is stored", large.size());
        contest.print([what, "plain"], large.bytes, aim);
    }
}

/// Downloads all files of a manifest, one after the other, in that coding.
fn download(agent: &ureq::Agent, manifest: &Value, coding: &str) -> Duration {
    let began = Instant::now();
    for file in manifest["output"].as_array().expect("files") {
        let request = agent.get(file["url"].as_str().expect("a URL")).header("Accept-Encoding", coding);
        let mut response = request.call().expect("200");
        let sent = response.headers().get("content-encoding").map(|sent| sent.as_bytes());
        assert_eq!(sent.unwrap_or(b"identity"), coding.as_bytes());
        std::io::copy(&mut response.body_mut().as_reader(), &mut std::io::sink()).expect("all of it");
    }
    began.elapsed()
}
