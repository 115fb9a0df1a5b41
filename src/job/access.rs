//! What of the source an export may hold, whatever it asks for: what the scopes of its client
//! allowed at the kick-off (SCP-3, G-4). It goes with the request, so that a job that is resumed
//! holds no more than it would have. Who may have what is decided elsewhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// All resources of all types.
    #[default]
    Everything,
    /// Resources of these types, by their names. Each type has its restrictions, which are
    /// searches such as `category=laboratory`: of a type that has some, what matches at least one
    /// of them; of a type without, all.
    Types(BTreeMap<String, Vec<String>>),
}

/// How much of a type that is.
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
    /// Whether nothing is withheld.
    pub fn is_everything(&self) -> bool {
        *self == Self::Everything
    }

    /// How much of the type of that name there may be.
    pub fn of_type(&self, name: &str) -> Share<'_> {
        match self {
            Self::Everything => Share::All,
            Self::Types(types) => match types.get(name).map(Vec::as_slice) {
                None => Share::Nothing,
                Some([]) => Share::All,
                Some(searches) => Share::Matching(searches),
            },
        }
    }

    /// All restrictions, each with the type that it is of, as `_typeFilter` has them:
    /// `Observation?category=laboratory`.
    pub fn restrictions(&self) -> impl Iterator<Item = String> {
        let types = match self {
            Self::Everything => None,
            Self::Types(types) => Some(types),
        };
        let types = types.into_iter().flatten();
        types.flat_map(|(name, searches)| searches.iter().map(move |search| format!("{name}?{search}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_covered_wholly_in_part_or_not_at_all() {
        let searches = vec!["category=laboratory".to_string(), "status=final".into()];
        let types = [("Patient".to_string(), Vec::new()), ("Observation".into(), searches.clone())];
        let access = Access::Types(types.into());
        assert_eq!(access.of_type("Patient"), Share::All);
        assert_eq!(access.of_type("Observation"), Share::Matching(&searches));
        assert_eq!(access.of_type("Condition"), Share::Nothing);
        let restrictions: Vec<_> = access.restrictions().collect();
        assert_eq!(restrictions, ["Observation?category=laboratory", "Observation?status=final"]);
        assert_eq!(Access::Everything.of_type("Condition"), Share::All);
        assert_eq!(Access::Everything.restrictions().count(), 0);
        let text = serde_json::to_string(&access).unwrap();
        assert_eq!(serde_json::from_str::<Access>(&text).unwrap(), access, "{text}");
    }
}
