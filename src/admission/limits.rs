//! Who may start an export (K-9, C10): limits of jobs at once, and the same export twice. Pure: the
//! view is looked at, nothing is waited for.

use std::collections::HashMap;

use super::SubmitError;
use crate::config::Config;
use crate::job::{ClientId, ExportRequest, JobId, JobRecord, RequestSummary, StateName, TenantId};
use crate::view::LocalView;

/// Jobs of one client that a refusal names.
const NAMED_JOBS: usize = 10;

/// Jobs that may be queued or running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobLimits {
    /// Of the instance.
    pub all: usize,
    /// Of the tenant; 0 = no such limit.
    pub tenant: usize,
    /// Of the client; 0 = no such limit.
    pub client: usize,
    /// Of the client, together with those that are finished and kept; 0 = no such limit.
    pub kept: usize,
    /// Of the client, of which anything is known, tombstones included; 0 = no such limit.
    pub known: usize,
}

impl JobLimits {
    /// Returns the limits of a client of `tenant`; `own` is a limit of that client alone.
    pub fn of(config: &Config, tenant: &TenantId, own: Option<usize>) -> Self {
        let all = config.export.max_active_jobs;
        let tenant = config.tenant(tenant);
        let client = own.unwrap_or(tenant.max_active_jobs_per_client);
        let (kept, known) = (tenant.max_finished_jobs_per_client, config.export.max_known_jobs_per_client);
        Self { all, tenant: tenant.max_active_jobs, client, kept, known }
    }
}

/// Decides which kick-offs become jobs, by the limits of the server, the tenant and the client.
pub struct KickoffAdmission {
    /// Jobs that are queued or running, in no order.
    active: HashMap<JobId, (TenantId, ClientId)>,
    /// What was asked for, by its hash; `None` if the same may be exported twice.
    asked: Option<HashMap<u128, JobId>>,
    /// How many requests are remembered before those of deleted jobs are forgotten.
    forget_at: usize,
    /// Whether the instance is going down.
    is_closed: bool,
}

/// Requests that are remembered at least.
const REMEMBERED: usize = 1024;

impl KickoffAdmission {
    /// Remembers what the jobs of a view asked for, if the same may not be exported twice.
    pub fn new(refuse_duplicates: bool, view: &LocalView) -> Self {
        let mut asked = refuse_duplicates.then(HashMap::new);
        if let Some(asked) = &mut asked {
            for job in view.all() {
                if let (Some(request), true) = (&job.request, counts(job.record.state.name())) {
                    asked.insert(request.same, job.record.id);
                }
            }
        }
        Self { active: HashMap::new(), asked, forget_at: REMEMBERED, is_closed: false }
    }

    /// Lets `request` become `job`, which counts from now on.
    ///
    /// # Errors
    /// Fails with the limit that is met, or if the same export is there already.
    pub fn admit(
        &mut self,
        job: JobId,
        request: &ExportRequest,
        limits: JobLimits,
        view: &LocalView,
    ) -> Result<(), SubmitError> {
        let ExportRequest { tenant, owner, .. } = request;
        if self.is_closed || self.active.len() >= limits.all {
            return Err(SubmitError::TooManyJobs);
        }
        let of_tenant = || self.active.iter().filter(|(_, (theirs, _))| theirs == tenant);
        let of_client = of_tenant().filter(|(_, (_, theirs))| theirs == owner).map(|(job, _)| *job);
        let of_client: Vec<JobId> = of_client.collect();
        let (finished, known) = view.of_client(tenant, owner);
        let is_full = limits.kept > 0 && of_client.len() + finished >= limits.kept;
        if limits.client > 0 && of_client.len() >= limits.client || is_full && finished == 0 {
            return Err(SubmitError::ClientBusy(of_client.into_iter().take(NAMED_JOBS).collect()));
        }
        if is_full {
            return Err(SubmitError::TooManyKept(view.some_finished(tenant, owner, NAMED_JOBS)));
        }
        if limits.known > 0 && known >= limits.known {
            return Err(SubmitError::TooManyKnown);
        }
        if limits.tenant > 0 && of_tenant().count() >= limits.tenant {
            return Err(SubmitError::TenantBusy);
        }
        let asked = (tenant.clone(), owner.clone());
        self.check_duplicate(job, request, view)?;
        self.active.insert(job, asked);
        Ok(())
    }

