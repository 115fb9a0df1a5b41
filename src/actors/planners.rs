//! How many plans are made at once: planning may take long, and the threads that block are
//! those that deletions need too. A plan that outlives its job gives its place up, as long as
//! there are replacements left.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;

use crate::export::CancelToken;
use crate::job::JobId;

/// Plans made at once.
const PLANNERS: usize = 2;

/// Interrupted exports whose documents are read at once at a start: they may be large (P13).
const RESUMING: usize = 2;

/// See the module.
pub struct Planners {
    places: Arc<Semaphore>,
    resuming: Arc<Semaphore>,
    replacements: Semaphore,
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
        }
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
