//! Sources that grow, change, vanish or are no good, and the index of them, damaged, outgrown or
//! taken away. Whatever happens: an export holds exactly what the source says, or it fails with a
//! reason and nothing of it is published; the server lives, and the next export is right again.

mod appended;
mod changed;
mod damage;
mod folder;
mod groups;
mod index_files;
mod lines;
mod long;
mod mess;
mod midway;
mod resumed;
pub mod room;
mod stopping;
mod told;
mod unread;
mod unreadable;

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::de::IgnoredAny;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::*;

/// Lines without their line feeds, sorted.
type Lines = Vec<Vec<u8>>;

/// A line with a resource, and its line feed.
fn resource(kind: &str, id: impl Display, text: &str) -> String {
    format!("{{\"resourceType\":\"{kind}\",\"id\":\"{id}\",\"text\":\"{text}\"}}\n")
}

/// Lines, sorted, of a text of whole lines.
fn lines_of(text: &[u8]) -> Lines {
    let mut lines: Lines =
        text.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
    lines.sort_unstable();
    lines
}

/// What stands in the files of a tidy folder.
fn lines_in(folder: &Path) -> Lines {
    let files = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    lines_of(&files.collect::<Vec<_>>().concat())
}

/// What the output files of a manifest hold. No line is torn: each is JSON from its beginning to its
/// end and of the type that is declared, each file ends with a line feed, and the counts are right.
fn exported(manifest: &Value) -> Lines {
    let mut all = Lines::new();
    for file in manifest["output"].as_array().unwrap() {
        let url = file["url"].as_str().unwrap();
        let answer = get(url);
        assert_eq!(answer.status, 200, "{url}");
        let body = answer.body.strip_suffix(b"\n").expect("a file ends with a line feed, and is not empty");
        let before = all.len();
        for line in body.split(|b| *b == b'\n') {
            let whole = serde_json::from_slice::<IgnoredAny>(line);
            assert!(whole.is_ok(), "{url}: a torn line: {whole:?}");
            all.push(line.to_vec());
        }
        assert_eq!(file["count"], all.len() - before, "{url}");
    }
    all.sort_unstable();
    all
}

/// The texts of the manifest's outcomes, sorted.
fn broken(manifest: &Value) -> Vec<String> {
    let mut texts = Vec::new();
    for file in manifest["error"].as_array().unwrap() {
        let body = get(file["url"].as_str().unwrap()).body;
        for line in body.strip_suffix(b"\n").unwrap().split(|b| *b == b'\n') {
            let json: Value = serde_json::from_slice(line).unwrap();
            texts.push(json["issue"][0]["details"]["text"].as_str().unwrap().to_string());
        }
    }
    texts.sort();
    texts
}

/// The text about a broken line.
fn about(line: u64, name: &str, why: &str) -> String {
    format!("Line {line} of {name} {why}; it was left out of the export.")
}

/// That an export of the whole source holds exactly these lines.
#[track_caller]
fn assert_exports(server: &Server, expected: &Lines) {
    assert_same(&exported(&server.export("$export").1), expected);
}

#[track_caller]
fn assert_same(actual: &Lines, expected: &Lines) {
    if actual != expected {
        let show = |lines: Vec<&Vec<u8>>| {
            let clip = |line: &Vec<u8>| String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
            lines.into_iter().take(3).map(clip).collect::<Vec<_>>()
        };
        let (missing, odd): (Vec<_>, Vec<_>) = (
            expected.iter().filter(|line| actual.binary_search(line).is_err()).collect(),
            actual.iter().filter(|line| expected.binary_search(line).is_err()).collect(),
        );
        panic!(
            "{} lines, should be {}; {} are missing: {:?}; {} should not be there: {:?}",
            actual.len(),
            expected.len(),
            missing.len(),
            show(missing),
            odd.len(),
            show(odd)
        );
    }
}

/// The end of an export that must not succeed: what its status says.
fn failure(polling: &str) -> String {
    let answer = eventually("the end of the export", || Some(get(polling)).filter(|it| it.status != 202));
    assert_eq!(answer.outcome(), (500, "processing".into()), "{answer:?}");
    answer.json()["issue"][0]["details"]["text"].as_str().unwrap().to_string()
}

/// That an export fails because the source changed, and that nothing of it is kept (P12).
fn assert_source_changed(setup: &Setup, polling: &str) {
    let text = failure(polling);
    assert!(text.contains("changed while it was being exported"), "{text}");
    eventually("the partial files to go", || {
        let files = setup.disk().files();
        let of_job = |file: &&PathBuf| file.to_str().unwrap().contains(job_id(polling));
        let resources = files.iter().filter(of_job).filter(|file| file.extension() != Some("json".as_ref()));
        (resources.count() == 0).then_some(())
    });
}

/// A folder of one file, `a.ndjson`.
fn folder_of(content: impl AsRef<[u8]>) -> TempDir {
    let folder = scratch();
    std::fs::write(folder.path().join("a.ndjson"), content).unwrap();
    folder
}

fn append(path: &Path, text: &[u8]) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(text).unwrap();
}

/// Writes over a part of a file, in place.
fn overwrite(path: &Path, at: u64, text: &[u8]) {
    writable(path).write_all_at(text, at).unwrap();
}

fn writable(path: &Path) -> File {
    OpenOptions::new().write(true).open(path).unwrap()
}

/// Bytes of the source that were indexed since the server's start.
fn indexed_bytes(server: &Server) -> u64 {
    server.metric("evanesce_indexed_bytes_total") as u64
}

/// Waits until the index was brought up to date once more.
fn wait_indexed(server: &Server, times: f64) {
    eventually("the index", || (server.metric("evanesce_index_seconds_count") >= times).then_some(()));
}

fn index_files(setup: &Setup) -> Vec<PathBuf> {
    let files = std::fs::read_dir(setup.data_dir().join("index/default")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// A tidy file of several chunks, about 44 MB; the lines are about 8 kB, and line `n` has the id
/// `big-n`. Shared: to be copied before it is changed.
fn big() -> &'static Path {
    static BIG: OnceLock<TempDir> = OnceLock::new();
    let make = || {
        let text = "x".repeat(8 << 10);
        let lines = (0..5400).map(|n| resource("Observation", format!("big-{n}"), &text));
        folder_of(lines.collect::<String>())
    };
    BIG.get_or_init(make).path()
}

/// A private copy of the big file, and its content.
fn copy_of_big() -> (TempDir, PathBuf, Vec<u8>) {
    let content = std::fs::read(big().join("a.ndjson")).unwrap();
    let folder = folder_of(&content);
    let path = folder.path().join("a.ndjson");
    (folder, path, content)
}
