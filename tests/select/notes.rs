//! What an export says of itself that would else be silent: that it is empty, which members of its Group
//! do not count, how much is left out because it tells of others.

use evanesce::job::OrganizeBy;
use serde_json::Value;

use super::*;

/// The severities and texts of the outcomes in an export's `error` files.
async fn told(instance: &Instance, kickoff: Kickoff) -> Vec<(String, String)> {
    let job = instance.submit(kickoff.clone()).await.unwrap();
    instance.finished(job).await;
    let folder = instance.data.path().join("ready").join(job.to_string());
    let json = |name: &str| -> Value {
        serde_json::from_slice(&crate::support::read_stored(&folder.join(name)).unwrap()).unwrap()
    };
    let (estimate, plan) = (json("request.json")["estimate"].as_u64(), json("plan.json")["bytes"].as_u64());
    let document: JobDocument =
        serde_json::from_slice(&crate::support::read_stored(&folder.join("job.json")).unwrap()).unwrap();
    let files: Vec<_> = document.parts.iter().flat_map(|part| &part.files).collect();
    let written = files.iter().map(|file| file.bytes).sum::<u64>();
    // A busy index is not waited for: without an estimate there is nothing to be less than.
    let fits = Some(written) <= plan && plan.is_some_and(|plan| estimate.is_none_or(|it| plan <= it));
    assert!(fits, "{written} {plan:?} {estimate:?}: {kickoff:?}");
    let mut told = Vec::new();
    for file in files.into_iter().filter(|file| file.is_error()) {
        for line in crate::support::read_stored_text(&folder.join(&file.name)).lines() {
            let issue = serde_json::from_str::<Value>(line).unwrap()["issue"][0].take();
            let text = |value: &Value| value.as_str().unwrap().to_string();
            told.push((text(&issue["severity"]), text(&issue["details"]["text"])));
        }
    }
    told
}

fn organized(kickoff: Kickoff) -> Kickoff {
    let organize_by = Some(OrganizeBy::Patient);
    Kickoff { parameters: Parameters { organize_by, ..kickoff.parameters }, ..kickoff }
}

async fn of(lines: &[&str]) -> Instance {
    Instance::of(&[("a", lines)]).await
}

const P: &str = r#"{"resourceType":"Patient","id":"p"}"#;

