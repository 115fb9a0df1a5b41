//! Literal references (K-12): `Type/id`, with or without a version, relative or absolute below one
//! of the [`BaseUrls`]. Any other reference (`urn:uuid`, other servers, fragments, conditional
//! references) names nothing in this source. References are parsed only here, so the same text
//! means the same in members, compartments, attachments, search parameters and the parameter
//! `patient`.

use serde::{Deserialize, Serialize};

use super::ResourceType;

/// A parsed literal reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(unnameable_types, reason = "only converted into what is public")]
pub struct LiteralReference<'a> {
    /// The resource type.
    pub resource_type: ResourceType,
    /// The id as written.
    pub id: &'a str,
    /// `Type/id`.
    pub key: &'a str,
}

/// Base URLs below which an absolute reference means the same as a relative one (K-12): the base of
/// the server that the source comes from, and those that clients use for this server. They have no
/// trailing slash.
///
/// ```
/// use evanesce::{BaseUrls, TypeFilter};
///
/// let filter = TypeFilter::parse("Observation?status=final")?;
/// assert!(filter.matches(br#"{"resourceType":"Observation","status":"final"}"#, &BaseUrls::NONE));
/// let of_patient = TypeFilter::parse("Observation?subject=Patient/p")?;
/// let line = br#"{"resourceType":"Observation","subject":{"reference":"https://h/r4/Patient/p"}}"#;
/// assert!(of_patient.matches(line, &BaseUrls::NONE.and("https://h/r4")) && !of_patient.matches(line, &BaseUrls::NONE));
/// # Ok::<_, evanesce::FilterError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BaseUrls(Vec<String>);

impl BaseUrls {
    /// No base: only relative references name something.
    pub const NONE: Self = Self(Vec::new());

    /// Creates a set of base URLs.
    pub fn new(urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(urls.into_iter().map(Into::into).collect())
    }

    /// Adds a base URL, unless it is empty.
    pub fn and(&self, url: &str) -> Self {
        let is_new = !url.is_empty() && self.0.iter().all(|known| known != url);
        Self(self.0.iter().cloned().chain(is_new.then(|| url.into())).collect())
    }

    /// Returns whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns all base URLs in one text, for comparison.
    pub(crate) fn text(&self) -> String {
        self.0.join(" ")
    }

    /// Parses the text of a `Reference.reference`.
    pub(crate) fn parse<'a>(&self, text: &'a str) -> Option<LiteralReference<'a>> {
        parse_relative(self.local(text))
    }

    /// Strips the base from an absolute reference to a resource of this source. Returns other texts
    /// unchanged.
    pub(crate) fn local<'a>(&self, text: &'a str) -> &'a str {
        let below = |base: &String| text.strip_prefix(base.as_str())?.strip_prefix('/');
        let mut below = self.0.iter().filter_map(below);
        below.find(|rest| parse_relative(rest).is_some()).unwrap_or(text)
    }
}

/// Parses a relative reference.
pub fn parse_relative(relative: &str) -> Option<LiteralReference<'_>> {
    let (name, rest) = split_at_slash(relative)?;
    let resource_type = ResourceType::of(name)?;
    let id = match split_at_slash(rest) {
        None => rest,
        Some((id, version)) => {
            version
                .strip_prefix("_history/")
                .filter(|version| !version.is_empty() && !version.contains('/'))?;
            id
        }
    };
    if id.is_empty() || memchr::memchr2(b'#', b'?', relative.as_bytes()).is_some() {
        return None;
    }
    Some(LiteralReference { resource_type, id, key: &relative[..name.len() + 1 + id.len()] })
}

fn split_at_slash(text: &str) -> Option<(&str, &str)> {
    memchr::memchr(b'/', text.as_bytes()).map(|at| (&text[..at], &text[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_a_resource_of_the_source_is_a_reference() {
        let bases = BaseUrls::new(["https://h", "https://h/fhir"]).and("https://own/r4/default").and("");
        let key = |text| bases.parse(text).map(|literal| literal.key);
        assert_eq!(key("Patient/p1"), Some("Patient/p1"));
        assert_eq!(key("Patient/p1/_history/2"), Some("Patient/p1"));
        assert_eq!(key("https://h/fhir/Patient/p1"), Some("Patient/p1"));
        assert_eq!(key("https://h/fhir/Patient/p1/_history/2"), Some("Patient/p1"));
        assert_eq!(key("https://own/r4/default/Patient/p1"), Some("Patient/p1"));
        assert_eq!(key("https://h/Patient/p_1"), Some("Patient/p_1"));
        assert_eq!(parse_relative("Patient/a b").map(|literal| literal.id), Some("a b"));
        for text in [
            "",
            "Patient",
            "Patient/",
            "/p1",
            "patient/p1",
            "Elephant/p1",
            "#p1",
            "Patient/p1#x",
            "Patient?identifier=1",
            "Patient/p1/x",
            "Patient/p1/_history/",
            "Patient/p1/_history/2/3",
            "urn:uuid:p1",
            "https://own/r4/other/Patient/p1",
            "https://own/Patient/p1",
            "https://h/fhir/x/Patient/p1",
            "https://h/fhirPatient/p1",
            " Patient/p1",
        ] {
            assert_eq!(key(text), None, "{text:?}");
        }
        assert_eq!(BaseUrls::NONE.parse("https://h/fhir/Patient/p1"), None);
    }
}
