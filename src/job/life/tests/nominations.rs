//! What time and scans say of a job: its own actor looks again before anything is done (P6, P8).

use super::*;

const NONE: [&str; 0] = [];

#[test]
fn a_finished_job_expires_when_its_time_is_over_and_not_a_second_before() {
    let expired = ["entered marked", "pausewriters"];
    for (mut job, finished) in [(TestedLife::complete(), 20), (TestedLife::failed(), 10)] {
        job.around.now = at(finished + RETENTION - 1);
        assert_eq!(job.tell(Input::Expire), ["retire"]);
        job.around.now = at(finished + RETENTION);
        assert_eq!(job.tell(Input::Expire)[..2], expired);
        let mark = job.mark();
        assert_eq!(
            (mark.reason, mark.by.as_ref(), mark.request_id.as_ref()),
            (MarkReason::Expired, None, None)
        );
    }
}

#[test]
fn an_active_job_never_expires_and_a_marked_one_not_again() {
    for mut job in [TestedLife::queued(), TestedLife::running(1), TestedLife::finishing()] {
        job.around.now = at(1_000_000);
        assert_eq!(job.tell(Input::Expire), NONE);
    }
    let mut job = TestedLife::marked();
    job.around.now = at(1_000_000);
    assert_eq!(job.tell(Input::Expire), NONE);
    assert_eq!(job.mark().reason, MarkReason::Deleted);
}

#[test]
fn whoever_asks_for_a_job_that_is_expiring_hears_that_it_is_deleted_when_it_is() {
    let mut job = TestedLife::complete();
    job.around.now = at(20 + RETENTION);
    job.tell(Input::Expire);
    assert_eq!(job.cancel("a", 1), NONE);
    assert_eq!(job.committed(StateName::Marked)[1], "answer 1: already deleted");
}

#[test]
fn a_job_that_a_scan_did_not_find_is_marked_only_when_its_actor_does_not_find_it_either() {
    let mut job = TestedLife::complete();
    assert_eq!(job.tell(Input::Lost), ["start LookForFiles"]);
    assert_eq!(job.end(End::FilesFound(true)), ["retire"]);
    assert_eq!(job.tell(Input::Lost), ["start LookForFiles"]);
    let lost = ["entered marked", "pausewriters", "commit mark 4"];
    assert_eq!(job.end(End::FilesFound(false)), lost);
    assert_eq!(job.mark().reason, MarkReason::Lost);
}

#[test]
fn p13_a_job_looks_for_its_files_once_at_a_time_however_often_it_is_nominated() {
    let mut job = TestedLife::complete();
    assert_eq!(job.tell(Input::Lost), ["start LookForFiles"]);
    for _ in 0..100 {
        assert_eq!(job.tell(Input::Lost), NONE);
    }
    assert_eq!(job.life.awaited, 1);
    assert_eq!(job.end(End::FilesFound(true)), ["retire"]);
    assert_eq!(job.tell(Input::Lost), ["start LookForFiles"], "a later nomination is looked into");
}

#[test]
fn only_a_complete_job_can_be_lost() {
    let others = [
        TestedLife::queued(),
        TestedLife::running(1),
        TestedLife::finishing(),
        TestedLife::failing(),
        TestedLife::marked(),
    ];
    for mut job in others {
        assert_eq!(job.tell(Input::Lost), NONE);
    }
    let mut job = TestedLife::complete();
    job.tell(Input::Lost);
    job.cancel("a", 1);
    assert_eq!(job.end(End::FilesFound(false)), NONE, "it was marked meanwhile");
    assert_eq!(job.mark().reason, MarkReason::Deleted);
}

#[test]
fn a_directory_that_nobody_knows_is_marked_with_its_first_record_and_erased() {
    let mut job = TestedLife::new();
    let told = job.tell(Input::Orphan);
    assert_eq!(told, ["entered marked", "settle", "pausewriters", "commit marknew 1"]);
    assert_eq!(job.mark().reason, MarkReason::Orphan);
    assert_eq!(job.life.record().unwrap().owner.as_str(), "unknown");
    assert_eq!(job.tell(Input::Orphan), NONE);
    let told = job.committed(StateName::Marked);
    assert_eq!(told, ["stopparts", "acknowledged", "lastoneout", "sweep"]);
    job.tell(Input::SweepDone { swept: swept(1), error: Some("EIO".into()) });
    job.committed(StateName::Marked);
    let told = job.tell(Input::SweepDone { swept: swept(1), error: None });
    assert_eq!(told, ["entered erased", "commit erase 3"]);
}

#[test]
fn a_job_that_has_begun_is_no_orphan() {
    let mut job = TestedLife::new();
    job.tell(Input::Submitted);
    assert_eq!(job.tell(Input::Orphan), NONE);
    let known =
        [TestedLife::queued(), TestedLife::running(1), TestedLife::completing(), TestedLife::marked()];
    for mut job in known {
        assert_eq!(job.tell(Input::Orphan), NONE);
    }
    let (mut job, _) = TestedLife::recall(failure());
    assert_eq!(job.tell(Input::Orphan), NONE);
}
