//! The server's own files are removed, replaced or cut off under it. It notices within a pass,
//! `/readyz` is red meanwhile, and what it can write anew it does: nothing that is acknowledged
//! goes into a file that nobody will find.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::*;

/// Passes are so far apart that what they find can be seen.
fn setup() -> Setup {
    Setup::new().set("reaper.interval=300ms").set("reaper.watch=false")
}

fn export(server: &Server) -> Exported {
    let (polling, manifest) = server.export("$export?_type=Patient");
    Exported::of(&polling, &manifest)
}

fn erase(setup: &Setup, server: &Server, job: &Exported) {
    assert_eq!(delete(&polling_url(server, &job.id)).status, 202, "{}", setup.log());
    assert_erased(setup, server, &job.id, &job.files, &["deleted"]);
}

/// `/readyz` becomes red, says that this is missing, and becomes green again.
fn assert_noticed(server: &Server, name: &str) {
    eventually("a red readiness", || {
        let answer = server.operator("readyz");
        let missing = answer.json()["reaper"]["missing"].clone();
        (answer.status == 503 && missing.as_array().unwrap().contains(&name.into())).then_some(())
    });
    let public = get(&format!("{}/readyz", server.base.split("/r4/").next().unwrap()));
    assert!(!String::from_utf8_lossy(&public.body).contains("missing"), "{public:?}");
    assert_ready(server);
}

fn assert_ready(server: &Server) {
    eventually("a green readiness", || (server.operator("readyz").status == 200).then_some(()));
}

fn receipts(setup: &Setup) -> PathBuf {
    setup.data_dir().join("receipts.ndjson")
}

fn gaps(setup: &Setup) -> Vec<Value> {
    let summary = evanesce::receipts::verify(&receipts(setup)).unwrap();
    let gaps: Vec<_> = setup.chain().into_iter().filter(|entry| entry["kind"] == "gap").collect();
    assert_eq!(summary.gaps, gaps.len() as u64);
    gaps
}

#[test]
fn receipts_that_are_removed_or_replaced_are_written_anew_with_a_gap_that_binds_their_head() {
    fn replace(path: &Path) {
        std::fs::write(path.with_extension("x"), "{\"no\":\"chain\"}\n").unwrap();
        std::fs::rename(path.with_extension("x"), path).unwrap();
    }
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 3] = [
        ("removed", |path| std::fs::remove_file(path).unwrap()),
        ("replaced", replace),
        ("renamed", |path| std::fs::rename(path, path.with_extension("old")).unwrap()),
    ];
    for (what, harm) in harms {
        let setup = setup();
        let server = setup.start();
        let [first, second, third] = [(); 3].map(|()| export(&server));
        erase(&setup, &server, &first);
        let head = evanesce::receipts::verify(&receipts(&setup)).unwrap().head;
        harm(&receipts(&setup));
        assert_noticed(&server, "receipts.ndjson");
        let gaps_found = gaps(&setup);
        assert_eq!(gaps_found.len(), 1, "{what}");
        assert_eq!(gaps_found[0]["expected"]["count"], head.count, "{what}");
        assert_eq!(gaps_found[0]["expected"]["head"], head.hash.to_string(), "{what}");
        assert_eq!(gaps_found[0]["found"]["count"], 0, "{what}");
        // Nothing is lost, and the chain goes on.
        erase(&setup, &server, &second);
        wait_settled(&setup, &server, &BTreeSet::from([third.id.clone()]));
        server.kill();
        let server = setup.start();
        assert_hidden(&server, &first.id, &first.files);
        erase(&setup, &server, &third);
        wait_settled(&setup, &server, &BTreeSet::new());
        server.kill();
        let erased: Vec<_> = setup.receipts().iter().map(|receipt| receipt["job"].clone()).collect();
        assert_eq!(erased, [&first, &second, &third].map(|job| job.id.as_str()), "{what}");
        assert_eq!(gaps(&setup).len(), 1, "{what}: the store knows the new head");
        let kept = std::fs::read_dir(setup.data_dir()).unwrap().map(|entry| entry.unwrap().file_name());
        let replaced = kept.filter(|name| name.to_string_lossy().contains(".replaced-")).count();
        assert_eq!(replaced, usize::from(what == "replaced"), "what is not ours is not removed");
        assert_disk_equals_store(&setup);
    }
}

