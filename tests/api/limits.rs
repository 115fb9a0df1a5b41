//! Limits of a client (K-9, C10, ST-4): jobs at once, the same export twice, polls.

use super::*;

/// A server whose exports do not end by themselves.
fn endless(sets: &[&str]) -> (Setup, Server) {
    let setup = sets.iter().fold(Setup::new().braked(0), |setup, set| setup.set(set));
    let server = setup.start();
    (setup, server)
}

#[test]
fn k_9_a_client_with_too_many_jobs_gets_429_with_links_to_them_and_can_delete_one() {
    let (_setup, server) = endless(&["export.max_active_jobs_per_client=2"]);
    let jobs = [server.kickoff("$export"), server.kickoff("Patient/$export")];
    let refused = server.try_kickoff("$export");
    assert_eq!(refused.outcome(), outcome(429, "throttled"));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    let links: Vec<_> =
        refused.headers.get_all("link").iter().map(|link| link.to_str().unwrap().to_string()).collect();
    for job in &jobs {
        assert!(links.contains(&format!("<{job}>; rel=\"related\"")), "{links:?}");
    }
    let listed = links[0].trim_start_matches('<').split('>').next().unwrap().to_string();
    assert_eq!(delete(&listed).status, 202);
    assert_eq!(server.try_kickoff("$export").status, 202, "there is room as soon as one is deleted");
    assert_eq!(server.try_kickoff("$export").status, 429);
}

#[test]
fn a_tenant_has_a_limit_of_its_own() {
    let (_setup, server) = endless(&["export.max_active_jobs_per_tenant=1"]);
    let job = server.kickoff("$export");
    let refused = server.try_kickoff("$export");
    assert_eq!((refused.outcome(), refused.header("link")), (outcome(429, "throttled"), ""));
    assert_eq!(delete(&job).status, 202);
    assert_eq!(server.try_kickoff("$export").status, 202);
}

#[test]
fn of_many_kick_offs_at_once_no_more_are_accepted_than_there_is_room_for() {
    let (_setup, server) = endless(&["export.max_active_jobs_per_client=3"]);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| server.try_kickoff("$export").status)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 3, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 202 | 429)), "{statuses:?}");
}

#[test]
fn c10_the_same_export_twice_is_a_409_that_is_blind_to_deleted_jobs() {
    let setup = Setup::new().set("protocol.refuse_duplicates=true");
    let server = setup.start();
    let (job, _) = server.export("Patient/$export?_type=Patient,Group");
    let refused = server.try_kickoff("Patient/$export?_type=Group&_type=Patient");
    assert_eq!(refused.outcome(), outcome(409, "duplicate"));
    assert_eq!(refused.header("link"), format!("<{job}>; rel=\"related\""));
    for other in [
        "Patient/$export?_type=Patient",
        "Group/All_Patients/$export?_type=Patient,Group",
        "Patient/$export?_type=Patient,Group&_since=2024-01-01T00:00:00Z",
    ] {
        assert_eq!(server.try_kickoff(other).status, 202, "{other}");
    }
    // In the next process as well, but not after a DELETE (D-7).
    server.kill();
    let server = setup.start();
    assert_eq!(server.try_kickoff("Patient/$export?_type=Patient,Group").status, 409);
    let here = format!("{}/bulk-api/request/{}", server.base, job_id(&job));
    assert_eq!(delete(&here).status, 202);
    assert_eq!(server.try_kickoff("Patient/$export?_type=Patient,Group").status, 202);
}

#[test]
fn inf_12_three_identical_kick_offs_in_a_row_are_accepted_when_each_is_deleted() {
    let setup = Setup::new().set("protocol.refuse_duplicates=true");
    let server = setup.start();
    for _ in 0..3 {
        assert_eq!(delete(&server.kickoff("Patient/$export")).status, 202);
    }
}

#[test]
fn of_two_identical_kick_offs_at_once_one_is_accepted() {
    let (_setup, server) = endless(&["protocol.refuse_duplicates=true"]);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| server.try_kickoff("$export").status)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 202 | 409)), "{statuses:?}");
}

#[test]
fn st_4_polls_that_are_too_frequent_get_429_and_a_patient_client_never_does() {
    let (_setup, server) = endless(&["protocol.poll_interval=100ms"]);
    let (hasty, patient) = (server.kickoff("$export"), server.kickoff("$export"));
    let refused = eventually("a refusal", || Some(get(&hasty)).filter(|answer| answer.status != 202));
    assert_eq!(refused.outcome(), outcome(429, "throttled"));
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(get(&patient).status, 202, "each job has its own");
    // Another poll comes when the time is over, and a DELETE at any time.
    eventually("a poll", || (get(&hasty).status == 202).then_some(()));
    assert_eq!(delete(&hasty).status, 202);
    assert_eq!(get(&hasty).outcome(), outcome(404, "deleted"));
}
