//! A data directory that an earlier version left behind, killed in the middle of an export, is
//! taken over: nothing of it is lost, and what is deleted now goes as wholly as ever (P1, P2, P9,
//! P11). `tests/fixtures/README.md` says how it was made.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{
    Exported, Server, Setup, assert_erased, delete, evanesce_command, file_url, get, job_id, polling_url,
};

/// Where its server was seen by clients.
const PUBLIC: &str = "https://fhir.example.org/r4/default";

/// A copy of the data directory and of its source, and the ids of its jobs.
struct LeftBehind {
    setup: Setup,
    jobs: Value,
    manifest: Value,
}

impl LeftBehind {
    fn new() -> Self {
        let setup = Setup::new();
        unpack(setup.folder.path());
        let source = setup.folder.path().join("source");
        let read = |name: &str| -> Value {
            serde_json::from_slice(&std::fs::read(setup.folder.path().join(name)).unwrap()).unwrap()
        };
        let (jobs, manifest) = (read("jobs.json"), read("manifest.json"));
        let mut setup = setup.source(&source).set("export.part_bytes=4096");
        // It grows older and older.
        for kept in ["completed", "tombstones", "receipts"] {
            setup = setup.set(&format!("retention.{kept}=500years"));
        }
        Self { setup, jobs, manifest }
    }

    fn job(&self, name: &str) -> &str {
        self.jobs[name].as_str().unwrap()
    }

    /// What a command of the program says of the data directory; it is content.
    fn tell(&self, arguments: &[&str]) -> String {
        let mut command = evanesce_command();
        let output = command.args(arguments).arg("--data-dir").arg(self.setup.data_dir()).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{arguments:?}: {text}");
        text
    }
}

/// Unpacks the fixture with its modes.
fn unpack(to: &Path) {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/left-behind.tar.zst");
    let archive = zstd::decode_all(std::fs::File::open(packed).unwrap()).unwrap();
    let mut tar = Command::new("tar");
    let mut tar =
        tar.args(["-x", "-p", "--no-same-owner", "-C"]).arg(to).stdin(Stdio::piped()).spawn().unwrap();
    tar.stdin.take().unwrap().write_all(&archive).unwrap();
    assert!(tar.wait().unwrap().success());
}

/// The lines of an export, in any order.
fn lines(job: &Exported) -> Vec<&[u8]> {
    let mut lines: Vec<_> =
        job.files.iter().flat_map(|(_, text)| text.split_inclusive(|b| *b == b'\n')).collect();
    lines.sort();
    lines
}

#[test]
fn p11_a_data_directory_of_an_earlier_version_is_taken_over_and_nothing_of_it_is_lost() {
    let old = LeftBehind::new();
    let (complete, deleted, running) = (old.job("complete"), old.job("deleted"), old.job("running"));
    old.tell(&["fsck", "--dry-run"]);
    let server = old.setup.start();

    let mut manifest = old.manifest.clone();
    for file in manifest["output"].as_array_mut().unwrap() {
        file["url"] = file["url"].as_str().unwrap().replace(PUBLIC, &server.base).into();
    }
    assert_eq!(get(&polling_url(&server, complete)).json(), manifest);
    let complete = Exported::wait(&server, complete);
    for file in old.manifest["output"].as_array().unwrap() {
        let name = job_id(file["url"].as_str().unwrap());
        assert!(complete.files.iter().any(|(known, text)| known == name && !text.is_empty()), "{name}");
    }
    assert_eq!(get(&polling_url(&server, deleted)).outcome(), (404, "deleted".into()), "P2");

    // It goes on with the plan of its own version, and asks what was asked.
    let resumed = Exported::wait(&server, running);
    let (again, manifest) =
        server.export("$export?_since=2020-01-01T00:00:00Z&_typeFilter=Observation%3Fcategory%3Dlaboratory");
    let again = Exported::of(&again, &manifest);
    assert!(lines(&resumed) == lines(&again) && lines(&resumed).len() > 10);

    for job in [&complete, &resumed, &again] {
        assert_eq!(delete(&polling_url(&server, &job.id)).status, 202);
        assert_erased(&old.setup, &server, &job.id, &job.files, &["deleted"]);
    }
    assert!(old.setup.disk().files().is_empty());
    let erased: BTreeSet<_> = old.setup.receipts().iter().map(|it| it["job"].to_string()).collect();
    assert_eq!(erased.len(), 4, "P9");
    server.kill();
    for told in [&["receipts", "verify"][..], &["audit", "verify"], &["fsck", "--dry-run"]] {
        old.tell(told);
    }
}

#[test]
fn p1_an_export_that_an_earlier_version_began_can_be_cancelled() {
    let old = LeftBehind::new();
    let running = old.job("running");
    old.setup.brake(0);
    let server: Server = old.setup.start();
    let polling = polling_url(&server, running);
    assert_eq!(get(&polling).status, 202);
    assert_eq!(delete(&polling).status, 202);
    let receipt = assert_erased(&old.setup, &server, running, &[], &["cancelled"]);
    assert_eq!(receipt["was"], "running");
    assert_eq!(get(&file_url(&server, running, "x.ndjson")).outcome(), (404, "deleted".into()));
}
