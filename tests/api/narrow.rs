//! `_typeFilter` and `_elements` over HTTP: which resources, and what of them. What the filters
//! mean is tested where they are (`src/fhir/search`) and by `scripts/conformance/search`.

use serde_json::json;

use super::*;

const SOURCE: &[&str] = &[
    r#"{"resourceType":"Patient","id":"p1","gender":"female","birthDate":"1990-05-01","name":[{"family":"Ändersen"}]}"#,
    r#"{"resourceType":"Patient","id":"p2","gender":"male","birthDate":"1950-01-01"}"#,
    r#"{"resourceType":"Observation","id":"o1","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},"subject":{"reference":"Patient/p1"},"effectiveDateTime":"2024-03-01","valueQuantity":{"value":80}}"#,
    r#"{"resourceType":"Observation","id":"o2","status":"preliminary","code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},"subject":{"reference":"https://h/fhir/Patient/p1"}}"#,
    r#"{"resourceType":"Observation","id":"o3","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/p2"}}"#,
    r#"{"resourceType":"Condition","id":"c1","subject":{"reference":"Patient/p2"}}"#,
];

fn server(setup: Setup) -> (Setup, TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("all.ndjson"), SOURCE.join("\n")).unwrap();
    let setup = setup.source(folder.path()).set("source.base_url=https://h/fhir");
    let server = setup.start();
    (setup, folder, server)
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

/// The ids of what an export has, sorted.
fn ids(server: &Server, path: &str) -> Vec<String> {
    let (_, manifest) = server.export(path);
    let lines = exported(&manifest).into_values().flatten();
    let mut ids: Vec<_> = lines
        .map(|line| serde_json::from_slice::<Value>(&line).unwrap()["id"].as_str().unwrap().to_string())
        .collect();
    ids.sort();
    ids
}

#[test]
fn type_filters_of_one_type_are_alternatives_and_other_types_stay_whole() {
    let (_setup, _folder, server) = server(Setup::new());
    for (filters, expected) in [
        (&["Observation?status=final"][..], &["c1", "o1", "o3", "p1", "p2"][..]),
        (&["Observation?status=final&code=http://loinc.org|8867-4"], &["c1", "o1", "p1", "p2"]),
        (&["Observation?status=preliminary", "Observation?date=gt2024-02"], &["c1", "o1", "o2", "p1", "p2"]),
        (&["Observation?subject=Patient/p1", "Patient?gender=male"], &["c1", "o1", "o2", "p2"]),
        (&["Observation?status=final,Patient?family=ander"], &["c1", "o1", "o3", "p1"]),
        (&["Patient?birthdate=lt1800"], &["c1", "o1", "o2", "o3"]),
        (&["Observation?value-quantity=80"], &["c1", "o1", "p1", "p2"]),
        (&["Observation?status:not=final"], &["c1", "o2", "p1", "p2"]),
    ] {
        let query: Vec<_> = filters.iter().map(|filter| format!("_typeFilter={}", escaped(filter))).collect();
        assert_eq!(ids(&server, &format!("Patient/$export?{}", query.join("&"))), expected, "{filters:?}");
    }
}

#[test]
fn a_type_filter_may_come_in_a_body_and_counts_with_the_other_parameters() {
    let (_setup, _folder, server) = server(Setup::new().set("export.part_bytes=4096"));
    let headers = [KICKOFF[0], KICKOFF[1], ("Content-Type", "application/fhir+json")];
    let body = json!({"resourceType": "Parameters", "parameter": [
        {"name": "_typeFilter", "valueString": "Observation?status=final"},
        {"name": "_type", "valueString": "Observation"}]});
    let answer = post(&format!("{}/Patient/$export", server.base), &headers, &body.to_string());
    let manifest = server.wait_complete(answer.header("content-location"));
    assert_eq!(manifest["output"][0]["count"], 2);
    assert_eq!(manifest["output"].as_array().unwrap().len(), 1);
}

