//! The parameters of a kick-off, and where each is accepted (REQUIREMENTS section 3, S-OD).

/// A parameter of the export operations.
pub struct ExportParameter {
    /// Its name.
    pub name: &'static str,
    /// Where it is accepted.
    pub taken: ParameterScope,
    /// What documents say of it.
    #[cfg(feature = "server")]
    pub documentation: ParameterDocumentation,
}

/// What an OperationDefinition and OpenAPI say of a parameter.
#[cfg(feature = "server")]
pub struct ParameterDocumentation {
    /// Its R4 data type.
    pub data_type: &'static str,
    /// Whether it may be repeated.
    pub repeats: bool,
    /// A valid value, as in a query string before it is encoded.
    pub example: &'static str,
    /// What it does.
    pub text: &'static str,
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
        taken: ParameterScope::Always,
        #[cfg(feature = "server")]
        documentation: ParameterDocumentation {
            data_type: "string",
            repeats: false,
            example: "application/fhir+ndjson",
            text: "The format of the files: application/fhir+ndjson, application/ndjson or ndjson, \
                            which mean the same.",
        },
    },
    ExportParameter {
        name: "_since",
        taken: ParameterScope::Always,
        #[cfg(feature = "server")]
        documentation: ParameterDocumentation {
            data_type: "instant",
            repeats: false,
            example: "2024-01-31T08:30:00Z",
            text: "Only resources whose meta.lastUpdated is later than this, and those that have none. \
                            Of patients who became members of a group after it, only what has changed since.",
        },
    },
    ExportParameter {
        name: "_type",
        taken: ParameterScope::Always,
        #[cfg(feature = "server")]
        documentation: ParameterDocumentation {
            data_type: "string",
            repeats: true,
            example: "Patient,Observation",
            text: "The resource types to export, a comma-separated list; all if it is not given.",
        },
    },
    ExportParameter {
        name: "_until",
        taken: ParameterScope::ByStandard,
        #[cfg(feature = "server")]
        documentation: ParameterDocumentation {
            data_type: "instant",
            repeats: false,
            example: "9999-01-31T08:30:00Z",
            text: "Only resources whose meta.lastUpdated is earlier than this, and those that have none.",
        },
    },
    ExportParameter {
        name: "_typeFilter",
        taken: ParameterScope::ByStandard,
        #[cfg(feature = "server")]
        documentation: ParameterDocumentation {
            data_type: "string",
            repeats: true,
            example: "Observation?status=final",
            text: "A search: of its resource type only what matches one of its filters. Prefixes, \
                            modifiers, OR by comma and AND by &; no chains, no result parameters.",
        },
    },
    ExportParameter {
        name: "_elements",
        taken: ParameterScope::ByStandard,
        #[cfg(feature = "server")]
        documentation: ParameterDocumentation {
            data_type: "string",
            repeats: true,
            example: "Patient.name",
            text: "Root elements, a comma-separated list of Type.element or element: resources have \
                            these and the mandatory ones, and are tagged SUBSETTED.",
        },
    },
    ExportParameter {
        name: "patient",
        taken: ParameterScope::ByPost,
        #[cfg(feature = "server")]
        documentation: ParameterDocumentation {
            data_type: "Reference",
            repeats: true,
            example: "Patient/123",
            text: "Only what is in the compartments of these patients; not for exports of the system.",
        },
    },
    ExportParameter {
        name: "includeAssociatedData",
        taken: ParameterScope::ByStandard,
        #[cfg(feature = "server")]
        documentation: ParameterDocumentation {
            data_type: "code",
            repeats: true,
            example: "LatestProvenanceResources",
            text: "Which Provenances go with what is exported: LatestProvenanceResources or \
                            RelevantProvenanceResources, a comma-separated list.",
        },
    },
    ExportParameter {
        name: "organizeOutputBy",
        taken: ParameterScope::ByStandard,
        #[cfg(feature = "server")]
        documentation: ParameterDocumentation {
            data_type: "string",
            repeats: false,
            example: "Patient",
            text: "Patient: the files are blocks of one patient's resources each.",
        },
    },
    ExportParameter {
        name: "allowPartialManifests",
        taken: ParameterScope::ByStandard,
        #[cfg(feature = "server")]
        documentation: ParameterDocumentation {
            data_type: "boolean",
            repeats: false,
            example: "true",
            text: "Whether files are shown, in manifests with links, while others are still written.",
        },
    },
];
