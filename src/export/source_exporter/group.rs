//! Members of a Group: the patients in it who are members now.

use std::borrow::Cow;
use std::collections::HashSet;

use jiff::Timestamp;
use serde::Deserialize;

use super::copy::{TouchedSums, Window};
use crate::export::ExportError;
use crate::fhir::{ResourceType, date_time, reference};
use crate::index::{Index, Key, Look, Spot, key, keys, text_of};

#[derive(Deserialize)]
struct Group<'a> {
    actual: Option<bool>,
    active: Option<bool>,
    #[serde(borrow, default)]
    member: Vec<Member<'a>>,
}

#[derive(Deserialize)]
struct Member<'a> {
    #[serde(borrow)]
    entity: Option<Entity<'a>>,
    #[serde(borrow)]
    period: Option<Period<'a>>,
    inactive: Option<bool>,
}

#[derive(Deserialize)]
struct Entity<'a> {
    #[serde(borrow)]
    reference: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Period<'a> {
    #[serde(borrow)]
    start: Option<Cow<'a, str>>,
    #[serde(borrow)]
    end: Option<Cow<'a, str>>,
}

impl Period<'_> {
    /// Whether it holds the instant; a bound that cannot be read excludes it.
    fn holds(&self, now: Timestamp) -> bool {
        let start =
            self.start.as_ref().is_none_or(|text| date_time::first(text).is_some_and(|first| first <= now));
        let end = self.end.as_ref().is_none_or(|text| date_time::last(text).is_some_and(|last| now <= last));
        start && end
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
    if group.actual != Some(true) || group.active == Some(false) {
        return Err(ExportError::GroupNotFound);
    }
    let (mut members, mut others) = (HashSet::new(), 0);
    for member in &group.member {
        let is_member = member.inactive != Some(true)
            && member.period.as_ref().is_none_or(|period| period.holds(look.taken_at));
        let text = member.entity.as_ref().and_then(|entity| entity.reference.as_deref());
        let literal = text.and_then(|text| reference::parse(text, index.base_url()));
        match literal.map(|literal| (literal.resource_type.as_str(), literal.key)) {
            _ if !is_member => {}
            Some(("Patient", name)) => drop(members.insert(key(name))),
            Some(("Group", _)) => return Err(ExportError::GroupNested),
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
    let group = ResourceType::of("Group").expect("a type of R4").index();
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
    let mut window = Window::new(&*opened.content, &segment.file.name, chunk.entry.start, chunk.entry.end);
    let mut sums = TouchedSums::new(chunk.entry.start, chunk.sums());
    sums.touch(start, end);
    let line = window.all(start, end).map(|line| text_of(line, start == 0).to_vec());
    let checked = line.and_then(|line| window.check(sums.sum()).map(|()| line));
    checked.inspect_err(|_| index.doubt(&segment.file.name))
}
