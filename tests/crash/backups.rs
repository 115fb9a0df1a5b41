//! Backups: each witness is put back to an older copy beside newer others, in every combination.
//! No deletion that was acknowledged is undone by that, unless all that knew of it are old (P1, P2).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::{
    Exported, Server, Setup, copy_folder, delete, evanesce_command, eventually, generate, get, polling_url,
    put, run_to_end, wait_settled,
};

/// What can be restored by itself. Directories come back with the keys of their time, in an epoch that has not
/// ended: without them they are no witness.
const PARTS: [&[&str]; 4] =
    [&["store"], &["receipts.ndjson"], &["audit"], &["building", "ready", "trash", "keys"]];

/// Whether each part is an old copy, in the order of [`PARTS`].
type Old = [bool; 4];

/// Every combination; the first has no old part, the last has nothing else.
fn combinations() -> impl Iterator<Item = Old> {
    (0..16_u8).map(|bits| std::array::from_fn(|part| bits & (1 << part) != 0))
}

/// Two states of one data directory: before a deletion was acknowledged, and after it.
struct Backups {
    setup: Setup,
    _source: TempDir,
    old: PathBuf,
    new: PathBuf,
    /// A complete job, and one that was interrupted.
    complete: Exported,
    running: String,
}

impl Backups {
    /// The old state: nothing is deleted yet.
    fn begin(sets: &[&str]) -> Self {
        let source = tempfile::tempdir().unwrap();
        generate(source.path(), 2, 7, &[]);
        let setup = Setup::new().source(source.path()).set("export.part_bytes=4096");
        let setup = sets.iter().fold(setup, |setup, set| setup.set(set));
        let server = setup.start();
        let (polling, manifest) = server.export("$export?_type=Patient");
        let complete = Exported::of(&polling, &manifest);
        server.kill();
        let mut server = setup.start_with(&["--breakpoint", "part-sealed=kill"]);
        let (running, _) = server.kickoff_to_the_end("$export");
        let [old, new] = ["old", "new"].map(|name| setup.folder.path().join(name));
        copy_folder(&setup.data_dir(), &old);
        Self { setup, _source: source, old, new, complete, running }
    }

    fn start(&self) -> Server {
        self.setup.start()
    }

    fn jobs(&self) -> [&str; 2] {
        [&self.complete.id, &self.running]
    }

    fn delete(&self, server: &Server) {
        for job in self.jobs() {
            assert_eq!(delete(&polling_url(server, job)).status, 202, "{job}");
        }
    }

    fn wait_forgotten(&self, server: &Server) {
        let is_forgotten = |job: &&str| get(&polling_url(server, job)).outcome().1 == "not-found";
        eventually("the end of the tombstones", || self.jobs().iter().all(is_forgotten).then_some(()));
    }

    /// The server is gone, and what it has left is the new state.
    fn keep_new(&self, server: Server) {
        server.kill();
        copy_folder(&self.setup.data_dir(), &self.new);
    }

    fn restore(&self, old: Old) {
        let data_dir = self.setup.data_dir();
        std::fs::remove_dir_all(&data_dir).unwrap();
        copy_folder(&self.new, &data_dir);
        for name in PARTS.iter().zip(old).filter(|(_, is_old)| *is_old).flat_map(|(names, _)| *names) {
            put_back(&self.old.join(name), &data_dir.join(name));
        }
    }

    /// Asks for each job and each file that it had. Gives the codes of the answers, all of them 404.
    fn answers(&self, server: &Server, what: &str) -> BTreeSet<String> {
        let mut urls: Vec<_> = self.jobs().iter().map(|job| polling_url(server, job)).collect();
        let name = |(name, _): &(String, Vec<u8>)| crate::support::file_url(server, &self.complete.id, name);
        urls.extend(self.complete.files.iter().map(name));
        let answer = |url: &String| {
            let (status, code) = get(url).outcome();
            assert_eq!(status, 404, "{what}: {url}\n{}", self.setup.log());
            code
        };
        urls.iter().map(answer).collect()
    }

