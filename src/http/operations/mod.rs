//! The operations, each in a file of its own.

pub mod admin;
pub mod binary;
pub mod delete;
pub mod descriptions;
pub mod download;
pub mod group;
pub mod introspection;
pub mod kickoff;
pub mod manifest;
pub mod metadata;
pub mod openapi;
pub mod operation;
pub mod operation_definition;
pub mod smart_configuration;
pub mod status;
pub mod token;
