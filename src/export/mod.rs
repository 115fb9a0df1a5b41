//! Running exports: an [`Exporter`] plans a request into parts; a pool of workers runs the
//! parts, fair between jobs; each part writes through a [`PartWriter`] that can be paused,
//! cancelled and fenced from outside.

mod asked;
mod exporters;
mod gate;
mod notices;
mod output;
mod pool;
mod source_exporter;
mod throttle;
mod work;
mod writer;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cancel::Cancelled;
use crate::fhir::ResourceType;
use crate::files::FilesError;
use crate::job::{ExportRequest, FailureReason};

pub use crate::cancel::CancelToken;
pub(crate) use asked::read as read_request;
pub use exporters::{Exporters, Served};
pub use gate::{Gate, Written};
pub use notices::WithNotices;
pub use pool::{Outliving, Pool, Threads};
pub use source_exporter::{SourceExporter, SourceOptions};
pub use throttle::{Rates, Throttle};
pub use work::{Fenced, Limits, PartDone, Straggler, Work};
pub use writer::{Form, PartWriter};

/// How an export is going to be done. It is written to the job's directory; a resume after a
/// restart runs the parts that were not sealed and never plans again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// The instant whose view of the source is exported (MF-1): all that was there then, and
    /// nothing that came later (K-20).
    pub transaction_time: Timestamp,
    /// The parts; their order is the order of the files in the manifest.
    pub parts: Vec<Part>,
    /// Bytes that all parts together are going to write, at the most; `None` if that is not
    /// known, and what the kick-off was told counts. A plan that says more than there is room
    /// for fails its job before a byte is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// What the exporter wants to stay alive as long as the job runs.
    #[serde(skip)]
    pub held: Held,
}

impl Plan {
    /// A plan that says nothing of its bytes and holds nothing else.
    pub fn new(transaction_time: Timestamp, parts: Vec<Part>) -> Self {
        Self { transaction_time, parts, bytes: None, held: Held::default() }
    }
}

/// Something that lives as long as a job runs in this process, such as open descriptors of its
/// source. It is not written down: a job that is resumed after a restart has none.
#[derive(Clone, Default)]
pub struct Held(Option<Arc<dyn Any + Send + Sync>>);

impl Held {
    /// Holds `thing`.
    pub fn new(thing: impl Any + Send + Sync) -> Self {
        Self(Some(Arc::new(thing)))
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Held" } else { "Held nothing" })
    }
}

/// One piece of a plan: run by one worker, sealed as a whole or run again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// How much work it is, in a unit of the exporter's choice; the unit of progress. The
    /// built-in exporter's are bytes that are copied.
    pub weight: u64,
    /// What the exporter needs to know to run it, beside what holds for all parts
    /// ([`PartWriter::request`]): what is said here is kept as often as there are parts.
    pub content: serde_json::Value,
}

/// What a part found, beside what it wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartSummary {
    /// Lines of the source that were skipped because they are no resource.
    pub broken_lines: u64,
}

