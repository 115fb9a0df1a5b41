//! Directories that cannot be moved to `trash/`: mount points, those of a lower layer of an
//! overlay, immutable ones. A deletion is acknowledged all the same, for a name in `trash/` is the
//! second witness (P1); the files are erased where they stand, over crashes and with a store that
//! has forgotten the mark, and the receipt waits for the last name (P4, P5).

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::support::*;

fn setup() -> Setup {
    let setup = Setup::new().set("reaper.interval=50ms");
    setup.set("reaper.retry_min=20ms").set("reaper.retry_max=50ms")
}

fn export(server: &Server) -> Exported {
    let (polling, manifest) = server.export("$export?_type=Patient,Encounter");
    Exported::of(&polling, &manifest)
}

/// The files of a directory that cannot go itself: they are gone, its job is hidden and waits.
fn assert_emptied(setup: &Setup, server: &Server, job: &Exported) {
    let folder = setup.data_dir().join("ready").join(&job.id);
    eventually("its files to go", || (std::fs::read_dir(&folder).unwrap().count() == 0).then_some(()));
    assert_hidden(server, &job.id, &job.files);
    eventually("a failed sweep", || {
        (server.operator("readyz").json()["reaper"]["failed"] != 0).then_some(())
    });
    assert_eq!(server.operator("readyz").json()["reaper"]["marked"], 1);
    assert_eq!(setup.receipts().len(), 0, "its name is still there");
}

/// The one erasure there was is told of with all its files, and nothing else is left.
fn assert_settled(setup: &Setup, server: Server, job: &Exported, reason: &str) {
    let receipt = assert_erased(setup, &server, &job.id, &job.files, &[reason]);
    let bytes: usize = job.files.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(receipt["bytes"].as_u64().unwrap() > bytes as u64, "{receipt}");
    assert_eq!(receipt["files"], job.files.len() + 3, "and three documents: {receipt}");
    wait_settled(setup, &server, &BTreeSet::new());
    server.kill();
    assert_receipts(setup, &BTreeSet::from([job.id.clone()]));
    assert_disk_equals_store(setup);
}

#[test]
fn a_job_whose_directory_is_a_mount_point_is_emptied_and_erased_when_that_is_over() {
    let setup = setup();
    let server = setup.start();
    let job = export(&server);
    let folder = setup.data_dir().join("ready").join(&job.id);
    let mounted = match Mounted::new(&["--bind", folder.to_str().unwrap()], &folder) {
        Ok(mounted) => mounted,
        Err(why) => return skip(Need::Mount, "a directory that is a mount point", &why),
    };
    assert_eq!(delete(&polling_url(&server, &job.id)).status, 202, "{}", setup.log());
    assert_emptied(&setup, &server, &job);
    drop(mounted);
    assert_settled(&setup, server, &job, "deleted");
}

#[test]
fn a_job_in_an_immutable_folder_is_emptied_and_erased_when_that_is_over() {
    let setup = setup();
    let server = setup.start();
    let job = export(&server);
    let ready = setup.data_dir().join("ready");
    let chattr = |flag: &str, folder: &Path| run(Command::new("chattr").arg(flag).arg(folder));
    if let Err(why) = chattr("+i", &ready) {
        return skip(Need::Immutable, "an immutable folder", &why);
    }
    let immutable = scopeguard(|| drop(chattr("-i", &ready)));
    assert_eq!(delete(&polling_url(&server, &job.id)).status, 202, "{}", setup.log());
    assert_emptied(&setup, &server, &job);
    server.kill();
    // A start finds it as it was.
    let server = setup.start();
    assert_emptied(&setup, &server, &job);
    drop(immutable);
    // What an earlier process removed is not counted.
    assert_erased(&setup, &server, &job.id, &job.files, &["deleted"]);
    wait_settled(&setup, &server, &BTreeSet::new());
    server.kill();
    assert_disk_equals_store(&setup);
}

