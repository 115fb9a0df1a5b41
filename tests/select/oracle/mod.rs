//! What an export should hold, found out the slow way: every line is parsed, every resource is
//! looked at for every question, nothing is indexed. It has no code in common with the server, not even for what a resource
//! type is or when an instant is valid; where the two differ, one of them is wrong.
//!
//! **Lines.** The files of the folder in the bytewise order of their names, each cut at its line
//! feeds. One byte order mark at the beginning of a file and ASCII white space around a line do not
//! count; a line that is blank is none; the last line may lack its line feed. A line is a resource if
//! it is UTF-8 and one JSON object, with a `resourceType` that is the name of an R4 type and an `id`
//! that is a string or absent. Anything else is a broken line: it costs itself only, and is counted.
//! A key that stands twice breaks a line only where the server has to read it: `resourceType`, `id`
//! and `meta` of the resource, `lastUpdated` of its meta, each step of a compartment path of its
//! type, and the `reference` at the end of one; `recorded` of a Provenance; of a Bundle `type`,
//! `timestamp`, `entry`, `request` of that, and `method` and `url` of that.
//!
//! **Versions.** Of several resources of one type and id only the last exists, whatever is asked.
//! A resource without an id is never superseded, and nothing can refer to it.
//!
//! **Deletions.** A Bundle of `type: transaction` deletes, where it stands, what its entries of
//! `request.method` DELETE name in `request.url`, whatever its own id is. What was deleted and does
//! not come again behind that does not exist; with `_since` its last deletion is told, if it was
//! within the bounds (by the Bundle's age, or else its `timestamp`) and of a type that the export
//! has. Of an export about some patients these are: the patients themselves, what named one of
//! them in its last version, and reference types if all of these are exported.
//!
//! **Provenances.** If `includeAssociatedData` asks for them, they are those that target an exported
//! resource that is no Provenance, of any type and age, or of those of each resource the one that
//! was `recorded` last; but none that is only in compartments that are not exported.
//!
//! **Patients.** The parameter `patient` makes an export one about these, who must be members and
//! must be known: by anything that is in their compartment, in any version, or by a deletion.
//!
//! **Attachments.** Members `url`, wherever they stand, that name a Binary by an id that a URL can
//! hold as it is become absolute, if the kick-off has a base URL.
//!
//! **References.** `Type/id` and `Type/id/_history/version`, and the same behind `source.base_url`
//! and a slash if that is set, name a resource; after JSON's escapes are decoded, and byte for byte.
//! Any other text (a fragment, a query, a URN, another server's URL) names nothing here.
//!
//! **Compartments.** A resource is in the compartments of the patients that its type's compartment
//! paths name, arrays on the way being walked through; whether these patients exist does not matter. A
//! Patient is also in its own. A Provenance that targets no patient is in those of the resources
//! that it does target, which count with what they name themselves (K-13).
//!
//! **Levels.** System: every type but those that travel inside others. Patient, and the group
//! All_Patients, which is always this: the compartment types, those of their resources that are in any
//! compartment. Another group: those that are in the compartment of a member. Beside them, at both,
//! the reference types: all, none, or those that can be reached, by way of members named `reference`
//! wherever they stand, from the resources selected so far (of any age) through reference resources
//! of the requested types. `_type` narrows all of this.
//!
//! **Whom an export tells of (P15).** A Group is in an export only if it is the one that is asked
//! for, at the Group level, and one of those that the client may read; what names another at one of
//! its paths, or has it in it as a List, is not there either. An export of named patients has no
//! Group, and nothing that names others at its paths, but Patients that link to them. One of a Group
//! has nothing that names others side by side with its members. No export about some patients has a
//! List with others in it, nor a Device of theirs. A Device goes with its patient, if it names one, or
//! by reference, as it is set.
//!
//! **Age.** `meta.lastUpdated` if it is an instant to the letter; what has none is of unknown age
//! and passes. `_since` and `_until` are both strict.
//!
//! **Groups.** The last version of the Group with that id, which must say `actual: true` and must
//! not say `active: false`. Members are the patients that it refers to, but not those that are
//! inactive or whose period does not hold now, or cannot be read. A group among those that count
//! cannot be exported.

pub mod facts;
mod groups;
pub mod json;
mod organized;
mod read;
pub mod time;

use std::collections::{BTreeMap, BTreeSet};

use evanesce::Kickoff;
use evanesce::job::{AssociatedData, FailureReason, Level, Parameters};

use groups::members;
use json::Json;
pub use organized::Organized;
use read::{Gone, Name, Resource, direct, literal, read_all, survivors};

