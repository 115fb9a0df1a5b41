//! Jobs as their clients know them: what was exported, that it is intact, hidden or erased.

use std::path::Path;

use serde_json::Value;

use super::{Server, Setup, delete, eventually, get};

/// The id at the end of a polling URL.
pub fn job_id(polling: &str) -> &str {
    polling.rsplit('/').next().unwrap()
}

/// The URL and the bytes of every file of a manifest.
pub fn download_all(manifest: &Value) -> Vec<(String, Vec<u8>)> {
    let files = manifest["output"].as_array().unwrap().iter().chain(manifest["error"].as_array().unwrap());
    files
        .map(|file| {
            let url = file["url"].as_str().unwrap().to_string();
            let answer = get(&url);
            assert_eq!(answer.status, 200, "{url}");
            let lines = memchr::memchr_iter(b'\n', &answer.body).count() as u64;
            let count = file.get("type").map(|_| lines);
            assert_eq!(file.get("count").and_then(Value::as_u64), count, "MF-4: {url}");
            (url, answer.body)
        })
        .collect()
}

/// A job with what it gave to its client when it was complete.
#[derive(Clone)]
pub struct Exported {
    pub id: String,
    /// Name and content of every file of the manifest.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Exported {
    pub fn of(polling: &str, manifest: &Value) -> Self {
        let files = download_all(manifest).into_iter();
        let files = files.map(|(url, bytes)| (job_id(&url).to_string(), bytes)).collect();
        Self { id: job_id(polling).into(), files }
    }

    /// Waits for the job's completion and downloads it.
    pub fn wait(server: &Server, id: &str) -> Self {
        let polling = polling_url(server, id);
        let manifest = server.wait_complete(&polling);
        Self::of(&polling, &manifest)
    }

    /// The job is served, byte for byte as it was (P6).
    pub fn assert_intact(&self, server: &Server) {
        let now = Self::wait(server, &self.id);
        assert_eq!(names(&now), names(self), "{}: another manifest", self.id);
        for ((name, before), (_, after)) in self.files.iter().zip(&now.files) {
            assert!(before == after, "{}/{name}: other bytes than before", self.id);
        }
    }

    /// The job holds each line of the source exactly once and nothing else (P11).
    /// `chosen` tells which source files by their names.
    pub fn assert_is_the_source(&self, source: &Path, chosen: impl Fn(&str) -> bool) {
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for entry in std::fs::read_dir(source).unwrap() {
            let entry = entry.unwrap();
            if chosen(&entry.file_name().to_string_lossy()) {
                let text = std::fs::read(entry.path()).unwrap();
                expected.extend(text.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec));
            }
        }
        let lines = self.files.iter().flat_map(|(_, bytes)| bytes.split_inclusive(|b| *b == b'\n'));
        let mut got: Vec<_> = lines.map(<[u8]>::to_vec).collect();
        expected.sort();
        got.sort();
        assert_eq!(got.len(), expected.len(), "{}: number of resources", self.id);
        assert!(got == expected, "{}: other resources than the source has", self.id);
    }
}

fn names(job: &Exported) -> Vec<&str> {
    job.files.iter().map(|(name, _)| name.as_str()).collect()
}

pub fn polling_url(server: &Server, id: &str) -> String {
    format!("{}/bulk-api/request/{id}", server.base)
}

pub fn file_url(server: &Server, id: &str, name: &str) -> String {
    format!("{}/bulk-api/download/{id}/{name}", server.base)
}

/// Status and the files that are known answer 404 `deleted`, and so does a DELETE (P2).
pub fn assert_hidden(server: &Server, id: &str, files: &[(String, Vec<u8>)]) {
    let deleted = (404, "deleted".to_string());
    assert_eq!(get(&polling_url(server, id)).outcome(), deleted);
    for (name, _) in files {
        assert_eq!(get(&file_url(server, id, name)).outcome(), deleted, "{name}");
    }
    assert_eq!(delete(&polling_url(server, id)).outcome(), deleted);
}

/// The job is hidden, its directory goes, and exactly one receipt says why (P1, P2, P5, P9).
pub fn assert_erased(
    setup: &Setup,
    server: &Server,
    id: &str,
    files: &[(String, Vec<u8>)],
    reasons: &[&str],
) -> Value {
    assert_hidden(server, id, files);
    setup.disk().wait_gone(id);
    let receipt = setup.receipt(id);
    assert!(reasons.contains(&receipt["reason"].as_str().unwrap()), "{receipt}");
    assert_hidden(server, id, files);
    server.wait_erased(id);
    receipt
}