#[test]
fn a_job_of_a_lower_layer_is_erased_where_it_stands() {
    let setup = setup();
    let server = setup.start();
    let [job, other] = [(); 2].map(|()| export(&server));
    server.kill();
    let folder = |name: &str| setup.folder.path().join(name);
    std::fs::rename(setup.data_dir(), folder("lower")).unwrap();
    for name in ["upper", "work", "data"] {
        std::fs::create_dir(folder(name)).unwrap();
    }
    let path = |name: &str| folder(name).display().to_string();
    let options = format!(
        "redirect_dir=off,lowerdir={},upperdir={},workdir={}",
        path("lower"),
        path("upper"),
        path("work")
    );
    let overlay = Mounted::new(&["-t", "overlay", "-o", &options, "overlay"], &folder("data"));
    let _mounted = match overlay {
        Ok(mounted) => mounted,
        Err(why) => return skip(Need::Overlay, "a data directory in an overlay", &why),
    };
    let server = setup.start();
    job.assert_intact(&server);
    assert_eq!(delete(&polling_url(&server, &job.id)).status, 202, "{}", setup.log());
    assert!(setup.settled_log(&server).contains("erased where it stands"), "it was moved");
    assert_erased(&setup, &server, &job.id, &job.files, &["deleted"]);
    server.kill();
    let server = setup.start();
    assert_hidden(&server, &job.id, &job.files);
    other.assert_intact(&server);
}

#[test]
fn a_kill_in_the_middle_of_an_erasure_in_place_is_ended_by_the_next_start() {
    // EXDEV, for ever: in both processes.
    let fault = ["--fault", "mark-committed>rename:18:ever"];
    let again = ["--fault", "rename:18:ever"];
    let steps =
        ["mark-committed>renamed-to-trash", "trash-synced", "acknowledged", "mark-committed>file-unlinked"];
    for step in steps.into_iter().chain(["mark-committed>directory-removed", "mark-committed>sweep-ends"]) {
        for forgets in [false, true] {
            let setup = setup();
            let server = setup.start();
            let job = export(&server);
            server.kill();
            let before = setup.folder.path().join("before");
            let memory = ["store", "audit"].map(|name| (setup.data_dir().join(name), before.join(name)));
            for (now, kept) in &memory {
                copy_folder(now, kept);
            }
            let kill = format!("{step}=kill");
            let mut server = setup.start_with(&[&fault[..], &["--breakpoint", &kill]].concat());
            // The answer may be lost.
            let _ = try_send("DELETE", &polling_url(&server, &job.id), &[]);
            server.wait_exit();
            if forgets && step != "mark-committed>sweep-ends" {
                // Store and audit log have lost the mark: only its name in `trash/` tells.
                for (now, kept) in &memory {
                    std::fs::remove_dir_all(now).unwrap();
                    copy_folder(kept, now);
                }
            }
            let server = setup.start_with(&again);
            assert_erased(&setup, &server, &job.id, &job.files, &["deleted", "recovered"]);
            wait_settled(&setup, &server, &BTreeSet::new());
            server.kill();
            assert_receipts(&setup, &BTreeSet::from([job.id.clone()]));
            assert_disk_equals_store(&setup);
        }
    }
}

#[test]
fn a_deletion_without_a_trash_is_erased_in_place_and_is_no_202() {
    let setup = setup();
    let server = setup.start();
    let job = export(&server);
    std::fs::remove_dir(setup.data_dir().join("trash")).unwrap();
    let answer = delete(&polling_url(&server, &job.id));
    assert_eq!(answer.outcome(), (500, "exception".into()), "there is one witness only");
    assert_hidden(&server, &job.id, &job.files);
    eventually("its files to go", || (!setup.data_dir().join("ready").join(&job.id).exists()).then_some(()));
    let receipt = setup.receipt(&job.id);
    assert_eq!(receipt["files"], job.files.len() + 3, "{receipt}");
    server.kill();
    let server = setup.start();
    assert_settled(&setup, server, &job, "deleted");
}

/// Does something when it is dropped, also by a panic.
fn scopeguard(end: impl FnMut()) -> impl Drop {
    struct Guard<F: FnMut()>(F);
    impl<F: FnMut()> Drop for Guard<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    Guard(end)
}