/// `export.references`: which reference resources go with a Patient- or Group-level export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum References {
    Referenced,
    All,
    None,
}

/// What an export holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// By type, sorted; a type without lines has no entry.
    pub lines: BTreeMap<String, Vec<Vec<u8>>>,
    /// Deletions that are told, sorted: `Type/id`, and the age in nanoseconds.
    pub deleted: Vec<(String, Option<i128>)>,
    /// Lines of the source that are no resource.
    pub broken: u64,
}

/// A source as it is now.
pub struct Source<'a> {
    /// Those that exist, in their order.
    resources: Vec<Resource<'a>>,
    gone: Vec<Gone>,
    /// The ids of all patients that are known.
    known: BTreeSet<String>,
    broken: u64,
    base_url: Option<&'a str>,
    /// The Groups that the client may read, if these are not all.
    pub groups: Option<BTreeSet<String>>,
    /// Whether Devices go with their patients.
    pub devices_by_patient: bool,
}

impl<'a> Source<'a> {
    /// The source that these files (name and content) are.
    pub fn read(files: &'a [(String, Vec<u8>)], base_url: Option<&'a str>) -> Self {
        let (all, broken) = read_all(files, base_url);
        let mut known: BTreeSet<_> = all.iter().flat_map(direct).collect();
        let (mut resources, gone) = survivors(all);
        let patients: Vec<_> = resources.iter().map(|one| compartment(one, &resources)).collect();
        resources.iter_mut().zip(patients).for_each(|(one, patients)| one.patients = patients);
        known.extend(gone.iter().filter(|gone| gone.name.0 == "Patient").map(|gone| gone.name.1.clone()));
        let (groups, devices_by_patient) = (None, true);
        Self { resources, gone, known, broken, base_url, groups, devices_by_patient }
    }

