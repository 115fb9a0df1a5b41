//! The server under measurement and a client of it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What is measured is asked for as fast as can be, by one client.
const UNLIMITED: [&str; 5] = [
    "protocol.poll_interval=0s",
    "limits.requests_per_second_per_client=0",
    "export.max_active_jobs_per_client=0",
    "export.max_finished_jobs_per_client=0",
    "export.max_known_jobs_per_client=0",
];

/// A running server in a folder of its own.
pub struct Server {
    child: Child,
    pub base: String,
    /// Where operators are answered.
    pub operators: String,
    pub data_dir: PathBuf,
}

impl Server {
    pub fn start(binary: &Path, folder: &Path, source: &Path, sets: &[&str]) -> Self {
        let data_dir = folder.join("data");
        let mut command = Command::new(binary);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--set", "auth.mode=none"])
            .arg("--data-dir")
            .arg(&data_dir)
            .arg("--source")
            .arg(source);
        for set in sets.iter().chain(&["admin.listen=127.0.0.1:0"]).chain(&UNLIMITED) {
            command.args(["--set", set]);
        }
        command.env("RUST_LOG", "error");
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut told = |name| {
            let line = lines.next().expect("a line").expect("a line");
            line.strip_prefix(name).expect("the server is ready").to_owned()
        };
        let (base, operators) = (told("ready "), told("operators "));
        Self { child, base, operators, data_dir }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the source is in the index.
    pub fn wait_indexed(&self) {
        let root = &self.operators;
        let token = std::fs::read_to_string(self.data_dir.join("operator-token")).expect("the token");
        let token = format!("Bearer {}", token.trim());
        loop {
            let request = ureq::get(format!("{root}/metrics")).header("Authorization", &token);
            let metrics = request.call().expect("metrics").body_mut().read_to_string();
            if metrics.expect("a text").contains("evanesce_index_resources") {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kicks an export of everything off.
    pub fn kickoff(&self, query: &str) -> String {
        self.kickoff_at(&format!("$export{query}"))
    }

    /// Kicks an export off by its path and query.
    pub fn kickoff_at(&self, path: &str) -> String {
        self.kickoff_as(path, "")
    }

    /// Kicks an export off with this value of `Authorization`.
    pub fn kickoff_as(&self, path: &str, authorization: &str) -> String {
        let url = format!("{}/{path}", self.base);
        let request =
            ureq::get(url).header("Accept", "application/fhir+json").header("Prefer", "respond-async");
        let response = request.header("Authorization", authorization).call().expect("202");
        response.headers()["content-location"].to_str().expect("a URL").to_owned()
    }

    /// Waits for an export; gives its manifest.
    pub fn wait(&self, polling: &str) -> Value {
        loop {
            let mut response = ureq::get(polling).call().expect("an answer");
            if response.status() == 200 {
                return response.body_mut().with_config().limit(1 << 30).read_json().expect("a manifest");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// `count` complete exports.
    pub fn exports(&self, query: &str, count: usize) -> Vec<String> {
        let polling: Vec<_> = (0..count).map(|_| self.kickoff(query)).collect();
        for url in &polling {
            self.wait(url);
        }
        polling
    }

    /// The folder of a job in one of the places.
    pub fn folder_of(&self, place: &str, polling: &str) -> PathBuf {
        self.data_dir.join(place).join(polling.rsplit('/').next().expect("an id"))
    }

    /// Waits until an export has begun its first file, or is complete.
    pub fn wait_first_file(&self, polling: &str) {
        let is_output = |file: std::io::Result<std::fs::DirEntry>| {
            file.is_ok_and(|file| file.path().extension().is_some_and(|extension| extension == "ndjson"))
        };
        let folder = self.folder_of("building", polling);
        let ready = self.folder_of("ready", polling);
        while !std::fs::read_dir(&folder).is_ok_and(|mut files| files.any(is_output)) && !ready.exists() {
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// Waits until no place has a directory.
    pub fn wait_empty(&self) {
        let empty = |place: &str| {
            std::fs::read_dir(self.data_dir.join(place)).is_ok_and(|mut names| names.next().is_none())
        };
        while !["building", "ready", "trash"].iter().all(|place| empty(place)) {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// The receipt of a job.
    pub fn receipt(&self, polling: &str) -> evanesce::job::Receipt {
        let job = polling.rsplit('/').next().and_then(|id| id.parse().ok()).expect("an id");
        loop {
            let path = self.data_dir.join(evanesce::receipts::FILE_NAME);
            if let Some(receipt) = evanesce::receipts::read(&path, job).expect("receipts") {
                return receipt;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// DELETE, and how long it took to the 202.
pub fn delete(agent: &ureq::Agent, polling: &str) -> Duration {
    let began = Instant::now();
    let response = agent.delete(polling).call().expect("202");
    assert_eq!(response.status(), 202);
    began.elapsed()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
