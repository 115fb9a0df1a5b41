//! Evanesce: a FHIR Bulk Data export server whose files are gone when it says they are gone.
//!
//! The program is `evanesce serve`; this library is the same thing beside a host's own export
//! workers. A host gives an [`export::Exporter`], starts an [`Evanesce`], and may mount
//! [`http::configure`] in an actix-web application of its own.
//!
//! ```no_run
//! use evanesce::{Evanesce, Kickoff};
//!
//! # async fn host(mine: impl evanesce::export::Exporter + 'static) -> Result<(), Box<dyn std::error::Error>> {
//! let evanesce = Evanesce::builder().data_dir("exports").exporter(mine).start().await?;
//! let job = evanesce.submit(Kickoff::system(), "my-client".parse()?).await?;
//! evanesce.cancel(job, "my-client".parse()?).await?; // resolves when the mark is durable
//! let receipt = evanesce.wait_erased(job).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Dependencies point downwards: `cli` over `http` over the embedding API over the actors;
//! `export`, `source`, `space` and `erase` over `store`, `files` and `receipts`; `job`, the
//! domain, depends on nothing of ours. Promises are cited as P1 to P15, requirements of the
//! protocol by ids such as D-5 or K-7.

// They panic when nobody reads, and wait for those who read nothing (P13): see `cli::output` and
// `telemetry`.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod actors;
pub mod audit;
pub mod auth;
mod builder;
mod cancel;
mod chain;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
pub mod config;
mod control;
pub mod erase;
mod evanesce;
pub mod export;
pub mod fhir;
pub mod files;
#[cfg(feature = "cli")]
mod fsck;
#[cfg(feature = "generate")]
mod generate;
pub mod hooks;
pub mod http;
pub mod index;
pub mod job;
mod lock;
mod plain_file;
pub mod receipts;
pub mod source;
mod space;
mod standing;
pub mod store;
pub mod telemetry;
#[cfg(feature = "cli")]
mod transport;
pub mod view;

pub use actors::SubmitError;
pub use builder::{Builder, StartError};
pub use erase::reconcile::ReconcileError;
pub use erase::{OrderError, ReaperStatus};
pub use evanesce::{
    CancelError, Cancelled, Evanesce, JobAbsent, JobOverview, JobOwner, JobSnapshot, ManifestPage, OpenFile,
    OpenFileError, PageAbsent, Readiness, SourceReadError, Submission,
};
pub use job::Kickoff;
pub use space::NoRoom;