    /// The source with the resources alone of which the export may tell.
    fn told_to(&self, kickoff: &Kickoff, whose: Option<&BTreeSet<String>>) -> Source<'a> {
        let may_be_told = |one: &&Resource| self.may_be_told(kickoff, whose, one);
        let resources = self.resources.iter().filter(may_be_told).cloned().collect();
        Source { resources, gone: Vec::new(), known: BTreeSet::new(), groups: self.groups.clone(), ..*self }
    }

    fn may_be_told(&self, kickoff: &Kickoff, whose: Option<&BTreeSet<String>>, one: &Resource) -> bool {
        let own = one.name().unwrap_or_default();
        let about = if one.is("Group") { BTreeSet::from([own]) } else { one.named.clone() };
        let mut groups =
            about.iter().chain(&one.listed).filter(|(name, _)| name == "Group" || name.is_empty());
        if !groups.all(|(_, id)| self.has_group(kickoff, id)) {
            return false;
        }
        let Some(whose) = whose else { return true };
        let mut listed = one.listed.iter().filter(|(resource_type, _)| resource_type == "Patient");
        listed.all(|(_, id)| whose.contains(id))
            && (one.patients.is_empty()
                || reaches(kickoff, whose, &one.resource_type, one.id.as_ref(), &one.patients))
    }

    fn has_group(&self, kickoff: &Kickoff, id: &String) -> bool {
        let may_read = self.groups.as_ref().is_none_or(|groups| groups.contains(id));
        let is_asked_for = match &kickoff.level {
            Level::Group { id: asked } => asked == id,
            _ => true,
        };
        kickoff.parameters.patients.is_empty() && may_read && is_asked_for
    }

    /// What an export should hold, or why there is none.
    pub fn select(&self, kickoff: &Kickoff, references: References) -> Result<Selection, FailureReason> {
        let whose = self.whose(kickoff)?;
        let mut lines = BTreeMap::<String, Vec<Vec<u8>>>::new();
        let told = self.told_to(kickoff, whose.as_ref());
        for resource in told.selected(kickoff, references, whose.as_ref()) {
            let line = with_base(resource, &kickoff.base_url, self.base_url);
            lines.entry(resource.resource_type.clone()).or_default().push(line);
        }
        lines.values_mut().for_each(|lines| lines.sort());
        let deleted = self.told(kickoff, references, whose.as_ref());
        Ok(Selection { lines, deleted, broken: self.broken })
    }

    /// Whose compartments are asked for; `None` for everybody's.
    fn whose(&self, kickoff: &Kickoff) -> Result<Option<BTreeSet<String>>, FailureReason> {
        let members = match &kickoff.level {
            Level::Group { id } if id != "All_Patients" => Some(members(&self.resources, id, self.base_url)?),
            _ => None,
        };
        let named: BTreeSet<String> = kickoff.parameters.patients.iter().cloned().collect();
        let are_members = members.as_ref().is_none_or(|members| named.is_subset(members));
        if !are_members || !named.is_subset(&self.known) {
            return Err(FailureReason::PatientNotFound);
        }
        Ok(if named.is_empty() { members } else { Some(named) })
    }

    /// The resources that are selected; without `whose`, those of everybody.
    fn selected(
        &self,
        kickoff: &Kickoff,
        references: References,
        whose: Option<&BTreeSet<String>>,
    ) -> Vec<&Resource<'a>> {
        let resources = &self.resources;
        let asked = &kickoff.parameters;
        let wanted = |resource: &Resource| is_wanted(asked, &resource.resource_type);
        let selected: Vec<&Resource> = if kickoff.level == Level::System {
            let whole = |resource: &&Resource| !facts::CONTAINED.contains(&&*resource.resource_type);
            resources.iter().filter(whole).filter(|resource| wanted(resource)).collect()
        } else {
            let is_owned = |one: &Resource| one.is("Device") && !one.patients.is_empty();
            let belongs = |one: &&Resource| {
                let is_theirs = match whose {
                    None => !one.patients.is_empty(),
                    Some(whose) => !one.patients.is_disjoint(whose),
                };
                is_theirs && (self.devices_by_patient || !is_owned(one))
            };
            let seeds: Vec<_> = resources.iter().filter(|one| wanted(one)).filter(belongs).collect();
            let candidates = || {
                let is_reference = |one: &&Resource| facts::REFERENCE.contains(&&*one.resource_type);
                let is_beside = move |one: &&Resource| !(self.devices_by_patient && is_owned(one));
                resources.iter().filter(is_reference).filter(is_beside).filter(|one| wanted(one))
            };
            let beside = match references {
                References::None => Vec::new(),
                References::All => candidates().collect(),
                References::Referenced => reached(&seeds, candidates().collect()),
            };
            [seeds, beside].concat()
        };
        let is_young = |resource: &&Resource| is_young(asked, resource.age);
        let mut selected: Vec<_> = selected.into_iter().filter(is_young).collect();
        if let Some(which) = asked.provenances {
            let is_shown = |one: &&Resource| {
                let patients = &one.patients;
                let is_ours = |whose: &BTreeSet<_>| patients.is_empty() || !patients.is_disjoint(whose);
                one.is("Provenance") && whose.is_none_or(is_ours)
            };
            let candidates: Vec<_> = resources.iter().filter(is_shown).collect();
            selected.extend(associated(&selected, &candidates, which));
        }
        selected
    }

    /// The deletions that are told, sorted.
    fn told(
        &self,
        kickoff: &Kickoff,
        references: References,
        whose: Option<&BTreeSet<String>>,
    ) -> Vec<(String, Option<i128>)> {
        let asked = &kickoff.parameters;
        let is_told = |gone: &&Gone| {
            let (resource_type, id) = &gone.name;
            let is_owned = resource_type == "Device" && !gone.patients.is_empty();
            let is_compartment = facts::COMPARTMENT.iter().any(|(name, _)| name == resource_type);
            let is_reference = facts::REFERENCE.contains(&&**resource_type);
            let has_type = match &kickoff.level {
                Level::System => {
                    facts::is_type(resource_type) && !facts::CONTAINED.contains(&&**resource_type)
                }
                _ if is_owned && self.devices_by_patient => true,
                _ if is_reference && whose.is_some() => references == References::All,
                _ if is_reference => references != References::None,
                _ => is_compartment,
            };
            let is_associated = asked.provenances.is_some() && resource_type == "Provenance";
            let is_theirs = |whose: &BTreeSet<String>| {
                !gone.patients.is_disjoint(whose)
                    && reaches(kickoff, whose, resource_type, Some(id), &gone.patients)
            };
            let is_ours = is_reference && !is_owned || whose.is_none_or(is_theirs);
            let is_ours = is_ours && (resource_type != "Group" || self.has_group(kickoff, id));
            let is_asked_for = is_wanted(asked, resource_type) || is_associated;
            is_young(asked, gone.age) && has_type && is_ours && is_asked_for
        };
        let told = self.gone.iter().filter(|_| asked.since.is_some()).filter(is_told);
        let mut deleted: Vec<_> =
            told.map(|gone| (format!("{}/{}", gone.name.0, gone.name.1), gone.age)).collect();
        deleted.sort();
        deleted
    }
}

