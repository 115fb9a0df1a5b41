//! FHIR R4 as far as this server speaks it: OperationOutcomes, instants, resource types, searches,
//! elements, references, attachments, the CapabilityStatement and the OperationDefinitions.

pub mod attachment;
pub mod audit_event;
mod capability;
pub mod compartment;
pub mod date_time;
pub mod elements;
mod export_operation;
pub mod instant;
mod outcome;
mod quoted;
pub mod reference;
mod resource_type;
pub mod search;

pub use capability::{Offer, Profile, capability_statement};
pub use export_operation::{
    EXPORT_OPERATIONS, EXPORT_PARAMETERS, ExportOperation, ExportParameter, GROUP_EXPORT, PATIENT_EXPORT,
    SYSTEM_EXPORT, Taken,
};
pub use outcome::{IssueCode, OperationOutcome, Severity};
pub use quoted::quoted;
pub use resource_type::ResourceType;

use jiff::Timestamp;

/// The instant in whole seconds, as in `2022-05-10T03:14:12Z`.
pub fn seconds(instant: Timestamp) -> String {
    instant.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_instant_is_cut_to_seconds_and_never_rounded_into_the_future() {
        let instant = "2022-05-10T03:14:12.999Z".parse().unwrap();
        assert_eq!(super::seconds(instant), "2022-05-10T03:14:12Z");
    }
}
