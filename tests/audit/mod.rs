//! The audit log seen from outside: what a server records, what of it a kill leaves, and the
//! commands that read it.

mod requests;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use evanesce::audit::{AuditLog, AuditedEvent};
use evanesce::clock::Clock;
use evanesce::config::AuditConfig;
use serde_json::Value;

use crate::receipts::erase_one;
use crate::support::{Setup, evanesce_command, eventually, get, job_id};

/// A command of the real binary, to its end: exit code, output, errors.
fn evanesce(arguments: &[&str]) -> (i32, String, String) {
    let mut command = evanesce_command();
    let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn audit(data_dir: &Path, arguments: &[&str]) -> (i32, String, String) {
    evanesce(&[&["audit"], arguments, &["--data-dir", data_dir.to_str().unwrap()]].concat())
}

/// As `evanesce audit`, of this data directory, which must succeed.
pub fn audit_of(data_dir: &Path, arguments: &[&str]) -> String {
    let (code, out, error) = audit(data_dir, arguments);
    assert_eq!((code, error.as_str()), (0, ""), "{arguments:?}: {out}");
    out
}

fn export(setup: &Setup, arguments: &[&str]) -> Vec<Value> {
    let text = audit_of(&setup.data_dir(), &[&["export"], arguments].concat());
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the actors record of a job.
fn life(setup: &Setup, job: &str) -> Vec<Value> {
    let kinds = ["complete", "failed", "mark", "expiry", "erase"].map(|kind| ["--kind", kind]);
    export(setup, &[&["--job", job], &kinds.concat()[..]].concat())
}

fn detail<'a>(event: &'a Value, name: &str) -> &'a str {
    let details = event["entity"][0]["detail"].as_array().unwrap();
    let found = details.iter().find(|detail| detail["type"] == name);
    found.map(|detail| detail["valueString"].as_str().unwrap()).unwrap_or_default()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| detail(event, "kind")).collect()
}

fn files(setup: &Setup) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(setup.data_dir().join("audit")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn the_life_of_a_job_is_recorded_to_the_receipt_of_its_erasure() {
    let setup = Setup::new();
    let mut server = setup.start();
    let job = erase_one(&server);
    let events = life(&setup, &job);
    assert_eq!(kinds(&events), ["complete", "mark", "erase"]);
    let receipt = setup.receipt(&job);
    for name in ["files", "bytes"] {
        assert_eq!(detail(&events[2], name), receipt[name].to_string(), "{name}");
    }
    let verified = evanesce(&["receipts", "verify", "--data-dir", setup.data_dir().to_str().unwrap()]).1;
    assert!(verified.contains(detail(&events[2], "receipt-hash")), "{verified}");
    assert_eq!(detail(&events[2], "reason"), "deleted");
    assert_eq!(detail(&events[1], "request"), receipt["request_id"]);
    assert_eq!(events[1]["agent"][0]["who"]["identifier"]["value"], "built-in");

    server.signal(rustix::process::Signal::TERM);
    server.wait_exit();
    let all = export(&setup, &[]);
    assert_eq!((kinds(&all)[0], kinds(&all)[all.len() - 1]), ("start", "stop"));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&setup.data_dir().join("audit")), 0o700);
    assert!(files(&setup).iter().all(|file| mode(file) == 0o600));
}

#[test]
fn an_expiry_is_recorded() {
    let setup = Setup::new().set("retention.completed=100ms").set("reaper.interval=50ms");
    let server = setup.start();
    let polling = server.kickoff("$export?_type=Patient");
    let job = job_id(&polling);
    setup.receipt(job);
    let events = eventually("the erasure", || {
        let events = life(&setup, job);
        (events.len() == 3).then_some(events)
    });
    assert_eq!(kinds(&events), ["complete", "expiry", "erase"]);
    assert_eq!(detail(&events[2], "reason"), "expired");
    assert_eq!(events[1]["agent"].as_array().unwrap().len(), 1, "nobody asked");
}

