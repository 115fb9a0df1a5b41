//! From the kick-off to a job that is complete, or failed and swept.

use super::*;

const NONE: [&str; 0] = [];

#[test]
fn a_kickoff_is_accepted_when_its_record_is_durable_and_not_before() {
    let mut job = TestedLife::new();
    assert_eq!(job.tell(Input::Submitted), ["start Create"]);
    assert_eq!(job.end(End::Created(Ok(new_job()))), ["commit new 1"]);
    assert_eq!(job.committed(StateName::Queued), ["accept", "wait for the turn: Plan"]);
    assert_eq!(job.life.record().unwrap().submitted_at, at(5));
}

#[test]
fn a_kickoff_that_fails_is_refused_and_counts_no_more_and_its_actor_may_go() {
    let mut job = TestedLife::new();
    job.tell(Input::Submitted);
    assert_eq!(job.end(End::Created(Err(()))), ["settle", "refuse", "retire"]);
    assert_eq!(job.life.record(), None);
}

#[test]
fn parts_run_when_the_plan_is_on_disk_and_the_record_says_running() {
    let mut job = TestedLife::queued();
    assert_eq!(job.end(End::TurnCame(Turn::Plan)), ["start ReadRequest"]);
    assert_eq!(job.end(End::RequestRead(Ok(()))), ["start Plan"]);
    assert_eq!(job.end(End::PlanMade(Ok(()))), ["start WritePlan"]);
    assert_eq!(job.end(End::PlanWritten(Ok(shape(1)))), ["entered running", "commit update 2"]);
    assert_eq!(job.committed(StateName::Running), ["runparts"]);
}

#[test]
fn an_export_is_complete_when_all_parts_are_recorded_and_the_directory_stands_in_ready() {
    let mut job = TestedLife::running(2);
    assert_eq!(job.tell(Input::PartDone(Ok(part(1)))), ["record part 1"]);
    assert_eq!(job.tell(Input::PartDone(Ok(part(0)))), ["record part 0"]);
    assert_eq!(job.end(End::PartRecorded { files: 1 }), NONE);
    assert_eq!(job.end(End::PartRecorded { files: 1 }), ["entered finishing", "write job.json"]);
    let written = End::JobJsonWritten { of: StateName::Finishing, written: Ok(Some(completion(20))) };
    assert_eq!(job.end(written), ["move to ready"]);
    let moved = End::MovedToReady(Ok(completion(20)));
    assert_eq!(job.end(moved), ["entered complete", "settle", "commit complete 3"]);
    assert_eq!(job.committed(StateName::Complete), ["retire"]);
    assert_eq!(job.life.state(), Some(&JobState::Complete(completion(20))));
}

#[test]
fn an_export_without_parts_finishes_at_once() {
    let mut job = TestedLife::starting(0);
    assert_eq!(job.committed(StateName::Running), ["runparts", "entered finishing", "write job.json"]);
}

#[test]
fn an_export_may_have_as_many_files_as_the_bound_and_not_one_more() {
    let mut job = TestedLife::running(3);
    job.tell(Input::PartDone(Ok(part(0))));
    job.tell(Input::PartDone(Ok(part(1))));
    assert_eq!(job.end(End::PartRecorded { files: MAX_FILES }), NONE);
    let too_large = ["entered failed", "settle", "stopparts", "write job.json"];
    assert_eq!(job.end(End::PartRecorded { files: 1 }), too_large);
    let Some(JobState::Failed(failure)) = job.life.state() else { panic!() };
    assert_eq!(failure.reason, FailureReason::TooLarge);
}

