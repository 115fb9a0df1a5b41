//! Groups: their members, their ids and names, as their lines say.

use std::sync::Arc;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::context::PlanContext;
use super::roster::{GroupRoster, MemberIdentity, Membership};
use super::single::{find, read};
use crate::export::{CancelToken, ExportError, GroupName};
use crate::fhir::reference::BaseUrls;
use crate::fhir::{ResourceType, date_time};
use crate::index::key;

#[derive(Deserialize)]
struct GroupResource {
    actual: Option<LenientElement<bool>>,
    active: Option<LenientElement<bool>>,
    #[serde(default)]
    member: Vec<LenientElement<GroupMember>>,
}

#[derive(Deserialize)]
struct GroupHeading {
    id: LenientElement<TextElement>,
    name: Option<LenientElement<TextElement>>,
    identifier: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct GroupMember {
    entity: Option<LenientElement<MemberEntity>>,
    period: Option<LenientElement<MemberPeriod>>,
    inactive: Option<LenientElement<bool>>,
}

#[derive(Deserialize)]
struct MemberEntity {
    reference: Option<LenientElement<TextElement>>,
}

#[derive(Deserialize)]
struct MemberPeriod {
    start: Option<LenientElement<TextElement>>,
    end: Option<LenientElement<TextElement>>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct TextElement(String);

/// An element that is there; `None` if it is not of the standard's shape, which spoils nothing
/// around it.
struct LenientElement<T>(Option<T>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for LenientElement<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(serde_json::from_str(raw.get()).ok()))
    }
}

impl MemberPeriod {
    /// When it holds; `None` if a bound cannot be read.
    fn bounds(&self) -> Option<Membership> {
        let bound =
            |text: &Option<LenientElement<TextElement>>, read: fn(&str) -> Option<Timestamp>| match text {
                None => Some(None),
                Some(text) => Some(Some(read(&text.0.as_ref()?.0)?)),
            };
        let (start, end) = (bound(&self.start, date_time::first)?, bound(&self.end, date_time::last)?);
        Some(Membership::Within(start, end))
    }
}

impl GroupMember {
    fn membership(&self) -> Membership {
        let period = match &self.period {
            None => Some(Membership::Within(None, None)),
            Some(period) => period.0.as_ref().and_then(MemberPeriod::bounds),
        };
        match self.inactive.as_ref().map(|inactive| inactive.0) {
            Some(None) => Membership::Unreadable,
            Some(Some(true)) => Membership::Inactive,
            Some(Some(false)) | None => period.unwrap_or(Membership::Unreadable),
        }
    }

    fn identity(&self, bases: &BaseUrls) -> MemberIdentity {
        let Some(literal) = self.reference().and_then(|text| bases.parse(text)) else {
            return MemberIdentity::Elsewhere;
        };
        match literal.resource_type {
            ResourceType::PATIENT => MemberIdentity::Patient(key(literal.key)),
            ResourceType::GROUP => MemberIdentity::Group,
            _ => MemberIdentity::Other,
        }
    }

    fn reference(&self) -> Option<&str> {
        let text = self.entity.as_ref()?.0.as_ref()?.reference.as_ref()?.0.as_ref()?;
        Some(&text.0)
    }
}

/// Returns the members of the Group of that id. Its line is read if it was not read lately.
///
/// # Errors
/// [`ExportError::GroupNotFound`] if there is no such Group, or it is not actual or not active.
pub fn roster(context: &PlanContext<'_>, id: &str) -> Result<Arc<GroupRoster>, ExportError> {
    let (s, c, n) = find(context.look, ResourceType::GROUP, id)?.ok_or(ExportError::GroupNotFound)?;
    let segment = &context.look.segments[s as usize];
    context.rosters.get((segment.file.fingerprint.clone(), c, n), || {
        let line = read(context.index, segment, (c, n), context.cancel)?;
        roster_of(&line, context.index.bases(), context.cancel)
    })
}

/// Reads the members in a Group's line.
fn roster_of(line: &[u8], bases: &BaseUrls, cancel: &CancelToken) -> Result<GroupRoster, ExportError> {
    let group: GroupResource = cancel.parse(line)?.map_err(|error| {
        tracing::warn!(kind = ?error.classify(), "a Group that is not of the standard's shape");
        ExportError::GroupNotFound
    })?;
    let is = |flag: Option<LenientElement<bool>>, value| flag.is_some_and(|flag| flag.0 == Some(value));
    if !is(group.actual, true) || is(group.active, false) {
        return Err(ExportError::GroupNotFound);
    }
    let members = group.member.iter().map(|member| {
        cancel.check()?;
        Ok(match &member.0 {
            Some(member) => (member.identity(bases), member.membership()),
            None => (MemberIdentity::Elsewhere, Membership::Unreadable),
        })
    });
    Ok(GroupRoster { members: members.collect::<Result<_, ExportError>>()? })
}

/// Returns the id, the name and the identifiers in a Group's text, or `None` if it has no id.
pub fn name_of(line: &[u8]) -> Option<GroupName> {
    let GroupHeading { id, name, identifier } = serde_json::from_slice(line).ok()?;
    let name = name.and_then(|name| name.0).map(|TextElement(name)| name);
    let identifier = identifier.map(|identifier| identifier.get().to_string());
    Some(GroupName { id: id.0?.0, name, identifier })
}
