//! What the rest of the project may count on in a generated set: the same bytes for the same options,
//! lines that are FHIR R4 resources with their mandatory elements, references that resolve, times that
//! spread over the years, and a generator that never writes beside other NDJSON files.

#![allow(clippy::unwrap_used, reason = "in a test, a surprise may well panic")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::json::{JsonText, JsonWriter, ScaledNumber};
use super::*;

mod mess;
mod options;

/// The root elements with a minimum of one in FHIR R4 (4.0.1), for the types of the set; `[x]` stands
/// for any type of a choice.
const MANDATORY: &[(&str, &[&str])] = &[
    ("AllergyIntolerance", &["patient"]),
    ("CarePlan", &["status", "intent", "subject"]),
    ("CareTeam", &[]),
    ("Condition", &["subject"]),
    ("Device", &[]),
    ("DiagnosticReport", &["status", "code"]),
    ("DocumentReference", &["status", "content"]),
    ("Encounter", &["status", "class"]),
    ("Goal", &["lifecycleStatus", "description", "subject"]),
    ("Group", &["type", "actual"]),
    ("Immunization", &["status", "vaccineCode", "patient", "occurrence[x]"]),
    ("Location", &[]),
    ("MedicationRequest", &["status", "intent", "medication[x]", "subject"]),
    ("Observation", &["status", "code"]),
    ("Organization", &[]),
    ("Patient", &[]),
    ("Practitioner", &[]),
    ("Procedure", &["status", "subject"]),
    ("Provenance", &["target", "recorded", "agent"]),
];

fn options(patients: u32, seed: u64, folder: &TempDir) -> GenerateOptions {
    GenerateOptions::new(patients, seed, folder.path().join("set"))
}

/// Generates a set and reads its files back, by resource type.
fn files(patients: u32, seed: u64) -> BTreeMap<String, String> {
    let folder = TempDir::new().unwrap();
    files_of(&options(patients, seed, &folder))
}

/// As [`files`], of any set that is no mess.
fn files_of(options: &GenerateOptions) -> BTreeMap<String, String> {
    let summary = generate(options, &mut |_| {}).unwrap();
    let read = |file: &FileSummary| {
        let text = fs::read_to_string(options.out.join(format!("{}.ndjson", file.name))).unwrap();
        assert_eq!(file.bytes, text.len() as u64);
        assert_eq!((file.resources, file.broken_lines), (text.lines().count() as u64, 0));
        assert!(text.ends_with('\n'));
        (file.name.to_owned(), text)
    };
    assert_eq!(fs::read_dir(&options.out).unwrap().count(), summary.files.len());
    summary.files.iter().map(read).collect()
}

/// All resources of a set.
fn resources(patients: u32, seed: u64) -> Vec<Value> {
    let files = files(patients, seed);
    files.values().flat_map(|text| text.lines()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of_type<'a>(resources: &'a [Value], name: &str) -> impl Iterator<Item = &'a Value> {
    resources.iter().filter(move |resource| resource["resourceType"] == name)
}

/// `Type/id`, as others refer to it.
fn address(resource: &Value) -> String {
    format!("{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap())
}

/// Everything that is said under a key `reference`, at any depth.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(reference) if key == "reference" => found.push(reference),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn a_seed_stands_for_the_same_bytes_and_another_for_others() {
    assert_eq!(files(20, 1), files(20, 1));
    let (one, two) = (files(20, 1), files(20, 2));
    assert!(one.iter().all(|(name, text)| two[name] != *text));
}

/// A change of this digest changes what every seed gives. That is fine when it is meant, and then the
/// new one goes here; it must never come from another machine or a newer dependency.
#[test]
fn the_bytes_are_those_they_always_were() {
    let mut hasher = Sha256::new();
    for text in files(20, 1).values() {
        hasher.update(text);
    }
    assert_eq!(
        hex::encode(hasher.finalize()),
        "5bc01360cff6859ea660e440a8c90e1c08822b3c4d27a86cd71ca1a481a8cabd"
    );
}

#[test]
fn no_two_purposes_and_no_two_owners_share_a_stream() {
    use StreamPurpose::*;
    let purposes =
        [Record, Observations, Updates, Narrative, Mess, Odd, Cohort(0), Cohort(1), Cohort(u16::MAX)];
    let owners = [
        StreamOwner::Practices,
        StreamOwner::Patient(0),
        StreamOwner::Patient(u32::MAX),
        StreamOwner::Group(0),
        StreamOwner::Group(1),
    ];
    let streams = purposes.iter().flat_map(|purpose| owners.iter().map(move |owner| (*purpose, *owner)));
    let first = |(purpose, owner)| RandomStream::stream(1, purpose, owner).below(u64::MAX);
    assert_eq!(streams.map(first).collect::<BTreeSet<_>>().len(), purposes.len() * owners.len());
}

#[test]
fn a_patient_does_not_depend_on_how_many_there_are() {
    let (few, many) = (files(10, 7), files(25, 7));
    for (name, text) in few.iter().filter(|(name, _)| *name != "Group") {
        assert!(many[name].starts_with(text), "{name}");
    }
}

#[test]
fn every_line_is_a_resource_with_its_mandatory_elements() {
    let files = files(30, 3);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, MANDATORY.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (name, mandatory) in MANDATORY {
        for line in files[*name].lines() {
            let resource: Value = serde_json::from_str(line).unwrap();
            assert!(!line.contains("\": ") && !line.contains(", \""), "not compact: {line}");
            assert_eq!(resource["resourceType"], *name);
            for element in *mandatory {
                let fields = resource.as_object().unwrap();
                let present = match element.strip_suffix("[x]") {
                    Some(choice) => fields.keys().any(|key| key.starts_with(choice)),
                    None => fields.contains_key(*element),
                };
                assert!(present, "{element} in {line}");
            }
        }
    }
}

