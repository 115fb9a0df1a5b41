//! The disk is really full: a small file system of its own under the data directory. Exports
//! run until there is no room and fail; deletions go on working, by the ballast or, when even
//! that is used up, by what the deletion itself gives back.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::crash::{Exported, assert_erased, polling_url, skip, wait_settled};
use crate::support::*;

const MIB: u64 = 1 << 20;

/// More than the ballast twice over.
const SIZE: &str = "200M";

const BALLAST: u64 = 64 * MIB;

/// A mounted file system; unmounted when it is dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(kind: &str, setup: &Setup) -> Result<Self, String> {
        let at = setup.data_dir();
        std::fs::create_dir(&at).map_err(|e| e.to_string())?;
        if kind == "tmpfs" {
            let size = format!("size={SIZE},mode=0700");
            run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at))?;
        } else {
            let image = setup.folder.path().join("image");
            run(Command::new("truncate").args(["--size", SIZE]).arg(&image))?;
            run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image))?;
            run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(&image).arg(&at))?;
        }
        Ok(Self(at))
    }

    fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Another program takes all the room there is.
    fn fill(&self, name: &str) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.0.join(name)).unwrap();
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if run(Command::new("umount").arg(&self.0)).is_err() {
            let detached = run(Command::new("umount").arg("-l").arg(&self.0));
            assert!(detached.is_ok() || std::thread::panicking(), "{detached:?}");
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let failed = || format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    if output.status.success() { Ok(()) } else { Err(failed()) }
}

/// Does `test` on each kind of file system that can be had.
fn on_each(what: &str, test: impl Fn(&Setup, &Mount)) {
    for kind in ["tmpfs", "ext4"] {
        let setup = Setup::new().source(big_source()).set("reaper.interval=50ms");
        let setup = setup.set("reaper.retry_min=20ms").set("reaper.retry_max=100ms");
        match Mount::new(kind, &setup) {
            Ok(mount) => test(&setup, &mount),
            Err(why) => skip(what, &why),
        }
    }
}

/// 24 MiB in one file.
fn big_source() -> &'static Path {
    use std::sync::OnceLock;
    static SOURCE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = SOURCE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let line = format!("{{\"resourceType\":\"Media\",\"data\":\"{}\"}}\n", "x".repeat(1 << 20));
        std::fs::write(folder.path().join("Media.ndjson"), line.repeat(24)).unwrap();
        folder
    });
    folder.path()
}

fn has_ballast(setup: &Setup) -> bool {
    std::fs::metadata(setup.data_dir().join("ballast")).is_ok_and(|file| file.len() == BALLAST)
}

/// Exports until one fails for want of room; gives those that are complete and the failed one.
fn export_until_full(server: &Server) -> (Vec<Exported>, String) {
    let mut complete = Vec::new();
    loop {
        let polling = server.kickoff("$export");
        let answer = eventually("the end of an export", || Some(get(&polling)).filter(|a| a.status != 202));
        if answer.status != 200 {
            assert_eq!(answer.outcome(), (500, "processing".into()));
            let text = answer.json()["issue"][0]["details"]["text"].as_str().unwrap().to_string();
            assert!(text.contains("no room"), "{text}");
            return (complete, polling);
        }
        complete.push(Exported::of(&polling, &answer.json()));
        assert!(complete.len() < 20, "the disk does not fill");
    }
}

#[test]
fn exports_that_fill_the_disk_fail_and_deletions_go_on() {
    on_each("exports that fill a disk", |setup, _| {
        let server = setup.start();
        assert!(has_ballast(setup));
        let (mut complete, failed) = export_until_full(&server);
        assert!(complete.len() >= 3, "{}", complete.len());
        eventually("the partial files to go", || {
            let folder = setup.data_dir().join("building").join(job_id(&failed));
            (std::fs::read_dir(folder).unwrap().count() == 1).then_some(())
        });
        // What is complete is served, and deleted.
        let deleted = complete.pop().unwrap();
        complete[0].assert_intact(&server);
        for id in [&deleted.id, job_id(&failed)] {
            assert_eq!(delete(&polling_url(&server, id)).status, 202);
            assert_erased(setup, &server, id, &[], &["deleted"]);
        }
        assert!(has_ballast(setup), "exports take nothing of the ballast");
        // There is room for another one.
        server.export("$export");
    });
}

/// Two complete jobs on a disk that others have filled to the last byte.
fn full(setup: &Setup, mount: &Mount) -> (Server, [Exported; 2]) {
    let server = setup.start();
    let jobs = [(); 2].map(|()| server.export("$export"));
    mount.fill("others");
    assert_eq!(mount.free(), 0);
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
    on_each("a disk that others fill", |setup, mount| {
        let (server, [by_ballast, by_itself]) = full(setup, mount);
        let refused = send("GET", &format!("{}/$export", server.base), &KICKOFF);
        assert_eq!(refused.outcome(), (503, "no-store".into()));
        by_ballast.assert_intact(&server);
        delete_whole(setup, &server, &by_ballast);
        assert!(!has_ballast(setup), "it was given up");
        // What the deletion gave back is taken as well.
        mount.fill("others too");
        assert_eq!(mount.free(), 0);
        by_itself.assert_intact(&server);
        delete_whole(setup, &server, &by_itself);
        assert!(setup.log().contains("its files went before"));

        // The others are gone: the same process makes the ballast again, and exports.
        for name in ["others", "others too"] {
            std::fs::remove_file(setup.data_dir().join(name)).unwrap();
        }
        eventually("the ballast", || has_ballast(setup).then_some(()));
        let (polling, _) = server.export("$export");
        wait_settled(setup, &server, &[job_id(&polling).to_string()].into());
        server.kill();
        crate::crash::assert_disk_equals_store(setup);
    });
}

#[test]
fn a_server_starts_on_a_full_disk_and_ends_the_deletions_that_it_finds() {
    on_each("a start on a full disk", |setup, mount| {
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
        assert_eq!(mount.free(), 0);
        assert!(!has_ballast(setup));
        let server = setup.start();
        assert_erased(setup, &server, &marked.id, &marked.files, &["recovered"]);
        complete.assert_intact(&server);
        mount.fill("others again");
        server.kill();
        // Without anything to give back it is refused, until there is a little room.
        let end = setup.try_launch(setup.command()).err().expect("there is no room at all");
        assert_eq!(end.code(), Some(2));
        assert!(setup.log().contains("No space left on device"), "{}", setup.log());
        std::fs::remove_file(setup.data_dir().join("others again")).unwrap();
        let server = setup.start();
        complete.assert_intact(&server);
        delete_whole(setup, &server, &complete);
    });
}
