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
//! type, and the `reference` at the end of one.
//!
//! **Versions.** Of several resources of one type and id only the last exists, whatever is asked.
//! A resource without an id is never superseded, and nothing can refer to it.
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
//! **Age.** `meta.lastUpdated` if it is an instant to the letter; what has none is of unknown age
//! and passes. `_since` and `_until` are both strict.
//!
//! **Groups.** The last version of the Group with that id, which must say `actual: true` and must
//! not say `active: false`. Members are the patients that it refers to, but not those that are
//! inactive or whose period does not hold now, or cannot be read. A group among those that count
//! cannot be exported.

pub mod facts;
pub mod json;
pub mod time;

use std::collections::{BTreeMap, BTreeSet};

use evanesce::Kickoff;
use evanesce::job::{FailureReason, Level};
use jiff::Timestamp;

use json::Json;

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
    /// Lines of the source that are no resource.
    pub broken: u64,
}

/// A type and an id.
type Name = (String, String);

/// A line that is a resource.
struct Resource<'a> {
    line: &'a [u8],
    resource_type: String,
    id: Option<String>,
    /// Nanoseconds since 1970, if they are known.
    age: Option<i128>,
    /// All that stands at its compartment paths.
    named: BTreeSet<Name>,
    /// All that it refers to, from anywhere.
    refers: BTreeSet<Name>,
    json: Json<'a>,
}

/// A line that is no resource.
struct Broken;

/// A source as it is now.
pub struct Source<'a> {
    /// Those that exist, in their order.
    resources: Vec<Resource<'a>>,
    broken: u64,
    base_url: Option<&'a str>,
}

impl<'a> Source<'a> {
    /// The source that these files (name and content) are.
    pub fn read(files: &'a [(String, Vec<u8>)], base_url: Option<&'a str>) -> Self {
        let (resources, broken) = survivors(files, base_url);
        Self { resources, broken, base_url }
    }

    /// What an export should hold, or why there is none.
    pub fn select(&self, kickoff: &Kickoff, references: References) -> Result<Selection, FailureReason> {
        let resources = &self.resources;
        let wanted = |resource: &Resource| {
            kickoff.parameters.types.is_empty() || kickoff.parameters.types.contains(&resource.resource_type)
        };
        let young = |resource: &Resource| match resource.age {
            None => true,
            Some(age) => {
                kickoff.parameters.since.is_none_or(|since| age > since.as_nanosecond())
                    && kickoff.parameters.until.is_none_or(|until| age < until.as_nanosecond())
            }
        };
        let members = match &kickoff.level {
            Level::Group { id } if id != "All_Patients" => Some(members(resources, id, self.base_url)?),
            _ => None,
        };
        let selected: Vec<&Resource> = if kickoff.level == Level::System {
            let whole = |resource: &&Resource| !facts::CONTAINED.contains(&&*resource.resource_type);
            resources.iter().filter(whole).filter(|resource| wanted(resource)).collect()
        } else {
            let belongs = |resource: &&Resource| {
                let patients = compartment(resource, resources);
                match &members {
                    None => !patients.is_empty(),
                    Some(members) => !patients.is_disjoint(members),
                }
            };
            let seeds: Vec<_> = resources.iter().filter(|one| wanted(one)).filter(belongs).collect();
            let candidates = || {
                let is_reference = |one: &&Resource| facts::REFERENCE.contains(&&*one.resource_type);
                resources.iter().filter(is_reference).filter(|one| wanted(one))
            };
            let beside = match references {
                References::None => Vec::new(),
                References::All => candidates().collect(),
                References::Referenced => reached(&seeds, candidates().collect()),
            };
            [seeds, beside].concat()
        };
        let mut lines = BTreeMap::<String, Vec<Vec<u8>>>::new();
        for resource in selected.into_iter().filter(|resource| young(resource)) {
            lines.entry(resource.resource_type.clone()).or_default().push(resource.line.to_vec());
        }
        lines.values_mut().for_each(|lines| lines.sort());
        Ok(Selection { lines, broken: self.broken })
    }
}

/// The resources that exist, in the order of the source, and the number of broken lines.
fn survivors<'a>(files: &'a [(String, Vec<u8>)], base_url: Option<&str>) -> (Vec<Resource<'a>>, u64) {
    let mut files: Vec<_> = files.iter().collect();
    files.sort_by_key(|(name, _)| name.as_bytes());
    let (mut resources, mut broken) = (Vec::new(), 0);
    for (_, content) in files {
        let content = content.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(content);
        for line in content.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
            match read(line, base_url) {
                Ok(resource) => resources.push(resource),
                Err(Broken) => broken += 1,
            }
        }
    }
    let last: BTreeMap<_, _> = resources
        .iter()
        .enumerate()
        .map(|(n, resource)| ((resource.resource_type.clone(), resource.id.clone()), n))
        .collect();
    let survives = |n: usize, resource: &Resource| {
        resource.id.is_none() || last[&(resource.resource_type.clone(), resource.id.clone())] == n
    };
    let numbered = resources.into_iter().enumerate();
    (numbered.filter(|(n, one)| survives(*n, one)).map(|(_, one)| one).collect(), broken)
}

