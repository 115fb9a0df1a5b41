//! Receipts seen from outside (P9): the commands that read them, the end of the chain that
//! the store remembers, and pruning.

mod commands;
mod fhir;
mod gaps;
mod proofs;
mod pruning;

use std::path::Path;
use std::process::{Command, Stdio};

use evanesce::receipts::{self, ChainHead, ReceiptChain, ReceiptEntry, ReceiptFile};
use serde_json::Value;

use crate::support::{Server, Setup, delete, evanesce_command, eventually, get, job_id};

/// `evanesce receipts` with these arguments, to its end: exit code, output, errors.
pub fn receipts(arguments: &[&str]) -> (i32, String, String) {
    let mut command = evanesce_command();
    run(command.arg("receipts").args(arguments))
}

fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// As `receipts`, of this data directory, which must succeed.
pub fn receipts_of(data_dir: &Path, arguments: &[&str]) -> String {
    let data_dir = ["--data-dir", data_dir.to_str().unwrap()];
    let (code, out, error) = receipts(&[arguments, &data_dir].concat());
    assert_eq!((code, error.as_str()), (0, ""), "{arguments:?}: {out}");
    out
}

/// Exports, deletes and waits until the erasure is durable everywhere; gives the job's id.
pub fn erase_one(server: &Server) -> String {
    let (polling, _) = server.export("$export?_type=Patient");
    assert_eq!(delete(&polling).status, 202);
    eventually("the erasure to be recorded", || {
        (server.operator("readyz").json()["reaper"]["marked"] == 0).then_some(())
    });
    job_id(&polling).into()
}

/// The end of the chain on disk.
pub fn head(setup: &Setup) -> ChainHead {
    receipts::verify(&setup.data_dir().join(receipts::FILE_NAME)).unwrap().head
}

/// A data directory with these entries and nothing else.
pub fn chain_of(entries: &[ReceiptEntry]) -> (tempfile::TempDir, Vec<ChainHead>) {
    let dir = tempfile::tempdir().unwrap();
    let chain = ReceiptFile::open(dir.path()).unwrap();
    let heads = entries.iter().map(|entry| chain.append(std::slice::from_ref(entry)).unwrap()).collect();
    (dir, heads)
}

/// Entries of every kind, an hour apart from 2026-01-01T00:00:00Z.
pub fn every_kind() -> Vec<ReceiptEntry> {
    let job = "6b1f0e3c-5d0a-4b8e-9a57-0f6f1c2d3e4f";
    let digits = "ab".repeat(32);
    let head = format!(r#"{{"count":3,"head":"{digits}"}}"#);
    let erasure = |hour: u32, job: &str, by: &str, reason: &str| {
        format!(
            r#"{{"kind":"erasure","job":"{job}","tenant":"t1","owner":"o1","reason":"{reason}","was":"complete","by":{by},
            "request_id":null,"submitted_at":"2025-12-31T00:00:00Z","marked_at":"2025-12-31T23:59:59.5Z","hidden_at":null,
            "last_byte_at":null,"gone_at":"2026-01-01T{hour:02}:00:00Z","files":7,"bytes":123456,"planted_links":0,
            "failed_sweeps":2,"last_error":"unlink: EBUSY","fenced_writers":0,"cut_downloads":1,"drained_downloads":3,
            "resumed":false}}"#
        )
    };
    let other = "00000000-0000-4000-8000-000000000001";
    [
        erasure(0, job, r#""c1""#, "deleted"),
        format!(
            r#"{{"kind":"hold","job":"{other}","at":"2026-01-01T01:00:00Z","by":"ops","reason":"case 7"}}"#
        ),
        format!(r#"{{"kind":"release","job":"{other}","at":"2026-01-01T02:00:00Z","by":"ops"}}"#),
        r#"{"kind":"pause","at":"2026-01-01T03:00:00Z","by":"ops","reason":"a move\nof disks"}"#.into(),
        r#"{"kind":"resume","at":"2026-01-01T04:00:00Z","by":"ops"}"#.into(),
        format!(r#"{{"kind":"prune","at":"2026-01-01T05:00:00Z","count":3,"head":"{digits}"}}"#),
        format!(r#"{{"kind":"gap","at":"2026-01-01T06:00:00Z","expected":{head},"found":{head}}}"#),
        erasure(7, other, "null", "expired"),
    ]
    .iter()
    .map(|text| serde_json::from_str(text).unwrap())
    .collect()
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
