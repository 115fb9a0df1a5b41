//! Which files are read and which are not, and what a client is told of those that are not: a file
//! is read to its end before it is said to have no resource, and nothing is left out in silence.

use super::*;

/// The outcomes of the manifest's `error` files: severity and text, sorted.
pub fn told(manifest: &Value) -> Vec<(String, String)> {
    let mut told = Vec::new();
    for file in manifest["error"].as_array().unwrap() {
        let body = get(file["url"].as_str().unwrap()).body;
        for line in body.strip_suffix(b"\n").unwrap().split(|b| *b == b'\n') {
            let json: Value = serde_json::from_slice(line).unwrap();
            let issue = &json["issue"][0];
            let text = |value: &Value| value.as_str().unwrap().to_string();
            told.push((text(&issue["severity"]), text(&issue["details"]["text"])));
        }
    }
    told.sort();
    told
}

/// What is told when a source of one good file, `good`, has these files too.
fn told_of(files: &[(&str, &[u8])]) -> (Setup, Server, TempDir, Vec<(String, String)>) {
    let folder = scratch();
    std::fs::write(folder.path().join("good"), resource("Basic", "good", "x")).unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let (_, manifest) = server.export("$export");
    assert_same(&exported(&manifest), &lines_of(resource("Basic", "good", "x").as_bytes()));
    let told = told(&manifest);
    (setup, server, folder, told)
}

/// Pairs of texts as [`told`] gives them.
pub fn said(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut said: Vec<_> =
        expected.iter().map(|(grade, text)| (grade.to_string(), text.to_string())).collect();
    said.sort();
    said
}

pub fn left_out(server: &Server, reason: &str) -> f64 {
    server.metric(&format!("evanesce_source_left_out_files{{reason=\"{reason}\"}}"))
}

#[test]
fn good_lines_are_found_however_much_that_is_none_stands_before_them() {
    let torn = format!("{{\"resourceType\":\"Basic\",\"x\":\"{}\n", "x".repeat(70_000));
    let nothing = [
        ("broken", torn.into_bytes()),
        ("nulls", [vec![0; 64 << 10], vec![b'\n']].concat()),
        ("blank", b" \r\n".repeat(30_000)),
        ("comments", b"# a comment\n".repeat(10_000)),
        ("long", [vec![b'x'; 20 << 20], vec![b'\n']].concat()),
    ];
    let folder = scratch();
    let mut expected = String::new();
    for (name, before) in &nothing {
        let good: String = (0..1000).map(|n| resource("Basic", format!("{name}-{n}"), "x")).collect();
        std::fs::write(folder.path().join(name), [before, good.as_bytes()].concat()).unwrap();
        expected += &good;
    }
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let (_, manifest) = server.export("$export");
    assert_same(&exported(&manifest), &lines_of(expected.as_bytes()));
    let texts = broken(&manifest);
    assert!(texts.contains(&about(1, "broken", "is not valid JSON")), "{texts:?}");
    assert!(texts.contains(&about(1, "nulls", "is not a JSON object")), "{texts:?}");
    assert!(texts.contains(&"9900 more lines of comments were left out of the export.".into()), "{texts:?}");
    assert!(!texts.iter().any(|text| text.contains("blank")), "{texts:?}");
}

#[test]
fn a_file_without_a_resource_is_named_once_with_its_lines_and_counted() {
    let (setup, server, _folder, told) = told_of(&[
        ("README.md", b"# About\n\nthe data\n"),
        ("blank", b" \r\n\n"),
        ("empty", b""),
        ("torn", b"{\"resourceType\":\"Patient\",\"name\":\"Confidential\"\n{\"resourceType\":\"Patient\",\"name\":\"Confidential\"\n"),
        ("package.json", b"{\n  \"name\": \"x\"\n}\n"),
    ]);
    let expected = said(&[
        (
            "error",
            "README.md has no FHIR resource: line 1 is not a JSON object; nothing of it was exported, 2 lines in all.",
        ),
        ("error", "blank has no FHIR resource: it is blank; nothing of it was exported, 0 lines in all."),
        (
            "error",
            "torn has no FHIR resource: line 1 is not valid JSON; nothing of it was exported, 2 lines in all.",
        ),
        (
            "error",
            "package.json is JSON over several lines, not a resource a line; nothing of it was exported, 3 lines in all.",
        ),
    ]);
    assert_eq!(told, expected);
    assert_eq!(left_out(&server, "no-resource"), 4.0);
    let log = setup.settled_log(&server);
    assert!(!log.contains("Confidential"), "P12");
    let lines = log.lines().filter(|line| line.contains("has no resource") && line.contains("README.md"));
    assert_eq!(lines.count(), 1, "{log}");
}