#[test]
fn receipts_that_are_cut_off_keep_what_is_left_and_holds_stay_in_force() {
    for left in ["nothing", "a part"] {
        let setup = setup();
        let server = setup.start();
        let [first, held] = [(); 2].map(|()| export(&server));
        erase(&setup, &server, &first);
        let order = format!("{}/admin/jobs/{}/hold", server.operators, held.id);
        let ordered =
            put(&order, &[("Authorization", &server.operator_token())], r#"{"reason":"a lawsuit"}"#);
        assert!(matches!(ordered.status, 200 | 204), "{ordered:?}");
        let text = std::fs::read(receipts(&setup)).unwrap();
        let first_line = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let length = if left == "nothing" { 0 } else { first_line + 20 };
        let file = std::fs::OpenOptions::new().write(true).open(receipts(&setup)).unwrap();
        file.set_len(length as u64).unwrap();
        assert_noticed(&server, "receipts.ndjson");
        let kinds: Vec<_> = setup.chain().iter().map(|entry| entry["kind"].clone()).collect();
        let expected: &[&str] =
            if left == "nothing" { &["gap", "hold"] } else { &["erasure", "gap", "hold"] };
        assert_eq!(kinds, expected);
        assert_eq!(gaps(&setup)[0]["expected"]["count"], 2);
        assert_eq!(delete(&polling_url(&server, &held.id)).status, 202);
        server.kill();
        // Over a restart too.
        let server = setup.start();
        assert_hidden(&server, &held.id, &held.files);
        assert_hidden(&server, &first.id, &first.files);
        assert_eq!(server.operator("readyz").json()["reaper"]["held"], 1);
        assert!(setup.disk().has(&held.id));
        assert_eq!(gaps(&setup).len(), 1);
    }
}

#[test]
fn an_erasure_whose_receipts_were_removed_before_any_pass_still_leaves_one() {
    let setup = Setup::new().set("reaper.interval=1h").set("reaper.watch=false");
    let server = setup.start();
    let job = export(&server);
    std::fs::remove_file(receipts(&setup)).unwrap();
    erase(&setup, &server, &job);
    assert_eq!(gaps(&setup).len(), 1);
}

#[test]
fn an_audit_log_that_is_removed_or_cut_off_is_begun_anew_and_says_so() {
    for what in ["the folder", "the file", "its end"] {
        let setup = setup();
        let server = setup.start();
        let folder = setup.data_dir().join("audit");
        let file = folder.join("audit-000000000001.ndjson");
        let first = export(&server);
        match what {
            "the folder" => std::fs::remove_dir_all(&folder).unwrap(),
            "the file" => std::fs::remove_file(&file).unwrap(),
            _ => std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(10).unwrap(),
        }
        assert_noticed(&server, "audit");
        erase(&setup, &server, &first);
        wait_settled(&setup, &server, &BTreeSet::new());
        server.kill();
        let mut kinds = Vec::new();
        let summary = evanesce::audit::walk(&folder, |item| {
            kinds.extend(evanesce::audit::LineFacts::read(item.text).map(|facts| facts.kind().to_string()));
            Ok::<_, evanesce::audit::AuditError>(())
        });
        assert!(!summary.unwrap().breaks.is_empty(), "{what}: that something is missing shows");
        assert_eq!(kinds.iter().filter(|kind| *kind == "audit-missing").count(), 1, "{what}: {kinds:?}");
        for kind in ["delete", "erase"] {
            assert!(kinds.iter().any(|found| found == kind), "{what}: {kind} in {kinds:?}");
        }
    }
}

#[test]
fn a_store_that_is_removed_ends_the_process_and_the_next_one_heals() {
    for harm in ["removed", "renamed"] {
        let setup = setup();
        let mut server = setup.start();
        let [kept, erased] = [(); 2].map(|()| export(&server));
        erase(&setup, &server, &erased);
        let store = setup.data_dir().join("store");
        match harm {
            "removed" => std::fs::remove_dir_all(store).unwrap(),
            _ => std::fs::rename(store, setup.folder.path().join("store")).unwrap(),
        }
        // A commit that comes before the next pass is no acknowledgement.
        if let Ok(answer) = try_send("DELETE", &polling_url(&server, &kept.id), &[]) {
            assert!(answer.status >= 500, "{answer:?}");
        }
        assert_eq!(server.wait_exit().code(), Some(70));
        let server = setup.start();
        assert_hidden(&server, &erased.id, &erased.files);
        kept.assert_intact(&server);
        erase(&setup, &server, &kept);
    }
}

#[test]
fn a_lock_a_socket_a_clock_and_a_ballast_that_are_removed_are_made_again() {
    let setup = setup();
    let server = setup.start();
    let path = |name: &str| setup.data_dir().join(name);
    for name in ["LOCK", "control.sock", "clock.json", "ballast", "ballast.1"] {
        eventually("the file", || path(name).exists().then_some(()));
        std::fs::remove_file(path(name)).unwrap();
        eventually("the file again", || path(name).exists().then_some(()));
    }
    assert!(
        setup.settled_log(&server).contains("the lock of the data directory was removed"),
        "{}",
        setup.settled_log(&server)
    );
    assert_ready(&server);
    UnixStream::connect(path("control.sock")).unwrap();
    let end = setup.try_launch(setup.command()).err().expect("one process at a time");
    assert_eq!(end.code(), Some(2));
    assert!(setup.log().contains("in use by another process"));
}

#[test]
fn a_data_directory_that_is_renamed_is_noticed_and_goes_on_when_it_is_back() {
    let setup = setup();
    let server = setup.start();
    let job = export(&server);
    let token = server.operator_token();
    let ready = || send("GET", &format!("{}/readyz", server.operators), &[("Authorization", &token)]);
    let elsewhere = setup.folder.path().join("elsewhere");
    std::fs::rename(setup.data_dir(), &elsewhere).unwrap();
    eventually("a red readiness", || (ready().status == 503).then_some(()));
    job.assert_intact(&server);
    // What is acknowledged goes along.
    let gone = export(&server);
    assert_eq!(delete(&polling_url(&server, &gone.id)).status, 202, "{}", setup.log());
    assert_hidden(&server, &gone.id, &gone.files);
    std::fs::rename(&elsewhere, setup.data_dir()).unwrap();
    eventually("a green readiness", || (ready().status == 200).then_some(()));
    erase(&setup, &server, &job);
    setup.receipt(&gone.id);
    assert_eq!(gaps(&setup).len(), 0);
}
