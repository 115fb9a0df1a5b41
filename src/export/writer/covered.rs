//! The types and the Groups that an export may hold, for a look at each resource that is written:
//! whatever an exporter does, nothing of other types, and no other Group, gets into a file (G-4, P15).

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Deserialize;

use crate::fhir::ResourceType;
use crate::job::{Access, Share};

/// What an export may hold.
#[derive(Debug, Default)]
pub struct Covered {
    /// Of each type whether some of it may be held; `None` if all of all types may.
    types: Option<Vec<bool>>,
    /// The ids of the Groups that may be held; `None` if all may.
    groups: Option<BTreeSet<String>>,
}

impl Covered {
    /// The types that `access` covers, and Bundles, which tell of deletions.
    pub fn of(access: &Access) -> Self {
        if access.is_everything() {
            return Self::default();
        }
        let may_hold = |resource_type: ResourceType| {
            resource_type == ResourceType::BUNDLE || access.of_type(resource_type.as_str()) != Share::Nothing
        };
        // In the order of their indexes.
        let types = Some(ResourceType::all().map(may_hold).collect());
        Self { types, groups: access.groups().cloned() }
    }

    /// Whether lines of that type, with or without a line feed at the end, may be held.
    pub fn has(&self, resource_type: ResourceType, lines: &[u8]) -> bool {
        let index = usize::from(resource_type.index());
        let has_type = self.types.as_ref().is_none_or(|types| types.get(index) == Some(&true));
        has_type && (resource_type != ResourceType::GROUP || self.has_groups(lines))
    }

    fn has_groups(&self, lines: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Named<'a> {
            #[serde(borrow)]
            id: Cow<'a, str>,
        }
        let Some(ids) = &self.groups else { return true };
        let mut lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.all(|line| serde_json::from_slice(line).is_ok_and(|named: Named<'_>| ids.contains(&*named.id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g_4_a_type_that_is_not_covered_is_none_of_them() {
        let types =
            [("Patient".to_string(), Vec::new()), ("Observation".into(), vec!["status=final".into()])];
        let covered = Covered::of(&Access::of_types(types.into()));
        let has: Vec<_> =
            ResourceType::all().filter(|it| covered.has(*it, b"{}")).map(ResourceType::as_str).collect();
        assert_eq!(has, ["Bundle", "Observation", "Patient"]);
        assert!(ResourceType::all().all(|it| Covered::of(&Access::everything()).has(it, b"{}")));
    }

    #[test]
    fn p15_a_group_that_may_not_be_read_is_none_of_them_wherever_it_stands() {
        let covered = Covered::of(&Access::everything().of_groups(["g".to_string()].into()));
        let has = |lines: &str| covered.has(ResourceType::GROUP, lines.as_bytes());
        for lines in ["", r#"{"id":"g"}"#, "{\"i\\u0064\":\"g\"}\n{\"x\":1e999,\"id\":\"g\"}\n"] {
            assert!(has(lines), "{lines}");
        }
        for lines in ["{}", r#"{"id":"h"}"#, "{\"id\":\"g\"}\n{\"id\":\"h\"}\n", r#"{"id":["g"]}"#, "g"] {
            assert!(!has(lines), "{lines}");
        }
        assert!(covered.has(ResourceType::PATIENT, b"{}"));
    }
}
