//! What the index takes from one line: type, id, age, patients and what it points to. The
//! line is parsed once, here, and checked as a whole while that is done.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::key::{Key, NO_KEY, key};
use super::pointers::Pointers;
use crate::fhir::compartment::{Node, ways};
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
}

impl<'b> LineReader<'b> {
    /// A reader for a source whose own base URL is `base_url`.
    pub fn new(base_url: Option<&'b str>) -> Self {
        let patient = ResourceType::of("Patient").expect("a type of R4");
        Self {
            base_url,
            resource_type: patient,
            key: NO_KEY,
            updated: UNKNOWN_AGE,
            patients: Vec::new(),
            targets: Vec::new(),
            pointers: Pointers::default(),
            name: String::new(),
            has_id: false,
            broken: None,
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
        self.patients.clear();
        self.targets.clear();
        (self.updated, self.has_id, self.broken) = (UNKNOWN_AGE, false, None);
        let mut json = serde_json::Deserializer::from_str(text);
        let read = json.deserialize_map(Resource(self)).and_then(|()| json.end());
        if read.is_err() {
            return Err(self.broken.unwrap_or(Broken::NotJson));
        }
        let name = self.resource_type.as_str();
        self.key = if self.has_id { self.key_of_name() } else { NO_KEY };
        if name == "Patient" && self.has_id {
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

    fn key_of_name(&mut self) -> Key {
        let name = self.resource_type.as_str();
        self.name.insert(0, '/');
        self.name.insert_str(0, name);
        key(&self.name)
    }

    fn fail<E: Error>(&mut self, broken: Broken) -> E {
        self.broken = Some(broken);
        E::custom(broken.text())
    }

    /// The text of a JSON string.
    fn string<'a>(raw: &'a RawValue) -> Option<Cow<'a, str>> {
        raw.get()
            .starts_with('"')
            .then(|| serde_json::from_str::<Text<'a>>(raw.get()).ok())
            .flatten()
            .map(|text| text.0)
    }

    /// Notes a reference at one of the places that decide.
    fn refer(&mut self, text: &str) {
        let Some(literal) = reference::parse(text, self.base_url) else { return };
        if literal.resource_type.as_str() == "Patient" {
            self.patients.push(key(literal.key));
        } else if self.resource_type.as_str() == "Provenance" && literal.resource_type.is_in_compartment() {
            self.targets.push(key(literal.key));
        }
    }

    fn read_age(&mut self, meta: &RawValue) -> Result<(), Broken> {
        #[derive(Deserialize)]
        struct Meta<'a> {
            #[serde(rename = "lastUpdated", borrow)]
            last_updated: Option<&'a RawValue>,
        }
        if meta.get().starts_with('{') {
            // It was checked to be JSON: only a repetition can be wrong.
            let meta: Meta<'_> = serde_json::from_str(meta.get()).map_err(|_| Broken::Ambiguous)?;
            let text = meta.last_updated.and_then(Self::string);
            let instant = text.and_then(|text| instant::parse(&text).ok());
            self.updated = instant.and_then(nanoseconds).unwrap_or(UNKNOWN_AGE);
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Which member of an object a key is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    Type,
    Id,
    Meta,
    /// A step of the compartment's ways.
    Step(usize),
    /// The `reference` of a Reference.
    Reference,
    Other,
}

/// Reads a key; no copy is made of it.
struct MemberOf {
    node: &'static Node,
    is_root: bool,
}

impl<'de> DeserializeSeed<'de> for MemberOf {
    type Value = Member;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for MemberOf {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<Member, E> {
        if self.is_root {
            match name {
                "resourceType" => return Ok(Member::Type),
                "id" => return Ok(Member::Id),
                "meta" => return Ok(Member::Meta),
                _ => {}
            }
        } else if self.node.is_reference && name == "reference" {
            return Ok(Member::Reference);
        }
        let step = self.node.children().iter().position(|(step, _)| *step == name);
        Ok(step.map_or(Member::Other, Member::Step))
    }
}

/// Which members of one object were met: each may be there once.
#[derive(Default)]
struct Once(u32);

impl Once {
    fn is_first(&mut self, member: Member) -> bool {
        let bit = match member {
            Member::Type => 0,
            Member::Id => 1,
            Member::Meta => 2,
            Member::Reference => 3,
            Member::Step(n) => 4 + n,
            Member::Other => return true,
        };
        let was = self.0;
        self.0 |= 1 << bit;
        self.0 != was
    }
}

/// The object that is the whole line.
struct Resource<'r, 'b>(&'r mut LineReader<'b>);

impl<'de> Visitor<'de> for Resource<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a resource")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let reader = self.0;
        let mut once = Once::default();
        let mut has_type = false;
        // If the type stands first this is another's until it has been read, and is not used.
        let mut node = ways(reader.resource_type);
        while let Some(member) = map.next_key_seed(MemberOf { node, is_root: true })? {
            if !once.is_first(member) {
                return Err(reader.fail(match member {
                    Member::Type => Broken::NoType,
                    Member::Id => Broken::BadId,
                    _ => Broken::Ambiguous,
                }));
            }
            match member {
                Member::Type => {
                    let raw: &RawValue = map.next_value()?;
                    let name = LineReader::string(raw).ok_or_else(|| reader.fail(Broken::NoType))?;
                    reader.resource_type =
                        ResourceType::of(&name).ok_or_else(|| reader.fail(Broken::UnknownType))?;
                    node = ways(reader.resource_type);
                    has_type = true;
                }
                Member::Id => {
                    let raw: &RawValue = map.next_value()?;
                    let id = LineReader::string(raw).ok_or_else(|| reader.fail(Broken::BadId))?;
                    reader.name.clear();
                    reader.name.push_str(&id);
                    reader.has_id = true;
                }
                Member::Meta => {
                    let raw: &RawValue = map.next_value()?;
                    reader.read_age(raw).map_err(|broken| reader.fail(broken))?;
                }
                Member::Step(n) => map.next_value_seed(Follow { node: &node.children()[n].1, reader })?,
                Member::Reference | Member::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if has_type { Ok(()) } else { Err(reader.fail(Broken::NoType)) }
    }
}

/// What stands on a way of the compartment: an object, or an array of them; all else is
/// passed over.
struct Follow<'r, 'b> {
    node: &'static Node,
    reader: &'r mut LineReader<'b>,
}

impl<'de> DeserializeSeed<'de> for Follow<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Follow<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an element")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { node, reader } = self;
        let mut once = Once::default();
        while let Some(member) = map.next_key_seed(MemberOf { node, is_root: false })? {
            if !once.is_first(member) {
                return Err(reader.fail(Broken::Ambiguous));
            }
            match member {
                Member::Reference => {
                    let raw: &RawValue = map.next_value()?;
                    if let Some(text) = LineReader::string(raw) {
                        reader.refer(&text);
                    }
                }
                Member::Step(n) => map.next_value_seed(Follow { node: &node.children()[n].1, reader })?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { node, reader } = self;
        while seq.next_element_seed(Follow { node, reader })?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
