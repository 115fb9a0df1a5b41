//! URIs: exact, or above or below another one.

use serde_json::Value;

use super::place::ValueShape;
use super::reference;

/// A URI to search for.
#[derive(Debug, Clone)]
pub struct SearchUri {
    relation: UriRelation,
    sought: String,
}

/// How a URI must relate to the wanted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UriRelation {
    /// It is the same.
    Same,
    /// It begins with the wanted one.
    Below,
    /// It is a beginning of the wanted one.
    Above,
}

impl SearchUri {
    /// Creates a search for a URI without escapes.
    ///
    /// # Errors
    /// Fails with the expected form.
    pub fn new(relation: UriRelation, sought: String) -> Result<Self, &'static str> {
        if relation != UriRelation::Same && sought.starts_with("urn:") {
            return Err("a URN has no hierarchy; :below and :above are for URLs");
        }
        Ok(Self { relation, sought })
    }

    /// Returns whether a value of a resource matches.
    pub fn matches(&self, shape: ValueShape, value: &Value) -> bool {
        let Some(text) = value.as_str() else { return false };
        match (self.relation, shape) {
            (UriRelation::Same, ValueShape::Canonical) => reference::is_canonical(text, &self.sought),
            (UriRelation::Same, ValueShape::Uri) => text == self.sought,
            (UriRelation::Below, ValueShape::Canonical | ValueShape::Uri) => text.starts_with(&self.sought),
            (UriRelation::Above, ValueShape::Canonical | ValueShape::Uri) => {
                !text.is_empty() && self.sought.starts_with(text)
            }
            _ => false,
        }
    }
}
