//! What the index takes from one line: type, id, age, patients and what it points to. The
//! line is parsed once, here, and checked as a whole while that is done.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Error};

use super::element::{Element, Look};
use super::key::{Key, NO_KEY, key};
use super::pointers::Pointers;
use crate::fhir::{ResourceType, instant, reference};

/// The age of a resource that does not say, or not in a way that can be read.
pub const UNKNOWN_AGE: i64 = i64::MIN;

/// Why a line is no resource. The texts complete "Line 7 of x.ndjson ...".
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Broken {
    /// Some bytes are not UTF-8.
    NotUtf8,
    /// Another kind of JSON, or none.
    NotAnObject,
    /// Not JSON to its end.
    NotJson,
    /// No type, or more than one.
    NoType,
    /// A type that R4 does not have.
    UnknownType,
    /// An id that is not one string.
    BadId,
    /// An element that decides whose it is, or how old, stands there twice.
    Ambiguous,
    /// Longer than [`super::LONGEST_LINE`].
    TooLong,
}

impl Broken {
    /// What is wrong with the line.
    pub fn text(self) -> &'static str {
        match self {
            Self::NotUtf8 => "is not UTF-8",
            Self::NotAnObject => "is not a JSON object",
            Self::NotJson => "is not valid JSON",
            Self::NoType => "has no resourceType, or two",
            Self::UnknownType => "has a resourceType that is not of FHIR R4",
            Self::BadId => "has an id that is no string, or two",
            Self::Ambiguous => "has an element twice that says whose it is, or how old",
            Self::TooLong => "is longer than 256 MiB",
        }
    }
}

/// The instant as the index keeps it, in nanoseconds since 1970; `None` outside of the years
/// 1678 to 2261 (UTC), which 64 bits do not hold.
pub fn nanoseconds(instant: Timestamp) -> Option<i64> {
    /// The first seconds of 1678 and of 2262.
    const YEARS: std::ops::Range<i64> = -9_214_560_000..9_214_646_400;
    YEARS.contains(&instant.as_second()).then(|| i64::try_from(instant.as_nanosecond()).ok()).flatten()
}

/// Reads lines, one after another; what was read of the last one stands in its fields.
pub struct LineReader<'b> {
    base_url: Option<&'b str>,
    /// The type.
    pub resource_type: ResourceType,
    /// The name of the resource; [`NO_KEY`] if it has no id.
    pub key: Key,
    /// `meta.lastUpdated` in nanoseconds, or [`UNKNOWN_AGE`].
    pub updated: i64,
    /// The patients in whose compartments it is.
    pub patients: Vec<Key>,
    /// Of a Provenance: the resources of compartments that it targets.
    pub targets: Vec<Key>,
    /// The resources outside of compartments that it points to, such as an Organization.
    pub pointers: Pointers,
    name: String,
    has_id: bool,
    broken: Option<Broken>,
    is_tolerant: bool,
}

impl<'b> LineReader<'b> {
    /// A reader for a source whose own base URL is `base_url`.
    pub fn new(base_url: Option<&'b str>) -> Self {
        Self {
            base_url,
            resource_type: ResourceType::PATIENT,
            key: NO_KEY,
            updated: UNKNOWN_AGE,
            patients: Vec::new(),
            targets: Vec::new(),
            pointers: Pointers::default(),
            name: String::new(),
            has_id: false,
            broken: None,
            is_tolerant: false,
        }
    }

