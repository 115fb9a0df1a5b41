//! System calls that fail at every step of a job's life: once, three times and for ever. A row
//! of the table says where and what is expected; one function runs it, on the real binary. In
//! the end the fault is gone, in the same process or in the next, and nothing was dropped:
//! what was acknowledged holds, disk equals store, each erasure has its one receipt.
//!
//! Each row meets two or three of the eight error numbers here. `EVANESCE_TEST_FAULTS` chooses rows by
//! a part of their text, as in `Deletion acknowledged>unlink`, which then meet all eight; `all`
//! are all rows.

mod rows;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

use tempfile::TempDir;

use self::rows::Seen::*;
use self::rows::{Phase, ROWS, Seen};
use crate::support::*;

/// EIO, EACCES, EBUSY, EMFILE, EFBIG, ENOSPC, EROFS, EDQUOT.
const ERRNOS: [u16; 8] = [5, 13, 16, 24, 27, 28, 30, 122];
const ENOSPC: u16 = 28;
/// Those that mean that there is no room.
const FULL: [u16; 3] = [27, 28, 122];
const EVER: &str = "ever";
const TIMES: [&str; 3] = ["1", "3", EVER];

/// One patient file: a row should be over soon.
fn small_source() -> &'static Path {
    static SOURCE: OnceLock<TempDir> = OnceLock::new();
    let folder = SOURCE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let lines = (0..20).map(|n| format!("{{\"resourceType\":\"Patient\",\"id\":\"{n}\"}}\n"));
        std::fs::write(folder.path().join("a.ndjson"), lines.collect::<String>()).unwrap();
        folder
    });
    folder.path()
}

struct Run {
    phase: Phase,
    at: &'static str,
    seen: Seen,
    errno: u16,
    times: &'static str,
    setup: Setup,
    /// The complete job that there was before.
    job: Option<Exported>,
}

#[derive(Debug, PartialEq, Eq)]
enum Came {
    Status(u16, String),
    Nothing,
}

impl Run {
    /// What the server should have begun with.
    fn prepare(&mut self) {
        let forgets = matches!(self.phase, Phase::StartUnknown | Phase::StartForgotten);
        let store = self.setup.data_dir().join("store");
        let empty = self.setup.folder.path().join("empty");
        if forgets {
            self.setup.start().kill();
            super::copy_folder(&store, &empty);
        }
        match self.phase {
            Phase::Kickoff | Phase::CleanUp => {}
            Phase::StartRunning | Phase::StartUnknown => {
                let mut server = self.setup.start_with(&["--breakpoint", "output-synced=kill"]);
                // The answer may be lost.
                let _ = try_send("GET", &format!("{}/$export", server.base), &KICKOFF);
                server.wait_exit();
            }
            _ => {
                let server = self.setup.start_with(&["--breakpoint", "sweep-begins=hold"]);
                let (polling, manifest) = server.export("$export");
                self.job = Some(Exported::of(&polling, &manifest));
                if self.phase == Phase::StartMarked {
                    assert_eq!(delete(&polling).status, 202);
                }
                server.kill();
            }
        }
        if forgets {
            std::fs::remove_dir_all(&store).unwrap();
            super::copy_folder(&empty, &store);
        }
    }

    fn arguments(&self) -> Vec<String> {
        let fault = |at: &str| {
            let (place, after) = at.split_once('+').unwrap_or((at, "0"));
            format!("{place}:{}:{}:{after}", self.errno, self.times)
        };
        let mut faults: Vec<_> = self.at.split('&').map(fault).collect();
        if self.phase == Phase::CleanUp {
            faults.push(format!("plan-written>write:{ENOSPC}:1"));
        }
        faults.into_iter().flat_map(|fault| ["--fault".into(), fault]).collect()
    }

