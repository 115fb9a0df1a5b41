//! Strangers under the names of the server's own files: nothing waits for them, reads them whole or
//! removes them, and where the server can do without it starts all the same (P6, P13).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

use crate::support::*;

fn fifo(path: &Path) {
    let _ = fs::remove_file(path);
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

fn sparse(path: &Path) {
    fs::File::create(path).unwrap().set_len(3 << 30).unwrap();
}

fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn fsck(setup: &Setup, arguments: &[&str]) -> Vec<Value> {
    let mut command = evanesce_command();
    command.args(["fsck", "--json", "--data-dir"]).arg(setup.data_dir()).args(arguments);
    let output = command.output().unwrap();
    assert_ne!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A stopped server with a complete job and an erased one.
fn stopped() -> (Setup, Exported, Exported) {
    let setup = Setup::new().set("retention.orphan_grace=1h").set("reaper.interval=50ms");
    let server = setup.start();
    let of = |(polling, manifest): (String, Value)| Exported::of(&polling, &manifest);
    let kept = of(server.export("$export?_type=Patient"));
    let erased = of(server.export("$export?_type=Encounter"));
    assert_eq!(delete(&polling_url(&server, &erased.id)).status, 202);
    wait_settled(&setup, &server, &[kept.id.clone()].into());
    server.kill();
    (setup, kept, erased)
}

#[test]
fn what_has_a_jobs_name_and_is_no_directory_is_a_stranger() {
    let (setup, kept, erased) = stopped();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "x").unwrap();
    let mut strangers = Vec::new();
    for place in ["building", "ready", "trash"] {
        let names: [PathBuf; 3] = std::array::from_fn(|_| setup.data_dir().join(place).join(uuid()));
        fs::write(&names[0], "text").unwrap();
        fifo(&names[1]);
        symlink(outside.path(), &names[2]).unwrap();
        strangers.extend(names);
    }
    // In the way of the job itself, and of its erasure.
    for name in
        [format!("building/{}", kept.id), format!("trash/{}", kept.id), format!("trash/{}", erased.id)]
    {
        let name = setup.data_dir().join(name);
        fifo(&name);
        strangers.push(name);
    }
    let told = fsck(&setup, &[]);
    let told = told.iter().filter(|f| f["what"].as_str().unwrap().contains("did not make")).count();
    assert_eq!(told, strangers.len());

    let server = setup.start();
    kept.assert_intact(&server);
    eventually("the strangers to be counted", || {
        (server.operator("readyz").json()["reaper"]["strangers"] == strangers.len()).then_some(())
    });
    assert_eq!(delete(&polling_url(&server, &kept.id)).status, 202);
    setup.receipt(&kept.id);
    eventually("the erasure", || (server.operator("readyz").json()["reaper"]["marked"] == 0).then_some(()));
    server.kill();
    let server = setup.start();
    assert_eq!(get(&polling_url(&server, &kept.id)).outcome(), (404, "deleted".into()));
    assert!(!setup.data_dir().join("ready").join(&kept.id).exists());
    for stranger in strangers {
        assert!(fs::symlink_metadata(&stranger).is_ok(), "{} is gone", stranger.display());
    }
    assert!(outside.path().join("secret").is_file());
    server.export("$export?_type=Patient");
}

#[test]
fn what_has_a_documents_name_is_neither_waited_for_nor_read_whole() {
    let (setup, kept, _) = stopped();
    let mut documents = Vec::new();
    // Of directories without a record, and of the job that is served.
    for place in ["ready", "building"] {
        for document in ["request.json", "plan.json", "job.json"] {
            for kind in 0..4 {
                let folder = setup.data_dir().join(place).join(uuid());
                fs::create_dir(&folder).unwrap();
                documents.push((folder.join(document), kind));
            }
        }
    }
    let of_kept = setup.data_dir().join("ready").join(&kept.id);
    for (document, kind) in [("request.json", 0), ("plan.json", 3), ("job.json", 1)] {
        fs::remove_file(of_kept.join(document)).unwrap();
        documents.push((of_kept.join(document), kind));
    }
    for (path, kind) in &documents {
        match kind {
            0 => fifo(path),
            1 => fs::create_dir(path).unwrap(),
            2 => symlink("/etc/passwd", path).unwrap(),
            _ => sparse(path),
        }
    }
    let told = fsck(&setup, &[]);
    let of_documents = told.iter().filter(|f| f["what"].as_str().unwrap().contains("is not a document"));
    assert_eq!(of_documents.count(), 3, "{told:#?}");

    let server = setup.start();
    kept.assert_intact(&server);
    let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 500_000, "{kilobytes} kB");
    server.export("$export?_type=Patient");
    // What nobody knows and has such a `job.json` is no export of this server: it stays.
    let unknown =
        documents.iter().filter(|(path, _)| path.ends_with("job.json") && !path.starts_with(&of_kept));
    for (path, _) in unknown {
        assert!(fs::symlink_metadata(path).is_ok(), "{} is gone", path.display());
    }
    setup.wait_logged("watched as an orphan");
}

