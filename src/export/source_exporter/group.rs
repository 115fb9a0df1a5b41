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
    /// Whether it holds the instant; `None` if a bound cannot be read.
    fn holds(&self, now: Timestamp) -> Option<bool> {
        let bound = |text: &Option<Read<Text>>, read: fn(&str) -> Option<Timestamp>| {
            text.as_ref().map(|text| text.0.as_ref().and_then(|text| read(&text.0)))
        };
        let start = bound(&self.start, date_time::first).map_or(Some(true), |start| Some(start? <= now))?;
        let end = bound(&self.end, date_time::last).map_or(Some(true), |end| Some(now <= end?))?;
        Some(start && end)
    }
}

impl Member {
    /// Whether it counts now; `None` if that cannot be read.
    fn is_member(&self, now: Timestamp) -> Option<bool> {
        let is_active = self.inactive.as_ref().map_or(Some(true), |inactive| Some(!inactive.0?))?;
        let holds = |period: &Read<Period>| period.0.as_ref()?.holds(now);
        let is_now = self.period.as_ref().map_or(Some(true), holds);
        if is_active { is_now } else { Some(false) }
    }

    fn reference(&self) -> Option<&str> {
        let text = self.entity.as_ref()?.0.as_ref()?.reference.as_ref()?.0.as_ref()?;
        Some(&text.0)
    }
}

/// How many members a Group has, by what becomes of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// Patients who are members now.
    pub counted: u64,
    /// Those that are inactive, or whose period does not hold now.
    pub inactive: u64,
    /// Those of which something that decides cannot be read.
    pub unreadable: u64,
    /// Those that are named in no way that means a resource here.
    pub elsewhere: u64,
    /// Those of other types.
    pub others: u64,
}

impl Members {
    /// All of them.
    pub fn listed(&self) -> u64 {
        self.counted + self.inactive + self.unreadable + self.elsewhere + self.others
    }

    /// Whether some may be meant that do not count.
    pub fn are_odd(&self) -> bool {
        self.unreadable + self.elsewhere > 0
    }
}

/// The patients who are members of the group at the look's instant: those that are not
/// `inactive` and whose `period` holds it. All others are passed over, and counted.
///
/// # Errors
/// [`ExportError::GroupNotFound`] if there is no such Group, or it is not actual or not active;
/// [`ExportError::GroupNested`] if a group is a member.
pub fn members(
    index: &Index,
    look: &Look<'_>,
    id: &str,
    cancel: &CancelToken,
) -> Result<(HashSet<Key>, Members), ExportError> {
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
    let (mut patients, mut members) = (HashSet::new(), Members::default());
    for member in &group.member {
        cancel.check()?;
        let Some(member) = &member.0 else {
            members.unreadable += 1;
            continue;
        };
        let literal = member.reference().and_then(|text| index.bases().parse(text));
        match (member.is_member(look.taken_at), literal) {
            (None, _) => members.unreadable += 1,
            (Some(false), _) => members.inactive += 1,
            (Some(true), None) => members.elsewhere += 1,
            (Some(true), Some(literal)) => match literal.resource_type {
                ResourceType::PATIENT => {
                    patients.insert(key(literal.key));
                    members.counted += 1;
                }
                ResourceType::GROUP => return Err(ExportError::GroupNested),
                _ => members.others += 1,
            },
        }
    }
    Ok((patients, members))
}

/// The id, the name and the identifiers in a Group's text; `None` if it has no id.
pub fn name_of(line: &[u8]) -> Option<GroupName> {
    let Heading { id, name, identifier } = serde_json::from_slice(line).ok()?;
    let name = name.and_then(|name| name.0).map(|Text(name)| name);
    let identifier = identifier.map(|identifier| identifier.get().to_string());
    Some(GroupName { id: id.0?.0, name, identifier })
}