#[test]
fn orders_of_operators_are_recorded_without_their_words() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    let (job, dir) = (job_id(&polling), setup.data_dir());
    let dir = dir.to_str().unwrap();
    for arguments in [
        &["hold", job, "--reason", "of Mr Wintergreen"][..],
        &["release", job],
        &["reaper", "pause", "--reason", "of Mr Wintergreen"],
        &["reaper", "resume"],
    ] {
        let (code, _, error) = evanesce(&[arguments, &["--data-dir", dir]].concat());
        assert_eq!(code, 0, "{arguments:?}: {error}");
    }
    let events = export(&setup, &["--kind", "admin"]);
    let actions: Vec<_> = events.iter().map(|event| detail(event, "action")).collect();
    assert_eq!(actions, ["hold", "release", "reaper-pause", "reaper-resume"]);
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let user = String::from_utf8(user).unwrap();
    assert!(events.iter().all(|event| event["agent"][0]["who"]["identifier"]["value"] == user.trim_end()));
    assert!(!files(&setup).iter().any(|file| std::fs::read_to_string(file).unwrap().contains("Wintergreen")));
    assert_eq!(export(&setup, &["--client", user.trim_end()]).len(), 4);
}

#[test]
fn a_kill_loses_nothing_that_was_recorded() {
    // So long that nothing is synced before the kill.
    let setup = Setup::new().set("audit.sync_interval=1h");
    let mut recorded = Vec::new();
    for round in 1..=3 {
        let server = setup.start();
        let job = erase_one(&server);
        server.kill();
        recorded.push(job);
        for job in &recorded {
            let recorded = export(&setup, &["--job", job]);
            assert_eq!(kinds(&life(&setup, job)), ["complete", "mark", "erase"], "{round}");
            assert_eq!(recorded.len(), 6, "what was asked for too: {:?}", kinds(&recorded));
        }
        assert_eq!(export(&setup, &["--kind", "start"]).len(), round);
    }
    assert!(export(&setup, &["--kind", "audit-torn"]).is_empty(), "a line is written in one piece");
}

#[test]
fn verify_names_file_and_line_and_the_server_goes_on_behind_it() {
    let setup = Setup::new();
    let server = setup.start();
    erase_one(&server);
    // Beside the running server.
    let verified = audit_of(&setup.data_dir(), &["verify"]);
    let head = verified.lines().find_map(|line| line.strip_prefix("head     ")).unwrap();
    audit_of(&setup.data_dir(), &["verify", "--head", head]);
    server.kill();

    let file = &files(&setup)[0];
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, text.replacen("\"deleted\"", "\"expired\"", 1)).unwrap();
    let (code, out, error) = audit(&setup.data_dir(), &["verify"]);
    assert_eq!(code, 1, "{out}");
    let place = format!("{}, line 5", file.file_name().unwrap().to_str().unwrap());
    assert!(error.contains(&place) && error.contains("not what its hash says"), "{error}");

    let server = setup.start();
    let metrics = server.metrics();
    assert!(metrics.contains("evanesce_audit_broken_total 1"), "{metrics}");
    drop(server);
    assert_eq!(files(&setup).len(), 2);
    // What can be verified is exported all the same, and the code says that it is not all.
    let (code, out, error) = audit(&setup.data_dir(), &["export"]);
    assert!(code == 1 && error.contains(&place), "{error}");
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut kinds = kinds(&events);
    // A client may get the manifest before the job's actor tells of the end.
    kinds[2..4].sort_unstable();
    assert_eq!(
        kinds,
        ["start", "kick-off", "complete", "manifest", "audit-rotated", "audit-broken", "start"]
    );

    let fsck = evanesce(&["fsck", "--data-dir", setup.data_dir().to_str().unwrap()]);
    assert!(fsck.1.contains(&place), "{fsck:?}");
    let (code, _, error) = audit(&setup.data_dir(), &["verify", "--head", &"0".repeat(63)]);
    assert!(code == 2 && error.contains("hash"), "{error}");
}

#[test]
fn a_line_that_a_crash_tore_is_cut_off_and_told_of() {
    let setup = Setup::new();
    setup.start().kill();
    let file = &files(&setup)[0];
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, format!("{text}{{\"resourceType\":\"Audit")).unwrap();
    let _server = setup.start();
    assert_eq!(kinds(&export(&setup, &[])), ["start", "audit-torn", "start"]);
}

#[test]
fn a_lost_end_is_found_by_a_head_that_was_kept() {
    let setup = Setup::new();
    let server = setup.start();
    erase_one(&server);
    server.kill();
    let verified = audit_of(&setup.data_dir(), &["verify"]);
    let head = verified.lines().find_map(|line| line.strip_prefix("head     ")).unwrap();
    let file = &files(&setup)[0];
    let text = std::fs::read_to_string(file).unwrap();
    let cut: Vec<_> = text.split_inclusive('\n').take(2).collect();
    std::fs::write(file, cut.concat()).unwrap();
    audit_of(&setup.data_dir(), &["verify"]);
    let (code, _, error) = audit(&setup.data_dir(), &["verify", "--head", head]);
    assert!(code == 1 && error.contains("does not go through"), "{error}");
}

