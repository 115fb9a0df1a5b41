//! The real binary, a real data directory, a real HTTP client: what the tests work with.

#![allow(dead_code, reason = "each module uses a part of it")]

pub mod smart;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use evanesce::generate::{Options, generate};
use serde_json::Value;
use tempfile::TempDir;

/// The longest that anything in a test may take; a test that waits longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A small source that all tests share: 30 patients, about 1.4 MB.
pub fn source() -> &'static Path {
    static SOURCE: OnceLock<TempDir> = OnceLock::new();
    let folder = SOURCE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new(30, 7, folder.path());
        generate(&options, &mut |_| {}).unwrap();
        folder
    });
    folder.path()
}

/// Waits for `check` to give something; for what only the file system or a poll can tell.
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The severity and code of an OperationOutcome, and that it is one.
    pub fn issue(&self) -> (String, String) {
        assert_eq!(self.header("content-type"), "application/fhir+json", "{self:?}");
        let json = self.json();
        assert_eq!(json["resourceType"], "OperationOutcome");
        let text = |key: &str| json["issue"][0][key].as_str().unwrap().to_string();
        let issue = &json["issue"][0];
        assert!(!issue["details"]["text"].as_str().unwrap().is_empty());
        // Clients show one or the other; a success is to the letter of D-5.
        let is_success = issue["severity"] == "information";
        assert_eq!(
            issue["diagnostics"],
            if is_success { Value::Null } else { issue["details"]["text"].clone() }
        );
        (text("severity"), text("code"))
    }

    /// Status and issue code, for tables.
    pub fn outcome(&self) -> (u16, String) {
        (self.status, self.issue().1)
    }
}

/// Sends a request without a body and reads the answer to its end.
pub fn send(method: &str, url: &str, headers: &[(&str, &str)]) -> Answer {
    try_send(method, url, headers).unwrap_or_else(|e| panic!("{method} {url}: {e}"))
}

/// Posts a body and reads the answer to its end.
pub fn post(url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    try_send_body("POST", url, headers, body).unwrap_or_else(|e| panic!("POST {url}: {e}"))
}

/// Puts a body and reads the answer to its end.
pub fn put(url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    try_send_body("PUT", url, headers, body).unwrap_or_else(|e| panic!("PUT {url}: {e}"))
}

/// As `send`; the error is that of the connection.
pub fn try_send(method: &str, url: &str, headers: &[(&str, &str)]) -> Result<Answer, ureq::Error> {
    try_send_body(method, url, headers, ())
}

fn try_send_body(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: impl ureq::AsSendBody,
) -> Result<Answer, ureq::Error> {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
    // No header but those given: an absent Accept is a case of its own (C3, C4).
    let agent: ureq::Agent = config.accept(ureq::config::AutoHeaderValue::None).build().into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = agent.run(request.body(body).unwrap())?;
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = response.body_mut().with_config().limit(1 << 30).read_to_vec()?;
    Ok(Answer { status, headers, body })
}

pub fn get(url: &str) -> Answer {
    send("GET", url, &[])
}

pub fn delete(url: &str) -> Answer {
    send("DELETE", url, &[])
}

pub const KICKOFF: [(&str, &str); 2] = [("Accept", "application/fhir+json"), ("Prefer", "respond-async")];

/// A data directory and how to start a server on it, as often as needed.
pub struct Setup {
    pub folder: TempDir,
    pub source: PathBuf,
    pub sets: Vec<String>,
    /// `--auth`; see `smart`.
    pub auth: &'static str,
}

impl Setup {
    pub fn new() -> Self {
        // A test needs no more of the disk than it writes, and polls as often as it likes.
        let sets = ["storage.min_free=1048576", "protocol.poll_interval=0s"].map(String::from).into();
        Self { folder: tempfile::tempdir().unwrap(), source: source().into(), sets, auth: "none" }
    }

    pub fn set(mut self, setting: &str) -> Self {
        self.sets.push(setting.into());
        self
    }

