//! Running exports. An [`Exporter`] plans a request into parts, and a pool of workers runs the
//! parts, fair between jobs. Each part writes through a [`PartWriter`], which can be paused,
//! cancelled and fenced from outside.

mod exporters;
mod gate;
mod notices;
mod output;
mod planning;
mod pool;
mod request_cache;
mod resume;
mod session;
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

use crate::cancel::TokenFired;
use crate::fhir::ResourceType;
use crate::files::FilesError;
use crate::job::{ExportRequest, FailureReason};

pub use crate::cancel::CancelToken;
pub use exporters::{Exporters, ServedTenants};
pub use gate::{Gate, WriteTotals};
pub use notices::WithNotices;
pub use planning::{PlanHandover, PlanQueue, PlanTurn};
pub use pool::{OutlivingWork, Pool, PoolThreads};
pub(crate) use request_cache::read as read_request;
pub use resume::{ResumeError, ResumedExport};
pub use session::ExportSession;
pub use source_exporter::{SourceExporter, SourceOptions};
pub use throttle::{ByteRates, Throttle};
pub use work::{FenceReport, PartDone, StuckWriter, Work, WriteLimits};
pub use writer::{OutputForm, PartWriter};

/// How an export will be done. The plan is written to the job's directory. A resume after a restart
/// runs the parts that were not sealed, and never plans again.
///
/// ```
/// use evanesce::{Part, Plan};
///
/// let part = Part { weight: 10, content: serde_json::json!({"table": "patients"}) };
/// let plan = Plan { bytes: Some(4096), ..Plan::new(jiff::Timestamp::now(), vec![part]) };
/// assert_eq!(plan.parts.len(), 1);
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// The instant at which the source is exported (MF-1): everything that was there then, and
    /// nothing that came later (K-20).
    pub transaction_time: Timestamp,
    /// The parts, in the order of the files in the manifest.
    pub parts: Vec<Part>,
    /// The most bytes that all parts together will write. With `None`, the estimate of the kick-off
    /// stays. A job whose plan has more bytes than there is room for fails before it writes any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// What the exporter wants to keep alive as long as the job runs.
    #[serde(skip)]
    pub held: HeldResources,
}

impl Plan {
    /// Creates a plan of unknown size that keeps nothing alive.
    pub fn new(transaction_time: Timestamp, parts: Vec<Part>) -> Self {
        Self { transaction_time, parts, bytes: None, held: HeldResources::default() }
    }
}

/// A value that lives as long as a job runs in this process, such as open descriptors of its
/// source. It is not written to disk, so a job that is resumed after a restart has none.
///
/// ```
/// use evanesce::{HeldResources, Plan};
///
/// let snapshot = std::fs::File::open("/dev/null")?;
/// let plan = Plan { held: HeldResources::new(snapshot), ..Plan::new(jiff::Timestamp::now(), Vec::new()) };
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct HeldResources(Option<Arc<dyn Any + Send + Sync>>);

impl HeldResources {
    /// Keeps `thing` alive.
    pub fn new(thing: impl Any + Send + Sync) -> Self {
        Self(Some(Arc::new(thing)))
    }
}

impl fmt::Debug for HeldResources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Held" } else { "Held nothing" })
    }
}

/// One piece of a plan. One worker runs it, and it is sealed as a whole or run again.
///
/// ```
/// let part = evanesce::Part { weight: 10, content: serde_json::json!({"rows": [0, 1000]}) };
/// assert_eq!(serde_json::to_value(&part)?["weight"], 10);
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The amount of work, in a unit of the exporter's choice. Progress is counted in this unit.
    /// The built-in exporter counts bytes to copy.
    pub weight: u64,
    /// What the exporter must know to run this part. What all parts have in common belongs into the
    /// request ([`PartWriter::request`]), because this is stored once per part.
    pub content: serde_json::Value,
}

/// What a part found, apart from what it wrote.
///
/// ```
/// assert_eq!(evanesce::PartSummary::default().broken_lines, 0);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartSummary {
    /// The lines of the source that were skipped because they are not resources.
    pub broken_lines: u64,
}

