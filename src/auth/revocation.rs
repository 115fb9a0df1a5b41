//! Ends the jobs of applications that are no longer active, and has their files erased as after a
//! DELETE. The setting `auth.on_deactivation` decides whether that is wanted. Finished jobs are
//! left to expire, because nobody can fetch them.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use uuid::Uuid;

use super::{Applications, DeactivatedApplication};
use crate::job::JobId;
use crate::{CancelError, Evanesce};

/// The result of a revocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevokedJobs {
    /// The request id in the receipts.
    pub request_id: String,
    /// The jobs that are durably marked.
    pub jobs: Vec<JobId>,
    /// The jobs that are not marked, or not by both witnesses, and why.
    pub failed: Vec<(JobId, CancelError)>,
}

/// Ends the queued and running jobs of these applications. Resolves when their marks are durable
/// and their URLs answer 404; the files go after that. A job that completes at this moment goes
/// too. Their receipts say `revoked`. A second call finds nothing.
pub async fn cancel_jobs(evanesce: &Evanesce, departed: &[DeactivatedApplication]) -> RevokedJobs {
    let mut revoked = RevokedJobs { request_id: Uuid::new_v4().to_string(), ..RevokedJobs::default() };
    let theirs = evanesce.active_jobs().await.into_iter().filter(|(owner, _)| {
        departed.iter().any(|one| one.tenant == owner.tenant && one.client_id == owner.client)
    });
    let ended = theirs.map(|(_, job)| {
        let request_id = revoked.request_id.clone();
        async move { (job, evanesce.revoke(job, request_id).await) }
    });
    for (job, ended) in join_all(ended).await {
        match ended {
            Ok(_) => revoked.jobs.push(job),
            // Its owner or its expiry was faster.
            Err(CancelError::AlreadyDeleted | CancelError::NotFound) => {}
            Err(error) => revoked.failed.push((job, error)),
        }
    }
    if !revoked.jobs.is_empty() || !revoked.failed.is_empty() {
        let (jobs, failed) = (revoked.jobs.len(), revoked.failed.len());
        tracing::info!(request_id = revoked.request_id, jobs, failed, "jobs of revoked applications ended");
    }
    revoked
}

/// Returns the owners of queued and running jobs that are no active applications: those that went while
/// nobody was looking.
pub async fn departed_owners(
    evanesce: &Evanesce,
    applications: &Applications,
) -> Vec<DeactivatedApplication> {
    let active = evanesce.active_jobs().await.into_iter();
    let owners: BTreeSet<_> = active
        .map(|(owner, _)| DeactivatedApplication { tenant: owner.tenant, client_id: owner.client })
        .collect();
    owners.into_iter().filter(|one| applications.find(&one.tenant, &one.client_id).is_none()).collect()
}