    fn check_duplicate(
        &mut self,
        job: JobId,
        request: &ExportRequest,
        view: &LocalView,
    ) -> Result<(), SubmitError> {
        let Some(asked) = &mut self.asked else { return Ok(()) };
        // A job that is neither active nor in the view was refused before it was recorded.
        let active = &self.active;
        let still_counts = |job: JobId| match view.get(job) {
            Some(published) => counts(published.record.state.name()),
            None => active.contains_key(&job),
        };
        if asked.len() >= self.forget_at {
            asked.retain(|_, job| still_counts(*job));
            self.forget_at = (2 * asked.len()).max(REMEMBERED);
        }
        let same = RequestSummary::same(request);
        match asked.get(&same) {
            Some(earlier) if still_counts(*earlier) => Err(SubmitError::Duplicate(*earlier)),
            _ => {
                asked.insert(same, job);
                Ok(())
            }
        }
    }

    /// Counts a job that was found at a start, if it is active.
    pub fn recall(&mut self, record: &JobRecord) {
        if record.state.name().is_active() {
            self.active.insert(record.id, (record.tenant.clone(), record.owner.clone()));
        }
    }

    /// Counts a job no more: it is not active any longer, or was refused.
    pub fn settle(&mut self, job: JobId) {
        self.active.remove(&job);
    }

    /// Admits nothing from now on: the instance is going down.
    pub fn close(&mut self) {
        self.is_closed = true;
    }
}