#[test]
fn ids_are_unique_and_references_resolve() {
    let resources = resources(30, 4);
    let addresses: BTreeSet<String> = resources.iter().map(address).collect();
    assert_eq!(addresses.len(), resources.len());
    for resource in &resources {
        let mut found = Vec::new();
        references(resource, &mut found);
        for reference in found {
            assert!(addresses.contains(reference), "{reference} in {resource}");
        }
        let id = resource["id"].as_str().unwrap();
        if resource["resourceType"] != "Group" {
            assert_eq!(id.len(), 36);
            assert!(id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-')));
        }
    }
}

#[test]
fn updates_spread_over_the_years_and_end_before_2026() {
    let mut years = BTreeSet::new();
    for resource in resources(20, 5) {
        let updated = resource["meta"]["lastUpdated"].as_str().unwrap();
        let parsed: jiff::Timestamp = updated.parse().unwrap();
        assert_eq!(format!("{parsed:.3}"), updated);
        years.insert(updated[..4].parse::<u16>().unwrap());
    }
    assert!(years.len() >= 5, "{years:?}");
    assert!(years.first() >= Some(&2015) && years.last() <= Some(&2025), "{years:?}");
}

#[test]
fn the_visits_of_a_patient_follow_one_another() {
    let resources = resources(20, 6);
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    for encounter in of_type(&resources, "Encounter") {
        let patient = encounter["subject"]["reference"].as_str().unwrap();
        let period = &encounter["period"];
        let (start, end) = (period["start"].as_str().unwrap(), period["end"].as_str().unwrap());
        assert!(start < end);
        assert!(before.insert(patient, end).is_none_or(|earlier| earlier < start));
    }
    assert_eq!(before.len(), 20);
}

#[test]
fn groups_have_patients_for_members_and_one_has_them_all() {
    let resources = resources(40, 8);
    let patients: Vec<String> = of_type(&resources, "Patient").map(address).collect();
    let mut groups = 0;
    for group in of_type(&resources, "Group") {
        let mut members = Vec::new();
        references(group, &mut members);
        assert_eq!(group["quantity"], members.len());
        assert!(members.iter().all(|member| patients.iter().any(|patient| patient == member)));
        assert!(group["id"] != "All_Patients" || members == patients);
        groups += 1;
    }
    assert!(groups > 1);
    assert!(of_type(&resources, "Group").any(|group| group["id"] == "All_Patients"));
}

#[test]
fn a_group_longer_than_the_buffer_is_one_line() {
    let folder = TempDir::new().unwrap();
    let options = GenerateOptions::new(5_000, 1, folder.path());
    let mut sheets = SourceSheets::new(&options);
    let mut draw = RandomStream::stream(1, StreamPurpose::Record, StreamOwner::Practices);
    let practices = PracticeList::write(&mut draw, &mut sheets);
    group::write_all(&options, &practices, &mut sheets).unwrap();
    sheets.finish().unwrap();
    let text = fs::read_to_string(folder.path().join("Group.ndjson")).unwrap();
    let group: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(group["member"].as_array().unwrap().len(), 5_000);
}

#[test]
fn a_hundred_patients_take_three_to_five_megabytes() {
    let bytes: usize = files(100, 1).values().map(String::len).sum();
    assert!((3_000_000..5_000_000).contains(&bytes), "{bytes}");
}

#[test]
fn without_patients_there_are_only_practices() {
    let files = files(0, 1);
    assert_eq!(files.keys().collect::<Vec<_>>(), ["Location", "Organization", "Practitioner"]);
}

#[test]
fn progress_counts_the_patients() {
    let folder = TempDir::new().unwrap();
    let mut seen = Vec::new();
    generate(&options(4, 1, &folder), &mut |done| seen.push(done)).unwrap();
    assert_eq!(seen, [1, 2, 3, 4]);
}

#[test]
fn a_folder_with_ndjson_files_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let options = options(2, 1, &folder);
    fs::create_dir(&options.out).unwrap();
    fs::write(options.out.join("notes.txt"), "may stay").unwrap();
    let old = options.out.join("Patient.ndjson");
    fs::write(&old, "old").unwrap();
    let error = generate(&options, &mut |_| {}).unwrap_err();
    assert!(matches!(&error, GenerateError::NotEmpty { found } if *found == old), "{error}");
    assert_eq!(fs::read_to_string(&old).unwrap(), "old");
    assert_eq!(fs::read_dir(&options.out).unwrap().count(), 2);
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = TempDir::new().unwrap();
    let options = options(1, 1, &folder);
    fs::write(&options.out, "a file is in the way").unwrap();
    assert!(matches!(generate(&options, &mut |_| {}), Err(GenerateError::Folder { .. })));
}

#[test]
fn numbers_and_base64_are_written_as_the_standards_have_them() {
    let shown = |value, decimals| {
        let mut out = Vec::new();
        ScaledNumber { value, decimals }.show(&mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!([shown(372, 1), shown(58, 2), shown(7, 0), shown(100, 2)], ["37.2", "0.58", "7", "1.00"]);
    // The test vectors of RFC 4648.
    for (data, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
        let mut json = JsonWriter::new();
        json.base64("data", data.as_bytes());
        assert_eq!(json.bytes, format!("\"data\":\"{text}\"").as_bytes());
    }
}

#[test]
fn vaccines_stand_in_the_order_of_their_years() {
    assert!(vocabulary::VACCINES.is_sorted_by_key(|vaccine| vaccine.since));
}