#[test]
fn a_filter_that_leaves_nothing_leaves_no_file() {
    let (_setup, _folder, server) = server(Setup::new());
    let (_, manifest) = server.export("$export?_type=Patient&_typeFilter=Patient%3Fgender%3Dother");
    assert_eq!(manifest["output"], json!([]), "MF-4");
}

#[test]
fn filters_that_cannot_be_served_are_refused_with_the_reason() {
    let (setup, _folder, server) = server(Setup::new());
    for (filter, code, reason) in [
        ("Observation", "invalid", "no ?"),
        ("Observation?", "invalid", "nothing after"),
        ("Elephant?x=y", "invalid", "not a resource type"),
        ("Observation?_sort=date", "invalid", "_sort"),
        ("Observation?nonsense=1", "not-supported", "nonsense"),
        ("Observation?subject.name=x", "not-supported", "subject.name"),
        ("Observation?date=yesterday", "invalid", "date"),
        ("ValueSet?name=x", "invalid", "this export does not have"),
    ] {
        let url = format!("{}/Patient/$export?_typeFilter={}", server.base, escaped(filter));
        let answer = send("GET", &url, &KICKOFF);
        let text = answer.json()["issue"][0]["details"]["text"].as_str().unwrap().to_string();
        assert!(answer.status == 400 && text.contains(reason), "{filter}: {answer:?} {text}");
        if reason != "subject.name" && reason != "nonsense" {
            assert_eq!(answer.issue().1, code, "{filter}: {text}");
        }
        // With lenience it is ignored, and said so (K-5).
        let headers = [KICKOFF[0], ("Prefer", "respond-async, handling=lenient")];
        let answer = send("GET", &url, &headers);
        assert_eq!(answer.status, 202, "{filter}");
        let manifest = server.wait_complete(answer.header("content-location"));
        assert_eq!(manifest["error"][0]["count"], 1, "{filter}");
    }
    let url = format!("{}/$export?_type=Patient&_typeFilter=Observation%3Fstatus%3Dfinal", server.base);
    assert_eq!(send("GET", &url, &KICKOFF).outcome(), outcome(400, "invalid"), "not in _type");
    assert!(!setup.settled_log(&server).contains("yesterday"), "P12");
}

#[test]
fn elements_keeps_what_was_asked_for_and_what_must_be_there_and_tags_it() {
    let (_setup, _folder, server) = server(Setup::new());
    let tag = json!({"tag": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}]});
    let (_, manifest) = server
        .export("Patient/$export?_type=Patient,Observation&_elements=Patient.birthDate,Observation.subject");
    let lines = exported(&manifest);
    let json = |line: &[u8]| serde_json::from_slice::<Value>(line).unwrap();
    assert_eq!(
        json(&lines["Patient"][0]),
        json!({"resourceType": "Patient", "id": "p1", "meta": tag, "birthDate": "1990-05-01"})
    );
    assert_eq!(
        json(&lines["Observation"][2]),
        json!({"resourceType": "Observation", "id": "o3", "meta": tag, "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/p2"}})
    );
    // A type of which nothing was asked for stays as it is.
    let (_, manifest) = server.export("Patient/$export?_type=Patient,Condition&_elements=Patient.birthDate");
    assert_eq!(exported(&manifest)["Condition"], [SOURCE[5].as_bytes()]);
    for bad in ["Patient.colour", "Elephant.name", "Patient.name.given", "colour", "", "Patient."] {
        let answer = server.try_kickoff(&format!("$export?_elements={bad}"));
        assert_eq!(answer.outcome(), outcome(400, "invalid"), "{bad}");
    }
}

#[test]
fn a_resource_that_cannot_be_tagged_is_left_out_and_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("a.ndjson"),
        "{\"resourceType\":\"Patient\",\"id\":\"p\",\"meta\":[]}\n",
    )
    .unwrap();
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let (_, manifest) = server.export("$export?_elements=name");
    assert_eq!(manifest["output"], json!([]));
    let text = String::from_utf8(get(manifest["error"][0]["url"].as_str().unwrap()).body).unwrap();
    assert!(text.contains("cannot be tagged"), "{text}");
}
