//! `_elements`: resources of which only the root elements that were asked for are exported, and
//! those that a resource must have. Such a resource says so by the tag SUBSETTED.
//!
//! What is kept of a line is copied byte for byte; nothing but its root and its `meta` is looked
//! into.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::ResourceType;
use super::quoted::quoted;

/// What is kept of each resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elements {
    /// Of all types.
    bare: Vec<&'static str>,
    /// Of one type.
    typed: Vec<(ResourceType, &'static str)>,
}

/// An `_elements` that is refused: what was wrong and what would be right, for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ElementsError(String);

/// A line whose resource cannot be read; nothing of it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubsetError {
    /// It is not a JSON object.
    #[error("the line is not a JSON object")]
    NotAnObject,
    /// Its `meta` cannot be given a tag: it, or its `tag`, stands there twice or is of another
    /// kind.
    #[error("the line has a meta that cannot be tagged")]
    BadMeta,
}

const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";
const CODE: &str = "SUBSETTED";
const TAG: &str =
    r#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}"#;

/// Kept of every resource.
const ALWAYS: &[&str] = &["resourceType", "id", "meta", "implicitRules", "modifierExtension"];

/// A root element of a resource type.
struct Element {
    /// A choice element's without its type.
    name: &'static str,
    is_choice: bool,
    is_mandatory: bool,
}

/// The elements of each type, by its index.
static ELEMENTS: LazyLock<Vec<Vec<Element>>> = LazyLock::new(|| {
    let mut table: Vec<Vec<Element>> = ResourceType::all().map(|_| Vec::new()).collect();
    for line in include_str!("elements.tsv").lines().filter(|line| !line.starts_with('#')) {
        let (name, elements) = line.split_once('\t').expect("a row has two columns");
        let resource_type = ResourceType::of(name).expect("the table names types of R4");
        table[usize::from(resource_type.index())] = elements.split(' ').map(Element::read).collect();
    }
    table
});

impl Element {
    fn read(column: &'static str) -> Self {
        let full = column.trim_end_matches('!');
        let name = full.trim_end_matches("[x]");
        Self { name, is_choice: name != full, is_mandatory: full != column }
    }

    /// Whether the member of that name is it: itself, of any type, or what its id and its
    /// extensions are in if it is a primitive (`_birthDate`).
    fn is(&self, key: &str) -> bool {
        let rest = key.strip_prefix('_').unwrap_or(key).strip_prefix(self.name);
        rest.is_some_and(|rest| {
            if self.is_choice { rest.starts_with(|c: char| c.is_ascii_uppercase()) } else { rest.is_empty() }
        })
    }
}

impl Elements {
    /// How many bytes a subset can be longer than its line.
    pub const GROWTH: usize = r#","meta":{"tag":[]}"#.len() + TAG.len();

    /// Reads the items of `_elements`: `Type.element` or `element`. If any names an element of a
    /// type, those count for that type, and the bare ones for all; a type of which nothing is
    /// named stays whole.
    ///
    /// # Errors
    /// For the first item that names no root element of R4: what would be right.
    pub fn parse<'a>(items: impl IntoIterator<Item = &'a str>) -> Result<Self, ElementsError> {
        let mut elements = Self::default();
        for item in items {
            match item.split_once('.') {
                Some((name, element)) => {
                    let resource_type = ResourceType::of(name).ok_or_else(|| not_a_type(item, name))?;
                    let name = find(resource_type, element)
                        .ok_or_else(|| not_an_element(item, element, resource_type))?;
                    elements.typed.push((resource_type, name));
                }
                None => {
                    let name = ResourceType::all().find_map(|resource_type| find(resource_type, item));
                    elements.bare.push(name.ok_or_else(|| in_no_type(item))?);
                }
            }
        }
        Ok(elements)
    }

    /// Whether resources of that type are cut down.
    pub fn applies_to(&self, resource_type: ResourceType) -> bool {
        !self.bare.is_empty() || self.typed.iter().any(|(named, _)| *named == resource_type)
    }

    /// Appends the line to `out`, without a line feed: with the elements that were asked for, the
    /// mandatory ones, and `resourceType`, `id`, `meta`, `implicitRules` and
    /// `modifierExtension`, in their order. `meta` gets the tag SUBSETTED if it has it not.
    ///
    /// # Errors
    /// If the line cannot be read; then nothing is appended.
    pub fn subset(
        &self,
        resource_type: ResourceType,
        line: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SubsetError> {
        let Members(mut members) = serde_json::from_slice(line).map_err(|_| SubsetError::NotAnObject)?;
        members.retain(|(key, _)| self.keeps(resource_type, key));
        match members.iter().filter(|(key, _)| key == "meta").count() {
            0 => {
                let at = members.iter().take_while(|(key, _)| key == "resourceType" || key == "id").count();
                members.insert(
                    at,
                    ("meta".into(), serde_json::from_str("{}").expect("an empty object is JSON")),
                );
            }
            1 => {}
            _ => return Err(SubsetError::BadMeta),
        }
        let start = out.len();
        for (key, value) in members {
            begin_member(out, start, &key);
            if key != "meta" {
                out.extend_from_slice(value.get().as_bytes());
            } else if tag(value, out).is_none() {
                out.truncate(start);
                return Err(SubsetError::BadMeta);
            }
        }
        out.push(b'}');
        Ok(())
    }

    fn keeps(&self, resource_type: ResourceType, key: &str) -> bool {
        let asked = |name: &str| self.bare.contains(&name) || self.typed.contains(&(resource_type, name));
        ALWAYS.contains(&key.strip_prefix('_').unwrap_or(key))
            || of(resource_type).iter().any(|it| it.is(key) && (it.is_mandatory || asked(it.name)))
    }
}