/// Why a plan or a part could not be done. The texts are logged: they name no patient (P12).
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The job was cancelled; every call of its writer says so.
    #[error("cancelled")]
    Cancelled,
    /// The source is not the one that was planned any more.
    #[error("the source changed: {0}")]
    SourceChanged(String),
    /// The source could not be read.
    #[error("the source could not be read: {0}")]
    SourceUnreadable(String),
    /// There is no such group, or it is not one of actual, active members.
    #[error("the group is not defined or not active")]
    GroupNotFound,
    /// The group has groups as members.
    #[error("the group has groups as members")]
    GroupNested,
    /// A patient that is asked for is not known, or no member of the group.
    #[error("a patient is not known, or no member of the group")]
    PatientNotFound,
    /// The index of the source could not be kept.
    #[error("the index could not be read or written: {0}")]
    Index(io::Error),
    /// The writer was given a resource of a type that the export may not hold.
    #[error("resources of type {0} are not for this export")]
    Withheld(&'static str),
    /// The output could not be written.
    #[error(transparent)]
    Output(#[from] FilesError),
    /// A read cannot be done soon; it may be tried again.
    #[error("the source is busy")]
    Busy,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<Cancelled> for ExportError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl ExportError {
    /// The reason that the client is told; `None` for a cancelled job, which did not fail.
    pub fn reason(&self) -> Option<FailureReason> {
        match self {
            Self::Cancelled => None,
            Self::SourceChanged(_) => Some(FailureReason::SourceChanged),
            Self::SourceUnreadable(_) | Self::Busy => Some(FailureReason::SourceUnreadable),
            Self::GroupNotFound => Some(FailureReason::GroupNotFound),
            Self::GroupNested => Some(FailureReason::GroupNested),
            Self::PatientNotFound => Some(FailureReason::PatientNotFound),
            Self::Withheld(_) => Some(FailureReason::AccessExceeded),
            Self::Index(e) if crate::files::is_full(e) => Some(FailureReason::StorageFull),
            Self::Index(_) => Some(FailureReason::StorageFailed),
            Self::Output(e) if e.is_too_large() => Some(FailureReason::TooLarge),
            Self::Output(e) if e.is_full() => Some(FailureReason::StorageFull),
            Self::Output(_) => Some(FailureReason::StorageFailed),
            Self::Other(_) => Some(FailureReason::ExporterFailed),
        }
    }
}

/// What a search for Groups looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupName {
    /// Its id.
    pub id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its `identifier`, if it has any: the JSON of that element.
    pub identifier: Option<String>,
}

/// How long a kick-off waits for [`Exporter::check`].
pub const CHECK_PATIENCE: Duration = Duration::from_secs(2);

/// Produces the bytes of exports; the host's own, or [`SourceExporter`] over a folder.
///
/// An export holds what its request asks for and, of that, nothing but what its
/// [`access`](ExportRequest::access) allows: types that it does not cover are left out, also where
/// they would go along with others; of a type with restrictions, what matches none of them is. The
/// writer refuses types that are not covered; the rest is the exporter's to obey, and so are the
/// entries of the Bundles that tell of deletions.
///
/// All calls may block: they run on threads for that. An implementation must be fit to run
/// the same part again, in the same or in a later process, as long as it was not sealed.
pub trait Exporter: Send + Sync {
    /// Looks at a request before it is accepted, so that the kick-off can refuse what cannot
    /// be exported, or has no room. Gives an estimate of the bytes that the export is going to
    /// write, never less than it will be; `None` if that is not known. An answer that takes
    /// longer than [`CHECK_PATIENCE`] is not waited for: `cancel` fires, the job is accepted and
    /// fails when it is planned.
    ///
    /// # Errors
    /// Any error with a reason refuses the kick-off with it.
    fn check(&self, _request: &ExportRequest, _cancel: &CancelToken) -> Result<Option<u64>, ExportError> {
        Ok(None)
    }

    /// The newest version of a resource that clients may read outside of an export: a Group
    /// (K-14) or a Binary (O-4), one JSON object; `None` if there is none.
    ///
    /// # Errors
    /// [`ExportError::Busy`] if it cannot be read soon.
    fn read(&self, _resource_type: ResourceType, _id: &str) -> Result<Option<Vec<u8>>, ExportError> {
        Ok(None)
    }

    /// All Groups that [`Exporter::read`] gives, in the order of their ids: clients may search
    /// them (K-14).
    ///
    /// # Errors
    /// [`ExportError::Busy`] if they cannot be told soon.
    fn groups(&self) -> Result<Arc<Vec<GroupName>>, ExportError> {
        Ok(Arc::default())
    }

    /// Plans a request. Called once a job.
    ///
    /// # Cancellation
    /// When `cancel` fires it should return [`ExportError::Cancelled`] soon: nobody wants the plan
    /// any more. One that does not loses its place among the planners after
    /// `export.cancel_deadline`, as long as there are replacements.
    ///
    /// # Errors
    /// Any error but `Cancelled` fails the job with its reason.
    fn plan(&self, request: &ExportRequest, cancel: &CancelToken) -> Result<Plan, ExportError>;

    /// Says that the instance is going down: a call that takes long should return soon, with
    /// [`ExportError::Cancelled`]; its job goes on at the next start.
    fn stop(&self) {}

    /// Runs one part: writes its resources with [`PartWriter::resource`], says how far it is
    /// with [`PartWriter::progress`], and returns. The files are sealed afterwards.
    ///
    /// # Cancellation
    /// When `cancel` fires the part should return [`ExportError::Cancelled`] soon; each call
    /// of the writer returns it from then on. A part that does not is fenced after
    /// `export.cancel_deadline`: its files are closed under it.
    ///
    /// # Errors
    /// Any error but `Cancelled` fails the job with its reason. A panic fails the job too.
    fn run(
        &self,
        part: &Part,
        out: &mut PartWriter,
        cancel: &CancelToken,
    ) -> Result<PartSummary, ExportError>;
}
