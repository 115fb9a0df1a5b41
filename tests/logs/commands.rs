//! What commands print: a reader that has gone ends a list quietly and keeps nothing from being done;
//! an output that cannot be written is an error, and no panic.

use std::path::Path;
use std::process::{Output, Stdio};

use super::{full, gone};
use crate::support::*;

fn run(arguments: &[&str], out: Stdio, error: Stdio) -> Output {
    let mut command = evanesce_command();
    command.args(arguments).stdout(out).stderr(error).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a command whose output nobody reads, then one whose output cannot be written, and gives
/// what the second one complains of.
fn quiet_then_refused(quiet: &[&str], refused: &[&str]) -> String {
    let output = run(quiet, gone(), Stdio::piped());
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.as_str()), (Some(0), ""), "{quiet:?}");
    let output = run(refused, full(), Stdio::piped());
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{refused:?}: {error}");
    assert!(error.contains("cannot write") && error.lines().count() == 1, "{refused:?}: {error}");
    error
}

#[test]
fn help_and_the_version_are_printed_or_that_is_an_error() {
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["serve", "--help"],
        &["help", "app", "add"],
        &["man"],
        &["completions", "bash"],
    ] {
        quiet_then_refused(arguments, arguments);
    }
    for error in [gone(), full()] {
        assert_eq!(run(&["serve", "--nothing"], gone(), error).status.code(), Some(2));
    }
}

#[test]
fn generate_makes_its_files_whoever_reads_what_it_prints() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| text(&folder.path().join(name)).to_owned();
    let [a, b] = ["a", "b"].map(out);
    let arguments = |out| ["generate", "--patients", "3", "--out", out];
    quiet_then_refused(&arguments(&a), &arguments(&b));
    for made in [a, b] {
        assert!(std::fs::read_dir(made).unwrap().count() > 5);
    }
}

#[test]
fn orders_are_carried_out_whoever_reads_the_answer() {
    let setup = Setup::new();
    let server = setup.start();
    let data = text(&setup.data_dir()).to_owned();
    let of = |arguments: &[&str]| -> Vec<String> {
        let rest = ["--data-dir", &data];
        arguments.iter().chain(&rest).map(|argument| argument.to_string()).collect()
    };
    let [a, b] = [0, 1].map(|_| server.export("$export?_type=Patient").0);
    for [quiet, refused] in [
        [of(&["hold", job_id(&a), "--reason", "r"]), of(&["hold", job_id(&b), "--reason", "r"])],
        [of(&["release", job_id(&a)]), of(&["release", job_id(&b)])],
        [of(&["reaper", "pause", "--reason", "r"]), of(&["reaper", "resume"])],
        [of(&["cancel", "--yes", job_id(&a)]), of(&["cancel", "--yes", job_id(&b)])],
    ] {
        let [quiet, refused] =
            [&quiet, &refused].map(|all| all.iter().map(String::as_str).collect::<Vec<_>>());
        quiet_then_refused(&quiet, &refused);
    }
    for polling in [a, b] {
        assert_eq!(get(&polling).outcome(), (404, "deleted".into()));
        setup.receipt(job_id(&polling));
    }
}

#[test]
fn lists_end_quietly_when_nobody_reads_them() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    let job = job_id(&polling).to_owned();
    assert_eq!(delete(&polling).status, 202);
    setup.receipt(&job);
    server.export("$export?_type=Patient");
    let data = text(&setup.data_dir()).to_owned();
    let lists = |all: &[&[&str]]| {
        for list in all {
            let list = [*list, &["--data-dir", &data]].concat();
            quiet_then_refused(&list, &list);
        }
    };
    lists(&[
        &["status"],
        &["status", "--json"],
        &["jobs"],
        &["jobs", "--json"],
        &["jobs", "show", &job],
        &["holds"],
    ]);
    server.kill();
    lists(&[
        &["receipts", "list"],
        &["receipts", "show", &job],
        &["receipts", "verify"],
        &["receipts", "export", "--format", "ndjson"],
        &["audit", "verify"],
        &["audit", "export"],
    ]);
    let fsck = ["fsck", "--data-dir", &data];
    std::fs::write(setup.data_dir().join("ready/stranger"), "").unwrap();
    // What was found is told by the exit code all the same.
    for out in [Stdio::piped(), gone()] {
        let output = run(&[&fsck[..], &["--json"]].concat(), out, Stdio::piped());
        assert_eq!(output.status.code(), Some(4), "{output:?}");
    }
    let output = run(&fsck, full(), Stdio::piped());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn keys_and_applications_are_written_whoever_reads_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name)).to_owned();
    let [a, b, file] = ["a", "b", "applications.toml"].map(path);
    quiet_then_refused(&["keygen", "--out", &a], &["keygen", "--out", &b]);
    let jwks = format!("{a}/client-jwks.json");
    assert!(Path::new(&jwks).exists() && Path::new(&b).join("client-key.pem").exists());
    let add = |id| {
        let add = ["app", "add", "--applications", &file, "--tenant", "t", "--scopes", "system/*.rs"];
        [&add[..], &["--jwks-file", &jwks, "--client-id", id]].concat()
    };
    quiet_then_refused(&add("one"), &add("two"));
    let switch = |how, id| ["app", how, id, "--tenant", "t", "--applications", &file];
    quiet_then_refused(&switch("disable", "one"), &switch("disable", "two"));
    quiet_then_refused(&switch("disable", "one"), &switch("disable", "two"));
    for more in [&[][..], &["--json"]] {
        let list = [&["app", "list", "--applications", &file], more].concat();
        quiet_then_refused(&list, &list);
    }
    let registered = std::fs::read_to_string(&file).unwrap();
    assert_eq!(registered.matches("active = false").count(), 2, "{registered}");
}

#[test]
fn a_command_that_fails_says_so_by_its_exit_code_when_nobody_reads_why() {
    for error in [gone(), full()] {
        let output = run(&["status", "--data-dir", "/nowhere"], Stdio::piped(), error);
        assert_eq!(output.status.code(), Some(2));
    }
    for error in [gone(), full()] {
        let output = run(&["app", "list", "--applications", "/nowhere"], full(), error);
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn the_demo_ends_with_an_error_if_it_cannot_be_watched() {
    let mut demo = evanesce_command();
    demo.arg("demo").current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = demo.stdout(full()).stderr(Stdio::piped()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("cannot write") && !error.contains("panicked"), "{error}");
}
