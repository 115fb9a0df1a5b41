//! What every `PublishedView` promises (P2, P4, P10): a job is its owner's, a mark hides it at once,
//! a download that has a ticket keeps the files, and whoever waits misses no publication.

use evanesce::job::{
    Completion, Failure, FailureReason, JobId, JobRecord, JobState, Mark, MarkReason, OutputFile, SealedPart,
    StateName, TenantId,
};
use evanesce::view::{JobLookup, LocalView, PublishedJob, PublishedView, ViewChange};
use jiff::Timestamp;

/// A view, and the side on which its store publishes.
struct Backend<'a> {
    view: &'a dyn PublishedView,
    publish: &'a dyn Fn(Vec<ViewChange>),
}

/// Runs `check` on an empty view of every kind.
fn on_every_backend(check: impl Fn(Backend<'_>)) {
    let local = LocalView::default();
    check(Backend { view: &local, publish: &|changes| local.publish(changes) });
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// A record of the client `o` of the tenant `t`.
fn record(state: JobState) -> JobRecord {
    let (tenant, owner) = ("t".parse().unwrap(), "o".parse().unwrap());
    JobRecord { id: JobId::random(), tenant, owner, revision: 1, submitted_at: Timestamp::UNIX_EPOCH, state }
}

fn complete() -> JobState {
    let at = Timestamp::UNIX_EPOCH;
    JobState::Complete(Completion::of(&[], at, at))
}

fn marked(record: &JobRecord) -> JobRecord {
    let mark = Mark {
        reason: MarkReason::Deleted,
        by: None,
        at: Timestamp::UNIX_EPOCH,
        request_id: None,
        was: StateName::Complete,
        failure: None,
    };
    record.next(JobState::Marked(mark))
}

impl Backend<'_> {
    /// Publishes a new job with one file.
    fn add(&self, record: &JobRecord) {
        let file = OutputFile::new("x.ndjson".into(), "Patient");
        let parts = [SealedPart { index: 0, files: vec![file], broken_lines: 0 }];
        (self.publish)(vec![ViewChange::New(PublishedJob::new(record.clone(), None, parts.into()))]);
    }

    fn update(&self, record: JobRecord) {
        (self.publish)(vec![ViewChange::Record(record, None)]);
    }

    fn lookup(&self, tenant: &str, client: &str, job: JobId) -> JobLookup {
        block_on(self.view.lookup(&tenant.parse().unwrap(), &client.parse().unwrap(), job))
    }
}

#[test]
fn a_job_is_shown_to_its_owner_and_to_everybody_else_as_one_that_never_was() {
    on_every_backend(|backend| {
        let job = record(JobState::Queued);
        backend.add(&job);
        let found = backend.lookup("t", "o", job.id);
        assert!(matches!(found, JobLookup::Found(found) if found.record == job));
        for (tenant, client, id) in [("t", "p", job.id), ("u", "o", job.id), ("t", "o", JobId::random())] {
            assert!(matches!(backend.lookup(tenant, client, id), JobLookup::Unknown), "{tenant} {client}");
        }
    });
}

#[test]
fn a_mark_hides_a_job_and_the_end_of_its_tombstone_makes_it_unknown() {
    on_every_backend(|backend| {
        let job = record(complete());
        backend.add(&job);
        backend.update(marked(&job));
        assert!(matches!(backend.lookup("t", "o", job.id), JobLookup::Deleted));
        assert!(matches!(backend.lookup("t", "p", job.id), JobLookup::Unknown), "P10");
        let shown = block_on(backend.view.job(job.id)).unwrap();
        assert!(shown.request.is_none() && shown.parts.is_empty(), "P12");
        (backend.publish)(vec![ViewChange::Forget(job.id)]);
        assert!(matches!(backend.lookup("t", "o", job.id), JobLookup::Unknown));
        assert!(block_on(backend.view.job(job.id)).is_none());
    });
}

#[test]
fn all_jobs_are_listed_and_only_active_ones_have_work() {
    on_every_backend(|backend| {
        let failed = Failure { at: Timestamp::UNIX_EPOCH, reason: FailureReason::SourceChanged };
        let jobs = [JobState::Queued, complete(), JobState::Failed(failed)].map(record);
        jobs.iter().for_each(|job| backend.add(job));
        let listed = block_on(backend.view.jobs());
        let mut ids: Vec<_> = listed.iter().map(|job| job.record.id).collect();
        let mut expected = jobs.each_ref().map(|job| job.id);
        ids.sort();
        expected.sort();
        assert_eq!(ids, expected);
        for job in listed {
            job.progress.plan(10);
            job.progress.advance(3);
        }
        assert_eq!(block_on(backend.view.work()), (10, 3));
    });
}

#[test]
fn a_download_begins_of_what_may_be_had_and_of_nothing_else() {
    on_every_backend(|backend| {
        let (tenant, client): (TenantId, _) = ("t".parse().unwrap(), "o".parse().unwrap());
        let begin = |job: JobId| block_on(backend.view.begin_download(&tenant, &client, job));
        let (running, done) = (record(JobState::Queued), record(complete()));
        backend.add(&running);
        backend.add(&done);
        assert!(matches!(begin(running.id), (JobLookup::Found(_), None)));
        assert!(matches!(begin(JobId::random()), (JobLookup::Unknown, None)));
        let stranger = "p".parse().unwrap();
        let other = block_on(backend.view.begin_download(&tenant, &stranger, done.id));
        assert!(matches!(other, (JobLookup::Unknown, None)));

        let (JobLookup::Found(shown), Some(ticket)) = begin(done.id) else { panic!("it is complete") };
        assert_eq!(shown.downloads.open(), 1);
        backend.update(marked(&done));
        assert!(matches!(begin(done.id), (JobLookup::Deleted, None)), "P2");
        // The one that began before is waited for, and hears when it must end (P4).
        let published = block_on(backend.view.job(done.id)).unwrap();
        assert_eq!(published.downloads.open(), 1);
        assert!(!ticket.cut().is_cancelled());
        assert_eq!(published.downloads.cut(), 1);
        assert!(ticket.cut().is_cancelled());
        drop(ticket);
        block_on(published.downloads.drained());
    });
}

#[test]
fn whoever_subscribes_then_looks_and_then_waits_misses_no_publication() {
    on_every_backend(|backend| {
        let job = record(complete());
        backend.add(&job);
        let mut changes = backend.view.changes();
        assert!(matches!(backend.lookup("t", "o", job.id), JobLookup::Found(_)));
        // Between the look and the wait.
        backend.update(marked(&job));
        block_on(changes.next());
        assert!(matches!(backend.lookup("t", "o", job.id), JobLookup::Deleted));
        // What was published before the subscription wakes nobody.
        let mut later = backend.view.changes();
        let quiet = async { tokio::time::timeout(std::time::Duration::ZERO, later.next()).await };
        assert!(block_on(quiet).is_err());
    });
}
