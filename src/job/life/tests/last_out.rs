//! Nothing is unlinked before the last one is out (P4): writers, downloads, our own tasks.

use super::*;

const NONE: [&str; 0] = [];

/// A running export that was marked, with so many writers and downloads.
fn marked(writers: usize, downloads: u32) -> (TestedLife, Vec<String>) {
    let mut job = TestedLife::running(2);
    (job.around.writers, job.around.downloads) = (writers, downloads);
    job.cancel("a", 1);
    let told = job.committed(StateName::Marked);
    assert_eq!(told[..3], ["stopparts", "answer 1: accepted", "acknowledged"]);
    (job, told[3..].to_vec())
}

#[test]
fn a_sweep_begins_when_the_last_writer_is_out() {
    let (mut job, told) = marked(2, 0);
    assert_eq!(told, ["fence marked at the deadline"]);
    job.around.writers = 1;
    assert_eq!(job.tell(Input::PartDone(Err(None))), NONE);
    job.around.writers = 0;
    assert_eq!(job.tell(Input::PartDone(Err(None))), ["lastoneout", "sweep"]);
    assert_eq!(job.tell(Input::PartDone(Err(None))), NONE, "and once");
}

#[test]
fn a_sweep_begins_when_the_last_download_is_out() {
    let (mut job, told) = marked(0, 1);
    assert_eq!(told, ["await downloads: Deletion"]);
    assert_eq!(job.tell(Input::PartDone(Err(None))), NONE);
    job.around.downloads = 0;
    let gone = End::DownloadsGone { of: StateName::Marked, drained: 1, cut: 0 };
    assert_eq!(job.end(gone), ["lastoneout", "sweep"]);
}

#[test]
fn a_sweep_begins_when_whatever_holds_the_directory_has_ended_though_it_was_overtaken() {
    let held = [
        (TestedLife::finishing(), End::JobJsonWritten { of: StateName::Finishing, written: Ok(None) }),
        (TestedLife::failing(), End::PartialsSwept(SweepEnd::Done)),
    ];
    for (mut job, end) in held {
        if job.name() == StateName::Failed {
            job.committed(StateName::Failed);
        }
        job.cancel("a", 1);
        let told = job.committed(StateName::Marked);
        assert_eq!(told, ["stopparts", "answer 1: accepted", "acknowledged"]);
        assert_eq!(job.end(end), ["lastoneout", "sweep"]);
    }
}

#[test]
fn what_holds_no_directory_is_not_waited_for() {
    let mut job = TestedLife::queued();
    job.cancel("a", 1);
    // It still waits for its turn.
    assert_eq!(job.committed(StateName::Marked)[3..], ["lastoneout", "sweep"]);
    assert_eq!(job.end(End::TurnCame(Turn::Plan)), NONE);
}

#[test]
fn the_tasks_that_hold_the_directory_are_those_whose_ends_say_so() {
    let record = TestedLife::queued().life.record().unwrap().clone();
    let of = StateName::Finishing;
    let pairs = [
        (Task::ReadRequest, End::RequestRead(Ok(()))),
        (Task::WritePlan, End::PlanWritten(Ok(shape(1)))),
        (Task::ReadDocuments, End::DocumentsRead(Ok(None))),
        (Task::WriteJobJson(record.clone()), End::JobJsonWritten { of, written: Ok(None) }),
        (Task::MoveToReady(completion(20)), End::MovedToReady(Ok(completion(20)))),
        (Task::SweepPartials, End::PartialsSwept(SweepEnd::Done)),
        (Task::SweepEarly, End::SweptEarly { swept: swept(1), refused: false }),
    ];
    assert!(pairs.iter().all(|(task, end)| task.holds_directory() && end.held_directory()));
    let pairs = [
        (Task::Create, End::Created(Err(()))),
        (Task::TakeTurn(Turn::Plan), End::TurnCame(Turn::Plan)),
        (Task::Plan, End::PlanMade(Ok(()))),
        (Task::RecordPart(part(0)), End::PartRecorded { files: 1 }),
        (Task::Commit(Commit::New(record)), End::Stale { stored: None }),
        (Task::AwaitRetry(SweepEnd::Failed), End::RetryDue),
        (Task::FindMark, End::MarkFound { moved: true }),
        (Task::LookForFiles, End::FilesFound(true)),
    ];
    assert!(pairs.iter().all(|(task, end)| !task.holds_directory() && !end.held_directory()));
}

