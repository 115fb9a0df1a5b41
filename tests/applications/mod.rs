//! Population applications (RG-1): the file and its changes while a server runs, what becomes of
//! the jobs of one that is deactivated, and the commands for operators and clients.

mod deactivated;
mod edits;
mod first_use;
mod keys;
mod reload;
mod token;
mod token_server;

use std::path::{Path, PathBuf};
use std::process::Output;

use evanesce::smart::{ClientKey, SigningAlgorithm};
use tempfile::TempDir;

/// Runs `evanesce ARGUMENTS` to its end.
fn run(arguments: &[&str]) -> Output {
    let mut command = crate::support::evanesce_command();
    command.args(arguments).output().unwrap()
}

/// The same, which must succeed; gives what it prints.
fn done(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The same, which must fail with this exit code and print nothing; gives what it complains of.
fn refused(arguments: &[&str], code: i32) -> String {
    let output = run(arguments);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(code), &b""[..]), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder with a JWKS file `a.json`, and the path of a file of applications in it.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (key, _) = ClientKey::generate(SigningAlgorithm::Es384, None).unwrap();
    std::fs::write(folder.path().join("a.json"), key.jwks()).unwrap();
    let file = folder.path().join("applications.toml");
    (folder, file)
}

/// Puts another file in the place of one, as editors do.
fn replace(file: &Path, text: &str) {
    let beside = file.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(&beside, file).unwrap();
}

/// An application with its keys in `a.json`.
fn application(tenant: &str, client_id: &str, more: &str) -> String {
    format!(
        "[[application]]\nclient_id = \"{client_id}\"\ntenant = \"{tenant}\"\nscopes = \"system/*.rs\"\n\
         jwks_file = \"a.json\"\n{more}\n"
    )
}
