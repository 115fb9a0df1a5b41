//! The patients of a Group, read the slow way.

use std::collections::BTreeSet;

use evanesce::job::FailureReason;
use jiff::Timestamp;

use super::json::Json;
use super::read::{Resource, literal};
use super::{is_named, time};

/// The patients of a group.
pub fn members(
    resources: &[Resource],
    id: &str,
    base_url: Option<&str>,
) -> Result<BTreeSet<String>, FailureReason> {
    let group = resources.iter().find(|one| is_named(one, &("Group".into(), id.into())));
    let group = group.ok_or(FailureReason::GroupNotFound)?.json;
    let says = |key: &str, value| group.get(key).is_some_and(|json| json.is(value));
    if !says("actual", true) || says("active", false) {
        return Err(FailureReason::GroupNotFound);
    }
    let mut patients = BTreeSet::new();
    for member in group.get("member").into_iter().flat_map(Json::items) {
        let inactive = member.get("inactive").is_some_and(|json| json.is(true));
        if inactive || !member.get("period").is_none_or(|period| covers(period, Timestamp::now())) {
            continue;
        }
        let reference = member.get("entity").and_then(|entity| entity.get("reference")).and_then(Json::text);
        match reference.and_then(|text| literal(&text, base_url)) {
            Some((resource_type, _)) if resource_type == "Group" => return Err(FailureReason::GroupNested),
            Some((resource_type, id)) if resource_type == "Patient" => patients.extend([id]),
            _ => {}
        }
    }
    Ok(patients)
}

/// Whether a period has begun and has not ended.
fn covers(period: Json<'_>, now: Timestamp) -> bool {
    let bound = |key| period.get(key).map(|json| json.text().and_then(|text| time::bound(&text)));
    let begun =
        bound("start").is_none_or(|start| start.is_some_and(|(first, _)| first <= now.as_nanosecond()));
    let goes_on = bound("end").is_none_or(|end| end.is_some_and(|(_, last)| now.as_nanosecond() <= last));
    begun && goes_on
}
