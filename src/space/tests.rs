use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::job::{Completion, Failure, FailureReason, Mark, MarkReason, StateName, Tombstone};
use crate::view::ExportProgress;

const MIB: u64 = 1 << 20;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn complete(bytes: u64, second: i64) -> JobState {
    JobState::Complete(Completion { bytes, ..Completion::of(&[], at(0), at(second)) })
}

fn marked() -> JobState {
    let (reason, was) = (MarkReason::Deleted, StateName::Complete);
    JobState::Marked(Mark { reason, by: None, at: at(0), request_id: None, was, failure: None })
}

fn failed() -> JobState {
    JobState::Failed(Failure { at: at(0), reason: FailureReason::StorageFull })
}

fn erased() -> JobState {
    JobState::Erased(Tombstone { reason: MarkReason::Deleted, marked_at: at(0), gone_at: at(0) })
}

/// Space with a disk and a clock that the test sets.
struct Machine {
    space: Arc<SpaceReservations>,
    free: Arc<AtomicU64>,
    now: Arc<AtomicU64>,
}

/// What `free` is when it cannot be told.
const UNKNOWN: u64 = u64::MAX;

impl Machine {
    fn new(min_free: u64, max_bytes: u64, free: u64) -> Self {
        Self::with_jobs(min_free, max_bytes, free, &[])
    }

    fn with_jobs(min_free: u64, max_bytes: u64, free: u64, jobs: &[PublishedJob]) -> Self {
        let mut config = Config::default();
        (config.storage.min_free, config.storage.max_bytes) = (min_free, max_bytes);
        config.retention.completed.0 = Duration::from_secs(1000);
        let (free, now) = (Arc::new(AtomicU64::new(free)), Arc::new(AtomicU64::new(0)));
        let (shown, disk) = (now.clone(), free.clone());
        let clock = Clock::new(move || at(shown.load(Ordering::Relaxed) as i64));
        let measure = move || {
            // Long enough for others to come in between, if they may.
            (0..100).for_each(|_| std::thread::yield_now());
            let free = disk.load(Ordering::Relaxed);
            if free == UNKNOWN { Err("on purpose".into()) } else { Ok(free) }
        };
        Self { space: Arc::new(SpaceReservations::new(&config, clock, jobs, measure)), free, now }
    }

    /// A kick-off, its job and the count of what it writes.
    fn reserve(&self, name: &str, estimate: Option<u64>) -> Result<(JobId, Arc<ExportProgress>), NoRoom> {
        let (job, progress) = (JobId::random(), Arc::<ExportProgress>::default());
        let claim = SpaceClaim { tenant: tenant(name), progress: progress.clone() };
        self.space.reserve(job, claim, estimate)?;
        Ok((job, progress))
    }

    fn follow(&self, job: JobId, name: &str, state: &JobState) {
        self.space.follow(job, &tenant(name), state);
    }

    fn used(&self, name: &str) -> u64 {
        self.space.book.lock().used(&tenant(name))
    }
}

fn is_quota<T>(result: &Result<T, NoRoom>) -> bool {
    matches!(result, Err(NoRoom::Quota { .. }))
}

fn is_disk<T>(result: &Result<T, NoRoom>) -> bool {
    matches!(result, Err(NoRoom::Disk { .. }))
}

#[test]
fn what_is_reserved_is_what_is_not_written_yet_and_documents() {
    let machine = Machine::new(0, 0, 0);
    let (_, progress) = machine.reserve("t", Some(64 * MIB)).unwrap();
    assert_eq!(machine.space.reserved(), 65 * MIB + 16 * 1024 + DOCUMENT_BYTES);
    progress.wrote(32 * MIB);
    assert_eq!(machine.space.reserved(), 32 * MIB + MIB / 2 + 8 * 1024 + DOCUMENT_BYTES);
    progress.wrote(32 * MIB);
    assert_eq!(machine.space.reserved(), 0);
    progress.wrote(MIB);
    assert_eq!((machine.space.reserved(), machine.used("t")), (0, 65 * MIB), "more than was promised");
}

