//! What is done with each line of the source on its way out. Types for which nothing is to be
//! done go out as they are, many lines at a time.

use serde::{Deserialize, Serialize};

use super::narrow::Narrow;
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
    /// The source's own base URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_url: Option<String>,
    /// `_typeFilter`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub type_filters: Vec<String>,
    /// `_elements`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub elements: Vec<String>,
}

impl LineOptions {
    /// What a request says of its lines; `source_url` is the source's own base URL.
    pub fn of(request: &ExportRequest, source_url: Option<&str>) -> Self {
        let asked = request.parameters();
        Self {
            base_url: request.kickoff.base_url.clone(),
            source_url: source_url.map(Into::into),
            type_filters: asked.type_filters.clone(),
            elements: asked.elements.clone(),
        }
    }
}

/// The options, ready for use.
pub struct Lines {
    narrow: Narrow,
}

impl Lines {
    /// Makes the options ready.
    ///
    /// # Errors
    /// If they are not those of this version.
    pub fn new(options: &LineOptions) -> Result<Self, ExportError> {
        let narrow = Narrow::new(&options.type_filters, &options.elements, options.source_url.clone())?;
        Ok(Self { narrow })
    }

    /// Whether lines of that type may go out other than they are, or not at all.
    pub fn change(&self, resource_type: ResourceType) -> bool {
        self.narrow.change(resource_type)
    }

    /// Bytes that a line of that type may get longer.
    pub fn growth(&self, resource_type: ResourceType) -> u64 {
        self.narrow.growth(resource_type)
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
        if self.narrow.keeps(resource_type, line) {
            self.narrow.write(resource_type, line, out)?;
        }
        Ok(())
    }
}
