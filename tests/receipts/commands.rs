//! `evanesce receipts list|show|verify|export`: what they say and how they end.

use std::io::{BufRead, BufReader};

use super::*;

fn file(dir: &tempfile::TempDir) -> std::path::PathBuf {
    dir.path().join(receipts::FILE_NAME)
}

#[test]
fn a_list_has_a_header_and_one_aligned_line_for_each_entry() {
    let (dir, _) = chain_of(&every_kind());
    let list = receipts_of(dir.path(), &["list"]);
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines.len(), 9, "{list}");
    let expected = [
        "   ENTRY  WHEN                      KIND     ABOUT",
        "       1  2026-01-01T00:00:00.000Z  erasure  6b1f0e3c-5d0a-4b8e-9a57-0f6f1c2d3e4f  deleted         7 files   120.56 KiB  by c1",
        "       2  2026-01-01T01:00:00.000Z  hold     00000000-0000-4000-8000-000000000001  by ops: case 7",
        "       3  2026-01-01T02:00:00.000Z  release  00000000-0000-4000-8000-000000000001  by ops",
        "       4  2026-01-01T03:00:00.000Z  pause    the reaper  by ops: a move\\nof disks",
        "       5  2026-01-01T04:00:00.000Z  resume   the reaper  by ops",
        "       6  2026-01-01T05:00:00.000Z  prune    the first 3 entries",
        "       7  2026-01-01T06:00:00.000Z  gap      3 entries expected, 3 found",
        "       8  2026-01-01T07:00:00.000Z  erasure  00000000-0000-4000-8000-000000000001  expired         7 files   120.56 KiB",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_list_is_cut_down_by_instant_and_reason() {
    let entries = every_kind();
    let (dir, _) = chain_of(&entries);
    let kinds = |arguments: &[&str]| -> Vec<String> {
        let json = receipts_of(dir.path(), &[&["list", "--json"], arguments].concat());
        json_lines(&json).iter().map(|entry| entry["kind"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(kinds(&[]).len(), 8);
    assert_eq!(kinds(&["--since", "2026-01-01T05:00:00Z"]), ["prune", "gap", "erasure"]);
    assert_eq!(kinds(&["--since", "2026-01-01T06:00:00.001+01:00"]), ["gap", "erasure"]);
    assert_eq!(kinds(&["--reason", "deleted"]), ["erasure"]);
    assert_eq!(kinds(&["--reason", "deleted", "--since", "2026-01-01T01:00:00Z"]), [""; 0]);
    let json = receipts_of(dir.path(), &["list", "--json"]);
    let read: Vec<ReceiptEntry> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, entries);
    assert_eq!(receipts_of(dir.path(), &["export", "--format", "ndjson"]), json);
}

#[test]
fn a_job_is_shown_with_all_that_happened_to_it() {
    let (dir, heads) = chain_of(&every_kind());
    let shown = receipts_of(dir.path(), &["show", "00000000-0000-4000-8000-000000000001"]);
    for (count, kind) in [(2, "hold"), (3, "release"), (8, "erasure")] {
        let place = format!("Entry {count} of the chain, hash {}\n", heads[count - 1].hash);
        let entry = shown.split_once(&place).unwrap_or_else(|| panic!("{count}: {shown}")).1;
        let words: Vec<_> = entry.split_whitespace().take(2).collect();
        assert_eq!(words, ["kind", kind], "{shown}");
    }
    assert_eq!(shown.matches("Entry ").count(), 3);
    assert!(
        shown.contains("failed sweeps      2\n") && shown.contains("bytes              120.56 KiB\n"),
        "{shown}"
    );
    assert!(!shown.contains("null"), "what is not known is not there: {shown}");
    let json =
        json_lines(&receipts_of(dir.path(), &["show", "00000000-0000-4000-8000-000000000001", "-o", "json"]));
    let kinds: Vec<_> = json.iter().map(|entry| entry["entry"]["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["hold", "release", "erasure"]);
    assert_eq!((&json[0]["count"], &json[0]["hash"]), (&2.into(), &heads[1].hash.to_string().into()));
    let data_dir = dir.path().to_str().unwrap();
    let (code, out, error) =
        receipts(&["show", "00000000-0000-4000-8000-000000000002", "--data-dir", data_dir]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(error.contains("nothing of a job 00000000-0000-4000-8000-000000000002"), "{error}");
}

#[test]
fn a_whole_chain_is_verified_with_its_figures() {
    let (dir, heads) = chain_of(&every_kind());
    let expected = format!(
        "whole: 8 lines, each bound to the one before\ncount       8\nhead        {}\nfirst       2026-01-01T00:00:00Z\nlast        2026-01-01T07:00:00Z\n\
         erasures    2\ncheckpoint  none\ngaps        1\n",
        heads[7].hash
    );
    assert_eq!(receipts_of(dir.path(), &["verify"]), expected);
    let json = &json_lines(&receipts_of(dir.path(), &["verify", "--output", "json"]))[0];
    assert_eq!((&json["count"], &json["head"]), (&8.into(), &heads[7].hash.to_string().into()));
    assert_eq!((&json["erasures"], &json["checkpoint"]), (&2.into(), &serde_json::Value::Null));
    let empty = tempfile::tempdir().unwrap();
    let figures = receipts_of(empty.path(), &["verify"]);
    assert!(
        figures.starts_with("whole: 0 lines, each bound to the one before\ncount       0\n")
            && figures.contains("first       none\n"),
        "{figures}"
    );
    assert_eq!(receipts_of(empty.path(), &["list"]).lines().count(), 1, "the header");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0, "nothing is made by looking");
}

#[test]
fn a_head_that_was_written_down_is_looked_for() {
    let (dir, heads) = chain_of(&every_kind());
    let data_dir = dir.path().to_str().unwrap();
    let verify = |head: &ChainHead, count: Option<u64>| {
        let (head, count) = (head.hash.to_string(), count.map(|count| count.to_string()));
        let count: Vec<_> = count.iter().flat_map(|count| ["--count", count.as_str()]).collect();
        receipts(&[&["verify", "--data-dir", data_dir, "--head", &head], &count[..]].concat())
    };
    for (n, head) in heads.iter().enumerate() {
        assert_eq!(verify(head, None).0, 0);
        assert_eq!(verify(head, Some(n as u64 + 1)).0, 0);
        let (code, _, error) = verify(head, Some(n as u64 + 2));
        assert_eq!(code, 1);
        assert!(error.contains(&format!("does not go through the head {}", head.hash)), "{error}");
    }
    // Somebody rewrites all of it, correctly: only what was written down elsewhere tells.
    let (forged, _) = chain_of(&every_kind()[1..]);
    std::fs::copy(file(&forged), file(&dir)).unwrap();
    receipts_of(dir.path(), &["verify"]);
    assert_eq!(verify(&heads[7], None).0, 1);
    assert_eq!(verify(&ChainHead::EMPTY, Some(0)).0, 0, "where every chain begins");
}

#[test]
fn a_broken_chain_is_told_with_its_line_by_every_command() {
    let (dir, _) = chain_of(&every_kind());
    let text = std::fs::read_to_string(file(&dir)).unwrap();
    let out = dir.path().join("out");
    let data_dir = ["--data-dir", dir.path().to_str().unwrap()];
    let job = "6b1f0e3c-5d0a-4b8e-9a57-0f6f1c2d3e4f";
    let commands: [&[&str]; 7] = [
        &["verify"],
        &["list"],
        &["list", "--json"],
        &["show", job],
        &["export", "--format", "ndjson"],
        &["export", "--format", "fhir"],
        &["export", "--format", "fhir", "--out", out.to_str().unwrap()],
    ];
    for (damaged, line) in [
        (text.replace("case 7", "case 8"), 2),
        (
            text.lines()
                .filter(|line| !line.contains("\"resume\""))
                .map(|line| format!("{line}\n"))
                .collect(),
            5,
        ),
        (format!("{text}x\n"), 9),
    ] {
        std::fs::write(file(&dir), damaged).unwrap();
        for command in commands {
            let (code, _, error) = receipts(&[command, &data_dir].concat());
            assert_eq!(code, 1, "{command:?}");
            assert!(error.contains(&format!("receipts.ndjson, line {line}: ")), "{command:?}: {error}");
        }
        assert!(!out.exists(), "half an export would be taken for all of it");
    }
    // What stands before the broken line is shown.
    let (_, shown, _) = receipts(&[&["list"], &data_dir[..]].concat());
    assert_eq!(shown.lines().count(), 9);
    // A line without its end is an append that is going on.
    std::fs::write(file(&dir), format!("{text}{{\"entry\":{{\"kind")).unwrap();
    for command in commands {
        let (code, _, error) = receipts(&[command, &data_dir].concat());
        assert_eq!(code, 0, "{command:?}: {error}");
    }
}

#[test]
fn what_cannot_be_begun_says_why_and_exits_with_2() {
    let (dir, _) = chain_of(&every_kind());
    let data_dir = dir.path().to_str().unwrap();
    let nowhere = dir.path().join("nowhere");
    let (nowhere, there) = (nowhere.to_str().unwrap(), file(&dir));
    let there = there.to_str().unwrap();
    let cases: [(&[&str], &str); 10] = [
        (&[], "Usage"),
        (&["list", "--data-dir", nowhere], "there is no data directory"),
        (&["list", "--data-dir", data_dir, "--since", "yesterday"], "yesterday"),
        (&["list", "--data-dir", data_dir, "--reason", "bored"], "expected one of `cancelled`, `deleted`"),
        (&["list", "--data-dir", data_dir, "--set", "storage.dir=x"], "dir"),
        (&["show", "--data-dir", data_dir, "x"], "UUID"),
        (&["verify", "--data-dir", data_dir, "--head", "abc"], "64 hexadecimal digits"),
        (&["verify", "--data-dir", data_dir, "--count", "3"], "--head"),
        (&["export", "--data-dir", data_dir], "--format"),
        (&["export", "--data-dir", data_dir, "--format", "fhir", "--out", there], "exists"),
    ];
    let before = std::fs::read(there).unwrap();
    for (arguments, expected) in cases {
        let (code, out, error) = receipts(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?} should say {expected}: {error}");
    }
    assert!(std::fs::read(there).unwrap() == before, "the receipts themselves are never written over");
}

#[test]
fn the_data_directory_is_found_as_for_the_server() {
    let all = every_kind();
    let places = [1, 2, 3, 4].map(|count| chain_of(&all[..count]).0);
    let path = |n: usize| places[n].path().to_str().unwrap();
    let config = places[0].path().join("evanesce.toml");
    std::fs::write(&config, format!("[storage]\ndata_dir = {:?}\n", path(0))).unwrap();
    let count = |environment: bool, arguments: &[&str]| {
        let mut command = evanesce_command();
        command.args(["receipts", "verify", "--config"]).arg(&config).args(arguments);
        command.env_remove("EVANESCE_STORAGE__DATA_DIR");
        if environment {
            command.env("EVANESCE_STORAGE__DATA_DIR", path(1));
        }
        let (code, out, error) = run(&mut command);
        assert_eq!(code, 0, "{error}");
        out.lines().nth(1).unwrap().replace("count       ", "")
    };
    let set = format!("storage.data_dir={}", path(2));
    assert_eq!(count(false, &[]), "1");
    assert_eq!(count(true, &[]), "2");
    assert_eq!(count(true, &["--set", &set]), "3");
    assert_eq!(count(true, &["--set", &set, "--data-dir", path(3)]), "4");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (dir, _) = chain_of(&every_kind());
    let chain = ReceiptFile::open(dir.path()).unwrap();
    let many: Vec<_> = (0..5000).map(|_| every_kind().remove(0)).collect();
    chain.append(&many).unwrap();
    let mut command = evanesce_command();
    command.args(["receipts", "list", "--data-dir"]).arg(dir.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}

#[test]
fn receipts_are_read_while_the_server_runs_and_the_log_tells_their_head() {
    let setup = Setup::new();
    let server = setup.start();
    let jobs = [erase_one(&server), erase_one(&server)];
    let data_dir = setup.data_dir();
    let list = receipts_of(&data_dir, &["list", "--reason", "deleted"]);
    assert_eq!(list.lines().count(), 3, "{list}");
    assert!(jobs.iter().all(|job| list.contains(job)), "{list}");
    assert!(receipts_of(&data_dir, &["show", &jobs[0]]).contains("drained downloads  0"));
    let log = setup.settled_log(&server);
    let logged: Vec<_> =
        json_lines(&log).into_iter().filter(|line| line["message"] == "receipt appended").collect();
    assert_eq!(logged.len(), 2, "{log}");
    for line in &logged {
        let (count, head) = (line["count"].to_string(), line["head"].as_str().unwrap());
        receipts_of(&data_dir, &["verify", "--count", &count, "--head", head]);
    }
    assert_eq!(logged[1]["head"], head(&setup).hash.to_string());
}
