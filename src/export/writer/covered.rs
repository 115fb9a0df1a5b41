//! The types and the Groups that an export may hold, for a look at each resource that is written:
//! whatever an exporter does, nothing of other types, and no other Group, gets into a file (G-4, P15).

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::cancel::{CancelToken, Cancelled};
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
    ///
    /// # Errors
    /// If the token has fired.
    pub fn has(
        &self,
        resource_type: ResourceType,
        lines: &[u8],
        cancel: &CancelToken,
    ) -> Result<bool, Cancelled> {
        let index = usize::from(resource_type.index());
        let has_type = self.types.as_ref().is_none_or(|types| types.get(index) == Some(&true));
        Ok(has_type && (resource_type != ResourceType::GROUP || self.has_groups(lines, cancel)?))
    }

    fn has_groups(&self, lines: &[u8], cancel: &CancelToken) -> Result<bool, Cancelled> {
        #[derive(Deserialize)]
        struct Named {
            id: String,
        }
        let Some(ids) = &self.groups else { return Ok(true) };
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if !cancel.parse(line)?.is_ok_and(|named: Named| ids.contains(&named.id)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(covered: &Covered, resource_type: ResourceType, lines: &[u8]) -> bool {
        covered.has(resource_type, lines, &CancelToken::new()).unwrap()
    }

    #[test]
    fn g_4_a_type_that_is_not_covered_is_none_of_them() {
        let types =
            [("Patient".to_string(), Vec::new()), ("Observation".into(), vec!["status=final".into()])];
        let covered = Covered::of(&Access::of_types(types.into()));
        let held: Vec<_> =
            ResourceType::all().filter(|it| has(&covered, *it, b"{}")).map(ResourceType::as_str).collect();
        assert_eq!(held, ["Bundle", "Observation", "Patient"]);
        assert!(ResourceType::all().all(|it| has(&Covered::of(&Access::everything()), it, b"{}")));
    }

    #[test]
    fn p15_a_group_that_may_not_be_read_is_none_of_them_wherever_it_stands() {
        let covered = Covered::of(&Access::everything().of_groups(["g".to_string()].into()));
        let of_groups = |lines: &str| has(&covered, ResourceType::GROUP, lines.as_bytes());
        for lines in ["", r#"{"id":"g"}"#, "{\"i\\u0064\":\"g\"}\n{\"x\":1e999,\"id\":\"g\"}\n"] {
            assert!(of_groups(lines), "{lines}");
        }
        for lines in ["{}", r#"{"id":"h"}"#, "{\"id\":\"g\"}\n{\"id\":\"h\"}\n", r#"{"id":["g"]}"#, "g"] {
            assert!(!of_groups(lines), "{lines}");
        }
        assert!(has(&covered, ResourceType::PATIENT, b"{}"));
    }
}
