//! Sources as they come: other line breaks, byte order marks, broken lines, odd names. A
//! broken line costs itself only, and is named without its content (P12).

use std::path::Path;

use super::*;

/// What must never be seen in a log.
const SECRET: &str = "Confidential-Name";

fn resource(resource_type: &str, id: &str) -> String {
    format!("{{\"id\":\"{id}\",\"resourceType\":\"{resource_type}\",\"text\":\"{SECRET} \u{e9} \\u00e9\"}}")
}

/// Writes a messy folder and gives the good lines of it.
fn make_mess(folder: &Path) -> Lines {
    let write = |name: &str, content: &[u8]| std::fs::write(folder.join(name), content).unwrap();
    let patients: Vec<_> = (0..6).map(|n| resource("Patient", &format!("p{n}"))).collect();
    // CRLF, blank lines, white space around, no newline at the end.
    let text = format!("\r\n{}\r\n\r\n  {}\t \r\n \t\r\n{}", patients[0], patients[1], patients[2]);
    write("Patient.ndjson", text.as_bytes());
    // As Synthea names them; with a byte order mark.
    write(
        "Organization.1721218811633.ndjson",
        format!("\u{feff}{}\n", resource("Organization", "o")).as_bytes(),
    );
    let mixed = [resource("Observation", "x"), patients[3].clone(), resource("Observation", "y")];
    write("mixed data (1).json", (mixed.join("\n") + "\n\n\n").as_bytes());
    // Longer than a block of the reader.
    let long = format!("{{\"resourceType\":\"Media\",\"data\":\"{}\"}}", "x".repeat(3 << 20));
    write("long", long.as_bytes());

    let broken: [&[u8]; 10] = [
        patients[4].as_bytes(),                                                // 1
        b"{\"resourceType\":\"Patient\",\"name\":\"Confidential-Name\"",       // 2: cut off
        b"",                                                                   // 3
        b"{\"id\":\"Confidential-Name\"}",                                     // 4: no type
        b"{\"resourceType\":\"Patient\",\"name\":\"Confidential-Name \xff\"}", // 5: not UTF-8
        b"{\"resourceType\":\"Elephant\",\"name\":\"Confidential-Name\"}",     // 6
        b"Confidential-Name",                                                  // 7
        b"[{\"resourceType\":\"Patient\",\"name\":\"Confidential-Name\"}]",    // 8
        b"{\"resourceType\":\"Patient\"} {\"name\":\"Confidential-Name\"}",    // 9
        patients[5].as_bytes(),                                                // 10
    ];
    write("broken.ndjson", &broken.join(&b"\r\n"[..]));
    let mut many = vec![resource("Goal", "first")];
    many.extend((0..150).map(|n| format!("{{\"resourceType\":\"Goal\",\"{SECRET}\":{n}")));
    many.push(resource("Goal", "last"));
    write("many.ndjson", many.join("\n").as_bytes());

    // Left out, with a warning.
    write("notes.txt", format!("about {SECRET}\n").as_bytes());
    write("empty.ndjson", b"");
    std::fs::create_dir(folder.join("sub")).unwrap();
    write("sub/Patient.ndjson", resource("Patient", "below").as_bytes());
    let not_utf8 = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff.ndjson");
    std::fs::write(folder.join::<&std::ffi::OsStr>(not_utf8), resource("Patient", "unnamed")).unwrap();
    std::os::unix::fs::symlink(folder.join("broken.ndjson"), folder.join("link.ndjson")).unwrap();

    let bytes = |lines: &[&str]| lines.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>();
    sorted(Lines::from([
        ("Patient".into(), patients.iter().map(|line| line.clone().into_bytes()).collect()),
        ("Organization".into(), bytes(&[&resource("Organization", "o")])),
        ("Observation".into(), bytes(&[&mixed[0], &mixed[2]])),
        ("Media".into(), bytes(&[&long])),
        ("Goal".into(), bytes(&[&many[0], &many[151]])),
    ]))
}

/// The texts of all outcomes of the manifest's `error` files, sorted.
fn error_texts(manifest: &Value) -> Vec<String> {
    let mut texts = Vec::new();
    for file in manifest["error"].as_array().unwrap() {
        assert_eq!(file["type"], "OperationOutcome", "MF-5");
        let answer = get(file["url"].as_str().unwrap());
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/fhir+ndjson"));
        for line in answer.body.strip_suffix(b"\n").unwrap().split(|b| *b == b'\n') {
            let json: Value = serde_json::from_slice(line).unwrap();
            assert_eq!(json["resourceType"], "OperationOutcome");
            let issue = [&json["issue"][0]["severity"], &json["issue"][0]["code"]];
            assert!(issue == ["error", "invalid"] || issue == ["warning", "not-supported"], "{json}");
            texts.push(json["issue"][0]["details"]["text"].as_str().unwrap().to_string());
        }
    }
    texts.sort();
    texts
}