    fn run(mut self) {
        self.prepare();
        let arguments = self.arguments();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let before = self.setup.log().len();
        if self.seen == NotStarted {
            let untouched = self.setup.disk().files();
            let status = run_to_end(&self.setup, &arguments);
            assert_eq!(status.code(), Some(2), "{}", self.setup.log());
            assert!(self.setup.log()[before..].contains(&self.os_error()), "{}", self.setup.log());
            assert_eq!(self.setup.disk().files(), untouched);
            return self.settle(None);
        }
        let server = match self.seen {
            Fatal if matches!(self.phase, Phase::StartMarked | Phase::StartRunning) => {
                assert_eq!(run_to_end(&self.setup, &arguments).code(), Some(70));
                return self.settle(None);
            }
            _ => self.setup.start_with(&arguments),
        };
        let came = self.act(&server);
        self.check(&server, came);
        let logged = || self.setup.log()[before..].contains(&self.os_error()).then_some(());
        if self.seen == Fatal {
            let mut server = server;
            assert_eq!(server.wait_exit().code(), Some(70));
            logged().expect("why it ended is in the log");
            return self.settle(None);
        }
        eventually("the error number in the log", logged);
        self.watch(&server);
        // A failed fsync may meet the next commit, and end the process, as it should.
        if self.times == EVER || self.at.contains("fsync") {
            server.kill();
            self.settle(None);
        } else {
            self.settle(Some(server));
        }
    }

    fn os_error(&self) -> String {
        format!("(os error {})", self.errno)
    }

    /// What the phase is about; gives what the client got. Whatever fails, nobody waits for ever.
    fn act(&self, server: &Server) -> Came {
        let (method, url, headers) = match (self.phase, &self.job) {
            (Phase::Kickoff | Phase::CleanUp, _) => ("GET", format!("{}/$export", server.base), &KICKOFF[..]),
            (Phase::Deletion, Some(job)) => ("DELETE", polling_url(server, &job.id), &[][..]),
            (Phase::Download, Some(job)) => {
                let url = crate::support::file_url(server, &job.id, &job.files[0].0);
                ("GET", url, &[][..])
            }
            _ => return Came::Nothing,
        };
        match try_send(method, &url, headers) {
            Ok(answer) => Came::Status(answer.status, answer.issue().1),
            Err(ureq::Error::Timeout(_)) => panic!("neither an answer nor its end: {}", self.setup.log()),
            Err(_) => Came::Nothing,
        }
    }

    /// That the client got what the row says.
    fn check(&self, server: &Server, came: Came) {
        let full = FULL.contains(&self.errno) || self.phase == Phase::CleanUp;
        let expected = |status: u16, code: &str| {
            assert_eq!(came, Came::Status(status, code.to_string()), "{}", self.setup.log());
        };
        match (self.seen, self.phase) {
            (Refused, _) if full => expected(503, "no-store"),
            (Refused | NotServed | HalfDurable, _) => expected(500, "exception"),
            (Fatal, Phase::Deletion) if !self.at.starts_with("sweep") && !self.at.starts_with("receipt") => {
                let acknowledged = matches!(came, Came::Status(202, _));
                assert!(!acknowledged, "acknowledged without being durable");
            }
            (Fatal, _) => {}
            (_, Phase::Kickoff | Phase::CleanUp | Phase::Deletion) => expected(202, "processing"),
            _ => {}
        }
        let hidden = matches!(self.seen, HalfDurable | InPlace | Retried);
        if hidden && let Some(job) = &self.job {
            assert_hidden(server, &job.id, &job.files);
        }
        let fails = self.phase == Phase::CleanUp && self.seen != Fatal || self.seen == Failed;
        if let Some(id) = self.active(fails) {
            let answer = eventually("the failure", || {
                let answer = get(&polling_url(server, &id));
                (answer.status != 202).then_some(answer)
            });
            assert_eq!(answer.outcome(), (500, "processing".into()), "{}", self.setup.log());
            let text = answer.json()["issue"][0]["details"]["text"].as_str().unwrap().to_string();
            let reason = if full { "no room" } else { "could not be stored" };
            assert!(text.contains(reason), "{text}");
        }
    }

    /// The job that stands in `building/`.
    fn active(&self, wanted: bool) -> Option<String> {
        wanted.then(|| self.setup.disk().jobs("building").pop().expect("one job in building/"))
    }

