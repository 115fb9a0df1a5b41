//! Crashes: the real binary is killed at named steps and at random instants, stopped, its
//! disk loses power, its system calls are watched and made to fail; then it is started again.
//! What is checked is always seen from outside: the API's answers, a walk over the disk, the
//! chain of receipts, and the store opened by the test after the last process is gone.

mod backups;
mod ballast;
mod breakpoints;
mod clients;
mod deeds;
mod failing_store;
mod injected;
mod joins;
mod machine;
mod old_store;
mod panics;
mod power_loss;
mod power_losses;
mod power_steps;
mod random_kills;
mod stops;
pub mod syscalls;
mod witnesses;

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use evanesce::job::{OutputFile, StateName};
use evanesce::store::{SledStore, Store};
use serde_json::Value;

use crate::support::{Server, Setup, delete, download_all, eventually, get, job_id};

/// A job with what it gave to its client when it was complete.
#[derive(Clone)]
pub struct Exported {
    pub id: String,
    /// Name and content of every file of the manifest.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Exported {
    pub fn of(polling: &str, manifest: &Value) -> Self {
        let files = download_all(manifest).into_iter();
        let files = files.map(|(url, bytes)| (job_id(&url).to_string(), bytes)).collect();
        Self { id: job_id(polling).into(), files }
    }

    /// Waits for the job's completion and downloads it.
    pub fn wait(server: &Server, id: &str) -> Self {
        let polling = polling_url(server, id);
        let manifest = server.wait_complete(&polling);
        Self::of(&polling, &manifest)
    }

    /// The job is served, byte for byte as it was (P6).
    pub fn assert_intact(&self, server: &Server) {
        let now = Self::wait(server, &self.id);
        assert_eq!(names(&now), names(self), "{}: another manifest", self.id);
        for ((name, before), (_, after)) in self.files.iter().zip(&now.files) {
            assert!(before == after, "{}/{name}: other bytes than before", self.id);
        }
    }

    /// The job holds each line of the source exactly once and nothing else (P11).
    /// `chosen` tells which source files by their names.
    pub fn assert_is_the_source(&self, source: &Path, chosen: impl Fn(&str) -> bool) {
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for entry in std::fs::read_dir(source).unwrap() {
            let entry = entry.unwrap();
            if chosen(&entry.file_name().to_string_lossy()) {
                let text = std::fs::read(entry.path()).unwrap();
                expected.extend(text.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec));
            }
        }
        let lines = self.files.iter().flat_map(|(_, bytes)| bytes.split_inclusive(|b| *b == b'\n'));
        let mut got: Vec<_> = lines.map(<[u8]>::to_vec).collect();
        expected.sort();
        got.sort();
        assert_eq!(got.len(), expected.len(), "{}: number of resources", self.id);
        assert!(got == expected, "{}: other resources than the source has", self.id);
    }
}

fn names(job: &Exported) -> Vec<&str> {
    job.files.iter().map(|(name, _)| name.as_str()).collect()
}

pub fn polling_url(server: &Server, id: &str) -> String {
    format!("{}/bulk-api/request/{id}", server.base)
}

pub fn file_url(server: &Server, id: &str, name: &str) -> String {
    format!("{}/bulk-api/download/{id}/{name}", server.base)
}

/// Status and the files that are known answer 404 `deleted`, and so does a DELETE (P2).
pub fn assert_hidden(server: &Server, id: &str, files: &[(String, Vec<u8>)]) {
    let deleted = (404, "deleted".to_string());
    assert_eq!(get(&polling_url(server, id)).outcome(), deleted);
    for (name, _) in files {
        assert_eq!(get(&file_url(server, id, name)).outcome(), deleted, "{name}");
    }
    assert_eq!(delete(&polling_url(server, id)).outcome(), deleted);
}

/// The job is hidden, its directory goes, and exactly one receipt says why (P1, P2, P5, P9).
pub fn assert_erased(
    setup: &Setup,
    server: &Server,
    id: &str,
    files: &[(String, Vec<u8>)],
    reasons: &[&str],
) -> Value {
    assert_hidden(server, id, files);
    setup.disk().wait_gone(id);
    let receipt = setup.receipt(id);
    assert!(reasons.contains(&receipt["reason"].as_str().unwrap()), "{receipt}");
    assert_hidden(server, id, files);
    receipt
}

/// The chain is whole, nobody missed a part of it, and it has one receipt for each of these jobs and none for any other (P9).
pub fn assert_receipts(setup: &Setup, expected: &BTreeSet<String>) {
    let chain = evanesce::receipts::verify(&setup.data_dir().join("receipts.ndjson")).unwrap();
    let jobs: Vec<_> =
        setup.receipts().iter().map(|receipt| receipt["job"].as_str().unwrap().to_string()).collect();
    assert_eq!((chain.erasures, chain.gaps), (jobs.len() as u64, 0));
    assert_eq!(jobs.iter().cloned().collect::<BTreeSet<_>>(), *expected);
    assert_eq!(jobs.len(), expected.len(), "a job has two receipts: {jobs:?}");
}

