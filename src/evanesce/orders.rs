//! What an operator may look at and order: the reaper, holds, and whether the instance can keep its promises.

use serde::Serialize;

use super::Evanesce;
use crate::actors::{ConfirmClock, GetStatus, OperatorOrder, TurnEpoch};
use crate::clock::between;
use crate::erase::{OrderError, ReaperStatus};
use crate::export::OutlivingWork;
use crate::job::JobId;
#[cfg(feature = "server")]
use crate::keys::KeyStoreStatus;
use crate::receipts::{JobHold, ReaperPause, ReceiptEntry};
use crate::telemetry;

/// Whether an instance can keep its promises, and why not.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce) = example::host().await?;
/// let readiness: Readiness = evanesce.readiness().await;
/// assert!(readiness.is_ready && readiness.workers.count == 0 && readiness.planners.count == 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Serialize)]
pub struct Readiness {
    /// Whether all of this holds: the store takes commits, the audit log is written, the actors answer, the
    /// instance's own files are where they should be, no mark has waited for longer than
    /// `reaper.alarm_after`, and there is a thread left for an export.
    #[serde(rename = "ready")]
    pub is_ready: bool,
    /// What the reaper has done and has before it; `None` if the actors do not answer.
    pub reaper: Option<ReaperStatus>,
    /// Parts of ended jobs that keep a worker.
    pub workers: OutlivingWork,
    /// Plans of ended jobs that keep a planner.
    pub planners: OutlivingWork,
}

