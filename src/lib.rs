//! Evanesce: a FHIR Bulk Data export server whose files are gone when it says they are gone.

pub mod config;
pub mod fhir;
pub mod files;
pub mod hooks;
pub mod job;
pub mod receipts;
pub mod store;
pub mod telemetry;
