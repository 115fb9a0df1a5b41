//! The demo's server process and HTTP client.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::super::CliError;
use super::PATIENCE;

/// A server process and a client of it. Dropping it kills the server.
pub struct DemoClient {
    agent: ureq::Agent,
    server: Child,
    base: String,
    log: PathBuf,
}

/// The parts of a manifest that the demo reads.
#[derive(Deserialize)]
pub struct ManifestBody {
    pub output: Vec<ManifestFile>,
}

/// A file of a manifest.
#[derive(Deserialize)]
pub struct ManifestFile {
    pub url: String,
    pub count: u64,
}

/// The answer to a poll.
pub enum PollStatus {
    /// Percent done.
    Running(f64),
    /// The export is complete.
    Complete(ManifestBody),
}

/// The parts of an OperationOutcome that the demo reads.
#[derive(Deserialize)]
struct OutcomeBody {
    issue: Vec<IssueBody>,
}

#[derive(Deserialize)]
struct IssueBody {
    code: String,
    details: DetailsBody,
}

#[derive(Deserialize)]
struct DetailsBody {
    text: String,
}

type ClientResponse = ureq::http::Response<ureq::Body>;

impl DemoClient {
    /// Starts this program as a server on a free port, throttled to `bytes_per_second`.
    pub fn start(source: &Path, data_dir: &Path, bytes_per_second: u64) -> Result<Self, CliError> {
        let log = data_dir.with_extension("log");
        let mut server = Command::new(std::env::current_exe().map_err(CliError::usage)?)
            .args(["serve", "--auth", "none", "--listen", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(data_dir)
            .arg("--source")
            .arg(source)
            .args(["--set", &format!("export.max_bytes_per_second={}", bytes_per_second.max(1))])
            // This process draws a progress bar itself.
            .args(["--set", "protocol.poll_interval=10ms"])
            .args(["--set", "admin.enabled=false"])
            .stdout(Stdio::piped())
            .stderr(File::create(&log).map_err(CliError::usage)?)
            .spawn()
            .map_err(CliError::usage)?;
        let mut line = String::new();
        if let Some(stdout) = server.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(CliError::usage)?;
        }
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        let agent = config.build().into();
        let base = line.trim_end().strip_prefix("ready ").map(str::to_owned);
        let client = Self { agent, server, base: base.unwrap_or_default(), log };
        if client.base.is_empty() {
            let log = std::fs::read_to_string(&client.log).unwrap_or_default();
            return Err(CliError::usage(format!("demo: the server did not start: {log}")));
        }
        Ok(client)
    }

    /// Returns the base URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    fn get(&self, url: &str) -> Result<ClientResponse, CliError> {
        self.agent.get(url).call().map_err(CliError::failed)
    }

    /// Kicks off an export of everything. Returns its polling URL.
    pub fn kickoff(&self) -> Result<String, CliError> {
        let url = format!("{}/$export", self.base);
        let request =
            self.agent.get(&url).header("Accept", "application/fhir+json").header("Prefer", "respond-async");
        let response = request.call().map_err(CliError::failed)?;
        expect(&response, 202)?;
        let location = response.headers().get("content-location").and_then(|value| value.to_str().ok());
        location.map(str::to_owned).ok_or_else(|| CliError::failed("demo: no Content-Location"))
    }

    /// Polls once.
    pub fn status(&self, polling: &str) -> Result<PollStatus, CliError> {
        let mut response = self.get(polling)?;
        if response.status() == 202 {
            let progress = response.headers().get("x-progress").and_then(|value| value.to_str().ok());
            let percent = progress.and_then(|text| text.split('%').next()?.parse().ok());
            return Ok(PollStatus::Running(percent.unwrap_or_default()));
        }
        expect(&response, 200)?;
        response.body_mut().read_json().map(PollStatus::Complete).map_err(CliError::failed)
    }

    /// Downloads a file.
    pub fn download(&self, url: &str) -> Result<Vec<u8>, CliError> {
        let mut response = self.get(url)?;
        expect(&response, 200)?;
        response.body_mut().with_config().limit(u64::MAX).read_to_vec().map_err(CliError::failed)
    }

    /// Deletes a job. Returns the body of the 202.
    pub fn delete(&self, polling: &str) -> Result<String, CliError> {
        let mut response = self.agent.delete(polling).call().map_err(CliError::failed)?;
        expect(&response, 202)?;
        let outcome: OutcomeBody = response.body_mut().read_json().map_err(CliError::failed)?;
        Ok(outcome.issue.into_iter().map(|issue| issue.details.text).collect())
    }

    /// Returns whether a URL answers 404 with the code `deleted`.
    pub fn is_deleted(&self, url: &str) -> Result<bool, CliError> {
        let mut response = self.get(url)?;
        if response.status() != 404 {
            return Ok(false);
        }
        let outcome: OutcomeBody = response.body_mut().read_json().map_err(CliError::failed)?;
        Ok(outcome.issue.iter().any(|issue| issue.code == "deleted"))
    }

    /// Stops the server and waits for its end.
    pub fn stop(&mut self) -> Result<(), CliError> {
        kill_process(Pid::from_child(&self.server), Signal::TERM).map_err(CliError::failed)?;
        let status = self.server.wait().map_err(CliError::failed)?;
        if status.success() {
            Ok(())
        } else {
            Err(CliError::failed(format!("demo: the server ended with {status}")))
        }
    }
}

impl Drop for DemoClient {
    fn drop(&mut self) {
        // It has usually ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn expect(response: &ClientResponse, status: u16) -> Result<(), CliError> {
    let got = response.status();
    if got == status { Ok(()) } else { Err(CliError::failed(format!("demo: expected {status}, got {got}"))) }
}