#[test]
fn each_failure_of_an_export_fails_the_job_and_what_was_told_to_stop_does_not() {
    let mut of_finished = TestedLife::finishing();
    of_finished.end(End::JobJsonWritten { of: StateName::Finishing, written: Ok(Some(completion(20))) });
    type Fails = fn(Option<FailureReason>) -> Input;
    let failures: [(TestedLife, Fails); 6] = [
        (TestedLife::queued(), |reason| Input::Ended(End::RequestRead(Err(reason)))),
        (TestedLife::queued(), |reason| Input::Ended(End::PlanMade(Err(reason)))),
        (TestedLife::queued(), |reason| Input::Ended(End::PlanWritten(Err(reason)))),
        (TestedLife::running(1), |reason| Input::PartDone(Err(reason))),
        (TestedLife::finishing(), |reason| {
            Input::Ended(End::JobJsonWritten { of: StateName::Finishing, written: Err(reason) })
        }),
        (of_finished, |reason| Input::Ended(End::MovedToReady(Err(reason)))),
    ];
    for (mut job, fails) in failures {
        let mut told_to_stop = TestedLife { life: job.life.clone(), around: job.around };
        job.life.in_directory = 1;
        told_to_stop.life.in_directory = 1;
        let state = told_to_stop.life.state().cloned();
        assert_eq!(told_to_stop.tell(fails(None)), NONE);
        assert_eq!(told_to_stop.life.state().cloned(), state);
        let reason = FailureReason::SourceChanged;
        let failed = ["entered failed", "settle", "stopparts", "write job.json"];
        assert_eq!(job.tell(fails(Some(reason))), failed);
        assert_eq!(job.life.state(), Some(&JobState::Failed(Failure { at: at(10), reason })));
    }
}

#[test]
fn a_failed_export_is_swept_when_its_failure_is_durable_and_its_last_writer_is_out() {
    let mut job = TestedLife::running(2);
    job.around.writers = 1;
    let reason = Some(FailureReason::ExporterFailed);
    let failed = ["entered failed", "settle", "stopparts", "write job.json"];
    assert_eq!(job.tell(Input::PartDone(Err(reason))), failed);
    let written = End::JobJsonWritten { of: StateName::Failed, written: Ok(None) };
    assert_eq!(job.end(written), ["commit update 3"]);
    assert_eq!(job.committed(StateName::Failed), ["fence failed at the deadline"]);
    job.around.writers = 0;
    assert_eq!(job.tell(Input::PartDone(Err(None))), ["lastoneout", "start SweepPartials"]);
    assert_eq!(job.end(End::PartialsSwept(SweepEnd::Done)), ["retire"]);
}

#[test]
fn a_failure_is_recorded_though_job_json_cannot_be_written() {
    let mut job = TestedLife::running(1);
    job.tell(Input::PartDone(Err(Some(FailureReason::StorageFull))));
    let written = End::JobJsonWritten { of: StateName::Failed, written: Err(None) };
    assert_eq!(job.end(written), ["commit update 3"]);
}

#[test]
fn partial_files_that_are_held_or_could_not_be_removed_are_tried_again_until_they_are_gone() {
    let mut job = TestedLife::failing();
    job.committed(StateName::Failed);
    assert_eq!(job.end(End::PartialsSwept(SweepEnd::Refused)), ["retry later: Refused"]);
    assert_eq!(job.end(End::RetryDue), ["start SweepPartials"]);
    assert_eq!(job.end(End::PartialsSwept(SweepEnd::Failed)), ["retry later: Failed"]);
    assert_eq!(job.end(End::RetryDue), ["start SweepPartials"]);
    assert_eq!(job.end(End::PartialsSwept(SweepEnd::Done)), ["retire"]);
}

#[test]
fn partial_files_of_a_job_that_was_marked_meanwhile_are_left_to_the_reaper() {
    let mut job = TestedLife::failing();
    job.committed(StateName::Failed);
    job.cancel("a", 1);
    assert_eq!(job.end(End::PartialsSwept(SweepEnd::Refused)), NONE);
    let mut job = TestedLife::failing();
    job.committed(StateName::Failed);
    job.end(End::PartialsSwept(SweepEnd::Refused));
    job.cancel("a", 1);
    assert_eq!(job.end(End::RetryDue), NONE);
}

#[test]
fn after_a_halt_no_part_begins_and_what_is_sealed_is_still_recorded() {
    let mut job = TestedLife::starting(2);
    assert_eq!(job.tell(Input::Halt), ["haltparts"]);
    assert_eq!(job.committed(StateName::Running), NONE);
    let mut job = TestedLife::running(2);
    job.tell(Input::Halt);
    assert_eq!(job.tell(Input::PartDone(Ok(part(0)))), ["record part 0"]);
    assert_eq!(job.tell(Input::PartDone(Err(None))), NONE);
    assert_eq!(job.name(), StateName::Running, "the next start goes on");
}

