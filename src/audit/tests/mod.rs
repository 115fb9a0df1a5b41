//! The log's life: written, rotated, reopened, pruned and not writable.

mod damage;
mod kinds;
mod witness;

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sha2::Digest;

use super::*;
use crate::config::ConfigDuration;
use crate::job::JobId;

/// A data directory with an open log in it, and a clock that a test sets.
struct TestLog {
    dir: tempfile::TempDir,
    log: Arc<AuditLog>,
    second: Arc<AtomicI64>,
    settings: AuditConfig,
}

const NEW_YEAR: i64 = 1_767_225_600;

impl TestLog {
    fn new(max_file_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let second = Arc::new(AtomicI64::new(NEW_YEAR));
        let sync_interval = ConfigDuration(Duration::from_millis(10));
        let settings = AuditConfig { max_file_bytes, sync_interval, ..AuditConfig::default() };
        let log = Arc::new(open(dir.path(), &settings, &second));
        Self { dir, log, second, settings }
    }

    fn with_events(max_file_bytes: u64, count: u64) -> Self {
        let room = Self::new(max_file_bytes);
        (0..count).for_each(|_| room.record());
        room
    }

    fn record(&self) {
        self.log.record(RequestEvent::Manifest { caller: caller(), job: JobId::random() });
    }

    fn set_time(&self, seconds: i64) {
        self.second.store(NEW_YEAR + seconds, Ordering::Relaxed);
    }

    fn at(&self, seconds: i64) -> Timestamp {
        Timestamp::from_second(NEW_YEAR + seconds).unwrap()
    }

    /// Closed and opened again.
    fn reopen(&mut self) {
        self.log.close();
        self.log = Arc::new(open(self.dir.path(), &self.settings, &self.second));
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join(FOLDER)
    }

    fn files(&self) -> Vec<PathBuf> {
        let counts = file::files(&self.folder()).unwrap();
        counts.into_iter().map(|count| self.folder().join(file::file_name(count))).collect()
    }

    fn verify(&self) -> AuditSummary {
        walk(&self.folder(), |_| Ok::<_, AuditError>(())).unwrap()
    }

    /// Where the chain is broken, as file (from 0) and line, and why.
    fn breaks(&self) -> Vec<(usize, u64, String)> {
        let files = self.files();
        let place = |place: &ChainBreak| files.iter().position(|file| file.ends_with(&place.file)).unwrap();
        let breaks = self.verify().breaks;
        breaks.iter().map(|found| (place(found), found.line, found.reason.clone())).collect()
    }

    fn assert_broken(&self, file: usize, line: u64, reason: &str) {
        let breaks = self.breaks();
        assert_eq!(breaks.len(), 1, "{breaks:?}");
        assert_eq!((breaks[0].0, breaks[0].1), (file, line), "{breaks:?}");
        assert!(breaks[0].2.contains(reason), "{breaks:?}");
    }

    fn kinds(&self) -> Vec<String> {
        let mut kinds = Vec::new();
        walk(&self.folder(), |item| {
            kinds.push(LineFacts::read(item.text).unwrap().kind().to_string());
            Ok::<_, AuditError>(())
        })
        .unwrap();
        kinds
    }

    fn events(&self) -> Vec<Value> {
        let texts: Vec<_> = self.files().iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
        texts.concat().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn open(dir: &Path, settings: &AuditConfig, second: &Arc<AtomicI64>) -> AuditLog {
    let second = second.clone();
    let clock = Clock::new(move || Timestamp::from_second(second.load(Ordering::Relaxed)).unwrap());
    AuditLog::open(dir, settings, clock).unwrap()
}

fn caller() -> AuditedCaller {
    AuditedCaller {
        client: Some("client-1".parse().unwrap()),
        tenant: Some("default".parse().unwrap()),
        request_id: Some("8f0b6a0e-6f7e-4c53-9a64-0d7c6a0f8a11".into()),
        address: Some([192, 0, 2, 7].into()),
    }
}

fn detail<'a>(event: &'a Value, name: &str) -> Option<&'a str> {
    let details = event["entity"][0]["detail"].as_array().unwrap();
    details.iter().find(|detail| detail["type"] == name)?["valueString"].as_str()
}

fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    text.split_inclusive('\n').map(str::to_string).collect()
}

#[test]
fn a_line_can_be_checked_with_the_tools_of_any_system() {
    let room = TestLog::with_events(4096, 3);
    let mut previous = "0".repeat(64);
    for (n, line) in lines(&room.files()[0]).iter().enumerate() {
        let (body, hash) = line.split_once(",{\"type\":\"chain-hash\",\"valueString\":\"").unwrap();
        let digest = hex::encode(sha2::Sha256::digest(format!("{previous}{body}")));
        assert_eq!(hash, format!("{digest}\"}}]}}]}}\n"));
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(detail(&event, "chain-previous"), Some(previous.as_str()));
        assert_eq!(detail(&event, "chain-count"), Some((n + 1).to_string().as_str()));
        previous = digest;
    }
}