#[test]
fn the_disk_keeps_what_must_stay_free_and_what_others_are_going_to_write() {
    let room = with_documents(10 * MIB);
    let machine = Machine::new(100 * MIB, 0, 100 * MIB + 2 * room);
    let (_, first) = machine.reserve("t", Some(10 * MIB)).unwrap();
    machine.free.fetch_sub(1, Ordering::Relaxed);
    assert!(is_disk(&machine.reserve("u", Some(10 * MIB))));
    machine.free.fetch_add(1, Ordering::Relaxed);
    machine.reserve("u", Some(10 * MIB)).unwrap();
    assert!(is_disk(&machine.reserve("t", Some(0))));
    // What is written is not free and not reserved: nothing changes but for the documents.
    first.wrote(10 * MIB);
    machine.free.fetch_sub(10 * MIB, Ordering::Relaxed);
    assert!(is_disk(&machine.reserve("t", Some(MIB))));
    machine.reserve("t", Some(0)).unwrap();
}

#[test]
fn of_what_nothing_is_known_nothing_is_reserved_but_a_limit_that_is_reached_refuses_it() {
    let machine = Machine::new(100 * MIB, 10 * MIB, 100 * MIB);
    let (_, progress) = machine.reserve("t", None).unwrap();
    assert_eq!(machine.space.reserved(), 0);
    machine.free.fetch_sub(1, Ordering::Relaxed);
    assert!(is_disk(&machine.reserve("t", None)));
    machine.free.fetch_add(1, Ordering::Relaxed);
    progress.wrote(10 * MIB - 1);
    machine.reserve("t", None).unwrap();
    progress.wrote(1);
    assert!(is_quota(&machine.reserve("t", None)));
    machine.reserve("u", None).unwrap();
}

#[test]
fn a_disk_that_cannot_be_measured_refuses_and_one_that_need_not_be_is_not_asked() {
    let machine = Machine::new(1, 0, UNKNOWN);
    assert!(is_disk(&machine.reserve("t", None)));
    assert!(is_disk(&machine.reserve("t", Some(0))));
    assert_eq!(machine.used("t"), 0);
    Machine::new(0, 0, UNKNOWN).reserve("t", Some(u64::MAX)).unwrap();
}

#[test]
fn a_quota_is_of_one_tenant_and_counts_to_the_byte() {
    let machine = Machine::new(0, 100, 0);
    machine.reserve("t", Some(60)).unwrap();
    assert!(is_quota(&machine.reserve("t", Some(41))));
    machine.reserve("u", Some(100)).unwrap();
    machine.reserve("t", Some(40)).unwrap();
    assert_eq!(machine.reserve("t", Some(101)).err(), Some(NoRoom::TooLarge));
    assert_eq!(machine.used("t"), 100);
}

#[test]
fn complete_jobs_count_what_they_have_until_they_are_erased() {
    let machine = Machine::new(0, 100, 0);
    let (job, progress) = machine.reserve("t", Some(100)).unwrap();
    progress.wrote(70);
    machine.follow(job, "t", &JobState::Finishing { transaction_time: at(0) });
    assert_eq!(machine.used("t"), 100);
    machine.follow(job, "t", &complete(70, 5));
    assert_eq!((machine.used("t"), machine.space.reserved()), (70, 0));
    let (other, _) = machine.reserve("t", Some(10)).unwrap();
    machine.follow(other, "t", &complete(10, 6));
    machine.follow(job, "t", &marked());
    assert_eq!(machine.used("t"), 80);
    assert!(is_quota(&machine.reserve("t", Some(21))));
    machine.follow(job, "t", &erased());
    assert_eq!(machine.used("t"), 10);
    machine.reserve("t", Some(90)).unwrap();
}

#[test]
fn a_job_that_ends_early_gives_back_at_once_what_it_has_not_written() {
    for end in [marked(), failed()] {
        let machine = Machine::new(0, 100, 0);
        let (job, progress) = machine.reserve("t", Some(100)).unwrap();
        progress.wrote(30);
        machine.follow(job, "t", &end);
        assert_eq!((machine.used("t"), machine.space.reserved()), (30, 0));
        // Its last writer is not out yet.
        progress.wrote(5);
        assert_eq!(machine.used("t"), 35);
        // A plan that was being made meanwhile, and a restart's, change nothing.
        machine.space.plan(job, 100).unwrap();
        machine.space.resume(job, 100);
        assert_eq!((machine.used("t"), machine.space.reserved()), (35, 0));
        machine.space.release(job);
        assert_eq!(machine.used("t"), 0);
    }
}

