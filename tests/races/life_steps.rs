//! What can happen next around a life, by itself and by others, and what comes of it.

use evanesce::erase::HoldBook;
use evanesce::job::life::{Canceller, Input, Task};
use evanesce::job::{
    Completion, FailureReason, JobState, Mark, MarkReason, SealedPart, StateName, SweepCounts, Tombstone,
};
use jiff::Timestamp;

use super::life_ends::{failure_of, may_fail};
use super::life_world::{Kept, LifeWorld, RETENTION, Standing, Sweeping, ensure};

/// The requests of clients; the same may be sent again.
const REQUESTS: [&str; 2] = ["a", "b"];

/// The request of another process's client.
const OTHERS: &str = "x";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifeStep {
    // By itself.
    KickOff,
    EndTask(usize),
    Commit,
    HearAnswer(usize),
    PartBegins,
    PartEnds(usize),
    PartStops(usize),
    FencedLeaves,
    StuckReturns,
    FenceIsDue(usize),
    SweepBegins,
    SweepEnds,
    DownloadEnds,
    NominateLost,
    NominateOrphan,
    Restart,
    OtherCompletes,
    // By others.
    Cancel(usize),
    TimePasses,
    NominateAgain,
    Download,
    TaskFails(usize),
    PartFails(usize),
    SweepFails,
    CommitDoesNotMove,
    WriterIsCaught,
    Hold,
    Release,
    Pause,
    Resume,
    Halt,
    Crash,
    Vandal,
    OtherMarks,
    OtherStarts,
    OtherErases,
    EverybodyLetsGo,
}

use LifeStep::*;

impl LifeWorld {
    pub fn own_steps(&self) -> Vec<LifeStep> {
        let mut steps = Vec::new();
        steps.extend((0..self.tasks.len()).map(EndTask));
        steps.extend((0..self.answers.len()).map(HearAnswer));
        steps.extend((0..self.running.len()).skip(self.busy).map(PartEnds));
        steps.extend((0..self.fences.len()).map(FenceIsDue));
        if self.is_stopped || self.is_halted {
            steps.extend((0..self.running.len()).skip(self.busy).map(PartStops));
        }
        let forbidden = self.book.is_held(self.job) || self.book.is_paused();
        let is_complete = self.viewed() == Some(StateName::Complete);
        let is_nobodys = self.view.is_none() && self.life.is_none() && self.standing == Standing::Building;
        let enabled = [
            (!self.commits.is_empty(), Commit),
            (!self.queued.is_empty(), PartBegins),
            (self.leaving > 0, FencedLeaves),
            (self.stuck > 0, StuckReturns),
            (self.sweeping == Sweeping::Waits && !forbidden, SweepBegins),
            (self.sweeping == Sweeping::Unlinks, SweepEnds),
            (self.downloads > 0, DownloadEnds),
            (
                is_complete && self.standing != Standing::Ready && !self.tasks.contains(&Task::LookForFiles),
                NominateLost,
            ),
            (is_nobodys && self.store.is_none(), NominateOrphan),
            (self.is_halted, Restart),
            (self.is_elsewhere(), OtherCompletes),
        ];
        steps.extend(enabled.into_iter().filter(|(is_enabled, _)| *is_enabled).map(|(_, step)| step));
        steps
    }

    pub fn outside_steps(&self) -> Vec<LifeStep> {
        let mut steps = vec![TimePasses];
        let luck = &self.luck;
        if luck.cancels > 0 && self.store.is_some() {
            steps.extend((0..REQUESTS.len()).map(Cancel));
        }
        if luck.failures > 0 {
            steps.extend((0..self.tasks.len()).filter(|n| may_fail(&self.tasks[*n])).map(TaskFails));
            steps.extend((0..self.running.len()).skip(self.busy).map(PartFails));
        }
        let viewed = self.viewed();
        let is_read = matches!(viewed, Some(StateName::Complete | StateName::Running));
        let is_held = self.book.is_held(self.job);
        let may_hold = viewed.is_some_and(|name| name != StateName::Erased) && !is_held;
        let stored = self.stored();
        let others = luck.others > 0;
        let is_marked_by_others = stored == Some(StateName::Marked) && self.is_everybody_out();
        let enabled = [
            (is_read && self.downloads < 2, Download),
            (viewed == Some(StateName::Complete), NominateAgain),
            (luck.failures > 0 && self.sweeping == Sweeping::Unlinks, SweepFails),
            (luck.failures > 0 && !self.commits.is_empty(), CommitDoesNotMove),
            (luck.failures > 0 && self.busy < self.running.len(), WriterIsCaught),
            (luck.orders > 0 && may_hold, Hold),
            (is_held, Release),
            (luck.orders > 0 && !self.book.is_paused(), Pause),
            (self.book.is_paused(), Resume),
            (luck.halts > 0, Halt),
            (luck.crashes > 0, Crash),
            (
                luck.vandals > 0 && viewed == Some(StateName::Complete) && self.standing == Standing::Ready,
                Vandal,
            ),
            (others && stored.is_some_and(|name| !name.is_deleted()), OtherMarks),
            (others && stored == Some(StateName::Queued), OtherStarts),
            (others && is_marked_by_others && self.standing == Standing::Trash, OtherErases),
        ];
        steps.extend(enabled.into_iter().filter(|(is_enabled, _)| *is_enabled).map(|(_, step)| step));
        steps
    }

