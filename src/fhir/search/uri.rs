//! URIs: exact, or above or below another one.

use serde_json::Value;

use super::place::Shape;
use super::reference;

/// A URI to search for.
#[derive(Debug, Clone)]
pub struct Uri {
    relation: Relation,
    sought: String,
}

/// How a URI must relate to the wanted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It is the same.
    Same,
    /// It begins with the wanted one.
    Below,
    /// It is a beginning of the wanted one.
    Above,
}

impl Uri {
    /// Creates a search for a URI without escapes.
    ///
    /// # Errors
    /// Fails with the expected form.
    pub fn new(relation: Relation, sought: String) -> Result<Self, &'static str> {
        if relation != Relation::Same && sought.starts_with("urn:") {
            return Err("a URN has no hierarchy; :below and :above are for URLs");
        }
        Ok(Self { relation, sought })
    }

    /// Returns whether a value of a resource matches.
    pub fn matches(&self, shape: Shape, value: &Value) -> bool {
        let Some(text) = value.as_str() else { return false };
        match (self.relation, shape) {
            (Relation::Same, Shape::Canonical) => reference::is_canonical(text, &self.sought),
            (Relation::Same, Shape::Uri) => text == self.sought,
            (Relation::Below, Shape::Canonical | Shape::Uri) => text.starts_with(&self.sought),
            (Relation::Above, Shape::Canonical | Shape::Uri) => {
                !text.is_empty() && self.sought.starts_with(text)
            }
            _ => false,
        }
    }
}
