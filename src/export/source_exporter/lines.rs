//! What is done with each line of the source on its way out. Types for which nothing is to be
//! done go out as they are, many lines at a time.

use serde::{Deserialize, Serialize};

use crate::export::{ExportError, PartWriter};
use crate::fhir::ResourceType;
use crate::job::ExportRequest;

/// What a part's content says of its lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LineOptions {
    /// The base URL that clients see, for attachments (O-4); empty leaves them as they are.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub base_url: String,
}

impl LineOptions {
    /// What a request says of its lines.
    pub fn of(request: &ExportRequest) -> Self {
        Self { base_url: request.kickoff.base_url.clone() }
    }
}

/// The options, ready for use.
pub struct Lines {}

impl Lines {
    /// Makes the options ready.
    ///
    /// # Errors
    /// If they are not those of this version.
    pub fn new(_options: &LineOptions) -> Result<Self, ExportError> {
        Ok(Self {})
    }

    /// Whether lines of that type may go out other than they are, or not at all.
    pub fn change(&self, _resource_type: ResourceType) -> bool {
        false
    }

    /// Writes what becomes of one line, given without its line break.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(
        &mut self,
        resource_type: ResourceType,
        line: &[u8],
        out: &mut PartWriter,
    ) -> Result<(), ExportError> {
        out.resource(resource_type, line)
    }
}