#[test]
fn an_expiry_lets_downloads_finish_and_every_other_mark_gives_them_its_grace() {
    let mut job = TestedLife::complete();
    (job.around.now, job.around.downloads) = (at(20 + RETENTION), 1);
    job.tell(Input::Expire);
    assert_eq!(job.committed(StateName::Marked)[1..], ["acknowledged", "await downloads: Expiry"]);
    let mut job = TestedLife::failing();
    job.around.downloads = 1;
    let failed = ["await downloads: Expiry"];
    assert_eq!(job.committed(StateName::Failed), failed, "of a partial manifest");
}

#[test]
fn downloads_that_were_awaited_for_an_earlier_state_are_not_counted_twice() {
    let mut job = TestedLife::failing();
    job.around.downloads = 1;
    job.committed(StateName::Failed);
    job.cancel("a", 1);
    job.committed(StateName::Marked);
    job.around.downloads = 0;
    let of_failed = End::DownloadsGone { of: StateName::Failed, drained: 0, cut: 1 };
    assert_eq!(job.end(of_failed), ["lastoneout", "sweep"]);
    let of_marked = End::DownloadsGone { of: StateName::Marked, drained: 0, cut: 1 };
    assert_eq!(job.end(of_marked), ["1 downloads were cut"]);
}

#[test]
fn a_writer_that_stays_is_fenced_at_the_deadline_of_the_state_that_asked_for_it() {
    let (mut job, _) = marked(1, 0);
    assert_eq!(job.tell(Input::FenceDue { of: StateName::Failed }), NONE, "that was overtaken");
    assert_eq!(job.tell(Input::FenceDue { of: StateName::Marked }), ["fence"]);
    job.around.writers = 0;
    assert_eq!(job.tell(Input::Fenced { closed: 1, stuck: 0 }), ["lastoneout", "sweep"]);
    assert_eq!(job.tell(Input::FenceDue { of: StateName::Marked }), NONE, "nobody is left");
}

#[test]
fn the_names_of_a_stuck_writer_go_once_and_the_sweep_waits_until_it_has_returned() {
    let (mut job, _) = marked(1, 0);
    job.tell(Input::FenceDue { of: StateName::Marked });
    // The pool has given it up.
    job.around.writers = 0;
    let stuck = Input::Fenced { closed: 0, stuck: 1 };
    assert_eq!(job.tell(stuck.clone()), ["fence marked again soon", "start SweepEarly"]);
    assert_eq!(job.end(End::SweptEarly { swept: swept(1), refused: false }), NONE);
    assert_eq!(job.tell(Input::FenceDue { of: StateName::Marked }), ["fence"]);
    assert_eq!(job.tell(stuck), ["fence marked again soon"]);
    assert_eq!(job.tell(Input::Fenced { closed: 0, stuck: 0 }), ["lastoneout", "sweep"]);
}

#[test]
fn the_names_of_a_stuck_writer_that_are_held_are_asked_for_again() {
    let (mut job, _) = marked(1, 0);
    job.around.writers = 0;
    let stuck = Input::Fenced { closed: 0, stuck: 1 };
    job.tell(stuck.clone());
    assert_eq!(job.end(End::SweptEarly { swept: SweepCounts::default(), refused: true }), NONE);
    assert_eq!(job.tell(stuck), ["fence marked again soon", "start SweepEarly"]);
}

#[test]
fn a_sweep_waits_for_the_early_one_that_is_under_way() {
    let (mut job, _) = marked(1, 0);
    job.around.writers = 0;
    job.tell(Input::Fenced { closed: 0, stuck: 1 });
    assert_eq!(job.tell(Input::Fenced { closed: 0, stuck: 0 }), NONE);
    let swept_early = End::SweptEarly { swept: swept(1), refused: false };
    assert_eq!(job.end(swept_early), ["lastoneout", "sweep"]);
}

#[test]
fn a_writer_that_was_stuck_in_a_failed_export_is_asked_on_behalf_of_its_deletion() {
    let mut job = TestedLife::failing();
    job.around.writers = 1;
    job.committed(StateName::Failed);
    job.around.writers = 0;
    let stuck = Input::Fenced { closed: 0, stuck: 1 };
    assert_eq!(job.tell(stuck.clone()), ["fence failed again soon"], "its names stay where they are");
    job.cancel("a", 1);
    let told = job.committed(StateName::Marked);
    assert_eq!(told[3..], ["fence marked again soon"]);
    assert_eq!(job.tell(stuck), ["fence marked again soon", "start SweepEarly"]);
}
