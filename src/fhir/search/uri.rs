//! URIs: the very one, or those below or above it.

use serde_json::Value;

use super::place::Shape;
use super::reference;

/// A URI that is sought.
#[derive(Debug, Clone)]
pub struct Uri {
    relation: Relation,
    sought: String,
}

/// How a URI is to be to the one that is sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The same.
    Same,
    /// It begins with it.
    Below,
    /// It is a beginning of it.
    Above,
}

impl Uri {
    /// What is sought, its escapes read.
    ///
    /// # Errors
    /// What would be right.
    pub fn new(relation: Relation, sought: String) -> Result<Self, &'static str> {
        if relation != Relation::Same && sought.starts_with("urn:") {
            return Err("a URN has no hierarchy; :below and :above are for URLs");
        }
        Ok(Self { relation, sought })
    }

    /// Whether a value of a resource is it.
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
