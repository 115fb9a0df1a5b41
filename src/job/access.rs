//! What of the source an export may hold, whatever it asks for: what the scopes of its client
//! allowed at the kick-off (SCP-3, G-4), and the Groups that the client may read (P15). It is part
//! of the request, so a resumed job holds no more than it would have. Who may have what is decided
//! elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fhir::ResourceType;
use crate::fhir::search::{FilterError, TypeFilter};

/// The types and the Groups that an export may hold; by default, everything.
///
/// The restrictions of types are parsed once. In JSON they are the texts that they were read from.
///
/// ```
/// use evanesce::{ExportAccess, ResourceType, TypeFilter, TypeShare};
///
/// let [observation, patient] = ["Observation", "Patient"].map(|name| ResourceType::of(name).unwrap());
/// let access = ExportAccess::of_types([(observation, vec!["category=laboratory".into()])].into())?;
/// let laboratory = TypeFilter::parse("Observation?category=laboratory")?;
/// assert_eq!(access.of_type(observation), TypeShare::Matching(&[laboratory.clone()]));
/// assert_eq!(access.of_type(patient), TypeShare::Nothing);
/// assert!(access.restrictions().eq([&laboratory]));
/// let access = access.of_groups(["cohort-1".to_string()].into());
/// assert!(access.has_group("cohort-1") && !access.has_group("cohort-2"));
/// assert!(!access.is_everything() && ExportAccess::everything().is_everything());
/// # Ok::<_, evanesce::FilterError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExportAccess {
    /// `None` for all types; else each type with its restrictions.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "write_types",
        deserialize_with = "read_types"
    )]
    types: Option<BTreeMap<ResourceType, Vec<TypeFilter>>>,
    /// `None` for all Groups; else their ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<BTreeSet<String>>,
}

/// How much of a type an export may hold.
///
/// ```
/// use evanesce::{ExportAccess, ResourceType, TypeShare};
///
/// let patient = ResourceType::of("Patient").unwrap();
/// assert_eq!(ExportAccess::everything().of_type(patient), TypeShare::All);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeShare<'a> {
    /// Nothing.
    Nothing,
    /// What matches one of these filters.
    Matching(&'a [TypeFilter]),
    /// All resources.
    All,
}

/// The restrictions of each type as they are written.
type SearchTexts = BTreeMap<ResourceType, Vec<String>>;

/// How much of each type an export may hold, with restrictions as texts. This is remembered of the
/// access when the request is in the job's directory: parsed filters need more memory (P13).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessSummary(Option<SearchTexts>);

impl ExportAccess {
    /// Returns an access to all resources of all types, and to all Groups.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Returns an access to resources of these types. A type may have restrictions, which are
    /// searches such as `category=laboratory`. A resource of such a type must match at least one of
    /// them.
    ///
    /// # Errors
    /// Fails if a restriction cannot be enforced.
    pub fn of_types(types: BTreeMap<ResourceType, Vec<String>>) -> Result<Self, FilterError> {
        Ok(Self { types: Some(parsed(types)?), groups: None })
    }

    /// Limits the access to the Groups with these ids. Nothing that is about another one may be
    /// held (P15).
    pub fn of_groups(self, ids: BTreeSet<String>) -> Self {
        Self { groups: Some(ids), ..self }
    }

    /// Returns whether nothing is withheld.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Returns how much of a type there may be.
    pub fn of_type(&self, resource_type: ResourceType) -> TypeShare<'_> {
        match &self.types {
            None => TypeShare::All,
            Some(types) => match types.get(&resource_type).map(Vec::as_slice) {
                None => TypeShare::Nothing,
                Some([]) => TypeShare::All,
                Some(filters) => TypeShare::Matching(filters),
            },
        }
    }

    /// Returns the ids of the allowed Groups, or `None` if all are allowed.
    pub fn groups(&self) -> Option<&BTreeSet<String>> {
        self.groups.as_ref()
    }

    /// Returns whether the Group with that id is allowed, as far as its type is.
    pub fn has_group(&self, id: &str) -> bool {
        self.groups.as_ref().is_none_or(|ids| ids.contains(id))
    }

    /// Returns the restrictions of all types.
    pub fn restrictions(&self) -> impl Iterator<Item = &TypeFilter> {
        self.types.iter().flat_map(BTreeMap::values).flatten()
    }

    /// Returns the size of the texts in bytes.
    pub(super) fn bytes(&self) -> usize {
        let types = self.types.iter().flatten();
        let types = types.map(|(of_type, filters)| {
            of_type.as_str().len() + filters.iter().map(|filter| filter.search().len()).sum::<usize>()
        });
        types.sum::<usize>() + self.groups.iter().flatten().map(String::len).sum::<usize>()
    }

    /// Returns what is remembered of the access. An application may have thousands of Groups, of
    /// which not every job needs the ids.
    pub(crate) fn summary(&self) -> AccessSummary {
        AccessSummary(self.types.as_ref().map(texts))
    }
}