    pub fn source(mut self, source: &Path) -> Self {
        self.source = source.into();
        self
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evanesce"));
        // What is set for the tests is no setting of the server.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("EVANESCE_")) {
            command.env_remove(name);
        }
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        // Whatever a test sets: another server may have the port that operators have by default.
        command.args(["--auth", self.auth, "--set", "admin.listen=127.0.0.1:0"]);
        command.arg("--data-dir").arg(self.data_dir()).arg("--source").arg(&self.source);
        for set in &self.sets {
            command.args(["--set", set]);
        }
        command
    }

    pub fn start(&self) -> Server {
        self.start_with(&[])
    }

    /// Starts a server with more arguments, such as breakpoints; logs go to the end of `log`.
    pub fn start_with(&self, arguments: &[&str]) -> Server {
        let mut command = self.command();
        command.args(arguments);
        self.launch(command)
    }

    /// Starts `command`, which should in the end be a server, and waits until it is ready.
    pub fn launch(&self, command: Command) -> Server {
        self.try_launch(command).unwrap_or_else(|end| panic!("not ready: {end:?}\n{}", self.log()))
    }

    /// As `launch`; the error is how a process ended that was never ready.
    pub fn try_launch(&self, command: Command) -> Result<Server, std::process::ExitStatus> {
        let log = std::fs::OpenOptions::new().append(true).create(true).open(self.folder.path().join("log"));
        self.try_launch_into(log.unwrap(), command)
    }

    /// As `try_launch`, with this as standard error.
    pub fn try_launch_into(
        &self,
        log: impl Into<Stdio>,
        mut command: Command,
    ) -> Result<Server, std::process::ExitStatus> {
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (told, line) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = || {
                let mut line = String::new();
                let _ = stdout.read_line(&mut line);
                line
            };
            let ready = line();
            let operators = if ready.is_empty() { String::new() } else { line() };
            let _ = told.send((ready, operators));
        });
        let (ready, operators) = line.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let _ = child.kill();
            Default::default()
        });
        let operators = operators.trim_end().strip_prefix("operators ").unwrap_or_default().to_string();
        match ready.trim_end().strip_prefix("ready ") {
            Some(base) => Ok(Server { child, base: base.into(), operators, data_dir: self.data_dir() }),
            None => Err(child.wait().unwrap()),
        }
    }

    pub fn disk(&self) -> Disk {
        Disk(self.data_dir())
    }

    /// The erasures that the chain has, in its order.
    pub fn receipts(&self) -> Vec<Value> {
        self.chain().into_iter().filter(|entry| entry["kind"] == "erasure").collect()
    }

    /// All entries of the chain that are not pruned.
    pub fn chain(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.data_dir().join("receipts.ndjson")).unwrap_or_default();
        // The server may be in the middle of appending one.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let lines = whole.map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["checkpoint"].is_null()).map(|line| line["entry"].clone()).collect()
    }

    /// The receipt of a job, once there is one.
    pub fn receipt(&self, job: &str) -> Value {
        let find = || self.receipts().into_iter().find(|receipt| receipt["job"] == job);
        eventually("the receipt", find)
    }
}

/// A running server process; killed when it is dropped.
pub struct Server {
    pub child: Child,
    pub base: String,
    /// Where operators are answered.
    pub operators: String,
    pub data_dir: PathBuf,
}

impl Server {
    /// The field of requests of operators.
    pub fn operator_token(&self) -> String {
        let token = std::fs::read_to_string(self.data_dir.join("operator-token")).unwrap();
        format!("Bearer {}", token.trim())
    }

    /// As `get`, of the operators' listener, with their token.
    pub fn operator(&self, name: &str) -> Answer {
        let url = format!("{}/{name}", self.operators);
        send("GET", &url, &[("Authorization", &self.operator_token())])
    }

    /// Kicks an export off and gives its polling URL.
    pub fn kickoff(&self, path: &str) -> String {
        let answer = send("GET", &format!("{}/{path}", self.base), &KICKOFF);
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.header("content-location").to_string()
    }

    /// Exports and gives the polling URL and the manifest.
    pub fn export(&self, path: &str) -> (String, Value) {
        let polling = self.kickoff(path);
        let manifest = self.wait_complete(&polling);
        (polling, manifest)
    }

    pub fn wait_complete(&self, polling: &str) -> Value {
        eventually("the export", || {
            let answer = get(polling);
            assert!(matches!(answer.status, 200 | 202), "{answer:?}");
            (answer.status == 200).then(|| answer.json())
        })
    }

    /// Waits until a running export has written something and is not done.
    pub fn wait_halfway(&self, polling: &str) {
        eventually("progress", || {
            let answer = get(polling);
            assert_eq!(answer.status, 202, "it should still run: {answer:?}");
            let progress: f64 = answer.header("x-progress").trim_end_matches("% complete").parse().unwrap();
            (progress > 10.0).then_some(())
        });
    }

    /// Waits for the process to end by itself.
    pub fn wait_exit(&mut self) -> std::process::ExitStatus {
        eventually("the end of the process", || self.child.try_wait().unwrap())
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// SIGKILL, and the end of the process.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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
            let lines = answer.body.iter().filter(|b| **b == b'\n').count() as u64;
            let count = file.get("type").map(|_| lines);
            assert_eq!(file.get("count").and_then(Value::as_u64), count, "MF-4: {url}");
            (url, answer.body)
        })
        .collect()
}

/// What stands on disk, seen by walking it.
pub struct Disk(pub PathBuf);

impl Disk {
    /// All files below `building/`, `ready/` and `trash/`, relative to the data directory.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for place in ["building", "ready", "trash"] {
            walk(&self.0.join(place), &mut files);
        }
        files.iter().map(|file| file.strip_prefix(&self.0).unwrap().to_owned()).collect()
    }

    /// The job directories of a place.
    pub fn jobs(&self, place: &str) -> Vec<String> {
        let names = std::fs::read_dir(self.0.join(place)).unwrap();
        let mut names: Vec<_> = names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Whether any place has something of the job.
    pub fn has(&self, job: &str) -> bool {
        ["building", "ready", "trash"]
            .iter()
            .any(|place| self.jobs(place).iter().any(|name| name.starts_with(job)))
    }

    pub fn wait_gone(&self, job: &str) {
        eventually("the directory to go", || (!self.has(job)).then_some(()));
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}
