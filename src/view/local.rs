//! The published view of one process, in memory. A download registers under the lock of publications,
//! so none can begin after a mark was published (P2, P4).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::future::{Either, ready};
use parking_lot::RwLock;
use tokio::sync::watch;

#[cfg(feature = "server")]
use super::PollLimit;
use super::downloads::{DownloadTicket, OpenDownloads};
use super::{ExportProgress, PartialManifests, PublishedView, ViewAnswer, ViewChanges};
use crate::job::{ClientId, JobId, JobRecord, JobState, OutputFile, RequestSummary, SealedPart, TenantId};

/// One job as clients may see it.
#[derive(Debug, Clone)]
pub struct PublishedJob {
    /// The durable record.
    pub record: JobRecord,
    /// The summary of the request, until the job is marked (P12).
    pub request: Option<Arc<RequestSummary>>,
    /// The sealed parts of a complete job, or those of an active one at the start.
    pub parts: Arc<[SealedPart]>,
    /// How far the export is.
    pub progress: Arc<ExportProgress>,
    /// The open downloads of its files.
    pub downloads: Arc<OpenDownloads>,
    /// What clients can get of it before it is complete.
    pub partial: Arc<PartialManifests>,
    /// How often it is polled.
    #[cfg(feature = "server")]
    pub polls: Arc<PollLimit>,
}

impl PublishedJob {
    /// Creates the entry of a job that was found at a start.
    pub fn new(record: JobRecord, request: Option<Arc<RequestSummary>>, parts: Arc<[SealedPart]>) -> Self {
        let mut published = Self {
            record,
            request,
            parts,
            progress: Arc::default(),
            downloads: Arc::default(),
            partial: Arc::default(),
            #[cfg(feature = "server")]
            polls: Arc::default(),
        };
        if published.is_partial() {
            published.partial = Arc::new(PartialManifests::of(&published.parts));
        }
        published
    }

    /// Returns whether clients may get its files before all are written (ST-9).
    pub fn is_partial(&self) -> bool {
        let asked = self.request.as_ref().is_some_and(|request| request.partial_manifests);
        asked && self.record.state.name().is_active()
    }

    /// Returns the file of that name, if clients may get it.
    pub fn file(&self, name: &str) -> Option<OutputFile> {
        if self.is_partial() {
            return self.partial.file(name);
        }
        self.files().find(|file| file.name == name).cloned()
    }

    /// Returns the output files, in the order of the plan.
    pub fn files(&self) -> impl Iterator<Item = &OutputFile> {
        self.parts.iter().flat_map(|part| &part.files)
    }
}

/// The answer to a client that asks for a job.
#[derive(Debug, Clone)]
pub enum JobLookup {
    /// The job exists and is the client's.
    Found(Arc<PublishedJob>),
    /// The job was the client's and is deleted (P2).
    Deleted,
    /// The job is unknown or somebody else's: the same answer by the same code path (P10).
    Unknown,
}

/// All jobs, with an index by owner.
#[derive(Debug, Default)]
struct JobTable {
    all: HashMap<JobId, Arc<PublishedJob>>,
    clients: HashMap<(TenantId, ClientId), ClientJobs>,
}

/// The jobs of one client.
#[derive(Debug, Default)]
struct ClientJobs {
    /// Its complete and failed jobs.
    finished: BTreeSet<JobId>,
    /// The number of its jobs, tombstones included.
    all: usize,
}

impl JobTable {
    fn insert(&mut self, published: PublishedJob) {
        let of_client = self.clients.entry(client_of(&published.record)).or_default();
        let (id, is_finished) = (published.record.id, is_finished(&published.record));
        if is_finished {
            of_client.finished.insert(id);
        }
        of_client.all += usize::from(self.all.insert(id, Arc::new(published)).is_none());
    }

    /// Counts an existing job in its present state.
    fn recount(&mut self, record: &JobRecord) {
        let Some(of_client) = self.clients.get_mut(&client_of(record)) else { return };
        if is_finished(record) {
            of_client.finished.insert(record.id);
        } else {
            of_client.finished.remove(&record.id);
        }
    }

    fn remove(&mut self, job: JobId) {
        let Some(removed) = self.all.remove(&job) else { return };
        let client = client_of(&removed.record);
        let Some(of_client) = self.clients.get_mut(&client) else { return };
        of_client.finished.remove(&job);
        of_client.all -= 1;
        if of_client.all == 0 {
            self.clients.remove(&client);
        }
    }
}

