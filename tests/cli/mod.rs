//! The command line as people and scripts meet it: tables, JSON, terminals, questions, exit codes,
//! completions and manual pages.

mod about;
mod answers;
mod cancel;
mod jobs;
mod terminal;

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Setup, evanesce_command};

/// A job that no server has.
const NOBODY: &str = "0b7c8f0e-5b0a-4f3e-9d52-8f3c5a1b2c3d";

/// `evanesce ARGUMENTS --data-dir ...` in a pipe, without what a terminal of the tests may set.
fn command(setup: &Setup, arguments: &[&str]) -> Command {
    let mut command = evanesce_command();
    command.args(arguments).arg("--data-dir").arg(setup.data_dir());
    command.stdin(Stdio::null()).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command
}

/// Runs it to its end: exit code, output, errors.
fn run(setup: &Setup, arguments: &[&str]) -> (i32, String, String) {
    ended(command(setup, arguments).output().unwrap())
}

fn ended(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// As `run`, which must succeed without a complaint; gives what it prints.
#[track_caller]
fn done(setup: &Setup, arguments: &[&str]) -> String {
    let (code, out, error) = run(setup, arguments);
    assert_eq!((code, error.as_str()), (0, ""), "{arguments:?}: {out}");
    out
}

#[track_caller]
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
