//! FHIR R4 as far as this server uses it: OperationOutcomes, instants, resource types, searches,
//! elements, references, attachments, the CapabilityStatement and the OperationDefinitions.

pub mod attachment;
pub mod audit_event;
#[cfg(feature = "server")]
mod capability;
pub mod compartment;
pub mod date_time;
pub mod elements;
#[cfg(feature = "server")]
mod export_operation;
mod export_parameter;
pub mod instant;
mod level;
mod outcome;
mod quoted;
pub mod reference;
mod resource_type;
pub mod search;
#[cfg(feature = "server")]
mod told;
mod unknown_type;

#[cfg(feature = "server")]
pub use capability::{CapabilityOffer, CapabilityProfile, capability_statement};
#[cfg(feature = "server")]
pub use export_operation::{EXPORT_OPERATIONS, ExportOperation, GROUP_EXPORT, PATIENT_EXPORT, SYSTEM_EXPORT};
pub use export_parameter::{EXPORT_PARAMETERS, ExportParameter, ParameterScope};
pub use level::{ALL_PATIENTS, Level};
pub use outcome::{IssueCode, OperationOutcome, Severity};
pub use quoted::quoted;
pub use resource_type::ResourceType;
#[cfg(feature = "server")]
pub use told::{milliseconds, seconds};
pub use unknown_type::UnknownType;
