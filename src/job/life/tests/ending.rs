//! From a Cancel to the receipt: who hears what, and when.

use super::*;

const NONE: [&str; 0] = [];

/// What comes at once of a Cancel of an active job.
fn ended(commit: &str) -> [&str; 4] {
    ["entered marked", "settle", "pausewriters", commit]
}

#[test]
fn a_cancel_in_every_state_is_answered_as_documented_when_the_mark_is_durable() {
    use MarkReason::{Cancelled, Deleted};
    use StateName::*;
    let live = [
        (TestedLife::queued(), Queued, Cancelled),
        (TestedLife::running(1), Running, Cancelled),
        (TestedLife::finishing(), Finishing, Cancelled),
        (TestedLife::failed(), Failed, Deleted),
        (TestedLife::complete(), Complete, Deleted),
    ];
    for (mut job, was, reason) in live {
        let told = job.cancel("a", 1);
        assert!(told.last().unwrap().starts_with("commit mark "), "{was}: {told:?}");
        let mark = job.mark();
        assert_eq!((mark.was, mark.reason, mark.at), (was, reason, at(10)));
        assert_eq!((mark.by.as_ref(), mark.request_id.as_deref()), (Some(&client()), Some("a")));
        let told = job.committed(Marked);
        assert_eq!(told[..3], ["stopparts", "answer 1: accepted", "acknowledged"], "{was}");
    }
    let mut job = TestedLife::marked();
    assert_eq!(job.cancel("b", 2), ["answer 2: already deleted", "acknowledged"]);
    let mut job = TestedLife::erased();
    assert_eq!(job.cancel("b", 2), ["answer 2: already deleted", "acknowledged", "retire"]);
    assert_eq!(job.cancel("a", 3), ["answer 3: already deleted", "acknowledged", "retire"]);
    let mut job = TestedLife::new();
    job.tell(Input::Submitted);
    assert_eq!(job.cancel("a", 1), ["answer 1: not found"]);
}

#[test]
fn nothing_is_stopped_answered_or_swept_before_the_mark_is_durable() {
    let mut job = TestedLife::running(1);
    job.around.writers = 1;
    assert_eq!(job.cancel("a", 1), ended("commit mark 3"));
    job.around.writers = 0;
    assert_eq!(job.tell(Input::PartDone(Err(None))), NONE);
    let marked = ["stopparts", "answer 1: accepted", "acknowledged", "lastoneout", "sweep"];
    assert_eq!(job.committed(StateName::Marked), marked);
}

#[test]
fn of_two_requests_one_is_accepted_and_the_same_request_again_is_accepted_again() {
    let mut job = TestedLife::complete();
    assert_eq!(job.cancel("a", 1), ["entered marked", "pausewriters", "commit mark 4"]);
    assert_eq!(job.cancel("b", 2), NONE);
    assert_eq!(job.cancel("a", 3), NONE);
    let answers = ["answer 1: accepted", "answer 2: already deleted", "answer 3: accepted"];
    assert_eq!(job.committed(StateName::Marked)[1..4], answers);
    assert_eq!(job.cancel("a", 4), ["answer 4: accepted", "acknowledged"]);
    assert_eq!(job.cancel("b", 5), ["answer 5: already deleted", "acknowledged"]);
}

#[test]
fn a_mark_that_could_not_be_moved_is_half_durable_for_whoever_made_it() {
    let mut job = TestedLife::complete();
    job.cancel("a", 1);
    job.cancel("b", 2);
    let told = job.end(End::Committed { of: StateName::Marked, moved: false, swept: SweepCounts::default() });
    assert_eq!(told[1..3], ["answer 1: half durable", "answer 2: already deleted"]);
    assert_eq!(told[4..], ["lastoneout", "sweep"], "it is swept all the same");
    assert_eq!(job.cancel("a", 3), ["answer 3: half durable", "acknowledged"]);
}

#[test]
fn a_revocation_marks_in_nobodys_name_whatever_the_state() {
    for mut job in [TestedLife::running(1), TestedLife::complete()] {
        job.tell(Input::Cancel { by: Canceller::Revocation, request_id: "r".into(), caller: 1 });
        assert_eq!((job.mark().reason, job.mark().by.as_ref()), (MarkReason::Revoked, None));
        assert_eq!(job.committed(StateName::Marked)[1], "answer 1: accepted");
    }
}

#[test]
fn a_mark_is_committed_when_the_commit_that_it_has_overtaken_has_ended_and_nothing_else_follows() {
    for (mut job, of, mark) in [
        (TestedLife::starting(1), StateName::Running, "commit mark 3"),
        (TestedLife::completing(), StateName::Complete, "commit mark 4"),
        (TestedLife::failing(), StateName::Failed, "commit mark 4"),
    ] {
        assert_eq!(job.cancel("a", 1).last().unwrap(), "pausewriters", "{of}");
        assert_eq!(job.committed(of), [mark]);
        assert_eq!(job.committed(StateName::Marked)[..2], ["stopparts", "answer 1: accepted"]);
    }
}

#[test]
fn a_completion_that_comes_after_the_mark_is_not_recorded() {
    let mut job = TestedLife::finishing();
    job.end(End::JobJsonWritten { of: StateName::Finishing, written: Ok(Some(completion(20))) });
    job.cancel("a", 1);
    assert_eq!(job.end(End::MovedToReady(Ok(completion(20)))), NONE);
    assert_eq!(job.name(), StateName::Marked);
}

