//! Store, disk and receipts, read by themselves while nobody runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use evanesce::erase::reconcile::{BuildingEvidence, JobTestimony, JoinCure};
use evanesce::store::{SledStore, Store};

use crate::support::{Setup, copy_folder};

/// What store, disk and receipts say of each job. No crash takes a directory away from a
/// record that is to be kept, nor puts the store before the disk.
pub fn witnesses(setup: &Setup) -> BTreeMap<String, JobTestimony> {
    let disk = setup.disk();
    // Opening the store might change it.
    let folder = setup.folder.path().join("looked-into");
    copy_folder(&setup.data_dir().join("store"), &folder);
    let stored = SledStore::open(&folder).unwrap().load().unwrap();
    let stored: BTreeMap<_, _> =
        stored.into_iter().map(|job| (job.record.id.to_string(), job.record.state.name())).collect();
    let jobs = |place| disk.jobs(place).into_iter().collect::<BTreeSet<_>>();
    let (building, ready, trash) = (jobs("building"), jobs("ready"), jobs("trash"));
    let receipts: BTreeSet<_> =
        setup.receipts().iter().map(|receipt| receipt["job"].as_str().unwrap().to_string()).collect();
    let all: BTreeSet<_> =
        stored.keys().chain(&building).chain(&ready).chain(&trash).chain(&receipts).cloned().collect();
    let testimony = |job: &String| JobTestimony {
        store: stored.get(job).copied(),
        building: building.contains(job).then(|| look(&setup.data_dir().join("building").join(job))),
        ready: ready.contains(job),
        trash: trash.contains(job),
        receipt: receipts.contains(job),
        ..JobTestimony::default()
    };
    let witnesses: BTreeMap<_, _> = all.iter().map(|job| (job.clone(), testimony(job))).collect();
    for (job, testimony) in &witnesses {
        let impossible = matches!(testimony.cure(), JoinCure::MarkLost | JoinCure::MoveToReady);
        assert!(!impossible, "{job}: {testimony:?}");
    }
    witnesses
}

fn look(folder: &Path) -> BuildingEvidence {
    let job = crate::support::read_stored(&folder.join("job.json")).unwrap_or_default();
    let job = String::from_utf8(job).unwrap();
    if job.contains("\"failed\"") {
        BuildingEvidence::Failed
    } else if folder.join("plan.json").exists() {
        BuildingEvidence::Planned
    } else {
        BuildingEvidence::Bare
    }
}
