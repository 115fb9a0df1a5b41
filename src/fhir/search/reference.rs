//! References to other resources.

use serde_json::Value;

use super::place::ValueShape;
use crate::fhir::ResourceType;
use crate::fhir::reference::{self, BaseUrls};

/// A reference to search for.
#[derive(Debug, Clone)]
pub enum ReferenceTarget {
    /// The resource with that id in this source, of any type or of the modifier's type.
    Id { id: String, resource_type: Option<ResourceType> },
    /// `Type/id`, an absolute URL, a URN or a canonical, each with or without a version.
    Url(String),
}

impl ReferenceTarget {
    /// Parses a reference without escapes. `modifier` is the type that restricts the parameter, as
    /// in `subject:Patient`.
    ///
    /// # Errors
    /// Fails with the expected form.
    pub fn parse(text: &str, modifier: Option<ResourceType>) -> Result<Self, &'static str> {
        const FORMS: &str = "give Type/id, an id, or an absolute URL";
        let local = reference::parse_relative(text);
        if let Some(resource_type) = modifier {
            return match local {
                Some(local) if local.resource_type == resource_type => Ok(Self::Url(text.into())),
                None if is_id(text) => Ok(Self::Id { id: text.into(), resource_type: Some(resource_type) }),
                _ => Err("with a type as the modifier, give the id alone"),
            };
        }
        if local.is_some() || is_absolute(text) {
            return Ok(Self::Url(text.into()));
        }
        if is_id(text) { Ok(Self::Id { id: text.into(), resource_type: None }) } else { Err(FORMS) }
    }

    /// Returns whether a value of a resource refers to the target.
    pub fn matches(&self, shape: ValueShape, value: &Value, bases: &BaseUrls) -> bool {
        match (self, shape) {
            (Self::Url(sought), ValueShape::Canonical) => {
                value.as_str().is_some_and(|text| is_canonical(text, sought))
            }
            (Self::Url(sought), ValueShape::Uri) => value.as_str() == Some(sought),
            (_, ValueShape::Reference) => {
                value["reference"].as_str().is_some_and(|text| self.is_reference(text, bases))
            }
            _ => false,
        }
    }

    fn is_reference(&self, text: &str, bases: &BaseUrls) -> bool {
        match self {
            Self::Id { id, resource_type } => bases.parse(text).is_some_and(|local| {
                local.id == id && resource_type.is_none_or(|sought| local.resource_type == sought)
            }),
            Self::Url(sought) => {
                let (sought, sought_version) = split_version(bases.local(sought));
                let (found, found_version) = split_version(bases.local(text));
                sought == found && (sought_version.is_none() || sought_version == found_version)
            }
        }
    }
}

/// Returns whether a canonical is the wanted one, in the wanted version if there is one.
pub fn is_canonical(canonical: &str, sought: &str) -> bool {
    canonical == sought || canonical.split_once('|').is_some_and(|(url, _)| url == sought)
}

/// Returns the type that a Reference refers to, as far as it says: by its URL, or else by its
/// `type`. Nothing is resolved, and contained resources are ignored.
pub fn type_of(value: &Value) -> Option<ResourceType> {
    let by_url = |text: &str| {
        if let Some((head, _)) = text.split_once('?') {
            return ResourceType::of(last_segment(head)?);
        }
        let (head, _) = split_version(text);
        ResourceType::of(last_segment(head.rsplit_once('/')?.0)?)
    };
    let by_type = || ResourceType::of(value["type"].as_str()?);
    value["reference"].as_str().and_then(by_url).or_else(by_type)
}

fn last_segment(path: &str) -> Option<&str> {
    path.rsplit('/').next()
}

fn split_version(text: &str) -> (&str, Option<&str>) {
    match text.split_once("/_history/") {
        Some((head, version)) => (head, Some(version)),
        None => (text, None),
    }
}

/// Returns whether the text could be the id of a resource. Longer ids than R4 allows are accepted.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// Returns whether the text begins with a scheme, as in `https:` or `urn:`.
fn is_absolute(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| {
        !rest.is_empty()
            && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_type_of_a_reference_is_what_it_says() {
        for (value, name) in [
            (json!({"reference": "Patient/1"}), Some("Patient")),
            (json!({"reference": "Patient/1/_history/2"}), Some("Patient")),
            (json!({"reference": "http://other/fhir/Patient/1"}), Some("Patient")),
            (json!({"reference": "http://other/fhir/Patient/1/_history/2"}), Some("Patient")),
            (json!({"reference": "Patient?identifier=a/b"}), Some("Patient")),
            (json!({"reference": "urn:uuid:1", "type": "Patient"}), Some("Patient")),
            (json!({"reference": "Group/1", "type": "Patient"}), Some("Group")),
            (json!({"identifier": {"value": "1"}, "type": "Patient"}), Some("Patient")),
            (json!({"reference": "#1"}), None),
            (json!({"reference": "urn:uuid:1"}), None),
            (json!({"reference": "Elephant/1"}), None),
            (json!("Patient/1"), None),
        ] {
            assert_eq!(type_of(&value).map(ResourceType::as_str), name, "{value}");
        }
    }
}