#[test]
fn printed_resources_arrays_and_bundles_are_told_with_counts() {
    let patient = "{\"resourceType\":\"Patient\",\"id\":\"p\"}";
    let array = format!("[\n  {patient},\n  {patient}\n]\n");
    let in_one_line = format!("\u{feff} [{patient},{patient}]");
    let printed = "{\n  \"resourceType\": \"Patient\",\n  \"id\": \"p\"\n}\n".repeat(3);
    let bundle = |kind: &str, count: usize| {
        let entries = vec![format!("{{\"resource\":{patient},\"request\":{{\"method\":\"PUT\"}}}}"); count];
        format!("{{\"resourceType\":\"Bundle\",\"type\":\"{kind}\",\"entry\":[{}]}}\n", entries.join(","))
    };
    let bundles = ["collection", "searchset", "batch", "transaction"].map(|kind| bundle(kind, 3)).concat();
    let deletion = "{\"resourceType\":\"Bundle\",\"type\":\"transaction\",\"entry\":[{\"request\":{\"method\":\"DELETE\",\"url\":\"Patient/q\"}}]}\n";
    let one = bundle("collection", 1) + deletion + &bundle("collection", 0);
    let (_setup, _server, _folder, told) = told_of(&[
        ("array.json", array.replace("  {\"resourceType\":\"Patient\",\"id\":\"p\"}\n", "  7\n").as_bytes()),
        ("flat.json", in_one_line.as_bytes()),
        ("printed.json", printed.as_bytes()),
        ("bundles.ndjson", bundles.as_bytes()),
        ("deleted.ndjson", deletion.as_bytes()),
        ("one.ndjson", one.as_bytes()),
        ("log.txt", b"[INFO] started\n"),
    ]);
    let expected = said(&[
        (
            "error",
            "array.json is a JSON array, not a resource a line; nothing of it was exported, 4 lines in all.",
        ),
        (
            "error",
            "flat.json is a JSON array, not a resource a line; nothing of it was exported, 1 line in all.",
        ),
        (
            "error",
            "printed.json is JSON over several lines, not a resource a line; nothing of it was exported, 12 lines in all.",
        ),
        (
            "warning",
            "bundles.ndjson has 12 resources inside of 4 Bundles; a resource is exported only if it has a line of its own.",
        ),
        (
            "warning",
            "one.ndjson has 1 resource inside of 1 Bundle; a resource is exported only if it has a line of its own.",
        ),
        (
            "error",
            "log.txt has no FHIR resource: line 1 is not a JSON object; nothing of it was exported, 1 line in all.",
        ),
    ]);
    assert_eq!(told, expected);
}

#[test]
fn compressed_files_and_other_encodings_are_told_to_clients_and_operators() {
    let patient = resource("Patient", "p", "x");
    let wide = |mark: Option<u16>, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        mark.into_iter().chain(patient.encode_utf16()).flat_map(bytes).collect()
    };
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(patient.as_bytes()).unwrap();
    let (setup, server, _folder, told) = told_of(&[
        ("Patient.ndjson.gz", &gzip.finish().unwrap()),
        ("Patient.ndjson.zst", &zstd::encode_all(patient.as_bytes(), 1).unwrap()),
        ("le", &wide(Some(0xfeff), u16::to_le_bytes)),
        ("be", &wide(Some(0xfeff), u16::to_be_bytes)),
        ("le-bare", &wide(None, u16::to_le_bytes)),
        ("be-bare", &wide(None, u16::to_be_bytes)),
    ]);
    let compressed = "is compressed; files are read only uncompressed; nothing of it was exported.";
    let utf16 = "is in UTF-16 or UTF-32; files are read only in UTF-8; nothing of it was exported.";
    let texts = [
        ("Patient.ndjson.gz", compressed),
        ("Patient.ndjson.zst", compressed),
        ("le", utf16),
        ("be", utf16),
        ("le-bare", utf16),
        ("be-bare", utf16),
    ];
    let texts = texts.map(|(name, text)| format!("{name} {text}"));
    let expected: Vec<_> = texts.iter().map(|text| ("error", &**text)).collect();
    assert_eq!(told, said(&expected));
    assert_eq!((left_out(&server, "compressed"), left_out(&server, "utf-16")), (2.0, 4.0));
    server.export("$export");
    let log = setup.settled_log(&server);
    for (name, ..) in &told.iter().map(|(_, text)| text.split_once(' ').unwrap()).collect::<Vec<_>>() {
        let line =
            |line: &&str| line.contains("left out of the source") && line.contains(&format!("\"{name}\""));
        assert_eq!(log.lines().filter(line).count(), 1, "{name}");
    }
}

