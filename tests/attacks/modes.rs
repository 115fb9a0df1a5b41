//! Whatever stands in the data directory is its owner's alone: 0700 and 0600.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::*;

fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Everything at `path` and below it whose mode is not what it should be.
fn wrong(path: &Path) -> Vec<String> {
    let stat = fs::symlink_metadata(path).unwrap();
    let (mode, right) = (stat.permissions().mode() & 0o7777, if stat.is_dir() { 0o700 } else { 0o600 });
    let mut found = Vec::new();
    if mode != right {
        found.push(format!("{} {mode:04o}", path.display()));
    }
    if stat.is_dir() {
        found.extend(fs::read_dir(path).unwrap().flat_map(|entry| wrong(&entry.unwrap().path())));
    }
    found
}

#[test]
fn everything_that_a_server_makes_is_for_its_owner_alone() {
    let mut setup = Setup::new().set("export.stored=gzip").set("reaper.interval=20ms");
    let server = setup.start();
    let (held, _) = server.export("$export?_type=Patient");
    let url = format!("{}/admin/jobs/{}/hold", server.operators, job_id(&held));
    let token = server.operator_token();
    assert_eq!(put(&url, &[("Authorization", &token)], r#"{"reason": "a case"}"#).status, 200);
    assert_eq!(delete(&held).status, 202);
    let (erased, _) = server.export("$export?_type=Patient");
    assert_eq!(delete(&erased).status, 202);
    setup.receipt(job_id(&erased));
    server.export("$export");
    eventually("the clock's file", || setup.data_dir().join("clock.json").exists().then_some(()));
    assert_eq!(wrong(&setup.data_dir()), [""; 0]);
    server.kill();

    let mut server = setup.start_with(&["--breakpoint", "part-sealed=hold"]);
    server.kickoff("$export");
    eventually("an export that stands still", || (setup.disk().jobs("building").len() == 1).then_some(()));
    assert_eq!(wrong(&setup.data_dir()), [""; 0]);
    server.child.kill().unwrap();
    server.wait_exit();

    // Files of tokens; and a server that ends by itself.
    setup.auth = "smart";
    let mut server = setup.start();
    assert_eq!(wrong(&setup.data_dir()), [""; 0]);
    server.signal(rustix::process::Signal::TERM);
    server.wait_exit();
    assert_eq!(wrong(&setup.data_dir()), [""; 0]);
}

#[test]
fn what_is_open_to_others_is_closed_at_a_start_and_by_fsck() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    let job = job_id(&polling).to_string();
    server.kill();
    let data_dir = setup.data_dir();
    let loose = |names: &[&str]| {
        for name in names {
            let path = data_dir.join(name);
            set(&path, if path.is_dir() { 0o755 } else { 0o644 });
        }
    };
    loose(&["", "store", "store/db", "store/conf"]);
    let server = setup.start();
    assert_eq!(wrong(&data_dir), [""; 0]);
    assert_eq!(get(&polling_url(&server, &job)).status, 200);
    server.kill();

    loose(&["", "store", "store/db", "receipts.ndjson", "ready"]);
    let fsck = |leave| {
        let mut command = evanesce_command();
        let output = command.args(["fsck", leave, "--data-dir"]).arg(&data_dir).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let told = fsck("--repair");
    for name in ["the data directory", "store", "store/db", "receipts.ndjson", "ready"] {
        assert!(told.contains(&format!("repaired: {name} has the mode")), "{name}: {told}");
    }
    assert_eq!(wrong(&data_dir), [""; 0]);
}