#[test]
fn the_chain_goes_on_over_files_and_starts() {
    let mut room = TestLog::with_events(4096, 20);
    room.reopen();
    (0..20).for_each(|_| room.record());
    let summary = room.verify();
    let files = room.files();
    assert!(files.len() > 5, "{files:?}");
    assert_eq!((summary.files, summary.breaks, summary.start), (files.len(), vec![], ChainHead::EMPTY));
    assert_eq!(Some(summary.head), room.log.head());
    assert_eq!(summary.head.count, 40 + files.len() as u64 - 1, "one event more tells of each new file");
    // The first line of a file proves the one before.
    for pair in files.windows(2) {
        let last = lines(&pair[0]).pop().unwrap();
        let first: Value = serde_json::from_str(&lines(&pair[1])[0]).unwrap();
        assert_eq!(detail(&first, "kind"), Some("audit-rotated"));
        assert!(last.contains(detail(&first, "hash-before").unwrap()));
        assert!(pair[0].ends_with(detail(&first, "file-before").unwrap()));
        let count: u64 = detail(&first, "count-before").unwrap().parse().unwrap();
        assert!(pair[1].ends_with(file::file_name(count + 1)));
    }
}

#[test]
fn a_file_ends_with_its_day_unless_it_is_empty() {
    let mut room = TestLog::with_events(1 << 20, 2);
    room.set_time(86_399);
    room.record();
    assert_eq!(room.files().len(), 1);
    room.set_time(86_400);
    room.record();
    assert_eq!(room.files().len(), 2);
    // After a start as well.
    room.reopen();
    room.record();
    assert_eq!(room.files().len(), 2);
    room.set_time(3 * 86_400);
    room.reopen();
    room.record();
    assert_eq!((room.files().len(), room.breaks()), (3, vec![]));
}

#[test]
fn only_the_owner_can_read_the_log() {
    let room = TestLog::with_events(4096, 20);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&room.folder()), 0o700);
    assert!(room.files().len() > 1 && room.files().iter().all(|file| mode(file) == 0o600));
}

#[test]
fn a_log_that_is_switched_off_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let settings = AuditConfig { enabled: false, ..AuditConfig::default() };
    let log = AuditLog::open(dir.path(), &settings, Clock::system()).unwrap();
    log.record(AuditedEvent::Started);
    assert!(log.is_healthy() && log.head().is_none());
    assert_eq!(log.prune(Timestamp::MAX).unwrap(), 0);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn old_files_go_and_the_rest_proves_where_it_begins() {
    let mut room = TestLog::new(1 << 20);
    for day in 0..5 {
        room.set_time(86_400 * day);
        room.record();
    }
    let files = room.files();
    assert_eq!(room.log.prune(room.at(0)).unwrap(), 0);
    assert_eq!(room.log.prune(room.at(86_400)).unwrap(), 0, "the first one ends then");
    assert_eq!(room.log.prune(room.at(2 * 86_400 + 1)).unwrap(), 2);
    assert_eq!(room.files(), files[2..]);
    let summary = room.verify();
    assert_eq!((summary.breaks, summary.start.count), (vec![], 3));
    // After a start, and once more.
    room.reopen();
    assert_eq!(room.log.prune(room.at(3 * 86_400 + 1)).unwrap(), 1);
    assert_eq!((room.files(), room.breaks()), (files[3..].to_vec(), vec![]));
    assert_eq!(room.log.prune(room.at(1000 * 86_400)).unwrap(), 1, "the last file stays");
    assert_eq!((room.files(), room.breaks()), (files[4..].to_vec(), vec![]));
    assert_eq!(room.kinds().iter().filter(|kind| *kind == "audit-removed").count(), 3);
    // A removal says up to where: no other beginning is believed.
    room.set_time(6 * 86_400);
    room.record();
    std::fs::remove_file(&files[4]).unwrap();
    room.assert_broken(0, 1, "no event says");
}

#[test]
fn what_could_not_be_written_is_counted_and_told_of_when_it_goes_on() {
    let room = TestLog::with_events(1 << 20, 2);
    let read_only = Arc::new(std::fs::File::open(&room.files()[0]).unwrap());
    let shared = &room.log.0.as_ref().unwrap().shared;
    let swap = |file: Arc<std::fs::File>| {
        let mut writer = shared.writer();
        writer.current.as_mut().unwrap().file.swap(file)
    };
    let file = swap(read_only);
    (0..3).for_each(|_| room.record());
    assert!(!room.log.is_healthy());
    assert_eq!(room.verify().head.count, 2);
    // A part of a line may have been written.
    let append = std::fs::OpenOptions::new().append(true).open(&room.files()[0]);
    std::io::Write::write_all(&mut append.unwrap(), b"{\"resourceType\":").unwrap();
    swap(file);
    room.record();
    assert!(room.log.is_healthy());
    assert_eq!(room.breaks(), []);
    assert_eq!(room.kinds(), ["manifest", "manifest", "audit-lost", "manifest"]);
    assert_eq!(detail(&room.events()[2], "events"), Some("3"));
}

#[test]
fn events_of_many_threads_are_one_chain() {
    let room = TestLog::new(8192);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|_| room.record()));
        }
    });
    assert_eq!(room.breaks(), []);
    assert_eq!(room.kinds().iter().filter(|kind| *kind == "manifest").count(), 400);
}

/// Prints what one record costs its caller: `cargo test --release --lib audit:: -- --nocapture`.
#[test]
fn a_record_costs_its_caller_little() {
    let room = TestLog::new(64 << 20);
    let count = 5000;
    let began = std::time::Instant::now();
    (0..count).for_each(|_| room.record());
    let each = began.elapsed() / count;
    let bytes = std::fs::metadata(&room.files()[0]).unwrap().len() / u64::from(count);
    assert!(each < Duration::from_millis(5), "one record: {each:?}, {bytes} bytes");
}
