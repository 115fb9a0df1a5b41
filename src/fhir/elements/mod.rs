//! `_elements`: exports only the requested root elements of resources, and the mandatory ones. Such
//! a resource has the tag SUBSETTED.
//!
//! The kept elements are copied byte for byte. Only the root and the `meta` of a line are parsed.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::LazyLock;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::ResourceType;
use super::quoted::quoted;
use crate::cancel::{AT_ONCE, CancelToken, TokenFired};

/// The elements to keep of each resource; in JSON the items of `_elements`, each once.
///
/// ```
/// use evanesce::Elements;
///
/// assert_eq!(Elements::parse(["Patient.name"]).unwrap().items(), ["Patient.name"]);
/// assert!(Elements::parse(["Patient.nonsense"]).is_err());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<String>", try_from = "Vec<String>")]
pub struct Elements {
    /// As they were given.
    items: Vec<String>,
    /// Of all types.
    bare: Vec<&'static str>,
    /// Of one type.
    typed: Vec<(ResourceType, &'static str)>,
}

/// Why an `_elements` is refused, and what would be right. The text is for the client.
///
/// ```
/// let error = evanesce::Elements::parse(["Patient.nonsense"]).unwrap_err();
/// assert!(error.to_string().contains("nonsense"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ElementsError(String);

/// Why a line has no subset. Nothing of it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubsetError {
    /// The line is not a JSON object.
    #[error("the line is not a JSON object")]
    NotAnObject,
    /// Its `meta` cannot be tagged: it, or its `tag`, is duplicated or has another type.
    #[error("the line has a meta that cannot be tagged")]
    BadMeta,
    /// The token has fired.
    #[error(transparent)]
    Cancelled(#[from] TokenFired),
}

const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";
const CODE: &str = "SUBSETTED";
const TAG: &str =
    r#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}"#;

/// Kept of every resource.
const ALWAYS: &[&str] = &["resourceType", "id", "meta", "implicitRules", "modifierExtension"];

/// A root element of a resource type.
struct RootElement {
    /// The name; a choice element's without its type.
    name: &'static str,
    is_choice: bool,
    is_mandatory: bool,
}

/// The elements of each type, by its index.
static ELEMENTS: LazyLock<Vec<Vec<RootElement>>> = LazyLock::new(|| {
    let mut table: Vec<Vec<RootElement>> = ResourceType::all().map(|_| Vec::new()).collect();
    for line in include_str!("elements.tsv").lines().filter(|line| !line.starts_with('#')) {
        let (name, elements) = line.split_once('\t').expect("a row has two columns");
        let resource_type = ResourceType::of(name).expect("the table names types of R4");
        table[usize::from(resource_type.index())] = elements.split(' ').map(RootElement::read).collect();
    }
    table
});

impl RootElement {
    fn read(column: &'static str) -> Self {
        let full = column.trim_end_matches('!');
        let name = full.trim_end_matches("[x]");
        Self { name, is_choice: name != full, is_mandatory: full != column }
    }

    /// Returns whether the member with that name belongs to the element: the element itself, of any
    /// type, or the id and extensions of a primitive (`_birthDate`).
    fn is(&self, key: &str) -> bool {
        let rest = key.strip_prefix('_').unwrap_or(key).strip_prefix(self.name);
        rest.is_some_and(|rest| {
            if self.is_choice { rest.starts_with(|c: char| c.is_ascii_uppercase()) } else { rest.is_empty() }
        })
    }
}

impl From<Elements> for Vec<String> {
    fn from(elements: Elements) -> Self {
        elements.items
    }
}

impl TryFrom<Vec<String>> for Elements {
    type Error = ElementsError;

    fn try_from(items: Vec<String>) -> Result<Self, ElementsError> {
        Self::parse(items.iter().map(String::as_str))
    }
}

impl Elements {
    /// How many bytes longer than its line a subset can be.
    pub(crate) const GROWTH: usize = r#","meta":{"tag":[]}"#.len() + TAG.len();

    /// Parses the items of `_elements`: `Type.element` or `element`. If an item names an element of
    /// a type, it counts for that type, and a bare one for all types. Types that no item names stay
    /// whole.
    ///
    /// # Errors
    /// Fails with the first item that names no root element of R4, and what would be right.
    pub fn parse<'a>(items: impl IntoIterator<Item = &'a str>) -> Result<Self, ElementsError> {
        let mut elements = Self::default();
        items.into_iter().try_for_each(|item| elements.add(item))?;
        Ok(elements)
    }

