//! The walk over one line's JSON. Only the elements that the index needs are visited. Everything
//! else is checked and skipped.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::line::{LineFault, LineParser};
use crate::cancel::{AT_ONCE, CancelToken};
use crate::fhir::ResourceType;
use crate::fhir::compartment::{CompartmentPath, PatientRole, ways};

/// An element that the index needs.
#[derive(Clone, Copy)]
pub enum IndexedElement {
    /// The whole line.
    Resource,
    /// `resourceType`.
    Type,
    /// `id`.
    Id,
    /// `meta`.
    Meta,
    /// `meta.lastUpdated`.
    LastUpdated,
    /// An element on a path of the compartment: an object, or an array of them.
    Way(&'static CompartmentPath),
    /// An item of such an array.
    Item(&'static CompartmentPath),
    /// The `reference` of a Reference at the end of a path.
    Reference(PatientRole),
    /// `recorded` of a Provenance.
    Recorded,
    /// `type` of a Bundle.
    BundleType,
    /// `timestamp` of a Bundle.
    Timestamp,
    /// `entry` of a Bundle: an object, or an array of them.
    Entries,
    /// An item of such an array.
    Entry,
    /// The entry's `request`.
    Request,
    /// The entry's `resource`.
    Bundled,
    /// `request.method`.
    Method,
    /// `request.url`.
    Url,
}

/// Members of any resource.
const OF_ALL: &[(&str, IndexedElement)] =
    &[("resourceType", IndexedElement::Type), ("id", IndexedElement::Id), ("meta", IndexedElement::Meta)];

/// Members of a Provenance.
const OF_PROVENANCES: &[(&str, IndexedElement)] = &[("recorded", IndexedElement::Recorded)];

/// Members of a Bundle.
const OF_BUNDLES: &[(&str, IndexedElement)] = &[
    ("type", IndexedElement::BundleType),
    ("timestamp", IndexedElement::Timestamp),
    ("entry", IndexedElement::Entries),
];

/// Reads an element into the line reader, and skips what the index does not need.
pub struct ElementVisitor<'r, 'b> {
    /// The element.
    pub element: IndexedElement,
    /// Receives what is found.
    pub reader: &'r mut LineParser<'b>,
}

impl ElementVisitor<'_, '_> {
    /// Handles a value of an unexpected kind.
    fn other<E: Error>(self) -> Result<(), E> {
        match self.element {
            IndexedElement::Type => Err(self.reader.fail(LineFault::NoType)),
            IndexedElement::Id => Err(self.reader.fail(LineFault::BadId)),
            _ => Ok(()),
        }
    }
}

/// Reads an element from its text.
fn read_raw(raw: &str, cancel: &CancelToken, look: ElementVisitor<'_, '_>) -> serde_json::Result<()> {
    if raw.len() <= AT_ONCE {
        return serde_json::Deserializer::from_str(raw).deserialize_any(look);
    }
    serde_json::Deserializer::from_reader(cancel.reader(raw.as_bytes())).deserialize_any(look)
}

impl<'de> DeserializeSeed<'de> for ElementVisitor<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if !self.reader.is_tolerant() {
            return deserializer.deserialize_any(self);
        }
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let raw = raw.get();
        if raw.starts_with(['{', '[', '"']) {
            let cancel = self.reader.cancel();
            read_raw(raw, cancel, self).map_err(D::Error::custom)
        } else {
            self.other()
        }
    }
}

