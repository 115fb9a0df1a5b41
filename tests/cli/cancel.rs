//! `evanesce cancel`: what it says before, what it asks, and what it does.

use super::terminal::Terminal;
use super::{NOBODY, done, json, run};
use crate::support::{Setup, get, job_id};

fn is_there(polling: &str) -> bool {
    get(polling).status == 200
}

#[test]
fn without_a_terminal_nothing_is_cancelled_without_yes() {
    let setup = Setup::new();
    let server = setup.start();
    let polling = server.export("$export?_type=Patient").0;
    for arguments in [&["cancel", job_id(&polling)][..], &["cancel", "--older-than", "0s"]] {
        let (code, out, error) = run(&setup, arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{error}");
        assert!(error.contains("end 1 job of default/") && error.contains("--yes"), "{error}");
        assert!(error.contains("KiB of files"), "{error}");
    }
    assert!(is_there(&polling));
    let (code, _, error) = run(&setup, &["cancel", "--yes"]);
    assert!(code == 2 && error.contains("--client"), "{error}");
    assert!(is_there(&polling));
}

#[test]
fn each_job_is_told_and_one_that_is_unknown_keeps_no_other_from_its_end() {
    let setup = Setup::new();
    let server = setup.start();
    let [a, b] = [0, 1].map(|_| server.export("$export?_type=Patient").0);
    let arguments = ["cancel", job_id(&a), NOBODY, job_id(&b), job_id(&a), "--yes"];
    let (code, out, error) = run(&setup, &arguments);
    assert_eq!(code, 1, "{error}");
    let told: Vec<_> = out.lines().map(|line| line.split_once(" is deleted").unwrap().0).collect();
    assert_eq!(told, [job_id(&a), job_id(&b)], "each once");
    assert!(error.contains("1 of 3 failed") && error.contains(NOBODY), "{error}");
    for polling in [&a, &b] {
        assert_eq!(get(polling).outcome(), (404, "deleted".into()));
        assert_eq!(setup.receipt(job_id(polling))["reason"], "deleted");
    }
    // What is deleted already, and nothing but unknown ones.
    for id in [job_id(&a), NOBODY] {
        let (code, out, error) = run(&setup, &["cancel", id, "--yes"]);
        assert_eq!((code, out.as_str()), (1, ""), "{error}");
        assert!(error.contains(id), "{error}");
    }
}

#[test]
fn the_outcomes_are_json_for_programs() {
    let setup = Setup::new();
    let server = setup.start();
    let polling = server.export("$export?_type=Patient").0;
    let (code, out, _) = run(&setup, &["cancel", job_id(&polling), NOBODY, "--yes", "--output", "json"]);
    let outcomes = json(&out);
    assert_eq!(code, 1);
    assert_eq!((&outcomes[0]["job"], &outcomes[0]["done"]), (&job_id(&polling).into(), &true.into()));
    assert_eq!((&outcomes[1]["job"], &outcomes[1]["done"]), (&NOBODY.into(), &false.into()));
    assert!(outcomes[1]["error"].is_string());
    let held = ["hold", NOBODY, NOBODY, "--reason", "x", "-o", "json"];
    let (code, out, _) = run(&setup, &held);
    assert_eq!((code, json(&out)[1]["done"].clone()), (1, false.into()));
}

#[test]
fn the_jobs_of_a_client_and_those_of_an_age_are_cancelled_together() {
    let setup = Setup::new();
    let server = setup.start();
    let all = [0, 1, 2].map(|_| server.export("$export?_type=Patient").0);
    let owner = json(&done(&setup, &["jobs", "--json"]))[0]["owner"].as_str().unwrap().to_owned();
    for arguments in [
        &["cancel", "--client", "somebody-else", "--yes"][..],
        &["cancel", "--client", &owner, "--older-than", "1h", "--yes"],
        &["cancel", "--client", &owner, "--tenant", "other", "--yes"],
    ] {
        let (code, out, error) = run(&setup, arguments);
        assert_eq!((code, out.as_str()), (0, ""), "{error}");
        assert!(error.contains("nothing is cancelled"), "{error}");
    }
    assert!(all.iter().all(|polling| is_there(polling)));
    let told = done(&setup, &["cancel", "--client", &owner, "--yes"]);
    assert_eq!(told.lines().count(), 3, "{told}");
    assert!(all.iter().all(|polling| get(polling).outcome() == (404, "deleted".into())));
}

#[test]
fn on_a_terminal_it_shows_the_jobs_and_asks_first() {
    let setup = Setup::new();
    let server = setup.start();
    let polling = server.export("$export?_type=Patient").0;
    for (key, code, is_left) in [("n", 1, true), ("\x1b", 1, true), ("\r", 1, true), ("y", 0, false)] {
        let mut terminal = Terminal::start(&setup, &["cancel", job_id(&polling)], &[]);
        terminal.wait_for("Go on?");
        terminal.press(key);
        let (ended, shown) = terminal.end();
        assert_eq!(ended, code, "{key:?}: {shown}");
        assert!(shown.contains("CLIENT") && shown.contains("end 1 job of default/"), "{shown}");
        assert_eq!(is_there(&polling), is_left, "{key:?}: {shown}");
    }
    assert_eq!(setup.receipt(job_id(&polling))["reason"], "deleted");
}
