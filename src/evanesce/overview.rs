//! Jobs as operators see them, on the command line and in the console: the record, and what only this process
//! knows of it. It has nothing of the request (P12).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Evanesce;
use crate::clock::after;
#[cfg(feature = "console")]
use crate::job::Receipt;
use crate::job::{
    ClientId, FailureReason, JobId, JobRecord, JobState, MarkReason, OutputFile, StateName, TenantId,
};
#[cfg(feature = "server")]
use crate::receipts::JobHold;
use crate::view::PublishedJob;

/// One job in the list of all, as an operator sees it. Serializes as `evanesce jobs --output json`
/// shows it.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// let JobOverview { tenant, owner, percent, files, .. } = evanesce.jobs().await.remove(0);
/// assert_eq!((tenant.as_str(), owner.as_str(), percent), ("default", "me", Some(100.0)));
/// assert_eq!(files, Some(1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobOverview {
    /// The job.
    pub job: JobId,
    /// Where it stands.
    pub state: StateName,
    /// Whose data it exports.
    pub tenant: TenantId,
    /// Who may see it.
    pub owner: ClientId,
    /// When the kick-off was received.
    pub submitted_at: Timestamp,
    /// Percent done; `None` of a job that ended before all was.
    pub percent: Option<f64>,
    /// Whether it is under a hold.
    pub held: bool,
    /// Output files, of a running job those so far; `None` of a failed or erased job, and of a marked one whose
    /// files this process does not know.
    pub files: Option<u64>,
    /// Bytes of these files on disk, as far as their number is known.
    pub bytes: Option<u64>,
    /// How long it is expected to run, in seconds; `None` if that cannot be told, or it does not run.
    pub seconds_left: Option<u64>,
    /// When it was complete or failed; `None` of one that is active or deleted.
    pub finished_at: Option<Timestamp>,
    /// When its time to live is over (P8); `None` of one that is active, deleted or held.
    pub expires_at: Option<Timestamp>,
    /// Why it was deleted.
    pub reason: Option<MarkReason>,
    /// Why it failed.
    pub failure: Option<FailureReason>,
}

/// All that an operator may know of one job.
#[cfg(feature = "server")]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct JobDetail {
    #[serde(flatten)]
    pub overview: JobOverview,
    /// Its state, with the instants and counts that belong to it.
    pub details: JobState,
    /// The hold that it is under.
    pub hold: Option<JobHold>,
    /// Downloads of its files that are open.
    pub downloads: u32,
}

/// All that the pages of operators show of one job.
#[cfg(feature = "console")]
#[derive(Debug, Clone, Default)]
pub(crate) struct JobDossier {
    /// The job, until its tombstone ends.
    pub detail: Option<JobDetail>,
    /// The files that clients can get.
    pub files: Vec<OutputFile>,
    /// The receipt of its erasure.
    pub receipt: Option<Receipt>,
}

/// All jobs at one moment, with what is the same for all.
pub(crate) struct JobList {
    jobs: Vec<Arc<PublishedJob>>,
    held: HashSet<JobId>,
    lifetime: Duration,
}

impl JobList {
    /// Returns the jobs, tombstones included, in no order.
    pub fn iter(&self) -> impl Iterator<Item = ListedJob<'_>> {
        self.jobs.iter().map(|job| ListedJob {
            job,
            is_held: self.held.contains(&job.record.id),
            lifetime: self.lifetime,
        })
    }
}

/// A job of the list. Nothing of it is copied before its overview is asked for: there may be hundreds of
/// thousands of tombstones, and a page shows fifty of them (P13).
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListedJob<'a> {
    pub job: &'a PublishedJob,
    /// Whether it is under a hold.
    pub is_held: bool,
    /// How long a job is kept after its end.
    pub lifetime: Duration,
}

