//! What an operator orders and sees: the reaper paused, a job under a legal hold, the alarm of a
//! backlog, the metrics that the alert rules name (P5, P8, P9).

mod listener;
mod orders;
mod settings;
mod signs;
mod warrants;

use std::process::Output;

use crate::support::{Setup, evanesce_command};

/// Runs `evanesce ARGUMENTS --data-dir ...` beside the server.
fn evanesce(setup: &Setup, arguments: &[&str]) -> Output {
    let mut command = evanesce_command();
    command.args(arguments).arg("--data-dir").arg(setup.data_dir());
    command.output().unwrap()
}

/// The same, which must succeed; gives what it prints.
pub fn order(setup: &Setup, arguments: &[&str]) -> String {
    let output = evanesce(setup, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The same, which must fail with this exit code; gives what it complains of.
fn refused(setup: &Setup, arguments: &[&str], code: i32) -> String {
    let output = evanesce(setup, arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}
