//! Which resources a request selects, by what the index knows of them.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::config::References;
use crate::fhir::ResourceType;
use crate::index::{Chunk, Key, Links, NOTHING, UNKNOWN_AGE, nanoseconds};
use crate::job::{ExportRequest, Level};

/// What is done with resources of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// They are left out.
    Never,
    /// All are exported.
    Always,
    /// Those in the compartments of the patients.
    OfPatients,
    /// Those that something exported points to.
    ReferredTo,
}

/// Whose compartments are exported.
enum Patients<'m> {
    Everybody,
    Members(&'m HashSet<Key>),
}

/// See the module.
pub struct Selection<'m> {
    rules: [Rule; 256],
    patients: Patients<'m>,
    /// Strict bounds of the age, in nanoseconds.
    after: i64,
    before: i64,
}

impl<'m> Selection<'m> {
    /// What `request` selects; `members` are those of its group, if it has one.
    pub fn new(request: &ExportRequest, references: References, members: Option<&'m HashSet<Key>>) -> Self {
        let asked = request.parameters();
        let mut rules = [Rule::Never; 256];
        for resource_type in ResourceType::all() {
            let is_asked_for =
                asked.types.is_empty() || asked.types.iter().any(|t| t == resource_type.as_str());
            let rule = match (request.level(), references) {
                _ if !is_asked_for || !resource_type.is_exported_at(request.level()) => Rule::Never,
                (Level::System, _) => Rule::Always,
                _ if resource_type.is_in_compartment() => Rule::OfPatients,
                (_, References::Referenced) => Rule::ReferredTo,
                (_, References::All) => Rule::Always,
                (_, References::None) => Rule::Never,
            };
            rules[usize::from(resource_type.index())] = rule;
        }
        let after = asked.since.map_or(i64::MIN, bound);
        let before = asked.until.map_or(i64::MAX, bound);
        let patients = members.map_or(Patients::Everybody, Patients::Members);
        Self { rules, patients, after, before }
    }

    fn rule(&self, type_index: u8) -> Rule {
        if type_index == NOTHING { Rule::Never } else { self.rules[usize::from(type_index)] }
    }

    /// Whether resources of that type are exported if something points to them.
    pub fn is_referred_to(&self, type_index: u8) -> bool {
        self.rule(type_index) == Rule::ReferredTo
    }

    /// Whether there are such types.
    pub fn follows_references(&self) -> bool {
        self.rules.contains(&Rule::ReferredTo)
    }

    /// Whether the links of chunks are needed to select from them.
    pub fn needs_links(&self) -> bool {
        self.follows_references() || matches!(self.patients, Patients::Members(_))
    }

    /// Whether a resource of that age is exported: between the bounds, or of unknown age.
    pub fn has_age(&self, updated: i64) -> bool {
        updated == UNKNOWN_AGE || (self.after < updated && updated < self.before)
    }

    /// For each span of a chunk whether it is selected, whatever its age; references apart.
    /// `superseded` and `adopted` are the overlay's, in order.
    pub fn choose(
        &self,
        chunk: &Chunk,
        links: Option<&Links>,
        superseded: impl Iterator<Item = usize>,
        adopted: impl Iterator<Item = (usize, impl AsRef<[Key]>)>,
    ) -> Vec<bool> {
        let is_member: Vec<bool> = match (&self.patients, links) {
            (Patients::Members(members), Some(links)) => {
                links.everybody().iter().map(|patient| members.contains(patient)).collect()
            }
            _ => Vec::new(),
        };
        let is_theirs = |entry: &u32| match (&self.patients, links) {
            _ if *entry == 0 => false,
            (Patients::Everybody, _) => true,
            (Patients::Members(_), None) => false,
            (Patients::Members(_), Some(links)) => {
                links.patients(entry).any(|place| is_member.get(place) == Some(&true))
            }
        };
        let choose = |(index, entry): (&u8, &u32)| match self.rule(*index) {
            Rule::Never | Rule::ReferredTo => false,
            Rule::Always => true,
            Rule::OfPatients => is_theirs(entry),
        };
        let mut chosen: Vec<bool> = chunk.types().iter().zip(chunk.patients()).map(choose).collect();
        for (n, patients) in adopted {
            let theirs = match &self.patients {
                Patients::Everybody => true,
                Patients::Members(members) => {
                    patients.as_ref().iter().any(|patient| members.contains(patient))
                }
            };
            if theirs && self.rule(chunk.types()[n]) == Rule::OfPatients {
                chosen[n] = true;
            }
        }
        for n in superseded {
            chosen[n] = false;
        }
        chosen
    }
}

/// A bound in the index's nanoseconds. All ages of the index are between 1678 and 2261.
fn bound(instant: Timestamp) -> i64 {
    let beyond = if instant < Timestamp::UNIX_EPOCH { i64::MIN + 1 } else { i64::MAX };
    nanoseconds(instant).unwrap_or(beyond)
}
