//! Members of a Group: the patients in it who are members now.

use std::borrow::Cow;
use std::collections::HashSet;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::copy::{TouchedSums, Window};
use crate::export::ExportError;
use crate::fhir::{ResourceType, date_time, reference};
use crate::index::{Index, Key, Look, Spot, key, keys, text_of};

#[derive(Deserialize)]
struct Group<'a> {
    actual: Option<Read<bool>>,
    active: Option<Read<bool>>,
    #[serde(borrow, default)]
    member: Vec<Read<Member<'a>>>,
}

#[derive(Deserialize)]
struct Member<'a> {
    #[serde(borrow)]
    entity: Option<Read<Entity<'a>>>,
    #[serde(borrow)]
    period: Option<Read<Period<'a>>>,
    inactive: Option<Read<bool>>,
}

#[derive(Deserialize)]
struct Entity<'a> {
    #[serde(borrow)]
    reference: Option<Read<Text<'a>>>,
}

#[derive(Deserialize)]
struct Period<'a> {
    #[serde(borrow)]
    start: Option<Read<Text<'a>>>,
    #[serde(borrow)]
    end: Option<Read<Text<'a>>>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// An element that is there; `None` if it is not of the standard's shape, which spoils nothing
/// around it.
struct Read<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(Self(serde_json::from_str(raw.get()).ok()))
    }
}

impl Period<'_> {
    /// Whether it holds the instant; a bound that cannot be read excludes it.
    fn holds(&self, now: Timestamp) -> bool {
        let bound = |text: &Option<Read<Text<'_>>>, read: fn(&str) -> Option<Timestamp>| {
            text.as_ref().map(|text| text.0.as_ref().and_then(|text| read(&text.0)))
        };
        let start =
            bound(&self.start, date_time::first).is_none_or(|start| start.is_some_and(|start| start <= now));
        let end = bound(&self.end, date_time::last).is_none_or(|end| end.is_some_and(|end| now <= end));
        start && end
    }
}

impl Member<'_> {
    /// Whether it counts now; what cannot be read excludes it.
    fn is_member(&self, now: Timestamp) -> bool {
        let is_active = self.inactive.as_ref().is_none_or(|inactive| inactive.0 == Some(false));
        let holds = |period: &Read<Period<'_>>| period.0.as_ref().is_some_and(|period| period.holds(now));
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
pub fn members(index: &Index, look: &Look<'_>, id: &str) -> Result<HashSet<Key>, ExportError> {
    let spot = find(look, id)?.ok_or(ExportError::GroupNotFound)?;
    let line = read(index, look, spot)?;
    let group: Group<'_> = serde_json::from_slice(&line).map_err(|error| {
        tracing::warn!(kind = ?error.classify(), "a Group that is not of the standard's shape");
        ExportError::GroupNotFound
    })?;
    let is = |flag: Option<Read<bool>>, value| flag.is_some_and(|flag| flag.0 == Some(value));
    if !is(group.actual, true) || is(group.active, false) {
        return Err(ExportError::GroupNotFound);
    }
    let (mut members, mut others) = (HashSet::new(), 0);
    for member in group.member.iter().filter_map(|member| member.0.as_ref()) {
        let literal = member.reference().and_then(|text| reference::parse(text, index.base_url()));
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

/// Where the Group of that id is.
fn find(look: &Look<'_>, id: &str) -> Result<Option<Spot>, ExportError> {
    let wanted = key(&format!("Group/{id}"));
    let group = ResourceType::GROUP.index();
    for (s, segment) in look.segments.iter().enumerate().rev() {
        let chunks = segment.chunks.iter().enumerate().rev();
        for (c, chunk) in chunks.filter(|(_, chunk)| chunk.types().contains(&group)) {
            let table = segment.open()?.keys(chunk)?;
            // The last one is the one that counts.
            if let Some(n) = keys(&table).iter().rposition(|key| *key == wanted) {
                return Ok(Some((s as u32, c as u32, n as u32)));
            }
        }
    }
    Ok(None)
}

/// The text of a resource.
fn read(index: &Index, look: &Look<'_>, (s, c, n): Spot) -> Result<Vec<u8>, ExportError> {
    let segment = &look.segments[s as usize];
    let chunk = &segment.chunks[c as usize];
    let before = chunk.spans().take(n as usize).map(|span| u64::from(span.length)).sum::<u64>();
    let start = chunk.entry.start + before;
    let end = start + chunk.spans().nth(n as usize).map_or(0, |span| u64::from(span.length));
    let opened = index.source().open(&segment.file.name)?;
    let (name, mut buffer) = (&segment.file.name, Vec::new());
    let mut window = Window::new(&*opened.content, name, chunk.entry.start, chunk.entry.end, &mut buffer);
    let mut sums = TouchedSums::new(chunk.entry.start, chunk.sums());
    sums.touch(start, end);
    let line = window.all(start, end).map(|line| text_of(line, start == 0).to_vec());
    let checked = line.and_then(|line| window.check(sums.sum()).map(|()| line));
    checked.inspect_err(|_| index.doubt(&segment.file.name))
}
