//! The export as a Bundle of R4 AuditEvents.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::*;

fn bundle(entries: &[ReceiptEntry]) -> Value {
    let (dir, _) = chain_of(entries);
    serde_json::from_str(&receipts_of(dir.path(), &["export", "--format", "fhir"])).unwrap()
}

fn detail<'a>(event: &'a Value, name: &str) -> &'a str {
    let details = event["entity"][0]["detail"].as_array().unwrap();
    details.iter().find(|detail| detail["type"] == name).unwrap()["valueString"].as_str().unwrap()
}

#[test]
fn every_entry_is_an_audit_event_with_all_that_r4_demands() {
    let entries = every_kind();
    let bundle = bundle(&entries);
    assert_eq!((&bundle["resourceType"], &bundle["type"]), (&json!("Bundle"), &json!("collection")));
    let resources = bundle["entry"].as_array().unwrap();
    assert_eq!(resources.len(), entries.len());
    let mut ids = BTreeSet::new();
    for (entry, resource) in entries.iter().zip(resources) {
        let event = &resource["resource"];
        assert_eq!(event["resourceType"], "AuditEvent");
        let id = event["id"].as_str().unwrap();
        assert!(uuid::Uuid::try_parse(id).is_ok() && ids.insert(id));
        assert_eq!(resource["fullUrl"], format!("urn:uuid:{id}"));
        // 1..1 type, recorded, source.observer; 1..* agent with its requestor, of whom one is.
        assert!(["system", "code", "display"].iter().all(|key| event["type"][key].is_string()), "{event}");
        assert_eq!(event["recorded"], entry.at().to_string());
        assert!(event["source"]["observer"].is_object());
        let agents = event["agent"].as_array().unwrap();
        assert_eq!(agents.iter().filter(|agent| agent["requestor"] == true).count(), 1);
        assert!(agents.iter().all(|agent| agent["requestor"].is_boolean() && agent["who"].is_object()));
        assert!(["C", "R", "U", "D", "E"].contains(&event["action"].as_str().unwrap()));
        assert!(["0", "4", "8", "12"].contains(&event["outcome"].as_str().unwrap()));
        for detail in event["entity"][0]["detail"].as_array().unwrap() {
            assert!(detail["type"].is_string() && detail["valueString"].is_string(), "{detail}");
        }
        assert!(no_nulls_or_empty(event), "FHIR has neither: {event}");
    }
    let types: Vec<_> = resources.iter().map(|r| r["resource"]["type"]["code"].as_str().unwrap()).collect();
    assert_eq!(types, ["destroy", "hold", "unhold", "110100", "110100", "destroy", "110113", "destroy"]);
}

fn no_nulls_or_empty(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty() && items.iter().all(no_nulls_or_empty),
        Value::Object(fields) => !fields.is_empty() && fields.values().all(no_nulls_or_empty),
        _ => true,
    }
}

#[test]
fn an_erasure_says_who_what_and_when() {
    let entries = every_kind();
    let bundle = bundle(&entries);
    let event = &bundle["entry"][0]["resource"];
    assert_eq!(event["type"]["system"], "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle");
    assert_eq!((&event["action"], &event["outcome"]), (&json!("D"), &json!("0")));
    assert_eq!(event["period"], json!({"start": "2025-12-31T23:59:59.5Z", "end": "2026-01-01T00:00:00Z"}));
    assert_eq!(event["agent"][0]["who"]["identifier"]["value"], "c1");
    let entity = &event["entity"][0];
    let job = "urn:uuid:6b1f0e3c-5d0a-4b8e-9a57-0f6f1c2d3e4f";
    assert_eq!(
        (&entity["what"]["identifier"]["value"], &entity["role"]["code"]),
        (&json!(job), &json!("20"))
    );
    for (name, value) in [
        ("reason", "deleted"),
        ("was", "complete"),
        ("files", "7"),
        ("bytes", "123456"),
        ("failed-sweeps", "2"),
        ("last-error", "unlink: EBUSY"),
        ("cut-downloads", "1"),
        ("drained-downloads", "3"),
        ("chain-count", "1"),
    ] {
        assert_eq!(detail(event, name), value, "{name}");
    }
    // Nobody asked for the expiry: the server itself is the one that began.
    let expired = &bundle["entry"][7]["resource"];
    assert_eq!(expired["agent"].as_array().unwrap().len(), 1);
    assert_eq!(detail(expired, "reason"), "expired");
    assert_eq!(detail(&bundle["entry"][1]["resource"], "reason"), "case 7");
}

#[test]
fn the_same_entry_is_the_same_resource_in_every_export() {
    let (dir, _) = chain_of(&every_kind());
    let ids = |text: String| -> Vec<Value> {
        let bundle: Value = serde_json::from_str(&text).unwrap();
        bundle["entry"].as_array().unwrap().iter().map(|entry| entry["fullUrl"].clone()).collect()
    };
    let first = ids(receipts_of(dir.path(), &["export", "--format", "fhir"]));
    let out = dir.path().join("audit.json");
    receipts_of(dir.path(), &["export", "--format", "fhir", "--out", out.to_str().unwrap()]);
    assert_eq!(ids(std::fs::read_to_string(&out).unwrap()), first);
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    let empty = tempfile::tempdir().unwrap();
    let none: Value =
        serde_json::from_str(&receipts_of(empty.path(), &["export", "--format", "fhir"])).unwrap();
    assert_eq!((&none["resourceType"], none.get("entry")), (&json!("Bundle"), None));
}
