//! Why an instance could not be started.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use crate::audit::AuditError;
use crate::erase::reconcile::ReconcileError;
use crate::files::FilesError;
use crate::keys::KeysError;
use crate::receipts::{ReceiptsError, WitnessError};
use crate::store::StoreError;

/// What went wrong in a room of the instance.
type StartCause = Box<dyn Error + Send + Sync>;

/// Why an instance could not be started. Nothing was changed that the next start would miss.
///
/// ```
/// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/evanesce/example.rs")); }
/// # use evanesce::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> example::Done {
/// # let (folder, _evanesce) = example::host().await?;
/// let refused = Evanesce::builder().data_dir(folder.path()).exporter(example::Patients).start().await;
/// assert!(matches!(refused, Err(StartError::InUse(_))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process has the data directory.
    #[error(
        "the data directory {0} is in use by another process; stop that one first, or use another --data-dir"
    )]
    InUse(PathBuf),
    /// The data directory cannot be used.
    #[error("cannot use the data directory: {0}")]
    DataDir(#[source] StartCause),
    /// The lock, or a thread, could not be had.
    #[error("cannot {operation}: {error}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// What went wrong.
        error: io::Error,
    },
    /// The store cannot be opened.
    #[error("cannot open the store: {0}")]
    Store(#[source] StartCause),
    /// The keys of jobs cannot be used.
    #[error("cannot use the keys of jobs: {0}; if they are on another device, see that it is there")]
    Keys(#[source] StartCause),
    /// The chain of receipts is broken.
    #[error("cannot use the receipts: {0}")]
    Receipts(#[source] StartCause),
    /// The receipts are older than the head that `receipts.witness` has, or that cannot be told.
    #[error("{0}")]
    Witness(#[source] StartCause),
    /// The audit log cannot be kept.
    #[error("cannot use the audit log: {0}; audit.enabled=false starts without one")]
    Audit(#[source] StartCause),
    /// The witnesses could not be joined.
    #[error("cannot reconcile store, disk and receipts: {0}")]
    Reconcile(#[source] StartCause),
    /// No source is set, and the folder that is read then is not there.
    #[error(
        "there is nothing to export: no source is set, and {0} is not there; name a folder of FHIR NDJSON files \
         with --source DIR, or make one of synthetic data with `evanesce generate --out {0}`"
    )]
    NoSource(PathBuf),
    /// The source of a tenant cannot be read.
    #[error("cannot use the source: {error}; {setting} should name a folder of FHIR NDJSON files")]
    Source {
        /// What names it.
        setting: String,
        /// What went wrong.
        error: StartCause,
    },
}

impl From<FilesError> for StartError {
    fn from(error: FilesError) -> Self {
        Self::DataDir(error.into())
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl From<KeysError> for StartError {
    fn from(error: KeysError) -> Self {
        Self::Keys(error.into())
    }
}

impl From<ReceiptsError> for StartError {
    fn from(error: ReceiptsError) -> Self {
        Self::Receipts(error.into())
    }
}

impl From<WitnessError> for StartError {
    fn from(error: WitnessError) -> Self {
        Self::Witness(error.into())
    }
}

impl From<AuditError> for StartError {
    fn from(error: AuditError) -> Self {
        Self::Audit(error.into())
    }
}

impl From<ReconcileError> for StartError {
    fn from(error: ReconcileError) -> Self {
        Self::Reconcile(error.into())
    }
}
