//! The embedding API: a host with an exporter of its own, from a plain tokio program.

mod access;
mod door;
mod examples;
mod fairness;
mod host;
mod misbehaving;
mod plans;
mod reads;
mod stuck;
mod tenants;
mod watch;
