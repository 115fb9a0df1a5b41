//! The only place where a job's state changes. What must be done on the way, and in which
//! order, is given as data: the actor performs it, the model in `tests/model` searches it.

use jiff::Timestamp;

use super::{Completion, Failure, JobState, Mark, SweepFailure, Tombstone};

/// What can happen to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEvent {
    /// The plan is on disk; parts may start.
    Start {
        /// The instant whose view of the source the plan took (MF-1).
        transaction_time: Timestamp,
    },
    /// Every part of the plan is sealed and recorded.
    PartsSealed,
    /// The directory stands in `ready/`, durably.
    Completed(Completion),
    /// The export cannot be done. While finishing only the finisher may say so, and only when
    /// the directory is certainly not in `ready/` yet.
    Fail(Failure),
    /// Somebody, or time, wants the job's files gone.
    Mark(Mark),
    /// A sweep left something behind.
    SweepFailed(SweepFailure),
    /// Every name is unlinked, every descriptor closed, the directory synced.
    Swept(Tombstone),
}

/// An effect that a transition asks for. Effects are performed one after another, in the given order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransitionEffect {
    /// Writers stop between two writes, so that the commit does not queue behind them.
    PauseWriters,
    /// The receipt is appended to the chain and synced (P9).
    AppendReceipt,
    /// The record is on stable storage (P1).
    Commit,
    /// The directory is renamed to `trash/`, both parents synced: the second witness (P1).
    MoveToTrash,
    /// The published view shows the record; from here on clients see it (P2).
    Publish,
    /// The cancel token fires; queued parts never start.
    StopParts,
    /// Callers get their answer, once the mark is published: whoever asks again while it is
    /// being made waits for that, with the same request or with another one.
    Acknowledge,
    /// Wait until the last writer and the last download are out, or fenced and cut (P4), and
    /// whatever else holds the directory, overtaken or not.
    AwaitLastOut,
    /// The reaper removes the directory.
    Sweep,
    /// Parts go to the worker pool.
    RunParts,
    /// `job.json` is written and synced: what the record is going to say.
    WriteJobJson,
    /// The directory is renamed to `ready/`, both parents synced.
    MoveToReady,
    /// The files of a failed export go at once; `job.json` stays.
    SweepPartials,
}

/// Why an event is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransitionRefusal {
    /// The job is marked or erased already: 404 `deleted` (D-8).
    #[error("the job is deleted already")]
    AlreadyDeleted,
    /// The event is too late, and harmless.
    #[error("the job is past that")]
    Stale,
}

use TransitionEffect::*;

const START: &[TransitionEffect] = &[Commit, Publish, RunParts];
const FINISH: &[TransitionEffect] = &[WriteJobJson, MoveToReady];
const COMPLETE: &[TransitionEffect] = &[Commit, Publish];
const FAIL: &[TransitionEffect] = &[StopParts, WriteJobJson, Commit, Publish, AwaitLastOut, SweepPartials];
/// From a mark to its sweep: durable twice, then shown, then answered; nothing is unlinked before
/// the last one is out (P1, P2, P4). Stated here alone: the committer's order follows from it
/// ([`erase::order`](crate::erase::order)).
pub const MARK_ORDER: &[TransitionEffect] =
    &[PauseWriters, Commit, MoveToTrash, Publish, StopParts, Acknowledge, AwaitLastOut, Sweep];
const SAME_REQUEST: &[TransitionEffect] = &[Acknowledge];
const SWEEP_FAILED: &[TransitionEffect] = &[Commit, Publish];
/// From a sweep to the tombstone: the receipt first, the record last (P5, P9).
pub const ERASURE_ORDER: &[TransitionEffect] = &[AppendReceipt, Commit, Publish];

