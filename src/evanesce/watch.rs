//! Waits for what becomes of a job, so that a host need not poll: until it moves, is complete, or is erased.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::{Evanesce, JobAbsent, JobOwner, JobSnapshot};
use crate::job::{Completion, Failure, JobId, JobState, Receipt};
use crate::receipts::ReceiptsError;
use crate::view::ViewChanges;

/// How often a [`JobWatch`] looks at the progress of an export that runs. Its states are heard of at once.
const LOOK: Duration = Duration::from_millis(500);

/// Why an export is not complete.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// evanesce.cancel(job, "me".parse()?).await?;
/// assert_eq!(evanesce.wait_complete(job).await, Err(CompletionError::Deleted));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompletionError {
    /// It failed.
    #[error("the export failed: {}", .0.reason.text())]
    Failed(Failure),
    /// It was cancelled or deleted, or has expired.
    #[error("the job was deleted, or has expired")]
    Deleted,
    /// There is no such job.
    #[error("there is no such job")]
    Unknown,
    /// The instance was stopped before. The export goes on at the next start.
    #[error("the instance was stopped before the export was complete")]
    Stopped,
}

/// A job that is watched ([`Evanesce::watch`]). It is a handle on the instance too.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce) = example::host().await?;
/// let job = evanesce.submit(Kickoff::system(), "me".parse()?).await?;
/// let mut watch = evanesce.watch("me".parse::<ClientId>()?.into(), job).await?;
/// while let Some(shown) = watch.next().await {
///     println!("{}: {:.0} %", shown.state().name(), shown.progress().percent);
///     if !shown.state().name().is_active() {
///         break;
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct JobWatch {
    evanesce: Evanesce,
    owner: JobOwner,
    job: JobId,
    changes: ViewChanges,
    /// What the last snapshot showed: the revision of the record, and the progress.
    seen: Option<(u64, JobMoves)>,
}

/// What of an export moves: its plan comes after its state, then work is done, bytes are written, parts sealed.
type JobMoves = [u64; 5];

impl JobWatch {
    /// Resolves with the job when it has moved since the last call, the first time at once: when its state
    /// changed, or, of an export that runs, when there is progress, which is looked at twice a second.
    /// Moves between two calls come as one. Returns `None` when there is no more to see: the job was deleted
    /// or has expired, or the instance was stopped. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<JobSnapshot> {
        loop {
            let shown = self.evanesce.job(&self.owner, self.job).await.ok()?;
            let progress = &shown.0.progress;
            let [parts, sealed] = [progress.parts(), progress.sealed()].map(|parts| parts as u64);
            let moves = [progress.planned(), parts, progress.done(), progress.written(), sealed];
            let seen = Some((shown.0.record.revision, moves));
            if seen != self.seen {
                self.seen = seen;
                return Some(shown);
            }
            let is_active = shown.state().name().is_active();
            drop(shown);
            if !self.moves(is_active).await {
                return None;
            }
        }
    }

    /// Waits until it is worth another look; `false` if there is nothing to wait for.
    async fn moves(&mut self, is_active: bool) -> bool {
        let change = self.evanesce.hears_of_change(&mut self.changes);
        if !is_active {
            return change.await;
        }
        let timer = self.evanesce.runtime().spawn(async { tokio::time::sleep(LOOK).await });
        let end = timer.abort_handle();
        match select(pin!(change), timer).await {
            Either::Left((is_heard, _)) => {
                end.abort();
                is_heard
            }
            // Without the actors' runtime nothing moves.
            Either::Right((slept, _)) => slept.is_ok(),
        }
    }
}

impl Evanesce {
    /// Watches a job of `owner`: its states and its progress ([`JobWatch::next`]).
    ///
    /// # Errors
    /// There is none, or none any more. A job of somebody else is [`JobAbsent::Unknown`].
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce, job) = example::complete().await?;
    /// let mut watch = evanesce.watch("me".parse::<ClientId>()?.into(), job).await?;
    /// assert_eq!(watch.next().await.map(|shown| shown.percent()), Some(100.0));
    /// evanesce.cancel(job, "me".parse()?).await?;
    /// assert!(watch.next().await.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn watch(&self, owner: JobOwner, job: JobId) -> Result<JobWatch, JobAbsent> {
        let changes = self.view().changes();
        self.job(&owner, job).await?;
        Ok(JobWatch { evanesce: self.clone(), owner, job, changes, seen: None })
    }

    /// Resolves with what an export wrote, when it is complete. Dropping the future gives up the waiting,
    /// not the export.
    ///
    /// # Errors
    /// It failed, was deleted, never was; or the instance was stopped before.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// let job = evanesce.submit(Kickoff::system(), "me".parse()?).await?;
    /// assert_eq!(evanesce.wait_complete(job).await?.resources, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait_complete(&self, job: JobId) -> Result<Completion, CompletionError> {
        match self.wait_finished(job).await {
            Some(JobState::Complete(completion)) => Ok(completion),
            Some(JobState::Failed(failure)) => Err(CompletionError::Failed(failure)),
            Some(_) => Err(CompletionError::Deleted),
            None if self.0.stopped.is_cancelled() => Err(CompletionError::Stopped),
            None => Err(CompletionError::Unknown),
        }
    }

    /// Resolves when the job is erased, with its receipt; `None` if there is no such job (any more), or the
    /// instance was stopped before. Waits for ever if nobody ends the job. Dropping the future gives up the
    /// waiting alone.
    ///
    /// # Errors
    /// The receipts cannot be read.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce, job) = example::complete().await?;
    /// evanesce.cancel(job, "me".parse()?).await?;
    /// let receipt = evanesce.wait_erased(job).await?.expect("it was there");
    /// assert_eq!((receipt.job, receipt.was), (job, StateName::Complete));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait_erased(&self, job: JobId) -> Result<Option<Receipt>, ReceiptsError> {
        let mut changes = self.view().changes();
        while let Some(published) = self.view().job(job).await {
            if matches!(published.record.state, JobState::Erased(_)) {
                break;
            }
            if !self.hears_of_change(&mut changes).await {
                break;
            }
        }
        self.services().receipts.find(job)
    }

    /// Resolves with the state of a job when it is complete, failed or deleted; `None` if there is no such
    /// job, or the instance was stopped before. Dropping the future gives up the waiting alone.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// let job = evanesce.submit(Kickoff::system(), "me".parse()?).await?;
    /// let Some(JobState::Complete(completion)) = evanesce.wait_finished(job).await else { panic!() };
    /// assert_eq!((completion.files, completion.resources), (1, 3));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait_finished(&self, job: JobId) -> Option<JobState> {
        let mut changes = self.view().changes();
        loop {
            let state = self.view().job(job).await?.record.state.clone();
            if !state.name().is_active() {
                return Some(state);
            }
            if !self.hears_of_change(&mut changes).await {
                return None;
            }
        }
    }

    /// Waits until something was published; `false` if the instance was stopped before.
    async fn hears_of_change(&self, changes: &mut ViewChanges) -> bool {
        let stopped = self.0.stopped.cancelled();
        matches!(select(pin!(changes.next()), pin!(stopped)).await, Either::Left(_))
    }
}
