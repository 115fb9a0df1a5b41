//! Which resources a request selects, by what the index knows of them. Here alone is decided of
//! whom an export may tell (P15): copies, blocks, deletions, Provenances and estimates go by it.

use std::collections::HashSet;
use std::io;

use jiff::Timestamp;

use super::SourceOptions;
use super::patients::AskedFor;
use super::roster::MemberCounts;
use crate::config::{DevicePolicy, ReferencePolicy};
use crate::export::CancelToken;
use crate::fhir::{ResourceType, compartment};
use crate::index::{
    ChunkLinks, GoneResource, IndexChunk, ListingResource, NOTHING, ResourceKey, SegmentReader, UNKNOWN_AGE,
    key, nanoseconds,
};
use crate::job::{AssociatedData, ExportRequest, Level, TypeShare};

/// What is done with resources of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeRule {
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
enum PatientScope {
    Everybody,
    These(HashSet<ResourceKey>),
}

/// Whose a resource has to be that may be in the compartments of several patients (P15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PatientReach {
    /// One of the export's patients: others have a part in that one's record.
    One,
    /// Nobody else's.
    All,
    /// It is one of the export's patients itself, whoever it links to.
    Itself,
}

/// What a request selects.
pub struct Selection {
    rules: [TypeRule; 256],
    /// What is done with Devices that name a patient; for others it is the rule of their type.
    owned_devices: TypeRule,
    reach: [PatientReach; 256],
    /// The Groups that it may tell of, if these are not all.
    groups: Option<HashSet<ResourceKey>>,
    /// Of which types it may hold all there is.
    whole: [bool; 256],
    patients: PatientScope,
    /// Of a Group, what became of its members.
    members: Option<MemberCounts>,
    provenances: Option<AssociatedData>,
    /// Whether it is about what has changed since an instant.
    has_since: bool,
    /// Strict bounds of the age, in nanoseconds.
    after: i64,
    before: i64,
}

impl Selection {
    /// What `request` selects, which is about the compartments of those who are asked for.
    pub fn new(request: &ExportRequest, options: &SourceOptions, asked_for: AskedFor) -> Self {
        let AskedFor { patients, members } = asked_for;
        let references = options.references;
        let asked = request.parameters();
        let share = |resource_type: ResourceType| request.access.of_type(resource_type);
        let (mut rules, mut whole) = ([TypeRule::Never; 256], [false; 256]);
        for resource_type in ResourceType::all() {
            whole[usize::from(resource_type.index())] = share(resource_type) == TypeShare::All;
            let is_asked_for = asked.types.is_empty() || asked.types.contains(&resource_type);
            let rule = match (request.level(), references) {
                // SCP-3: nothing else matters.
                _ if share(resource_type) == TypeShare::Nothing => TypeRule::Never,
                // K-13: with what they are about, whatever `_type` says.
                _ if resource_type == ResourceType::PROVENANCE && asked.provenances.is_some() => {
                    TypeRule::Associated
                }
                _ if !is_asked_for || !resource_type.is_exported_at(request.level()) => TypeRule::Never,
                (Level::System, _) if patients.is_none() => TypeRule::Always,
                _ if resource_type.is_in_compartment() => TypeRule::OfPatients,
                (_, ReferencePolicy::Referenced) => TypeRule::ReferredTo,
                (_, ReferencePolicy::All) => TypeRule::Always,
                (_, ReferencePolicy::None) => TypeRule::Never,
            };
            rules[usize::from(resource_type.index())] = rule;
        }
        let owned_devices = match (rules[usize::from(ResourceType::DEVICE.index())], request.level()) {
            (rule, Level::System) => rule,
            _ if share(ResourceType::DEVICE) == TypeShare::Nothing => TypeRule::Never,
            _ if !asked.types.is_empty() && !asked.types.contains(&ResourceType::DEVICE) => TypeRule::Never,
            (_, _) if options.devices == DevicePolicy::ByPatient => TypeRule::OfPatients,
            (TypeRule::Always, _) => TypeRule::OfPatients,
            (rule, _) => rule,
        };
        let after = asked.since.map_or(i64::MIN, bound);
        let before = asked.until.map_or(i64::MAX, bound);
        let patients = patients.map_or(PatientScope::Everybody, PatientScope::These);
        let may_have_provenances = share(ResourceType::PROVENANCE) != TypeShare::Nothing;
        Self {
            rules,
            owned_devices,
            reach: reach(!asked.patients.is_empty()),
            groups: groups(request),
            whole,
            patients,
            members,
            provenances: asked.provenances.filter(|_| may_have_provenances),
            has_since: asked.since.is_some(),
            after,
            before,
        }
    }

