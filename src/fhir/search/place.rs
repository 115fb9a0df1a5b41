//! Where a search parameter finds its values in a resource.

use serde_json::Value;

use super::read::WantedElements;
use super::{SearchContext, reference};
use crate::fhir::ResourceType;

/// The data types of FHIR R4 that searches compare, grouped by how they are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueShape {
    Address,
    Attachment,
    Boolean,
    Canonical,
    /// A `code` or an `id`.
    Code,
    CodeableConcept,
    Coding,
    ContactPoint,
    /// A `date` or a `dateTime`.
    Date,
    HumanName,
    Identifier,
    Instant,
    Money,
    /// An integer or a decimal.
    Number,
    Period,
    /// A Quantity, an Age or a Duration.
    Quantity,
    Range,
    Reference,
    SampledData,
    /// A `string` or a `markdown`.
    Text,
    Timing,
    /// A `uri` or a `url`.
    Uri,
}

impl ValueShape {
    /// Returns the shape of the data type with that name.
    pub fn of(data_type: &str) -> Option<Self> {
        Some(match data_type {
            "Address" => Self::Address,
            "Attachment" => Self::Attachment,
            "boolean" => Self::Boolean,
            "canonical" => Self::Canonical,
            "code" | "id" => Self::Code,
            "CodeableConcept" => Self::CodeableConcept,
            "Coding" => Self::Coding,
            "ContactPoint" => Self::ContactPoint,
            "date" | "dateTime" => Self::Date,
            "HumanName" => Self::HumanName,
            "Identifier" => Self::Identifier,
            "instant" => Self::Instant,
            "Money" => Self::Money,
            "integer" | "decimal" => Self::Number,
            "Period" => Self::Period,
            "Quantity" | "Age" | "Duration" => Self::Quantity,
            "Range" => Self::Range,
            "Reference" => Self::Reference,
            "SampledData" => Self::SampledData,
            "string" | "markdown" => Self::Text,
            "Timing" => Self::Timing,
            "uri" | "url" => Self::Uri,
            _ => return None,
        })
    }

    /// Returns whether values are plain JSON strings, which have no system.
    pub fn is_plain(self) -> bool {
        matches!(self, Self::Boolean | Self::Code | Self::ContactPoint | Self::Text | Self::Uri)
    }
}

/// A step from an element to other elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStep {
    /// To the member with that name, or to each item if it is an array.
    Member(String),
    /// Continues only if the element's member has that text.
    Where { member: String, text: String },
    /// Continues only from a reference to that type.
    RefersTo(ResourceType),
}

/// One alternative of a parameter's expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValuePath {
    /// The elements at the end of a path.
    Elements { steps: Vec<PathStep>, shape: ValueShape },
    /// Whether any path leads to a value other than `false`. This always is one boolean.
    Truth(Vec<Vec<PathStep>>),
}

static TRUE: Value = Value::Bool(true);
static FALSE: Value = Value::Bool(false);

impl ValuePath {
    /// Returns whether any value in the resource passes the test.
    pub fn any(
        &self,
        resource: &Value,
        search: SearchContext<'_>,
        test: &mut dyn FnMut(ValueShape, &Value) -> bool,
    ) -> bool {
        match self {
            Self::Elements { steps, shape } => any(steps, resource, search, &mut |value| test(*shape, value)),
            Self::Truth(ways) => {
                let is_set =
                    ways.iter().any(|steps| any(steps, resource, search, &mut |value| *value != FALSE));
                test(ValueShape::Boolean, if is_set { &TRUE } else { &FALSE })
            }
        }
    }

    /// Returns the shape of the values.
    pub fn shape(&self) -> ValueShape {
        match self {
            Self::Elements { shape, .. } => *shape,
            Self::Truth(_) => ValueShape::Boolean,
        }
    }

    /// Adds the elements that must be read.
    pub fn want(&self, wanted: &mut WantedElements) {
        match self {
            Self::Elements { steps, .. } => wanted.add(steps),
            Self::Truth(ways) => ways.iter().for_each(|steps| wanted.add(steps)),
        }
    }
}

fn any(
    steps: &[PathStep],
    element: &Value,
    search: SearchContext<'_>,
    test: &mut dyn FnMut(&Value) -> bool,
) -> bool {
    if let Value::Array(items) = element {
        return search.any(items, |item| any(steps, item, search, test));
    }
    let Some((step, rest)) = steps.split_first() else { return !element.is_null() && test(element) };
    match step {
        PathStep::Member(name) => element.get(name).is_some_and(|member| any(rest, member, search, test)),
        PathStep::Where { member, text } => {
            element.get(member).is_some_and(|value| value == text.as_str())
                && any(rest, element, search, test)
        }
        PathStep::RefersTo(resource_type) => {
            reference::type_of(element) == Some(*resource_type) && any(rest, element, search, test)
        }
    }
}