    /// What the operator sees while the fault lasts; then what happens when it does not.
    fn watch(&self, server: &Server) {
        let health = server.operator("readyz");
        assert_eq!(health.status, 200, "{health:?}");
        let metrics = || server.metrics();
        let counted = |name: &str| {
            let text = metrics();
            let samples = text.lines().filter_map(|line| line.strip_prefix(name));
            let samples = samples.filter(|rest| rest.starts_with([' ', '{']));
            let mut values = samples.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok());
            values.any(|value| value > 0.0).then_some(())
        };
        match self.seen {
            Retried | CleanedUp => {
                eventually("the failed sweep to be counted", || counted("evanesce_sweep_failures_total"));
            }
            Logged if self.at.ends_with("readdir") => {
                eventually("the failed scan to be counted", || counted("evanesce_scan_failures_total"));
            }
            _ => {}
        }
        let waits = matches!(self.seen, Retried | HalfDurable);
        if waits && self.times == EVER {
            let reaper = server.operator("readyz").json()["reaper"].clone();
            assert_eq!(reaper["marked"], 1, "{reaper}");
            eventually("the backlog in the metrics", || counted("evanesce_marked_jobs"));
            let job = self.job.as_ref().unwrap();
            assert_eq!(self.setup.receipts().len(), 0, "no receipt before it is gone");
            // Names do not wait for a key that cannot be destroyed.
            assert_eq!(self.setup.disk().has(&job.id), self.at != "keys");
        }
    }

    /// The fault is gone: everything is as it should be, whatever there is ends, and is deleted.
    fn settle(self, server: Option<Server>) {
        let server = server.unwrap_or_else(|| self.setup.start());
        let hidden = matches!(self.seen, HalfDurable | InPlace | Retried);
        if self.seen == CleanedUp {
            let left = || self.setup.disk().files().iter().all(|file| file.ends_with("job.json"));
            eventually("the files of the failed export to go", || left().then_some(()));
        }
        // Whatever is tried again succeeds in the end, a kick-off as well.
        let polling = eventually("an export that succeeds", || export_if_it_can(&server));
        if let Some(job) = &self.job {
            match self.phase {
                Phase::Scan | Phase::Download | Phase::StartForgotten => job.assert_intact(&server),
                Phase::Deletion if hidden => assert_hidden(&server, &job.id, &job.files),
                Phase::Deletion if get(&polling_url(&server, &job.id)).status == 200 => {
                    job.assert_intact(&server);
                }
                _ => assert_hidden(&server, &job.id, &job.files),
            }
        }
        let disk = self.setup.disk();
        let jobs: BTreeSet<_> = [disk.jobs("building"), disk.jobs("ready")].concat().into_iter().collect();
        let mut erased: BTreeSet<_> = jobs.iter().map(|id| delete_in_the_end(&server, id)).collect();
        erased.insert(job_id(&polling).into());
        crate::support::wait_settled(&self.setup, &server, &BTreeSet::new());
        erased.iter().for_each(|id| drop(self.setup.receipt(id)));
        if let Some(job) = &self.job {
            self.setup.receipt(&job.id);
        }
        server.kill();
        let receipts: Vec<_> =
            self.setup.receipts().iter().map(|r| r["job"].as_str().unwrap().to_string()).collect();
        let expected: BTreeSet<_> = receipts.iter().cloned().collect();
        crate::support::assert_receipts(&self.setup, &expected);
        assert_disk_equals_store(&self.setup);
        assert!(!self.setup.log().contains("panicked"), "{}", self.setup.log());
    }
}

/// Waits for the end of a job, unless it is an orphan or marked, and deletes it.
fn delete_in_the_end(server: &Server, id: &str) -> String {
    let url = polling_url(server, id);
    let answer = eventually("the end of a job", || Some(get(&url)).filter(|answer| answer.status != 202));
    if answer.status != 404 {
        assert_eq!(delete(&url).status, 202, "{answer:?}");
    }
    id.into()
}

