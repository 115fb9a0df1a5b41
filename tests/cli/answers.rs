//! What scripts read: each order is answered as JSON, and checks begin with their verdict.

use std::path::Path;

use serde_json::{Value, json};

use super::{done, ended, json, run};
use crate::support::{Setup, delete, evanesce_command, eventually, job_id};

/// What a command without a server prints, as JSON.
fn answer(arguments: &[&str]) -> Value {
    let mut command = evanesce_command();
    let (code, out, error) = ended(command.args(arguments).args(["-o", "json"]).output().unwrap());
    assert_eq!((code, error.as_str()), (0, ""), "{arguments:?}");
    json(&out)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn keys_applications_and_data_are_told_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let key = answer(&["keygen", "--out", text(&place("keys")), "--kid", "mine", "--alg", "ES384"]);
    let [private, public] = ["client-key.pem", "client-jwks.json"].map(|name| place("keys").join(name));
    let expected = json!({"kid": "mine", "alg": "ES384", "private": text(&private), "public": text(&public)});
    assert_eq!(key, expected);
    assert!(private.exists() && public.exists());

    let file = place("applications.toml");
    let app = |arguments: &[&str]| {
        let all = [&["app"], arguments, &["--tenant", "t", "--applications", text(&file)]].concat();
        answer(&all)
    };
    let told = |active: bool, changed: bool| json!({"tenant": "t", "client_id": "acme", "active": active, "changed": changed});
    let add = ["add", "--client-id", "acme", "--scopes", "system/*.rs", "--jwks-file", text(&public)];
    assert_eq!(app(&add), told(true, true));
    assert_eq!(app(&["enable", "acme"]), told(true, false));
    assert_eq!(app(&["disable", "acme"]), told(false, true));
    assert_eq!(app(&["disable", "acme"]), told(false, false));

    let out = place("data");
    let data = answer(&["generate", "--patients", "3", "--out", text(&out)]);
    let files = data["files"].as_array().unwrap();
    assert!(files.len() > 3, "{data}");
    for file in files {
        let bytes = std::fs::read(out.join(file["name"].as_str().unwrap())).unwrap();
        assert_eq!(
            (&file["bytes"], &file["resources"]),
            (&bytes.len().into(), &lines(&bytes).into()),
            "{file}"
        );
    }
    let sum = |name: &str| files.iter().map(|file| file[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((&data["bytes"], &data["resources"]), (&sum("bytes").into(), &sum("resources").into()));
    assert_eq!(data["broken_lines"], 0);
}

fn lines(text: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', text).count()
}

#[test]
fn orders_to_the_reaper_are_answered_as_json() {
    let setup = Setup::new();
    let _server = setup.start();
    let order = |arguments: &[&str]| json(&done(&setup, &[arguments, &["-o", "json"]].concat()));
    assert_eq!(order(&["reaper", "pause", "--reason", "a look"]), json!({"reaper": "paused"}));
    assert_eq!(order(&["reaper", "resume"]), json!({"reaper": "running"}));
    // What fails is told on standard error, with an exit code.
    let (code, out, error) = run(&setup, &["reaper", "resume", "-o", "json"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(error.contains("not paused"), "{error}");
}

#[test]
fn a_check_begins_with_its_verdict() {
    let setup = Setup::new();
    let server = setup.start();
    let polling = server.export("$export?_type=Patient").0;
    assert_eq!(delete(&polling).status, 202);
    setup.receipt(job_id(&polling));
    let erased = || json(&done(&setup, &["jobs", "-o", "json"]))[0]["state"] == "erased";
    eventually("the erasure in the store", || erased().then_some(()));
    server.kill();
    let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    let receipts = done(&setup, &["receipts", "verify"]);
    assert_eq!(first(&receipts), "whole: 1 line, each bound to the one before");
    let audit = done(&setup, &["audit", "verify"]);
    assert!(first(&audit).starts_with("whole: ") && first(&audit).contains(" lines, each bound"), "{audit}");
    let place = setup.data_dir();
    let fsck = done(&setup, &["fsck"]);
    assert!(
        first(&fsck).starts_with(&format!("{} is as it should be: 0 repaired", place.display())),
        "{fsck}"
    );

    let wrong = "ab".repeat(32);
    for chain in ["receipts", "audit"] {
        let (code, out, error) = run(&setup, &[chain, "verify", "--head", &wrong]);
        assert_eq!(code, 1, "{error}");
        assert!(first(&out).starts_with("wrong: the chain does not go through the head"), "{chain}: {out}");
        assert!(out.contains("\nhead ") && error.contains(&wrong), "{chain}: {out}{error}");
    }
    std::fs::write(place.join("ready/stranger"), "").unwrap();
    let (code, out, error) = run(&setup, &["fsck"]);
    assert_eq!(code, 4, "{error}");
    assert!(first(&out).contains(" is not as it should be: 0 repaired, 1 left"), "{out}");
    assert!(out.contains("\nleft: ready/stranger has the mode"), "{out}");
    assert!(error.contains("is not as it should be"), "{error}");

    let file = &place.join("receipts.ndjson");
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, text.replacen("\"deleted\"", "\"expired\"", 1)).unwrap();
    let (code, out, error) = run(&setup, &["receipts", "verify"]);
    assert_eq!((code, out.as_str()), (1, ""), "a broken chain has no figures");
    assert!(error.contains("line 1"), "{error}");
}
