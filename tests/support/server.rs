//! A data directory, and the real binary as a server on it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    Answer, Disk, KICKOFF, PATIENCE, evanesce_command, eventually, get, job_id, put, send, source,
    temporary_folder, try_send,
};

/// The file beside the data directory that says where exports stand still.
const BRAKE: &str = "brake";

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
        Self { folder: temporary_folder(), source: source().into(), sets, auth: "none" }
    }

    pub fn set(mut self, setting: &str) -> Self {
        self.sets.push(setting.into());
        self
    }

    pub fn source(mut self, source: &Path) -> Self {
        self.source = source.into();
        self
    }

    /// From now on each export stands still once it has written this many bytes, or up to a buffer
    /// more for each worker, until `release_brake`. Jobs that begin under a brake have small buffers. A rate is no substitute: a machine that stands
    /// still for some seconds lets an export run to its end.
    pub fn brake(&self, bytes: u64) {
        std::fs::write(self.brake_file(), bytes.to_string()).unwrap();
    }

    /// Lets exports go on, in this server and in the next.
    pub fn release_brake(&self) {
        std::fs::remove_file(self.brake_file()).unwrap();
    }

    fn brake_file(&self) -> PathBuf {
        self.folder.path().join(BRAKE)
    }

    /// As `brake`, before the first server.
    pub fn braked(self, bytes: u64) -> Self {
        self.brake(bytes);
        self
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The whole lines of the log. They are written behind the answers: a test that looks for what
    /// an answer leaves there takes `settled_log` or `wait_logged`.
    pub fn log(&self) -> String {
        let mut log = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
        log.truncate(log.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The log with all lines from before this call of a server that runs: it keeps their order.
    pub fn settled_log(&self, server: &Server) -> String {
        let answer = get(&format!("{}/healthz", server.operators));
        self.wait_logged(answer.header("x-request-id"));
        self.log()
    }

    /// Waits until the log has this text.
    pub fn wait_logged(&self, text: &str) {
        eventually(text, || self.log().contains(text).then_some(()));
    }

    pub fn command(&self) -> Command {
        let mut command = evanesce_command();
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        // Whatever a test sets: another server may have the port that operators have by default.
        command.args(["--auth", self.auth, "--set", "admin.listen=127.0.0.1:0"]);
        command.arg("--data-dir").arg(self.data_dir()).arg("--source").arg(&self.source);
        command.arg("--brake").arg(self.brake_file());
        for set in &self.sets {
            command.args(["--set", set]);
        }
        command
    }

    /// The server as another program starts it, whose own arguments come first.
    pub fn below(&self, mut program: Command) -> Command {
        let server = self.command();
        program.arg(server.get_program()).args(server.get_args());
        for (name, _) in server.get_envs() {
            program.env_remove(name);
        }
        program
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
    pub fn try_launch(&self, command: Command) -> Result<Server, ExitStatus> {
        let log = std::fs::OpenOptions::new().append(true).create(true).open(self.folder.path().join("log"));
        self.try_launch_into(log.unwrap(), command)
    }

    /// As `try_launch`, with this as standard error.
    pub fn try_launch_into(&self, log: impl Into<Stdio>, mut command: Command) -> Result<Server, ExitStatus> {
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

    /// The receipt of a job, once there is one. What the server, its pages and commands or its store
    /// say of the job follows a moment later: see `Server::wait_erased`.
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

    /// Nothing expires from now on, until `resume_reaper`: what a short time to live is over for can
    /// still be looked at.
    pub fn pause_reaper(&self) {
        let (url, token) = (format!("{}/admin/reaper/pause", self.operators), self.operator_token());
        let answer = put(&url, &[("Authorization", &token)], r#"{"reason": "a test looks"}"#);
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    pub fn resume_reaper(&self) {
        let (url, token) = (format!("{}/admin/reaper/pause", self.operators), self.operator_token());
        assert_eq!(send("DELETE", &url, &[("Authorization", &token)]).status, 200);
    }

    /// All metrics, as Prometheus reads them.
    pub fn metrics(&self) -> String {
        String::from_utf8(self.operator("metrics").body).unwrap()
    }

    /// The sum of a metric over its labels, or of those alone that stand behind its name; 0 if there
    /// is none.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.metrics();
        let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        let is_meant = |series: &str| {
            series.strip_prefix(name).is_some_and(|labels| labels.is_empty() || labels.starts_with('{'))
        };
        let values = lines.filter(|(series, _)| is_meant(series)).map(|(_, value)| value.parse::<f64>());
        values.map(Result::unwrap).sum()
    }

    /// Asks for an export, which may be refused.
    pub fn try_kickoff(&self, path: &str) -> Answer {
        send("GET", &format!("{}/{path}", self.base), &KICKOFF)
    }

    /// Kicks an export off and gives its polling URL.
    pub fn kickoff(&self, path: &str) -> String {
        let answer = self.try_kickoff(path);
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.header("content-location").to_string()
    }

    /// Asks for an export that ends the process, with which its answer may be lost. Gives the job's id and
    /// how the process ended.
    pub fn kickoff_to_the_end(&mut self, path: &str) -> (String, ExitStatus) {
        let disk = Disk(self.data_dir.clone());
        let jobs =
            || -> BTreeSet<_> { [disk.jobs("building"), disk.jobs("ready")].concat().into_iter().collect() };
        let before = jobs();
        let _ = try_send("GET", &format!("{}/{path}", self.base), &KICKOFF);
        let end = self.wait_exit();
        (jobs().difference(&before).next().expect("the job has a directory").clone(), end)
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

    /// Waits until the server itself says that a job is erased, or has forgotten it: its receipt stands
    /// in the chain a moment before the record follows.
    pub fn wait_erased(&self, job: &str) {
        eventually("the erasure to be recorded", || {
            let jobs = self.operator("admin/jobs").json();
            let job = jobs.as_array().unwrap().iter().find(|it| it["job"] == job);
            job.is_none_or(|job| job["state"] == "erased").then_some(())
        });
    }

    /// Waits until an export stands still at the brake.
    pub fn wait_braked(&self, polling: &str) {
        eventually("the brake", || {
            let answer = get(polling);
            assert_eq!(answer.status, 202, "it should still run: {answer:?}");
            self.is_braked(polling).then_some(())
        });
    }

    /// Whether a running export has written as much as the brake allows. Of an encrypted file the disk does
    /// not tell: its last frame is still to come.
    pub fn is_braked(&self, polling: &str) -> bool {
        let brake = std::fs::read_to_string(self.data_dir.with_file_name(BRAKE)).unwrap();
        let jobs = self.operator("admin/jobs").json();
        let job = jobs.as_array().unwrap().iter().find(|job| job["job"] == job_id(polling));
        job.and_then(|job| job["bytes"].as_u64()) >= Some(brake.parse().unwrap())
    }

    /// Waits for the process to end by itself.
    pub fn wait_exit(&mut self) -> ExitStatus {
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
