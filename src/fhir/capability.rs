//! The CapabilityStatement: what this server really offers, and no more (CP-2).

use jiff::Timestamp;
use serde_json::{Value, json};

const BULK: &str = "http://hl7.org/fhir/uv/bulkdata";

/// The statement for the server at `base` (`{public url}/r4/{tenant}`), dated `since`, the
/// instant this process started (CP-1 to CP-3, section 15: operations under both names).
pub fn capability_statement(base: &str, since: Timestamp) -> Value {
    let operation = |name: &str, definition: &str| json!({"name": name, "definition": format!("{BULK}/OperationDefinition/{definition}")});
    let resource = |name: &str, definition: &str| json!({"type": name, "operation": [operation("export", definition), operation(definition, definition)]});
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": super::seconds(since),
        "kind": "instance",
        "instantiates": [format!("{BULK}/CapabilityStatement/bulk-data")],
        "software": {"name": "Evanesce", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "FHIR Bulk Data export", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["json", "application/fhir+json"],
        "rest": [{
            "mode": "server",
            "documentation": "Group, Patient and system level $export with _type, _since, _until and \
                              _outputFormat; status, deletion and NDJSON files by the polling location.",
            "resource": [resource("Group", "group-export"), resource("Patient", "patient-export")],
            "operation": [operation("export", "export")]
        }]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_the_operations_that_are_routed() {
        let statement = capability_statement("http://h/r4/default", "2026-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(statement["implementation"]["url"], "http://h/r4/default");
        let rest = &statement["rest"][0];
        assert_eq!(rest["operation"][0]["definition"], format!("{BULK}/OperationDefinition/export"));
        for (resource, name, both) in [(0, "Group", "group-export"), (1, "Patient", "patient-export")] {
            let resource = &rest["resource"][resource];
            assert_eq!(resource["type"], name);
            for (operation, name) in [(0, "export"), (1, both)] {
                let operation = &resource["operation"][operation];
                assert_eq!(operation["name"], name);
                assert_eq!(operation["definition"], format!("{BULK}/OperationDefinition/{both}"));
            }
        }
    }
}
