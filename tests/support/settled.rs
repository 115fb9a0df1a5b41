//! What is left when there is nothing more to do: on disk, in the store and in the chain of receipts.

use std::collections::BTreeSet;

use evanesce::job::{OutputFile, StateName};
use evanesce::store::{SledStore, Store};

use super::{Exported, Server, Setup, assert_erased, eventually};

/// The chain is whole, nobody missed a part of it, and it has one receipt for each of these jobs and none for any other (P9).
pub fn assert_receipts(setup: &Setup, expected: &BTreeSet<String>) {
    let chain = evanesce::receipts::verify(&setup.data_dir().join("receipts.ndjson")).unwrap();
    let jobs: Vec<_> =
        setup.receipts().iter().map(|receipt| receipt["job"].as_str().unwrap().to_string()).collect();
    assert_eq!((chain.erasures, chain.gaps), (jobs.len() as u64, 0));
    assert_eq!(jobs.iter().cloned().collect::<BTreeSet<_>>(), *expected);
    assert_eq!(jobs.len(), expected.len(), "a job has two receipts: {jobs:?}");
}

/// What is on disk when there is nothing left to do.
#[derive(Default)]
pub struct Remaining {
    /// In `ready/`.
    pub complete: BTreeSet<String>,
    /// In `building/`, with nothing but what tells that they failed.
    pub failed: BTreeSet<String>,
}

/// Waits until nothing is marked any more and nothing but these jobs is on disk (P5, P7).
pub fn wait_remaining(setup: &Setup, server: &Server, left: &Remaining) {
    let disk = setup.disk();
    let jobs = |place| disk.jobs(place).into_iter().collect::<BTreeSet<_>>();
    eventually("the disk to hold what is left and nothing else", || {
        let settled = jobs("ready") == left.complete && jobs("building") == left.failed;
        (settled && jobs("trash").is_empty()).then_some(())
    });
    eventually("the last erasure to be recorded", || {
        let readiness = server.operator("readyz");
        assert_eq!(readiness.status, 200, "{readiness:?}");
        (readiness.json()["reaper"]["marked"] == 0).then_some(())
    });
}

/// As `wait_remaining`, where no job has failed.
pub fn wait_settled(setup: &Setup, server: &Server, complete: &BTreeSet<String>) {
    wait_remaining(setup, server, &Remaining { complete: complete.clone(), ..Remaining::default() });
}

/// The only job there ever was is erased for this reason, and nothing but its one receipt and
/// its tombstone is left (P1, P5, P7, P9).
pub fn assert_only_its_receipt_is_left(setup: &Setup, server: Server, job: &Exported, reason: &str) {
    assert_erased(setup, &server, &job.id, &job.files, &[reason]);
    wait_settled(setup, &server, &BTreeSet::new());
    server.kill();
    assert_receipts(setup, &BTreeSet::from([job.id.clone()]));
    assert_disk_equals_store(setup);
}

/// The store, opened after the last server on it is gone, says what the disk says: a complete
/// job has the files that its parts name, a failed one has only what tells so, an erased one
/// has nothing, and there is no directory without a record (P7).
pub fn assert_disk_equals_store(setup: &Setup) {
    let store = SledStore::open(&setup.data_dir().join("store")).unwrap();
    let disk = setup.disk();
    let names = |place: &str, id: &str| -> BTreeSet<_> {
        let found = std::fs::read_dir(setup.data_dir().join(place).join(id)).unwrap();
        found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut unknown: BTreeSet<_> =
        ["building", "ready", "trash"].iter().flat_map(|place| disk.jobs(place)).collect();
    for job in store.load().unwrap() {
        let id = job.record.id.to_string();
        match job.record.state.name() {
            StateName::Complete => {
                let documents = ["request.json", "plan.json", "job.json"].map(String::from);
                let files = job.parts.iter().flat_map(|part| &part.files).map(OutputFile::stored_name);
                assert_eq!(names("ready", &id), documents.into_iter().chain(files).collect(), "{id}");
                unknown.remove(&id);
            }
            StateName::Failed => {
                assert_eq!(names("building", &id), BTreeSet::from(["job.json".into()]), "{id}");
                unknown.remove(&id);
            }
            StateName::Erased => assert!(!disk.has(&id), "{id} is erased and still on disk"),
            state => panic!("{id} is still {state}"),
        }
    }
    assert_eq!(unknown, BTreeSet::new(), "directories without a record");
}
