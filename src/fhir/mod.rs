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
#[cfg(feature = "server")]
mod instant_text;
mod level;
mod outcome;
mod quoted;
pub mod reference;
mod resource_type;
pub mod search;
mod unknown_type;

#[cfg(feature = "server")]
pub use capability::{CapabilityOffer, CapabilityProfile, capability_statement};
#[cfg(feature = "server")]
pub use export_operation::{EXPORT_OPERATIONS, ExportOperation, GROUP_EXPORT, PATIENT_EXPORT, SYSTEM_EXPORT};
pub use export_parameter::{EXPORT_PARAMETERS, ExportParameter, ParameterScope};
#[cfg(feature = "server")]
pub use instant_text::{milliseconds, seconds};
pub use level::{ALL_PATIENTS, Level};
pub use outcome::{IssueCode, OperationOutcome, Severity};
pub use quoted::quoted;
pub use resource_type::ResourceType;
pub use unknown_type::UnknownType;