/// Whether an export about some patients may hold what is of these patients.
fn reaches(
    kickoff: &Kickoff,
    whose: &BTreeSet<String>,
    resource_type: &str,
    id: Option<&String>,
    patients: &BTreeSet<String>,
) -> bool {
    let are_named = !kickoff.parameters.patients.is_empty();
    match resource_type {
        "Patient" if are_named => id.is_some_and(|id| whose.contains(id)),
        _ if are_named || facts::PEERS.contains(&resource_type) => patients.is_subset(whose),
        _ => !patients.is_disjoint(whose),
    }
}

/// Whether `_type` has that type, Provenances that come along apart.
fn is_wanted(asked: &Parameters, resource_type: &String) -> bool {
    match asked.provenances {
        Some(_) if resource_type == "Provenance" => false,
        _ => asked.types.is_empty() || asked.types.iter().any(|it| it.as_str() == resource_type),
    }
}

/// Whether that age is within the bounds.
fn is_young(asked: &Parameters, age: Option<i128>) -> bool {
    age.is_none_or(|age| {
        asked.since.is_none_or(|since| age > since.as_nanosecond())
            && asked.until.is_none_or(|until| age < until.as_nanosecond())
    })
}

/// Of these Provenances the ones that target something exported.
fn associated<'r, 'a>(
    exported: &[&Resource<'a>],
    provenances: &[&'r Resource<'a>],
    which: AssociatedData,
) -> Vec<&'r Resource<'a>> {
    let mut numbers = BTreeSet::new();
    for name in exported.iter().filter_map(|one| one.name()) {
        let about = (0..provenances.len()).filter(|n| provenances[*n].named.contains(&name));
        match which {
            AssociatedData::Relevant => numbers.extend(about),
            AssociatedData::Latest => numbers.extend(about.max_by_key(|n| (provenances[*n].recorded, *n))),
        }
    }
    numbers.into_iter().map(|n| provenances[n]).collect()
}

/// A line as it goes out to clients that see `base_url`.
fn with_base(resource: &Resource, base_url: &str, source_url: Option<&str>) -> Vec<u8> {
    let mut line = resource.line.to_vec();
    if base_url.is_empty() {
        return line;
    }
    let mut urls = Vec::new();
    binaries(resource.json, source_url, &mut urls);
    let start = resource.line.as_ptr().addr();
    // From the end, so that the places before stay.
    urls.sort_by_key(|(url, _)| std::cmp::Reverse(url.raw().as_ptr().addr()));
    for (url, id) in urls {
        let at = url.raw().as_ptr().addr() - start;
        let new = serde_json::to_string(&format!("{base_url}/Binary/{id}")).unwrap();
        line.splice(at..at + url.raw().len(), new.into_bytes());
    }
    line
}

/// All URLs in a value that name Binaries, each with the id.
fn binaries<'a>(json: Json<'a>, source_url: Option<&str>, urls: &mut Vec<(Json<'a>, String)>) {
    for (key, value) in json.members() {
        let name = value.text().filter(|_| key == "url").and_then(|text| literal(&text, source_url));
        if let Some((_, id)) = name.filter(|(resource_type, _)| resource_type == "Binary")
            && id.chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c))
        {
            urls.push((value, id));
        }
        binaries(value, source_url, urls);
    }
    if json.is_array() {
        json.items().into_iter().for_each(|item| binaries(item, source_url, urls));
    }
}

/// The ids of the patients in whose compartments a resource is.
fn compartment(resource: &Resource, resources: &[Resource]) -> BTreeSet<String> {
    let own = direct(resource);
    if resource.resource_type != "Provenance" || !own.is_empty() {
        return own;
    }
    let targets = resources.iter().filter(|other| resource.named.iter().any(|name| is_named(other, name)));
    targets.flat_map(direct).collect()
}

fn is_named(resource: &Resource, (resource_type, id): &Name) -> bool {
    resource.resource_type == *resource_type && resource.id.as_ref() == Some(id)
}

/// The candidates that can be reached from the seeds through other candidates.
fn reached<'r, 'a>(seeds: &[&Resource<'a>], mut candidates: Vec<&'r Resource<'a>>) -> Vec<&'r Resource<'a>> {
    let mut names: BTreeSet<&Name> = seeds.iter().flat_map(|seed| &seed.refers).collect();
    let mut reached = Vec::new();
    loop {
        let (now, rest): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|one| names.iter().any(|name| is_named(one, name)));
        if now.is_empty() {
            return reached;
        }
        names.extend(now.iter().flat_map(|one| &one.refers));
        reached.extend(now);
        candidates = rest;
    }
}