    pub fn perform(&mut self, step: LifeStep) -> Kept {
        self.steps += 1;
        if self.is_traced {
            self.trace.push(format!("-- {step:?}"));
        }
        match step {
            KickOff => {
                self.life = Some(self.new_life());
                self.feed(Input::Submitted)
            }
            EndTask(n) => {
                let task = self.tasks.swap_remove(n);
                let end = self.end_of(task);
                self.feed(Input::Ended(end))
            }
            Commit => self.commit(true),
            HearAnswer(n) => {
                let end = self.answers.swap_remove(n);
                self.feed(Input::Ended(end))
            }
            PartBegins => {
                let part = self.queued.remove(0);
                self.running.push(part);
                Ok(())
            }
            PartEnds(n) => {
                let index = self.running.remove(n);
                self.feed(Input::PartDone(Ok(SealedPart { index, files: Vec::new(), broken_lines: 0 })))
            }
            PartStops(n) => {
                self.running.remove(n);
                self.feed(Input::PartDone(Err(None)))
            }
            FencedLeaves => {
                self.leaving -= 1;
                self.feed(Input::PartDone(Err(None)))
            }
            StuckReturns => {
                self.stuck -= 1;
                self.feed(Input::PartDone(Err(None)))
            }
            FenceIsDue(n) => {
                let of = self.fences.swap_remove(n);
                self.feed(Input::FenceDue { of })
            }
            SweepBegins => {
                self.book.grant(self.job).map_err(|refusal| refusal.to_string())?;
                self.sweeping = Sweeping::Unlinks;
                Ok(())
            }
            SweepEnds => self.sweep(None),
            SweepFails => {
                self.luck.failures -= 1;
                self.sweep(Some("EIO"))
            }
            DownloadEnds => {
                self.downloads -= 1;
                Ok(())
            }
            NominateLost | NominateAgain => {
                self.wake()?;
                self.feed(Input::Lost)
            }
            NominateOrphan => {
                self.life = Some(self.new_life());
                self.feed(Input::Orphan)
            }
            Cancel(n) => self.cancel(REQUESTS[n]),
            TimePasses => {
                self.now += RETENTION / 2;
                let finished = self.view.as_ref().and_then(|record| record.state.finished_at());
                if finished.is_none() || self.book.is_held(self.job) || self.book.is_paused() {
                    return Ok(());
                }
                let was = self.stored();
                self.wake()?;
                self.feed(Input::Expire)?;
                let is_young = finished.is_some_and(|at| at.as_second() + RETENTION > self.now);
                let is_marked = self.commits.iter().any(|commit| matches!(commit.record().state, JobState::Marked(ref mark) if mark.reason == MarkReason::Expired));
                ensure(!(is_young && is_marked && was == self.stored()), "P8: it expires before its time")
            }
            Download => {
                self.downloads += 1;
                Ok(())
            }
            TaskFails(n) => {
                self.luck.failures -= 1;
                let task = self.tasks.swap_remove(n);
                self.feed(Input::Ended(failure_of(&task)))
            }
            PartFails(n) => {
                self.luck.failures -= 1;
                self.running.remove(n);
                self.feed(Input::PartDone(Err(Some(FailureReason::ExporterFailed))))
            }
            CommitDoesNotMove => {
                self.luck.failures -= 1;
                self.commit(false)
            }
            WriterIsCaught => {
                (self.luck.failures, self.busy) = (self.luck.failures - 1, self.busy + 1);
                Ok(())
            }
            Hold => {
                self.luck.orders -= 1;
                // It may come too late.
                let _ = self.book.hold(self.job);
                Ok(())
            }
            Release => {
                self.book.release(self.job);
                Ok(())
            }
            Pause => {
                self.luck.orders -= 1;
                self.book.pause().map_err(|error| error.to_string())
            }
            Resume => {
                self.book.resume();
                Ok(())
            }
            Halt => {
                (self.luck.halts, self.is_halted) = (self.luck.halts - 1, true);
                self.feed(Input::Halt)
            }
            Crash => {
                self.luck.crashes -= 1;
                self.restart()
            }
            Restart => self.restart(),
            Vandal => {
                (self.luck.vandals, self.standing) = (self.luck.vandals - 1, Standing::Gone);
                Ok(())
            }
            OtherMarks | OtherStarts | OtherErases | OtherCompletes => {
                self.other_process(step);
                Ok(())
            }
            EverybodyLetsGo => {
                self.book.release(self.job);
                self.book.resume();
                Ok(())
            }
        }
    }

