//! The disk is really full, or a quota is used up that `statvfs` does not tell of: file systems of
//! their own under the data directory. Exports run until there is no room and fail; deletions go
//! on working, by the ballast, by what the deletion itself gives back, or by the last reserve.

use super::mount::{Kind, Mount, big_source, on_each};
use crate::support::*;

const MIB: u64 = 1 << 20;

const BALLAST: u64 = 64 * MIB;

const ALL: &[Kind] = &[Kind::Tmpfs, Kind::Ext4, Kind::Quota];

/// Whether a file of two blocks is too much; where there is a quota nobody else tells.
fn is_full(setup: &Setup) -> bool {
    std::fs::write(setup.data_dir().join("straw"), [1; 8192]).is_err()
}

fn has_ballast(setup: &Setup) -> bool {
    std::fs::metadata(setup.data_dir().join("ballast")).is_ok_and(|file| file.len() == BALLAST)
}

/// Exports until one fails, or is refused, for want of room; gives those that are complete and the
/// failed one.
fn export_until_full(server: &Server) -> (Vec<Exported>, Option<String>) {
    let mut complete = Vec::new();
    loop {
        let kickoff = server.try_kickoff("$export");
        if kickoff.status == 503 {
            assert_eq!(kickoff.outcome().1, "no-store");
            return (complete, None);
        }
        let polling = kickoff.header("content-location").to_string();
        let answer = eventually("the end of an export", || Some(get(&polling)).filter(|a| a.status != 202));
        if answer.status != 200 {
            assert_eq!(answer.outcome(), (500, "processing".into()));
            let text = answer.json()["issue"][0]["details"]["text"].as_str().unwrap().to_string();
            assert!(text.contains("no room"), "{text}");
            return (complete, Some(polling));
        }
        complete.push(Exported::of(&polling, &answer.json()));
        assert!(complete.len() < 20, "the disk does not fill");
    }
}

#[test]
fn exports_that_fill_the_disk_fail_and_deletions_go_on() {
    on_each(ALL, "exports that fill a disk", |setup, mount| {
        let server = setup.start();
        assert!(has_ballast(setup));
        let (mut complete, failed) = export_until_full(&server);
        assert!(complete.len() >= 3, "{}", complete.len());
        assert!(failed.is_some() || mount.kind == Kind::Quota);
        if let Some(failed) = &failed {
            eventually("the partial files to go", || {
                let folder = setup.data_dir().join("building").join(job_id(failed));
                (std::fs::read_dir(folder).unwrap().count() == 1).then_some(())
            });
        }
        // What is complete is served, and deleted.
        let deleted = complete.pop().unwrap();
        complete[0].assert_intact(&server);
        for id in failed.iter().map(|polling| job_id(polling)).chain([&*deleted.id]) {
            assert_eq!(delete(&polling_url(&server, id)).status, 202);
            assert_erased(setup, &server, id, &[], &["deleted"]);
        }
        if mount.kind == Kind::Quota {
            // Nobody could tell how near the quota was: the ballast may have gone. Exports wait
            // until there is room for it again.
            for job in complete {
                assert_eq!(delete(&polling_url(&server, &job.id)).status, 202);
            }
            eventually("the ballast", || has_ballast(setup).then_some(()));
        }
        assert!(has_ballast(setup), "exports take nothing of the ballast");
        // There is room for another one.
        eventually("a kick-off that is taken", || {
            let answer = server.try_kickoff("$export");
            (answer.status == 202).then(|| server.wait_complete(answer.header("content-location")))
        });
    });
}

/// Two complete jobs on a disk that others have filled to the last byte.
fn full(setup: &Setup, mount: &Mount) -> (Server, [Exported; 2]) {
    let server = setup.start();
    let jobs = [(); 2].map(|()| server.export("$export"));
    mount.fill("others");
    assert!(is_full(setup));
    (server, jobs.map(|(polling, manifest)| Exported::of(&polling, &manifest)))
}

/// A 202 at once, and the right receipt, whatever room there is.
fn delete_whole(setup: &Setup, server: &Server, job: &Exported) {
    assert_eq!(delete(&polling_url(server, &job.id)).status, 202, "{}", setup.log());
    let receipt = assert_erased(setup, server, &job.id, &job.files, &["deleted"]);
    let bytes: u64 = job.files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    assert!(receipt["bytes"].as_u64().unwrap() > bytes, "{receipt}");
    assert_eq!(receipt["files"], 4, "its file and three documents: {receipt}");
}