#[tokio::test]
async fn members_that_do_not_count_are_told_with_their_numbers_and_without_their_names() {
    let members = [
        r#"{"entity":{"reference":"Patient/p"}}"#,
        r#"{"entity":{"identifier":{"value":"secret"}}}"#,
        r#"{"entity":{"reference":"https://elsewhere.example.org/Patient/secret"}}"#,
        r#"{"entity":{"reference":"Patient/secret"},"period":{"start":"soon"}}"#,
        r#"{"entity":{"reference":"Patient/secret"},"inactive":true}"#,
        r#"{"entity":{"reference":"Device/secret"}}"#,
        "7",
    ];
    let group =
        format!(r#"{{"resourceType":"Group","id":"g","actual":true,"member":[{}]}}"#, members.join(","));
    let instance = of(&[P, &group]).await;
    for kickoff in [group_level("g"), organized(group_level("g"))] {
        let told = told(&instance, kickoff).await;
        let [(severity, text)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(severity, "warning");
        assert!(
            text.starts_with("Of the 7 members of the Group 1 count as patients now: 1 are inactive"),
            "{text}"
        );
        assert!(text.contains("2 cannot be read") && text.contains("2 are named in no way"), "{text}");
        assert!(text.contains("1 are not patients") && !text.contains("secret"), "{text}");
    }
    // What is as it should be needs no words.
    let good = r#"{"resourceType":"Group","id":"g","actual":true,"member":[{"entity":{"reference":"Patient/p"}},{"entity":{"reference":"Patient/q"},"inactive":true}]}"#;
    assert_eq!(told(&of(&[P, good]).await, group_level("g")).await, []);
}

#[tokio::test]
async fn an_export_that_is_empty_whatever_the_times_says_so() {
    let lines = [
        P,
        r#"{"resourceType":"Slot","id":"s"}"#,
        r#"{"resourceType":"Organization","id":"o"}"#,
        r#"{"resourceType":"Group","id":"g","actual":true,"member":[{"entity":{"reference":"https://x/Patient/p"}}]}"#,
        r#"{"resourceType":"Group","id":"none","actual":true}"#,
    ];
    let instance = of(&lines).await;
    let since = |kickoff| aged(kickoff, instant("2024-01-01T00:00:00Z"), None);
    for (kickoff, expected) in [
        (only(patient_level(), &["Encounter"]), &["is in the source"][..]),
        (only(Kickoff::system(), &["Library"]), &["is in the source"]),
        (since(only(patient_level(), &["Encounter"])), &["is in the source"]),
        (group_level("g"), &["Of the 1 members", "compartments of the 0 patients"]),
        (group_level("none"), &["Of the 0 members", "compartments of the 0 patients"]),
        (patient_level(), &[]),
        (Kickoff::system(), &[]),
        (only(Kickoff::system(), &["Slot"]), &[]),
    ] {
        for kickoff in [kickoff.clone(), organized(kickoff)] {
            let is_organized = kickoff.parameters.organize_by.is_some();
            let mut told = told(&instance, kickoff.clone()).await;
            told.retain(|(_, text)| {
                !(is_organized && text.contains("were left out: they belong to no patient"))
            });
            assert_eq!(told.len(), expected.len(), "{kickoff:?} {told:?}");
            for ((_, text), expected) in told.iter().zip(expected) {
                assert!(text.contains(expected), "{kickoff:?}: {text}");
            }
        }
    }
    // Nothing new is the usual thing, and told by the manifest alone.
    let aged_patient = r#"{"resourceType":"Patient","id":"p","meta":{"lastUpdated":"2020-01-01T00:00:00Z"}}"#;
    assert_eq!(told(&of(&[aged_patient]).await, since(patient_level())).await, []);
}

#[tokio::test]
async fn p15_what_is_left_out_because_it_tells_of_others_is_counted_and_groups_are_not() {
    let appointment = |id: &str, patients: &[&str]| {
        let actor = |id: &&str| serde_json::json!({"actor": {"reference": format!("Patient/{id}")}});
        let participant: Vec<_> = patients.iter().map(actor).collect();
        serde_json::json!({"resourceType": "Appointment", "id": id, "participant": participant}).to_string()
    };
    let list = r#"{"resourceType":"List","id":"l","subject":{"reference":"Patient/p"},"entry":[{"item":{"reference":"Patient/q"}}]}"#;
    let lines = [
        P.to_string(),
        r#"{"resourceType":"Patient","id":"q"}"#.into(),
        appointment("alone", &["p"]),
        appointment("both", &["p", "q"]),
        appointment("superseded", &["p", "q"]),
        appointment("superseded", &["q"]),
        list.into(),
        group("g", &["p"]),
        group("h", &["p", "q"]),
        r#"{"resourceType":"Provenance","id":"v","target":[{"reference":"Group/h"}]}"#.into(),
    ];
    let instance = of(&lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let named = Kickoff {
        parameters: Parameters { patients: vec!["p".into()], ..Parameters::default() },
        ..patient_level()
    };
    for kickoff in [group_level("g"), named, organized(group_level("g"))] {
        let told = told(&instance, kickoff.clone()).await;
        let [(severity, text)] = &told[..] else { panic!("{kickoff:?}: {told:?}") };
        assert_eq!(severity, "information");
        assert!(text.starts_with("2 resources of these patients are left out"), "{kickoff:?}: {text}");
    }
    for kickoff in [group_level("h"), patient_level(), only(group_level("g"), &["Patient"])] {
        assert_eq!(told(&instance, kickoff.clone()).await, [], "{kickoff:?}");
    }
}
