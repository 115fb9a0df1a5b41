//! A hold that is answered is in force: it comes before the first unlink, or it is refused while
//! files of the job are being removed. A pause that is answered finds nobody unlinking. Each test
//! parks an erasure between its decision and its first unlink, and gives the order then.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use evanesce::config::Config;
use evanesce::hooks::{HookStep, Hooks};
use evanesce::{Evanesce, Kickoff, OrderError};
use futures_util::FutureExt;

use super::{order, refused};
use crate::faults::mount::{Kind, on_each};
use crate::support::*;

/// The breakpoint between the decision to unlink and the first unlink.
const PARK: [&str; 2] = ["--breakpoint", "unlink-begins=hold"];

/// Waits until a thread is parked there, in a server that was started with it.
fn wait_parked(setup: &Setup) {
    setup.wait_logged("held at UnlinkBegins");
}

/// A hold comes too late for files that are being removed.
fn assert_too_late(setup: &Setup, job: &str) {
    let answer = refused(setup, &["hold", job, "--reason", "case 17"], 1);
    assert!(answer.contains("being removed"), "{answer}");
}

fn output_files(setup: &Setup, job: &str) -> usize {
    let files = setup.disk().files();
    let names = files.iter().map(|file| file.to_string_lossy());
    names.filter(|name| name.contains(job) && name.ends_with(".ndjson")).count()
}

fn wait_for_a_file(setup: &Setup, job: &str) {
    eventually("a file", || (output_files(setup, job) > 0).then_some(()));
}

/// An export that fails once it has written a few files.
fn failing(setup: &Setup, more: &[&str]) -> Server {
    let fails = ["--set", "export.max_bytes_per_second=1000000", "--fault", "write:28:ever:12"];
    setup.start_with(&[&fails, more].concat())
}

fn failing_setup() -> Setup {
    Setup::new().set("reaper.interval=20ms").set("reaper.retry_min=20ms").set("export.part_bytes=65536")
}

#[test]
fn a_hold_is_refused_while_the_partial_files_of_a_failed_export_go() {
    let setup = failing_setup();
    let server = failing(&setup, &PARK);
    let polling = server.kickoff("$export");
    wait_parked(&setup);
    assert_too_late(&setup, job_id(&polling));
}

#[test]
fn a_hold_is_refused_while_the_names_of_a_stuck_writer_go() {
    let setup = Setup::new().set("export.cancel_deadline=50ms");
    let server = setup.start_with(&[&["--breakpoint", "write-begins=hold"][..], &PARK].concat());
    let polling = server.kickoff("$export?_type=Patient");
    wait_for_a_file(&setup, job_id(&polling));
    assert_eq!(delete(&polling).status, 202);
    wait_parked(&setup);
    assert_too_late(&setup, job_id(&polling));
}

/// A server whose export is killed in the middle of its first file.
fn interrupted(setup: &Setup) -> String {
    let server = setup.start_with(&["--breakpoint", "write-begins=hold"]);
    let polling = server.kickoff("$export?_type=Patient");
    wait_for_a_file(setup, job_id(&polling));
    server.kill();
    job_id(&polling).to_string()
}

#[test]
fn a_hold_is_refused_while_the_files_of_an_attempt_that_was_not_recorded_go() {
    let setup = Setup::new();
    let job = interrupted(&setup);
    let _server = setup.start_with(&PARK);
    wait_parked(&setup);
    assert_too_late(&setup, &job);
}

#[test]
fn an_export_under_a_hold_is_resumed_beside_the_files_of_the_attempt_before() {
    let setup = Setup::new().set("reaper.interval=20ms");
    let server = setup.start_with(&["--breakpoint", "write-begins=hold"]);
    let polling = server.kickoff("$export?_type=Patient");
    let job = job_id(&polling).to_string();
    wait_for_a_file(&setup, &job);
    order(&setup, &["hold", &job, "--reason", "case 17"]);
    server.kill();

    let server = setup.start();
    let exported = Exported::wait(&server, &job);
    assert_eq!(output_files(&setup, &job), exported.files.len() + 1, "the file from before was removed");
    order(&setup, &["release", &job]);
    assert_eq!(delete(&polling_url(&server, &job)).status, 202);
    assert_only_its_receipt_is_left(&setup, server, &exported, "deleted");
}

#[test]
fn a_hold_is_refused_while_files_go_for_want_of_room() {
    on_each(&[Kind::Tmpfs], "a hold on a full disk", |setup, mount| {
        let server = setup.start_with(&PARK);
        let (polling, _) = server.export("$export");
        mount.fill("others");
        std::fs::remove_file(setup.data_dir().join("ballast")).unwrap();
        mount.fill("others too");
        let url = polling.clone();
        // It is never answered: the committer is parked before its commit.
        std::thread::spawn(move || try_send("DELETE", &url, &[]));
        wait_parked(setup);
        assert_too_late(setup, job_id(&polling));
    });
}

