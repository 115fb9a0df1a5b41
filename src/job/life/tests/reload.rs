//! What comes of a commit that another process was ahead of.

use super::*;

const NONE: [&str; 0] = [];

impl TestedLife {
    /// The commit under way was stale: this is what stands in the store, one revision ahead.
    fn stale(&mut self, state: JobState) -> Vec<String> {
        let revision = self.life.record().unwrap().revision;
        let stored = Some(Box::new(self.record(revision, state)));
        self.end(End::Stale { stored })
    }

    fn forgotten(&mut self) -> Vec<String> {
        self.end(End::Stale { stored: None })
    }
}

/// A running export with a DELETE whose mark is being committed.
fn cancelled() -> TestedLife {
    let mut job = TestedLife::running(1);
    job.cancel("a", 1);
    job.cancel("b", 2);
    job
}

fn running() -> JobState {
    JobState::Running { transaction_time: at(1) }
}

#[test]
fn a_deletion_of_what_another_process_completed_meanwhile_is_made_again_of_what_it_is_now() {
    let mut job = cancelled();
    let again = ["stopparts", "entered complete", "entered marked", "pausewriters", "commit mark 4"];
    assert_eq!(job.stale(JobState::Complete(completion(20))), again);
    let mark = job.mark();
    assert_eq!((mark.reason, mark.was), (MarkReason::Deleted, StateName::Complete));
    assert_eq!(mark.request_id.as_deref(), Some("a"));
    let answers = ["stopparts", "answer 1: accepted", "answer 2: already deleted", "acknowledged"];
    assert_eq!(job.committed(StateName::Marked)[..4], answers);
}

#[test]
fn a_deletion_of_what_another_process_has_marked_is_not_accepted_and_is_carried_out() {
    let mut job = cancelled();
    assert_eq!(job.stale(found_mark("c")), ["stopparts", "entered marked", "start FindMark"]);
    let found =
        ["answer 1: already deleted", "answer 2: already deleted", "acknowledged", "lastoneout", "sweep"];
    assert_eq!(job.end(End::MarkFound { moved: true }), found);
    let erased = ["entered erased", "commit erase 4"];
    assert_eq!(job.tell(Input::SweepDone { swept: swept(1), error: None }), erased);
}

#[test]
fn a_deletion_that_another_process_made_for_the_same_request_is_accepted() {
    let mut job = cancelled();
    job.stale(found_mark("a"));
    let found = job.end(End::MarkFound { moved: true });
    assert_eq!(found[..2], ["answer 1: accepted", "answer 2: already deleted"]);
}

#[test]
fn a_deletion_of_what_another_process_has_erased_or_forgotten_is_answered_at_once() {
    let mut job = cancelled();
    let deleted = ["answer 1: already deleted", "acknowledged", "answer 2: already deleted", "acknowledged"];
    let told = job.stale(erasure());
    assert_eq!(told[..2], ["stopparts", "entered erased"]);
    assert_eq!(told[2..6], deleted);
    assert_eq!(told[6..], ["retire"]);
    let mut job = cancelled();
    let unknown = ["stopparts", "answer 1: not found", "answer 2: not found", "retire"];
    assert_eq!(job.forgotten(), unknown);
}

#[test]
fn an_export_that_another_process_has_begun_is_left_to_it_and_can_be_deleted() {
    let mut job = TestedLife::starting(1);
    assert_eq!(job.stale(running()), ["settle", "stopparts", "entered running"]);
    assert!(!job.life.is_active() && !job.life.is_idle());
    for input in [
        Input::PartDone(Ok(part(0))),
        Input::PartDone(Err(Some(FailureReason::ExporterFailed))),
        Input::Expire,
        Input::Lost,
    ] {
        assert_eq!(job.tell(input), NONE);
    }
    assert_eq!(job.cancel("a", 1)[..1], ["entered marked"]);
    assert_eq!((job.mark().reason, job.mark().was), (MarkReason::Cancelled, StateName::Running));
    assert_eq!(job.life.record().unwrap().revision, 3);
}

#[test]
fn what_is_under_way_when_an_export_turns_out_to_be_anothers_comes_to_nothing() {
    let ends = [
        End::TurnCame(Turn::Plan),
        End::RequestRead(Ok(())),
        End::RequestRead(Err(Some(FailureReason::StorageFailed))),
        End::PlanMade(Ok(())),
        End::PlanWritten(Ok(shape(0))),
        End::DocumentsRead(Ok(Some(shape(0)))),
        End::DocumentsRead(Err(FailureReason::DirectoryLost)),
        End::PartRecorded { files: 1 },
        End::PartRecorded { files: MAX_FILES + 1 },
    ];
    for end in ends {
        let mut job = TestedLife::starting(1);
        job.stale(running());
        (job.life.awaited, job.life.in_directory) = (1, u32::from(end.held_directory()));
        assert_eq!(job.end(end.clone()), NONE, "{end:?}");
    }
}

