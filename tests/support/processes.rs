//! The program as a process: servers that may never be ready, or that end by themselves.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use super::{Server, Setup};

/// The program. What is set for the tests is no setting of it.
pub fn evanesce_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evanesce"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("EVANESCE_")) {
        command.env_remove(name);
    }
    command
}

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
