//! What may be seen of jobs, and by whom. [`Evanesce::job`] is the one place where it is decided that
//! a job is somebody else's, which looks like one that never was (P10), or deleted (P2).

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{DEFAULT_TENANT, Evanesce};
use crate::fhir::ResourceType;
use crate::job::{ClientId, JobId, JobState, RequestSummary, StateName, TenantId};
use crate::view::{JobLookup, PublishedJob};

/// Whose a job is: a client's of a tenant.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// let stranger = JobOwner { tenant: "default".parse()?, client: "somebody-else".parse()? };
/// assert_eq!(evanesce.job(&stranger, job).await.err(), Some(JobAbsent::Unknown));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobOwner {
    /// Whose data is exported.
    pub tenant: TenantId,
    /// Who may see the job.
    pub client: ClientId,
}

impl From<ClientId> for JobOwner {
    /// Returns the client of the tenant for which [`Evanesce::submit`] exports.
    fn from(client: ClientId) -> Self {
        Self { tenant: DEFAULT_TENANT.parse().expect("a constant that is a valid name"), client }
    }
}

/// Why a job is not shown.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// let owner: JobOwner = "me".parse::<ClientId>()?.into();
/// evanesce.cancel(job, owner.client.clone()).await?;
/// assert_eq!(evanesce.job(&owner, job).await.err(), Some(JobAbsent::Deleted));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JobAbsent {
    /// It was never there, or is somebody else's: the same answer by the same path (P10).
    #[error("there is no such job")]
    Unknown,
    /// It was cancelled, deleted or has expired (P2).
    #[error("the job was deleted, or has expired")]
    Deleted,
}

/// A job as its owner may see it at one moment.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (_folder, evanesce, job) = example::complete().await?;
/// let shown = evanesce.job(&"me".parse::<ClientId>()?.into(), job).await?;
/// assert_eq!((shown.id(), shown.percent(), shown.time_left()), (job, 100.0, None));
/// assert!(matches!(shown.state(), JobState::Complete(_)) && shown.submitted_at() <= evanesce.now());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct JobSnapshot(pub(super) Arc<PublishedJob>);

impl JobSnapshot {
    /// Returns the job's id.
    pub fn id(&self) -> JobId {
        self.0.record.id
    }

    /// Returns the job's state.
    pub fn state(&self) -> &JobState {
        &self.0.record.state
    }

    /// Returns when the kick-off was received.
    pub fn submitted_at(&self) -> Timestamp {
        self.0.record.submitted_at
    }

    /// Returns how much of the work is done, in percent. It goes on after the snapshot was taken.
    /// [`JobSnapshot::progress`] says more.
    pub fn percent(&self) -> f64 {
        match self.0.record.state.name() {
            StateName::Complete => 100.0,
            _ => self.0.progress.percent(),
        }
    }

    /// Returns how long the job is expected to run; `None` if that cannot be told yet.
    pub fn time_left(&self) -> Option<Duration> {
        self.0.progress.time_left(Instant::now())
    }

    /// Returns the type of the resource in whose attachment the export gave out the URL of the Binary `id`, if
    /// `proof` is the one in that URL ([`ProofSigner::query`](crate::ProofSigner::query)).
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
    /// # use evanesce::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> example::Done {
    /// # let (_folder, evanesce) = example::host().await?;
    /// let (tenant, me): (TenantId, ClientId) = ("default".parse()?, "me".parse()?);
    /// let request = ExportRequest::new(tenant.clone(), me.clone(), Kickoff::system(), evanesce.now());
    /// let mut submission = Submission::new(request);
    /// let handout = ProofSigner::new(tenant, submission.job);
    /// submission.request.handout = Some(handout.clone());
    /// let shown = evanesce.job(&me.into(), evanesce.submit_as(submission).await?).await?;
    /// let query = handout.query("DocumentReference", "scan-1");
    /// let (_, proof) = query.split_once("&proof=").expect("it has one");
    /// assert_eq!(shown.handed_out("scan-1", proof), ResourceType::of("DocumentReference"));
    /// assert_eq!(shown.handed_out("scan-2", proof), None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn handed_out(&self, id: &str, proof: &str) -> Option<ResourceType> {
        self.request()?.handed_out(id, proof)
    }

    /// Returns what is remembered of the request.
    pub(crate) fn request(&self) -> Option<&RequestSummary> {
        self.0.request.as_deref()
    }

    /// Counts one poll of a client.
    ///
    /// # Errors
    /// It comes too early: how long to wait. It is not counted.
    #[cfg(feature = "server")]
    pub(crate) fn admit_poll(&self, interval: Duration) -> Result<(), Duration> {
        self.0.polls.admit(interval)
    }
}

impl Evanesce {
    /// Returns a job of `owner`.
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
    /// let shown = evanesce.job(&"me".parse::<ClientId>()?.into(), job).await?;
    /// assert_eq!(shown.state().name(), StateName::Complete);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn job(&self, owner: &JobOwner, job: JobId) -> Result<JobSnapshot, JobAbsent> {
        self.shown(self.view().lookup(&owner.tenant, &owner.client, job).await)
    }

    /// Returns what is shown of a look-up.
    pub(super) fn shown(&self, lookup: JobLookup) -> Result<JobSnapshot, JobAbsent> {
        match lookup {
            JobLookup::Found(published) => Ok(JobSnapshot(published)),
            JobLookup::Deleted => Err(JobAbsent::Deleted),
            JobLookup::Unknown => Err(JobAbsent::Unknown),
        }
    }

    /// Returns the owners of queued and running jobs, with these jobs.
    #[cfg(feature = "cli")]
    pub(crate) async fn active_jobs(&self) -> Vec<(JobOwner, JobId)> {
        let jobs = self.view().jobs().await.into_iter();
        let active = jobs.filter(|job| job.record.state.name().is_active());
        let owned = active.map(|job| {
            let record = &job.record;
            (JobOwner { tenant: record.tenant.clone(), client: record.owner.clone() }, record.id)
        });
        owned.collect()
    }

    /// Returns how long it takes until the first of these jobs is expected to end, or `None` if that
    /// cannot be told.
    #[cfg(feature = "server")]
    pub(crate) async fn first_end(&self, jobs: &[JobId]) -> Option<Duration> {
        let mut first: Option<Duration> = None;
        for job in jobs {
            let published = self.view().job(*job).await;
            if let Some(left) = published.and_then(|job| job.progress.time_left(Instant::now())) {
                first = Some(first.map_or(left, |first| first.min(left)));
            }
        }
        first
    }
}