#[test]
fn a_plan_gives_back_what_it_does_not_need_and_takes_only_what_there_is() {
    let machine = Machine::new(MIB, 100, MIB + 10 * DOCUMENT_BYTES);
    let (job, _) = machine.reserve("t", Some(60)).unwrap();
    machine.reserve("t", Some(30)).unwrap();
    machine.space.plan(job, 70).unwrap();
    assert_eq!(machine.used("t"), 100);
    assert!(is_quota(&machine.space.plan(job, 71)));
    assert_eq!(machine.space.plan(job, 101), Err(NoRoom::TooLarge));
    assert_eq!(machine.used("t"), 100, "a refused plan changes nothing");
    machine.free.store(0, Ordering::Relaxed);
    machine.space.plan(job, 50).unwrap();
    assert_eq!(machine.used("t"), 80, "less is always good");
    assert!(is_disk(&machine.space.plan(job, 51)));
    machine.space.resume(job, 70);
    assert_eq!(machine.used("t"), 100, "a resumed job is not refused");
}

#[test]
fn a_client_waits_until_the_next_of_its_exports_expires() {
    let machine = Machine::new(0, 0, 0);
    let retry = |name: &str| machine.space.retry_after(&tenant(name));
    assert_eq!(retry("t"), RETRY_UNKNOWN);
    let [early, late] = [10, 500].map(|second| {
        let (job, _) = machine.reserve("t", Some(1)).unwrap();
        machine.follow(job, "t", &complete(1, second));
        job
    });
    assert_eq!(retry("t"), Duration::from_secs(1010));
    assert_eq!(retry("u"), RETRY_UNKNOWN, "others are not waited for");
    machine.now.store(1000, Ordering::Relaxed);
    assert_eq!(retry("t"), SHORTEST_RETRY);
    machine.follow(early, "t", &marked());
    machine.now.store(400, Ordering::Relaxed);
    assert_eq!(retry("t"), SHORTEST_RETRY, "it is being erased");
    machine.follow(early, "t", &erased());
    assert_eq!(retry("t"), Duration::from_secs(1100));
    machine.follow(late, "t", &complete(1, 1_000_000));
    assert_eq!(retry("t"), LONGEST_RETRY);
    let (running, _) = machine.reserve("v", Some(1)).unwrap();
    assert_eq!(retry("v"), RETRY_UNKNOWN);
    machine.follow(running, "v", &marked());
    assert_eq!(retry("v"), SHORTEST_RETRY);
}

#[test]
fn at_a_start_every_job_counts_what_it_has_and_what_it_has_left() {
    use crate::job::{ExportRequest, JobRecord, Kickoff, OutputFile, RequestSummary, SealedPart};
    let file = |bytes| OutputFile { count: 1, bytes, ..OutputFile::new("x".into(), "Patient") };
    let found = |name: &str, state, sealed| {
        let (tenant, owner) = (tenant(name), || "o".parse().unwrap());
        let submitted_at = at(0);
        let record = JobRecord {
            id: JobId::random(),
            tenant: tenant.clone(),
            owner: owner(),
            revision: 1,
            submitted_at,
            state,
        };
        let request = ExportRequest::new(tenant, owner(), Kickoff::system(), submitted_at);
        let request = ExportRequest { estimate: Some(100), ..request };
        let parts = [SealedPart { index: 0, files: vec![file(sealed)], broken_lines: 0 }];
        PublishedJob::new(record, Some(Arc::new(RequestSummary::of(&request))), Arc::new(parts))
    };
    let running = JobState::Running { transaction_time: at(0) };
    let jobs = [
        found("queued", JobState::Queued, 0),
        found("running", running, 30),
        found("complete", complete(40, 0), 40),
        found("marked", marked(), 50),
        found("failed", failed(), 60),
        found("erased", erased(), 70),
    ];
    let machine = Machine::with_jobs(0, 0, 0, &jobs);
    let used = ["queued", "running", "complete", "marked", "failed", "erased"].map(|name| machine.used(name));
    assert_eq!(used, [100, 100, 40, 50, 0, 0]);
    let left = with_documents(100) + with_documents(70);
    assert_eq!(machine.space.reserved(), left);
    let ends = ["complete", "marked"].map(|name| machine.space.retry_after(&tenant(name)));
    assert_eq!(ends, [Duration::from_secs(1000), SHORTEST_RETRY]);
    // The plan that is read again says what is left.
    machine.space.resume(jobs[1].record.id, 80);
    let left = with_documents(100) + with_documents(50);
    assert_eq!((machine.used("running"), machine.space.reserved()), (80, left));
}

#[test]
fn the_same_room_is_never_given_to_two_at_once() {
    let machine = Machine::new(MIB, 0, MIB + 10 * with_documents(MIB));
    let given = std::thread::scope(|scope| {
        let ask = || (0..50).filter(|_| machine.reserve("t", Some(MIB)).is_ok()).count();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });
    assert_eq!(given, 10);
}