fn client_of(record: &JobRecord) -> (TenantId, ClientId) {
    (record.tenant.clone(), record.owner.clone())
}

fn is_finished(record: &JobRecord) -> bool {
    matches!(record.state, JobState::Complete(_) | JobState::Failed(_))
}

/// All jobs, tombstones included.
#[derive(Debug, Default)]
pub struct LocalView {
    jobs: RwLock<JobTable>,
    version: watch::Sender<u64>,
}

impl LocalView {
    /// Adds or replaces jobs in one step.
    pub fn publish(&self, jobs: impl IntoIterator<Item = ViewChange>) {
        let mut map = self.jobs.write();
        for publication in jobs {
            match publication {
                ViewChange::New(published) => {
                    map.insert(published);
                }
                ViewChange::Record(record, parts) => {
                    map.recount(&record);
                    if let Some(known) = map.all.get_mut(&record.id) {
                        let known = Arc::make_mut(known);
                        if record.state.name().is_deleted() {
                            known.request = None;
                            known.parts = Arc::new([]);
                        }
                        // Whoever looked before goes on with what was there then.
                        if !record.state.name().is_active() {
                            known.partial = Arc::default();
                        }
                        if let Some(parts) = parts {
                            known.parts = parts;
                        }
                        known.record = record;
                    }
                }
                ViewChange::Forget(job) => {
                    map.remove(job);
                }
            }
        }
        drop(map);
        self.version.send_modify(|version| *version += 1);
    }

    /// Returns the job, whoever owns it.
    pub fn get(&self, job: JobId) -> Option<Arc<PublishedJob>> {
        self.jobs.read().all.get(&job).cloned()
    }

    /// Returns all jobs, whoever owns them, in no order.
    pub fn all(&self) -> Vec<Arc<PublishedJob>> {
        self.jobs.read().all.values().cloned().collect()
    }

    /// Returns how many complete and failed jobs of a client are still there, and how many of its jobs
    /// are known at all.
    pub fn of_client(&self, tenant: &TenantId, client: &ClientId) -> (usize, usize) {
        let jobs = self.jobs.read();
        let of_client = jobs.clients.get(&(tenant.clone(), client.clone()));
        of_client.map_or((0, 0), |of_client| (of_client.finished.len(), of_client.all))
    }

    /// Returns some of a client's complete and failed jobs.
    pub fn some_finished(&self, tenant: &TenantId, client: &ClientId, most: usize) -> Vec<JobId> {
        let jobs = self.jobs.read();
        let of_client = jobs.clients.get(&(tenant.clone(), client.clone()));
        of_client.map_or(Vec::new(), |of_client| of_client.finished.iter().take(most).copied().collect())
    }

    fn lookup_in(
        jobs: &HashMap<JobId, Arc<PublishedJob>>,
        tenant: &TenantId,
        client: &ClientId,
        job: JobId,
    ) -> JobLookup {
        match jobs.get(&job) {
            Some(found) if found.record.tenant == *tenant && found.record.owner == *client => {
                if found.record.state.name().is_deleted() {
                    JobLookup::Deleted
                } else {
                    JobLookup::Found(found.clone())
                }
            }
            _ => JobLookup::Unknown,
        }
    }
}

impl PublishedView for LocalView {
    fn lookup<'a>(
        &'a self,
        tenant: &'a TenantId,
        client: &'a ClientId,
        job: JobId,
    ) -> ViewAnswer<'a, JobLookup> {
        at_once(Self::lookup_in(&self.jobs.read().all, tenant, client, job))
    }

    fn begin_download<'a>(
        &'a self,
        tenant: &'a TenantId,
        client: &'a ClientId,
        job: JobId,
    ) -> ViewAnswer<'a, (JobLookup, Option<DownloadTicket>)> {
        let jobs = self.jobs.read();
        let lookup = Self::lookup_in(&jobs.all, tenant, client, job);
        let ticket = match &lookup {
            JobLookup::Found(found)
                if matches!(found.record.state, JobState::Complete(_)) || found.is_partial() =>
            {
                Some(DownloadTicket::new(found.downloads.clone()))
            }
            _ => None,
        };
        at_once((lookup, ticket))
    }

    fn job(&self, job: JobId) -> ViewAnswer<'_, Option<Arc<PublishedJob>>> {
        at_once(self.get(job))
    }

    fn jobs(&self) -> ViewAnswer<'_, Vec<Arc<PublishedJob>>> {
        at_once(self.all())
    }

    fn work(&self) -> ViewAnswer<'_, (u64, u64)> {
        let jobs = self.jobs.read();
        let active = jobs.all.values().filter(|job| job.record.state.name().is_active());
        at_once(active.fold((0_u64, 0_u64), |(planned, done), job| {
            let progress = &job.progress;
            (planned.saturating_add(progress.planned()), done.saturating_add(progress.done()))
        }))
    }

    fn changes(&self) -> ViewChanges {
        ViewChanges(self.version.subscribe())
    }
}

