//! The types that an export may hold, for a look at each resource that is written: whatever an
//! exporter does, of other types nothing gets into a file (G-4).

use crate::fhir::ResourceType;
use crate::job::{Access, Share};

/// See the module.
#[derive(Debug, Default)]
pub struct Covered {
    /// Of each type whether some of it may be held; `None` if all of all types may.
    types: Option<Vec<bool>>,
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
        Self { types: Some(ResourceType::all().map(may_hold).collect()) }
    }

    /// Whether it is one of them.
    pub fn has(&self, resource_type: ResourceType) -> bool {
        let index = usize::from(resource_type.index());
        self.types.as_ref().is_none_or(|types| types.get(index) == Some(&true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g_4_a_type_that_is_not_covered_is_none_of_them() {
        let types =
            [("Patient".to_string(), Vec::new()), ("Observation".into(), vec!["status=final".into()])];
        let covered = Covered::of(&Access::Types(types.into()));
        let has: Vec<_> =
            ResourceType::all().filter(|it| covered.has(*it)).map(ResourceType::as_str).collect();
        assert_eq!(has, ["Bundle", "Observation", "Patient"]);
        assert!(ResourceType::all().all(|it| Covered::of(&Access::Everything).has(it)));
    }
}
