//! Turns to plan. Planning may take long, and the threads that block are those that deletions need
//! too, so only a few plans are made at once. A plan that outlives its job is counted and gives its
//! turn up, as long as there are replacements left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;

use super::{CancelToken, OutlivingWork, Plan};
use crate::job::life::Turn;
use crate::job::{ExportRequest, JobId};
use crate::telemetry;

/// Plans made at once.
const PLANNERS: usize = 2;

/// Interrupted exports whose documents are read at once at a start: they may be large (P13).
const RESUMING: usize = 2;

/// Limits how many plans are made at once, and counts those that outlive their jobs.
pub struct PlanQueue {
    planning: Arc<Semaphore>,
    resuming: Arc<Semaphore>,
    replacements: Semaphore,
    /// Plans that outlive their jobs, and those of them that keep their turns.
    outliving: AtomicUsize,
    keeping: AtomicUsize,
}

/// What a job has in hand between two steps of its planning; dropped if it goes no further.
#[derive(Default)]
pub enum PlanHandover {
    /// Nothing.
    #[default]
    Nothing,
    /// The turn to plan or to read a plan.
    Turn(PlanTurn),
    /// The turn, and what to plan.
    Request(PlanTurn, Box<ExportRequest>),
    /// The plan.
    Plan(Plan),
}

/// The right to make a plan, or to read one; given back when it is dropped.
pub struct PlanTurn {
    _permit: OwnedSemaphorePermit,
}

impl PlanQueue {
    /// Creates a queue in which up to `max_replacements` plans that outlive their jobs lose their turns
    /// to others.
    pub fn new(max_replacements: usize) -> Self {
        let max_replacements = max_replacements.min(Semaphore::MAX_PERMITS);
        Self {
            planning: Arc::new(Semaphore::new(PLANNERS)),
            resuming: Arc::new(Semaphore::new(RESUMING)),
            replacements: Semaphore::new(max_replacements),
            outliving: AtomicUsize::new(0),
            keeping: AtomicUsize::new(0),
        }
    }

    /// Returns how many plans outlive their jobs, and whether they keep all others from their turns.
    pub fn outliving(&self) -> OutlivingWork {
        let is_starved = self.keeping.load(Ordering::Relaxed) >= PLANNERS;
        OutlivingWork { count: self.outliving.load(Ordering::Relaxed), is_starved }
    }

    /// Waits for a turn: to plan, so that whoever has it may hold a request and nobody else does; or to
    /// read the documents of an interrupted export.
    pub fn turn(&self, turn: Turn) -> impl Future<Output = PlanTurn> + use<> {
        let turns = match turn {
            Turn::Plan => self.planning.clone(),
            Turn::Resume => self.resuming.clone(),
        };
        async move { PlanTurn { _permit: turns.acquire_owned().await.expect("nobody closes the semaphore") } }
    }

    /// Makes a plan for `job` in its turn. A plan that is not made `deadline` after `over` fired, because
    /// the job is over, outlives it.
    ///
    /// # Errors
    /// Fails if `plan` panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        turn: PlanTurn,
        job: JobId,
        plan: impl FnOnce() -> T + Send + 'static,
        over: CancelToken,
        deadline: Duration,
    ) -> Result<T, JoinError> {
        let mut planning = tokio::task::spawn_blocking(plan);
        let too_late = async {
            over.cancelled().await;
            tokio::time::sleep(deadline).await;
        };
        tokio::select! {
            planned = &mut planning => return planned,
            () = too_late => tracing::error!(%job, "a plan outlived its job's cancel deadline"),
        }
        let (replacement, turn) = match self.replacements.try_acquire() {
            Ok(replacement) => {
                drop(turn);
                (Some(replacement), None)
            }
            Err(_none_left) => (None, Some(turn)),
        };
        let keeping = usize::from(turn.is_some());
        self.keeping.fetch_add(keeping, Ordering::Relaxed);
        telemetry::outliving_workers("plan", self.outliving.fetch_add(1, Ordering::Relaxed) + 1);
        let planned = planning.await;
        self.keeping.fetch_sub(keeping, Ordering::Relaxed);
        telemetry::outliving_workers("plan", self.outliving.fetch_sub(1, Ordering::Relaxed) - 1);
        drop((replacement, turn));
        planned
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn p13_a_plan_that_outlives_its_job_is_counted_and_two_without_replacements_starve_all_others() {
        for (max_replacements, is_starved) in [(0, true), (1, false)] {
            let planners = Arc::new(PlanQueue::new(max_replacements));
            let (ends, plans): (Vec<_>, Vec<_>) = (0..PLANNERS)
                .map(|_| {
                    let (end, ended) = channel::<()>();
                    let (planners, over) = (planners.clone(), CancelToken::new());
                    over.cancel();
                    let plan = move || ended.recv().is_ok();
                    let run = async move {
                        let turn = planners.turn(Turn::Plan).await;
                        planners.run(turn, JobId::random(), plan, over, Duration::ZERO).await
                    };
                    (end, tokio::spawn(run))
                })
                .unzip();
            while planners.outliving().count < PLANNERS {
                tokio::task::yield_now().await;
            }
            assert_eq!(planners.outliving(), OutlivingWork { count: PLANNERS, is_starved });
            assert_eq!(planners.planning.available_permits(), max_replacements);
            drop(ends);
            for plan in plans {
                plan.await.unwrap().unwrap();
            }
            assert_eq!(planners.outliving(), OutlivingWork { count: 0, is_starved: false });
            assert_eq!(planners.planning.available_permits(), PLANNERS);
        }
    }
}