impl<'de> Visitor<'de> for ElementVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an element of a resource")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { element, reader } = self;
        if matches!(element, IndexedElement::Type | IndexedElement::Id) {
            return ElementVisitor { element, reader }.other();
        }
        let mut met = 0u32;
        // If the type comes first, the paths are unknown until it has been read.
        while let Some(member) =
            map.next_key_seed(MemberOf { element, resource_type: reader.resource_type })?
        {
            let Some((bit, member)) = member else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            // A second resource in an entry counts as one more that is not read.
            if met & 1 << bit != 0 && !matches!(member, IndexedElement::Bundled) {
                return Err(reader.fail(match member {
                    IndexedElement::Type => LineFault::NoType,
                    IndexedElement::Id => LineFault::BadId,
                    _ => LineFault::Ambiguous,
                }));
            }
            met |= 1 << bit;
            map.next_value_seed(ElementVisitor { element: member, reader })?;
        }
        match element {
            IndexedElement::Resource if met & 1 == 0 => return Err(reader.fail(LineFault::NoType)),
            IndexedElement::Request => reader.note_request(),
            IndexedElement::Bundled => reader.bundled += 1,
            _ => {}
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { element, reader } = self;
        match element {
            IndexedElement::Way(node) => {
                let element = IndexedElement::Item(node);
                while seq.next_element_seed(ElementVisitor { element, reader })?.is_some() {}
            }
            IndexedElement::Entries => {
                let element = IndexedElement::Entry;
                while seq.next_element_seed(ElementVisitor { element, reader })?.is_some() {}
            }
            IndexedElement::Type | IndexedElement::Id => return ElementVisitor { element, reader }.other(),
            _ => while seq.next_element::<IgnoredAny>()?.is_some() {},
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let reader = self.reader;
        match self.element {
            IndexedElement::Type => reader.note_type(text).map_err(|broken| reader.fail(broken))?,
            IndexedElement::Id => reader.note_id(text),
            IndexedElement::LastUpdated => reader.note_age(text),
            IndexedElement::Reference(end) => reader.refer(text, end),
            IndexedElement::Recorded => reader.note_recorded(text),
            IndexedElement::BundleType => reader.note_bundle_type(text),
            IndexedElement::Timestamp => reader.note_timestamp(text),
            IndexedElement::Method => reader.note_method(text),
            IndexedElement::Url => reader.note_url(text),
            IndexedElement::Resource
            | IndexedElement::Meta
            | IndexedElement::Way(_)
            | IndexedElement::Item(_)
            | IndexedElement::Entries
            | IndexedElement::Entry
            | IndexedElement::Bundled
            | IndexedElement::Request => {}
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.other()
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.other()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.other()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.other()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.other()
    }
}

/// Reads a key without a copy. Returns the member that the index needs, with a number, or `None`. A
/// resource's type has number 0.
struct MemberOf {
    element: IndexedElement,
    resource_type: ResourceType,
}

impl<'de> DeserializeSeed<'de> for MemberOf {
    type Value = Option<(usize, IndexedElement)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for MemberOf {
    type Value = Option<(usize, IndexedElement)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        type Members = &'static [(&'static str, IndexedElement)];
        let (own, more, node): (Members, Members, _) = match self.element {
            IndexedElement::Resource => {
                let more = match self.resource_type {
                    ResourceType::PROVENANCE => OF_PROVENANCES,
                    ResourceType::BUNDLE => OF_BUNDLES,
                    _ => &[],
                };
                (OF_ALL, more, Some(ways(self.resource_type)))
            }
            IndexedElement::Meta => (&[("lastUpdated", IndexedElement::LastUpdated)], &[], None),
            IndexedElement::Way(node) | IndexedElement::Item(node) => {
                let own: Members = match node.end {
                    Some(PatientRole::Owner) => {
                        &[("reference", IndexedElement::Reference(PatientRole::Owner))]
                    }
                    Some(PatientRole::Member) => {
                        &[("reference", IndexedElement::Reference(PatientRole::Member))]
                    }
                    None => &[],
                };
                (own, &[], Some(node))
            }
            IndexedElement::Entries | IndexedElement::Entry => {
                (&[("request", IndexedElement::Request), ("resource", IndexedElement::Bundled)], &[], None)
            }
            IndexedElement::Request => {
                (&[("method", IndexedElement::Method), ("url", IndexedElement::Url)], &[], None)
            }
            _ => (&[], &[], None),
        };
        let own = own.iter().chain(more).map(|(member, element)| (*member, *element));
        let steps = node
            .map_or(&[][..], CompartmentPath::children)
            .iter()
            .map(|(step, node)| (*step, IndexedElement::Way(node)));
        // Most keys differ in their first letter, which is compared first.
        let first = name.as_bytes().first();
        let is_it = |member: &str| member.as_bytes().first() == first && member == name;
        Ok(own
            .chain(steps)
            .enumerate()
            .find(|(_, (member, _))| is_it(member))
            .map(|(n, (_, element))| (n, element)))
    }
}
