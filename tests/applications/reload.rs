//! The file of applications changes while somebody follows it.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use evanesce::auth::{Applications, DeactivatedApplication, ReloadOutcome, Watch};

use super::{application, folder, replace};
use crate::support::{PATIENCE, Setup, eventually};

/// A poll that no test waits for.
const NEVER: Duration = Duration::from_secs(3600);

struct Followed {
    applications: Applications,
    watch: Watch,
    told: Receiver<ReloadOutcome>,
}

impl Followed {
    fn new(file: &Path, poll: Duration) -> Self {
        let applications = Applications::open(file, None).unwrap();
        let (tell, told) = mpsc::channel();
        let watch = Watch::start(applications.clone(), poll, move |reload| tell.send(reload).unwrap());
        Self { applications, watch: watch.unwrap(), told }
    }

    /// What the next change that was found is.
    fn next(&self) -> ReloadOutcome {
        self.told.recv_timeout(PATIENCE).expect("a change is found")
    }

    /// The same after the file was written in place: on a machine that is very busy it may be
    /// seen empty for a moment, which takes nobody away.
    fn next_in_place(&self) -> ReloadOutcome {
        loop {
            match self.next() {
                ReloadOutcome::Refused { reason } if reason.contains("is empty") => {}
                next => return next,
            }
        }
    }

    /// The reason of the refusal that comes next.
    fn refusal(&self) -> String {
        match self.next() {
            ReloadOutcome::Refused { reason } => {
                assert_eq!(self.applications.stale(), Some(reason.clone()));
                reason.to_string()
            }
            taken => panic!("{taken:?}"),
        }
    }

    fn has(&self, client_id: &str) -> bool {
        self.applications.find(&"t".parse().unwrap(), &client_id.parse().unwrap()).is_some()
    }
}

fn taken(departed: &[&str]) -> ReloadOutcome {
    let one =
        |id: &&str| DeactivatedApplication { tenant: "t".parse().unwrap(), client_id: id.parse().unwrap() };
    ReloadOutcome::Taken { departed: departed.iter().map(one).collect() }
}

#[test]
fn a_file_that_is_replaced_by_a_rename_is_in_force_at_once() {
    let (_folder, file) = folder();
    std::fs::write(&file, application("t", "a", "")).unwrap();
    let followed = Followed::new(&file, NEVER);
    assert!(followed.has("a") && !followed.has("b"));
    for round in 0..3 {
        let (gone, here) = if round % 2 == 0 { ("a", "b") } else { ("b", "a") };
        replace(&file, &application("t", here, ""));
        assert_eq!(followed.next(), taken(&[gone]), "round {round}: the new file is watched too");
        assert!(followed.has(here) && !followed.has(gone) && !followed.applications.is_stale());
    }
}

#[test]
fn a_file_that_is_edited_in_place_is_in_force_at_once() {
    let (_folder, file) = folder();
    let both = application("t", "a", "") + &application("t", "b", "");
    std::fs::write(&file, &both).unwrap();
    let followed = Followed::new(&file, NEVER);
    // To the same length, within the same tick as far as that can be had.
    std::fs::write(&file, both.replace("\"b\"", "\"c\"")).unwrap();
    assert_eq!(followed.next_in_place(), taken(&["b"]));
    std::fs::write(&file, application("t", "a", "active = false")).unwrap();
    assert_eq!(followed.next_in_place(), taken(&["a", "c"]), "deactivated and removed, by name");
    assert!(!followed.has("a"), "what is not active is not there");
    std::fs::write(&file, application("t", "a", "active = true")).unwrap();
    assert_eq!(followed.next_in_place(), taken(&[]));
    assert!(followed.has("a"));
}

#[test]
fn a_broken_version_is_refused_and_the_one_before_stays_in_force_until_it_is_mended() {
    let (_folder, file) = folder();
    let good = application("t", "a", "");
    std::fs::write(&file, &good).unwrap();
    let followed = Followed::new(&file, NEVER);
    let bad_scopes = good.clone() + &good.replace("\"a\"", "\"b\"").replace("*.rs", "*.sr");
    for (broken, expected) in [
        (format!("{good}\nnonsense = 1"), "line 8"),
        (format!("{good}[[application"), "line 7"),
        (bad_scopes, "line 7: b has bad scopes"),
        (good.clone() + &good, "line 7: a is duplicated"),
        (String::new(), "is empty"),
    ] {
        replace(&file, &broken);
        let reason = followed.refusal();
        assert!(reason.contains(expected), "{expected}: {reason}");
        assert!(followed.has("a"), "{expected}");
        assert!(!followed.has("b"), "{expected}");
    }
    replace(&file, &good);
    assert_eq!(followed.next(), taken(&[]), "nobody went meanwhile");
    assert!(followed.has("a") && !followed.applications.is_stale());
}

