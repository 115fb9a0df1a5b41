//! What the rules of a profile say of parameters and types (K-16 to K-18).

use super::ProtocolProfile;
use crate::fhir::{EXPORT_PARAMETERS, ExportParameter, ParameterScope, ResourceType};

/// Returns the parameters that are taken under the rules of a profile.
pub fn taken_by(profile: ProtocolProfile) -> impl Iterator<Item = &'static ExportParameter> {
    let is_taken = move |parameter: &&ExportParameter| {
        profile == ProtocolProfile::Standard || parameter.taken == ParameterScope::Always
    };
    EXPORT_PARAMETERS.iter().filter(is_taken)
}

/// The types that Soarian exports (K-16). The second list are its reference resources, which
/// need one of the first beside them (K-17).
pub const SOARIAN_TYPES: [&[&str]; 2] = [
    &[
        "AllergyIntolerance",
        "CarePlan",
        "CareTeam",
        "Condition",
        "Device",
        "DiagnosticReport",
        "DocumentReference",
        "Encounter",
        "Goal",
        "Immunization",
        "MedicationRequest",
        "Observation",
        "Patient",
        "Procedure",
    ],
    &["Location", "Organization", "Practitioner", "Provenance"],
];

/// Returns whether an export under the rules of a profile may hold resources of that type.
pub fn exported_under(profile: ProtocolProfile, resource_type: ResourceType) -> bool {
    profile == ProtocolProfile::Standard
        || SOARIAN_TYPES.iter().any(|types| types.contains(&resource_type.as_str()))
}