#[test]
fn events_are_chosen_by_time_kind_client_and_job() {
    let setup = Setup::new();
    let server = setup.start();
    let jobs = [erase_one(&server), erase_one(&server)];
    let all = export(&setup, &[]);
    assert_eq!(all.len(), 13);
    let third = all[3]["recorded"].as_str().unwrap();
    assert_eq!(export(&setup, &["--since", third]), all[3..]);
    assert_eq!(export(&setup, &["--until", third]), all[..3]);
    assert_eq!(kinds(&export(&setup, &["--kind", "erase", "--kind", "start"])), ["start", "erase", "erase"]);
    assert_eq!(export(&setup, &["--client", "built-in"]).len(), 12);
    assert_eq!(export(&setup, &["--client", "nobody"]).len(), 0);
    assert_eq!(kinds(&export(&setup, &["--job", &jobs[1], "--kind", "mark"])), ["mark"]);

    let out = setup.folder.path().join("bundle.json");
    audit_of(&setup.data_dir(), &["export", "--format", "fhir", "--out", out.to_str().unwrap()]);
    let bundle: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!((&bundle["resourceType"], &bundle["type"]), (&"Bundle".into(), &"collection".into()));
    let entries = bundle["entry"].as_array().unwrap();
    let resources: Vec<_> = entries.iter().map(|entry| entry["resource"].clone()).collect();
    assert_eq!(resources, all);
    assert_eq!(entries[0]["fullUrl"], format!("urn:uuid:{}", all[0]["id"].as_str().unwrap()));
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_log_is_no_stranger_and_stays_when_everything_is_erased() {
    let setup = Setup::new().set("reaper.interval=10ms").set("audit.max_file_bytes=4096");
    let server = setup.start();
    (0..3).for_each(|_| drop(erase_one(&server)));
    let reaper = || server.operator("readyz").json()["reaper"].clone();
    let passes = reaper()["passes"].as_u64().unwrap();
    eventually("more passes", || (reaper()["passes"].as_u64().unwrap() > passes + 3).then_some(()));
    assert_eq!((&reaper()["strangers"], &reaper()["orphans"]), (&0.into(), &0.into()));
    assert!(files(&setup).len() > 2);
    audit_of(&setup.data_dir(), &["verify"]);
    let root = server.base.split("/r4/").next().unwrap();
    assert_eq!(get(&format!("{root}/audit")).status, 404);
    drop(server);
    let (_, out, _) = evanesce(&["fsck", "--data-dir", setup.data_dir().to_str().unwrap()]);
    assert!(!out.contains("audit"), "{out}");
}

#[test]
fn old_files_are_removed_by_a_server_and_the_rest_verifies() {
    let setup = Setup::new();
    let data_dir = setup.data_dir();
    std::fs::create_dir_all(&data_dir).unwrap();
    for day in ["2015-05-01T12:00:00Z", "2015-05-02T12:00:00Z", "2015-05-03T12:00:00Z"] {
        let day: jiff::Timestamp = day.parse().unwrap();
        let log = AuditLog::open(&data_dir, &AuditConfig::default(), Clock::new(move || day)).unwrap();
        log.record(AuditedEvent::Started);
    }
    let old = files(&setup);
    assert_eq!(old.len(), 3);
    let _server = setup.start();
    eventually("the removal", || (!old[1].exists()).then_some(()));
    let left = files(&setup);
    assert_eq!((left.len(), &left[0]), (2, &old[2]), "a file ends where the next one begins");
    let verified = audit_of(&data_dir, &["verify"]);
    assert!(verified.contains("removed  3"), "{verified}");
    let removal = &export(&setup, &["--kind", "audit-removed"])[0];
    assert_eq!((detail(removal, "files"), detail(removal, "removed-count")), ("2", "3"));
}

#[test]
fn a_server_without_a_log_makes_none_and_the_commands_find_an_empty_one() {
    let setup = Setup::new().set("audit.enabled=false");
    let server = setup.start();
    erase_one(&server);
    assert!(!setup.data_dir().join("audit").exists());
    assert!(export(&setup, &[]).is_empty());
    assert!(audit_of(&setup.data_dir(), &["verify"]).contains("count    0"));
}
