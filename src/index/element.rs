//! The walk over one line's JSON: only the elements that the index looks at are visited, all
//! else is checked and passed over.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::line::{Broken, LineReader};
use crate::cancel::{AT_ONCE, CancelToken};
use crate::fhir::ResourceType;
use crate::fhir::compartment::{CompartmentPath, PatientRole, ways};

/// An element that the index looks at.
#[derive(Clone, Copy)]
pub enum Element {
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
    /// What stands on a way of the compartment: an object, or an array of them.
    Way(&'static CompartmentPath),
    /// One of an array of them.
    Item(&'static CompartmentPath),
    /// The `reference` of a Reference at the end of a way.
    Reference(PatientRole),
    /// `recorded` of a Provenance.
    Recorded,
    /// `type` of a Bundle.
    BundleType,
    /// `timestamp` of a Bundle.
    Timestamp,
    /// `entry` of a Bundle: an object, or an array of them.
    Entries,
    /// One of an array of them.
    Entry,
    /// Its `request`.
    Request,
    /// Its `resource`.
    Bundled,
    /// `request.method`.
    Method,
    /// `request.url`.
    Url,
}

/// Members that a resource has whatever its type.
const OF_ALL: &[(&str, Element)] =
    &[("resourceType", Element::Type), ("id", Element::Id), ("meta", Element::Meta)];

/// Members of a Provenance.
const OF_PROVENANCES: &[(&str, Element)] = &[("recorded", Element::Recorded)];

/// Members of a Bundle.
const OF_BUNDLES: &[(&str, Element)] =
    &[("type", Element::BundleType), ("timestamp", Element::Timestamp), ("entry", Element::Entries)];

/// Reads an element into the reader; all that it does not look at is passed over.
pub struct Look<'r, 'b> {
    /// Which element it is.
    pub element: Element,
    /// Where what is found goes to.
    pub reader: &'r mut LineReader<'b>,
}

impl Look<'_, '_> {
    /// What to do with a value of a kind that the element should not have.
    fn other<E: Error>(self) -> Result<(), E> {
        match self.element {
            Element::Type => Err(self.reader.fail(Broken::NoType)),
            Element::Id => Err(self.reader.fail(Broken::BadId)),
            _ => Ok(()),
        }
    }
}

/// Reads an element from its text.
fn read_raw(raw: &str, cancel: &CancelToken, look: Look<'_, '_>) -> serde_json::Result<()> {
    if raw.len() <= AT_ONCE {
        return serde_json::Deserializer::from_str(raw).deserialize_any(look);
    }
    serde_json::Deserializer::from_reader(cancel.reader(raw.as_bytes())).deserialize_any(look)
}

impl<'de> DeserializeSeed<'de> for Look<'_, '_> {
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

impl<'de> Visitor<'de> for Look<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an element of a resource")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { element, reader } = self;
        if matches!(element, Element::Type | Element::Id) {
            return Look { element, reader }.other();
        }
        let mut met = 0u32;
        // If the type stands first, the ways are another's until it has been read.
        while let Some(member) =
            map.next_key_seed(MemberOf { element, resource_type: reader.resource_type })?
        {
            let Some((bit, member)) = member else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            // A second resource of an entry is one more that is not read.
            if met & 1 << bit != 0 && !matches!(member, Element::Bundled) {
                return Err(reader.fail(match member {
                    Element::Type => Broken::NoType,
                    Element::Id => Broken::BadId,
                    _ => Broken::Ambiguous,
                }));
            }
            met |= 1 << bit;
            map.next_value_seed(Look { element: member, reader })?;
        }
        match element {
            Element::Resource if met & 1 == 0 => return Err(reader.fail(Broken::NoType)),
            Element::Request => reader.note_request(),
            Element::Bundled => reader.bundled += 1,
            _ => {}
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { element, reader } = self;
        match element {
            Element::Way(node) => {
                let element = Element::Item(node);
                while seq.next_element_seed(Look { element, reader })?.is_some() {}
            }
            Element::Entries => {
                let element = Element::Entry;
                while seq.next_element_seed(Look { element, reader })?.is_some() {}
            }
            Element::Type | Element::Id => return Look { element, reader }.other(),
            _ => while seq.next_element::<IgnoredAny>()?.is_some() {},
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let reader = self.reader;
        match self.element {
            Element::Type => reader.note_type(text).map_err(|broken| reader.fail(broken))?,
            Element::Id => reader.note_id(text),
            Element::LastUpdated => reader.note_age(text),
            Element::Reference(end) => reader.refer(text, end),
            Element::Recorded => reader.note_recorded(text),
            Element::BundleType => reader.note_bundle_type(text),
            Element::Timestamp => reader.note_timestamp(text),
            Element::Method => reader.note_method(text),
            Element::Url => reader.note_url(text),
            Element::Resource
            | Element::Meta
            | Element::Way(_)
            | Element::Item(_)
            | Element::Entries
            | Element::Entry
            | Element::Bundled
            | Element::Request => {}
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

/// Reads a key, without a copy: which of the members that the index looks at it is, with a
/// number of its own; `None` if it is another. A resource's type has number 0.
struct MemberOf {
    element: Element,
    resource_type: ResourceType,
}

impl<'de> DeserializeSeed<'de> for MemberOf {
    type Value = Option<(usize, Element)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for MemberOf {
    type Value = Option<(usize, Element)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        type Members = &'static [(&'static str, Element)];
        let (own, more, node): (Members, Members, _) = match self.element {
            Element::Resource => {
                let more = match self.resource_type {
                    ResourceType::PROVENANCE => OF_PROVENANCES,
                    ResourceType::BUNDLE => OF_BUNDLES,
                    _ => &[],
                };
                (OF_ALL, more, Some(ways(self.resource_type)))
            }
            Element::Meta => (&[("lastUpdated", Element::LastUpdated)], &[], None),
            Element::Way(node) | Element::Item(node) => {
                let own: Members = match node.end {
                    Some(PatientRole::Owner) => &[("reference", Element::Reference(PatientRole::Owner))],
                    Some(PatientRole::Member) => &[("reference", Element::Reference(PatientRole::Member))],
                    None => &[],
                };
                (own, &[], Some(node))
            }
            Element::Entries | Element::Entry => {
                (&[("request", Element::Request), ("resource", Element::Bundled)], &[], None)
            }
            Element::Request => (&[("method", Element::Method), ("url", Element::Url)], &[], None),
            _ => (&[], &[], None),
        };
        let own = own.iter().chain(more).map(|(member, element)| (*member, *element));
        let steps = node
            .map_or(&[][..], CompartmentPath::children)
            .iter()
            .map(|(step, node)| (*step, Element::Way(node)));
        // Most keys differ in the first letter: nothing else is looked at then.
        let first = name.as_bytes().first();
        let is_it = |member: &str| member.as_bytes().first() == first && member == name;
        Ok(own
            .chain(steps)
            .enumerate()
            .find(|(_, (member, _))| is_it(member))
            .map(|(n, (_, element))| (n, element)))
    }
}
