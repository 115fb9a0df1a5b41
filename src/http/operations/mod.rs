//! The operations. Each file has the URL, the methods, the description and the handler of one operation,
//! or of a few that belong together; `routes` lists them. An operation cannot be routed without a
//! description, and each path is written once.

pub mod binary;
pub mod common;
pub mod delete;
pub mod description;
pub mod download;
pub mod group;
pub mod health;
pub mod introspection;
pub mod jwks;
pub mod kickoff;
pub mod metadata;
pub mod metrics;
pub mod openapi;
pub mod operation;
pub mod operation_definition;
pub mod operator_orders;
pub mod receipts;
pub mod smart_configuration;
pub mod status;
pub mod token;
