//! Which resources a request selects, by what the index knows of them.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::config::References;
use crate::fhir::ResourceType;
use crate::index::{Chunk, Gone, Key, Links, NOTHING, UNKNOWN_AGE, nanoseconds};
use crate::job::{ExportRequest, Level, Provenances, Share};

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
    /// Those that target something exported.
    Associated,
}

/// Whose compartments are exported.
enum Patients {
    Everybody,
    These(HashSet<Key>),
}

/// See the module.
pub struct Selection {
    rules: [Rule; 256],
    /// Of which types it may hold all there is.
    whole: [bool; 256],
    patients: Patients,
    provenances: Option<Provenances>,
    /// Whether it is about what has changed since an instant.
    has_since: bool,
    /// Strict bounds of the age, in nanoseconds.
    after: i64,
    before: i64,
}

impl Selection {
    /// What `request` selects; `patients` are those whose compartments it is about, if these are
    /// not everybody's.
    pub fn new(request: &ExportRequest, references: References, patients: Option<HashSet<Key>>) -> Self {
        let asked = request.parameters();
        let share = |resource_type: ResourceType| request.access.of_type(resource_type.as_str());
        let (mut rules, mut whole) = ([Rule::Never; 256], [false; 256]);
        for resource_type in ResourceType::all() {
            whole[usize::from(resource_type.index())] = share(resource_type) == Share::All;
            let is_asked_for =
                asked.types.is_empty() || asked.types.iter().any(|t| t == resource_type.as_str());
            let rule = match (request.level(), references) {
                // SCP-3: nothing else matters.
                _ if share(resource_type) == Share::Nothing => Rule::Never,
                // K-13: with what they are about, whatever `_type` says.
                _ if resource_type == ResourceType::PROVENANCE && asked.provenances.is_some() => {
                    Rule::Associated
                }
                _ if !is_asked_for || !resource_type.is_exported_at(request.level()) => Rule::Never,
                (Level::System, _) if patients.is_none() => Rule::Always,
                _ if resource_type.is_in_compartment() => Rule::OfPatients,
                (_, References::Referenced) => Rule::ReferredTo,
                (_, References::All) => Rule::Always,
                (_, References::None) => Rule::Never,
            };
            rules[usize::from(resource_type.index())] = rule;
        }
        let after = asked.since.map_or(i64::MIN, bound);
        let before = asked.until.map_or(i64::MAX, bound);
        let patients = patients.map_or(Patients::Everybody, Patients::These);
        let may_have_provenances = share(ResourceType::PROVENANCE) != Share::Nothing;
        Self {
            rules,
            whole,
            patients,
            provenances: asked.provenances.filter(|_| may_have_provenances),
            has_since: asked.since.is_some(),
            after,
            before,
        }
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
        self.follows_references() || matches!(self.patients, Patients::These(_))
    }

    /// Which Provenances go with what is exported, if it is these that are asked for (K-13).
    pub fn provenances(&self) -> Option<Provenances> {
        self.provenances
    }

    /// Whether the compartment of that patient may be exported.
    pub fn is_about(&self, patient: &Key) -> bool {
        match &self.patients {
            Patients::Everybody => true,
            Patients::These(these) => these.contains(patient),
        }
    }

    /// Whether something in the compartments of these patients, or in nobody's, may be exported
    /// because of something else that is (G-4).
    pub fn may_show(&self, patients: &[Key]) -> bool {
        patients.is_empty() || patients.iter().any(|patient| self.is_about(patient))
    }

    /// Whether the client is told of resources that are gone.
    pub fn tells_of_changes(&self) -> bool {
        self.has_since
    }

    /// Whether the client is told that a resource is gone, whenever that was; see
    /// [`super::deleted`].
    pub fn tells_of(&self, gone: &Gone) -> bool {
        match (self.rule(gone.type_index), &self.patients) {
            (Rule::Never, _) => false,
            // Whether it was among those that the export may hold cannot be known any more.
            _ if !self.whole[usize::from(gone.type_index)] => false,
            (Rule::Always, _) | (_, Patients::Everybody) => true,
            (Rule::ReferredTo, Patients::These(_)) => false,
            (Rule::OfPatients | Rule::Associated, Patients::These(these)) => {
                gone.patients.iter().any(|patient| these.contains(patient))
            }
        }
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
            (Patients::These(these), Some(links)) => {
                links.everybody().iter().map(|patient| these.contains(patient)).collect()
            }
            _ => Vec::new(),
        };
        let is_theirs = |entry: &u32| match (&self.patients, links) {
            _ if *entry == 0 => false,
            (Patients::Everybody, _) => true,
            (Patients::These(_), None) => false,
            (Patients::These(_), Some(links)) => {
                links.patients(entry).any(|place| is_member.get(place) == Some(&true))
            }
        };
        let choose = |(index, entry): (&u8, &u32)| match self.rule(*index) {
            Rule::Never | Rule::ReferredTo | Rule::Associated => false,
            Rule::Always => true,
            Rule::OfPatients => is_theirs(entry),
        };
        let mut chosen: Vec<bool> = chunk.types().iter().zip(chunk.patients()).map(choose).collect();
        for (n, patients) in adopted {
            let theirs = patients.as_ref().iter().any(|patient| self.is_about(patient));
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
