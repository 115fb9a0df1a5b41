//! Parses one line for the index: type, id, age, patients, references and deletions. The line is
//! parsed only here, and checked completely meanwhile.

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Error};

use super::element::{ElementVisitor, IndexedElement};
use super::key::{NO_KEY, ResourceKey, key};
use super::pointers::ResourcePointers;
use crate::cancel::{AT_ONCE, CancelToken};
use crate::fhir::compartment::PatientRole;
use crate::fhir::reference::BaseUrls;
use crate::fhir::{ResourceType, attachment, instant};

/// The age of a resource that does not state it, or not legibly.
pub const UNKNOWN_AGE: i64 = i64::MIN;

/// Why a line is not a resource. The texts complete "Line 7 of x.ndjson ...".
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineFault {
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
    /// An element is duplicated that decides whose it is, or how old.
    Ambiguous,
    /// Longer than [`super::LONGEST_LINE`].
    TooLong,
}

impl LineFault {
    /// Returns what is wrong with the line.
    pub fn text(self) -> &'static str {
        match self {
            Self::NotUtf8 => "is not UTF-8",
            Self::NotAnObject => "is not a JSON object",
            Self::NotJson => "is not valid JSON",
            Self::NoType => "has no resourceType, or two",
            Self::UnknownType => "has a resourceType that is not of FHIR R4",
            Self::BadId => "has an id that is not a string, or two",
            Self::Ambiguous => "has an element twice that says whose it is, or how old",
            Self::TooLong => "is longer than 256 MiB",
        }
    }
}

/// Returns an instant in the index's nanoseconds since 1970, or `None` outside of the years 1678 to
/// 2261 (UTC), which exceed 64 bits.
pub fn nanoseconds(instant: Timestamp) -> Option<i64> {
    /// The first seconds of 1678 and of 2262.
    const YEARS: std::ops::Range<i64> = -9_214_560_000..9_214_646_400;
    YEARS.contains(&instant.as_second()).then(|| i64::try_from(instant.as_nanosecond()).ok()).flatten()
}

/// What an entry of a transaction deletes (MF-6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedResource {
    /// The type of the resource.
    pub resource_type: ResourceType,
    /// Its name: `Type/id`.
    pub name: String,
}

/// Parses lines, one after another. Its fields hold the result of the last one.
pub struct LineParser<'b> {
    bases: &'b BaseUrls,
    cancel: &'b CancelToken,
    /// The type.
    pub resource_type: ResourceType,
    /// The name of the resource; [`NO_KEY`] without an id.
    pub key: ResourceKey,
    /// `meta.lastUpdated` in nanoseconds, or [`UNKNOWN_AGE`]; of a Bundle without it, its
    /// `timestamp`.
    pub updated: i64,
    /// The patients in whose compartments it is.
    pub patients: Vec<ResourceKey>,
    /// Patients that it names as members, without being in their compartments (P15).
    pub members: Vec<ResourceKey>,
    /// Groups that it is about. A Group is about itself (P15).
    pub groups: Vec<ResourceKey>,
    /// The targets of a Provenance.
    pub targets: Vec<ResourceKey>,
    /// `recorded` of a Provenance, or else [`LineParser::updated`].
    pub recorded: i64,
    /// What the entries of a transaction delete, in order.
    pub deletions: Vec<DeletedResource>,
    /// The resources in the entries of a Bundle, which are not read.
    pub bundled: u64,
    /// URLs of attachments that name Binaries of the source.
    pub binaries: u32,
    /// The resources outside of compartments that it refers to, such as an Organization.
    pub pointers: ResourcePointers,
    name: String,
    has_id: bool,
    /// `timestamp` of a Bundle.
    timestamp: i64,
    is_transaction: bool,
    /// The request of the entry that is being read.
    is_delete: bool,
    url: String,
    broken: Option<LineFault>,
    is_tolerant: bool,
}

impl<'b> LineParser<'b> {
    /// Creates a parser for a source in which references below `bases` are relative. Once the token has
    /// fired its results mean nothing.
    pub fn new(bases: &'b BaseUrls, cancel: &'b CancelToken) -> Self {
        Self {
            bases,
            cancel,
            resource_type: ResourceType::PATIENT,
            key: NO_KEY,
            updated: UNKNOWN_AGE,
            patients: Vec::new(),
            members: Vec::new(),
            groups: Vec::new(),
            targets: Vec::new(),
            recorded: UNKNOWN_AGE,
            deletions: Vec::new(),
            bundled: 0,
            binaries: 0,
            pointers: ResourcePointers::default(),
            name: String::new(),
            has_id: false,
            timestamp: UNKNOWN_AGE,
            is_transaction: false,
            is_delete: false,
            url: String::new(),
            broken: None,
            is_tolerant: false,
        }
    }