impl AccessSummary {
    /// Returns the restrictions of a type, or `None` if the export may hold nothing of it. A type
    /// without restrictions may be held whole.
    pub fn restrictions(&self, resource_type: ResourceType) -> Option<&[String]> {
        match &self.0 {
            None => Some(&[]),
            Some(types) => types.get(&resource_type).map(Vec::as_slice),
        }
    }
}

fn parsed(types: SearchTexts) -> Result<BTreeMap<ResourceType, Vec<TypeFilter>>, FilterError> {
    let parse = |(of_type, searches): (ResourceType, Vec<String>)| {
        let filters = searches.iter().map(|search| TypeFilter::of_type(of_type, search));
        Ok((of_type, filters.collect::<Result<_, _>>()?))
    };
    types.into_iter().map(parse).collect()
}

fn texts(types: &BTreeMap<ResourceType, Vec<TypeFilter>>) -> SearchTexts {
    let texts = |filters: &Vec<TypeFilter>| filters.iter().map(|filter| filter.search().into()).collect();
    types.iter().map(|(of_type, filters)| (*of_type, texts(filters))).collect()
}

fn write_types<S: Serializer>(
    types: &Option<BTreeMap<ResourceType, Vec<TypeFilter>>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    types.as_ref().map(texts).serialize(serializer)
}

fn read_types<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BTreeMap<ResourceType, Vec<TypeFilter>>>, D::Error> {
    let types = Option::<SearchTexts>::deserialize(deserializer)?;
    types.map(parsed).transpose().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> ResourceType {
        ResourceType::of(name).unwrap()
    }

    fn restricted() -> ExportAccess {
        let searches = vec!["category=laboratory".to_string(), "status=final".into()];
        let types = [(ResourceType::PATIENT, Vec::new()), (of("Observation"), searches)];
        ExportAccess::of_types(types.into()).unwrap()
    }

    #[test]
    fn a_type_is_covered_wholly_in_part_or_not_at_all() {
        let access = restricted();
        let filters = ["Observation?category=laboratory", "Observation?status=final"];
        let filters = filters.map(|text| TypeFilter::parse(text).unwrap());
        assert_eq!(access.of_type(ResourceType::PATIENT), TypeShare::All);
        assert_eq!(access.of_type(of("Observation")), TypeShare::Matching(&filters));
        assert_eq!(access.of_type(of("Condition")), TypeShare::Nothing);
        assert!(access.restrictions().eq(&filters));
        assert_eq!(ExportAccess::everything().of_type(of("Condition")), TypeShare::All);
        assert_eq!(ExportAccess::everything().restrictions().count(), 0);
        let access = access.of_groups(["cohort-1".to_string()].into());
        assert!(access.has_group("cohort-1") && !access.has_group("cohort-2"), "P15");
        assert!(ExportAccess::everything().has_group("cohort-2"));
    }

    #[test]
    fn p11_restrictions_are_stored_as_texts_and_read_back_ready_for_use() {
        let access = restricted().of_groups(["g".to_string()].into());
        let text = serde_json::to_string(&access).unwrap();
        let stored =
            r#"{"types":{"Observation":["category=laboratory","status=final"],"Patient":[]},"groups":["g"]}"#;
        assert_eq!(text, stored);
        let read: ExportAccess = serde_json::from_str(stored).unwrap();
        assert_eq!(read, access);
        let TypeShare::Matching([laboratory, _]) = read.of_type(of("Observation")) else {
            panic!("{read:?}")
        };
        let line = r#"{"resourceType":"Observation","category":[{"coding":[{"code":"laboratory"}]}]}"#;
        assert!(laboratory.matches(line.as_bytes(), &crate::fhir::reference::BaseUrls::NONE));
        for unenforceable in ["nonsense=1", ""] {
            let stored = stored.replace("status=final", unenforceable);
            assert!(serde_json::from_str::<ExportAccess>(&stored).is_err(), "{unenforceable}");
        }
        assert_eq!(serde_json::from_str::<ExportAccess>("{}").unwrap(), ExportAccess::everything());
    }

    #[test]
    fn a_summary_says_how_much_of_a_type_there_may_be() {
        let summary = restricted().summary();
        let of_observation = ["category=laboratory".to_string(), "status=final".into()];
        assert_eq!(summary.restrictions(of("Observation")), Some(&of_observation[..]));
        assert_eq!(summary.restrictions(ResourceType::PATIENT), Some(&[][..]));
        assert_eq!(summary.restrictions(of("Condition")), None);
        assert_eq!(ExportAccess::everything().summary().restrictions(of("Condition")), Some(&[][..]));
    }
}