/// Returns the next state and its effects, or why the event is refused.
///
/// DESIGN section 3: Queued < Running < Finishing < Complete | Failed < Marked < Erased.
/// A mark ends every state before it; nothing ends a mark but its sweep.
pub fn transition(
    state: &JobState,
    event: JobEvent,
) -> Result<(JobState, &'static [TransitionEffect]), TransitionRefusal> {
    use JobState::*;
    match (state, event) {
        (Queued, JobEvent::Start { transaction_time }) => Ok((Running { transaction_time }, START)),
        (Running { transaction_time }, JobEvent::PartsSealed) => {
            Ok((Finishing { transaction_time: *transaction_time }, FINISH))
        }
        (Finishing { .. }, JobEvent::Completed(completion)) => Ok((Complete(completion), COMPLETE)),
        (Queued | Running { .. } | Finishing { .. }, JobEvent::Fail(failure)) => Ok((Failed(failure), FAIL)),

        (Marked(mark), JobEvent::Mark(again))
            if again.request_id.is_some() && again.request_id == mark.request_id =>
        {
            Ok((state.clone(), SAME_REQUEST))
        }
        (Marked(_) | Erased(_), JobEvent::Mark(_)) => Err(TransitionRefusal::AlreadyDeleted),
        (_, JobEvent::Mark(mark)) => Ok((Marked(mark), MARK_ORDER)),

        (Marked(mark), JobEvent::SweepFailed(failure)) => {
            Ok((Marked(Mark { failure: Some(failure), ..mark.clone() }), SWEEP_FAILED))
        }
        (Marked(_), JobEvent::Swept(erasure)) => Ok((Erased(erasure), ERASURE_ORDER)),

        _ => Err(TransitionRefusal::Stale),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::job::{FailureReason, MarkReason, StateName};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn mark(request: &str) -> Mark {
        Mark {
            reason: MarkReason::Deleted,
            by: None,
            at: at(5),
            request_id: Some(request.into()),
            was: StateName::Running,
            failure: None,
        }
    }

    fn completion() -> Completion {
        Completion::of(&[], at(1), at(2))
    }

    fn erasure() -> Tombstone {
        Tombstone { reason: MarkReason::Deleted, marked_at: at(5), gone_at: at(6) }
    }

    fn states() -> Vec<JobState> {
        vec![
            JobState::Queued,
            JobState::Running { transaction_time: at(1) },
            JobState::Finishing { transaction_time: at(1) },
            JobState::Failed(Failure { at: at(2), reason: FailureReason::SourceChanged }),
            JobState::Complete(completion()),
            JobState::Marked(mark("a")),
            JobState::Erased(erasure()),
        ]
    }

    fn events() -> Vec<JobEvent> {
        vec![
            JobEvent::Start { transaction_time: at(1) },
            JobEvent::PartsSealed,
            JobEvent::Completed(completion()),
            JobEvent::Fail(Failure { at: at(3), reason: FailureReason::StorageFull }),
            JobEvent::Mark(mark("b")),
            JobEvent::SweepFailed(SweepFailure { attempts: 1, at: at(4), error: "EBUSY".into() }),
            JobEvent::Swept(erasure()),
        ]
    }

    /// The whole table: a row a state, a column an event of `events()`.
    #[test]
    fn every_state_meets_every_event_as_documented() {
        use StateName::*;
        const S: Result<StateName, TransitionRefusal> = Err(TransitionRefusal::Stale);
        const D: Result<StateName, TransitionRefusal> = Err(TransitionRefusal::AlreadyDeleted);
        let table: [(StateName, [Result<StateName, TransitionRefusal>; 7]); 7] = [
            (Queued, [Ok(Running), S, S, Ok(Failed), Ok(Marked), S, S]),
            (Running, [S, Ok(Finishing), S, Ok(Failed), Ok(Marked), S, S]),
            (Finishing, [S, S, Ok(Complete), Ok(Failed), Ok(Marked), S, S]),
            (Failed, [S, S, S, S, Ok(Marked), S, S]),
            (Complete, [S, S, S, S, Ok(Marked), S, S]),
            (Marked, [S, S, S, S, D, Ok(Marked), Ok(Erased)]),
            (Erased, [S, S, S, S, D, S, S]),
        ];
        for (state, (name, row)) in states().iter().zip(table) {
            assert_eq!(state.name(), name);
            for (event, expected) in events().into_iter().zip(row) {
                let got = transition(state, event.clone()).map(|(next, _)| next.name());
                assert_eq!(got, expected, "{name} + {event:?}");
            }
        }
    }

    #[test]
    fn the_same_request_is_acknowledged_again_and_changes_nothing() {
        let marked = JobState::Marked(mark("a"));
        assert_eq!(transition(&marked, JobEvent::Mark(mark("a"))), Ok((marked.clone(), SAME_REQUEST)));
        let nameless = Mark { request_id: None, ..mark("") };
        let marked = JobState::Marked(nameless.clone());
        assert_eq!(transition(&marked, JobEvent::Mark(nameless)), Err(TransitionRefusal::AlreadyDeleted));
    }

    #[test]
    fn a_failed_sweep_is_kept_in_the_mark() {
        let failure = SweepFailure { attempts: 2, at: at(9), error: "EACCES".into() };
        let (state, _) =
            transition(&JobState::Marked(mark("a")), JobEvent::SweepFailed(failure.clone())).unwrap();
        assert_eq!(state, JobState::Marked(Mark { failure: Some(failure), ..mark("a") }));
    }

    proptest! {
        #[test]
        fn life_only_goes_forward(choices in prop::collection::vec(0usize..7, 0..40)) {
            let mut state = JobState::Queued;
            for choice in choices {
                let event = events().swap_remove(choice);
                if let Ok((next, effects)) = transition(&state, event) {
                    prop_assert!(next.name() >= state.name());
                    let position = |effect| effects.iter().position(|e| *e == effect);
                    // P1: nothing is shown or acknowledged that is not durable.
                    if let Some(publish) = position(TransitionEffect::Publish) {
                        prop_assert!(position(TransitionEffect::Commit).is_some_and(|commit| commit < publish));
                    }
                    state = next;
                }
            }
        }
    }
}