    /// Starts on what was restored, twice: at once and after all is settled no job is there. Gives
    /// the codes of the first answers.
    fn assert_gone(&self, old: Old, what: &str) -> BTreeSet<String> {
        self.restore(old);
        let server = self.setup.start();
        let codes = self.answers(&server, what);
        wait_settled(&self.setup, &server, &BTreeSet::new());
        self.answers(&server, what);
        server.kill();
        let gaps = |setup: &Setup| setup.chain().iter().filter(|entry| entry["kind"] == "gap").count();
        let told = gaps(&self.setup);
        let server = self.setup.start();
        self.answers(&server, what);
        wait_settled(&self.setup, &server, &BTreeSet::new());
        assert_eq!(gaps(&self.setup), told, "{what}: a gap is told of once");
        evanesce::receipts::verify(&self.setup.data_dir().join("receipts.ndjson")).unwrap();
        server.kill();
        codes
    }

    /// All that knew is old: the jobs are there again, as if nothing had happened.
    fn assert_back(&self, old: Old) {
        self.restore(old);
        let server = self.setup.start();
        self.complete.assert_intact(&server);
        Exported::wait(&server, &self.running);
        server.kill();
    }
}

fn put_back(from: &Path, to: &Path) {
    if to.is_dir() {
        std::fs::remove_dir_all(to).unwrap();
    } else {
        let _ = std::fs::remove_file(to);
    }
    if from.is_dir() {
        copy_folder(from, to);
    } else {
        std::fs::copy(from, to).unwrap();
    }
}

fn words(old: Old) -> String {
    let words: Vec<_> = PARTS.iter().zip(old).filter(|(_, old)| *old).map(|(names, _)| names[0]).collect();
    format!("old: {words:?}")
}

#[test]
fn an_erased_job_stays_deleted_whatever_is_restored() {
    let backups = Backups::begin(&[]);
    let server = backups.start();
    backups.delete(&server);
    wait_settled(&backups.setup, &server, &BTreeSet::new());
    backups.keep_new(server);
    for old in combinations() {
        if old == [true; 4] {
            backups.assert_back(old);
        } else {
            let codes = backups.assert_gone(old, &words(old));
            assert_eq!(codes, BTreeSet::from(["deleted".into()]), "{}", words(old));
        }
    }
}

#[test]
fn an_erased_job_stays_deleted_when_the_store_is_from_before_it() {
    let setup = Setup::new();
    setup.start().kill();
    let empty = setup.data_dir().join("store");
    let backups = Backups::begin(&[]);
    let server = backups.start();
    backups.delete(&server);
    wait_settled(&backups.setup, &server, &BTreeSet::new());
    backups.keep_new(server);
    put_back(&empty, &backups.old.join("store"));
    for old in combinations().filter(|old| old[0] && *old != [true; 4] && *old != [true, true, true, false]) {
        let codes = backups.assert_gone(old, &words(old));
        assert_eq!(codes, BTreeSet::from(["deleted".into()]), "{}", words(old));
    }
}

#[test]
fn an_erased_job_stays_deleted_after_its_tombstone_whatever_is_restored() {
    let backups = Backups::begin(&["retention.tombstones=100ms", "reaper.interval=20ms"]);
    let server = backups.start();
    backups.delete(&server);
    wait_settled(&backups.setup, &server, &BTreeSet::new());
    backups.wait_forgotten(&server);
    backups.keep_new(server);
    for old in combinations() {
        if old == [true; 4] {
            backups.assert_back(old);
        } else {
            backups.assert_gone(old, &words(old));
        }
    }
}