impl<'a> ListedJob<'a> {
    /// Returns the durable record.
    pub fn record(self) -> &'a JobRecord {
        &self.job.record
    }

    /// Returns the percentage done; `None` of a job that ended before all was.
    pub fn percent(self) -> Option<f64> {
        match self.record().state.name() {
            StateName::Complete => Some(100.0),
            state => state.is_active().then(|| self.job.progress.percent()),
        }
    }

    /// Returns when its time to live is over (P8); `None` of one that is active, deleted or held.
    pub fn expires_at(self) -> Option<Timestamp> {
        let finished_at = self.record().state.finished_at().filter(|_| !self.is_held);
        finished_at.map(|at| after(at, self.lifetime))
    }

    /// Returns the number of its output files and their bytes on disk, as far as this process knows them.
    pub fn sizes(self) -> (Option<u64>, Option<u64>) {
        let Self { job, .. } = self;
        match &job.record.state {
            JobState::Complete(completion) => (Some(completion.files), Some(completion.stored_bytes())),
            JobState::Failed(_) | JobState::Erased(_) => (None, None),
            JobState::Marked(_) if job.files().next().is_some() => {
                (Some(job.files().count() as u64), Some(job.files().map(OutputFile::stored_bytes).sum()))
            }
            // It was marked before this process began, which never looked at its files.
            JobState::Marked(_) if job.progress.written() == 0 => (None, None),
            _ => (Some(job.progress.files()), Some(job.progress.written())),
        }
    }

    /// Returns what an operator sees of it.
    pub fn overview(self) -> JobOverview {
        let (record, state) = (self.record(), self.record().state.name());
        let (files, bytes) = self.sizes();
        let (reason, failure) = match &record.state {
            JobState::Failed(failure) => (None, Some(failure.reason)),
            JobState::Marked(mark) => (Some(mark.reason), None),
            JobState::Erased(erasure) => (Some(erasure.reason), None),
            _ => (None, None),
        };
        let time_left = self.job.progress.time_left(Instant::now()).filter(|_| state.is_active());
        JobOverview {
            job: record.id,
            state,
            tenant: record.tenant.clone(),
            owner: record.owner.clone(),
            submitted_at: record.submitted_at,
            percent: self.percent(),
            held: self.is_held,
            files,
            bytes,
            seconds_left: time_left.map(|left| left.as_secs()),
            finished_at: record.state.finished_at(),
            expires_at: self.expires_at(),
            reason,
            failure,
        }
    }
}

impl Evanesce {
    /// Returns all jobs, whoever owns them, the oldest first. Deleted ones are among them until the end of
    /// `retention.tombstones`.
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce, job) = example::complete().await?;
    /// let jobs = evanesce.jobs().await;
    /// assert_eq!((jobs[0].job, jobs[0].held), (job, false));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn jobs(&self) -> Vec<JobOverview> {
        let list = self.job_list().await;
        let mut jobs: Vec<_> = list.iter().map(|job| job.overview()).collect();
        jobs.sort_by_key(|job| (job.submitted_at, job.job));
        jobs
    }

    /// Returns all jobs, without a copy of any.
    pub(crate) async fn job_list(&self) -> JobList {
        let services = self.services();
        JobList {
            jobs: self.view().jobs().await,
            held: services.receipts.holds().into_iter().map(|hold| hold.job).collect(),
            lifetime: services.config.retention.completed.0,
        }
    }

    /// Returns all that an operator may know of a job; `None` if there is none.
    #[cfg(feature = "server")]
    pub(crate) async fn job_detail(&self, job: JobId) -> Option<JobDetail> {
        Some(self.detail(&*self.view().job(job).await?))
    }

    #[cfg(feature = "server")]
    fn detail(&self, job: &PublishedJob) -> JobDetail {
        let services = self.services();
        let hold = services.receipts.hold_of(job.record.id);
        let listed =
            ListedJob { job, is_held: hold.is_some(), lifetime: services.config.retention.completed.0 };
        let (overview, downloads) = (listed.overview(), job.downloads.open());
        JobDetail { overview, details: job.record.state.clone(), hold, downloads }
    }

    /// Returns all that the pages of operators show of a job; `None` if there is neither a record nor a
    /// receipt.
    #[cfg(feature = "console")]
    pub(crate) async fn job_dossier(&self, job: JobId) -> Option<JobDossier> {
        let published = self.view().job(job).await;
        let services = self.0.running.services.clone();
        let found = self.blocking_pool().spawn_blocking(move || services.receipts.find(job)).await;
        let receipt = found.unwrap_or(Ok(None)).unwrap_or_else(|error| {
            tracing::error!(%job, %error, "a receipt cannot be read");
            None
        });
        let Some(published) = published else {
            return receipt.map(|receipt| JobDossier { receipt: Some(receipt), ..JobDossier::default() });
        };
        let is_listed = matches!(published.record.state, JobState::Complete(_));
        let files = if is_listed { published.files().cloned().collect() } else { Vec::new() };
        Some(JobDossier { detail: Some(self.detail(&published)), files, receipt })
    }
}
