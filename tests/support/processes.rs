//! Servers that may never be ready, or that end by themselves.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use super::{Server, Setup};

/// Starts a server that may never be ready.
pub fn spawn(setup: &Setup, arguments: &[&str]) -> Server {
    println!("{arguments:?}");
    let mut command = setup.command();
    let log = std::fs::OpenOptions::new().append(true).create(true).open(setup.folder.path().join("log"));
    command.args(arguments).stdout(Stdio::null()).stderr(log.unwrap());
    let child = command.spawn().unwrap();
    Server { child, base: String::new(), operators: String::new(), data_dir: setup.data_dir() }
}

/// Starts a server that should end by itself, at its start or soon after.
pub fn run_to_end(setup: &Setup, arguments: &[&str]) -> ExitStatus {
    spawn(setup, arguments).wait_exit()
}

/// As `run_to_end`, for a server that a breakpoint kills.
pub fn run_to_death(setup: &Setup, arguments: &[&str]) {
    let status = run_to_end(setup, arguments);
    assert_eq!(status.signal(), Some(9), "{arguments:?}: {status:?}\n{}", setup.log());
}