    /// Returns the rule for resources of that type that name patients, or none.
    pub fn rule(&self, type_index: u8, names_patients: bool) -> TypeRule {
        match type_index {
            NOTHING => TypeRule::Never,
            index if index == ResourceType::DEVICE.index() && names_patients => self.owned_devices,
            index => self.rules[usize::from(index)],
        }
    }

    /// Returns whether some resources of these types are exported if something points to them.
    pub fn refers_to_some(&self, types: &[u8]) -> bool {
        types.iter().any(|index| self.rule(*index, false) == TypeRule::ReferredTo)
    }

    /// Returns for each span of a chunk whether it is exported if something points to it. Once the
    /// token has fired the result means nothing.
    pub fn referred_to(
        &self,
        chunk: &IndexChunk,
        reader: &SegmentReader<'_>,
        cancel: &CancelToken,
    ) -> io::Result<Vec<bool>> {
        let rows = || chunk.types().iter().zip(chunk.patients());
        // Of the types that are referred to a Device alone says whose it is.
        let has_devices = chunk.types().contains(&ResourceType::DEVICE.index());
        let links = has_devices.then(|| reader.links(chunk)).transpose()?;
        let is_member = self.members_among(links.as_ref(), cancel);
        let is_referred_to = |(index, entry): (&u8, &u32)| {
            self.rule(*index, *entry != 0) == TypeRule::ReferredTo
                && (*entry == 0 || self.is_theirs(*index, entry, links.as_ref(), &is_member))
        };
        let mut referred_to: Vec<bool> = rows().map(is_referred_to).collect();
        links.iter().flat_map(|links| self.withheld(links, cancel)).for_each(|n| referred_to[n] = false);
        Ok(referred_to)
    }

    /// Returns whether resources of some types are exported because something points to them.
    pub fn follows_references(&self) -> bool {
        self.rules.contains(&TypeRule::ReferredTo)
    }

    /// Returns whether the links of chunks are needed to select from them.
    pub fn needs_links(&self) -> bool {
        self.follows_references() || matches!(self.patients, PatientScope::These(_)) || self.groups.is_some()
    }

    /// Returns which Provenances go with what is exported, if it is these that are asked for (K-13).
    pub fn provenances(&self) -> Option<AssociatedData> {
        self.provenances
    }

    /// Returns how many patients it is about, if not about everybody.
    pub fn patients(&self) -> Option<usize> {
        match &self.patients {
            PatientScope::Everybody => None,
            PatientScope::These(these) => Some(these.len()),
        }
    }

    /// Returns those patients, if it is not about everybody.
    pub fn each_patient(&self) -> Option<impl Iterator<Item = &ResourceKey>> {
        match &self.patients {
            PatientScope::Everybody => None,
            PatientScope::These(these) => Some(these.iter()),
        }
    }

    /// Returns the instants between which ages must lie, in nanoseconds.
    pub fn ages(&self) -> (i64, i64) {
        (self.after, self.before)
    }

    /// Returns whether there are Groups that it must not tell of.
    pub fn has_some_groups_only(&self) -> bool {
        self.groups.is_some()
    }

    /// Of a Group, what became of its members.
    pub fn members(&self) -> Option<&MemberCounts> {
        self.members.as_ref()
    }

