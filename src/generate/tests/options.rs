//! What each option does, and that it does nothing else.

use super::*;
use crate::generate::options::NotAShare;

const PATIENTS: u32 = 40;

/// The set with `change` made to plain options.
fn set(change: impl Fn(&mut GenerateOptions)) -> BTreeMap<String, String> {
    let folder = TempDir::new().unwrap();
    let mut options = options(PATIENTS, 9, &folder);
    change(&mut options);
    files_of(&options)
}

fn plain() -> BTreeMap<String, String> {
    set(|_| {})
}

/// The resources of a set, by address.
fn by_address(files: &BTreeMap<String, String>) -> BTreeMap<String, Value> {
    let mut resources = BTreeMap::new();
    for line in files.values().flat_map(|text| text.lines()) {
        let resource: Value = serde_json::from_str(line).unwrap();
        assert!(resources.insert(address(&resource), resource).is_none(), "twice: {line}");
    }
    resources
}

fn share(text: &str) -> ResourceShare {
    text.parse().unwrap()
}

fn updated(resource: &Value) -> Option<&str> {
    resource["meta"]["lastUpdated"].as_str()
}

/// Fails unless `part` of `whole` is about `expected`.
fn assert_share(part: usize, whole: usize, expected: f64) {
    let found = part as f64 / whole as f64;
    assert!((found - expected).abs() < 0.04, "{part} of {whole} is not about {expected}");
}

/// Every option but the mess, at once.
pub(super) fn all(options: &mut GenerateOptions) {
    options.groups = 2;
    options.observations = 3;
    options.undated = share("0.2");
    options.recent = share("0.1");
    options.notes = 50;
}

#[test]
fn each_option_is_deterministic_and_changes_the_set() {
    let changes: [fn(&mut GenerateOptions); 6] = [
        |options| options.groups = 2,
        |options| options.observations = 1,
        |options| options.undated = share("0.5"),
        |options| options.recent = share("0.5"),
        |options| options.notes = 10,
        all,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert_eq!(set(change), set(change), "option {number}");
        assert_ne!(set(change), plain(), "option {number}");
    }
}

#[test]
fn a_patient_does_not_depend_on_how_many_there_are_with_options_either() {
    let few = set(|options| {
        all(options);
        options.patients = 10;
    });
    let many = set(all);
    for (name, text) in few.iter().filter(|(name, _)| *name != "Group") {
        assert!(many[name].starts_with(text), "{name}");
    }
}

#[test]
fn options_that_add_resources_do_not_move_what_the_others_do() {
    let set = |observations, groups| {
        by_address(&set(|options| {
            all(options);
            (options.observations, options.groups) = (observations, groups);
        }))
    };
    let (few, many) = (set(0, 0), set(4, 1));
    assert_eq!(many.len(), few.len() + 4 * PATIENTS as usize + 1);
    for (address, resource) in few {
        assert_eq!(many[&address], resource);
    }
}