#[test]
fn a_numbered_directory_of_an_erased_job_goes_whatever_its_number() {
    let (setup, kept, erased) = stopped();
    let trash = setup.data_dir().join("trash");
    let plant = |n: &str| {
        let folder = trash.join(format!("{}.{n}", erased.id));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("X_Patient.ndjson"), "{}\n").unwrap();
    };
    let numbers = ["1", "3", "9999", "10000", "007", "99999999999999999999999"];
    numbers.iter().for_each(|n| plant(n));
    let server = setup.start();
    wait_settled(&setup, &server, &[kept.id.clone()].into());
    numbers.iter().for_each(|n| plant(n));
    wait_settled(&setup, &server, &[kept.id.clone()].into());
    // And of a job that is deleted while it stands there.
    fs::create_dir(trash.join(format!("{}.9999", kept.id))).unwrap();
    assert_eq!(delete(&polling_url(&server, &kept.id)).status, 202);
    wait_settled(&setup, &server, &[].into());
    assert_erased(&setup, &server, &kept.id, &kept.files, &["deleted"]);
}

#[test]
fn what_can_be_made_again_or_done_without_stops_no_start() {
    let (setup, kept, _) = stopped();
    let data_dir = setup.data_dir();
    let index = data_dir.join("index/default");
    let segments = fs::read_dir(&index).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    assert!(!segments.is_empty());
    segments.iter().for_each(|segment| fifo(segment));
    segments.iter().for_each(|segment| fifo(&segment.with_extension("new")));
    let left = ["audit/audit-000000000900.ndjson", "audit/other", "store/other", "other"];
    left.iter().for_each(|name| fifo(&data_dir.join(name)));
    fifo(&data_dir.join("clock.json"));
    fifo(&data_dir.join("clock.json.tmp"));
    for name in ["receipts.ndjson.new", "receipts.heads.new", "receipts.key.new"] {
        fifo(&data_dir.join(name));
    }
    fifo(&data_dir.join("control.sock"));
    fsck(&setup, &[]);
    let server = setup.start();
    kept.assert_intact(&server);
    server.export("$export?_type=Patient");
    assert_eq!(server.operator("readyz").status, 200);
    for name in left {
        assert!(fs::symlink_metadata(data_dir.join(name)).is_ok(), "{name} is gone");
    }
    server.kill();
    let server = setup.start();
    assert_eq!(server.operator("readyz").status, 200);
}

#[test]
fn what_the_server_cannot_do_without_ends_the_start_with_its_name() {
    let (mut setup, kept, _) = stopped();
    setup.auth = "smart";
    setup.start().kill();
    let data_dir = setup.data_dir();
    let names = [
        "LOCK",
        "receipts.ndjson",
        "receipts.tree",
        "receipts.heads",
        "receipts.key",
        "auth/keys.json",
        "auth/replay-77",
        "operator-token",
        "store/db",
        "store/snap.1",
    ];
    for name in names {
        let path = data_dir.join(name);
        let aside = setup.folder.path().join("aside");
        let was_there = fs::rename(&path, &aside).is_ok();
        fifo(&path);
        let before = setup.log().lines().count();
        let end = setup.try_launch(setup.command()).err().unwrap_or_else(|| panic!("{name} was not missed"));
        assert_eq!(end.code(), Some(2), "{name}: {end:?}\n{}", setup.log());
        let base = name.rsplit('/').next().unwrap();
        let log = setup.log();
        // Another thread may have the last word.
        assert!(log.lines().skip(before).any(|line| line.contains(base)), "{name}: {log}");
        fs::remove_file(&path).unwrap();
        if was_there {
            fs::rename(&aside, &path).unwrap();
        }
    }
    setup.auth = "none";
    kept.assert_intact(&setup.start());
}

#[test]
fn files_that_settings_name_are_regular_and_no_larger_than_they_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, huge) = (folder.path().join("pipe"), folder.path().join("huge"));
    fifo(&pipe);
    sparse(&huge);
    for path in [pipe, huge] {
        let path = path.to_str().unwrap();
        for (arguments, auth) in [
            (vec!["--config".to_string(), path.into()], "none"),
            (vec!["--set".into(), format!("auth.applications={path}")], "smart"),
            (vec!["--set".into(), format!("admin.token_file={path}")], "none"),
        ] {
            let mut setup = Setup::new();
            setup.auth = auth;
            let mut command = setup.command();
            command.args(&arguments);
            let end = setup.try_launch(command).err().unwrap_or_else(|| panic!("{arguments:?} was taken"));
            assert_eq!(end.code(), Some(2), "{arguments:?}: {}", setup.log());
        }
    }
}
