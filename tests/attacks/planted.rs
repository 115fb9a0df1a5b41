//! Links that somebody with a foot in the machine plants in the data directory: nothing behind
//! them is served, nothing behind them is removed (P6).

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::*;

const SECRET: &str = "what stands outside of the data directory\n";

/// A folder beside the data directory, with a file.
fn outside() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret.ndjson");
    std::fs::write(&secret, SECRET).unwrap();
    (folder, secret)
}

/// A complete export: its polling URL, the URL of a file and where that stands.
fn exported(server: &Server) -> (String, String, PathBuf) {
    let (polling, manifest) = server.export("$export?_type=Patient");
    let url = file_of(&manifest);
    let name = url.rsplit('/').next().unwrap().to_string();
    let path = server.data_dir.join("ready").join(job_id(&polling)).join(name);
    assert!(path.is_file(), "{path:?}");
    (polling, url, path)
}

fn file_of(manifest: &Value) -> String {
    manifest["output"][0]["url"].as_str().unwrap().to_string()
}

#[test]
fn a_link_in_the_place_of_a_file_is_neither_served_nor_followed_when_it_goes() {
    let setup = Setup::new();
    let server = setup.start();
    let (_folder, secret) = outside();
    for target in [secret.clone(), PathBuf::from("/etc/passwd"), PathBuf::from("../../operator-token")] {
        let (polling, url, path) = exported(&server);
        std::fs::remove_file(&path).unwrap();
        symlink(&target, &path).unwrap();
        let answer = get(&url);
        assert_eq!(answer.status, 500, "{answer:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("outside"), "{answer:?}");
        assert_eq!(delete(&polling).status, 202);
        setup.receipt(job_id(&polling));
        assert!(!setup.disk().has(job_id(&polling)));
    }
    assert_eq!(std::fs::read_to_string(secret).unwrap(), SECRET);
    assert!(setup.data_dir().join("operator-token").is_file());
}

#[test]
fn a_link_in_the_place_of_a_jobs_directory_leads_nowhere() {
    let setup = Setup::new();
    let server = setup.start();
    let (folder, secret) = outside();
    let (polling, url, path) = exported(&server);
    let job = path.parent().unwrap();
    let name = path.file_name().unwrap();
    std::fs::rename(&path, folder.path().join(name)).unwrap();
    std::fs::remove_dir_all(job).unwrap();
    symlink(folder.path(), job).unwrap();
    let answer = get(&url);
    assert!(answer.status >= 400, "{answer:?}");
    assert!(matches!(delete(&polling).status, 202 | 404 | 500));
    assert!(get(&polling).status >= 400);
    // Whatever becomes of the link, what is behind it stays.
    let former = server.base.clone();
    server.kill();
    let server = setup.start();
    assert!(get(&url.replace(&former, &server.base)).status >= 400);
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), SECRET);
    assert!(folder.path().join(name).is_file(), "P6: it cannot leave the data directory");
}

#[test]
fn a_hard_link_to_a_file_is_told_in_the_receipt() {
    let setup = Setup::new();
    let server = setup.start();
    let (folder, _) = outside();
    let (polling, _, path) = exported(&server);
    std::fs::hard_link(&path, folder.path().join("copy")).unwrap();
    assert_eq!(delete(&polling).status, 202);
    let receipt = setup.receipt(job_id(&polling));
    assert_eq!(receipt["planted_links"], 1, "{receipt}");
    assert!(!setup.disk().has(job_id(&polling)));
}

#[test]
fn links_among_the_jobs_are_not_taken_for_jobs() {
    let setup = Setup::new().set("reaper.interval=20ms").set("retention.orphan_grace=20ms");
    let server = setup.start();
    let (folder, secret) = outside();
    let planted = uuid::Uuid::new_v4().to_string();
    for place in ["building", "ready", "trash"] {
        symlink(folder.path(), setup.data_dir().join(place).join(&planted)).unwrap();
    }
    let passes = || server.operator("readyz").json()["reaper"]["passes"].as_u64().unwrap();
    let before = passes();
    eventually("some passes of the reaper", || (passes() > before + 5).then_some(()));
    let ask = |server: &Server| {
        get(&format!("{}/bulk-api/download/{planted}/secret.ndjson", server.base)).outcome()
    };
    assert_eq!(ask(&server), (404, "not-found".into()));
    server.kill();
    let server = setup.start();
    assert_eq!(ask(&server), (404, "not-found".into()));
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), SECRET);
    let (_, url, _) = exported(&server);
    assert_eq!(get(&url).status, 200);
}