    /// Returns whether the compartment of that patient may be exported.
    pub fn is_about(&self, patient: &ResourceKey) -> bool {
        match &self.patients {
            PatientScope::Everybody => true,
            PatientScope::These(these) => these.contains(patient),
        }
    }

    /// Returns whether a Provenance in the compartments of these patients, or in nobody's, may be
    /// exported because of something else that is (G-4, P15).
    pub fn may_show(&self, patients: &[ResourceKey]) -> bool {
        let type_index = ResourceType::PROVENANCE.index();
        patients.is_empty() || self.reaches(type_index, patients.iter().map(|patient| self.is_about(patient)))
    }

    /// Returns whether the export may hold a resource of that type, given of each of its patients
    /// whether the export is about that one.
    fn reaches(&self, type_index: u8, mut patients: impl Iterator<Item = bool>) -> bool {
        match (&self.patients, self.reach[usize::from(type_index)]) {
            (PatientScope::Everybody, _) | (_, PatientReach::One) => patients.any(|is_about| is_about),
            (_, PatientReach::All) => patients.next() == Some(true) && patients.all(|is_about| is_about),
            (_, PatientReach::Itself) => patients.next() == Some(true),
        }
    }

    /// Of the patients of a chunk which the export is about, if it is about some only.
    fn members_among(&self, links: Option<&ChunkLinks>, cancel: &CancelToken) -> Vec<bool> {
        match (&self.patients, links) {
            (PatientScope::These(these), Some(links)) => {
                let patients = links.everybody().iter().take_while(|_| !cancel.is_cancelled());
                patients.map(|patient| these.contains(patient)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns whether the export may hold a resource with that entry of [`IndexChunk::patients`].
    fn is_theirs(&self, type_index: u8, entry: &u32, links: Option<&ChunkLinks>, is_member: &[bool]) -> bool {
        match (&self.patients, links) {
            _ if *entry == 0 => false,
            (PatientScope::Everybody, _) => true,
            (PatientScope::These(_), None) => false,
            (PatientScope::These(_), Some(links)) => {
                let patients = links.patients(entry).map(|place| is_member.get(place) == Some(&true));
                self.reaches(type_index, patients)
            }
        }
    }

    /// Returns whether the export may tell of that Group.
    fn has_group(&self, group: &ResourceKey) -> bool {
        self.groups.as_ref().is_none_or(|groups| groups.contains(group))
    }

    /// Returns whether the export may tell of all Groups that a resource is about.
    pub fn has_groups(&self, listing: &ListingResource<'_>) -> bool {
        listing.groups.iter().all(|group| self.has_group(group))
    }

    /// Returns whether resources of that type are selected by their patients, and may be held whole; of
    /// others not even a number is told.
    pub fn may_tell_of(&self, type_index: u8) -> bool {
        self.rule(type_index, true) == TypeRule::OfPatients && self.whole[usize::from(type_index)]
    }

    /// Places of resources of a chunk that tell of members or Groups of which the export must not
    /// tell (P15).
    pub fn withheld<'l>(
        &'l self,
        links: &'l ChunkLinks,
        cancel: &'l CancelToken,
    ) -> impl Iterator<Item = usize> + 'l {
        let is_withheld = |listing: &ListingResource<'_>| {
            !listing.groups.iter().all(|group| !cancel.is_cancelled() && self.has_group(group))
                || !listing.members.iter().all(|patient| !cancel.is_cancelled() && self.is_about(patient))
        };
        links.listing().filter(is_withheld).map(|listing| listing.place)
    }

    /// Returns whether the client is told of resources that are gone.
    pub fn tells_of_changes(&self) -> bool {
        self.has_since
    }

    /// Returns whether the client is told that a resource is gone, whenever that was; see
    /// [`super::deleted`].
    pub fn tells_of(&self, gone: &GoneResource) -> bool {
        match (self.rule(gone.type_index, !gone.patients.is_empty()), &self.patients) {
            (TypeRule::Never, _) => false,
            _ if gone.type_index == ResourceType::GROUP.index() && !self.has_group(&gone.key) => false,
            // Whether it was among those that the export may hold cannot be known any more.
            _ if !self.whole[usize::from(gone.type_index)] => false,
            (TypeRule::Always, _) | (_, PatientScope::Everybody) => true,
            (TypeRule::ReferredTo, PatientScope::These(_)) => false,
            (TypeRule::OfPatients | TypeRule::Associated, PatientScope::These(these)) => {
                self.reaches(gone.type_index, gone.patients.iter().map(|patient| these.contains(patient)))
            }
        }
    }

    /// Returns whether the client may be told that a resource of that type is gone.
    pub fn may_tell_of_deletions(&self, type_index: u8) -> bool {
        let is_asked_for = |names_patients| self.rule(type_index, names_patients) != TypeRule::Never;
        self.whole[usize::from(type_index)] && (is_asked_for(false) || is_asked_for(true))
    }

    /// Returns whether a resource of that age is exported: between the bounds, or of unknown age.
    pub fn has_age(&self, updated: i64) -> bool {
        updated == UNKNOWN_AGE || (self.after < updated && updated < self.before)
    }

    /// For each span of a chunk whether it is selected, whatever its age; references apart.
    /// `superseded` and `adopted` are the overlay's, in order.
    pub fn choose(
        &self,
        chunk: &IndexChunk,
        links: Option<&ChunkLinks>,
        superseded: impl Iterator<Item = usize>,
        adopted: impl Iterator<Item = (usize, impl AsRef<[ResourceKey]>)>,
        cancel: &CancelToken,
    ) -> Vec<bool> {
        let is_member = self.members_among(links, cancel);
        let choose = |(index, entry): (&u8, &u32)| match self.rule(*index, *entry != 0) {
            TypeRule::Never | TypeRule::ReferredTo | TypeRule::Associated => false,
            TypeRule::Always => true,
            TypeRule::OfPatients => self.is_theirs(*index, entry, links, &is_member),
        };
        let mut chosen: Vec<bool> = chunk.types().iter().zip(chunk.patients()).map(choose).collect();
        for (n, patients) in adopted {
            let patients = patients.as_ref().iter().map(|patient| self.is_about(patient));
            let index = chunk.types()[n];
            if self.rule(index, true) == TypeRule::OfPatients && self.reaches(index, patients) {
                chosen[n] = true;
            }
        }
        let withheld = links.into_iter().flat_map(|links| self.withheld(links, cancel));
        for n in superseded.chain(withheld) {
            chosen[n] = false;
        }
        chosen
    }
}

/// Whose resources of each type have to be (P15): if patients are named, theirs alone, their own
/// Patients apart; if it is the members of a Group, those that name patients side by side.
fn reach(are_named: bool) -> [PatientReach; 256] {
    let mut reach = [PatientReach::One; 256];
    for resource_type in ResourceType::all() {
        reach[usize::from(resource_type.index())] = match (are_named, resource_type) {
            (true, ResourceType::PATIENT) => PatientReach::Itself,
            (true, _) => PatientReach::All,
            (false, _) if compartment::names_peers(resource_type) => PatientReach::All,
            (false, _) => PatientReach::One,
        };
    }
    reach
}

/// Returns the Groups that an export may tell of (P15): none if it is of named patients, of a Group
/// export the one that is asked for; `None` for all.
fn groups(request: &ExportRequest) -> Option<HashSet<ResourceKey>> {
    let name = |id: &String| key(&format!("Group/{id}"));
    match request.level() {
        _ if !request.parameters().patients.is_empty() => Some(HashSet::new()),
        Level::Group { id } => Some(request.access.has_group(id).then(|| name(id)).into_iter().collect()),
        Level::System | Level::Patient => Some(request.access.groups()?.iter().map(name).collect()),
    }
}

/// A bound in the index's nanoseconds. All ages of the index are between 1678 and 2261.
fn bound(instant: Timestamp) -> i64 {
    let beyond = if instant < Timestamp::UNIX_EPOCH { i64::MIN + 1 } else { i64::MAX };
    nanoseconds(instant).unwrap_or(beyond)
}