    fn cancel(&mut self, request: &'static str) -> Kept {
        self.luck.cancels -= 1;
        self.wake()?;
        if self.life.is_none() {
            // The orchestrator knows of no such job.
            return Ok(());
        }
        self.callers += 1;
        self.waiting.insert(self.callers, request);
        let by = Canceller::Client("client".parse().unwrap());
        self.feed(Input::Cancel { by, request_id: request.into(), caller: self.callers })
    }

    /// The reaper's sweep ends. One that failed is tried again.
    fn sweep(&mut self, error: Option<&str>) -> Kept {
        ensure(self.is_everybody_out(), "P4: names are unlinked under somebody")?;
        self.book.give_back(self.job, error.is_none());
        (self.sweeping, self.standing) = match error {
            Some(_) => (Sweeping::Waits, self.standing),
            None => (Sweeping::No, Standing::Gone),
        };
        self.feed(Input::SweepDone { swept: SweepCounts::default(), error: error.map(Into::into) })
    }

    /// The process ends, and the next one joins what it finds.
    fn restart(&mut self) -> Kept {
        let held = self.book.is_held(self.job).then_some(self.job);
        self.book = HoldBook::new(held, self.book.is_paused());
        (self.life, self.sweeping) = (None, Sweeping::No);
        (self.is_halted, self.is_stopped, self.has_work) = (false, false, false);
        (self.busy, self.stuck, self.leaving, self.downloads) = (0, 0, 0, 0);
        self.tasks.clear();
        self.commits.clear();
        self.answers.clear();
        self.fences.clear();
        self.queued.clear();
        self.running.clear();
        self.waiting.clear();
        let now = self.at();
        if let Some(stored) = self.store.clone() {
            let joined = match (stored.state.name(), self.standing) {
                (name, Standing::Ready) if name.is_active() => {
                    Some(JobState::Complete(Completion::of(&[], Timestamp::UNIX_EPOCH, now)))
                }
                (name, Standing::Gone) if !name.is_deleted() => Some(marked(MarkReason::Lost, None, now)),
                _ => None,
            };
            let joined = joined.map_or(stored.clone(), |state| stored.next(state));
            self.store(joined);
            let is_marked = self.stored() == Some(StateName::Marked);
            if is_marked && matches!(self.standing, Standing::Building | Standing::Ready) {
                self.standing = Standing::Trash;
            }
        }
        self.publish(self.store.clone())?;
        let is_awake = |name: StateName| !matches!(name, StateName::Complete | StateName::Erased);
        if self.viewed().is_some_and(is_awake) { self.wake() } else { Ok(()) }
    }

    /// Whether another process exports.
    fn is_elsewhere(&self) -> bool {
        self.is_shared && self.has_other_begun && self.stored() == Some(StateName::Running)
    }

    fn other_process(&mut self, step: LifeStep) {
        let now = self.at();
        let Some(stored) = self.store.clone() else { return };
        let state = match step {
            OtherMarks => {
                self.luck.others -= 1;
                if matches!(self.standing, Standing::Building | Standing::Ready) {
                    self.standing = Standing::Trash;
                }
                marked(MarkReason::Deleted, Some(OTHERS), now)
            }
            OtherStarts => {
                (self.luck.others, self.has_other_begun) = (self.luck.others - 1, true);
                JobState::Running { transaction_time: Timestamp::UNIX_EPOCH }
            }
            OtherErases => {
                self.luck.others -= 1;
                self.receipts += 1;
                self.standing = Standing::Gone;
                JobState::Erased(Tombstone { reason: MarkReason::Deleted, marked_at: now, gone_at: now })
            }
            _ => {
                if self.standing == Standing::Building {
                    self.standing = Standing::Ready;
                }
                JobState::Complete(Completion::of(&[], Timestamp::UNIX_EPOCH, now))
            }
        };
        self.store(stored.next(state));
    }
}

fn marked(reason: MarkReason, request: Option<&str>, at: Timestamp) -> JobState {
    let request_id = request.map(Into::into);
    JobState::Marked(Mark { reason, by: None, at, request_id, was: StateName::Complete, failure: None })
}