    /// Adds an item of `_elements`, if it is not there yet.
    ///
    /// # Errors
    /// As [`Elements::parse`].
    pub(crate) fn add(&mut self, item: &str) -> Result<(), ElementsError> {
        if self.items.iter().any(|known| known == item) {
            return Ok(());
        }
        match item.split_once('.') {
            Some((name, element)) => {
                let resource_type = ResourceType::of(name).ok_or_else(|| not_a_type(item, name))?;
                let name = find(resource_type, element)
                    .ok_or_else(|| not_an_element(item, element, resource_type))?;
                self.typed.push((resource_type, name));
            }
            None => {
                let name = ResourceType::all().find_map(|resource_type| find(resource_type, item));
                self.bare.push(name.ok_or_else(|| in_no_type(item))?);
            }
        }
        self.items.push(item.into());
        Ok(())
    }

    /// Returns the items as they were given.
    pub fn items(&self) -> &[String] {
        &self.items
    }

    /// Returns whether all resources stay whole.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns whether resources of that type are subsetted.
    pub(crate) fn applies_to(&self, resource_type: ResourceType) -> bool {
        !self.bare.is_empty() || self.typed.iter().any(|(named, _)| *named == resource_type)
    }

    /// Appends the subset of the line to `out`, without a line feed: the requested elements, the
    /// mandatory ones, and `resourceType`, `id`, `meta`, `implicitRules` and `modifierExtension`,
    /// in their order. `meta` gets the tag SUBSETTED unless it has it.
    ///
    /// # Errors
    /// Fails if the line cannot be parsed, and then appends nothing.
    pub(crate) fn subset(
        &self,
        resource_type: ResourceType,
        line: &[u8],
        cancel: &CancelToken,
        out: &mut Vec<u8>,
    ) -> Result<(), SubsetError> {
        let start = out.len();
        let kept = self.append(resource_type, line, cancel, out);
        // Whatever came of it then.
        let kept = cancel.check().map_err(SubsetError::from).and(kept);
        kept.inspect_err(|_| out.truncate(start))
    }

    fn append(
        &self,
        resource_type: ResourceType,
        line: &[u8],
        cancel: &CancelToken,
        out: &mut Vec<u8>,
    ) -> Result<(), SubsetError> {
        let members = members(line, &|key| self.keeps(resource_type, key), cancel);
        let mut members = members.ok_or(SubsetError::NotAnObject)?;
        match members.iter().filter(|(key, _)| key == "meta").count() {
            0 => {
                let at = members.iter().take_while(|(key, _)| key == "resourceType" || key == "id").count();
                let empty: &RawValue = serde_json::from_str("{}").expect("an empty object is JSON");
                members.insert(at, ("meta".into(), Cow::Borrowed(empty)));
            }
            1 => {}
            _ => return Err(SubsetError::BadMeta),
        }
        let start = out.len();
        for (key, value) in members {
            begin_member(out, start, &key);
            if key != "meta" {
                cancel.append(value.get().as_bytes(), out)?;
            } else if tag(&value, cancel, out).is_none() {
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

fn of(resource_type: ResourceType) -> &'static [RootElement] {
    &ELEMENTS[usize::from(resource_type.index())]
}

/// Returns the name of the element that a client calls `element`, or `element[x]` if it is a
/// choice.
fn find(resource_type: ResourceType, name: &str) -> Option<&'static str> {
    let is =
        |it: &&RootElement| it.name == name || (it.is_choice && name.strip_suffix("[x]") == Some(it.name));
    of(resource_type).iter().find(is).map(|it| it.name)
}

fn not_a_type(item: &str, name: &str) -> ElementsError {
    let (item, name) = (quoted(item), quoted(name));
    ElementsError(format!(
        "_elements has {item}, but {name} is not a resource type of FHIR R4; give root elements, as in \
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
    let is_it = |it: &&RootElement| it.is_choice && it.is(item);
    let choice = ResourceType::all().find_map(|resource_type| of(resource_type).iter().find(is_it));
    let right = choice.map_or("give one such as status or Patient.birthDate".into(), |choice| {
        format!("give the choice element without its type, {}", choice.name)
    });
    ElementsError(format!(
        "_elements has {}, which is not a root element of any type; {right}.",
        quoted(item)
    ))
}

/// The members of an object, in their order, each with its text.
type ObjectMembers<'l> = Vec<(String, Cow<'l, RawValue>)>;

/// Returns the members of an object that `keeps` selects. Only a long text is copied; it is read
/// with checks of the token. Returns `None` if the text is not an object or the token has fired.
fn members<'l>(
    text: &'l [u8],
    keeps: &dyn Fn(&str) -> bool,
    cancel: &CancelToken,
) -> Option<ObjectMembers<'l>> {
    if text.len() <= AT_ONCE {
        let mut json = serde_json::Deserializer::from_slice(text);
        let members = json.deserialize_map(MembersVisitor::<&RawValue>(keeps, PhantomData)).ok()?;
        json.end().ok()?;
        return Some(members.into_iter().map(|(key, value)| (key, Cow::Borrowed(value))).collect());
    }
    let mut json = serde_json::Deserializer::from_reader(cancel.reader(text));
    let members = json.deserialize_map(MembersVisitor::<Box<RawValue>>(keeps, PhantomData)).ok()?;
    json.end().ok()?;
    Some(members.into_iter().map(|(key, value)| (key, Cow::Owned(value))).collect())
}

struct MembersVisitor<'k, V>(&'k dyn Fn(&str) -> bool, PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for MembersVisitor<'_, V> {
    type Value = Vec<(String, V)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        #[derive(Deserialize)]
        struct MemberKey<'a>(#[serde(borrow)] Cow<'a, str>);
        let mut members = Vec::new();
        while let Some(MemberKey(key)) = map.next_key::<MemberKey<'de>>()? {
            if self.0(&key) {
                members.push((key.into_owned(), map.next_value()?));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(members)
    }
}

