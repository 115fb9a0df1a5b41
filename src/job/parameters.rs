//! The parameters of a kick-off (REQUIREMENTS section 3), read and checked: types, filters and
//! elements are parsed once, and written as the texts that they were read from.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fhir::elements::{Elements, ElementsError};
use crate::fhir::search::{FilterError, TypeFilter};
use crate::fhir::{ResourceType, quoted};

/// What a client asked for beside the level. The default asks for everything.
///
/// ```
/// use evanesce::{Parameters, AssociatedData};
///
/// let parameters = Parameters { provenances: Some(AssociatedData::Latest), ..Parameters::default() };
/// let parameters = parameters.with_types(&["Patient", "Observation"])?;
/// let parameters = parameters.with_type_filters(&["Observation?status=final"])?;
/// let parameters = parameters.with_elements(&["Patient.name"])?;
/// assert!(!parameters.partial_manifests);
/// # Ok::<_, evanesce::ParameterError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parameters {
    /// The types of `_type`, without repeats; empty means all that the level exports.
    pub types: Vec<ResourceType>,
    /// `_since`: only resources changed later than this, and those of unknown age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// `_until`: only resources changed earlier than this, and those of unknown age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// `_typeFilter`: searches such as `Observation?status=final`; those of one type are
    /// OR-ed, a type without one is not filtered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub type_filters: Vec<TypeFilter>,
    /// `_elements`: items such as `Patient.name` or `identifier`.
    #[serde(skip_serializing_if = "Elements::is_empty")]
    pub elements: Elements,
    /// `patient`: ids of the patients whose compartments are exported; empty means all that
    /// the level has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patients: Vec<String>,
    /// `includeAssociatedData`: which Provenances go with the exported resources; `None` for
    /// all that the level exports (K-13).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenances: Option<AssociatedData>,
    /// `organizeOutputBy` (O-3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organize_by: Option<OrganizeBy>,
    /// `allowPartialManifests`: whether files are shown before all are written (ST-9).
    #[serde(skip_serializing_if = "is_false")]
    pub partial_manifests: bool,
    /// `Prefer: separate-export-status`: status answers are 200, and a header field says what
    /// became of the export (K-4).
    #[serde(skip_serializing_if = "is_false")]
    pub separate_status: bool,
    /// What was ignored of the kick-off because of `Prefer: handling=lenient`, a sentence each,
    /// for the manifest's `error` files (K-5).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

/// A text that is not a valid value of a parameter. The message may quote it, so it is only for whoever
/// gave the text (P12).
///
/// ```
/// use evanesce::{ParameterError, Parameters};
///
/// let error = Parameters::default().with_types(&["Elephant"]).unwrap_err();
/// assert_eq!(error, ParameterError::UnknownType("Elephant".into()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// A name of `_type` is not a resource type.
    #[error("_type {} is not a resource type of FHIR R4; names are case-sensitive.", quoted(.0))]
    UnknownType(String),
    /// A filter of `_typeFilter` cannot be served.
    #[error("_typeFilter: {0}")]
    TypeFilter(#[from] FilterError),
    /// An item of `_elements` names no element.
    #[error("_elements: {0}")]
    Elements(#[from] ElementsError),
}

impl Parameters {
    /// Replaces the types by those with these names.
    ///
    /// # Errors
    /// Fails if a name is not a resource type of FHIR R4.
    pub fn with_types(self, names: &[impl AsRef<str>]) -> Result<Self, ParameterError> {
        let of = |name: &str| ResourceType::of(name).ok_or_else(|| ParameterError::UnknownType(name.into()));
        let types = names.iter().map(|name| of(name.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { types, ..self })
    }

    /// Replaces the filters by these, such as `Observation?status=final`.
    ///
    /// # Errors
    /// Fails if a filter cannot be evaluated.
    pub fn with_type_filters(self, texts: &[impl AsRef<str>]) -> Result<Self, ParameterError> {
        let filters = texts.iter().map(|text| TypeFilter::parse(text.as_ref()));
        Ok(Self { type_filters: filters.collect::<Result<_, _>>()?, ..self })
    }

    /// Replaces the items of `_elements` by these, such as `Patient.name`.
    ///
    /// # Errors
    /// Fails if an item does not name a root element of FHIR R4.
    pub fn with_elements(self, items: &[impl AsRef<str>]) -> Result<Self, ParameterError> {
        Ok(Self { elements: Elements::parse(items.iter().map(AsRef::as_ref))?, ..self })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The values of `includeAssociatedData`. The greater one is less restrictive and wins.
///
/// ```
/// assert!(evanesce::AssociatedData::Relevant > evanesce::AssociatedData::Latest);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AssociatedData {
    /// `LatestProvenanceResources`: the most recent Provenance of each exported resource.
    Latest,
    /// `RelevantProvenanceResources`: all Provenances of exported resources.
    Relevant,
}

/// What the output is organized by.
///
/// ```
/// assert_eq!(evanesce::OrganizeBy::Patient.as_str(), "Patient");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrganizeBy {
    /// Blocks of one Patient's compartment each.
    Patient,
}

impl OrganizeBy {
    /// Returns the resource type as in the manifest's `outputOrganizedBy` (MF-7).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "Patient",
        }
    }
}
