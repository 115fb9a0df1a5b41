//! `evanesce jobs`: the list, the life of a job, and the jobs while they change.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{NOBODY, command, done, json, run};
use crate::support::{Setup, delete, job_id};

/// The first words of the rows, which are the ids of the jobs.
fn listed(table: &str) -> Vec<&str> {
    table.lines().skip(1).map(|line| line.split_whitespace().next().unwrap()).collect()
}

#[test]
fn a_list_has_a_header_and_shows_jobs_whose_files_are_gone_when_asked_to() {
    let setup = Setup::new();
    let server = setup.start();
    assert_eq!(done(&setup, &["jobs"]), "JOB  STATE  DONE  FILES  SIZE  AGE  CLIENT  NOTE\n");
    let [kept, gone] = [0, 1].map(|_| server.export("$export?_type=Patient").0);
    let [kept, gone_id] = [job_id(&kept), job_id(&gone)];
    assert_eq!(delete(&gone).status, 202);
    server.wait_erased(gone_id);

    let table = done(&setup, &["jobs"]);
    let (header, row) = table.split_once('\n').unwrap();
    let columns: Vec<_> = header.split_whitespace().collect();
    assert_eq!(columns, ["JOB", "STATE", "DONE", "FILES", "SIZE", "AGE", "CLIENT", "NOTE"]);
    for expected in [kept, "complete", "100%", " KiB", "default/", "expires in "] {
        assert!(row.contains(expected), "{expected}: {table}");
    }
    assert_eq!(listed(&table), [kept]);
    assert_eq!(done(&setup, &["jobs", "list"]), table);
    let all = done(&setup, &["jobs", "--all"]);
    assert_eq!(listed(&all), [kept, gone_id]);
    assert!(all.lines().nth(2).unwrap().contains("erased") && all.contains("deleted"), "{all}");

    // Programs get all, as ever.
    for arguments in [&["jobs", "--json"][..], &["jobs", "--output", "json"], &["jobs", "list", "-o", "json"]]
    {
        let jobs = json(&done(&setup, arguments));
        let ids: Vec<_> = jobs.as_array().unwrap().iter().map(|job| job["job"].as_str().unwrap()).collect();
        assert_eq!(ids, [kept, gone_id], "{arguments:?}");
        let whole = |job: &Value| (job["state"].clone(), job["files"].clone(), job["reason"].clone());
        assert_eq!(whole(&jobs[0]), ("complete".into(), 1.into(), Value::Null));
        assert_eq!(whole(&jobs[1]), ("erased".into(), Value::Null, "deleted".into()));
        assert!(jobs[0]["expires_at"].as_str() > jobs[0]["finished_at"].as_str());
    }
}

#[test]
fn a_list_is_filtered_and_sorted() {
    let setup = Setup::new();
    let server = setup.start();
    let small = server.export("$export?_type=Patient").0;
    let large = server.export("$export").0;
    let (small, large) = (job_id(&small), job_id(&large));
    let owner = json(&done(&setup, &["jobs", "--json"]))[0]["owner"].as_str().unwrap().to_owned();
    let all = [small, large];
    let cases: [(&[&str], &[&str]); 9] = [
        (&[], &all),
        (&["--sort", "size"], &[large, small]),
        (&["--sort", "state"], &all),
        (&["--client", &owner], &all),
        (&["--client", "somebody-else"], &[]),
        (&["--tenant", "default"], &all),
        (&["--tenant", "other"], &[]),
        (&["--state", "complete,failed"], &all),
        (&["--state", "running", "--state", "erased"], &[]),
    ];
    for (arguments, expected) in cases {
        assert_eq!(listed(&done(&setup, &[&["jobs"], arguments].concat())), expected, "{arguments:?}");
        assert_eq!(
            listed(&done(&setup, &[&["jobs", "list"], arguments].concat())),
            expected,
            "{arguments:?}"
        );
    }
    let (code, _, error) = run(&setup, &["jobs", "--state", "complet"]);
    assert!(code == 2 && error.contains("'complete'") && error.contains("erased"), "{error}");
    let (code, _, error) = run(&setup, &["jobs", "--client", "x", "show", small]);
    assert!(code == 2 && error.contains("behind its sub-command"), "{error}");
}