#[test]
fn a_file_that_vanishes_takes_nobody_away_and_is_read_when_it_is_back() {
    let (_folder, file) = folder();
    std::fs::write(&file, application("t", "a", "")).unwrap();
    let followed = Followed::new(&file, NEVER);
    std::fs::remove_file(&file).unwrap();
    let reason = followed.refusal();
    assert!(reason.contains("cannot be read"), "{reason}");
    assert!(followed.has("a"));
    std::fs::write(&file, application("t", "b", "")).unwrap();
    assert_eq!(followed.next_in_place(), taken(&["a"]));
    assert!(followed.has("b") && !followed.applications.is_stale());
}

#[test]
fn a_change_that_no_event_tells_of_is_found_by_the_poll_or_when_asked() {
    let (folder, link) = folder();
    let elsewhere = tempfile::tempdir().unwrap();
    // The folder that the link passes through in between is not watched.
    let (between, target) = (elsewhere.path().join("between"), elsewhere.path().join("target"));
    std::fs::create_dir(&target).unwrap();
    std::fs::create_dir(elsewhere.path().join("next")).unwrap();
    let write = |folder: &str, id: &str| {
        let keys = folder.to_owned() + "/a.json";
        std::fs::copy(link.with_file_name("a.json"), elsewhere.path().join(keys)).unwrap();
        let file = elsewhere.path().join(folder).join("applications.toml");
        std::fs::write(file, application("t", id, "")).unwrap();
    };
    write("target", "a");
    write("next", "b");
    std::os::unix::fs::symlink(&target, &between).unwrap();
    std::os::unix::fs::symlink(between.join("applications.toml"), &link).unwrap();
    let asked = Followed::new(&link, NEVER);
    let polled = Followed::new(&link, Duration::from_millis(20));
    std::fs::remove_file(&between).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("next"), &between).unwrap();
    // It may have been looked at while the link was away.
    eventually("the poll", || (polled.next() == taken(&["a"])).then_some(()));
    assert!(asked.told.try_recv().is_err() && asked.has("a"), "no event came");
    asked.watch.reload_soon();
    assert_eq!(asked.next(), taken(&["a"]));
    drop(folder);
}

#[test]
fn a_key_file_that_is_replaced_makes_another_application_of_its_owner() {
    let (folder, file) = folder();
    std::fs::write(&file, application("t", "a", "")).unwrap();
    let followed = Followed::new(&file, NEVER);
    let find = || followed.applications.find(&"t".parse().unwrap(), &"a".parse().unwrap()).unwrap();
    let before = find();
    assert_eq!(followed.applications.reload(), ReloadOutcome::Unchanged);
    assert!(std::sync::Arc::ptr_eq(&before, &find()));
    let keys = folder.path().join("a.json");
    replace(&keys, &std::fs::read_to_string(&keys).unwrap().replace("\"sig\"", "\"sig\" "));
    assert_eq!(followed.next(), taken(&[]));
    assert!(!std::sync::Arc::ptr_eq(&before, &find()), "what was kept of its keys is old");
    assert_eq!(followed.applications.reload(), ReloadOutcome::Unchanged);
}

#[test]
fn an_application_of_a_tenant_that_there_is_not_is_refused() {
    let (_folder, file) = folder();
    std::fs::write(&file, application("t", "a", "")).unwrap();
    let tenants = BTreeSet::from(["t".parse().unwrap(), "u".parse().unwrap()]);
    let applications = Applications::open(&file, Some(tenants)).unwrap();
    std::fs::write(&file, application("t", "a", "") + &application("v", "b", "")).unwrap();
    let ReloadOutcome::Refused { reason } = applications.reload() else { panic!("taken") };
    assert!(reason.contains("line 7: b is of the tenant v; there are: t, u"), "{reason}");
    assert_eq!(applications.reload(), ReloadOutcome::Unchanged, "a mistake is told once");
    assert!(applications.is_stale(), "and seen as long as it is there");
    let unknown = BTreeSet::from(["u".parse().unwrap()]);
    assert!(Applications::open(&file, Some(unknown)).is_err());
}

#[test]
fn a_server_that_runs_follows_its_file_and_says_what_it_refused() {
    let (_folder, file) = folder();
    let setup = Setup::new().set(&format!("auth.applications={}", file.display()));
    std::fs::write(&file, "[[application]]\nclient_id = \"a\"\n").unwrap();
    let mut command = setup.command();
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("missing field `tenant`"), "{error}");

    std::fs::write(&file, application("default", "a", "")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    let server = setup.start();
    setup.wait_logged("chmod go-w");
    let metrics = || server.metrics();
    let shows = |line: &str| eventually(line, || metrics().contains(line).then_some(()));
    replace(&file, &application("default", "a", "nonsense = 1"));
    shows("evanesce_applications_stale 1");
    shows("evanesce_applications_reloads_total{outcome=\"refused\"} 1");
    let log = setup.settled_log(&server);
    assert!(log.contains("nonsense") && log.contains("line 6"), "{log}");
    replace(&file, &application("default", "a", ""));
    shows("evanesce_applications_stale 0");
    // A signal by which daemons are told to read their files again ends nothing.
    server.signal(rustix::process::Signal::HUP);
    replace(&file, &application("default", "b", ""));
    shows("evanesce_applications_reloads_total{outcome=\"taken\"} 2");
}