#[test]
fn what_is_no_regular_file_is_told_without_a_path() {
    let folder = folder_of(resource("Basic", 1, "x"));
    std::fs::create_dir(folder.path().join("folder.ndjson")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("a.ndjson"), folder.path().join("link")).unwrap();
    super::folder::make_fifo(&folder.path().join("fifo"));
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let (_, manifest) = server.export("$export");
    let expected = said(&[
        ("warning", "fifo is not a regular file; nothing of it was exported."),
        ("warning", "folder.ndjson is a folder; nothing of it was exported."),
        ("warning", "link is a symbolic link, and links are not followed; nothing of it was exported."),
    ]);
    assert_eq!(told(&manifest), expected);
    for reason in ["folder", "link", "special"] {
        assert_eq!(left_out(&server, reason), 1.0, "{reason}");
    }
    // What is gone is told no more, and neither counted.
    std::fs::remove_file(folder.path().join("fifo")).unwrap();
    assert_eq!(told(&server.export("$export").1).len(), 2);
    assert_eq!(left_out(&server, "special"), 0.0);
}

#[test]
fn p13_a_hundred_files_are_named_and_the_rest_are_counted() {
    let folder = scratch();
    for n in 0..103 {
        std::fs::write(folder.path().join(format!("barren-{n}")), "x\ny\n").unwrap();
        std::fs::create_dir(folder.path().join(format!("folder-{n}"))).unwrap();
        std::fs::write(folder.path().join(format!("good-{n}")), resource("Basic", n, "x")).unwrap();
    }
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let (_, manifest) = server.export("$export");
    assert_eq!(exported(&manifest).len(), 103);
    let texts = broken(&manifest);
    let begin = |with: &str| texts.iter().filter(|text| text.starts_with(with)).count();
    assert_eq!((begin("barren-"), begin("folder-"), texts.len()), (100, 100, 202));
    assert!(texts.contains(&"6 more lines of the source were left out of the export.".into()), "{texts:?}");
    assert!(texts.contains(&"Nothing of 3 more files was exported.".into()), "{texts:?}");
    assert_eq!((left_out(&server, "no-resource"), left_out(&server, "folder")), (103.0, 103.0));
}

#[test]
fn p13_a_large_file_without_resources_is_read_once_and_takes_next_to_no_memory() {
    let folder = folder_of(resource("Basic", 1, "x"));
    let garbage = b"x\n".repeat(12 << 20);
    std::fs::write(folder.path().join("garbage"), &garbage).unwrap();
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let expected = lines_of(resource("Basic", 1, "x").as_bytes());
    assert_exports(&server, &expected);
    let indexed = indexed_bytes(&server);
    assert!(indexed > garbage.len() as u64, "{indexed}");
    let memory = server.metric("evanesce_index_resident_bytes");
    assert!(memory < 50_000.0, "{memory} bytes for {} lines", garbage.len() / 2);
    assert_exports(&server, &expected);
    assert_eq!(indexed_bytes(&server), indexed, "it was read once more");
    server.kill();
    let server = setup.start();
    assert_exports(&server, &expected);
    assert_eq!(indexed_bytes(&server), 0, "it was read once more after a restart");
}

#[test]
fn hidden_backup_and_partial_files_are_not_read_and_do_not_win_by_their_names() {
    let folder = scratch();
    let write = |name: &str, id: &str, text: &str| {
        std::fs::write(folder.path().join(name), resource("Patient", id, text)).unwrap();
    };
    write("Patient.ndjson", "p", "the right one");
    let leftovers = [
        ".Patient.ndjson.Xy12",
        ".hidden",
        "Patient.ndjson.bak",
        "Patient.ndjson.filepart",
        "Patient.ndjson.part",
        "Patient.ndjson.swp",
        "Patient.ndjson.tmp",
        "Patient.ndjson.orig",
        "Patient.ndjson.old",
        "Patient.ndjson.crdownload",
        "Patient.ndjson~",
        "Z.BAK",
    ];
    leftovers.iter().for_each(|name| write(name, "p", "a wrong one"));
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    for _ in 0..2 {
        let (_, manifest) = server.export("$export");
        assert_same(&exported(&manifest), &lines_of(resource("Patient", "p", "the right one").as_bytes()));
        assert_eq!(told(&manifest), [], "leftovers are nobody's data");
    }
    assert_eq!(left_out(&server, "leftover"), leftovers.len() as f64);
    let log = setup.settled_log(&server);
    for name in leftovers {
        let line =
            |line: &&str| line.contains("left out of the source") && line.contains(&format!("\"{name}\""));
        assert_eq!(log.lines().filter(line).count(), 1, "{name}");
    }
}

