//! `evanesce fsck`: every disagreement between store, disk and receipts is told with its cause
//! and its cure, nothing is changed without leave, and after a repair there is none (P6, P7).

mod damage;
mod witnesses;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use evanesce::job::{JobRecord, JobState};
use evanesce::store::{EntryOutcome, SledStore, Store, StoreEntry};
use serde_json::Value;

use crate::support::{Exported, Setup, evanesce_command};

/// Runs it; gives its exit code, the findings, and what it says at the end.
fn fsck(setup: &Setup, arguments: &[&str]) -> (i32, Vec<Value>, String) {
    let mut command = evanesce_command();
    command.args(["fsck", "--json", "--data-dir"]).arg(setup.data_dir()).args(arguments);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let findings = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), findings, String::from_utf8(output.stderr).unwrap())
}

/// Everything below a folder with its bytes and modes: to see that nothing was changed.
fn everything(folder: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stat = std::fs::symlink_metadata(&path).unwrap();
            let content = if stat.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
            found.insert(path.clone(), (stat.mode(), content));
            if stat.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

/// A dry run finds this and changes nothing; a repair does what it says, after which there is
/// nothing left to find. `outcome` is what the repair makes of it.
#[track_caller]
fn assert_found_and_repaired(setup: &Setup, expected: &str, outcome: &str, leave: &str) {
    let before = everything(&setup.data_dir());
    let (code, findings, _) = fsck(setup, &["--dry-run"]);
    assert!(everything(&setup.data_dir()) == before, "a dry run changed something");
    let found = |findings: &[Value]| {
        findings.iter().find(|f| f["what"].as_str().unwrap().contains(expected)).cloned()
    };
    let finding = found(&findings).unwrap_or_else(|| panic!("{expected:?} is not in {findings:#?}"));
    for field in ["cause", "cure"] {
        assert!(!finding[field].as_str().unwrap().is_empty(), "{finding}");
    }
    let is_note = outcome == "note";
    assert_eq!(finding["outcome"], if is_note { "note" } else { "left" });
    assert_eq!(code, if is_note { 0 } else { 4 }, "{findings:#?}");

    let (code, findings, said) = fsck(setup, &[leave]);
    let finding = found(&findings).unwrap_or_else(|| panic!("{expected:?} is not in {findings:#?}"));
    assert_eq!(finding["outcome"], outcome, "{findings:#?}");
    assert_eq!(code, i32::from(!is_note), "{said}");
    let (code, findings, said) = fsck(setup, &[]);
    let left: Vec<_> = findings.iter().filter(|finding| finding["outcome"] != "note").collect();
    assert!(code == 0 && left.is_empty(), "{said}{left:#?}");
}

/// A stopped server's directory with a complete job in it.
fn stopped_with_a_job() -> (Setup, Exported) {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient,Encounter");
    let job = Exported::of(&polling, &manifest);
    server.kill();
    (setup, job)
}

/// Changes the record of a job behind everybody's back.
fn rewrite(setup: &Setup, job: &str, change: impl Fn(&JobRecord) -> JobState) {
    let mut store = open(setup);
    let stored = store.load().unwrap().into_iter().find(|stored| stored.record.id.to_string() == job);
    let record = stored.unwrap().record;
    let changed = record.next(change(&record));
    assert_eq!(store.commit(&[StoreEntry::Record(changed)]).unwrap(), [EntryOutcome::Applied]);
}

/// Makes the store forget a job.
fn forget(setup: &Setup, job: &str) {
    open(setup).commit(&[StoreEntry::Forget(job.parse().unwrap())]).unwrap();
}

fn open(setup: &Setup) -> SledStore {
    SledStore::open(&setup.data_dir().join("store")).unwrap()
}
