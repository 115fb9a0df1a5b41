//! What an export gives (requirements sections 6 and 8): the manifest, and files that hold
//! every line of the source exactly once.

use super::*;

/// Also INF-5.
#[test]
fn an_export_has_every_resource_once_and_its_manifest_says_so() {
    let setup = Setup::new().set("retention.completed=2h");
    let server = setup.start();
    let before = jiff::Timestamp::now();
    // MF-2, C7: the URL exactly as it was called.
    let path = "%24export?&_outputFormat=application%2Ffhir+ndjson";
    let polling = server.kickoff(path);
    server.wait_complete(&polling);
    let after = jiff::Timestamp::now();
    let answer = get(&polling);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json", "ST-7");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-progress"), "");

    let expires = jiff::fmt::rfc2822::parse(answer.header("expires")).unwrap().timestamp();
    let retention = jiff::SignedDuration::from_hours(2);
    assert!(expires.as_second() >= (before + retention).as_second(), "P8: counted from the end");
    assert!(expires.as_second() <= (after + retention).as_second());

    let manifest = answer.json();
    let keys: Vec<_> = manifest.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["error", "output", "request", "requiresAccessToken", "transactionTime"]);
    let transaction: jiff::Timestamp = manifest["transactionTime"].as_str().unwrap().parse().unwrap();
    assert!(before.as_millisecond() <= transaction.as_millisecond() && transaction <= after, "MF-1");
    assert_eq!(manifest["request"], format!("{}/{path}", server.base));
    assert_eq!(manifest["requiresAccessToken"], false, "MF-3, C6: a boolean");
    assert_eq!(manifest["error"], serde_json::json!([]), "MF-5");

    let expected = lines_of(source());
    let types: Vec<_> = expected.keys().cloned().collect();
    assert!(types.len() > 15);
    let mut listed: Vec<_> =
        manifest["output"].as_array().unwrap().iter().map(|file| file["type"].as_str().unwrap()).collect();
    listed.sort_unstable();
    assert_eq!(listed, types, "one file a type, none without data");
    assert!(exported(&manifest) == expected, "each line of the source once, byte for byte");
    for file in manifest["output"].as_array().unwrap() {
        let url = file["url"].as_str().unwrap();
        let name = url.strip_prefix(&polling.replace("/request/", "/download/")).unwrap();
        let (uuid, _) = name.strip_prefix('/').unwrap().split_once('_').unwrap();
        assert!(is_uuid(uuid) && uuid == uuid.to_uppercase(), "G-1: {name}");
    }
    // The manifest does not change.
    assert_eq!(get(&polling).json(), manifest);
}

#[test]
fn the_manifest_names_our_url_whatever_host_the_request_line_names() {
    let setup = Setup::new();
    let server = setup.start();
    let path = "/r4/default/$export?_type=Goal";
    for (target, host, is_answered) in [
        (path.to_string(), "localhost:1", true),
        (format!("http://localhost:1{path}"), "127.0.0.2", true),
        (path.to_string(), "evil.example", false),
        (format!("http://evil.example{path}"), "localhost", false),
    ] {
        let head =
            format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nPrefer: respond-async\r\n");
        let answer = raw::exchange(&server, format!("{head}Connection: close\r\n\r\n").as_bytes()).unwrap();
        if !is_answered {
            assert_eq!(answer.outcome(), outcome(421, "security"), "{target} {host}");
            continue;
        }
        let location = answer.header("content-location");
        assert!(location.starts_with(&server.base), "{location}");
        let manifest = server.wait_complete(location);
        assert_eq!(manifest["request"], format!("{}/$export?_type=Goal", server.base), "{target}");
        assert!(first_file(&manifest).starts_with(&server.base));
    }
}

#[test]
fn types_and_levels_choose_what_is_exported() {
    let folder = tempfile::tempdir().unwrap();
    let types = ["Binary", "Bundle", "Group", "Observation", "Organization", "Patient", "Slot", "ValueSet"];
    let lines: Vec<_> = types
        .map(|t| match t {
            "Patient" => "{\"resourceType\":\"Patient\",\"id\":\"1\",\"managingOrganization\":{\"reference\":\"Organization/1\"}}\n".into(),
            "Observation" => "{\"resourceType\":\"Observation\",\"id\":\"1\",\"subject\":{\"reference\":\"Patient/1\"}}\n".into(),
            t => format!("{{\"resourceType\":\"{t}\",\"id\":\"1\"}}\n"),
        })
        .into();
    std::fs::write(folder.path().join("all.ndjson"), lines.concat()).unwrap();
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    for (path, expected) in [
        // K-11: what travels inside others is no file of its own.
        ("$export", &["Group", "Observation", "Organization", "Patient", "Slot", "ValueSet"][..]),
        // K-10: the compartment and what it refers to.
        ("Patient/$export", &["Observation", "Organization", "Patient"]),
        ("$export?_type=ValueSet,Patient", &["Patient", "ValueSet"]),
        ("Patient/$export?_type=Observation&_type=Patient,Observation", &["Observation", "Patient"]),
        // A type without data has no file (MF-4).
        ("$export?_type=Goal,Patient", &["Patient"]),
        ("$export?_type=Goal", &[]),
    ] {
        let (_, manifest) = server.export(path);
        let found = exported(&manifest);
        assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), expected, "{path}");
        assert!(found.values().all(|lines| lines.len() == 1), "{path}");
        // That there is nothing at all is told.
        let told = usize::from(expected.is_empty());
        assert_eq!(manifest["error"].as_array().unwrap().len(), told, "{path}");
    }
}

#[test]
fn small_parts_and_small_files_lose_and_double_no_line() {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), 6, 11, &[]);
    // Parts that begin exactly where a line does, one byte before and one after.
    for first in [63, 64, 65] {
        let line = |n: usize, length: usize| {
            let begin = format!("{{\"resourceType\":\"Basic\",\"id\":\"{first}-{n}\"");
            format!("{begin}{}}}\n", " ".repeat(length - begin.len() - 2))
        };
        let lines: Vec<_> = (0..200).map(|n| line(n, if n == 0 { first } else { 64 })).collect();
        std::fs::write(folder.path().join(format!("basic-{first}")), lines.concat()).unwrap();
    }
    let expected = lines_of(folder.path());
    for settings in [&["export.max_file_bytes=4096"][..], &["export.part_bytes=4096", "export.workers=3"]] {
        let mut setup = Setup::new().source(folder.path());
        setup.sets.extend(settings.iter().map(|set| set.to_string()));
        let server = setup.start();
        let (_, manifest) = server.export("$export");
        assert!(exported(&manifest) == expected, "{settings:?}");
        let files = download_all(&manifest);
        assert!(files.len() > 2 * expected.len(), "{settings:?}: {} files", files.len());
        if settings[0].contains("max_file_bytes") {
            for (url, bytes) in &files {
                let lines = bytes.iter().filter(|b| **b == b'\n').count();
                assert!(bytes.len() <= 4096 || lines == 1, "{url} has {} bytes", bytes.len());
            }
        }
        let mut names: Vec<_> = files.iter().map(|(url, _)| url).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), files.len(), "each file has a name of its own");
    }
}
