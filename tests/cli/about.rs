//! Completions, manual pages, help, and what the program says when it is called wrongly.

use std::process::{Command, Stdio};

use super::{NOBODY, ended, run};
use crate::support::{Need, Setup, evanesce_command, skip};

fn evanesce(arguments: &[&str]) -> (i32, String, String) {
    ended(evanesce_command().args(arguments).stdin(Stdio::null()).output().unwrap())
}

/// The sub-commands that the help of a command names, `help` not among them.
fn sub_commands(of: &[&str]) -> Vec<String> {
    let (code, help, error) = evanesce(&[of, &["--help"]].concat());
    assert_eq!((code, error.as_str()), (0, ""), "{of:?}");
    let commands = help.split_once("Commands:\n").map_or("", |(_, rest)| rest);
    let lines = commands.lines().take_while(|line| line.starts_with("  "));
    // What is indented further goes on with the line before.
    let names =
        lines.filter(|line| !line.starts_with("   ")).map(|line| line.split_whitespace().next().unwrap());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn completions_are_accepted_by_their_shells() {
    let folder = tempfile::tempdir().unwrap();
    let shells = [("bash", "-n", Need::Bash), ("zsh", "-n", Need::Zsh), ("fish", "--no-execute", Need::Fish)];
    for (shell, option, need) in shells {
        let (code, script, error) = evanesce(&["completions", shell]);
        assert_eq!((code, error.as_str()), (0, ""));
        assert!(script.contains("receipts") && script.contains("older-than"), "{shell}");
        let file = folder.path().join(shell);
        std::fs::write(&file, script).unwrap();
        match Command::new(shell).arg(option).arg(&file).output() {
            Ok(checked) => assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}"),
            Err(error) => skip(need, "completions", &error.to_string()),
        }
    }
    let (code, _, error) = evanesce(&["completions", "tcsh"]);
    assert!(code == 2 && error.contains("possible values"), "{error}");
}

#[test]
fn there_is_a_manual_page_for_each_command_and_it_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("man");
    let (code, said, error) = evanesce(&["man", "--out", out.to_str().unwrap()]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(said.contains("man -l"), "{said}");
    let mut expected = vec!["evanesce.1".to_owned()];
    for command in sub_commands(&[]) {
        expected.extend(sub_commands(&[&command]).iter().map(|sub| format!("evanesce-{command}-{sub}.1")));
        expected.push(format!("evanesce-{command}.1"));
    }
    expected.sort();
    assert!(expected.len() > 25, "{expected:?}");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut pages: Vec<_> = std::fs::read_dir(&out).unwrap().map(name).collect();
    pages.sort();
    assert_eq!(pages, expected);

    let (code, first, _) = evanesce(&["man"]);
    assert_eq!(code, 0);
    assert_eq!(first, std::fs::read_to_string(out.join("evanesce.1")).unwrap());
    for page in pages {
        let mut man = Command::new("man");
        man.args(["--warnings", "-l"]).arg(out.join(&page)).env("MANWIDTH", "80").env("LC_ALL", "C");
        let Ok(man) = man.output() else {
            return skip(Need::Man, "how the manual pages look", "there is no man");
        };
        let text = String::from_utf8_lossy(&man.stdout);
        assert!(
            man.status.success() && man.stderr.is_empty() && text.contains("SYNOPSIS"),
            "{page}: {man:?}"
        );
        assert!(page != "evanesce.1" || text.contains("Exit codes"), "{text}");
    }
}

#[test]
fn each_command_says_in_a_sentence_what_it_is_for() {
    let mut left: Vec<Vec<String>> = vec![vec![]];
    while let Some(command) = left.pop() {
        let words: Vec<_> = command.iter().map(String::as_str).collect();
        let (code, help, _) = evanesce(&[&words[..], &["-h"]].concat());
        let first = help.lines().next().unwrap();
        assert!(code == 0 && first.len() > 15 && !first.starts_with("Usage"), "{words:?}: {first}");
        left.extend(sub_commands(&words).into_iter().map(|sub| [command.clone(), vec![sub]].concat()));
    }
}

#[test]
fn the_exit_codes_of_the_help_are_those_of_the_manual() {
    let (_, help, _) = evanesce(&["--help"]);
    let codes = help.split_once("Exit codes:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let page = include_str!("../../docs/command-line.md");
    for line in codes.lines() {
        let code = line.split_whitespace().next().unwrap();
        assert!(page.contains(&format!("| {code} |")), "{code} is not in docs/command-line.md");
    }
}

#[test]
fn what_is_typed_wrongly_is_answered_with_what_was_meant() {
    let setup = Setup::new();
    let cases: [(&[&str], &str); 4] = [
        (&["job"], "'jobs'"),
        (&["jobs", "--stat", "running"], "'--state'"),
        (&["jobs", "wacth"], "'watch'"),
        (&["cancel", "42"], "UUID"),
    ];
    for (arguments, expected) in cases {
        let (code, out, error) = run(&setup, arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?} should say {expected}: {error}");
    }
}

#[test]
fn a_command_without_a_server_says_where_it_looked_and_how_to_start_one() {
    let setup = Setup::new();
    let place = setup.data_dir();
    let commands: [&[&str]; 8] = [
        &["status"],
        &["jobs"],
        &["jobs", "show", NOBODY],
        &["jobs", "watch"],
        &["cancel", NOBODY, "--yes"],
        &["hold", NOBODY, "--reason", "x"],
        &["holds"],
        &["reaper", "resume"],
    ];
    for command in commands {
        let (code, out, error) = run(&setup, command);
        assert_eq!((code, out.as_str()), (2, ""), "{command:?}: {error}");
        let start = format!("evanesce serve --data-dir {}", place.display());
        assert!(error.contains("no server runs") && error.contains(&start), "{error}");
    }
}

#[test]
fn the_server_of_another_user_is_told_as_that() {
    let setup = Setup::new();
    let _server = setup.start();
    let program = evanesce_command();
    let mut other = Command::new("setpriv");
    other.args(["--reuid", "65534", "--clear-groups", "--bounding-set", "-all", "--inh-caps", "-all"]);
    other.arg(program.get_program()).args(["status", "--data-dir"]).arg(setup.data_dir());
    let (code, _, error) = match other.output() {
        Ok(output) => ended(output),
        Err(error) => return skip(Need::Setpriv, "the server of another user", &error.to_string()),
    };
    if error.contains("setpriv:") {
        return skip(Need::Setpriv, "the server of another user", &error);
    }
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("another user's") && error.contains("as root"), "{error}");
}
