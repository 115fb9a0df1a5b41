//! What clients and operators of a server see when there is no room.

use crate::support::{Answer, Setup, delete, eventually, get, job_id};

fn text(answer: &Answer) -> String {
    answer.json()["issue"][0]["details"]["text"].as_str().unwrap().to_string()
}

#[test]
fn of_two_clients_at_once_one_gets_the_room_and_a_deletion_gives_it_back() {
    // The source has 1.4 MB.
    let setup = Setup::new().set("storage.max_bytes=2000000");
    let server = setup.start();
    for round in 0..20 {
        let answers = std::thread::scope(|scope| {
            let threads = [(); 2].map(|()| scope.spawn(|| server.try_kickoff("$export")));
            threads.map(|thread| thread.join().unwrap())
        });
        let (accepted, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 202);
        assert_eq!((accepted.len(), refused.len()), (1, 1), "round {round}: {answers:?}");
        assert_eq!(refused[0].outcome(), (503, "no-store".into()));
        let polling = accepted[0].header("content-location");
        assert_eq!(delete(polling).status, 202);
        server.wait_erased(job_id(polling));
    }
    assert_eq!(server.metric("evanesce_refused_kickoffs_total{reason=\"quota\"}"), 20.0);
}

#[test]
fn a_client_over_the_limit_is_told_what_to_do_and_nothing_of_others() {
    let setup = Setup::new().set("storage.max_bytes=2000000").set("retention.completed=10min");
    let server = setup.start();
    let (polling, _) = server.export("$export");
    let refused = server.try_kickoff("Patient/$export");
    assert_eq!(refused.outcome(), (503, "no-store".into()));
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((500..=600).contains(&wait), "until the export expires: {wait}");
    assert!(text(&refused).contains("delete those that are no longer needed"), "{}", text(&refused));
    let leaks = ["2000000", "default", "/tmp", "data", job_id(&polling)];
    assert!(!leaks.iter().any(|leak| text(&refused).contains(leak)), "{}", text(&refused));
    let log = setup.settled_log(&server);
    let line = log.lines().find(|line| line.contains("there is no room for an export")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["limit"], &line["max_bytes"]), (&"quota".into(), &2_000_000.into()), "{line}");
    assert!(line["used"].as_u64().unwrap() > 1_000_000 && line["estimate"].as_u64().unwrap() > 0, "{line}");
    // All else goes on.
    assert_eq!(get(&polling).status, 200);
    assert_eq!(server.operator("readyz").status, 200);
    assert_eq!(server.try_kickoff("$export?_type=Organization").status, 202);
    assert_eq!(delete(&polling).status, 202);
}

#[test]
fn an_export_that_could_never_fit_is_no_matter_of_waiting() {
    let setup = Setup::new().set("storage.max_bytes=1000000");
    let server = setup.start();
    let refused = server.try_kickoff("$export");
    assert_eq!(refused.outcome(), (422, "too-costly".into()));
    assert_eq!(refused.header("retry-after"), "");
    assert!(text(&refused).contains("no deletion makes room"), "{}", text(&refused));
    assert_eq!(server.metric("evanesce_refused_kickoffs_total{reason=\"too-large\"}"), 1.0);
    assert_eq!(server.try_kickoff("$export?_type=Patient").status, 202);
}

#[test]
fn a_deleted_export_takes_room_until_its_files_are_gone() {
    let setup = Setup::new().set("storage.max_bytes=2000000");
    let server = setup.start();
    let (polling, _) = server.export("$export");
    server.pause_reaper();
    assert_eq!(delete(&polling).status, 202);
    let refused = server.try_kickoff("$export");
    assert_eq!(refused.outcome(), (503, "no-store".into()));
    assert_eq!(refused.header("retry-after"), "30", "it is on its way out");
    server.resume_reaper();
    server.wait_erased(job_id(&polling));
    server.export("$export");
}

#[test]
fn what_is_reserved_and_what_is_free_is_shown() {
    let setup = Setup::new().braked(0);
    let server = setup.start();
    let reserved = || server.metric("evanesce_reserved_bytes");
    assert_eq!(reserved(), 0.0);
    let polling = server.kickoff("$export");
    let before = reserved();
    assert!((1e6..2e6).contains(&before), "{before}");
    setup.brake(300_000);
    eventually("a part of it to be written", || (reserved() < before - 200_000.0).then_some(()));
    assert_eq!(get(&polling).status, 202);
    assert!(reserved() > 0.0);
    assert!(server.metric("evanesce_free_bytes") > 1e6);
    assert_eq!(delete(&polling).status, 202);
    assert_eq!(reserved(), 0.0);
}
