//! Evanesce: a FHIR Bulk Data export server whose files are gone when it says they are gone.
//!
//! The program is `evanesce serve`; this library is the same thing beside a host's own export
//! workers. A host gives an [`Exporter`] and starts an [`Evanesce`]. With the feature `server` it may mount
//! the routes of `http::configure` in an actix-web application of its own; without features it has the life
//! cycle alone, and builds no HTTP, no TLS and no command line. With the feature `client` it has a client of
//! any FHIR Bulk Data server, `client::export`, and no server for it.
//!
//! ```
//! # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
//! # use example::Patients;
//! use evanesce::{ClientId, Evanesce, Kickoff};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let dir = folder.path();
//! let evanesce = Evanesce::builder().data_dir(dir).exporter(Patients).start().await?;
//! let owner: ClientId = "my-client".parse()?;
//! let job = evanesce.submit(Kickoff::system(), owner.clone()).await?;
//! evanesce.wait_finished(job).await;
//! let manifest = evanesce.job(&owner.clone().into(), job).await?.manifest(0)?;
//! let file = evanesce.open_file(&owner.clone().into(), job, &manifest.files[0].name).await?;
//! let text = file.read_at(0, 1 << 20).await?;
//! drop(file); // a download that is open keeps its file
//! evanesce.cancel(job, owner).await?; // resolves when the mark is durable
//! let receipt = evanesce.wait_erased(job).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Dependencies point downwards: `cli` over `http` over the embedding API over the actors over
//! `admission`; `export`, `source`, `space` and `erase` over `store`, `files` and `receipts`; `job`, the
//! domain, depends on nothing of ours. Promises are cited as P1 to P15, requirements of the
//! protocol by ids such as D-5 or K-7.
//!
//! What is listed at the end of this page is the whole public surface. The rooms of the crate are private; its
//! own tests see them by the feature `breakpoints`, of which nothing is promised.

// What can be reached can be named: the list below is whole.
#![cfg_attr(not(feature = "breakpoints"), warn(unnameable_types))]
// What only tests use is in no release; the build with the feature finds what nobody uses.
#![cfg_attr(not(feature = "breakpoints"), allow(unused_imports))]
#![cfg_attr(docsrs, feature(doc_cfg))]
// They panic when nobody reads, and wait for those who read nothing (P13): see `cli::output` and
// `telemetry`.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod actors;
mod admission;
mod builder;
mod cancel;
mod chain;
#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod config;
#[cfg(feature = "console")]
pub mod console;
#[cfg(feature = "server")]
mod control;
mod evanesce;
#[cfg(feature = "cli")]
mod fsck;
#[cfg(feature = "generate")]
mod generate;
#[cfg(doc)]
pub mod guide;
#[cfg(feature = "server")]
pub mod http;
mod lock;
mod plain_file;
#[cfg(feature = "smart")]
pub mod smart;
mod space;
mod standing;
#[cfg(feature = "cli")]
mod transport;

// What only tests and measurements see: the feature `breakpoints` never reaches a release.
#[cfg(not(feature = "breakpoints"))]
mod audit;
#[cfg(feature = "breakpoints")]
#[doc(hidden)]
pub mod audit;
#[cfg(all(feature = "server", not(feature = "breakpoints")))]
mod auth;
#[cfg(all(feature = "server", feature = "breakpoints"))]
#[doc(hidden)]
pub mod auth;
#[cfg(not(feature = "breakpoints"))]
mod clock;
#[cfg(feature = "breakpoints")]
#[doc(hidden)]
pub mod clock;
#[cfg(not(feature = "breakpoints"))]
mod erase;
#[cfg(feature = "breakpoints")]
#[doc(hidden)]
pub mod erase;
#[cfg(not(feature = "breakpoints"))]
mod export;
#[cfg(feature = "breakpoints")]
#[doc(hidden)]
pub mod export;
#[cfg(not(feature = "breakpoints"))]
mod fhir;
#[cfg(feature = "breakpoints")]
#[doc(hidden)]
pub mod fhir;
#[cfg(not(feature = "breakpoints"))]
mod files;
#[cfg(feature = "breakpoints")]
#[doc(hidden)]
pub mod files;
#[cfg(not(feature = "breakpoints"))]
mod hooks;
#[cfg(feature = "breakpoints")]
#[doc(hidden)]
pub mod hooks;
#[cfg(not(feature = "breakpoints"))]
mod index;
#[cfg(feature = "breakpoints")]
#[doc(hidden)]
pub mod index;
#[cfg(not(feature = "breakpoints"))]
mod job;
#[cfg(feature = "breakpoints")]
#[doc(hidden)]
pub mod job;
#[cfg(not(feature = "breakpoints"))]
mod keys;
#[cfg(feature = "breakpoints")]
#[doc(hidden)]
pub mod keys;
#[cfg(not(feature = "breakpoints"))]
mod receipts;
#[cfg(feature = "breakpoints")]
#[doc(hidden)]
pub mod receipts;
#[cfg(not(feature = "breakpoints"))]
mod source;
#[cfg(feature = "breakpoints")]
#[doc(hidden)]
pub mod source;
#[cfg(not(feature = "breakpoints"))]
mod store;
#[cfg(feature = "breakpoints")]
#[doc(hidden)]
pub mod store;
#[cfg(not(feature = "breakpoints"))]
mod telemetry;
#[cfg(feature = "breakpoints")]
#[doc(hidden)]
pub mod telemetry;
#[cfg(not(feature = "breakpoints"))]
mod view;
#[cfg(feature = "breakpoints")]
#[doc(hidden)]
pub mod view;

pub use admission::SubmitError;
#[cfg(feature = "server")]
pub use auth::{Authority, AuthorityError, OperatorToken};
pub use builder::{Builder, StartError};
pub use cancel::TokenFired;
pub use clock::Clock;
pub use erase::{FailingSweep, OrderError, ReaperStatus};
pub use evanesce::{
    CancelError, CancelledJob, CompletionError, Evanesce, ExportCapabilities, JobAbsent, JobOverview,
    JobOwner, JobProgress, JobSnapshot, JobWatch, ManifestPage, OpenFile, OpenFileError, PageAbsent,
    ProofAbsent, Readiness, SourceReadError, Submission,
};
pub use export::{
    CancelToken, ExportError, Exporter, GroupName, HeldResources, OutlivingWork, Part, PartSummary,
    PartWriter, Plan,
};
pub use fhir::elements::{Elements, ElementsError};
pub use fhir::reference::BaseUrls;
pub use fhir::search::{ErrorKind as FilterErrorKind, FilterError, TypeFilter};
pub use fhir::{IssueCode, OperationOutcome, ResourceType, Severity, UnknownType};
pub use files::FilesError;
pub use job::bounds::BoundExceeded;
pub use job::{
    AssociatedData, ClientId, CodedForm, Completion, ContentCoding, ExportAccess, ExportRequest, Failure,
    FailureReason, InvalidName, JobId, JobState, KeyDestruction, Kickoff, Level, Mark, MarkReason,
    OrganizeBy, OutputFile, ParameterError, Parameters, ProofSigner, Receipt, StateName, SweepFailure,
    TenantId, Tombstone, TypeShare,
};
pub use receipts::{
    ErasureProof, InvalidReceiptKey, JobHold, ProofError, ReaperPause, ReceiptKey, ReceiptsError,
};
pub use space::NoRoom;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub use cli::main as run_program;
