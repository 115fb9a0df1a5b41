//! Groups: their members, the patients in them who are members now; their ids and names.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::single::{find, read};
use crate::export::{CancelToken, ExportError, GroupName};
use crate::fhir::{ResourceType, date_time};
use crate::index::{Index, Key, Look, key};

#[derive(Deserialize)]
struct Group {
    actual: Option<Read<bool>>,
    active: Option<Read<bool>>,
    #[serde(default)]
    member: Vec<Read<Member>>,
}

#[derive(Deserialize)]
struct Heading {
    id: Read<Text>,
    name: Option<Read<Text>>,
    identifier: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Member {
    entity: Option<Read<Entity>>,
    period: Option<Read<Period>>,
    inactive: Option<Read<bool>>,
}

#[derive(Deserialize)]
struct Entity {
    reference: Option<Read<Text>>,
}

#[derive(Deserialize)]
struct Period {
    start: Option<Read<Text>>,
    end: Option<Read<Text>>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Text(String);

/// An element that is there; `None` if it is not of the standard's shape, which spoils nothing
/// around it.
struct Read<T>(Option<T>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(serde_json::from_str(raw.get()).ok()))
    }
}

impl Period {
    /// Whether it holds the instant; a bound that cannot be read excludes it.
    fn holds(&self, now: Timestamp) -> bool {
        let bound = |text: &Option<Read<Text>>, read: fn(&str) -> Option<Timestamp>| {
            text.as_ref().map(|text| text.0.as_ref().and_then(|text| read(&text.0)))
        };
        let start =
            bound(&self.start, date_time::first).is_none_or(|start| start.is_some_and(|start| start <= now));
        let end = bound(&self.end, date_time::last).is_none_or(|end| end.is_some_and(|end| now <= end));
        start && end
    }
}

impl Member {
    /// Whether it counts now; what cannot be read excludes it.
    fn is_member(&self, now: Timestamp) -> bool {
        let is_active = self.inactive.as_ref().is_none_or(|inactive| inactive.0 == Some(false));
        let holds = |period: &Read<Period>| period.0.as_ref().is_some_and(|period| period.holds(now));
        is_active && self.period.as_ref().is_none_or(holds)
    }

    fn reference(&self) -> Option<&str> {
        let text = self.entity.as_ref()?.0.as_ref()?.reference.as_ref()?.0.as_ref()?;
        Some(&text.0)
    }
}

/// The patients who are members of the group at the look's instant: those that are not
/// `inactive` and whose `period` holds it. Members of other types are passed over.
///
/// # Errors
/// [`ExportError::GroupNotFound`] if there is no such Group, or it is not actual or not active;
/// [`ExportError::GroupNested`] if a group is a member.
pub fn members(
    index: &Index,
    look: &Look<'_>,
    id: &str,
    cancel: &CancelToken,
) -> Result<HashSet<Key>, ExportError> {
    let (s, c, n) = find(look, ResourceType::GROUP, id)?.ok_or(ExportError::GroupNotFound)?;
    let line = read(index, &look.segments[s as usize], (c, n), cancel)?;
    let group: Group = cancel.parse(&line)?.map_err(|error| {
        tracing::warn!(kind = ?error.classify(), "a Group that is not of the standard's shape");
        ExportError::GroupNotFound
    })?;
    let is = |flag: Option<Read<bool>>, value| flag.is_some_and(|flag| flag.0 == Some(value));
    if !is(group.actual, true) || is(group.active, false) {
        return Err(ExportError::GroupNotFound);
    }
    let (mut members, mut others) = (HashSet::new(), 0);
    for member in group.member.iter().filter_map(|member| member.0.as_ref()) {
        cancel.check()?;
        let literal = member.reference().and_then(|text| index.bases().parse(text));
        match literal.map(|literal| (literal.resource_type, literal.key)) {
            _ if !member.is_member(look.taken_at) => {}
            Some((ResourceType::PATIENT, name)) => drop(members.insert(key(name))),
            Some((ResourceType::GROUP, _)) => return Err(ExportError::GroupNested),
            _ => others += 1,
        }
    }
    if others > 0 {
        tracing::info!(others, "members of the group that are no patients were passed over");
    }
    Ok(members)
}

/// The id, the name and the identifiers in a Group's text; `None` if it has no id.
pub fn name_of(line: &[u8]) -> Option<GroupName> {
    let Heading { id, name, identifier } = serde_json::from_slice(line).ok()?;
    let name = name.and_then(|name| name.0).map(|Text(name)| name);
    let identifier = identifier.map(|identifier| identifier.get().to_string());
    Some(GroupName { id: id.0?.0, name, identifier })
}
