//! A small disk, really full.

use crate::source::room::Disk;
use crate::support::{Setup, delete, eventually, generate, get, job_id};

const MIB: u64 = 1 << 20;

#[test]
fn on_a_full_disk_exports_fail_deletions_work_and_kick_offs_wait_for_room() {
    let setup = Setup::new().set("storage.min_free=134217728").braked(200_000);
    let Some(disk) = Disk::mount(&setup.data_dir(), "a full disk", 256) else { return };
    let server = setup.start();
    let (complete, _) = server.export("$export?_type=Patient");
    let running = server.kickoff("$export");
    server.wait_braked(&running);
    disk.fill();
    setup.release_brake();
    let failed = eventually("the end of the export", || Some(get(&running)).filter(|it| it.status != 202));
    assert_eq!(failed.outcome(), (500, "processing".into()));
    let text = failed.json()["issue"][0]["details"]["text"].as_str().unwrap().to_string();
    assert!(text.contains("no room"), "{text}");
    // The ballast was given up: there is some room again, but not as much as must stay free.
    let refused = server.try_kickoff("$export");
    assert_eq!(refused.outcome(), (503, "no-store".into()));
    assert!(String::from_utf8_lossy(&refused.body).contains("The disk has no room"));
    for polling in [&complete, &running] {
        assert_eq!(delete(polling).status, 202);
        setup.receipt(job_id(polling));
    }
    assert_eq!(server.operator("readyz").status, 200);
    disk.empty();
    server.export("$export?_type=Patient");
}

#[test]
fn what_running_exports_are_going_to_write_is_kept_free_for_them_and_a_deletion_makes_room() {
    let source = tempfile::tempdir().unwrap();
    generate(source.path(), 700, 3, &[]);
    let files = std::fs::read_dir(source.path()).unwrap();
    let size: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    let setup = Setup::new().source(source.path()).braked(size / 5);
    let setup = setup.set("storage.min_free=20971520");
    let Some(disk) = Disk::mount(&setup.data_dir(), "a small disk", 320) else { return };
    let server = setup.start();
    // The first look waits for the index.
    let first = server.kickoff("$export?_type=Slot");
    server.wait_complete(&first);
    disk.fill_up_to(20 * MIB + size * 3 / 2);
    let running = server.kickoff("$export");
    assert_eq!(server.try_kickoff("$export").outcome(), (503, "no-store".into()), "nothing is written yet");
    server.wait_braked(&running);
    assert_eq!(server.try_kickoff("$export").outcome(), (503, "no-store".into()), "a part of it is written");
    assert_eq!(delete(&running).status, 202);
    setup.receipt(job_id(&running));
    assert_eq!(server.try_kickoff("$export").status, 202);
}

#[test]
fn a_disk_of_which_nothing_must_stay_free_is_not_asked() {
    let setup = Setup::new().set("storage.min_free=33554432");
    let Some(disk) = Disk::mount(&setup.data_dir(), "a disk that is not asked", 200) else { return };
    let server = setup.start();
    disk.fill_up_to(24 * MIB);
    assert_eq!(server.try_kickoff("$export").outcome(), (503, "no-store".into()));
    server.kill();
    let setup = setup.set("storage.min_free=0");
    let server = setup.start();
    assert_eq!(server.try_kickoff("$export").status, 202);
}
