//! What `_typeFilter`, the restrictions of scopes and `_elements` leave of a line. All look at one
//! line at a time, when it is copied. A resource that a filter leaves out is selected nevertheless: it
//! counts for estimates, and what it refers to is exported.

use crate::export::{CancelToken, ExportError, PartWriter};
use crate::fhir::elements::{Elements, SubsetError};
use crate::fhir::reference::BaseUrls;
use crate::fhir::search::{TypeFilter, TypeFilters};
use crate::fhir::{IssueCode, OperationOutcome, ResourceType, Severity};

/// Leaves out lines that filters do not let through, and cuts down the others.
pub struct LineNarrowing {
    /// What is asked for, and what the export may hold of types of which it may not hold all.
    filters: TypeFilters,
    elements: Elements,
    /// Those below which references are relative.
    bases: BaseUrls,
    /// Bytes that a line may get longer if it is cut down.
    growth: u64,
    subset: Vec<u8>,
}

impl LineNarrowing {
    /// Combines the filters, restrictions and elements of a request.
    pub fn new(
        filters: Vec<TypeFilter>,
        restrictions: Vec<TypeFilter>,
        elements: Elements,
        bases: BaseUrls,
    ) -> Self {
        Self {
            filters: TypeFilters::new([restrictions, filters]),
            elements,
            bases,
            growth: longest_growth(),
            subset: Vec::new(),
        }
    }

    /// Returns whether lines of that type may be left out or cut down.
    pub fn change(&self, resource_type: ResourceType) -> bool {
        self.filters.filters(resource_type) || self.elements.applies_to(resource_type)
    }

    /// Returns whether the line goes out.
    ///
    /// # Errors
    /// [`ExportError::Cancelled`].
    pub fn keeps(
        &self,
        resource_type: ResourceType,
        line: &[u8],
        cancel: &CancelToken,
    ) -> Result<bool, ExportError> {
        Ok(self.filters.matches(resource_type, line, &self.bases, cancel)?)
    }

    /// Returns the bytes that a line of that type may get longer.
    pub fn growth(&self, resource_type: ResourceType) -> u64 {
        if self.elements.applies_to(resource_type) { self.growth } else { 0 }
    }

    /// Writes what is asked for of a line. One that cannot be cut down is left out, and an
    /// `error` file says so.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(
        &mut self,
        resource_type: ResourceType,
        line: &[u8],
        cancel: &CancelToken,
        out: &mut PartWriter,
    ) -> Result<(), ExportError> {
        if !self.elements.applies_to(resource_type) {
            return out.resource(resource_type, line);
        }
        self.subset.clear();
        match self.elements.subset(resource_type, line, cancel, &mut self.subset) {
            Ok(()) => out.resource(resource_type, &self.subset),
            Err(SubsetError::Cancelled(cancelled)) => Err(cancelled.into()),
            Err(_) => out.outcome(&untagged(resource_type)),
        }
    }
}

/// A line gets a tag; or it is left out and told of, which is longest for the type with the
/// longest name.
fn longest_growth() -> u64 {
    let longest = ResourceType::all().max_by_key(|resource_type| resource_type.as_str().len());
    let told = longest.map_or(0, |resource_type| untagged(resource_type).to_json().len() + 1);
    Elements::GROWTH.max(told) as u64
}

/// Returns what the `error` file says of a line that cannot be cut down.
fn untagged(resource_type: ResourceType) -> OperationOutcome {
    let text = format!(
        "A resource of type {} has a meta that cannot be tagged as SUBSETTED; it was left out of the export.",
        resource_type.as_str()
    );
    OperationOutcome::new(Severity::Error, IssueCode::Invalid, text)
}