#[test]
fn an_older_version_that_wins_by_the_order_of_files_is_warned_of_and_counted() {
    let dated = |id: &str, year: u32| {
        format!(
            "{{\"resourceType\":\"Basic\",\"id\":\"{id}\",\"meta\":{{\"lastUpdated\":\"{year}-01-01T00:00:00Z\"}}}}\n"
        )
    };
    let deletes = |id: &str, year: u32| {
        format!(
            "{{\"resourceType\":\"Bundle\",\"type\":\"transaction\",\"timestamp\":\"{year}-01-01T00:00:00Z\",\"entry\":[{{\"request\":{{\"method\":\"DELETE\",\"url\":\"Basic/{id}\"}}}}]}}\n"
        )
    };
    let undated = resource("Basic", "undated", "x");
    let folder = scratch();
    let write = |name: &str, lines: &[String]| {
        std::fs::write(folder.path().join(name), lines.concat()).unwrap();
    };
    write("a-newer", &[dated("p", 2024), dated("q", 2024), dated("gone", 2024), dated("undated", 2024)]);
    // In the right order, and of unknown age: no reason to warn.
    write("b", &[dated("r", 2020), dated("r", 2021), dated("s", 2022), dated("s", 2022), undated.clone()]);
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    server.export("$export");
    assert_eq!(server.metric("evanesce_index_outdated_resources"), 0.0);
    assert!(!setup.settled_log(&server).contains("older versions"));

    write("c-older", &[dated("p", 2020), dated("q", 2020), deletes("gone", 2020)]);
    let expected = [dated("p", 2020), dated("q", 2020), dated("r", 2021), dated("s", 2022), undated];
    for _ in 0..2 {
        assert_exports(&server, &lines_of(expected.concat().as_bytes()));
    }
    assert_eq!(server.metric("evanesce_index_outdated_resources"), 3.0);
    let log = setup.settled_log(&server);
    let warned: Vec<_> = log.lines().filter(|line| line.contains("older versions")).collect();
    assert_eq!(warned.len(), 1, "{log}");
    assert!(warned[0].contains("\"resources\":3") && warned[0].contains("c-older"), "{warned:?}");
    assert!(warned[0].contains("a-newer"), "{warned:?}");
    // The next start knows it without indexing.
    server.kill();
    let server = setup.start();
    server.export("$export");
    assert_eq!(server.metric("evanesce_index_outdated_resources"), 3.0);
    assert_eq!(indexed_bytes(&server), 0);
}

#[test]
fn an_export_of_a_source_without_resources_says_so() {
    let folder = scratch();
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let empty = "The source has no resources: the export is empty.";
    let export = |path: &str| {
        let (_, manifest) = server.export(path);
        assert_eq!(manifest["output"], serde_json::json!([]));
        told(&manifest)
    };
    for path in ["$export", "Patient/$export", "Group/All_Patients/$export"] {
        assert_eq!(export(path), said(&[("information", empty)]), "{path}");
    }
    std::fs::write(folder.path().join("Patient.ndjson"), "").unwrap();
    assert_eq!(export("$export?_since=2024-01-01T00:00:00Z"), said(&[("information", empty)]));
    assert_eq!(export("$export?organizeOutputBy=Patient").len(), 1);
    std::fs::write(folder.path().join("Patient.ndjson.part"), resource("Patient", "p", "x")).unwrap();
    let hidden = format!("{empty} Not read: 1 file with names of hidden, backup or partial files.");
    assert_eq!(export("$export"), said(&[("information", &hidden)]));
    std::fs::write(folder.path().join("README"), "about").unwrap();
    assert_eq!(export("$export").len(), 2);
    std::fs::write(folder.path().join("Patient.ndjson"), resource("Patient", "p", "x")).unwrap();
    assert_eq!(told(&server.export("$export").1).len(), 1, "only the README is told");
}
