//! Files, modes, the store and the receipts are damaged.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{assert_found_and_repaired, fsck, stopped_with_a_job};
use crate::support::{Setup, assert_only_its_receipt_is_left, delete, get, polling_url, set_mode};

#[test]
fn a_complete_job_that_lacks_a_file_or_a_part_of_one_is_given_up() {
    for (damage, expected) in [(None, "is missing"), (Some(10), "has 10 bytes, should have")] {
        let (setup, job) = stopped_with_a_job();
        let file = setup.data_dir().join("ready").join(&job.id).join(&job.files[0].0);
        match damage {
            None => fs::remove_file(&file).unwrap(),
            Some(length) => fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length).unwrap(),
        }
        assert_found_and_repaired(&setup, expected, "repaired", "--repair");
        assert_only_its_receipt_is_left(&setup, setup.start(), &job, "lost");
    }
}

#[test]
fn links_and_files_that_somebody_planted_are_told_and_left_alone() {
    let (setup, job) = stopped_with_a_job();
    let folder = setup.data_dir().join("ready").join(&job.id);
    fs::hard_link(folder.join(&job.files[0].0), setup.folder.path().join("elsewhere")).unwrap();
    fs::write(folder.join("note.txt"), "").unwrap();
    set_mode(&folder.join("note.txt"), 0o600);
    fs::create_dir(setup.data_dir().join("trash/lost+found")).unwrap();
    set_mode(&setup.data_dir().join("trash/lost+found"), 0o700);
    for expected in
        ["has a second name elsewhere", "note.txt is not in the record", "trash/lost+found is a name"]
    {
        assert_found_and_repaired(&setup, expected, "note", "--repair");
    }
    assert!(folder.join("note.txt").exists() && setup.data_dir().join("trash/lost+found").exists());
    job.assert_intact(&setup.start());
}

#[test]
fn what_others_may_open_is_closed() {
    let (setup, job) = stopped_with_a_job();
    let folder = setup.data_dir().join("ready").join(&job.id);
    set_mode(&folder.join(&job.files[0].0), 0o644);
    set_mode(&setup.data_dir(), 0o755);
    assert_found_and_repaired(
        &setup,
        &format!("{} has the mode 0644", job.files[0].0),
        "repaired",
        "--repair",
    );
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder.join(&job.files[0].0)), mode(&setup.data_dir())), (0o600, 0o700));
    job.assert_intact(&setup.start());
}

#[test]
fn a_place_or_a_ballast_that_is_missing_is_made_again() {
    let (setup, job) = stopped_with_a_job();
    fs::remove_dir(setup.data_dir().join("trash")).unwrap();
    assert_found_and_repaired(&setup, "the folder trash/ is missing", "repaired", "--repair");
    fs::remove_file(setup.data_dir().join("ballast")).unwrap();
    assert_found_and_repaired(&setup, "the ballast is missing", "repaired", "--repair");
    fs::write(setup.data_dir().join("ballast"), "").unwrap();
    assert_found_and_repaired(&setup, "the ballast is missing or short", "repaired", "--repair");
    job.assert_intact(&setup.start());
}

#[test]
fn a_store_that_cannot_be_opened_is_rebuilt_and_the_old_one_is_kept() {
    let setup = Setup::new();
    let server = setup.start();
    let kept = server.export("$export?_type=Patient");
    let kept = crate::support::Exported::of(&kept.0, &kept.1);
    let gone = server.export("$export?_type=Goal");
    let gone = crate::support::Exported::of(&gone.0, &gone.1);
    assert_eq!(delete(&polling_url(&server, &gone.id)).status, 202);
    setup.receipt(&gone.id);
    server.kill();
    let store = setup.data_dir().join("store");
    // Nothing outside of the store's room names sled, but for whoever damages it.
    let damaged = sled::open(&store).unwrap();
    damaged.insert(b"j/0123456789abcdef", "nonsense").unwrap();
    drop(damaged);
    let (code, findings, said) = fsck(&setup, &["--repair"]);
    assert_eq!(code, 4, "{said}{findings:#?}");
    assert!(findings.iter().any(|f| f["cure"].as_str().unwrap().contains("--rebuild")), "{findings:#?}");

    assert_found_and_repaired(&setup, "the store is damaged at j/0123456789abcdef", "repaired", "--rebuild");
    let names =
        fs::read_dir(setup.data_dir()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let aside: Vec<_> = names.filter(|name| name.starts_with("store.broken-")).collect();
    assert_eq!(aside.len(), 1);
    assert!(setup.data_dir().join(&aside[0]).join("db").exists());
    let server = setup.start();
    kept.assert_intact(&server);
    assert_eq!(get(&polling_url(&server, &gone.id)).outcome(), (404, "deleted".into()));
}

#[test]
fn receipts_that_do_not_hold_together_keep_what_does_and_the_old_file_is_kept() {
    let setup = Setup::new();
    let server = setup.start();
    let jobs: Vec<_> = (0..3).map(|_| server.export("$export?_type=Goal").0).collect();
    for polling in &jobs {
        assert_eq!(delete(polling).status, 202);
        setup.receipt(crate::support::job_id(polling));
    }
    server.kill();
    let path = setup.data_dir().join("receipts.ndjson");
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = whole.lines().collect();
    let forged = lines[1].replace("\"files\":", "\"files\":1");
    let broken = format!("{}\n{forged}\n{}\n", lines[0], lines[2]);
    fs::write(&path, &broken).unwrap();
    let (code, _, _) = fsck(&setup, &["--repair"]);
    assert_eq!(code, 4);
    assert_eq!(fs::read_to_string(&path).unwrap(), broken, "changed without leave to rebuild");

    assert_found_and_repaired(&setup, "receipts.ndjson, line 2", "repaired", "--rebuild");
    let names =
        fs::read_dir(setup.data_dir()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let aside: Vec<_> = names.filter(|name| name.starts_with("receipts.ndjson.broken-")).collect();
    assert_eq!(fs::read_to_string(setup.data_dir().join(&aside[0])).unwrap(), broken);
    // The chain goes on, and says that something is missing.
    assert!(fs::read_to_string(&path).unwrap().starts_with(lines[0]));
    assert!(setup.chain().iter().any(|entry| entry["kind"] == "gap"));
    evanesce::receipts::verify(&path).unwrap();
    let server = setup.start();
    for polling in &jobs {
        let url = polling_url(&server, crate::support::job_id(polling));
        assert_eq!(get(&url).outcome(), (404, "deleted".into()));
    }
}

#[test]
fn a_chain_whose_end_was_cut_off_is_told() {
    let setup = Setup::new();
    let server = setup.start();
    for _ in 0..2 {
        let (polling, _) = server.export("$export?_type=Goal");
        assert_eq!(delete(&polling).status, 202);
        setup.receipt(crate::support::job_id(&polling));
    }
    crate::support::wait_settled(&setup, &server, &Default::default());
    server.kill();
    let path = setup.data_dir().join("receipts.ndjson");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, &whole[..=whole.find('\n').unwrap()]).unwrap();
    let (_, findings, _) = fsck(&setup, &[]);
    assert!(
        findings.iter().any(|f| f["what"].as_str().unwrap().contains("there is no receipt of it")),
        "{findings:#?}"
    );
    assert_found_and_repaired(
        &setup,
        "entry 2, which the store has seen, is not there",
        "repaired",
        "--repair",
    );
}
