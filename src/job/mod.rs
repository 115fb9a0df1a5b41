//! The domain, pure: what a job is, which states it goes through and what must be done on
//! the way. No I/O, no async, no clock; every other room obeys [`transition`].

mod access;
pub mod bounds;
mod completion;
mod failure;
mod handout;
mod id;
pub mod life;
mod parameters;
mod receipt;
mod record;
mod request;
mod summary;
mod transition;

pub use crate::fhir::{ALL_PATIENTS, Level};
pub use access::{AccessSummary, ExportAccess, TypeShare};
pub use completion::{CodedForm, Completion, ContentCoding, JobDocument, OutputFile, SealedPart};
pub use failure::{Failure, FailureReason};
pub use handout::ProofSigner;
pub use id::{ClientId, InvalidName, JobId, TenantId};
pub use parameters::{AssociatedData, OrganizeBy, ParameterError, Parameters};
pub use receipt::{KeyDestruction, Receipt, SweepCounts, Tombstone};
pub use record::{JobRecord, JobState, Mark, MarkReason, StateName, SweepFailure};
pub use request::{ExportRequest, Kickoff};
pub use summary::RequestSummary;
pub use transition::{ERASURE_ORDER, JobEvent, MARK_ORDER, TransitionEffect, TransitionRefusal, transition};
