//! The requirements of the protocol, by their ids: what a conforming client counts on, one test
//! an id and named by it. Tests elsewhere go deeper; docs/requirements.md knows which id has its test
//! where, or why it has none, and `requirements.rs` compares it with the code.

mod common;
mod delete;
mod discovery;
mod files;
mod kickoff;
mod manifest;
mod parsers;
mod requirements;
mod status;

use serde_json::Value;

use crate::support::*;

/// The items of one list of a manifest.
fn items<'a>(manifest: &'a Value, list: &str) -> &'a [Value] {
    manifest[list].as_array().unwrap_or_else(|| panic!("{list} is no array: {manifest}"))
}

/// The types of a manifest's output, each once, sorted.
fn types(manifest: &Value) -> Vec<String> {
    let mut types: Vec<_> =
        items(manifest, "output").iter().map(|file| file["type"].as_str().unwrap().to_string()).collect();
    types.sort();
    types.dedup();
    types
}

/// The resources of a manifest's output.
fn resources(manifest: &Value) -> Vec<Value> {
    let files = items(manifest, "output").iter().map(|file| get(file["url"].as_str().unwrap()).body);
    let lines = files
        .flat_map(|body| String::from_utf8(body).unwrap().lines().map(str::to_owned).collect::<Vec<_>>());
    lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
}

/// A source of these lines.
fn source_of(lines: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("all.ndjson"), lines.join("\n")).unwrap();
    folder
}
