//! The demo's server process and HTTP client.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::super::CliError;
use super::PATIENCE;

/// A server of our own, and how to talk to it. The server is killed when it is dropped.
pub struct Client {
    agent: ureq::Agent,
    server: Child,
    base: String,
    log: PathBuf,
}

/// As much of a manifest as is looked at.
#[derive(Deserialize)]
pub struct Manifest {
    pub output: Vec<ManifestFile>,
}

/// One file of a manifest.
#[derive(Deserialize)]
pub struct ManifestFile {
    pub url: String,
    pub count: u64,
}

/// The answer to a poll.
pub enum Status {
    /// Percent done.
    Running(f64),
    /// Done.
    Complete(Manifest),
}

/// As much of an OperationOutcome as is looked at.
#[derive(Deserialize)]
struct Outcome {
    issue: Vec<Issue>,
}

#[derive(Deserialize)]
struct Issue {
    code: String,
    details: Details,
}

#[derive(Deserialize)]
struct Details {
    text: String,
}

type Response = ureq::http::Response<ureq::Body>;

impl Client {
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
            // It draws a progress bar.
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

    /// The base URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    fn get(&self, url: &str) -> Result<Response, CliError> {
        self.agent.get(url).call().map_err(CliError::failed)
    }

    /// Kicks an export of everything off; gives its polling URL.
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
    pub fn status(&self, polling: &str) -> Result<Status, CliError> {
        let mut response = self.get(polling)?;
        if response.status() == 202 {
            let progress = response.headers().get("x-progress").and_then(|value| value.to_str().ok());
            let percent = progress.and_then(|text| text.split('%').next()?.parse().ok());
            return Ok(Status::Running(percent.unwrap_or_default()));
        }
        expect(&response, 200)?;
        response.body_mut().read_json().map(Status::Complete).map_err(CliError::failed)
    }

    /// Downloads a file.
    pub fn download(&self, url: &str) -> Result<Vec<u8>, CliError> {
        let mut response = self.get(url)?;
        expect(&response, 200)?;
        response.body_mut().with_config().limit(u64::MAX).read_to_vec().map_err(CliError::failed)
    }

    /// Deletes a job; gives the text of the 202.
    pub fn delete(&self, polling: &str) -> Result<String, CliError> {
        let mut response = self.agent.delete(polling).call().map_err(CliError::failed)?;
        expect(&response, 202)?;
        let outcome: Outcome = response.body_mut().read_json().map_err(CliError::failed)?;
        Ok(outcome.issue.into_iter().map(|issue| issue.details.text).collect())
    }

    /// Whether a URL answers 404 with the code `deleted`.
    pub fn is_deleted(&self, url: &str) -> Result<bool, CliError> {
        let mut response = self.get(url)?;
        if response.status() != 404 {
            return Ok(false);
        }
        let outcome: Outcome = response.body_mut().read_json().map_err(CliError::failed)?;
        Ok(outcome.issue.iter().any(|issue| issue.code == "deleted"))
    }

    /// Asks the server to stop and waits for it.
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

impl Drop for Client {
    fn drop(&mut self) {
        // Already ended, as a rule.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn expect(response: &Response, status: u16) -> Result<(), CliError> {
    let got = response.status();
    if got == status { Ok(()) } else { Err(CliError::failed(format!("demo: expected {status}, got {got}"))) }
}
