//! The types and Groups that an export may hold. Each resource is checked when it is written, so
//! whatever an exporter does, no other type and no other Group gets into a file (G-4, P15).

use serde::Deserialize;

use crate::cancel::{CancelToken, TokenFired};
use crate::fhir::ResourceType;
use crate::job::{AccessSummary, ExportAccess};

/// The types that an export may hold.
#[derive(Debug, Default)]
pub struct CoveredTypes {
    /// For each type, whether some of it may be held; `None` if everything may.
    types: Option<Vec<bool>>,
}

impl CoveredTypes {
    /// Returns the types that `access` covers, and Bundle, which lists deletions.
    pub fn of(access: &AccessSummary) -> Self {
        if *access == AccessSummary::default() {
            return Self::default();
        }
        let may_hold = |resource_type: ResourceType| {
            resource_type == ResourceType::BUNDLE || access.restrictions(resource_type).is_some()
        };
        // In the order of the types' indexes.
        Self { types: Some(ResourceType::all().map(may_hold).collect()) }
    }

    /// Returns whether the type is covered.
    pub fn has(&self, resource_type: ResourceType) -> bool {
        let index = usize::from(resource_type.index());
        self.types.as_ref().is_none_or(|types| types.get(index) == Some(&true))
    }
}

/// Returns whether every Group in these lines may be held.
///
/// # Errors
/// Fails if the token has fired.
pub fn may_hold_groups(
    access: &ExportAccess,
    lines: &[u8],
    cancel: &CancelToken,
) -> Result<bool, TokenFired> {
    #[derive(Deserialize)]
    struct GroupLine {
        id: String,
    }
    if access.groups().is_none() {
        return Ok(true);
    }
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if !cancel.parse(line)?.is_ok_and(|named: GroupLine| access.has_group(&named.id)) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g_4_a_type_that_is_not_covered_is_none_of_them() {
        let observation = ResourceType::of("Observation").unwrap();
        let types = [(ResourceType::PATIENT, Vec::new()), (observation, vec!["status=final".into()])];
        let covered = CoveredTypes::of(&ExportAccess::of_types(types.into()).unwrap().summary());
        let held: Vec<_> =
            ResourceType::all().filter(|it| covered.has(*it)).map(ResourceType::as_str).collect();
        assert_eq!(held, ["Bundle", "Observation", "Patient"]);
        assert!(ResourceType::all().all(|it| CoveredTypes::of(&AccessSummary::default()).has(it)));
    }

    #[test]
    fn p15_a_group_that_may_not_be_read_is_none_of_them_wherever_it_stands() {
        let access = ExportAccess::everything().of_groups(["g".to_string()].into());
        let of_groups =
            |lines: &str| may_hold_groups(&access, lines.as_bytes(), &CancelToken::new()).unwrap();
        for lines in ["", r#"{"id":"g"}"#, "{\"i\\u0064\":\"g\"}\n{\"x\":1e999,\"id\":\"g\"}\n"] {
            assert!(of_groups(lines), "{lines}");
        }
        for lines in ["{}", r#"{"id":"h"}"#, "{\"id\":\"g\"}\n{\"id\":\"h\"}\n", r#"{"id":["g"]}"#, "g"] {
            assert!(!of_groups(lines), "{lines}");
        }
        assert_eq!(may_hold_groups(&ExportAccess::everything(), b"g", &CancelToken::new()), Ok(true));
    }
}
