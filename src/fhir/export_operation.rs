//! The export operations of the Bulk Data IG, as far as they are supported (CP-2, CP-5).

use serde_json::{Value, json};

use super::ExportParameter;
use super::capability::BULK;

/// An export operation.
#[derive(Debug, PartialEq, Eq)]
pub struct ExportOperation {
    /// The id of its OperationDefinition, the same as in the IG.
    pub id: &'static str,
    /// The resource type before `$export` in a URL, if there is one.
    pub resource: Option<&'static str>,
    /// Whether an id stands there as well.
    pub is_instance: bool,
    title: &'static str,
}

/// `{base}/$export`.
pub const SYSTEM_EXPORT: ExportOperation =
    ExportOperation { id: "export", resource: None, is_instance: false, title: "Export everything" };

/// `{base}/Patient/$export`.
pub const PATIENT_EXPORT: ExportOperation = ExportOperation {
    id: "patient-export",
    resource: Some("Patient"),
    is_instance: false,
    title: "Export the data of all patients",
};

/// `{base}/Group/{id}/$export`.
pub const GROUP_EXPORT: ExportOperation = ExportOperation {
    id: "group-export",
    resource: Some("Group"),
    is_instance: true,
    title: "Export the data of the patients of a group",
};

/// All export operations.
pub const EXPORT_OPERATIONS: &[&ExportOperation] = &[&SYSTEM_EXPORT, &PATIENT_EXPORT, &GROUP_EXPORT];

impl ExportOperation {
    /// Returns the canonical URL of the operation.
    pub fn canonical(&self) -> String {
        format!("{BULK}/OperationDefinition/{}", self.id)
    }

    /// Returns the OperationDefinition for the server at `base`, which accepts `parameters`.
    pub fn definition(&self, base: &str, parameters: &[&ExportParameter]) -> Value {
        let mut definition = json!({
            "resourceType": "OperationDefinition",
            "id": self.id,
            "url": self.canonical(),
            "name": format!("BulkData{}", self.id.split('-').map(capitalized).collect::<String>()),
            "title": self.title,
            "status": "active",
            "kind": "operation",
            "description": format!(
                "FHIR Bulk Data export, asynchronous: send Accept: application/fhir+json and Prefer: respond-async \
                 to {base}/{}$export, then follow the Content-Location.", self.prefix()
            ),
            "affectsState": false,
            "code": "export",
            "system": self.resource.is_none(),
            "type": self.resource.is_some() && !self.is_instance,
            "instance": self.is_instance,
            "parameter": parameters.iter().map(|parameter| json!({
                "name": parameter.name,
                "use": "in",
                "min": 0,
                "max": if parameter.documentation.repeats { "*" } else { "1" },
                "documentation": parameter.documentation.text,
                "type": parameter.documentation.data_type,
            })).collect::<Vec<_>>(),
        });
        if let Some(resource) = self.resource {
            definition["resource"] = json!([resource]);
        }
        definition
    }

    /// Returns what precedes `$export`.
    fn prefix(&self) -> String {
        let resource = self.resource.map(|resource| format!("{resource}/")).unwrap_or_default();
        if self.is_instance { format!("{resource}[id]/") } else { resource }
    }
}

fn capitalized(word: &str) -> String {
    let (first, rest) = word.split_at(word.len().min(1));
    first.to_ascii_uppercase() + rest
}