#[test]
fn cohorts_come_after_the_other_groups_and_change_nothing_else() {
    let (mut plain, mut more) = (plain(), set(|options| options.groups = 3));
    let (groups, more_groups) = (plain.remove("Group").unwrap(), more.remove("Group").unwrap());
    assert_eq!(plain, more);
    let cohorts = more_groups.strip_prefix(&groups).unwrap();
    let ids: Vec<Value> = cohorts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<&str> = ids.iter().map(|group| group["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["cohort-1", "cohort-2", "cohort-3"]);
}

/// The groups alone, of many patients.
fn groups(patients: u32, cohorts: u16) -> Vec<Value> {
    let folder = TempDir::new().unwrap();
    let options = GenerateOptions { groups: cohorts, ..GenerateOptions::new(patients, 1, folder.path()) };
    let mut sheets = SourceSheets::new(&options);
    let mut draw = RandomStream::stream(1, StreamPurpose::Record, StreamOwner::Practices);
    let practices = PracticeList::write(&mut draw, &mut sheets);
    group::write_all(&options, &practices, &mut sheets).unwrap();
    sheets.finish().unwrap();
    let text = fs::read_to_string(folder.path().join("Group.ndjson")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn members(groups: &[Value], id: &str) -> Vec<Value> {
    let group = groups.iter().find(|group| group["id"] == id).unwrap();
    group["member"].as_array().unwrap().clone()
}

#[test]
fn a_cohort_is_a_tenth_of_the_patients_drawn_anew() {
    let groups = groups(5_000, 3);
    let everybody = members(&groups, "All_Patients");
    let cohorts = ["cohort-1", "cohort-2", "cohort-3"].map(|id| members(&groups, id));
    for cohort in &cohorts {
        assert!((400..600).contains(&cohort.len()), "{}", cohort.len());
        assert!(cohort.iter().all(|member| everybody.contains(member)));
    }
    let both = cohorts[0].iter().filter(|member| cohorts[1].contains(member)).count();
    assert!((20..90).contains(&both), "{both} in both of two cohorts");
    for group in groups.iter().filter(|group| group["id"].as_str().unwrap().starts_with("cohort-")) {
        assert_eq!((&group["active"], &group["actual"]), (&Value::Bool(true), &Value::Bool(true)));
        assert_eq!(group["type"], "person");
        assert_eq!(group["quantity"], group["member"].as_array().unwrap().len());
    }
}

#[test]
fn a_cohort_grows_with_the_set_and_is_left_out_while_it_is_empty() {
    let (few, many) = (groups(500, 1), groups(1_000, 1));
    let (few, many) = (members(&few, "cohort-1"), members(&many, "cohort-1"));
    assert!(few.len() < many.len() && many.starts_with(&few));
    let cohorts = |groups: &[Value]| {
        groups.iter().filter(|group| group["id"].as_str().unwrap().starts_with("cohort-")).count()
    };
    assert!((1..30).contains(&cohorts(&groups(1, 50))));
}

#[test]
fn observations_are_added_to_those_of_the_record() {
    let (mut plain, mut more) = (plain(), set(|options| options.observations = 7));
    let count = |text: &str| {
        let mut counts = BTreeMap::<String, usize>::new();
        for line in text.lines() {
            let observation: Value = serde_json::from_str(line).unwrap();
            *counts.entry(observation["subject"]["reference"].as_str().unwrap().into()).or_default() += 1;
        }
        counts
    };
    let (before, after) = (plain.remove("Observation").unwrap(), more.remove("Observation").unwrap());
    assert_eq!(plain, more);
    by_address(&BTreeMap::from([("Observation".to_owned(), after.clone())]));
    let expected: BTreeMap<_, _> = count(&before).into_iter().map(|(id, count)| (id, count + 7)).collect();
    assert_eq!(count(&after), expected);
    let after: BTreeSet<&str> = after.lines().collect();
    assert!(before.lines().all(|line| after.contains(line)));
    assert_eq!(after.len(), before.lines().count() + 7 * PATIENTS as usize);
}

#[test]
fn the_undated_share_has_no_meta_and_the_rest_is_as_it_was() {
    let (plain, undated) = (by_address(&plain()), by_address(&set(|options| options.undated = share("0.3"))));
    let without: Vec<_> = undated.iter().filter(|(_, resource)| resource.get("meta").is_none()).collect();
    assert_share(without.len(), undated.len(), 0.3);
    for (address, resource) in &undated {
        let mut expected = plain[address].clone();
        if resource.get("meta").is_none() {
            expected.as_object_mut().unwrap().remove("meta");
        }
        assert_eq!(*resource, expected);
    }
    let more = by_address(&set(|options| options.undated = share("0.4")));
    assert!(without.iter().all(|(address, _)| more[*address].get("meta").is_none()));
    let all = by_address(&set(|options| options.undated = share("1")));
    assert!(all.values().all(|resource| resource.get("meta").is_none()));
}

#[test]
fn the_recent_share_was_updated_in_the_first_half_of_2026() {
    let (plain, recent) = (by_address(&plain()), by_address(&set(|options| options.recent = share("0.1"))));
    let mut moved = 0;
    for (address, resource) in &recent {
        let (before, after) = (updated(&plain[address]).unwrap(), updated(resource).unwrap());
        assert!(before < "2026");
        if after != before {
            assert!(after > "2026-01-01T00:00:00.000Z" && after < "2026-06-30", "{after}");
            moved += 1;
        }
    }
    assert_share(moved, recent.len(), 0.1);
}

#[test]
fn the_recent_share_is_one_of_the_dated_resources() {
    let resources = by_address(&set(|options| {
        options.recent = share("0.5");
        options.undated = share("0.5");
    }));
    let dated: Vec<&str> = resources.values().filter_map(updated).collect();
    assert_share(dated.len(), resources.len(), 0.5);
    assert_share(dated.iter().filter(|updated| **updated >= "2026").count(), dated.len(), 0.5);
}

#[test]
fn narratives_have_the_mean_length_and_the_rest_is_as_it_was() {
    let (plain, mut noted) = (by_address(&plain()), by_address(&set(|options| options.notes = 900)));
    let mut lengths = Vec::new();
    for resource in noted.values_mut() {
        let text = resource.as_object_mut().unwrap().remove("text").unwrap();
        assert_eq!(text["status"], "additional");
        let div = text["div"].as_str().unwrap();
        let prose = div.strip_prefix(r#"<div xmlns="http://www.w3.org/1999/xhtml">"#).unwrap();
        let prose = prose.strip_suffix("</div>").unwrap();
        assert!(!prose.trim().is_empty() && !prose.contains(['<', '>', '&']), "{prose}");
        lengths.push(prose.len());
    }
    assert_eq!(noted, plain);
    let mean = lengths.iter().sum::<usize>() / lengths.len();
    assert!((820..980).contains(&mean), "{mean}");
    let shorter = |bound| lengths.iter().filter(|length| **length < bound).count();
    assert_share(shorter(600), lengths.len(), 0.5);
    assert_share(shorter(1_200), lengths.len(), 0.75);
    assert_share(shorter(1_800), lengths.len(), 0.875);
}

#[test]
fn the_shortest_narrative_is_not_empty() {
    for resource in by_address(&set(|options| options.notes = 1)).values() {
        assert!(!resource["text"]["div"].as_str().unwrap().contains("></div>"));
    }
}

#[test]
fn a_share_is_a_number_from_0_to_1() {
    let millionths = |text: &str| text.parse().map(ResourceShare::millionths);
    let shares = ["0", "0.1", "1e-6", "0.3333333", "1"].map(millionths);
    assert_eq!(shares, [Ok(0), Ok(100_000), Ok(1), Ok(333_333), Ok(1_000_000)]);
    for text in ["", "-0.1", "1.1", "NaN", "inf", "10%"] {
        assert_eq!(millionths(text), Err(NotAShare), "{text}");
    }
}
