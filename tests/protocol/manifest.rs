//! Section 6: the manifest.

use super::*;

fn export(path: &str) -> (Setup, Server, String, Value) {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, manifest) = server.export(path);
    (setup, server, polling, manifest)
}

#[test]
fn mf_1_transaction_time_is_the_instant_of_the_view_of_the_source() {
    let before = jiff::Timestamp::now();
    let (_setup, _server, _, manifest) = export("$export?_type=Patient");
    let at: jiff::Timestamp = manifest["transactionTime"].as_str().unwrap().parse().unwrap();
    assert!(before.as_millisecond() <= at.as_millisecond() && at <= jiff::Timestamp::now());
}

#[test]
fn mf_1_transaction_time_is_in_milliseconds_and_as_the_next_since_it_misses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, id: &str, updated: &str| {
        let meta = format!(r#""meta":{{"lastUpdated":"{updated}"}}"#);
        let line = format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\",{meta}}}\n");
        std::fs::write(folder.path().join(name), line).unwrap();
    };
    write("old.ndjson", "old", "2020-01-01T00:00:00Z");
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let (_, manifest) = server.export("$export");
    let told = manifest["transactionTime"].as_str().unwrap();
    // As Java's yyyy-MM-dd'T'HH:mm:ss.SSSXXX reads it.
    assert_eq!(
        (told.len(), &told[19..20], &told[23..]),
        ("2026-11-30T10:20:30.123Z".len(), ".", "Z"),
        "{told}"
    );
    // What comes right behind the view of the source, in the very millisecond that was told.
    write("new.ndjson", "new", &told.replace('Z', "000001Z"));
    let (_, next) = server.export(&format!("$export?_since={told}"));
    let files: Vec<_> =
        download_all(&next).into_iter().map(|(_, body)| String::from_utf8(body).unwrap()).collect();
    assert!(files.len() == 1 && files[0].contains("\"new\"") && !files[0].contains("\"old\""), "{files:?}");
}

#[test]
fn mf_2_request_is_the_kick_off_url_as_it_was_sent() {
    let setup = Setup::new();
    let server = setup.start();
    for path in
        ["Patient/$export?_type=Patient%2CGroup&", "$export", "Group/All_Patients/%24export?_type=Patient"]
    {
        let (_, manifest) = server.export(path);
        assert_eq!(manifest["request"], format!("{}/{path}", server.base), "C7");
    }
}

#[test]
fn mf_3_requires_access_token_is_a_boolean() {
    let (_setup, _server, _, manifest) = export("$export?_type=Patient");
    assert_eq!(manifest["requiresAccessToken"], false, "C6: there is no authentication yet");
}

/// Also INF-6.
#[test]
fn mf_4_output_has_absolute_urls_types_and_counts_and_no_empty_file() {
    let (_setup, server, _, manifest) = export("Patient/$export");
    for file in items(&manifest, "output") {
        let url = file["url"].as_str().unwrap();
        assert!(url.starts_with(&server.base) && file["type"].is_string());
        let lines = get(url).body.iter().filter(|byte| **byte == b'\n').count();
        assert!(lines > 0);
        assert_eq!(file["count"], lines);
    }
    let (_, empty) = server.export("$export?_type=Slot");
    assert_eq!(empty["output"], serde_json::json!([]));
}

#[test]
fn mf_5_error_is_there_even_if_it_is_empty() {
    let (_setup, _server, _, manifest) = export("$export?_type=Patient");
    assert_eq!(manifest["error"], serde_json::json!([]));
}

#[test]
fn mf_9_extensions_are_objects_by_name() {
    let (_setup, _server, _, manifest) = export("$export?_type=Patient");
    for item in items(&manifest, "output") {
        let bytes = get(item["url"].as_str().unwrap()).body.len();
        assert_eq!(item["extension"], serde_json::json!({"fileSize": bytes}));
    }
    assert!(manifest["extension"].is_null());
}

#[test]
fn mf_10_nothing_of_the_next_version_of_the_standard_is_in_it() {
    let (_setup, _server, _, manifest) = export("$export?_type=Patient");
    for key in ["outcome", "manifestType", "outputFormat", "outputOrganizedByDetail"] {
        assert!(manifest[key].is_null(), "{key}");
    }
}

#[test]
fn mf_8_pages_are_linked_only_if_the_client_allowed_it_and_differ_in_their_files_alone() {
    let setup = Setup::new().set("export.part_bytes=100000");
    let server = setup.start();
    let (_, whole) = server.export("$export");
    assert!(whole["link"].is_null());
    let (_, first) = server.export("$export?allowPartialManifests=true");
    let link = &first["link"][0];
    assert_eq!(link["relation"], "next");
    let next = get(link["url"].as_str().unwrap()).json();
    for key in ["transactionTime", "request", "requiresAccessToken"] {
        assert_eq!(first[key], next[key], "{key}");
    }
    assert_ne!(first["output"], next["output"]);
}
