//! One suite a trait, run by every backend: a new backend adds one call here.

mod contract;
mod files;
mod store;