#[test]
fn the_life_of_a_job_is_shown_from_its_kick_off_to_its_receipt() {
    let setup = Setup::new().set("reaper.interval=20ms");
    let server = setup.start();
    let polling = server.export("$export?_type=Patient").0;
    let job = job_id(&polling);
    let shown = done(&setup, &["jobs", "show", job]);
    for expected in ["state", "complete", "expires", "Life", "kicked off", "complete: 30 resources in 1 file"]
    {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert!(!shown.contains("Waits for"), "{shown}");

    done(&setup, &["hold", job, "--reason", "case 17"]);
    assert!(done(&setup, &["holds"]).contains("case 17"));
    assert_eq!(json(&done(&setup, &["holds", "-o", "json"]))[0]["job"], job);
    assert_eq!(delete(&polling).status, 202);
    let shown = done(&setup, &["jobs", "show", job]);
    for expected in ["marked for erasure: deleted", "put under a hold", "Waits for\nits release", "case 17"] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    done(&setup, &["release", job]);
    server.wait_erased(job);
    let shown = done(&setup, &["jobs", "show", job]);
    let life = shown.split_once("Life\n").unwrap().1;
    let place = |what: &str| life.find(what).unwrap_or_else(|| panic!("{what}: {shown}"));
    let order =
        ["kicked off", "put under a hold", "marked for erasure", "hidden", "released", "gone: "].map(place);
    assert!(order.is_sorted(), "{shown}");
    let document = json(&done(&setup, &["jobs", "show", job, "-o", "json"]));
    let kinds: Vec<_> = document["receipts"].as_array().unwrap().iter().map(|entry| &entry["kind"]).collect();
    assert_eq!(kinds, ["hold", "release", "erasure"]);

    let (code, out, error) = run(&setup, &["jobs", "show", NOBODY]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(error.contains(NOBODY) && error.contains("evanesce jobs --all"), "{error}");
}

/// `evanesce jobs watch` in a pipe, and its lines.
fn watch(setup: &Setup, arguments: &[&str]) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut command = command(setup, &[&["jobs", "watch", "--interval", "20ms"], arguments].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    (child, lines)
}

#[test]
fn a_watch_prints_a_line_a_change_and_an_interrupt_ends_it_well() {
    let setup = Setup::new();
    let server = setup.start();
    let first = server.export("$export?_type=Patient").0;
    let (child, mut lines) = watch(&setup, &[]);
    let line = lines.next().unwrap();
    assert!(line.contains(job_id(&first)) && line.contains("  complete   100%"), "{line}");
    let second = server.export("$export?_type=Patient").0;
    assert!(lines.any(|line| line.contains(job_id(&second)) && line.contains("complete")));
    assert_eq!(delete(&first).status, 202);
    assert!(
        lines
            .any(|line| line.contains(job_id(&first)) && line.contains("erased") && line.contains("deleted"))
    );
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
    assert_eq!(lines.count(), 0, "the last change is told once");
}

#[test]
fn a_watch_for_programs_has_an_object_a_line_and_ends_when_nobody_reads() {
    let setup = Setup::new();
    let server = setup.start();
    let first = server.export("$export?_type=Patient").0;
    let (child, mut lines) = watch(&setup, &["-o", "json"]);
    let change = json(&lines.next().unwrap());
    assert_eq!((&change["job"], &change["state"]), (&job_id(&first).into(), &"complete".into()));
    assert!(change["at"].is_string());
    drop(lines);
    // The next change finds nobody.
    assert_eq!(delete(&first).status, 202);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}

#[test]
fn a_watch_whose_server_has_gone_says_so() {
    let setup = Setup::new();
    let server = setup.start();
    server.export("$export?_type=Patient");
    let (child, mut lines) = watch(&setup, &[]);
    lines.next().unwrap();
    server.kill();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && error.contains("the server has gone"), "{error}");
}