#[test]
fn an_export_that_another_process_has_ended_ends_here_too() {
    let ended = ["settle", "stopparts"];
    let mut job = TestedLife::starting(1);
    let told = job.stale(JobState::Complete(completion(20)));
    assert_eq!(
        (&told[..2], &told[2..]),
        (&ended.map(String::from)[..], &["entered complete", "retire"].map(String::from)[..])
    );
    let mut job = TestedLife::starting(1);
    let told = job.stale(failure());
    assert_eq!(told[2..], ["entered failed", "lastoneout", "start SweepPartials"]);
    let mut job = TestedLife::starting(1);
    let told = job.stale(found_mark("c"));
    assert_eq!(told[2..], ["entered marked", "start FindMark"]);
    let mut job = TestedLife::starting(1);
    assert_eq!(job.forgotten(), ["settle", "stopparts", "retire"]);
    assert_eq!(job.cancel("a", 1)[0], "answer 1: not found");
}

#[test]
fn a_failure_here_does_not_fail_what_another_process_exports() {
    let mut job = TestedLife::failing();
    assert_eq!(job.stale(running()), ["stopparts", "entered running"]);
    assert_eq!(job.name(), StateName::Running);
}

#[test]
fn a_completion_stands_on_disk_and_is_recorded_over_an_export_that_is_under_way() {
    let mut job = TestedLife::completing();
    assert_eq!(job.stale(running()), ["commit complete 4"]);
    assert_eq!(job.committed(StateName::Complete), ["retire"]);
    let mut job = TestedLife::completing();
    let told = job.stale(found_mark("c"));
    assert_eq!(told, ["stopparts", "entered marked", "start FindMark"], "a mark wins");
}

#[test]
fn p9_files_that_are_gone_are_recorded_as_gone_without_another_receipt() {
    let mut job = TestedLife::marked();
    job.tell(Input::SweepDone { swept: swept(1), error: None });
    assert_eq!(job.stale(found_mark("a")), ["commit update 6"]);
    assert_eq!(job.stale(found_mark("a")), ["commit update 7"]);
    assert_eq!(job.committed(StateName::Erased), ["retire"]);
    // One that was not committed yet has none.
    let mut job = TestedLife::marked();
    job.tell(Input::SweepDone { swept: swept(1), error: Some("EIO".into()) });
    job.tell(Input::SweepDone { swept: swept(1), error: None });
    assert_eq!(job.stale(found_mark("a")), ["commit erase 6"]);
    let mut job = TestedLife::marked();
    job.tell(Input::SweepDone { swept: swept(1), error: None });
    assert_eq!(job.stale(erasure()), ["stopparts", "entered erased", "retire"]);
}

#[test]
fn a_failed_sweep_of_a_mark_that_was_changed_meanwhile_is_swept_again() {
    let mut job = TestedLife::marked();
    job.tell(Input::SweepDone { swept: swept(1), error: Some("EIO".into()) });
    assert_eq!(job.stale(found_mark("a")), ["stopparts", "entered marked", "start FindMark"]);
    assert_eq!(job.end(End::MarkFound { moved: true }), ["acknowledged", "lastoneout", "sweep"]);
}

#[test]
fn a_directory_whose_record_another_process_has_made_is_no_orphan() {
    let mut job = TestedLife::new();
    job.tell(Input::Orphan);
    assert_eq!(job.stale(running()), ["stopparts", "entered running"]);
    assert_eq!(job.name(), StateName::Running);
    let mut job = TestedLife::new();
    job.tell(Input::Orphan);
    job.cancel("a", 1);
    let told = job.stale(JobState::Complete(completion(20)));
    assert_eq!(told[1..3], ["entered complete", "entered marked"], "a client asked for that");
    assert_eq!(job.mark().reason, MarkReason::Deleted);
}

#[test]
fn an_expiry_and_a_loss_are_decided_again() {
    let expire = |finished| {
        let mut job = TestedLife::complete();
        job.around.now = at(20 + RETENTION);
        job.tell(Input::Expire);
        job.stale(JobState::Complete(completion(finished)));
        job.name()
    };
    assert_eq!((expire(20), expire(21)), (StateName::Marked, StateName::Complete));
    let mut job = TestedLife::complete();
    job.tell(Input::Lost);
    job.end(End::FilesFound(false));
    let told = job.stale(JobState::Complete(completion(20)));
    assert_eq!(told, ["stopparts", "entered complete", "start LookForFiles"]);
}

#[test]
fn a_mark_that_waits_for_a_commit_never_follows_another_processes_record_by_its_number() {
    let mut job = TestedLife::starting(1);
    assert_eq!(job.cancel("a", 1), ["entered marked", "settle", "pausewriters"]);
    assert_eq!(job.stale(found_mark("c")), ["stopparts", "entered marked", "start FindMark"]);
    assert_eq!(job.end(End::MarkFound { moved: true })[0], "answer 1: already deleted");
    let mut job = TestedLife::completing();
    job.cancel("a", 1);
    let told = job.stale(running());
    assert_eq!(told[1..3], ["entered running", "entered marked"]);
    assert_eq!(told.last().unwrap(), "commit mark 4");
}

#[test]
fn a_kickoff_whose_id_is_anothers_is_refused() {
    let mut job = TestedLife::new();
    job.tell(Input::Submitted);
    job.end(End::Created(Ok(new_job())));
    let told = job.stale(JobState::Complete(completion(20)));
    assert_eq!(told, ["settle", "refuse", "stopparts", "entered complete", "retire"]);
}