#[test]
fn a_sweep_that_failed_is_noted_in_the_mark_and_counted_and_nobody_is_answered_twice() {
    let mut job = TestedLife::marked();
    for (attempts, revision) in [(1, 5), (2, 6)] {
        let error = Some(format!("EBUSY {attempts}"));
        let told = job.tell(Input::SweepDone { swept: swept(1), error });
        assert_eq!(told, [format!("commit update {revision}")]);
        let noted = SweepFailure { attempts, at: at(10), error: format!("EBUSY {attempts}") };
        assert_eq!(job.mark().failure, Some(noted));
        assert_eq!(job.committed(StateName::Marked), NONE);
    }
    let told = job.tell(Input::SweepDone { swept: swept(1), error: None });
    assert_eq!(told, ["entered erased", "commit erase 7"]);
    assert_eq!(job.committed(StateName::Erased), ["retire"]);
}

#[test]
fn a_receipt_tells_of_the_whole_ending() {
    let mut job = TestedLife::running(1);
    (job.around.writers, job.around.downloads) = (1, 3);
    job.cancel("a", 1);
    job.around.now = at(11);
    job.end(End::Committed { of: StateName::Marked, moved: true, swept: swept(2) });
    job.tell(Input::FenceDue { of: StateName::Marked });
    job.around.writers = 0;
    job.tell(Input::Fenced { closed: 1, stuck: 0 });
    job.around.downloads = 0;
    let gone = End::DownloadsGone { of: StateName::Marked, drained: 2, cut: 1 };
    assert_eq!(job.end(gone), ["1 downloads were cut", "lastoneout", "sweep"]);
    job.tell(Input::SweepDone { swept: swept(1), error: Some("EIO".into()) });
    job.committed(StateName::Marked);
    job.around.now = at(12);
    let input = Input::SweepDone { swept: swept(4), error: None };
    let actions = job.life.handle(input, job.around);
    let Some(Action::Start(Task::Commit(Commit::Erase(record, receipt)))) = actions.last() else { panic!() };
    assert_eq!(record.state.name(), StateName::Erased);
    assert_eq!((receipt.reason, receipt.was), (MarkReason::Cancelled, StateName::Running));
    assert_eq!((receipt.by.as_ref(), receipt.request_id.as_deref()), (Some(&client()), Some("a")));
    let instants = [Some(receipt.submitted_at), Some(receipt.marked_at), receipt.hidden_at];
    assert_eq!(instants, [Some(at(5)), Some(at(10)), Some(at(11))]);
    assert_eq!((receipt.gone_at, receipt.files, receipt.bytes), (at(12), 7, 70));
    assert_eq!((receipt.failed_sweeps, receipt.last_error.as_deref()), (1, Some("EIO")));
    assert_eq!((receipt.fenced_writers, receipt.cut_downloads, receipt.drained_downloads), (1, 1, 2));
    assert!(!receipt.resumed);
}

#[test]
fn a_marked_job_that_is_recalled_answers_when_it_is_known_where_its_directory_stands() {
    for (moved, answer) in [(true, "answer 1: accepted"), (false, "answer 1: half durable")] {
        let (mut job, told) = TestedLife::recall(found_mark("a"));
        assert_eq!(told, ["start FindMark"]);
        assert_eq!(job.cancel("a", 1), NONE);
        assert_eq!(job.cancel("b", 2), NONE);
        let found = [answer, "answer 2: already deleted", "acknowledged", "lastoneout", "sweep"];
        assert_eq!(job.end(End::MarkFound { moved }), found);
        let input = Input::SweepDone { swept: swept(1), error: None };
        let actions = job.life.handle(input, job.around);
        let Some(Action::Start(Task::Commit(Commit::Erase(_, receipt)))) = actions.last() else { panic!() };
        assert!(receipt.resumed && receipt.hidden_at.is_none());
    }
}

#[test]
fn a_job_is_let_go_of_only_when_it_is_settled_and_waits_for_nothing() {
    let busy = [
        TestedLife::new(),
        TestedLife::queued(),
        TestedLife::running(1),
        TestedLife::finishing(),
        TestedLife::completing(),
        TestedLife::failing(),
        TestedLife::marked(),
    ];
    assert!(busy.iter().all(|job| !job.life.is_idle()));
    let idle = [TestedLife::complete(), TestedLife::failed(), TestedLife::erased()];
    assert!(idle.iter().all(|job| job.life.is_idle()));
    let mut erasing = TestedLife::marked();
    assert_eq!(
        erasing.tell(Input::SweepDone { swept: swept(1), error: None }),
        ["entered erased", "commit erase 5"]
    );
    assert!(!erasing.life.is_idle(), "the erasure is not durable");
}

#[test]
fn an_erased_job_does_nothing_more_whatever_comes() {
    let inputs = [
        Input::Orphan,
        Input::Expire,
        Input::Lost,
        Input::SweepDone { swept: swept(1), error: None },
        Input::SweepDone { swept: swept(1), error: Some("EIO".into()) },
        Input::PartDone(Ok(part(0))),
        Input::PartDone(Err(Some(FailureReason::ExporterFailed))),
        Input::FenceDue { of: StateName::Marked },
        Input::Fenced { closed: 0, stuck: 0 },
    ];
    for input in inputs {
        assert_eq!(TestedLife::erased().tell(input.clone()), ["retire"], "{input:?}");
    }
}
