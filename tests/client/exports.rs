//! Whole exports from the real server.

use std::os::unix::fs::PermissionsExt;

use sha2::{Digest, Sha256};

use super::*;

#[test]
fn an_export_comes_whole_and_its_manifest_tells_what_each_file_is() {
    let setup = Setup::new().set("export.checksums=true");
    let server = setup.start();
    let out = OutFolder::new();
    let ended = out.export(&server.base, &[]).succeeded();
    assert!(
        ended.stderr.contains("kicked off: ") && ended.stderr.contains("loaded Patient.0001.ndjson: 30 ")
    );
    assert_eq!(out.lines(), lines_of(&server, "$export"));
    let manifest = out.manifest();
    let files = manifest["output"].as_array().unwrap();
    let mut names = vec![String::from("manifest.json")];
    for file in files {
        let name = file["file"].as_str().unwrap();
        let bytes = out.read(name);
        assert_eq!(file["bytes"], bytes.len(), "{name}");
        assert_eq!(file["sha256"], hex::encode(Sha256::digest(&bytes)), "{name}");
        let lines = memchr::memchr_iter(b'\n', &bytes).count();
        assert_eq!(file["count"], lines, "{name}");
        names.push(name.into());
    }
    names.sort();
    assert_eq!(out.names(), names, "nothing else is there");
    assert!(manifest["request"].as_str().unwrap().ends_with("/$export"));
    for name in names.iter().map(String::as_str).chain([".evanesce-export.json"]) {
        let mode = std::fs::metadata(out.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}: patient data is for its owner");
    }
    assert_eq!(std::fs::metadata(out.path()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn files_come_as_text_whatever_form_they_are_stored_in() {
    for stored in ["gzip", "zstd"] {
        let setup = Setup::new().set(&format!("export.stored={stored}")).set("export.checksums=true");
        let server = setup.start();
        let out = OutFolder::new();
        out.export(&server.base, &[]).succeeded();
        assert_eq!(out.lines(), lines_of(&server, "$export"), "{stored}");
    }
}

#[test]
fn a_group_with_parameters_is_what_the_same_request_by_hand_gives() {
    let setup = Setup::new();
    let server = setup.start();
    let out = OutFolder::new();
    let arguments = [
        "--group",
        "practice-1",
        "--type",
        "Patient,Encounter",
        "--type",
        "Observation",
        "--since",
        "2020-01-01T00:00:00+01:00",
        "--type-filter",
        "Observation?status=final&date=gt2000",
        "--type-filter",
        "Encounter?status=finished",
        "--elements",
        "Patient.name,Patient.gender",
        "--output-format",
        "application/fhir+ndjson",
        "--parallel",
        "1",
    ];
    out.export(&server.base, &arguments).succeeded();
    let query = "_type=Patient,Encounter,Observation&_since=2020-01-01T00:00:00%2B01:00\
                 &_elements=Patient.name,Patient.gender\
                 &_typeFilter=Observation%3Fstatus%3Dfinal%26date%3Dgt2000\
                 &_typeFilter=Encounter%3Fstatus%3Dfinished&_outputFormat=application%2Ffhir%2Bndjson";
    let path = format!("Group/practice-1/$export?{query}");
    assert_eq!(out.manifest()["request"], format!("{}/{path}", server.base));
    let lines = out.lines();
    assert!(lines.len() > 10 && lines.iter().any(|line| line.contains("SUBSETTED")), "{}", lines.len());
    assert_eq!(lines, lines_of(&server, &path));
}

#[test]
fn named_patients_are_posted() {
    let setup = Setup::new();
    let server = setup.start();
    let all = OutFolder::new();
    all.export(&server.base, &["--patient", "--type", "Patient"]).succeeded();
    let lines = all.lines();
    let id = |n: usize| serde_json::from_str::<Value>(&lines[n]).unwrap()["id"].as_str().unwrap().to_owned();
    let (one, two) = (format!("Patient/{}", id(0)), format!("Patient/{}", id(1)));
    let out = OutFolder::new();
    let arguments = ["--patient-ref", &one, "--patient-ref", &two, "--type", "Patient,Condition"];
    out.export(&server.base, &arguments).succeeded();
    assert_eq!(counts(&out.manifest())["Patient"], 2);
}

#[test]
fn what_the_server_ignores_and_what_it_has_deleted_come_along() {
    let folder = copy_of_source();
    let bundle = serde_json::json!({
        "resourceType": "Bundle", "type": "transaction", "meta": {"lastUpdated": "2025-05-05T12:00:00Z"},
        "entry": [{"request": {"method": "DELETE", "url": "Condition/gone"}}],
    });
    std::fs::write(folder.path().join("deleted.ndjson"), format!("{bundle}\n")).unwrap();
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let out = OutFolder::new();
    let refused = out.export(&server.base, &["--param", "_unheard=1"]);
    refused.failed(5, "_unheard").stderr.contains("400");
    assert!(!out.path().join("manifest.json").exists());
    let arguments = ["--param", "_unheard=1", "--prefer", "lenient", "--since", "2025-01-01T00:00:00Z"];
    let ended = out.export(&server.base, &arguments).succeeded();
    assert!(ended.stdout.contains("1 remarks in errors"), "{ended:?}");
    assert!(String::from_utf8(out.read("errors.0001.ndjson")).unwrap().contains("_unheard"));
    assert!(ended.stdout.contains("1 bundles of deletions"), "{ended:?}");
    assert!(String::from_utf8(out.read("deleted.0001.ndjson")).unwrap().contains("Condition/gone"));
    assert_eq!(out.manifest()["error"][0]["count"], 1);

    let without = OutFolder::new();
    let arguments: Vec<_> = arguments.into_iter().chain(["--no-errors"]).collect();
    let ended = without.export(&server.base, &arguments).succeeded();
    assert!(ended.stdout.contains("1 file of the server's remarks not loaded (--no-errors)"), "{ended:?}");
    assert!(!ended.stdout.contains("1 remarks"), "{ended:?}");
    assert!(!without.path().join("errors.0001.ndjson").exists());
    assert_eq!(
        (&without.manifest()["error"], &without.manifest()["errorFilesLeft"]),
        (&Value::Null, &1.into())
    );
    assert_eq!(without.lines(), out.lines());
    // Whoever wants them later begins another export.
    without.export(&server.base, &arguments[..arguments.len() - 1]).failed(2, "holds another export");
}

#[test]
fn pages_of_a_manifest_are_followed() {
    let setup = Setup::new().set("export.part_bytes=65536").set("export.max_file_bytes=65536");
    let server = setup.start();
    let out = OutFolder::new();
    out.export(&server.base, &["--param", "allowPartialManifests=true"]).succeeded();
    assert!(out.manifest()["output"].as_array().unwrap().len() > 20);
    assert_eq!(out.lines(), lines_of(&server, "$export"));
}

#[test]
fn blocks_of_patients_have_no_type_and_are_loaded_as_well() {
    let setup = Setup::new();
    let server = setup.start();
    let out = OutFolder::new();
    out.export(&server.base, &["--patient", "--param", "organizeOutputBy=Patient"]).succeeded();
    assert_eq!(out.names(), ["manifest.json", "resources.0001.ndjson"]);
}

#[test]
fn the_summary_is_for_people_or_for_programs() {
    let setup = Setup::new();
    let server = setup.start();
    let out = OutFolder::new();
    let ended = out.export(&server.base, &["--output", "json"]).succeeded();
    let summary: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(summary["resources"], out.lines().len());
    assert_eq!(summary["transactionTime"], out.manifest()["transactionTime"]);
    assert!(summary["bytesPerSecond"].as_f64().unwrap() > 0.0, "{summary}");
    let again = out.export(&server.base, &[]).succeeded();
    assert!(again.stdout.contains("has the whole export already"), "{again:?}");
}