fn read<'a>(line: &'a [u8], base_url: Option<&str>) -> Result<Resource<'a>, Broken> {
    let json = std::str::from_utf8(line).ok().and_then(Json::parse).filter(|json| json.is_object());
    let json = json.ok_or(Broken)?;
    let resource_type = only(json, "resourceType")?.and_then(Json::text).ok_or(Broken)?;
    if !facts::is_type(&resource_type) {
        return Err(Broken);
    }
    let id = match only(json, "id")? {
        None => None,
        Some(id) => Some(id.text().ok_or(Broken)?),
    };
    let updated = match only(json, "meta")? {
        Some(meta) if meta.is_object() => only(meta, "lastUpdated")?,
        _ => None,
    };
    let age = updated.and_then(Json::text).and_then(|text| time::instant(&text));
    let (mut named, mut refers) = (BTreeSet::new(), BTreeSet::new());
    for path in facts::compartment_paths(&resource_type) {
        let path: Vec<_> = path.split('.').collect();
        follow(json, &path, &mut |text| named.extend(literal(text, base_url)))?;
    }
    pointers(json, base_url, &mut refers);
    Ok(Resource { line, resource_type, id, age, named, refers, json })
}

/// The value of a member that must not stand twice.
fn only<'a>(object: Json<'a>, key: &str) -> Result<Option<Json<'a>>, Broken> {
    let mut all = object.all(key);
    let value = all.pop();
    if all.is_empty() { Ok(value) } else { Err(Broken) }
}

/// Tells the text of each Reference at the end of a path.
fn follow(json: Json<'_>, path: &[&str], tell: &mut dyn FnMut(&str)) -> Result<(), Broken> {
    for item in json.items().into_iter().filter(|item| item.is_object()) {
        match path {
            [] => {
                if let Some(text) = only(item, "reference")?.and_then(Json::text) {
                    tell(&text);
                }
            }
            [step, rest @ ..] => {
                if let Some(value) = only(item, step)? {
                    follow(value, rest, tell)?;
                }
            }
        }
    }
    Ok(())
}

/// The type and the id that a reference names.
pub fn literal(text: &str, base_url: Option<&str>) -> Option<Name> {
    let behind_base = base_url.and_then(|base| text.strip_prefix(base)?.strip_prefix('/'));
    let text = behind_base.unwrap_or(text);
    if text.contains(['#', '?']) {
        return None;
    }
    let parts: Vec<_> = text.split('/').collect();
    match parts[..] {
        [resource_type, id] | [resource_type, id, "_history", _] if !id.is_empty() => {
            Some((resource_type.into(), id.into()))
        }
        _ => None,
    }
}

/// The ids of the patients that a resource names itself.
fn direct(resource: &Resource) -> BTreeSet<String> {
    let named = resource.named.iter().filter(|(resource_type, _)| resource_type == "Patient");
    let own = resource.id.iter().filter(|_| resource.resource_type == "Patient");
    named.map(|(_, id)| id).chain(own).cloned().collect()
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

/// All that is referred to from anywhere in a value.
fn pointers(json: Json<'_>, base_url: Option<&str>, names: &mut BTreeSet<Name>) {
    for (key, value) in json.members() {
        if key == "reference" {
            names.extend(value.text().and_then(|text| literal(&text, base_url)));
        }
        pointers(value, base_url, names);
    }
    if json.is_array() {
        json.items().into_iter().for_each(|item| pointers(item, base_url, names));
    }
}

/// The patients of a group.
fn members(
    resources: &[Resource],
    id: &str,
    base_url: Option<&str>,
) -> Result<BTreeSet<String>, FailureReason> {
    let group = resources.iter().find(|one| is_named(one, &("Group".into(), id.into())));
    let group = group.ok_or(FailureReason::GroupNotFound)?.json;
    let says = |key: &str, value| group.get(key).is_some_and(|json| json.is(value));
    if !says("actual", true) || says("active", false) {
        return Err(FailureReason::GroupNotFound);
    }
    let mut patients = BTreeSet::new();
    for member in group.get("member").into_iter().flat_map(Json::items) {
        let inactive = member.get("inactive").is_some_and(|json| json.is(true));
        if inactive || !member.get("period").is_none_or(|period| covers(period, Timestamp::now())) {
            continue;
        }
        let reference = member.get("entity").and_then(|entity| entity.get("reference")).and_then(Json::text);
        match reference.and_then(|text| literal(&text, base_url)) {
            Some((resource_type, _)) if resource_type == "Group" => return Err(FailureReason::GroupNested),
            Some((resource_type, id)) if resource_type == "Patient" => patients.extend([id]),
            _ => {}
        }
    }
    Ok(patients)
}

/// Whether a period has begun and has not ended.
fn covers(period: Json<'_>, now: Timestamp) -> bool {
    let bound = |key| period.get(key).map(|json| json.text().and_then(|text| time::bound(&text)));
    let begun =
        bound("start").is_none_or(|start| start.is_some_and(|(first, _)| first <= now.as_nanosecond()));
    let goes_on = bound("end").is_none_or(|end| end.is_some_and(|(_, last)| now.as_nanosecond() <= last));
    begun && goes_on
}

#[test]
fn the_oracle_knows_a_reference_from_a_text_that_looks_like_one() {
    let base = Some("https://fhir.example.org/r4");
    let name = |text, base| literal(text, base).map(|(resource_type, id)| format!("{resource_type} {id}"));
    for text in ["Patient/p", "Patient/p/_history/3", "https://fhir.example.org/r4/Patient/p"] {
        assert_eq!(name(text, base).as_deref(), Some("Patient p"), "{text}");
    }
    assert_eq!(name("https://fhir.example.org/r4/Patient/p", None), None);
    for text in [
        "",
        "Patient",
        "Patient/",
        "#p",
        "Patient/p#x",
        "Patient?identifier=p",
        "Patient/p?x",
        "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
        "/Patient/p",
        "Patient/p/",
        "Patient/p/_history",
        "x/Patient/p",
        "https://fhir.example.org/r4x/Patient/p",
        "https://fhir.example.org/r4//Patient/p",
        "http://fhir.example.org/r4/Patient/p",
    ] {
        assert_eq!(name(text, base), None, "{text}");
    }
}
