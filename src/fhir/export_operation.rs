//! The export operations of the Bulk Data IG, as far as they are supported (CP-2, CP-5).

use serde_json::{Value, json};

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

/// A parameter of the export operations.
pub struct ExportParameter {
    /// Its name.
    pub name: &'static str,
    /// Its R4 data type.
    pub data_type: &'static str,
    /// Whether it may be repeated.
    pub repeats: bool,
    /// Where it is accepted.
    pub taken: ParameterScope,
    /// A valid value, as in a query string before it is encoded.
    pub example: &'static str,
    /// What it does.
    pub documentation: &'static str,
}

/// Where a parameter is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterScope {
    /// Everywhere, also under Soarian's rules (S-OD).
    Always,
    /// Under the standard's rules.
    ByStandard,
    /// Under the standard's rules, in the body of a POST.
    ByPost,
}

/// The parameters of a kick-off (REQUIREMENTS section 3).
pub const EXPORT_PARAMETERS: &[ExportParameter] = &[
    ExportParameter {
        name: "_outputFormat",
        data_type: "string",
        repeats: false,
        taken: ParameterScope::Always,
        example: "application/fhir+ndjson",
        documentation: "The format of the files: application/fhir+ndjson, application/ndjson or ndjson, \
                        which mean the same.",
    },
    ExportParameter {
        name: "_since",
        data_type: "instant",
        repeats: false,
        taken: ParameterScope::Always,
        example: "2024-01-31T08:30:00Z",
        documentation: "Only resources whose meta.lastUpdated is later than this, and those that have none. \
                        Of patients who became members of a group after it, only what has changed since.",
    },
    ExportParameter {
        name: "_type",
        data_type: "string",
        repeats: true,
        taken: ParameterScope::Always,
        example: "Patient,Observation",
        documentation: "The resource types to export, a comma-separated list; all if it is not given.",
    },
    ExportParameter {
        name: "_until",
        data_type: "instant",
        repeats: false,
        taken: ParameterScope::ByStandard,
        example: "9999-01-31T08:30:00Z",
        documentation: "Only resources whose meta.lastUpdated is earlier than this, and those that have none.",
    },
    ExportParameter {
        name: "_typeFilter",
        data_type: "string",
        repeats: true,
        taken: ParameterScope::ByStandard,
        example: "Observation?status=final",
        documentation: "A search: of its resource type only what matches one of its filters. Prefixes, \
                        modifiers, OR by comma and AND by &; no chains, no result parameters.",
    },
    ExportParameter {
        name: "_elements",
        data_type: "string",
        repeats: true,
        taken: ParameterScope::ByStandard,
        example: "Patient.name",
        documentation: "Root elements, a comma-separated list of Type.element or element: resources have \
                        these and the mandatory ones, and are tagged SUBSETTED.",
    },
    ExportParameter {
        name: "patient",
        data_type: "Reference",
        repeats: true,
        taken: ParameterScope::ByPost,
        example: "Patient/123",
        documentation: "Only what is in the compartments of these patients; not for exports of the system.",
    },
    ExportParameter {
        name: "includeAssociatedData",
        data_type: "code",
        repeats: true,
        taken: ParameterScope::ByStandard,
        example: "LatestProvenanceResources",
        documentation: "Which Provenances go with what is exported: LatestProvenanceResources or \
                        RelevantProvenanceResources, a comma-separated list.",
    },
    ExportParameter {
        name: "organizeOutputBy",
        data_type: "string",
        repeats: false,
        taken: ParameterScope::ByStandard,
        example: "Patient",
        documentation: "Patient: the files are blocks of one patient's resources each.",
    },
    ExportParameter {
        name: "allowPartialManifests",
        data_type: "boolean",
        repeats: false,
        taken: ParameterScope::ByStandard,
        example: "true",
        documentation: "Whether files are shown, in manifests with links, while others are still written.",
    },
];

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
                "max": if parameter.repeats { "*" } else { "1" },
                "documentation": parameter.documentation,
                "type": parameter.data_type,
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
