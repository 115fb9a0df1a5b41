//! What of the source an export may hold, whatever it asks for: what the scopes of its client
//! allowed at the kick-off (SCP-3, G-4), and the Groups that the client may read (P15). It goes
//! with the request, so that a job that is resumed holds no more than it would have. Who may have
//! what is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::fhir::ResourceType;

/// The types and the Groups that an export may hold; by default, everything.
///
/// ```
/// use evanesce::{Access, ResourceType, Share};
///
/// let [observation, patient] = ["Observation", "Patient"].map(|name| ResourceType::of(name).unwrap());
/// let laboratory = vec!["category=laboratory".to_string()];
/// let access = Access::of_types([(observation, laboratory.clone())].into());
/// assert_eq!(access.of_type(observation), Share::Matching(&laboratory));
/// assert_eq!(access.of_type(patient), Share::Nothing);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Access {
    /// `None` for all types; else each type with its restrictions.
    #[serde(skip_serializing_if = "Option::is_none")]
    types: Option<BTreeMap<ResourceType, Vec<String>>>,
    /// `None` for all Groups; else their ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<BTreeSet<String>>,
}

/// How much of a type that is.
///
/// ```
/// let patient = evanesce::ResourceType::of("Patient").unwrap();
/// assert_eq!(evanesce::Access::everything().of_type(patient), evanesce::Share::All);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share<'a> {
    /// Nothing.
    Nothing,
    /// What matches one of these searches.
    Matching(&'a [String]),
    /// All resources.
    All,
}

impl Access {
    /// All resources of all types, and all Groups.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Resources of these types. Each type has its restrictions, which are
    /// searches such as `category=laboratory`: of a type that has some, what matches at least one
    /// of them; of a type without, all.
    pub fn of_types(types: BTreeMap<ResourceType, Vec<String>>) -> Self {
        Self { types: Some(types), groups: None }
    }

    /// The same, but of Groups those with these ids only, and nothing that is about another (P15).
    pub fn of_groups(self, ids: BTreeSet<String>) -> Self {
        Self { groups: Some(ids), ..self }
    }

    /// The same as far as it is about types: how much of each there may be. An application may have
    /// thousands of Groups, of which not every job needs the ids.
    pub fn without_groups(&self) -> Self {
        Self { types: self.types.clone(), groups: None }
    }

    /// Whether nothing is withheld.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// How much of that type there may be.
    pub fn of_type(&self, resource_type: ResourceType) -> Share<'_> {
        match &self.types {
            None => Share::All,
            Some(types) => match types.get(&resource_type).map(Vec::as_slice) {
                None => Share::Nothing,
                Some([]) => Share::All,
                Some(searches) => Share::Matching(searches),
            },
        }
    }

    /// The ids of the Groups that there may be, if there may not be all.
    pub fn groups(&self) -> Option<&BTreeSet<String>> {
        self.groups.as_ref()
    }

    /// Whether the Group with that id may be there, as far as its type may.
    pub fn has_group(&self, id: &str) -> bool {
        self.groups.as_ref().is_none_or(|ids| ids.contains(id))
    }

    /// Bytes of its texts.
    pub(super) fn bytes(&self) -> usize {
        let types = self.types.iter().flatten();
        let types = types.map(|(of_type, searches)| {
            of_type.as_str().len() + searches.iter().map(String::len).sum::<usize>()
        });
        types.sum::<usize>() + self.groups.iter().flatten().map(String::len).sum::<usize>()
    }

    /// All restrictions, each with the type that it is of, as `_typeFilter` has them:
    /// `Observation?category=laboratory`.
    pub fn restrictions(&self) -> impl Iterator<Item = String> {
        let types = self.types.iter().flatten();
        types.flat_map(|(of_type, searches)| {
            searches.iter().map(move |search| format!("{}?{search}", of_type.as_str()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_covered_wholly_in_part_or_not_at_all() {
        let searches = vec!["category=laboratory".to_string(), "status=final".into()];
        let of = |name| ResourceType::of(name).unwrap();
        let types = [(ResourceType::PATIENT, Vec::new()), (of("Observation"), searches.clone())];
        let access = Access::of_types(types.into());
        assert_eq!(access.of_type(ResourceType::PATIENT), Share::All);
        assert_eq!(access.of_type(of("Observation")), Share::Matching(&searches));
        assert_eq!(access.of_type(of("Condition")), Share::Nothing);
        let restrictions: Vec<_> = access.restrictions().collect();
        assert_eq!(restrictions, ["Observation?category=laboratory", "Observation?status=final"]);
        assert_eq!(Access::everything().of_type(of("Condition")), Share::All);
        assert_eq!(Access::everything().restrictions().count(), 0);
        let access = access.of_groups(["cohort-1".to_string()].into());
        assert!(access.has_group("cohort-1") && !access.has_group("cohort-2"), "P15");
        assert!(Access::everything().has_group("cohort-2"));
        let text = serde_json::to_string(&access).unwrap();
        assert_eq!(serde_json::from_str::<Access>(&text).unwrap(), access, "{text}");
    }
}
