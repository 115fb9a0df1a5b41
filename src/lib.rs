//! Evanesce: a FHIR Bulk Data export server whose files are gone when it says they are gone.

pub mod actors;
pub mod cli;
pub mod clock;
pub mod config;
mod evanesce;
pub mod export;
pub mod fhir;
pub mod files;
pub mod generate;
pub mod hooks;
pub mod http;
pub mod job;
pub mod receipts;
pub mod reconcile;
pub mod source;
pub mod store;
pub mod telemetry;

pub use evanesce::{Builder, CancelError, Cancelled, Evanesce, Kickoff, StartError};