fn of(resource_type: ResourceType) -> &'static [Element] {
    &ELEMENTS[usize::from(resource_type.index())]
}

/// The name of an element that a client names as `element`, or as `element[x]` if it is a choice.
fn find(resource_type: ResourceType, name: &str) -> Option<&'static str> {
    let is = |it: &&Element| it.name == name || (it.is_choice && name.strip_suffix("[x]") == Some(it.name));
    of(resource_type).iter().find(is).map(|it| it.name)
}

fn not_a_type(item: &str, name: &str) -> ElementsError {
    let (item, name) = (quoted(item), quoted(name));
    ElementsError(format!(
        "_elements has {item}, but {name} is no resource type of FHIR R4; give root elements, as in \
         Patient.birthDate or birthDate."
    ))
}

fn not_an_element(item: &str, element: &str, resource_type: ResourceType) -> ElementsError {
    let names: Vec<_> = of(resource_type).iter().map(|it| it.name).collect();
    let reason = if element.contains('.') { "goes deeper than the root" } else { "names no root element" };
    ElementsError(format!(
        "_elements has {}, which {reason} of {}; those are {}.",
        quoted(item),
        resource_type.as_str(),
        names.join(", ")
    ))
}

fn in_no_type(item: &str) -> ElementsError {
    let is_it = |it: &&Element| it.is_choice && it.is(item);
    let choice = ResourceType::all().find_map(|resource_type| of(resource_type).iter().find(is_it));
    let right = choice.map_or("give one such as status or Patient.birthDate".into(), |choice| {
        format!("give the choice element without its type, {}", choice.name)
    });
    ElementsError(format!("_elements has {}, which is no root element of any type; {right}.", quoted(item)))
}

/// The members of an object, in their order.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        #[derive(Deserialize)]
        struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
        let mut members = Vec::new();
        while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
            members.push((key, value));
        }
        Ok(Members(members))
    }
}

/// Appends the `meta` with the tag; `None` if it cannot be read.
fn tag(meta: &RawValue, out: &mut Vec<u8>) -> Option<()> {
    let Members(members) = serde_json::from_str(meta.get()).ok()?;
    let start = out.len();
    let mut has_tags = false;
    for (key, value) in &members {
        begin_member(out, start, key);
        if key != "tag" {
            out.extend_from_slice(value.get().as_bytes());
            continue;
        }
        if has_tags {
            return None;
        }
        has_tags = true;
        let tags: Vec<Value> = serde_json::from_str(value.get()).ok()?;
        let is_tagged = tags.iter().any(|tag| tag["system"] == SYSTEM && tag["code"] == CODE);
        let (list, comma) = (value.get().strip_suffix(']')?, if tags.is_empty() { "" } else { "," });
        let added = if is_tagged { ["", "", "]"] } else { [comma, TAG, "]"] };
        [list].iter().chain(&added).for_each(|part| out.extend_from_slice(part.as_bytes()));
    }
    if !has_tags {
        begin_member(out, start, "tag");
        ["[", TAG, "]"].iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    }
    out.push(b'}');
    Some(())
}

/// Appends what stands before a member's value in the object that begins at `start`.
fn begin_member(out: &mut Vec<u8>, start: usize, key: &str) {
    out.push(if out.len() == start { b'{' } else { b',' });
    out.extend_from_slice(Value::from(key).to_string().as_bytes());
    out.push(b':');
}

#[cfg(test)]
mod tests;
