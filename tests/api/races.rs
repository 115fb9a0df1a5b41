//! DELETEs at once, and a DELETE against the completion (D-8).

use std::sync::Barrier;
use std::time::Instant;

use super::*;

/// Sends `count` DELETEs at the same instant and gives their outcomes.
fn delete_at_once(polling: &str, count: usize) -> Vec<(u16, String)> {
    let barrier = Barrier::new(count);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    delete(polling).outcome()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn of_simultaneous_deletes_exactly_one_is_accepted() {
    let setup = Setup::new().braked(200_000);
    let server = setup.start();
    for count in [2, 16] {
        let (complete, _) = server.export("$export?_type=Organization");
        let running = server.kickoff("$export");
        server.wait_braked(&running);
        for (state, polling) in [("running", running), ("complete", complete)] {
            let outcomes = delete_at_once(&polling, count);
            let accepted = outcomes.iter().filter(|o| **o == outcome(202, "processing")).count();
            let deleted = outcomes.iter().filter(|o| **o == outcome(404, "deleted")).count();
            assert_eq!((accepted, deleted), (1, count - 1), "{state}: {outcomes:?}");
            setup.receipt(job_id(&polling));
            let receipts = setup.receipts().into_iter().filter(|r| r["job"] == job_id(&polling)).count();
            assert_eq!(receipts, 1, "one erasure, one receipt");
        }
    }
}

#[test]
fn a_delete_that_races_the_completion_is_accepted_and_no_manifest_is_seen_afterwards() {
    let setup = Setup::new();
    let server = setup.start();
    let mut seen = BTreeMap::<String, u32>::new();
    for round in 0..60 {
        let polling = server.kickoff("$export?_type=Patient,Organization,Goal");
        let job = job_id(&polling);
        let exists = |path: &str| setup.data_dir().join(path.replace("JOB", job)).exists();
        // From at once to just after the end; the disk tells before the store does.
        let is_near = || match round % 4 {
            0 => true,
            1 => exists("building/JOB/plan.json") || exists("ready/JOB"),
            2 => exists("building/JOB/job.json") || exists("ready/JOB"),
            _ => exists("ready/JOB"),
        };
        let began = Instant::now();
        while !is_near() {
            assert!(began.elapsed() < PATIENCE, "the export should come to its end");
        }
        let answer = delete(&polling);
        assert_eq!(answer.outcome(), outcome(202, "processing"));
        let mut disk_clean = false;
        while !disk_clean {
            disk_clean = !setup.disk().has(job_id(&polling));
            assert_eq!(get(&polling).outcome(), outcome(404, "deleted"), "D-3");
        }
        let was = setup.receipt(job)["was"].as_str().unwrap().to_string();
        *seen.entry(was).or_default() += 1;
    }
    let late = ["finishing", "complete"].iter().any(|state| seen.contains_key(*state));
    assert!(late && seen.len() > 1, "it should have met several states: {seen:?}");
    assert_eq!(setup.disk().files(), Vec::<std::path::PathBuf>::new());
}
