//! One suite a trait, run by every backend: a new backend adds one call to each `on_every_backend`.

mod committer;
mod contract;
mod files;
mod formats;
mod receipts;
mod store;
mod view;
