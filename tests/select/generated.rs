//! The generated data set, whole: every level, with and without bounds, each way of references.

use super::*;
use crate::support::source;

/// The instant in the middle of all that say when they were changed.
fn middle(instance: &Instance) -> jiff::Timestamp {
    let files = instance.files();
    let lines = files.iter().flat_map(|(_, content)| content.split(|b| *b == b'\n'));
    let resources = lines.filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    let mut ages: Vec<jiff::Timestamp> =
        resources.filter_map(|json| json["meta"]["lastUpdated"].as_str()?.parse().ok()).collect();
    ages.sort();
    ages[ages.len() / 2]
}

fn kickoffs(since: jiff::Timestamp) -> Vec<Kickoff> {
    let levels = [
        Level::System,
        Level::Patient,
        Level::Group { id: "practice-1".into() },
        group_level("All_Patients").level,
    ];
    let types: [&[&str]; 4] = [
        &[],
        &["Patient", "Practitioner"],
        &["Observation", "Encounter", "Organization", "Location", "Provenance"],
        &["Organization"],
    ];
    let bounds = [(None, None), (Some(since), None), (None, Some(since))];
    let mut kickoffs = Vec::new();
    for level in levels {
        for types in types {
            for (since, until) in bounds {
                kickoffs.push(aged(only(at_level(level.clone()), types), since, until));
            }
        }
    }
    kickoffs
}

async fn check(settings: Settings) {
    let instance = Instance::over(source(), settings).await;
    let kickoffs = kickoffs(middle(&instance));
    if let Err(difference) = instance.compare(&kickoffs).await {
        panic!("{difference}");
    }
}

#[tokio::test]
async fn the_generated_set_is_exported_as_the_oracle_says() {
    check(Settings::default()).await;
}

#[tokio::test]
async fn the_generated_set_is_exported_as_the_oracle_says_with_all_references() {
    check(Settings::references(References::All)).await;
}

#[tokio::test]
async fn the_generated_set_is_exported_as_the_oracle_says_with_no_references() {
    check(Settings::references(References::None)).await;
}

#[tokio::test]
async fn the_generated_set_has_a_practice_that_is_a_part_of_it() {
    let instance = Instance::over(source(), Settings::default()).await;
    let count = |kickoff: &Kickoff| names(&instance.oracle(kickoff).unwrap()).len();
    let (system, patients, group) =
        (count(&Kickoff::system()), count(&patient_level()), count(&group_level("practice-1")));
    assert!(100 < group && 2 * group < patients && patients <= system, "{group} {patients} {system}");
    let since = aged(group_level("practice-1"), Some(middle(&instance)), None);
    assert!((10..group).contains(&count(&since)), "{}", count(&since));
}