/// What is known of the tags of a `meta`.
#[derive(Default)]
struct MetaTags {
    is_empty: bool,
    is_tagged: bool,
}

/// Reads an array of tags one by one.
struct TagsVisitor;

impl<'de> Visitor<'de> for TagsVisitor {
    type Value = MetaTags;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<MetaTags, A::Error> {
        let mut tags = MetaTags { is_empty: true, is_tagged: false };
        while let Some(tag) = seq.next_element::<Box<RawValue>>()? {
            tags.is_empty = false;
            // A tag of this length is not ours.
            let tag: Option<Value> = Some(tag.get())
                .filter(|tag| tag.len() <= AT_ONCE)
                .and_then(|tag| serde_json::from_str(tag).ok());
            tags.is_tagged |= tag.is_some_and(|tag| tag["system"] == SYSTEM && tag["code"] == CODE);
        }
        Ok(tags)
    }
}

/// Appends the `meta` with the tag. Returns `None` if it cannot be parsed or the token has fired.
fn tag(meta: &RawValue, cancel: &CancelToken, out: &mut Vec<u8>) -> Option<()> {
    let members = members(meta.get().as_bytes(), &|_| true, cancel)?;
    let start = out.len();
    let mut has_tags = false;
    for (key, value) in &members {
        begin_member(out, start, key);
        if key != "tag" {
            cancel.append(value.get().as_bytes(), out).ok()?;
            continue;
        }
        if has_tags {
            return None;
        }
        has_tags = true;
        let mut json = serde_json::Deserializer::from_reader(cancel.reader(value.get().as_bytes()));
        let MetaTags { is_empty, is_tagged } = json.deserialize_seq(TagsVisitor).ok()?;
        let (list, comma) = (value.get().strip_suffix(']')?, if is_empty { "" } else { "," });
        let added = if is_tagged { ["", "", "]"] } else { [comma, TAG, "]"] };
        cancel.append(list.as_bytes(), out).ok()?;
        added.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    }
    if !has_tags {
        begin_member(out, start, "tag");
        ["[", TAG, "]"].iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    }
    out.push(b'}');
    Some(())
}

/// Appends what precedes a member's value in the object that begins at `start`.
fn begin_member(out: &mut Vec<u8>, start: usize, key: &str) {
    out.push(if out.len() == start { b'{' } else { b',' });
    out.extend_from_slice(Value::from(key).to_string().as_bytes());
    out.push(b':');
}

#[cfg(test)]
mod tests;