#[test]
fn broken_lines_are_named_and_the_good_ones_come_out_as_they_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let expected = make_mess(folder.path());
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let (_, manifest) = server.export("$export");
    assert!(exported(&manifest) == expected);
    download_all(&manifest);

    let texts = error_texts(&manifest);
    let about = |name: &str| texts.iter().filter(|text| text.contains(name)).cloned().collect::<Vec<_>>();
    let expected = [
        (2, "is not valid JSON"),
        (4, "has no resourceType, or two"),
        (5, "is not UTF-8"),
        (6, "has a resourceType that is not of FHIR R4"),
        (7, "is not a JSON object"),
        (8, "is not a JSON object"),
        (9, "is not valid JSON"),
    ];
    let expected =
        expected.map(|(n, why)| format!("Line {n} of broken.ndjson {why}; it was left out of the export."));
    assert_eq!(about("broken.ndjson"), expected);
    let many = about("many.ndjson");
    assert_eq!(many.len(), 101);
    assert!(many.contains(&"50 more lines of many.ndjson were left out of the export.".into()));
    assert!(many.iter().any(|text| text.starts_with("Line 2 of many.ndjson")));
    assert!(many.iter().any(|text| text.starts_with("Line 101 of many.ndjson")));
    let not_read: Vec<_> = texts.iter().filter(|text| text.contains("nothing of it was exported")).collect();
    assert_eq!(not_read.len(), 4, "notes.txt, sub, a link, a name that is not UTF-8: {not_read:?}");
    assert_eq!(texts.len(), 7 + 101 + 4);

    let log = setup.settled_log(&server);
    assert!(!log.contains(SECRET), "P12: no content of the source in a log");
    let skipped = |file: &str, line: u64| {
        log.lines()
            .map(|text| serde_json::from_str::<Value>(text).unwrap())
            .any(|entry| entry["level"] == "WARN" && entry["file"] == file && entry["line"] == line)
    };
    for line in [2, 4, 5, 6, 7, 8, 9] {
        assert!(skipped("broken.ndjson", line), "line {line}");
    }
    assert!(!skipped("broken.ndjson", 1) && !skipped("broken.ndjson", 10));
    for name in ["sub", "link.ndjson"] {
        let entries = log.lines().filter(|text| text.contains("left out of the source"));
        assert_eq!(entries.filter(|text| text.contains(&format!("\"{name}\""))).count(), 1, "{name}");
    }
}

#[test]
fn line_numbers_are_those_of_the_file_however_it_is_cut_into_parts() {
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<_> = (1..=300)
        .map(|n| if n % 30 == 0 { "broken".into() } else { resource("Goal", &format!("g{n}")) })
        .collect();
    std::fs::write(folder.path().join("goals"), lines.join("\r\n")).unwrap();
    let setup = Setup::new().source(folder.path()).set("export.part_bytes=4096");
    let server = setup.start();
    let (_, manifest) = server.export("$export");
    let mut numbers: Vec<u32> =
        error_texts(&manifest).iter().map(|text| text.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=10).map(|n| 30 * n).collect::<Vec<_>>());
    assert_eq!(exported(&manifest)["Goal"].len(), 290);
}

#[test]
fn a_resource_whose_type_stands_far_behind_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (long, short) = ("x".repeat(200_000), resource("Patient", "next"));
    let line = format!("{{\"photo\":[{{\"data\":\"{long}\"}}],\"resourceType\":\"Patient\"}}");
    std::fs::write(folder.path().join("sorted-keys"), format!("\u{feff}\r\n{line}\n{short}\n")).unwrap();
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let (_, manifest) = server.export("$export");
    assert_eq!(exported(&manifest).get("Patient").map(Vec::len), Some(2));
}

#[test]
fn a_source_that_vanishes_fails_the_export_and_not_the_server() {
    let folder = copy_of_source();
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let away = folder.path().with_extension("away");
    std::fs::rename(folder.path(), &away).unwrap();
    let polling = server.kickoff("$export");
    let answer = eventually("the failure", || Some(get(&polling)).filter(|answer| answer.status != 202));
    assert_eq!((answer.status, answer.issue()), (500, ("fatal".into(), "processing".into())));
    let text = answer.json().to_string();
    assert!(text.contains("source data could not be read"), "{text}");
    assert!(!text.contains(folder.path().to_str().unwrap()), "{text}");
    std::fs::rename(&away, folder.path()).unwrap();
    assert!(exported(&server.export("$export").1) == lines_of(source()));
    assert_eq!(delete(&polling).status, 202);
}

#[test]
fn an_empty_source_gives_an_empty_export_that_says_so_and_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let (polling, manifest) = server.export("$export");
    assert_eq!((&manifest["output"], &manifest["error"][0]["count"]), (&serde_json::json!([]), &1.into()));
    let warned = |text: &str| text.contains("\"WARN\"") && text.contains("the export is empty");
    let log = setup.settled_log(&server);
    assert!(log.lines().any(warned), "{log}");
    assert_eq!(delete(&polling).status, 202);
    setup.disk().wait_gone(job_id(&polling));
}