/// Why a plan or a part failed. The texts are logged, so they name no patient (P12).
///
/// ```
/// use evanesce::ExportError;
///
/// let error = ExportError::SourceUnreadable("the database does not answer".into());
/// assert_eq!(error.to_string(), "the source could not be read: the database does not answer");
/// ```
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The job was cancelled. Every call of its writer returns this from then on.
    #[error("cancelled")]
    Cancelled,
    /// The source is no longer the one that was planned.
    #[error("the source changed: {0}")]
    SourceChanged(String),
    /// The source could not be read.
    #[error("the source could not be read: {0}")]
    SourceUnreadable(String),
    /// The group does not exist, is not active, or does not list actual members.
    #[error("the group is not defined or not active")]
    GroupNotFound,
    /// The group has groups as members.
    #[error("the group has groups as members")]
    GroupNested,
    /// A requested patient is not known, or not a member of the group.
    #[error("a patient is not known, or no member of the group")]
    PatientNotFound,
    /// The index of the source could not be read or written.
    #[error("the index could not be read or written: {0}")]
    Index(io::Error),
    /// The writer was given a resource of a type that this export may not hold.
    #[error("resources of type {0} are not for this export")]
    Withheld(&'static str),
    /// The output could not be written.
    #[error(transparent)]
    Output(#[from] FilesError),
    /// The read cannot be done soon. It may be tried again.
    #[error("the source is busy")]
    Busy,
    /// Any other reason.
    #[error("{0}")]
    Other(String),
}

impl From<TokenFired> for ExportError {
    fn from(_: TokenFired) -> Self {
        Self::Cancelled
    }
}

impl ExportError {
    /// Returns the reason that the client sees, or `None` for a cancelled job, which did not fail.
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

/// What a search for Groups compares.
///
/// ```
/// use evanesce::GroupName;
///
/// let group = GroupName { id: "diabetics".into(), name: Some("Diabetics".into()), ..GroupName::default() };
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupName {
    /// The Group's id.
    pub id: String,
    /// The Group's name, if it has one.
    pub name: Option<String>,
    /// The JSON of the Group's `identifier` element, if it has one.
    pub identifier: Option<String>,
}

/// How long a kick-off waits for [`Exporter::check`].
pub const CHECK_PATIENCE: Duration = Duration::from_secs(2);

/// Produces the bytes of exports: a host's own type, or the one of the program over a folder.
///
/// An export holds what its request asks for, restricted to what its
/// [`access`](ExportRequest::access) allows. It leaves out types that the access does not cover,
/// also where they would go along with other types. Of a type with restrictions it leaves out the
/// resources that match none of them. The writer refuses types that are not covered. Everything
/// else is up to the exporter, including the entries of Bundles of deletions.
///
/// All calls may block; they run on threads made for that. An exporter must be able to run a part
/// again, in this process or a later one, until the part is sealed.
///
/// ```
/// use evanesce::{CancelToken, ExportError, ExportRequest, Exporter, Part, PartSummary, PartWriter, Plan, ResourceType};
///
/// /// Exports what a table has: one part a table.
/// struct Tables;
///
/// impl Exporter for Tables {
///     fn plan(&self, _: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
///         let part = Part { weight: 1000, content: "patients".into() };
///         Ok(Plan::new(jiff::Timestamp::now(), vec![part]))
///     }
///
///     fn run(&self, _: &Part, out: &mut PartWriter, cancel: &CancelToken) -> Result<PartSummary, ExportError> {
///         let patient = ResourceType::of("Patient").expect("a type of FHIR");
///         for row in 0..1000 {
///             cancel.check()?;
///             out.resource(patient, format!(r#"{{"resourceType":"Patient","id":"{row}"}}"#).as_bytes())?;
///             out.progress(1)?;
///         }
///         Ok(PartSummary::default())
///     }
/// }
/// ```
pub trait Exporter: Send + Sync {
    /// Checks a request before it is accepted. The kick-off then refuses what cannot be exported,
    /// or has no room. Returns an upper bound of the bytes that the export will write, or `None` if
    /// that is not known. The kick-off waits for two seconds at most: then `cancel` fires,
    /// the job is accepted, and it fails when it is planned.
    ///
    /// # Errors
    /// Any error with a reason refuses the kick-off with that reason.
    fn check(&self, _request: &ExportRequest, _cancel: &CancelToken) -> Result<Option<u64>, ExportError> {
        Ok(None)
    }

    /// Returns the newest version of a resource that clients may read outside of an export: a Group
    /// (K-14) or a Binary (O-4), as one JSON object. Returns `None` if there is no such resource.
    ///
    /// # Errors
    /// Fails with [`ExportError::Busy`] if the resource cannot be read soon.
    fn read(&self, _resource_type: ResourceType, _id: &str) -> Result<Option<Vec<u8>>, ExportError> {
        Ok(None)
    }

    /// Returns all Groups that [`Exporter::read`] knows, in the order of their ids, for clients to
    /// search (K-14).
    ///
    /// # Errors
    /// Fails with [`ExportError::Busy`] if the Groups cannot be listed soon.
    fn groups(&self) -> Result<Arc<Vec<GroupName>>, ExportError> {
        Ok(Arc::default())
    }

    /// Plans a request. It is called once per job.
    ///
    /// # Cancellation
    /// When `cancel` fires, the call should soon return [`ExportError::Cancelled`]. A call that
    /// does not is abandoned after `export.cancel_deadline`: another thread takes its place, as
    /// long as there are replacements.
    ///
    /// # Errors
    /// Any error but `Cancelled` fails the job with its reason.
    fn plan(&self, request: &ExportRequest, cancel: &CancelToken) -> Result<Plan, ExportError>;

    /// Called when the instance goes down. A call that takes long should soon return
    /// [`ExportError::Cancelled`]; its job goes on at the next start.
    fn stop(&self) {}

    /// Runs one part. It writes the part's resources with [`PartWriter::resource`], reports
    /// progress with [`PartWriter::progress`], and returns. The files are sealed afterwards.
    ///
    /// # Cancellation
    /// When `cancel` fires, the part should soon return [`ExportError::Cancelled`]. Each call of
    /// the writer returns that from then on. A part that does not stop is fenced after
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
