//! Directories that should not be there, and those that should (P6, P7): orphans, strangers,
//! a complete job whose files somebody removed.

use serde_json::json;

use crate::support::{Setup, eventually, get, job_id};

#[test]
fn an_orphan_is_erased_after_its_grace_and_strangers_are_left_alone() {
    let setup = Setup::new().set("retention.orphan_grace=100ms").set("reaper.interval=30ms");
    let server = setup.start();
    let orphan = "0f0e0d0c-0b0a-4908-8706-050403020100";
    let folder = setup.data_dir().join("building").join(orphan);
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("X_Patient.ndjson"), "{}\n").unwrap();
    let stranger = setup.data_dir().join("ready/somebody-elses");
    std::fs::create_dir(&stranger).unwrap();
    let receipt = setup.receipt(orphan);
    assert_eq!((&receipt["reason"], &receipt["files"]), (&json!("orphan"), &json!(1)));
    assert!(!folder.exists());
    assert!(stranger.exists());
    let readyz = server.operator("readyz").json();
    assert_eq!(readyz["reaper"]["strangers"], 1);
}

#[test]
fn a_young_orphan_is_not_touched() {
    let setup = Setup::new().set("retention.orphan_grace=1h").set("reaper.interval=10ms");
    let server = setup.start();
    let orphan = setup.data_dir().join("building/0f0e0d0c-0b0a-4908-8706-050403020100");
    std::fs::create_dir(&orphan).unwrap();
    eventually("ten passes that saw it", || {
        let reaper = server.operator("readyz").json()["reaper"].clone();
        (reaper["orphans"] == 1 && reaper["passes"].as_u64().unwrap() > 10).then_some(())
    });
    assert!(orphan.exists());
}

#[test]
fn a_complete_job_whose_files_somebody_removed_does_not_stay_complete() {
    let setup = Setup::new().set("retention.orphan_grace=50ms").set("reaper.interval=30ms");
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    std::fs::remove_dir_all(setup.data_dir().join("ready").join(job_id(&polling))).unwrap();
    assert_eq!(setup.receipt(job_id(&polling))["reason"], "lost");
    assert_eq!(get(&polling).outcome(), (404, "deleted".into()));
}
