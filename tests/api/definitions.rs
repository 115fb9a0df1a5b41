//! OperationDefinitions (CP-5): what they say is what the operations do.

use super::*;

const BULK: &str = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition";

#[test]
fn the_definitions_are_those_of_the_operations() {
    let setup = Setup::new();
    let server = setup.start();
    for (id, resource, levels) in [
        ("export", Value::Null, [true, false, false]),
        ("patient-export", serde_json::json!(["Patient"]), [false, true, false]),
        ("group-export", serde_json::json!(["Group"]), [false, false, true]),
    ] {
        let answer = get(&format!("{}/OperationDefinition/{id}", server.base));
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/fhir+json"));
        let definition = answer.json();
        for (key, value) in [
            ("resourceType", "OperationDefinition"),
            ("id", id),
            ("status", "active"),
            ("kind", "operation"),
            ("code", "export"),
        ] {
            assert_eq!(definition[key], value, "{id} {key}");
        }
        assert_eq!(definition["url"], format!("{BULK}/{id}"));
        assert_eq!(definition["resource"], resource, "{id}");
        assert_eq!(["system", "type", "instance"].map(|level| definition[level] == true), levels, "{id}");
    }
    for (path, status, code) in [
        ("OperationDefinition/unknown", 404, "not-found"),
        ("OperationDefinition/Export", 404, "not-found"),
        ("OperationDefinition/%ff", 400, "structure"),
        ("OperationDefinition/export?_format=xml", 406, "structure"),
        ("OperationDefinition/export?x=y", 400, "not-supported"),
        ("OperationDefinition?_id=export", 400, "not-supported"),
    ] {
        assert_eq!(get(&format!("{}/{path}", server.base)).outcome(), outcome(status, code), "{path}");
    }
}

#[test]
fn every_parameter_of_a_definition_is_taken_as_often_as_it_says() {
    let setup = Setup::new();
    let server = setup.start();
    let definition = get(&format!("{}/OperationDefinition/export", server.base)).json();
    let parameters = definition["parameter"].as_array().unwrap();
    assert!(parameters.len() >= 4);
    for parameter in parameters {
        assert_eq!((&parameter["use"], &parameter["min"]), (&"in".into(), &0.into()));
        let name = parameter["name"].as_str().unwrap();
        let value = match (name, parameter["type"].as_str().unwrap()) {
            ("_type", "string") => "Patient",
            ("_outputFormat", "string") => "ndjson",
            ("_since", "instant") => "2024-01-01T00:00:00Z",
            ("_until", "instant") => "2025-01-01T00:00:00Z",
            ("_typeFilter", "string") => "Patient%3Fgender%3Dmale",
            ("_elements", "string") => "Patient.name",
            ("includeAssociatedData", "code") => "LatestProvenanceResources",
            ("organizeOutputBy", "string") => "Patient",
            ("allowPartialManifests", "boolean") => "true",
            // By POST only (K-table); `tests/api/post.rs` is about it.
            ("patient", "Reference") => continue,
            other => panic!("{other:?} is not known to this test"),
        };
        let kickoff = |query: &str| server.try_kickoff(&format!("$export?{query}"));
        assert_eq!(kickoff(&format!("{name}={value}")).status, 202, "{name}");
        let twice = kickoff(&format!("{name}={value}&{name}={value}")).status;
        assert_eq!(twice, if parameter["max"] == "*" { 202 } else { 400 }, "{name}");
    }
}

#[test]
fn a_search_by_url_finds_a_definition() {
    let setup = Setup::new();
    let server = setup.start();
    let search = |query: &str| {
        let answer = get(&format!("{}/OperationDefinition{query}", server.base));
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/fhir+json"));
        let bundle = answer.json();
        assert_eq!((&bundle["resourceType"], &bundle["type"]), (&"Bundle".into(), &"searchset".into()));
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        assert_eq!(bundle["total"], entries.len());
        entries.iter().for_each(|entry| {
            assert_eq!(get(entry["fullUrl"].as_str().unwrap()).json(), entry["resource"], "it is there");
        });
        let ids = entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap().to_string());
        (ids.collect::<Vec<_>>(), bundle)
    };
    assert_eq!(search("").0, ["export", "patient-export", "group-export"]);
    for id in ["export", "patient-export", "group-export"] {
        let (ids, bundle) = search(&format!("?url={BULK}/{id}"));
        assert_eq!(ids, [id]);
        let own = bundle["link"][0]["url"].as_str().unwrap();
        assert!(own.starts_with(&server.base), "{own}");
        assert_eq!(get(own).json(), bundle, "the link leads to the same");
    }
    let both = format!("?url={BULK}/export,{BULK}/group-export&_format=json");
    assert_eq!(search(&both).0, ["export", "group-export"]);
    let (ids, nothing) = search("?url=http://example.org/other");
    assert!(ids.is_empty() && nothing["entry"].is_null(), "R4 has no empty arrays");
}