#[test]
fn a_start_on_a_full_disk_removes_nothing_while_the_reaper_is_paused() {
    on_each(&[Kind::Tmpfs], "a paused start on a full disk", |setup, mount| {
        let server = setup.start();
        let (polling, _) = server.export("$export");
        order(setup, &["reaper", "pause", "--reason", "an audit"]);
        assert_eq!(delete(&polling).status, 202);
        let before = output_files(setup, job_id(&polling));
        assert!(before > 0, "they went in spite of the pause");
        server.kill();
        std::fs::remove_file(setup.data_dir().join("ballast")).unwrap();
        mount.fill("others");
        // The reserve may be enough for it, or not.
        let started = setup.try_launch(setup.command());
        assert_eq!(output_files(setup, job_id(&polling)), before, "files went in spite of the pause");
        drop(started);
    });
}

#[test]
fn a_paused_reaper_keeps_the_partial_files_of_a_failed_export() {
    let setup = failing_setup();
    let server = failing(&setup, &[]);
    order(&setup, &["reaper", "pause", "--reason", "an audit"]);
    let polling = server.kickoff("$export");
    eventually("the failure", || (get(&polling).status == 500).then_some(()));
    let passes = || server.operator("readyz").json()["reaper"]["passes"].as_u64().unwrap();
    let before = passes();
    eventually("some passes", || (passes() > before + 2).then_some(()));
    assert!(output_files(&setup, job_id(&polling)) > 0, "they went in spite of the pause");
    order(&setup, &["reaper", "resume"]);
    eventually("the partial files to go", || (output_files(&setup, job_id(&polling)) == 0).then_some(()));
}

#[test]
fn a_paused_reaper_keeps_the_names_of_a_stuck_writer() {
    let setup = Setup::new().set("export.cancel_deadline=50ms");
    let server = setup.start_with(&["--breakpoint", "write-begins=hold"]);
    let polling = server.kickoff("$export?_type=Patient");
    wait_for_a_file(&setup, job_id(&polling));
    order(&setup, &["reaper", "pause", "--reason", "an audit"]);
    assert_eq!(delete(&polling).status, 202);
    setup.wait_logged("stuck in a system call");
    // It is asked again ten times a second, and each time its names could go.
    std::thread::sleep(Duration::from_millis(300));
    assert!(output_files(&setup, job_id(&polling)) > 0, "they went in spite of the pause");
    order(&setup, &["reaper", "resume"]);
    setup.disk().wait_gone(job_id(&polling));
}

/// An instance whose first unlink waits until the test lets it go on.
struct Parked {
    evanesce: Evanesce,
    held: Receiver<Sender<()>>,
    unlinks: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

impl Parked {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (tell, held) = channel::<Sender<()>>();
        let tell = parking_lot::Mutex::new(Some(tell));
        let unlinks = Arc::new(AtomicUsize::new(0));
        let unlinked = unlinks.clone();
        let hooks = Hooks::directed(move |step| match step {
            HookStep::UnlinkBegins => {
                let first = tell.lock().take();
                if let Some(tell) = first {
                    let (release, released) = channel();
                    tell.send(release).unwrap();
                    let _ = released.recv();
                }
            }
            HookStep::FileUnlinked => drop(unlinked.fetch_add(1, Ordering::SeqCst)),
            _ => {}
        });
        let mut config = Config::default();
        config.source.folder = source().into();
        let builder = Evanesce::builder().config(config).data_dir(folder.path());
        let evanesce = builder.hooks(hooks).start().await.unwrap();
        Self { evanesce, held, unlinks, _folder: folder }
    }
}

#[tokio::test]
async fn a_pause_is_answered_when_nobody_unlinks_any_more_and_a_hold_is_refused_meanwhile() {
    let Parked { evanesce, held, unlinks, _folder } = Parked::new().await;
    let job = evanesce.submit(Kickoff::system(), "host".parse().unwrap()).await.unwrap();
    evanesce.wait_finished(job).await.unwrap();
    evanesce.cancel(job, "host".parse().unwrap()).await.unwrap();
    let release = held.recv_timeout(PATIENCE).unwrap();

    assert_eq!(evanesce.hold(job, "somebody", "case 17").await, Err(OrderError::BeingErased));
    let (host, mut pause) =
        (evanesce.clone(), tokio::spawn(async move { evanesce.pause_reaper("it", "").await }));
    while host.reaper_status().await.unwrap().pause.is_none() {
        tokio::task::yield_now().await;
    }
    // A later commit is answered, and the actors have had a turn since: so has the order's.
    host.submit(Kickoff::system(), "host".parse().unwrap()).await.unwrap();
    host.reaper_status().await.unwrap();
    assert!((&mut pause).now_or_never().is_none(), "answered while files are being unlinked");
    drop(release);
    assert_eq!(pause.await.unwrap(), Ok(()));
    let then = unlinks.load(Ordering::SeqCst);
    host.wait_erased(job).await.unwrap().unwrap();
    assert!(then > 0);
    assert_eq!(unlinks.load(Ordering::SeqCst), then, "unlinked after the pause was answered");
}