#[test]
fn a_disk_that_others_fill_keeps_nothing_of_what_was_deleted() {
    on_each(ALL, "a disk that others fill", |setup, mount| {
        let (server, [by_ballast, by_itself]) = full(setup, mount);
        let refused = server.try_kickoff("$export");
        assert_eq!(refused.outcome(), (503, "no-store".into()));
        by_ballast.assert_intact(&server);
        delete_whole(setup, &server, &by_ballast);
        assert!(!has_ballast(setup), "it was given up");
        // What the deletion gave back is taken as well.
        mount.fill("others too");
        assert!(is_full(setup));
        by_itself.assert_intact(&server);
        delete_whole(setup, &server, &by_itself);
        assert!(setup.settled_log(&server).contains("its files were removed first"));

        // The others are gone: the same process makes the ballast again, and exports.
        for name in ["others", "others too", "straw"] {
            let removed = std::fs::remove_file(setup.data_dir().join(name));
            assert!(removed.is_ok() || name == "straw", "{removed:?}");
        }
        eventually("the ballast", || has_ballast(setup).then_some(()));
        let polling = eventually("a kick-off that is taken", || {
            let answer = server.try_kickoff("$export");
            (answer.status == 202).then(|| answer.header("content-location").to_string())
        });
        server.wait_complete(&polling);
        wait_settled(setup, &server, &[job_id(&polling).to_string()].into());
        server.kill();
        crate::support::assert_disk_equals_store(setup);
    });
}

#[test]
fn a_server_starts_on_a_full_disk_and_ends_the_deletions_that_it_finds() {
    on_each(ALL, "a start on a full disk", |setup, mount| {
        setup.start().kill();
        let store = setup.data_dir().join("store");
        let empty = setup.folder.path().join("empty");
        super::copy_folder(&store, &empty);
        let (server, [marked, complete]) = full(setup, mount);
        server.kill();
        let server = setup.start_with(&["--breakpoint", "sweep-begins=hold"]);
        assert_eq!(delete(&polling_url(&server, &marked.id)).status, 202);
        server.kill();
        // The store has lost the mark, and everything else.
        std::fs::remove_dir_all(&store).unwrap();
        super::copy_folder(&empty, &store);
        mount.fill("others too");
        assert!(is_full(setup));
        assert!(!has_ballast(setup));
        let server = setup.start();
        assert_erased(setup, &server, &marked.id, &marked.files, &["recovered"]);
        complete.assert_intact(&server);
        server.kill();
    });
}

#[test]
fn a_server_starts_on_its_last_reserve_and_a_deletion_makes_room() {
    on_each(ALL, "a start with nothing to give back", |setup, mount| {
        let (server, [first, second]) = full(setup, mount);
        delete_whole(setup, &server, &first);
        mount.fill("others too");
        server.kill();
        assert!(is_full(setup) && !has_ballast(setup));
        let server = setup.start();
        second.assert_intact(&server);
        assert!(setup.settled_log(&server).contains("on its last reserve"), "{}", setup.settled_log(&server));
        // That is taken as well: without anything to give back a start may be refused.
        mount.fill("others again");
        server.kill();
        match setup.try_launch(setup.command()) {
            // The store needed no more than it had.
            Ok(server) => second.assert_intact(&server),
            Err(end) => {
                assert_eq!(end.code(), Some(2));
                let said = setup.log();
                assert!(said.contains("(os error 28)") || said.contains("(os error 122)"), "{said}");
            }
        }
        std::fs::remove_file(setup.data_dir().join("others again")).unwrap();
        let server = setup.start();
        second.assert_intact(&server);
        delete_whole(setup, &server, &second);
        wait_settled(setup, &server, &[].into());
        server.kill();
        crate::support::assert_disk_equals_store(setup);
    });
}