/// Exports; `None`, with nothing left behind, if that fails.
fn export_if_it_can(server: &Server) -> Option<String> {
    let answer = server.try_kickoff("$export");
    if answer.status != 202 {
        assert!(matches!(answer.status, 500 | 503), "{answer:?}");
        return None;
    }
    let polling = answer.header("content-location").to_string();
    let answer = eventually("its end", || Some(get(&polling)).filter(|answer| answer.status != 202));
    if answer.status == 500 {
        // Deletions may meet the fault as well.
        assert!(matches!(delete(&polling).status, 202 | 500));
        return None;
    }
    let url = answer.json()["output"][0]["url"].as_str().unwrap().to_string();
    eventually("its file", || (get(&url).status == 200).then_some(()));
    Some(polling)
}

fn runs(phases: &[Phase]) -> impl Iterator<Item = Run> {
    let chosen_rows = std::env::var("EVANESCE_TEST_FAULTS").ok();
    let all = chosen_rows.is_some();
    let text = chosen_rows.filter(|text| text != "all").unwrap_or_default();
    let is_chosen = move |phase: &Phase, at: &str| format!("{phase:?} {at}").contains(&text);
    let rows = ROWS.iter().enumerate();
    let rows = rows.filter(move |(_, (phase, at, _))| phases.contains(phase) && is_chosen(phase, at));
    rows.flat_map(move |(n, (phase, at, seen))| {
        // A process that ends at the first one does not meet the third.
        let ends = matches!(seen, Fatal | NotStarted);
        let one = move |t: usize| (n * TIMES.len() + t) % ERRNOS.len();
        let chosen = move |t: usize, e: usize| all || e == one(t) && !(ends && TIMES[t] == "3");
        let pairs = (0..TIMES.len()).flat_map(|t| (0..ERRNOS.len()).map(move |e| (t, e)));
        pairs.filter(move |(t, e)| chosen(*t, *e)).map(move |(t, e)| {
            // What a kick-off makes of free space that cannot be told is in `space`.
            let setup =
                Setup::new().source(small_source()).set("reaper.interval=25ms").set("storage.min_free=0");
            let setup = setup.set("reaper.retry_min=20ms").set("reaper.retry_max=40ms");
            let mut setup = setup.set("retention.orphan_grace=0s").set("source.watch=false");
            if *phase == Phase::Deletion && at.ends_with("readdir") {
                // Or a scan meets the fault instead.
                setup = setup.set("reaper.interval=1h").set("reaper.watch=false");
            }
            // What fails first is followed by a commit, whose fsync is the same call.
            let again = t > 0 && at.contains("fsync") && matches!(seen, Refused | Failed | Ended);
            let seen = if again { Fatal } else { *seen };
            Run { phase: *phase, at, seen, errno: ERRNOS[e], times: TIMES[t], setup, job: None }
        })
    })
}

/// Runs the rows of these phases and says how many there were, and which went wrong.
fn run_all(phases: &[Phase]) {
    let mut count = 0;
    for run in runs(phases) {
        count += 1;
        let name = format!("{:?} {}:{}:{}", run.phase, run.at, run.errno, run.times);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.run()));
        if let Err(panic) = outcome {
            eprintln!("the row {name} went wrong");
            std::panic::resume_unwind(panic);
        }
    }
    println!("{count} faults met, {phases:?}");
}

#[test]
fn an_export_that_meets_a_fault_is_refused_fails_or_goes_on_in_the_next_process() {
    run_all(&[Phase::Kickoff]);
}

#[test]
fn a_failed_export_that_meets_another_fault_still_leaves_nothing() {
    run_all(&[Phase::CleanUp]);
}

#[test]
fn a_deletion_that_meets_a_fault_is_never_half_acknowledged_and_never_dropped() {
    run_all(&[Phase::Deletion]);
}

#[test]
fn a_download_or_a_scan_that_meets_a_fault_harms_nothing() {
    run_all(&[Phase::Download, Phase::Scan]);
}

#[test]
fn a_start_that_meets_a_fault_is_refused_or_takes_up_where_it_was() {
    run_all(&[Phase::StartMarked, Phase::StartRunning, Phase::StartUnknown, Phase::StartForgotten]);
}