/// Whether a job in that state stands against the same export again: one that failed or is
/// deleted does not (D-7).
fn counts(state: StateName) -> bool {
    state.is_active() || state == StateName::Complete
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::*;
    use crate::config::TenantConfig;
    use crate::fhir::ResourceType;
    use crate::job::{
        Completion, ExportAccess, Failure, FailureReason, JobState, Kickoff, Level, Parameters,
    };
    use crate::view::{PublishedJob, ViewChange};

    fn request(owner: &str, tenant: &str, types: &[&str]) -> ExportRequest {
        let parameters = Parameters::default().with_types(types).unwrap();
        let kickoff = Kickoff { parameters, ..Kickoff::new(Level::Patient) };
        ExportRequest::new(tenant.parse().unwrap(), owner.parse().unwrap(), kickoff, Timestamp::UNIX_EPOCH)
    }

    fn limits(all: usize, client: usize, tenant: usize) -> JobLimits {
        JobLimits { all, tenant, client, kept: 0, known: 0 }
    }

    fn publish(view: &LocalView, job: JobId, request: &ExportRequest, state: JobState) {
        let (tenant, owner) = (request.tenant.clone(), request.owner.clone());
        let submitted_at = Timestamp::UNIX_EPOCH;
        let record = JobRecord { id: job, tenant, owner, revision: 1, submitted_at, state };
        view.publish([ViewChange::New(PublishedJob::new(
            record,
            Some(Arc::new(RequestSummary::of(request))),
            Arc::new([]),
        ))]);
    }

    fn complete() -> JobState {
        JobState::Complete(Completion::of(&[], Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn each_limit_holds_and_a_settled_job_makes_room() {
        let view = LocalView::default();
        let mut admission = KickoffAdmission::new(false, &view);
        let mut admit = |owner: &str, tenant: &str, limits: JobLimits| {
            let job = JobId::random();
            admission.admit(job, &request(owner, tenant, &[]), limits, &view).map(|()| job)
        };
        let limits_of = limits(4, 2, 3);
        let first = admit("a", "t", limits_of).unwrap();
        let second = admit("a", "t", limits_of).unwrap();
        let Err(SubmitError::ClientBusy(mut active)) = admit("a", "t", limits_of) else { panic!() };
        active.sort_unstable();
        let mut both = [first, second];
        both.sort_unstable();
        assert_eq!(active, both);
        // The same name in another tenant is another client.
        admit("a", "u", limits_of).unwrap();
        admit("b", "t", limits_of).unwrap();
        assert_eq!(admit("c", "u", limits_of), Err(SubmitError::TooManyJobs));
        assert_eq!(admit("c", "t", limits(9, 2, 3)), Err(SubmitError::TenantBusy));
        assert!(admit("a", "t", limits(9, 0, 0)).is_ok());
        admission.settle(first);
        admission.settle(second);
        let again = JobId::random();
        assert!(admission.admit(again, &request("c", "t", &[]), limits(9, 2, 3), &view).is_ok());
    }

    #[test]
    fn p13_jobs_that_are_kept_count_until_they_are_deleted_and_stand_against_their_client_alone() {
        let view = LocalView::default();
        let mut admission = KickoffAdmission::new(false, &view);
        let kept = JobLimits { kept: 3, ..limits(9, 9, 9) };
        let mut admit = |owner: &str| {
            let (job, request) = (JobId::random(), request(owner, "t", &[]));
            admission.admit(job, &request, kept, &view).map(|()| (job, request))
        };
        let failure = Failure { at: Timestamp::UNIX_EPOCH, reason: FailureReason::SourceChanged };
        let finished: Vec<_> = [complete(), JobState::Failed(failure)]
            .into_iter()
            .map(|state| {
                let (job, request) = admit("a").unwrap();
                publish(&view, job, &request, state);
                (job, request)
            })
            .collect();
        // They are still in the orchestrator's list: it has not been told.
        let Err(SubmitError::TooManyKept(mut named)) = admit("a") else { panic!() };
        named.sort_unstable();
        let mut jobs: Vec<_> = finished.iter().map(|(job, _)| *job).collect();
        jobs.sort_unstable();
        assert_eq!(named, jobs);
        assert!(admit("b").is_ok());
        jobs.iter().for_each(|job| admission.settle(*job));
        let mut admit = |owner: &str| {
            let job = JobId::random();
            admission.admit(job, &request(owner, "t", &[]), kept, &view)
        };
        assert!(admit("a").is_ok(), "two are finished, one is active");
        assert!(matches!(admit("a"), Err(SubmitError::TooManyKept(_))));
        view.publish([ViewChange::Forget(jobs[0])]);
        assert!(admit("a").is_ok());
        // One is left that was published.
        let known = |known| JobLimits { known, ..limits(99, 0, 0) };
        let mut admit =
            |known: JobLimits| admission.admit(JobId::random(), &request("a", "t", &[]), known, &view);
        assert_eq!(admit(known(1)), Err(SubmitError::TooManyKnown));
        assert!(admit(known(2)).is_ok() && admit(known(0)).is_ok());
    }

    #[test]
    fn k_9_a_tenant_has_limits_of_its_own_and_so_has_a_client() {
        let mut config = Config::default();
        config.export.max_active_jobs_per_client = 5;
        config.export.max_finished_jobs_per_client = 0;
        config.export.max_known_jobs_per_client = 0;
        let (a, b): (TenantId, TenantId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let own = TenantConfig {
            max_active_jobs: Some(3),
            max_active_jobs_per_client: Some(2),
            ..TenantConfig::default()
        };
        config.tenants.insert(a.clone(), own);
        assert_eq!(JobLimits::of(&config, &a, None), limits(1000, 2, 3));
        assert_eq!(JobLimits::of(&config, &b, None), limits(1000, 5, 0));
        assert_eq!(JobLimits::of(&config, &a, Some(1)), limits(1000, 1, 3));
        assert_eq!(JobLimits::of(&config, &b, Some(9)), limits(1000, 9, 0));
    }

    #[test]
    fn the_same_export_twice_is_refused_until_the_first_has_failed_or_is_deleted() {
        let view = LocalView::default();
        let mut admission = KickoffAdmission::new(true, &view);
        let limits = limits(100, 0, 0);
        let asked = request("a", "t", &["Patient", "Group"]);
        let first = JobId::random();
        admission.admit(first, &asked, limits, &view).unwrap();
        let refused = Err(SubmitError::Duplicate(first));
        let turned = request("a", "t", &["Group", "Patient"]);
        // While it is on its way to the store, while it runs, and when it is complete.
        assert_eq!(admission.admit(JobId::random(), &turned, limits, &view), refused);
        publish(&view, first, &asked, JobState::Queued);
        assert_eq!(admission.admit(JobId::random(), &asked, limits, &view), refused);
        publish(&view, first, &asked, complete());
        admission.settle(first);
        assert_eq!(admission.admit(JobId::random(), &asked, limits, &view), refused);
        // One that failed may be tried again.
        let failure = Failure { at: Timestamp::UNIX_EPOCH, reason: FailureReason::SourceChanged };
        let (failed, tried) = (JobId::random(), request("c", "t", &[]));
        admission.admit(failed, &tried, limits, &view).unwrap();
        publish(&view, failed, &tried, JobState::Failed(failure));
        admission.settle(failed);
        assert!(admission.admit(JobId::random(), &tried, limits, &view).is_ok());
        for other in [
            request("b", "t", &["Patient", "Group"]),
            request("a", "u", &["Patient", "Group"]),
            request("a", "t", &["Patient"]),
            ExportRequest {
                access: ExportAccess::of_types([(ResourceType::PATIENT, Vec::new())].into()).unwrap(),
                ..asked.clone()
            },
        ] {
            assert!(admission.admit(JobId::random(), &other, limits, &view).is_ok());
        }
        // After a restart.
        assert_eq!(KickoffAdmission::new(true, &view).admit(JobId::random(), &asked, limits, &view), refused);
        view.publish([ViewChange::Forget(first)]);
        assert!(admission.admit(JobId::random(), &asked, limits, &view).is_ok());
    }

    #[test]
    fn jobs_of_before_a_restart_count_while_they_are_active_and_nothing_is_admitted_at_the_end() {
        let view = LocalView::default();
        let mut admission = KickoffAdmission::new(false, &view);
        for state in [complete(), JobState::Queued] {
            let (tenant, owner) = ("t".parse().unwrap(), "a".parse().unwrap());
            let (id, submitted_at) = (JobId::random(), Timestamp::UNIX_EPOCH);
            admission.recall(&JobRecord { id, tenant, owner, revision: 1, submitted_at, state });
        }
        let admit = |admission: &mut KickoffAdmission, all| {
            admission.admit(JobId::random(), &request("b", "t", &[]), limits(all, 0, 0), &view)
        };
        assert_eq!(admit(&mut admission, 1), Err(SubmitError::TooManyJobs));
        assert_eq!(admit(&mut admission, 2), Ok(()));
        admission.close();
        assert_eq!(admit(&mut admission, 100), Err(SubmitError::TooManyJobs));
    }

    #[test]
    fn what_was_refused_before_it_was_recorded_stands_against_nothing() {
        let view = LocalView::default();
        let mut admission = KickoffAdmission::new(true, &view);
        let (asked, first) = (request("a", "t", &[]), JobId::random());
        admission.admit(first, &asked, limits(9, 0, 0), &view).unwrap();
        admission.settle(first);
        assert!(admission.admit(JobId::random(), &asked, limits(9, 0, 0), &view).is_ok());
    }
}