impl Evanesce {
    /// Returns what the reaper has done and has before it; `None` when the instance is going down.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// let status = evanesce.reaper_status().await.expect("it is not going down");
    /// assert_eq!((status.marked, status.overdue), (0, false));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn reaper_status(&self) -> Option<ReaperStatus> {
        self.0.running.reaper.send(GetStatus).await.ok().flatten()
    }

    /// Returns whether the instance can keep its promises.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// assert!(evanesce.readiness().await.is_ready);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn readiness(&self) -> Readiness {
        let reaper = self.reaper_status().await;
        let in_time = reaper.as_ref().is_some_and(|reaper| !reaper.overdue && reaper.missing.is_empty());
        let services = self.services();
        let (workers, planners) = (services.pool.outliving(), services.plans.outliving());
        let can_keep_records = services.committer.is_healthy() && services.audit.is_healthy();
        let can_export = !workers.is_starved && !planners.is_starved;
        Readiness { is_ready: can_keep_records && in_time && can_export, reaper, workers, planners }
    }

    /// Pauses the reaper: nothing is swept and nothing expires until it is resumed, over restarts as well.
    /// Marks are still made, so deleted jobs disappear at once. `by` and `reason` go into the receipts.
    /// Resolves when the order is durable.
    ///
    /// # Errors
    /// The reaper is paused already, or the instance is going down.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// evanesce.pause_reaper("ops", "the disk is being replaced").await?;
    /// let status = evanesce.reaper_status().await.expect("it is not going down");
    /// assert_eq!(status.pause.map(|pause| pause.by), Some("ops".into()));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn pause_reaper(&self, by: &str, reason: &str) -> Result<(), OrderError> {
        let (at, by, reason) = (self.now(), by.into(), reason.into());
        self.order(ReceiptEntry::Pause(ReaperPause { at, by, reason })).await
    }

    /// Ends a pause of the reaper. Resolves when the order is durable.
    ///
    /// # Errors
    /// The reaper is not paused, or the instance is going down.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// assert_eq!(evanesce.resume_reaper("ops").await, Err(OrderError::NotPaused));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn resume_reaper(&self, by: &str) -> Result<(), OrderError> {
        self.order(ReceiptEntry::Resume { at: self.now(), by: by.into() }).await
    }

    /// Puts a job under a hold (a legal hold): its files stay until it is released, over restarts as well. It
    /// does not expire. A DELETE still hides it at once, but nothing of it is swept. `by` and `reason` go into
    /// the receipts. Resolves when the order is durable.
    ///
    /// # Errors
    /// There is no such job, it is held already, or its files are being removed; or the instance is going down.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce, job) = example::complete().await?;
    /// evanesce.hold(job, "legal", "case 4711").await?;
    /// assert!(evanesce.jobs().await[0].held);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn hold(&self, job: JobId, by: &str, reason: &str) -> Result<(), OrderError> {
        let (at, by, reason) = (self.now(), by.into(), reason.into());
        self.order(ReceiptEntry::Hold(JobHold { job, at, by, reason })).await
    }

    /// Releases a job from its hold; if it was deleted meanwhile, it is swept now. Resolves when the order is
    /// durable.
    ///
    /// # Errors
    /// The job is under no hold, or the instance is going down.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce, job) = example::complete().await?;
    /// evanesce.hold(job, "legal", "case 4711").await?;
    /// evanesce.release(job, "legal").await?;
    /// assert!(evanesce.holds().is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn release(&self, job: JobId, by: &str) -> Result<(), OrderError> {
        self.order(ReceiptEntry::Release { job, at: self.now(), by: by.into() }).await
    }

    /// Returns all holds that are in force.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce, job) = example::complete().await?;
    /// evanesce.hold(job, "legal", "case 4711").await?;
    /// let hold: JobHold = evanesce.holds().remove(0);
    /// assert_eq!((hold.job, &*hold.reason), (job, "case 4711"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn holds(&self) -> Vec<JobHold> {
        self.services().receipts.holds()
    }

    async fn order(&self, entry: ReceiptEntry) -> Result<(), OrderError> {
        self.0.running.reaper.send(OperatorOrder(entry)).await.unwrap_or(Err(OrderError::Stopped))
    }

    /// Says that the wall clock is right although it jumped. Expiry, which waits then
    /// ([`ReaperStatus::clock_jumped`]), goes on at once. Returns whether it waited; `None` when the instance
    /// is going down.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// assert_eq!(evanesce.confirm_clock().await, Some(false), "it did not jump");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn confirm_clock(&self) -> Option<bool> {
        self.0.running.reaper.send(ConfirmClock).await.ok()
    }

    /// Sets the metrics of the present: jobs, work, backlog and reserved bytes. Call it before the metrics are
    /// read. All other metrics follow the events.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// evanesce.refresh_metrics().await;
    /// // Now render those of the recorder that the host has set with `metrics::set_global_recorder`.
    /// # Ok(())
    /// # }
    /// ```
    pub async fn refresh_metrics(&self) {
        // The reaper counts its backlog for the metrics too.
        self.reaper_status().await;
        let services = self.services();
        let (planned, done) = self.view().work().await;
        telemetry::work(planned, done);
        telemetry::reserved_bytes(services.space.reserved());
        let keys = services.keys.status();
        telemetry::keys(keys.epoch, between(keys.begun, self.now()), keys.live, keys.unavailable);
    }

    /// Turns the epoch of the keys now. After it no copy of anything opens what was erased before. Resolves
    /// when the end of the old epoch is recorded in the receipts.
    ///
    /// # Errors
    /// Fails with a sentence if the reaper is paused, a turn is under way, or the old key could not be
    /// destroyed. The turn is then finished by a later one.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce, job) = example::complete().await?;
    /// evanesce.cancel(job, "me".parse()?).await?;
    /// evanesce.wait_erased(job).await?;
    /// evanesce.turn_epoch().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn turn_epoch(&self) -> Result<(), String> {
        let turned = self.0.running.reaper.send(TurnEpoch).await;
        turned.unwrap_or_else(|_| Err(OrderError::Stopped.to_string()))
    }

    /// Returns what is known of the keys as a whole.
    #[cfg(feature = "server")]
    pub(crate) fn keys(&self) -> KeyStoreStatus {
        self.services().keys.status()
    }
}