/// What is on disk when there is nothing left to do.
#[derive(Default)]
pub struct Remaining {
    /// In `ready/`.
    pub complete: BTreeSet<String>,
    /// In `building/`, with nothing but what tells that they failed.
    pub failed: BTreeSet<String>,
}

/// Waits until nothing is marked any more and nothing but these jobs is on disk (P5, P7).
pub fn wait_remaining(setup: &Setup, server: &Server, left: &Remaining) {
    let disk = setup.disk();
    let jobs = |place| disk.jobs(place).into_iter().collect::<BTreeSet<_>>();
    eventually("the disk to hold what is left and nothing else", || {
        let settled = jobs("ready") == left.complete && jobs("building") == left.failed;
        (settled && jobs("trash").is_empty()).then_some(())
    });
    eventually("the last erasure to be recorded", || {
        let readiness = server.operator("readyz");
        assert_eq!(readiness.status, 200, "{readiness:?}");
        (readiness.json()["reaper"]["marked"] == 0).then_some(())
    });
}

/// As `wait_remaining`, where no job has failed.
pub fn wait_settled(setup: &Setup, server: &Server, complete: &BTreeSet<String>) {
    wait_remaining(setup, server, &Remaining { complete: complete.clone(), ..Remaining::default() });
}

/// The only job there ever was is erased for this reason, and nothing but its one receipt and
/// its tombstone is left (P1, P5, P7, P9).
pub fn assert_only_its_receipt_is_left(setup: &Setup, server: Server, job: &Exported, reason: &str) {
    assert_erased(setup, &server, &job.id, &job.files, &[reason]);
    wait_settled(setup, &server, &BTreeSet::new());
    server.kill();
    assert_receipts(setup, &BTreeSet::from([job.id.clone()]));
    assert_disk_equals_store(setup);
}

/// The store, opened after the last server on it is gone, says what the disk says: a complete
/// job has the files that its parts name, a failed one has only what tells so, an erased one
/// has nothing, and there is no directory without a record (P7).
pub fn assert_disk_equals_store(setup: &Setup) {
    let store = SledStore::open(&setup.data_dir().join("store")).unwrap();
    let disk = setup.disk();
    let names = |place: &str, id: &str| -> BTreeSet<_> {
        let found = std::fs::read_dir(setup.data_dir().join(place).join(id)).unwrap();
        found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut unknown: BTreeSet<_> =
        ["building", "ready", "trash"].iter().flat_map(|place| disk.jobs(place)).collect();
    for job in store.load().unwrap() {
        let id = job.record.id.to_string();
        match job.record.state.name() {
            StateName::Complete => {
                let documents = ["request.json", "plan.json", "job.json"].map(String::from);
                let files = job.parts.iter().flat_map(|part| &part.files).map(OutputFile::stored_name);
                assert_eq!(names("ready", &id), documents.into_iter().chain(files).collect(), "{id}");
                unknown.remove(&id);
            }
            StateName::Failed => {
                assert_eq!(names("building", &id), BTreeSet::from(["job.json".into()]), "{id}");
                unknown.remove(&id);
            }
            StateName::Erased => assert!(!disk.has(&id), "{id} is erased and still on disk"),
            state => panic!("{id} is still {state}"),
        }
    }
    assert_eq!(unknown, BTreeSet::new(), "directories without a record");
}

/// Starts a server that may never be ready.
pub fn spawn(setup: &Setup, arguments: &[&str]) -> Server {
    println!("{arguments:?}");
    let mut command = setup.command();
    let log = std::fs::OpenOptions::new().append(true).create(true).open(setup.folder.path().join("log"));
    command.args(arguments).stdout(Stdio::null()).stderr(log.unwrap());
    let child = command.spawn().unwrap();
    Server { child, base: String::new(), operators: String::new(), data_dir: setup.data_dir() }
}

/// Starts a server that should end by itself, at its start or soon after.
pub fn run_to_end(setup: &Setup, arguments: &[&str]) -> ExitStatus {
    spawn(setup, arguments).wait_exit()
}

/// As `run_to_end`, for a server that a breakpoint kills.
pub fn run_to_death(setup: &Setup, arguments: &[&str]) {
    let status = run_to_end(setup, arguments);
    assert_eq!(status.signal(), Some(9), "{arguments:?}: {status:?}\n{}", setup.log());
}

/// A number from the environment, for the long form of a test.
pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// `EVANESCE_SEED`, or a new one.
pub fn seed() -> u64 {
    let new = || u64::from(std::process::id()) ^ jiff::Timestamp::now().as_nanosecond() as u64;
    number("EVANESCE_SEED").unwrap_or_else(new)
}

/// Copies a folder with all files that are in it; a socket is none.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else if from.is_file() {
            std::fs::copy(from, to).unwrap();
        }
    }
}

/// Says on the real standard error, past the capture of the test runner, that a test could
/// not be done here.
pub fn skip(what: &str, why: &str) {
    use std::io::Write;
    let text = format!("\n*** SKIPPED: {what}: {why} ***\n");
    // Nobody is there to be told if even this fails.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
