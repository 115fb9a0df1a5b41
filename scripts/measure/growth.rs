//! How the store grows over a million jobs: their whole lives through the real store, many in
//! each commit, as the committer makes them.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use evanesce::job::{
    Completion, JobId, JobRecord, JobState, Mark, MarkReason, OutputFile, SealedPart, StateName, Tombstone,
};
use evanesce::store::{EntryOutcome, SledStore, Store, StoreEntry, StoredJob};
use jiff::Timestamp;

use crate::{Args, summary};

/// Complete jobs at a time, and tombstones.
const ALIVE: usize = 10_000;
const TOMBSTONES: usize = 100_000;

/// Jobs that take the same step in one commit.
const TOGETHER: usize = 128;

/// Files of a job.
const FILES: u64 = 6;

/// Lives that are led at the same time.
struct Lives {
    store: SledStore,
    /// Records by the step that they wait for: to run, to be complete, to be marked, to be
    /// erased, to be forgotten.
    waiting: [VecDeque<JobRecord>; 5],
    commits: Vec<Duration>,
}

/// See the module.
pub fn of_the_store(args: &Args) {
    let scale = if args.quick { 50 } else { 1 };
    let jobs = 1_000_000 / scale;
    let folder = tempfile::tempdir_in(&args.dir).expect("a folder");
    let path = folder.path().join("store");
    println!(
        "\nThe store over {jobs} jobs, at most {} alive and {} tombstones, {TOGETHER} jobs at each step of a commit",
        ALIVE / scale,
        TOMBSTONES / scale
    );
    let store = SledStore::open(&path).expect("a store");
    let mut lives = Lives { store, waiting: Default::default(), commits: Vec::new() };
    let began = Instant::now();
    let mut next = jobs / 10;
    for led in (0..jobs).step_by(TOGETHER) {
        lives.step([0, 0, ALIVE / scale, 0, TOMBSTONES / scale]);
        if led + TOGETHER >= next {
            let (took, resident) = (began.elapsed(), resident_bytes());
            println!(
                "  {next} jobs: {} on disk, {} resident, {:.0} s, commit {}",
                megabytes(disk_bytes(&path)),
                megabytes(resident),
                took.as_secs_f64(),
                summary(&mut lives.commits)
            );
            lives.commits.clear();
            next += jobs / 10;
        }
    }
    drop(lives);
    report_end(&path, &folder.path().join("fresh"));
}

/// What is left in the store, what that takes by itself, and how long it takes to read.
fn report_end(path: &Path, fresh: &Path) {
    let began = Instant::now();
    let store = SledStore::open(path).expect("the same store");
    let opened = began.elapsed();
    let jobs = store.load().expect("all jobs");
    let loaded = began.elapsed() - opened;
    println!("  opened in {opened:.1?}, {} jobs read in {loaded:.1?}", jobs.len());
    let (tombstones, living): (Vec<_>, Vec<_>) =
        jobs.into_iter().partition(|job| job.record.state.name() == StateName::Erased);
    let (living, tombstones) = (mean_bytes(&living), mean_bytes(&tombstones));
    println!(
        "  a living job with {FILES} files: {living} bytes of keys and values; a tombstone: {tombstones}"
    );
    let before = disk_bytes(path);
    copy(&store, fresh);
    let after = disk_bytes(fresh);
    let ratio = before as f64 / after as f64;
    println!(
        "  {} on disk; a fresh store with the same content: {} ({ratio:.1} times)",
        megabytes(before),
        megabytes(after)
    );
}

