//! The HTTP face and the command line, operation by operation, as a client meets them: the
//! ids in the tests (K-7, D-5, C3, ...) are those of the requirements.

mod binary;
mod bounds;
mod coded;
mod command_line;
mod conditions;
mod content;
pub mod cut;
mod definitions;
mod discovery;
mod download;
mod group;
mod groups;
mod hostile;
mod hostile_fields;
mod hostile_reads;
mod kickoff;
mod life_table;
mod limits;
mod messy;
mod narrow;
mod openapi;
mod organized;
mod partial;
mod post;
mod prevented;
mod profile;
mod races;
pub mod raw;
mod request_id;
mod revoked;
mod shutdown;
mod status;
mod tenants;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::*;

/// Lines by resource type, sorted, so that two sets of files can be compared.
type Lines = BTreeMap<String, Vec<Vec<u8>>>;

fn sorted(mut lines: Lines) -> Lines {
    lines.values_mut().for_each(|lines| lines.sort_unstable());
    lines
}

/// What the files of a tidy folder hold.
fn lines_of(folder: &Path) -> Lines {
    let mut lines = Lines::new();
    for file in std::fs::read_dir(folder).unwrap() {
        for line in std::fs::read(file.unwrap().path()).unwrap().split(|b| *b == b'\n') {
            if !line.is_empty() {
                let json: Value = serde_json::from_slice(line).unwrap();
                let resource_type = json["resourceType"].as_str().unwrap().to_string();
                lines.entry(resource_type).or_default().push(line.to_vec());
            }
        }
    }
    sorted(lines)
}

/// What the output files of a manifest hold: downloaded, each line being a resource of the
/// type that the manifest declares, each count being that of the lines, no file empty.
fn exported(manifest: &Value) -> Lines {
    let mut lines = Lines::new();
    for file in manifest["output"].as_array().unwrap() {
        let (url, declared) = (file["url"].as_str().unwrap(), file["type"].as_str().unwrap());
        let answer = get(url);
        assert_eq!(answer.status, 200, "{url}");
        assert!(url.ends_with(&format!("_{declared}.ndjson")), "G-1: {url}");
        let body = answer.body.strip_suffix(b"\n").expect("each line ends with a line feed (O-2)");
        let found: Vec<_> = body.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        assert_eq!(file["count"], found.len(), "{url}");
        for line in &found {
            let json: Value = serde_json::from_slice(line).unwrap();
            assert_eq!(json["resourceType"], declared, "O-1: {url}");
        }
        lines.entry(declared.to_string()).or_default().extend(found);
    }
    sorted(lines)
}

/// Writes every file of a source anew, in place: with a blank line in front.
fn touch_all(folder: &Path) {
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let content = std::fs::read(&path).unwrap();
        std::fs::write(&path, [b"\n", content.as_slice()].concat()).unwrap();
    }
}

/// The URL of the first file of a manifest.
fn first_file(manifest: &Value) -> String {
    manifest["output"][0]["url"].as_str().unwrap().to_string()
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}