    /// Reads one line, without its line break and the white space around it.
    pub fn read(&mut self, line: &[u8]) -> Result<(), Broken> {
        let text = simdutf8::basic::from_utf8(line).map_err(|_| Broken::NotUtf8)?;
        if !text.starts_with('{') {
            return Err(Broken::NotAnObject);
        }
        // Nearly every resource begins with its type; for the rest it is looked up first.
        if !text.starts_with("{\"resourceType\":") {
            #[derive(Deserialize)]
            struct Head<'a> {
                #[serde(rename = "resourceType", borrow)]
                resource_type: Cow<'a, str>,
            }
            let head: Head<'_> = serde_json::from_str(text).map_err(|e| match e.classify() {
                serde_json::error::Category::Data => Broken::NoType,
                _ => Broken::NotJson,
            })?;
            self.resource_type = ResourceType::of(&head.resource_type).ok_or(Broken::UnknownType)?;
        }
        // A number that no float holds is valid, but not where it is looked at: once more, and
        // nothing is read that need not be.
        if !self.parse(text, false) && (self.broken.is_some() || !self.parse(text, true)) {
            return Err(self.broken.unwrap_or(Broken::NotJson));
        }
        self.key = if self.has_id { self.key_of_name() } else { NO_KEY };
        if self.resource_type == ResourceType::PATIENT && self.has_id {
            self.patients.push(self.key);
        }
        self.patients.sort_unstable();
        self.patients.dedup();
        // A Provenance that targets a patient is that patient's alone (K-13).
        if !self.patients.is_empty() {
            self.targets.clear();
        }
        self.pointers.find(text, self.base_url);
        Ok(())
    }

    /// Parses the whole line; false if something is wrong with it.
    fn parse(&mut self, text: &str, is_tolerant: bool) -> bool {
        self.patients.clear();
        self.targets.clear();
        (self.updated, self.has_id, self.broken) = (UNKNOWN_AGE, false, None);
        self.is_tolerant = is_tolerant;
        let mut json = serde_json::Deserializer::from_str(text);
        let look = Look { element: Element::Resource, reader: self };
        look.deserialize(&mut json).is_ok_and(|()| json.end().is_ok())
    }

    /// Whether elements of an unexpected kind are passed over unread.
    pub(super) fn is_tolerant(&self) -> bool {
        self.is_tolerant
    }

    fn key_of_name(&mut self) -> Key {
        let name = self.resource_type.as_str();
        self.name.insert(0, '/');
        self.name.insert_str(0, name);
        key(&self.name)
    }

    /// Notes why the line is no resource, and ends the walk.
    pub(super) fn fail<E: Error>(&mut self, broken: Broken) -> E {
        self.broken = Some(broken);
        E::custom(broken.text())
    }

    pub(super) fn note_type(&mut self, name: &str) -> Result<(), Broken> {
        // Neighbours mostly are of one type.
        if self.resource_type.as_str() != name {
            self.resource_type = ResourceType::of(name).ok_or(Broken::UnknownType)?;
        }
        Ok(())
    }

    pub(super) fn note_id(&mut self, id: &str) {
        self.name.clear();
        self.name.push_str(id);
        self.has_id = true;
    }

    pub(super) fn note_age(&mut self, text: &str) {
        self.updated = instant::parse(text).ok().and_then(nanoseconds).unwrap_or(UNKNOWN_AGE);
    }

    /// Notes a reference at one of the places that decide.
    pub(super) fn refer(&mut self, text: &str) {
        let Some(literal) = reference::parse(text, self.base_url) else { return };
        if literal.resource_type == ResourceType::PATIENT {
            self.patients.push(key(literal.key));
        } else if self.resource_type == ResourceType::PROVENANCE && literal.resource_type.is_in_compartment()
        {
            self.targets.push(key(literal.key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn read(line: &str) -> Result<(&'static str, Vec<Key>), Broken> {
        let mut reader = LineReader::new(None);
        reader.read(line.as_bytes()).map(|()| (reader.resource_type.as_str(), reader.patients))
    }

    fn patient(id: &str) -> Key {
        key(&format!("Patient/{id}"))
    }

    #[test]
    fn a_line_is_a_resource_or_says_why_not() {
        let name = |line: &str| read(line).map(|(name, _)| name);
        assert_eq!(
            name(r#"{"id":"p","resourceType":"Patient","x":{"resourceType":"Group"}}"#),
            Ok("Patient")
        );
        assert_eq!(name(r#"{"resourceType":"Pat\u0069ent"}"#), Ok("Patient"));
        assert_eq!(name(r#"{"resource\u0054ype":"Patient"}"#), Ok("Patient"));
        assert_eq!(name(r#"{"resourceType":"Patient","n":1e999}"#), Ok("Patient"));
        assert_eq!(name(r#"{"resourceType":"Patient""#), Err(Broken::NotJson));
        assert_eq!(name(r#"{"resourceType":"Patient"}{}"#), Err(Broken::NotJson));
        assert_eq!(name(r#"[{"resourceType":"Patient"}]"#), Err(Broken::NotAnObject));
        assert_eq!(name(r#"{"id":"p"}"#), Err(Broken::NoType));
        assert_eq!(name(r#"{"resourceType":"Patient","resourceType":"Group"}"#), Err(Broken::NoType));
        assert_eq!(name(r#"{"resourceType":7}"#), Err(Broken::NoType));
        assert_eq!(name(r#"{"x":1,"resourceType":7}"#), Err(Broken::NoType));
        assert_eq!(name(r#"{"resourceType":"Elephant"}"#), Err(Broken::UnknownType));
        assert_eq!(name(r#"{"resourceType":"Patient","id":7}"#), Err(Broken::BadId));
        assert_eq!(name(r#"{"resourceType":"Patient","id":"a","id":"a"}"#), Err(Broken::BadId));
        assert_eq!(name(r#"{"resourceType":"Patient","meta":{},"meta":{}}"#), Err(Broken::Ambiguous));
        assert_eq!(
            name(r#"{"resourceType":"Patient","meta":{"lastUpdated":"x","lastUpdated":"x"}}"#),
            Err(Broken::Ambiguous)
        );
        assert_eq!(
            LineReader::new(None).read(b"{\"resourceType\":\"Patient\",\"x\":\"\xff\"}"),
            Err(Broken::NotUtf8)
        );
        let deep =
            format!("{{\"resourceType\":\"Patient\",\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(name(&deep), Ok("Patient"));
    }

    proptest! {
        /// Whatever stands in a line: no panic, and what is taken for a resource is JSON.
        #[test]
        fn only_json_is_a_resource(
            changes in prop::collection::vec((0usize..400, "[{}\\[\\]\",:\\\\ 0-9fu+.\u{1}\u{e9}-]{0,2}"), 0..4),
        ) {
            let mut line = concat!(
                r#"{"resourceType":"Observation","id":"a\u0062c","meta":{"lastUpdated":"2024-01-02T03:04:05.5Z"},"#,
                r#""value":[1,-2.5,true,null,"\u00e9\n"],"subject":{"reference":"Patient/p"},"#,
                r#""performer":[{"reference":"Patient\/q"},{"reference":7},null],"contained":[{"id":"z"}]}"#
            )
            .to_string();
            for (at, text) in changes {
                let at = line.floor_char_boundary(at.min(line.len()));
                let end = line.ceil_char_boundary((at + text.len()).min(line.len()));
                line.replace_range(at..end, &text);
            }
            if read(&line).is_ok() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{}", line);
            }
        }
    }

    #[test]
    fn whose_a_resource_is_follows_from_the_elements_of_its_type_alone() {
        let patients = |line: &str| read(line).map(|(_, patients)| patients);
        let one = |id| Ok(vec![patient(id)]);
        assert_eq!(patients(r#"{"resourceType":"Patient","id":"p"}"#), one("p"));
        assert_eq!(
            patients(r#"{"resourceType":"Observation","subject":{"reference":"Patient/p"}}"#),
            one("p")
        );
        assert_eq!(
            patients(r#"{"subject":{"reference":"Patient\/p"},"resourceType":"Observation"}"#),
            one("p")
        );
        assert_eq!(
            patients(
                r#"{"resourceType":"CarePlan","activity":[{"detail":{"performer":[{"reference":"Patient/p"}]}}]}"#
            ),
            one("p")
        );
        for other in [
            r#"{"resourceType":"Observation","encounter":{"reference":"Patient/p"}}"#,
            r#"{"resourceType":"Observation","contained":[{"resourceType":"Observation","subject":{"reference":"Patient/p"}}]}"#,
            r#"{"resourceType":"Observation","note":[{"text":"\"subject\":{\"reference\":\"Patient/p\"}"}]}"#,
            r#"{"resourceType":"Observation","subject":{"display":"Patient/p"}}"#,
            r#"{"resourceType":"Observation","subject":"Patient/p"}"#,
            r#"{"resourceType":"Observation","subject":{"x":{"reference":"Patient/p"}}}"#,
            r#"{"resourceType":"Observation","x":{"subject":{"reference":"Patient/p"}}}"#,
            r#"{"resourceType":"Organization","subject":{"reference":"Patient/p"}}"#,
        ] {
            assert_eq!(patients(other), Ok(vec![]), "{other}");
        }
        let twice =
            r#"{"resourceType":"Observation","subject":{"reference":"Patient/p","reference":"Patient/q"}}"#;
        assert_eq!(patients(twice), Err(Broken::Ambiguous));
    }

    #[test]
    fn a_provenance_that_targets_no_patient_follows_its_targets() {
        let mut reader = LineReader::new(None);
        let line = |target| format!(r#"{{"resourceType":"Provenance","target":[{target}]}}"#);
        reader
            .read(line(r#"{"reference":"Observation/o"},{"reference":"Organization/x"}"#).as_bytes())
            .unwrap();
        assert_eq!(
            (reader.patients.len(), reader.targets.as_slice()),
            (0, [key("Observation/o")].as_slice())
        );
        reader.read(line(r#"{"reference":"Observation/o"},{"reference":"Patient/p"}"#).as_bytes()).unwrap();
        assert_eq!((reader.patients.as_slice(), reader.targets.len()), ([patient("p")].as_slice(), 0));
    }
}