#[test]
fn a_job_that_is_marked_and_held_stays_deleted_as_long_as_somebody_knows_of_it() {
    let backups = Backups::begin(&[]);
    let server = backups.start();
    let token = server.operator_token();
    for job in backups.jobs() {
        let url = format!("{}/admin/jobs/{job}/hold", server.operators);
        assert_eq!(put(&url, &[("Authorization", &token)], r#"{"reason": "a case"}"#).status, 200);
    }
    backups.delete(&server);
    backups.keep_new(server);
    for old in combinations() {
        // Receipts tell of erasures, and of the holds, not of marks.
        if let [true, _, true, true] = old {
            backups.assert_back(old);
            continue;
        }
        let what = words(old);
        backups.restore(old);
        for _ in 0..2 {
            let server = backups.setup.start();
            let codes = backups.answers(&server, &what);
            assert_eq!(codes, BTreeSet::from(["deleted".into()]), "{what}");
            server.kill();
        }
    }
}

#[test]
fn a_start_whose_store_or_receipts_are_behind_the_audit_log_says_so() {
    let backups = Backups::begin(&[]);
    let server = backups.start();
    backups.delete(&server);
    wait_settled(&backups.setup, &server, &BTreeSet::new());
    backups.keep_new(server);
    backups.restore([true, true, false, true]);
    let fsck = |leave| {
        let mut command = evanesce_command();
        let output = command.args(["fsck", leave, "--data-dir"]).arg(backups.setup.data_dir()).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let found = fsck("--dry-run");
    for expected in
        ["which the audit log has seen, is not there", "older than the audit log", "tells of its deletion"]
    {
        assert!(found.contains(expected), "{expected:?} is not in\n{found}");
    }
    let server = backups.setup.start();
    let metrics = server.metrics();
    for expected in ["evanesce_receipts_gaps_total 1", "evanesce_store_behind_total 1"] {
        assert!(metrics.contains(expected), "{expected}");
    }
    backups.setup.wait_logged("the store is older than the audit log");
    backups.answers(&server, "audit alone");
    wait_settled(&backups.setup, &server, &BTreeSet::new());
    server.kill();
    let receipts = backups.setup.receipts();
    assert!(receipts.iter().all(|receipt| receipt["reason"] == "recovered"), "{receipts:?}");
    assert_eq!(receipts.len(), 2);
    let left = fsck("--dry-run");
    // But for the modes of what the test itself has copied.
    let left: Vec<_> =
        left.lines().filter(|line| line.starts_with("left") && !line.contains("mode")).collect();
    assert_eq!(left, [""; 0]);
}

/// Under the name of an erased job whose tombstone is over.
#[test]
fn a_directory_that_is_moved_in_under_a_running_server_goes_at_once_by_its_receipt() {
    let sets = ["retention.tombstones=100ms", "reaper.interval=20ms", "retention.orphan_grace=1h"];
    let backups = Backups::begin(&sets);
    let server = backups.start();
    backups.delete(&server);
    wait_settled(&backups.setup, &server, &BTreeSet::new());
    backups.wait_forgotten(&server);
    let job = &backups.complete.id;
    let data_dir = backups.setup.data_dir();
    for place in ["ready", "building", "trash"] {
        let aside = backups.setup.folder.path().join(format!("aside-{place}"));
        copy_folder(&backups.old.join("ready").join(job), &aside);
        std::fs::rename(&aside, data_dir.join(place).join(job)).unwrap();
        backups.setup.disk().wait_gone(job);
        backups.answers(&server, place);
        assert_eq!(delete(&polling_url(&server, job)).status, 404);
    }
    let receipts = backups.setup.receipts();
    assert_eq!(receipts.iter().filter(|receipt| receipt["job"] == *job.as_str()).count(), 1, "no second one");
}

/// As the first pruning of a chain leaves it: the receipt is gone, and so is its job's time.
#[test]
fn a_directory_from_before_the_first_receipt_is_not_believed_once_its_time_is_over() {
    let sets = [
        "retention.tombstones=50ms",
        "retention.receipts=50ms",
        "reaper.interval=20ms",
        "audit.enabled=false",
    ];
    let mut backups = Backups::begin(&sets);
    // Time does it as well, but not before there is a backup.
    backups.setup.sets.push("retention.completed=1s".into());
    let server = backups.start();
    wait_settled(&backups.setup, &server, &BTreeSet::new());
    backups.wait_forgotten(&server);
    server.kill();
    // Receipts are pruned at the first pass of a start.
    let server = backups.setup.start();
    eventually("the pruning", || {
        let path = backups.setup.data_dir().join("receipts.ndjson");
        std::fs::read_to_string(path).unwrap().starts_with("{\"checkpoint\"").then_some(())
    });
    backups.keep_new(server);
    let _ = std::fs::remove_dir_all(backups.old.join("audit"));
    backups.restore([false, false, false, true]);
    // Held before it serves, so that it is seen that nothing was ever published.
    let server = backups.setup.start_with(&["--set", "reaper.interval=1h", "--set", "reaper.watch=false"]);
    backups.answers(&server, "pruned");
    wait_settled(&backups.setup, &server, &BTreeSet::new());
    let reasons: BTreeSet<_> =
        backups.setup.receipts().iter().map(|receipt| receipt["reason"].to_string()).collect();
    assert_eq!(reasons, BTreeSet::from(["\"recovered\"".into()]), "not published, and then expired");
}

#[test]
fn a_start_that_dies_before_it_has_recorded_what_it_found_finds_it_again() {
    let backups = Backups::begin(&["retention.tombstones=100ms", "reaper.interval=20ms"]);
    let server = backups.start();
    backups.delete(&server);
    wait_settled(&backups.setup, &server, &BTreeSet::new());
    backups.wait_forgotten(&server);
    backups.keep_new(server);
    // The store alone knows, and the receipts end before what it has seen.
    for old in [[false, true, true, true], [true, true, false, true]] {
        for step in ["join-decided", "join-committed", "join-moved", "join-ends"] {
            backups.restore(old);
            run_to_end(&backups.setup, &["--breakpoint", &format!("{step}=kill")]);
            let server = backups.setup.start();
            backups.answers(&server, step);
            wait_settled(&backups.setup, &server, &BTreeSet::new());
            let answer = server.try_kickoff("$export?_type=Patient");
            assert_eq!(answer.status, 202, "{step}: it goes on");
            server.kill();
        }
    }
}

/// All that is restored is old but the keys: they cannot be wound back, because the epoch has ended.
#[test]
fn p14_a_job_whose_key_is_gone_is_erased_whatever_a_backup_brought_back() {
    let backups = Backups::begin(&["reaper.watch=false"]);
    let server = backups.start();
    backups.delete(&server);
    backups.jobs().into_iter().for_each(|job| server.wait_erased(job));
    let mut rotate = evanesce_command();
    rotate.args(["keys", "rotate", "--data-dir"]).arg(backups.setup.data_dir());
    assert!(rotate.output().unwrap().status.success());
    server.kill();
    let data_dir = backups.setup.data_dir();
    let keys = backups.setup.folder.path().join("new-keys");
    copy_folder(&data_dir.join("keys"), &keys);
    std::fs::remove_dir_all(&data_dir).unwrap();
    copy_folder(&backups.old, &data_dir);
    std::fs::remove_dir_all(data_dir.join("keys")).unwrap();
    copy_folder(&keys, &data_dir.join("keys"));
    let server = backups.start();
    for job in backups.jobs() {
        assert_eq!(get(&polling_url(&server, job)).outcome(), (404, "deleted".into()), "{job}");
        server.wait_erased(job);
    }
    let reasons: Vec<_> = backups.setup.receipts().iter().map(|receipt| receipt["reason"].clone()).collect();
    assert_eq!(reasons, ["lost", "lost"]);
}
