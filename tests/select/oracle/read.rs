//! The first pass of the oracle: lines, what each says, and which of the resources exist.

use std::collections::{BTreeMap, BTreeSet};

use super::facts;
use super::json::Json;
use super::time;

/// A type and an id.
pub type Name = (String, String);

/// Something that was deleted and is not there again.
pub struct Gone {
    pub name: Name,
    pub age: Option<i128>,
    /// Those that its last version named.
    pub patients: BTreeSet<String>,
}

/// A line that is a resource.
#[derive(Clone)]
pub struct Resource<'a> {
    pub line: &'a [u8],
    pub resource_type: String,
    pub id: Option<String>,
    /// Nanoseconds since 1970, if they are known.
    pub age: Option<i128>,
    /// All that stands at its compartment paths.
    pub named: BTreeSet<Name>,
    /// All that a List has in it.
    pub listed: BTreeSet<Name>,
    /// The ids of the patients in whose compartments it is; of a Device, whose it is.
    pub patients: BTreeSet<String>,
    /// All that it refers to, from anywhere.
    pub refers: BTreeSet<Name>,
    /// When it was recorded, of a Provenance.
    pub recorded: Option<i128>,
    /// What it deletes, of a transaction.
    pub deletes: Vec<Name>,
    pub json: Json<'a>,
}

impl Resource<'_> {
    /// Whether it is of that type.
    pub fn is(&self, resource_type: &str) -> bool {
        self.resource_type == resource_type
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<Name> {
        self.id.clone().map(|id| (self.resource_type.clone(), id))
    }
}

/// A line that is no resource.
struct Broken;

/// All resources, in the order of the source, and the number of broken lines.
pub fn read_all<'a>(files: &'a [(String, Vec<u8>)], base_url: Option<&str>) -> (Vec<Resource<'a>>, u64) {
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
    (resources, broken)
}

/// Those that exist, and what is gone.
pub fn survivors(resources: Vec<Resource<'_>>) -> (Vec<Resource<'_>>, Vec<Gone>) {
    // Where each was there last, and in which line each was deleted last.
    let (mut there, mut deleted) = (BTreeMap::<Name, usize>::new(), BTreeMap::<Name, usize>::new());
    for (n, resource) in resources.iter().enumerate() {
        there.extend(resource.name().map(|name| (name, n)));
        deleted.extend(resource.deletes.iter().map(|name| (name.clone(), n)));
    }
    // A Bundle that deletes itself is deleted behind itself.
    deleted.retain(|name, n| there.get(name).is_none_or(|there| there <= n));
    let gone = deleted.iter().map(|(name, n)| {
        let mut patients = there.get(name).map_or(BTreeSet::new(), |there| direct(&resources[*there]));
        if name.0 == "Patient" {
            patients = [name.1.clone()].into();
        }
        Gone { name: name.clone(), age: resources[*n].age, patients }
    });
    let gone = gone.collect();
    let exists = |n: usize, one: &Resource| {
        one.name().is_none_or(|name| there[&name] == n && !deleted.contains_key(&name))
    };
    let numbered = resources.into_iter().enumerate();
    (numbered.filter(|(n, one)| exists(*n, one)).map(|(_, one)| one).collect(), gone)
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
    let instant = |json: Option<Json<'_>>| json.and_then(Json::text).and_then(|text| time::instant(&text));
    let (mut age, mut recorded, mut deletes) = (instant(updated), None, Vec::new());
    match &*resource_type {
        "Provenance" => recorded = instant(only(json, "recorded")?).or(age),
        "Bundle" => {
            age = age.or(instant(only(json, "timestamp")?));
            deletes = deletions(json, base_url)?;
        }
        _ => {}
    }
    let (mut named, mut refers) = (BTreeSet::new(), BTreeSet::new());
    let mut listed = BTreeSet::new();
    if resource_type == "List" {
        let path: Vec<_> = facts::LIST_MEMBERS.split('.').collect();
        follow(json, &path, &mut |text| listed.extend(literal(text, base_url)))?;
    }
    for path in facts::owner_paths(&resource_type) {
        let path: Vec<_> = path.split('.').collect();
        follow(json, &path, &mut |text| named.extend(literal(text, base_url)))?;
    }
    pointers(json, base_url, &mut refers);
    let patients = BTreeSet::new();
    Ok(Resource { line, resource_type, id, age, named, listed, patients, refers, recorded, deletes, json })
}

/// What a Bundle deletes.
fn deletions(bundle: Json<'_>, base_url: Option<&str>) -> Result<Vec<Name>, Broken> {
    let mut names = Vec::new();
    for entry in only(bundle, "entry")?.into_iter().flat_map(Json::items).filter(|entry| entry.is_object()) {
        let Some(request) = only(entry, "request")?.filter(|request| request.is_object()) else { continue };
        let (method, url) = (only(request, "method")?.and_then(Json::text), only(request, "url")?);
        let url = url.and_then(Json::text).filter(|url| !url.contains("/_history/"));
        let name = url.and_then(|url| literal(&url, base_url)).filter(|(name, _)| facts::is_type(name));
        names.extend(name.filter(|_| method.as_deref() == Some("DELETE")));
    }
    let is_transaction = only(bundle, "type")?.and_then(Json::text).as_deref() == Some("transaction");
    if !is_transaction {
        names.clear();
    }
    Ok(names)
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
pub fn direct(resource: &Resource) -> BTreeSet<String> {
    let named = resource.named.iter().filter(|(resource_type, _)| resource_type == "Patient");
    let own = resource.id.iter().filter(|_| resource.resource_type == "Patient");
    named.map(|(_, id)| id).chain(own).cloned().collect()
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
