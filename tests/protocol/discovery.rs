//! Section 10: what the server says of itself.

use super::*;

#[test]
fn cp_1_metadata_is_public_and_takes_every_name_of_json() {
    let setup = Setup::new();
    let server = setup.start();
    let url = format!("{}/metadata", server.base);
    for headers in [
        &[][..],
        &[("Accept", "application/fhir+json")],
        &[("Accept", "application/json")],
        &[("Accept", "application/json+fhir")],
    ] {
        let answer = send("GET", &url, headers);
        assert_eq!((answer.status, &answer.json()["resourceType"]), (200, &"CapabilityStatement".into()));
    }
}

fn metadata(server: &Server) -> Value {
    get(&format!("{}/metadata", server.base)).json()
}

fn resource_of<'a>(statement: &'a Value, name: &str) -> &'a Value {
    let resources = statement["rest"][0]["resource"].as_array().unwrap();
    resources.iter().find(|resource| resource["type"] == name).unwrap()
}

/// Also INF-2.
#[test]
fn cp_2_it_names_the_operations_that_are_there_with_the_standards_canonicals() {
    let setup = Setup::new();
    let server = setup.start();
    let statement = metadata(&server);
    let bulk = "http://hl7.org/fhir/uv/bulkdata";
    assert_eq!(statement["instantiates"][0], format!("{bulk}/CapabilityStatement/bulk-data"));
    let has = |operations: &Value, name: &str, id: &str| {
        let definition = Value::from(format!("{bulk}/OperationDefinition/{id}"));
        let mut all = operations.as_array().unwrap().iter();
        all.any(|operation| operation["name"] == name && operation["definition"] == definition)
    };
    assert!(has(&statement["rest"][0]["operation"], "export", "export"));
    // Section 15: under both names.
    for (resource, id) in [("Patient", "patient-export"), ("Group", "group-export")] {
        for name in ["export", id] {
            assert!(has(&resource_of(&statement, resource)["operation"], name, id), "{resource} {name}");
        }
    }
}

#[test]
fn cp_3_it_lists_the_types_with_their_search_parameters_and_what_is_left_out() {
    let setup = Setup::new();
    let server = setup.start();
    let statement = metadata(&server);
    let parameters = resource_of(&statement, "Observation")["searchParam"].as_array().unwrap();
    for (name, kind) in [
        ("status", "token"),
        ("subject", "reference"),
        ("date", "date"),
        ("value-quantity", "quantity"),
        ("_lastUpdated", "date"),
    ] {
        let parameter = parameters.iter().find(|parameter| parameter["name"] == name).unwrap();
        assert_eq!(parameter["type"], kind, "{name}");
        let value = match kind {
            "reference" => "Patient/1",
            "date" => "2024",
            "quantity" => "5",
            _ => "final",
        };
        let filter = format!("Observation%3F{name}%3D{value}");
        assert_eq!(
            server.try_kickoff(&format!("$export?_typeFilter={filter}")).status,
            202,
            "{name} is honoured"
        );
    }
    let extension = &resource_of(&statement, "ValueSet")["extension"][0];
    assert_eq!(extension["url"], "http://hl7.org/fhir/uv/bulkdata/Extension/operation-not-supported");
    assert_eq!(server.try_kickoff("Patient/$export?_type=ValueSet").status, 404);
}

#[test]
fn cp_5_operation_definitions_are_public_and_found_by_their_url() {
    let setup = Setup::new();
    let server = setup.start();
    for (id, level, resource) in [
        ("export", "system", Value::Null),
        ("patient-export", "type", serde_json::json!(["Patient"])),
        ("group-export", "instance", serde_json::json!(["Group"])),
    ] {
        let definition = get(&format!("{}/OperationDefinition/{id}", server.base)).json();
        assert_eq!((&definition["code"], &definition["kind"]), (&"export".into(), &"operation".into()));
        assert_eq!(
            (&definition[level], &definition["resource"]),
            (&true.into(), &resource),
            "booleans; an array"
        );
        let url = definition["url"].as_str().unwrap();
        let found = get(&format!("{}/OperationDefinition?url={url}", server.base)).json();
        assert_eq!((&found["type"], &found["total"]), (&"searchset".into(), &1.into()));
        assert_eq!(found["entry"][0]["resource"]["id"], id);
    }
}

#[test]
fn cp_6_it_documents_limits_parameters_and_what_new_members_get() {
    let setup = Setup::new().set("export.max_file_bytes=123456");
    let server = setup.start();
    let text = metadata(&server)["rest"][0]["documentation"].as_str().unwrap().to_string();
    for said in ["123456", "_since", "_typeFilter", "includeAssociatedData", "members of a Group", "NDJSON"] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn k_14_groups_can_be_read_and_found() {
    let setup = Setup::new();
    let server = setup.start();
    let group = get(&format!("{}/Group/practice-1", server.base));
    assert_eq!((group.status, &group.json()["resourceType"]), (200, &"Group".into()));
    let found = get(&format!("{}/Group?_id=practice-1", server.base)).json();
    assert_eq!((&found["total"], &found["entry"][0]["resource"]["id"]), (&1.into(), &"practice-1".into()));
    assert_eq!(get(&format!("{}/Group/nobody", server.base)).outcome(), outcome(404, "not-found"));
    let all = get(&format!("{}/Group/All_Patients", server.base)).json();
    assert_eq!((&all["type"], &all["actual"]), (&"person".into(), &true.into()));
}
