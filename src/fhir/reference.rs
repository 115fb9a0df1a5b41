//! Literal references (K-12): `Type/id`, with or without a version, relative or absolute under
//! the source's own base URL. Everything else (`urn:uuid`, other servers, fragments,
//! conditional references) names nothing that is here.

use super::ResourceType;

/// What a literal reference names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Literal<'a> {
    /// The type.
    pub resource_type: ResourceType,
    /// The id, as it stands.
    pub id: &'a str,
    /// `Type/id`.
    pub key: &'a str,
}

/// Reads the text of a `Reference.reference`; `base_url` is the source's base, without a slash
/// at the end.
pub fn parse<'a>(text: &'a str, base_url: Option<&str>) -> Option<Literal<'a>> {
    let under_base = |base| text.strip_prefix(base).and_then(|rest| rest.strip_prefix('/'));
    let relative = base_url.and_then(under_base).unwrap_or(text);
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
    Some(Literal { resource_type, id, key: &relative[..name.len() + 1 + id.len()] })
}

fn split_at_slash(text: &str) -> Option<(&str, &str)> {
    memchr::memchr(b'/', text.as_bytes()).map(|at| (&text[..at], &text[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_a_resource_of_the_source_is_a_reference() {
        let key = |text| parse(text, Some("https://h/fhir")).map(|literal| literal.key);
        assert_eq!(key("Patient/p1"), Some("Patient/p1"));
        assert_eq!(key("Patient/p1/_history/2"), Some("Patient/p1"));
        assert_eq!(key("https://h/fhir/Patient/p1"), Some("Patient/p1"));
        assert_eq!(key("https://h/fhir/Patient/p1/_history/2"), Some("Patient/p1"));
        assert_eq!(parse("Patient/a b", None).map(|literal| literal.id), Some("a b"));
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
            "https://h/Patient/p1",
            "https://h/fhir/x/Patient/p1",
            "https://h/fhirPatient/p1",
            " Patient/p1",
        ] {
            assert_eq!(key(text), None, "{text:?}");
        }
        assert_eq!(parse("https://h/fhir/Patient/p1", None), None);
    }
}
