//! A commit that fails: the process promises nothing more, ends with 70, and the next start
//! shows nothing that was not promised (P1, P7, P11; DESIGN section 3, "the published view").

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::channel;

use evanesce::files::SweepCounts;
use evanesce::hooks::Hooks;
use evanesce::job::JobId;
use evanesce::receipts::{self, ChainHead};
use evanesce::store::{
    Committer, DurableChange, EntryOutcome, OtherWitnesses, Store, StoreEntry, StoreError, StoredJob,
};
use evanesce::telemetry::FatalHandler;
use evanesce::view::LocalView;

use crate::support::{
    Exported, KICKOFF, PATIENCE, Server, Setup, assert_disk_equals_store, assert_only_its_receipt_is_left,
    assert_receipts, get, polling_url, run_to_death, run_to_end, send, try_send, wait_settled,
};

/// The first commit of the process fails.
const FAULT: [&str; 2] = ["--fault", "commit:5:1"];

/// What the process said before it ended: no acknowledgement. It is never ready again.
pub fn assert_gives_up(mut server: Server, method: &str, url: &str, headers: &[(&str, &str)]) {
    let readyz = format!("{}/readyz", server.base.split("/r4/").next().unwrap());
    if let Ok(answer) = try_send(method, url, headers) {
        assert!(answer.status >= 500, "something was acknowledged: {answer:?}");
    }
    // Either nobody answers any more or the answer is red.
    if let Ok(answer) = try_send("GET", &readyz, &[]) {
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    assert_eq!(server.wait_exit().code(), Some(70));
}

#[test]
fn a_deletion_whose_commit_fails_is_not_acknowledged_and_the_job_is_as_before() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, manifest) = server.export("$export");
    let job = Exported::of(&polling, &manifest);
    server.kill();

    let server = setup.start_with(&FAULT);
    let url = polling_url(&server, &job.id);
    assert_gives_up(server, "DELETE", &url, &[]);

    let server = setup.start();
    job.assert_intact(&server);
    assert_eq!(send("DELETE", &polling_url(&server, &job.id), &[]).status, 202);
    assert_only_its_receipt_is_left(&setup, server, &job, "deleted");
}

#[test]
fn a_kickoff_whose_commit_fails_is_not_acknowledged_and_leaves_nothing() {
    let setup = Setup::new().set("retention.orphan_grace=0s").set("reaper.interval=50ms");
    let server = setup.start_with(&FAULT);
    let url = format!("{}/$export", server.base);
    assert_gives_up(server, "GET", &url, &KICKOFF);

    let [id] = &setup.disk().jobs("building")[..] else { panic!("its directory was made before the commit") };
    let server = setup.start();
    assert_eq!(get(&polling_url(&server, id)).outcome(), (404, "not-found".into()));
    wait_settled(&setup, &server, &BTreeSet::new());
    assert_eq!(setup.receipt(id)["reason"], "orphan");
    server.kill();
    assert_receipts(&setup, &BTreeSet::from([id.clone()]));
    assert_disk_equals_store(&setup);
}

#[test]
fn an_export_whose_commit_fails_ends_the_process_and_goes_on_in_the_next() {
    let setup = Setup::new().set("export.part_bytes=65536");
    let mut server = setup.start_with(&["--breakpoint", "part-sealed:3=kill"]);
    // The answer may be lost; the disk has the job's id.
    let _ = try_send("GET", &format!("{}/$export", server.base), &KICKOFF);
    server.wait_exit();
    let [id] = &setup.disk().jobs("building")[..] else { panic!("one job expected") };

    // The resumed job's first commit is of a sealed part, or of its completion.
    assert_eq!(run_to_end(&setup, &FAULT).code(), Some(70));

    run_to_death(&setup, &["--breakpoint", "moved-to-ready=kill"]);
    let server = setup.start();
    Exported::wait(&server, id).assert_is_the_source(&setup.source, |_| true);
    server.kill();
    assert_receipts(&setup, &BTreeSet::new());
    assert_disk_equals_store(&setup);
}

#[test]
fn an_erasure_whose_commit_fails_has_one_receipt_in_the_end() {
    let setup = Setup::new();
    let server = setup.start_with(&["--breakpoint", "sweep-begins=hold"]);
    let (polling, manifest) = server.export("$export?_type=Patient");
    let job = Exported::of(&polling, &manifest);
    assert_eq!(send("DELETE", &polling, &[]).status, 202);
    server.kill();

    // The first commit of this process is the erasure, and its receipt is appended by then.
    assert_eq!(run_to_end(&setup, &FAULT).code(), Some(70));
    assert_eq!(setup.receipts().len(), 1);

    let server = setup.start();
    assert_only_its_receipt_is_left(&setup, server, &job, "deleted");
}

/// A backend with a bug.
struct PanickingStore;

impl Store for PanickingStore {
    fn commit(&mut self, _: &[StoreEntry]) -> Result<Vec<EntryOutcome>, StoreError> {
        panic!("a bug in the backend");
    }

    fn load(&self) -> Result<Vec<StoredJob>, StoreError> {
        Ok(Vec::new())
    }

    fn load_job(&self, _: JobId) -> Result<Option<StoredJob>, StoreError> {
        Ok(None)
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn head(&self) -> Result<Option<ChainHead>, StoreError> {
        Ok(None)
    }
}

struct NoWitnesses;

impl OtherWitnesses for NoWitnesses {
    fn make_room(&mut self) -> bool {
        true
    }

    fn give_room(&mut self, _: JobId) -> SweepCounts {
        SweepCounts::default()
    }

    fn append_receipts(&mut self, _: &[receipts::ReceiptEntry]) -> Result<ChainHead, String> {
        Ok(ChainHead::EMPTY)
    }

    fn move_to_trash(&mut self, _: &[JobId]) -> Result<Vec<Result<(), String>>, String> {
        Ok(Vec::new())
    }
}

#[test]
fn a_store_that_panics_is_given_up_like_one_that_fails() {
    let (raised, reasons) = channel();
    let fatal = FatalHandler::new(move |reason| raised.send(reason.to_string()).unwrap());
    let (store, witnesses) = (Box::new(PanickingStore), Box::new(NoWitnesses));
    let committer =
        Committer::start(store, witnesses, Arc::new(LocalView::default()), Hooks::default(), fatal).unwrap();
    drop(committer.submit(DurableChange::Forget(JobId::random())));
    assert!(reasons.recv_timeout(PATIENCE).unwrap().contains("panic in a commit"));
    assert!(!committer.is_healthy());
}