#[test]
fn a_resumed_export_reads_its_plan_when_it_is_its_turn_and_runs_what_is_left() {
    let mut job = TestedLife::new();
    let record = job.record(2, JobState::Running { transaction_time: at(1) });
    let recalled = Input::Recalled { record, sealed: 1, files: 1 };
    assert_eq!(job.tell(recalled), ["wait for the turn: Resume"]);
    assert_eq!(job.end(End::TurnCame(Turn::Resume)), ["start ReadDocuments"]);
    assert_eq!(job.end(End::DocumentsRead(Ok(Some(shape(2))))), ["runparts"]);
    job.tell(Input::PartDone(Ok(part(1))));
    assert_eq!(job.end(End::PartRecorded { files: 1 }), ["entered finishing", "write job.json"]);
}

#[test]
fn a_resumed_export_counts_the_files_of_the_parts_that_are_sealed() {
    let mut job = TestedLife::new();
    let record = job.record(2, JobState::Running { transaction_time: at(1) });
    job.tell(Input::Recalled { record, sealed: 1, files: MAX_FILES });
    job.end(End::TurnCame(Turn::Resume));
    job.end(End::DocumentsRead(Ok(Some(shape(3)))));
    job.tell(Input::PartDone(Ok(part(1))));
    job.end(End::PartRecorded { files: 1 });
    assert_eq!(job.name(), StateName::Failed);
}

#[test]
fn a_resumed_job_without_a_plan_is_planned_and_one_that_was_queued_is_recorded_as_running() {
    let (mut job, told) = TestedLife::recall(JobState::Queued);
    assert_eq!(told, ["wait for the turn: Resume"]);
    job.end(End::TurnCame(Turn::Resume));
    assert_eq!(job.end(End::DocumentsRead(Ok(None))), ["wait for the turn: Plan"]);
    let (mut job, _) = TestedLife::recall(JobState::Queued);
    job.end(End::TurnCame(Turn::Resume));
    let running = ["entered running", "commit update 8"];
    assert_eq!(job.end(End::DocumentsRead(Ok(Some(shape(1))))), running);
}

#[test]
fn a_resumed_job_whose_documents_are_lost_fails() {
    let (mut job, _) = TestedLife::recall(JobState::Running { transaction_time: at(1) });
    job.end(End::TurnCame(Turn::Resume));
    job.end(End::DocumentsRead(Err(FailureReason::DirectoryLost)));
    assert_eq!(job.name(), StateName::Failed);
}

#[test]
fn a_failed_job_that_is_recalled_loses_its_partial_files_and_a_finished_one_may_go() {
    let (mut job, told) = TestedLife::recall(failure());
    assert_eq!(told, ["start SweepPartials"]);
    assert_eq!(job.end(End::PartialsSwept(SweepEnd::Done)), ["retire"]);
    assert_eq!(TestedLife::recall(JobState::Complete(completion(20))).1, ["retire"]);
    assert_eq!(TestedLife::recall(erasure()).1, ["retire"]);
}

#[test]
fn a_job_that_was_marked_meanwhile_reads_plans_and_runs_nothing() {
    let mut ends = vec![
        (TestedLife::queued(), End::TurnCame(Turn::Plan)),
        (TestedLife::queued(), End::RequestRead(Ok(()))),
        (TestedLife::queued(), End::PlanMade(Ok(()))),
        (TestedLife::queued(), End::PlanWritten(Ok(shape(1)))),
        (TestedLife::queued(), End::DocumentsRead(Ok(None))),
        (TestedLife::queued(), End::DocumentsRead(Ok(Some(shape(1))))),
        (TestedLife::queued(), End::DocumentsRead(Err(FailureReason::DirectoryLost))),
        (TestedLife::finishing(), End::JobJsonWritten { of: StateName::Finishing, written: Ok(None) }),
        (TestedLife::finishing(), End::MovedToReady(Ok(completion(20)))),
        (TestedLife::running(1), End::PartRecorded { files: 1 }),
    ];
    for (job, end) in &mut ends {
        job.cancel("a", 1);
        (job.life.awaited, job.life.in_directory) = (2, u32::from(end.held_directory()));
        assert_eq!(job.end(end.clone()), NONE, "{end:?}");
        assert_eq!(job.name(), StateName::Marked);
    }
    let mut job = TestedLife::running(1);
    job.cancel("a", 1);
    assert_eq!(job.tell(Input::PartDone(Ok(part(0)))), NONE);
    let mut job = TestedLife::starting(1);
    job.cancel("a", 1);
    assert_eq!(job.committed(StateName::Running), ["commit mark 3"]);
}
