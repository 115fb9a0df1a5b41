//! How many plans are made at once: planning may take long, and the threads that block are
//! those that deletions need too. A plan that outlives its job is counted and gives its place up,
//! as long as there are replacements left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;

use crate::export::{CancelToken, OutlivingWork};
use crate::job::JobId;
use crate::telemetry;

/// Plans made at once.
const PLANNERS: usize = 2;

/// Interrupted exports whose documents are read at once at a start: they may be large (P13).
const RESUMING: usize = 2;

/// Limits how many plans are made at once, and counts those that outlive their jobs.
pub struct Planners {
    places: Arc<Semaphore>,
    resuming: Arc<Semaphore>,
    replacements: Semaphore,
    /// Plans that outlive their jobs, and those of them that keep their places.
    outliving: AtomicUsize,
    keeping: AtomicUsize,
}

/// The right to make a plan, or to read one; given back when it is dropped.
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

/// Waits for one.
async fn place(of: Arc<Semaphore>) -> Place {
    Place { _permit: of.acquire_owned().await.expect("nobody closes the semaphore") }
}

impl Planners {
    /// Up to `max_replacements` plans that outlive their jobs lose their place to others.
    pub fn new(max_replacements: usize) -> Self {
        let max_replacements = max_replacements.min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(PLANNERS)),
            resuming: Arc::new(Semaphore::new(RESUMING)),
            replacements: Semaphore::new(max_replacements),
            outliving: AtomicUsize::new(0),
            keeping: AtomicUsize::new(0),
        }
    }

    /// What the ends of jobs have left of the places.
    pub fn outliving(&self) -> OutlivingWork {
        let is_starved = self.keeping.load(Ordering::Relaxed) >= PLANNERS;
        OutlivingWork { count: self.outliving.load(Ordering::Relaxed), is_starved }
    }

    /// Waits for a place to plan in. Whoever has it may hold a request, and nobody else does.
    pub fn place(&self) -> impl Future<Output = Place> + use<> {
        place(self.places.clone())
    }

    /// Waits for a place to read the documents of an interrupted export in.
    pub fn resuming(&self) -> impl Future<Output = Place> + use<> {
        place(self.resuming.clone())
    }

    /// Makes a plan for `job`, which is over when `over` fires.
    pub async fn run<T: Send + 'static>(
        &self,
        place: Place,
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
        let (replacement, place) = match self.replacements.try_acquire() {
            Ok(replacement) => {
                drop(place);
                (Some(replacement), None)
            }
            Err(_none_left) => (None, Some(place)),
        };
        let keeping = usize::from(place.is_some());
        self.keeping.fetch_add(keeping, Ordering::Relaxed);
        telemetry::outliving_workers("plan", self.outliving.fetch_add(1, Ordering::Relaxed) + 1);
        let planned = planning.await;
        self.keeping.fetch_sub(keeping, Ordering::Relaxed);
        telemetry::outliving_workers("plan", self.outliving.fetch_sub(1, Ordering::Relaxed) - 1);
        drop((replacement, place));
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
            let planners = Arc::new(Planners::new(max_replacements));
            let (ends, plans): (Vec<_>, Vec<_>) = (0..PLANNERS)
                .map(|_| {
                    let (end, ended) = channel::<()>();
                    let (planners, over) = (planners.clone(), CancelToken::new());
                    over.cancel();
                    let plan = move || ended.recv().is_ok();
                    let run = async move {
                        let place = planners.place().await;
                        planners.run(place, JobId::random(), plan, over, Duration::ZERO).await
                    };
                    (end, tokio::spawn(run))
                })
                .unzip();
            while planners.outliving().count < PLANNERS {
                tokio::task::yield_now().await;
            }
            assert_eq!(planners.outliving(), OutlivingWork { count: PLANNERS, is_starved });
            assert_eq!(planners.places.available_permits(), max_replacements);
            drop(ends);
            for plan in plans {
                plan.await.unwrap().unwrap();
            }
            assert_eq!(planners.outliving(), OutlivingWork { count: 0, is_starved: false });
            assert_eq!(planners.places.available_permits(), PLANNERS);
        }
    }
}
