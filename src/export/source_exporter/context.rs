//! What a check or a plan of one request goes by.

use super::SourceOptions;
use super::patients::{self, AskedFor};
use super::roster::RosterCache;
use super::selection::Selection;
use crate::export::{CancelToken, ExportError};
use crate::index::{Index, IndexView};
use crate::job::ExportRequest;

/// A request, and the source as it is at one instant.
#[derive(Clone, Copy)]
pub struct PlanContext<'p> {
    /// The index.
    pub index: &'p Index,
    /// The index as it is now.
    pub look: &'p IndexView<'p>,
    /// Groups that were read lately.
    pub rosters: &'p RosterCache,
    /// What is asked for.
    pub request: &'p ExportRequest,
    /// How the source is exported.
    pub options: &'p SourceOptions,
    /// Of the job.
    pub cancel: &'p CancelToken,
}

impl PlanContext<'_> {
    /// Returns whose compartments the request is about.
    ///
    /// # Errors
    /// Those of [`patients::asked_for`].
    pub fn asked_for(&self) -> Result<AskedFor, ExportError> {
        patients::asked_for(self)
    }

    /// Returns what the request selects.
    ///
    /// # Errors
    /// Those of [`patients::asked_for`].
    pub fn selection(&self) -> Result<Selection, ExportError> {
        Ok(Selection::new(self.request, self.options, self.asked_for()?))
    }
}