    /// Parses one line, without its line break and the white space around it.
    pub fn read(&mut self, line: &[u8]) -> Result<(), LineFault> {
        let text = simdutf8::basic::from_utf8(line).map_err(|_| LineFault::NotUtf8)?;
        if !text.starts_with('{') {
            return Err(LineFault::NotAnObject);
        }
        // Nearly every resource begins with its type. For others it is looked up first.
        if !text.starts_with("{\"resourceType\":") {
            #[derive(Deserialize)]
            struct Head {
                #[serde(rename = "resourceType")]
                resource_type: String,
            }
            let parsed = self.cancel.parse(line).map_err(|_| LineFault::NotJson)?;
            let head: Head = parsed.map_err(|e| match e.classify() {
                serde_json::error::Category::Data => LineFault::NoType,
                _ => LineFault::NotJson,
            })?;
            self.resource_type = ResourceType::of(&head.resource_type).ok_or(LineFault::UnknownType)?;
        }
        // A number beyond any float is valid, unless it is needed: try again, and skip what is not
        // needed.
        if !self.parse(text, false) && (self.broken.is_some() || !self.parse(text, true)) {
            return Err(self.broken.unwrap_or(LineFault::NotJson));
        }
        self.key = if self.has_id { self.key_of_name() } else { NO_KEY };
        if self.resource_type == ResourceType::PATIENT && self.has_id {
            self.patients.push(self.key);
        }
        if self.resource_type == ResourceType::GROUP {
            self.groups.push(self.key);
        }
        // A Patient comes before those that it links to.
        let own = (self.resource_type == ResourceType::PATIENT).then_some(self.key);
        self.patients.sort_unstable_by_key(|patient| (Some(*patient) != own, *patient));
        self.patients.dedup();
        if self.updated == UNKNOWN_AGE {
            self.updated = self.timestamp;
        }
        if self.recorded == UNKNOWN_AGE {
            self.recorded = self.updated;
        }
        if !self.is_transaction {
            self.deletions.clear();
        }
        self.binaries = 0;
        // What is found after the token has fired does not matter.
        let _ = self.pointers.find(text, self.bases, self.cancel);
        let _ = attachment::binaries(line, self.bases, self.cancel, |_, _| self.binaries += 1);
        Ok(())
    }

    /// Parses the whole line. Returns false if something is wrong with it.
    fn parse(&mut self, text: &str, is_tolerant: bool) -> bool {
        self.patients.clear();
        self.members.clear();
        self.groups.clear();
        self.targets.clear();
        self.deletions.clear();
        (self.updated, self.recorded, self.timestamp) = (UNKNOWN_AGE, UNKNOWN_AGE, UNKNOWN_AGE);
        (self.has_id, self.is_transaction, self.broken) = (false, false, None);
        self.bundled = 0;
        self.is_tolerant = is_tolerant;
        if text.len() <= AT_ONCE {
            return self.walk(&mut serde_json::Deserializer::from_str(text));
        }
        let cancel = self.cancel;
        self.walk(&mut serde_json::Deserializer::from_reader(cancel.reader(text.as_bytes())))
    }

    fn walk<'de, R: serde_json::de::Read<'de>>(&mut self, json: &mut serde_json::Deserializer<R>) -> bool {
        let look = ElementVisitor { element: IndexedElement::Resource, reader: self };
        look.deserialize(&mut *json).is_ok_and(|()| json.end().is_ok())
    }

    /// Returns the token to check.
    pub(super) fn cancel(&self) -> &'b CancelToken {
        self.cancel
    }

    /// Returns whether elements of an unexpected kind are skipped.
    pub(super) fn is_tolerant(&self) -> bool {
        self.is_tolerant
    }

    fn key_of_name(&mut self) -> ResourceKey {
        let name = self.resource_type.as_str();
        self.name.insert(0, '/');
        self.name.insert_str(0, name);
        key(&self.name)
    }

    /// Records why the line is not a resource, and ends the walk.
    pub(super) fn fail<E: Error>(&mut self, broken: LineFault) -> E {
        self.broken = Some(broken);
        E::custom(broken.text())
    }

    pub(super) fn note_type(&mut self, name: &str) -> Result<(), LineFault> {
        // Neighbours mostly have the same type.
        if self.resource_type.as_str() != name {
            self.resource_type = ResourceType::of(name).ok_or(LineFault::UnknownType)?;
        }
        Ok(())
    }

    pub(super) fn note_id(&mut self, id: &str) {
        self.name.clear();
        self.name.push_str(id);
        self.has_id = true;
    }

    pub(super) fn note_age(&mut self, text: &str) {
        self.updated = age(text);
    }

    pub(super) fn note_recorded(&mut self, text: &str) {
        self.recorded = age(text);
    }

    pub(super) fn note_timestamp(&mut self, text: &str) {
        self.timestamp = age(text);
    }

    pub(super) fn note_bundle_type(&mut self, text: &str) {
        self.is_transaction = text == "transaction";
    }

    pub(super) fn note_method(&mut self, text: &str) {
        self.is_delete = text == "DELETE";
    }

    pub(super) fn note_url(&mut self, text: &str) {
        self.url.clear();
        self.url.push_str(text);
    }

    /// Records what an entry's request deletes, once the whole entry was read. The URL of a version or
    /// of a search does not name a resource.
    pub(super) fn note_request(&mut self) {
        let (is_delete, url) = (std::mem::take(&mut self.is_delete), std::mem::take(&mut self.url));
        if is_delete
            && let Some(literal) = self.bases.parse(&url)
            && url.ends_with(literal.key)
        {
            let (resource_type, name) = (literal.resource_type, literal.key.to_owned());
            self.deletions.push(DeletedResource { resource_type, name });
        }
    }

    /// Records a reference at one of the deciding places.
    pub(super) fn refer(&mut self, text: &str, end: PatientRole) {
        let Some(literal) = self.bases.parse(text) else { return };
        match (literal.resource_type, end) {
            (ResourceType::PATIENT, PatientRole::Owner) => self.patients.push(key(literal.key)),
            (ResourceType::PATIENT, PatientRole::Member) => self.members.push(key(literal.key)),
            // A resource about a Group reveals it. A Group in another Group is that one's matter.
            (ResourceType::GROUP, _) if self.resource_type != ResourceType::GROUP => {
                self.groups.push(key(literal.key));
            }
            _ => {}
        }
        if self.resource_type == ResourceType::PROVENANCE {
            self.targets.push(key(literal.key));
        }
    }
}

fn age(text: &str) -> i64 {
    instant::parse(text).ok().and_then(nanoseconds).unwrap_or(UNKNOWN_AGE)
}

#[cfg(test)]
mod tests;