/// Wraps an answer from memory.
fn at_once<'a, T>(answer: T) -> ViewAnswer<'a, T> {
    Either::Left(ready(answer))
}

/// A change of the view.
#[derive(Debug)]
pub enum ViewChange {
    /// A job not seen before.
    New(PublishedJob),
    /// A new record of a known job, with the files of a complete one.
    Record(JobRecord, Option<Arc<[SealedPart]>>),
    /// The end of a tombstone.
    Forget(JobId),
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::job::{
        ExportRequest, Failure, FailureReason, Kickoff, Mark, MarkReason, Parameters, StateName,
    };

    #[test]
    fn p13_the_jobs_of_a_client_are_counted_through_their_lives() {
        let view = LocalView::default();
        let at = Timestamp::UNIX_EPOCH;
        let (tenant, owner): (TenantId, ClientId) = ("t".parse().unwrap(), "o".parse().unwrap());
        let counts = || view.of_client(&tenant, &owner);
        let (id, state) = (JobId::random(), JobState::Queued);
        let (t, o) = (tenant.clone(), owner.clone());
        let record = JobRecord { id, tenant: t, owner: o, revision: 1, submitted_at: at, state };
        view.publish([ViewChange::New(PublishedJob::new(record.clone(), None, Arc::new([])))]);
        assert_eq!(counts(), (0, 1));
        let failed = record.next(JobState::Failed(Failure { at, reason: FailureReason::SourceChanged }));
        view.publish([ViewChange::Record(failed.clone(), None)]);
        assert_eq!(counts(), (1, 1));
        assert_eq!(view.some_finished(&tenant, &owner, 9), [id]);
        let was = StateName::Failed;
        let mark = Mark { reason: MarkReason::Deleted, by: None, at, request_id: None, was, failure: None };
        view.publish([ViewChange::Record(failed.next(JobState::Marked(mark)), None)]);
        assert_eq!(counts(), (0, 1));
        assert_eq!(view.of_client(&"u".parse().unwrap(), &owner), (0, 0));
        view.publish([ViewChange::Forget(id)]);
        assert_eq!(counts(), (0, 0));
        assert!(view.jobs.read().clients.is_empty());
    }

    #[test]
    fn nothing_that_may_name_a_patient_is_left_of_a_marked_job() {
        let parameters = Parameters { partial_manifests: true, ..Parameters::default() };
        let kickoff = Kickoff { parameters, ..Kickoff::system() };
        let at = Timestamp::UNIX_EPOCH;
        let (tenant, owner): (TenantId, ClientId) = ("t".parse().unwrap(), "o".parse().unwrap());
        let request = ExportRequest::new(tenant.clone(), owner.clone(), kickoff, at);
        let (id, state) = (JobId::random(), JobState::Running { transaction_time: at });
        let record = JobRecord { id, tenant, owner, revision: 1, submitted_at: at, state };
        let file = OutputFile::new("x".into(), "Patient");
        let parts = [SealedPart { index: 0, files: vec![file], broken_lines: 0 }];
        let published =
            PublishedJob::new(record.clone(), Some(Arc::new(RequestSummary::of(&request))), Arc::new(parts));
        assert!(published.file("x").is_some(), "P11: what was shown before a restart is shown after it");
        let view = LocalView::default();
        view.publish([ViewChange::New(published)]);
        let was = StateName::Running;
        let mark = Mark { reason: MarkReason::Cancelled, by: None, at, request_id: None, was, failure: None };
        view.publish([ViewChange::Record(record.next(JobState::Marked(mark)), None)]);
        let marked = view.get(id).unwrap();
        assert!(marked.request.is_none() && marked.parts.is_empty() && marked.file("x").is_none());
        assert!(marked.partial.file("x").is_none(), "P12");
    }
}
