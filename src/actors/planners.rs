//! How many plans are made at once: planning may take long, and the threads that block are
//! those that deletions need too. A plan that outlives its job gives its place up, as long as
//! there are replacements left.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinError;

use crate::export::CancelToken;
use crate::job::JobId;

/// Plans made at once.
const PLANNERS: usize = 2;

/// See the module.
pub struct Planners {
    places: Semaphore,
    replacements: Semaphore,
}

impl Planners {
    /// Up to `max_replacements` plans that outlive their jobs lose their place to others.
    pub fn new(max_replacements: usize) -> Self {
        let max_replacements = max_replacements.min(Semaphore::MAX_PERMITS);
        Self { places: Semaphore::new(PLANNERS), replacements: Semaphore::new(max_replacements) }
    }

    /// Waits for a place and makes a plan for `job`, which is over when `over` fires.
    pub async fn run<T: Send + 'static>(
        &self,
        job: JobId,
        plan: impl FnOnce() -> T + Send + 'static,
        over: CancelToken,
        deadline: Duration,
    ) -> Result<T, JoinError> {
        // Neither semaphore is ever closed.
        let place = self.places.acquire().await;
        let mut planning = tokio::task::spawn_blocking(plan);
        let too_late = async {
            over.cancelled().await;
            tokio::time::sleep(deadline).await;
        };
        tokio::select! {
            planned = &mut planning => return planned,
            () = too_late => tracing::error!(%job, "a plan outlived its job's cancel deadline"),
        }
        let replacement = self.replacements.try_acquire();
        let _place = if replacement.is_ok() {
            drop(place);
            None
        } else {
            Some(place)
        };
        planning.await
    }
}