impl Lives {
    /// One commit: new jobs, and the next step of those that wait for it, except for as many of
    /// each kind as are to be left.
    fn step(&mut self, left: [usize; 5]) {
        let mut entries = Vec::new();
        // The oldest first: a job takes one step in a commit.
        for stage in (0..5).rev() {
            let ready = self.waiting[stage].len().saturating_sub(left[stage]).min(TOGETHER);
            let records: Vec<_> = self.waiting[stage].drain(..ready).collect();
            for record in records {
                match next_state(&record) {
                    None => entries.push(StoreEntry::Forget(record.id)),
                    Some(state) => {
                        let record = record.next(state);
                        entries.push(StoreEntry::Record(record.clone()));
                        if record.state.name() == StateName::Running {
                            entries.push(StoreEntry::Part(record.id, part()));
                        }
                        self.waiting[stage + 1].push_back(record);
                    }
                }
            }
        }
        for record in (0..TOGETHER).map(|_| new_job()) {
            entries.push(StoreEntry::Record(record.clone()));
            self.waiting[0].push_back(record);
        }
        let began = Instant::now();
        let outcomes = self.store.commit(&entries).expect("a commit");
        self.commits.push(began.elapsed());
        assert!(outcomes.iter().all(|outcome| *outcome == EntryOutcome::Applied), "a revision did not fit");
    }
}

fn new_job() -> JobRecord {
    JobRecord {
        id: JobId::random(),
        tenant: "default".parse().expect("a valid name"),
        owner: "measure".parse().expect("a valid name"),
        revision: 1,
        submitted_at: Timestamp::now(),
        state: JobState::Queued,
    }
}

/// The next state of a job's life; `None` after the last.
fn next_state(record: &JobRecord) -> Option<JobState> {
    let now = Timestamp::now();
    let (reason, was) = (MarkReason::Deleted, StateName::Complete);
    match &record.state {
        JobState::Queued => Some(JobState::Running { transaction_time: now }),
        JobState::Running { transaction_time } => {
            Some(JobState::Complete(Completion::of(&[part()], *transaction_time, now)))
        }
        JobState::Complete(_) => {
            let by = Some(record.owner.clone());
            let request_id = Some(JobId::random().to_string());
            Some(JobState::Marked(Mark { reason, by, at: now, request_id, was, failure: None }))
        }
        JobState::Marked(mark) => {
            Some(JobState::Erased(Tombstone { reason, marked_at: mark.at, gone_at: now }))
        }
        _ => None,
    }
}

fn part() -> SealedPart {
    let file = |n: u64| OutputFile {
        count: 1000 * n,
        bytes: 1_000_000 * n,
        ..OutputFile::new(
            format!("{}_Observation.ndjson", JobId::random().to_string().to_uppercase()),
            "Observation",
        )
    };
    SealedPart { index: 0, files: (1..=FILES).map(file).collect(), broken_lines: 0 }
}

/// Copies everything, as a compaction at a start would.
fn copy(store: &SledStore, to: &Path) {
    let began = Instant::now();
    let mut fresh = SledStore::open(to).expect("a fresh store");
    for jobs in store.load().expect("all jobs").chunks(1000) {
        let entries = jobs.iter().flat_map(|job| {
            // A fresh store takes a job from its first revision on.
            let record = StoreEntry::Record(JobRecord { revision: 1, ..job.record.clone() });
            std::iter::once(record)
                .chain(job.parts.iter().map(|part| StoreEntry::Part(job.record.id, part.clone())))
        });
        fresh.commit(&entries.collect::<Vec<_>>()).expect("a commit");
    }
    println!("  copied in {:.1?}", began.elapsed());
}

/// Bytes of keys and values of a job, in the mean.
fn mean_bytes(jobs: &[StoredJob]) -> usize {
    let of_job = |job: &StoredJob| {
        let files = job.parts.iter().flat_map(|part| &part.files);
        18 + json_bytes(&job.record) + files.map(|file| 26 + json_bytes(file)).sum::<usize>()
    };
    jobs.iter().map(of_job).sum::<usize>() / jobs.len().max(1)
}

fn json_bytes(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).expect("string keys only").len()
}

fn disk_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a name"));
    let bytes = entries.map(|entry| match entry.metadata().expect("its length") {
        metadata if metadata.is_dir() => disk_bytes(&entry.path()),
        metadata => metadata.len(),
    });
    bytes.sum()
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let text = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = text.and_then(|text| text.split_ascii_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}
