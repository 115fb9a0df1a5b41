//! The source vanishes or changes, while an export runs or while none does; more of it in
//! `tests/source`. Deletions and downloads do not need it.

use crate::support::{
    Exported, Mounted, Need, Server, Setup, assert_disk_equals_store, assert_erased, assert_receipts,
    copy_folder, delete, eventually, get, job_id, polling_url, run_to_end, skip, source,
};

/// An export fails because the source cannot be read.
fn assert_unreadable(server: &Server) {
    let polling = server.kickoff("$export");
    let answer = eventually("the failure", || Some(get(&polling)).filter(|answer| answer.status != 202));
    assert_eq!(answer.outcome(), (500, "processing".into()));
    let text = answer.json()["issue"][0]["details"]["text"].as_str().unwrap().to_string();
    assert!(text.contains("could not be read"), "{text}");
    assert_eq!(delete(&polling).status, 202);
}

fn export(server: &Server) -> Exported {
    let (polling, manifest) = server.export("$export");
    Exported::of(&polling, &manifest)
}

#[test]
fn a_source_that_is_away_fails_exports_and_nothing_else_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let (there, away) = (folder.path().join("there"), folder.path().join("away"));
    copy_folder(source(), &there);
    let setup = Setup::new().source(&there);
    let server = setup.start();
    let (kept, deleted) = (export(&server), export(&server));
    setup.brake(200_000);
    let running = server.kickoff("$export");
    server.wait_braked(&running);
    std::fs::rename(&there, &away).unwrap();
    setup.release_brake();
    // The one that runs holds what it was planned on.
    Exported::wait(&server, job_id(&running)).assert_is_the_source(&away, |_| true);
    assert_unreadable(&server);
    kept.assert_intact(&server);
    assert_eq!(delete(&polling_url(&server, &deleted.id)).status, 202);
    assert_erased(&setup, &server, &deleted.id, &deleted.files, &["deleted"]);
    std::fs::rename(&away, &there).unwrap();
    export(&server).assert_is_the_source(&there, |_| true);
}

#[test]
fn a_start_without_its_source_is_refused_and_touches_nothing_and_the_next_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (there, away) = (folder.path().join("there"), folder.path().join("away"));
    copy_folder(source(), &there);
    let setup = Setup::new().source(&there).set("export.part_bytes=65536");
    setup.brake(200_000);
    let server = setup.start();
    let running = server.kickoff("$export");
    server.wait_braked(&running);
    server.kill();
    std::fs::rename(&there, &away).unwrap();
    let before = setup.disk().files();
    assert_eq!(run_to_end(&setup, &[]).code(), Some(2));
    assert!(setup.log().contains("cannot use the source"), "{}", setup.log());
    assert_eq!(setup.disk().files(), before);
    std::fs::rename(&away, &there).unwrap();
    setup.release_brake();
    let server = setup.start();
    Exported::wait(&server, job_id(&running)).assert_is_the_source(&there, |_| true);
    server.kill();
    assert_receipts(&setup, &[].into());
    assert_disk_equals_store(&setup);
}

#[test]
fn a_source_that_is_unmounted_is_not_taken_for_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = match Mounted::new(&["-t", "tmpfs", "-o", "size=16M", "tmpfs"], folder.path()) {
        Ok(mounted) => mounted,
        Err(why) => return skip(Need::Mount, "a source that is unmounted", &why),
    };
    copy_folder(source(), folder.path());
    let setup = Setup::new().source(folder.path()).braked(200_000);
    let server = setup.start();
    let running = server.kickoff("$export");
    server.wait_braked(&running);
    drop(mounted);
    setup.release_brake();
    Exported::wait(&server, job_id(&running)).assert_is_the_source(source(), |_| true);
    assert_unreadable(&server);
    assert!(setup.settled_log(&server).contains("unmounted"), "{}", setup.settled_log(&server));
    // A restart says that the folder is meant as it is.
    server.kill();
    let server = setup.start();
    assert_eq!(server.export("$export").1["output"], serde_json::json!([]));
}

#[test]
fn a_source_that_changes_under_a_running_job_fails_it() {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(source()).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let setup = Setup::new().source(folder.path()).set("reaper.interval=20ms").braked(200_000);
    let server = setup.start();
    let polling = server.kickoff("$export");
    server.wait_braked(&polling);
    let changed = folder.path().join("Provenance.ndjson");
    // In place, with the same length and time, as a careless copy does it.
    let (text, before) = (std::fs::read(&changed).unwrap(), std::fs::metadata(&changed).unwrap());
    let mut lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
    lines.reverse();
    std::fs::write(&changed, lines.concat()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&changed).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    setup.release_brake();
    let answer = eventually("the failure", || {
        let answer = get(&polling);
        (answer.status != 202).then_some(answer)
    });
    assert_eq!(answer.outcome(), (500, "processing".into()));
    // The failed job expires as well.
    server.kill();
    let _server = setup.start_with(&["--set", "retention.completed=1ms"]);
    assert_eq!(setup.receipt(job_id(&polling))["reason"], "expired");
    assert!(setup.disk().files().is_empty());
}