#[test]
fn without_inodes_exports_are_refused_and_deletions_go_on_over_starts() {
    on_each(&[Kind::FewInodes], "a file system without inodes", |setup, mount| {
        let server = setup.start();
        let jobs = [(); 2].map(|()| server.export("$export"));
        let [first, second] = jobs.map(|(polling, manifest)| Exported::of(&polling, &manifest));
        mount.take_inodes();
        let refused = server.try_kickoff("$export");
        assert_eq!(refused.outcome(), (503, "no-store".into()));
        assert_eq!(delete(&polling_url(&server, &first.id)).status, 202, "{}", setup.log());
        assert_erased(setup, &server, &first.id, &first.files, &["deleted"]);
        let mut server = server;
        server.signal(rustix::process::Signal::TERM);
        server.wait_exit();
        // The socket's as well.
        mount.take_inodes();
        let server = setup.start();
        second.assert_intact(&server);
        assert_eq!(delete(&polling_url(&server, &second.id)).status, 202, "{}", setup.log());
        assert_erased(setup, &server, &second.id, &second.files, &["deleted"]);
        wait_settled(setup, &server, &[].into());
        server.kill();
        crate::support::assert_disk_equals_store(setup);
    });
}

/// Lets a server run with a limit of the size of its files, in bytes.
fn limited(setup: &Setup, bytes: u64) -> std::process::Command {
    let mut prlimit = std::process::Command::new("prlimit");
    prlimit.arg(format!("--fsize={bytes}:{bytes}"));
    setup.below(prlimit)
}

#[test]
fn a_limit_of_the_size_of_files_splits_exports_and_never_ends_the_process() {
    let setup = Setup::new().source(big_source());
    if std::process::Command::new("prlimit").arg("--version").output().is_err() {
        return crate::support::skip(Need::Prlimit, "a limit of the size of files", "it does not start");
    }
    let server = setup.launch(limited(&setup, 4 * MIB));
    let (polling, manifest) = server.export("$export");
    let job = Exported::of(&polling, &manifest);
    assert!(job.files.len() > 5 && job.files.iter().all(|(_, bytes)| bytes.len() as u64 <= 4 * MIB));
    assert!(setup.settled_log(&server).contains("RLIMIT_FSIZE"), "{}", setup.settled_log(&server));
    assert_eq!(delete(&polling).status, 202);
    assert_erased(&setup, &server, &job.id, &job.files, &["deleted"]);
    // Nothing at all fits into a file: the export fails, and says why.
    server.kill();
    let server = setup.launch(limited(&setup, MIB));
    let polling = server.kickoff("$export");
    let failed = eventually("the end of the export", || Some(get(&polling)).filter(|it| it.status != 202));
    assert_eq!(failed.outcome(), (500, "processing".into()));
    assert!(String::from_utf8_lossy(&failed.body).contains("no room"), "{failed:?}");
    assert_eq!(delete(&polling).status, 202);
    setup.receipt(job_id(&polling));
    assert_eq!(server.operator("readyz").status, 200);
}

#[test]
fn a_file_system_that_turns_read_only_acknowledges_nothing_and_loses_nothing() {
    on_each(&[Kind::Ext4], "a file system that turns read-only", |setup, mount| {
        let server = setup.start();
        let jobs = [(); 2].map(|()| server.export("$export"));
        let [deleted, kept] = jobs.map(|(polling, manifest)| Exported::of(&polling, &manifest));
        delete_whole(setup, &server, &deleted);
        wait_settled(setup, &server, &[kept.id.clone()].into());
        if let Err(why) = mount.turn_read_only() {
            return crate::support::skip(Need::FsError, "a file system that turns read-only", &why);
        }
        kept.assert_intact(&server);
        let mut server = server;
        if let Ok(answer) = try_send("DELETE", &polling_url(&server, &kept.id), &[]) {
            assert!(answer.status >= 500, "{answer:?}");
        }
        assert_eq!(server.wait_exit().code(), Some(70));
        let end = setup.try_launch(setup.command()).err().expect("nothing can be written");
        assert_eq!(end.code(), Some(2));
        assert!(setup.log().contains("Read-only file system"), "{}", setup.log());
        mount.repair(setup);
        let server = setup.start();
        crate::support::assert_hidden(&server, &deleted.id, &deleted.files);
        // Nothing was acknowledged: either is right, and it goes in the end.
        if get(&polling_url(&server, &kept.id)).status == 200 {
            kept.assert_intact(&server);
            delete_whole(setup, &server, &kept);
        }
        wait_settled(setup, &server, &[].into());
        server.kill();
        crate::support::assert_disk_equals_store(setup);
    });
}
