//! `includeAssociatedData`: which Provenances go with what is exported (K-13).

use evanesce::job::AssociatedData;

use super::*;

fn provenance(id: &str, members: &str, targets: &[&str]) -> String {
    let targets: Vec<_> =
        targets.iter().map(|name| serde_json::json!({"reference": name}).to_string()).collect();
    let targets = targets.join(",");
    format!(r#"{{"resourceType":"Provenance","id":"{id}",{members}"target":[{targets}]}}"#)
}

fn recorded(at: &str) -> String {
    format!(r#""recorded":"2024-01-0{at}T00:00:00Z","#)
}

fn with(provenances: AssociatedData, kickoff: Kickoff) -> Kickoff {
    let provenances = Some(provenances);
    Kickoff { parameters: Parameters { provenances, ..kickoff.parameters }, ..kickoff }
}

fn relevant(kickoff: Kickoff) -> Kickoff {
    with(AssociatedData::Relevant, kickoff)
}

fn latest(kickoff: Kickoff) -> Kickoff {
    with(AssociatedData::Latest, kickoff)
}

fn source() -> Vec<String> {
    let old = r#""meta":{"lastUpdated":"2010-01-01T00:00:00Z"},"#;
    let new = r#""meta":{"lastUpdated":"2024-06-01T00:00:00Z"},"#;
    vec![
        r#"{"resourceType":"Patient","id":"p"}"#.into(),
        r#"{"resourceType":"Patient","id":"q"}"#.into(),
        format!(r#"{{"resourceType":"Observation","id":"old",{old}"subject":{{"reference":"Patient/p"}}}}"#),
        format!(
            r#"{{"resourceType":"Observation","id":"new",{new}"subject":{{"reference":"Patient/p"}},"performer":[{{"reference":"Organization/o"}}]}}"#
        ),
        r#"{"resourceType":"Organization","id":"o"}"#.into(),
        r#"{"resourceType":"ValueSet","id":"v"}"#.into(),
        group("g", &["p"]),
        provenance("of-old", "", &["Observation/old"]),
        provenance("of-new-2", &recorded("2"), &["Observation/new"]),
        provenance("of-new-1", &recorded("1"), &["Observation/new/_history/3"]),
        provenance("of-p-aged", old, &["Patient/p"]),
        provenance("of-both", &recorded("1"), &["Observation/old", "Observation/new"]),
        provenance("of-q", "", &["Patient/q", "Observation/new"]),
        provenance("of-o", "", &["Organization/o"]),
        provenance("of-v", "", &["ValueSet/v"]),
        provenance("of-nothing", "", &["Observation/missing", "urn:uuid:x"]),
        provenance("of-provenance", "", &["Provenance/of-old"]),
    ]
}

async fn instance() -> Instance {
    let lines = source();
    Instance::of(&[("a", &lines.iter().map(String::as_str).collect::<Vec<_>>())]).await
}

/// The ids of the Provenances that an export has, and that the oracle agrees.
async fn found(instance: &Instance, kickoff: &Kickoff) -> Vec<String> {
    instance.compare(std::slice::from_ref(kickoff)).await.unwrap_or_else(|wrong| panic!("{wrong}"));
    let names = names(&instance.export(kickoff).await.unwrap());
    names.iter().filter_map(|name| name.strip_prefix("Provenance/")).map(str::to_string).collect()
}

#[tokio::test]
async fn k_13_relevant_provenances_are_those_of_what_is_exported_whatever_types_are_asked_for() {
    let instance = instance().await;
    let of_p = ["of-both", "of-new-1", "of-new-2", "of-o", "of-old", "of-p-aged"];
    let everybody = ["of-both", "of-new-1", "of-new-2", "of-o", "of-old", "of-p-aged", "of-q"];
    assert_eq!(found(&instance, &relevant(group_level("g"))).await, of_p);
    assert_eq!(found(&instance, &relevant(patient_level())).await, everybody);
    let whole = [&everybody[..], &["of-v"]].concat();
    assert_eq!(found(&instance, &relevant(Kickoff::system())).await, whole);
    // Provenance need not be named, and is nothing by itself.
    let types = |types| relevant(only(patient_level(), types));
    let observations = ["of-both", "of-new-1", "of-new-2", "of-old", "of-q"];
    assert_eq!(found(&instance, &types(&["Observation"])).await, observations);
    assert_eq!(found(&instance, &types(&["Patient", "Provenance"])).await, ["of-p-aged", "of-q"]);
    assert_eq!(found(&instance, &types(&["Provenance"])).await, [""; 0]);
}

#[tokio::test]
async fn k_13_without_the_parameter_all_provenances_of_the_compartment_are_exported() {
    let instance = instance().await;
    let of_p = ["of-both", "of-new-1", "of-new-2", "of-old", "of-p-aged"];
    assert_eq!(found(&instance, &group_level("g")).await, of_p);
    assert_eq!(found(&instance, &only(group_level("g"), &["Provenance"])).await, of_p);
    assert_eq!(found(&instance, &only(group_level("g"), &["Observation"])).await, [""; 0]);
}

#[tokio::test]
async fn k_13_provenances_are_bounded_by_the_age_of_what_they_are_about_and_not_by_their_own() {
    let instance = instance().await;
    let since = |kickoff| aged(kickoff, instant("2024-05-01T00:00:00Z"), None);
    // A patient of unknown age is exported, and so is its old Provenance.
    let expected = ["of-both", "of-new-1", "of-new-2", "of-o", "of-p-aged"];
    assert_eq!(found(&instance, &relevant(since(group_level("g")))).await, expected);
    let until = |kickoff| aged(kickoff, None, instant("2011-01-01T00:00:00Z"));
    let kickoff = relevant(until(only(group_level("g"), &["Observation"])));
    assert_eq!(found(&instance, &kickoff).await, ["of-both", "of-old"]);
}

#[tokio::test]
async fn k_13_the_latest_provenance_of_each_resource_is_the_one_recorded_last() {
    let lines = [
        r#"{"resourceType":"Patient","id":"1"}"#,
        r#"{"resourceType":"Patient","id":"2"}"#,
        r#"{"resourceType":"Patient","id":"3"}"#,
        r#"{"resourceType":"Patient","id":"4"}"#,
        // By `recorded`, whatever `meta` says and wherever it stands.
        &provenance("1-last", &recorded("3"), &["Patient/1"]),
        &provenance(
            "1-first",
            r#""meta":{"lastUpdated":"2024-09-01T00:00:00Z"},"recorded":"2024-01-02T00:00:00Z","#,
            &["Patient/1"],
        ),
        // By `meta`, if there is no `recorded`.
        &provenance("2-last", r#""meta":{"lastUpdated":"2024-09-01T00:00:00Z"},"#, &["Patient/2"]),
        &provenance("2-first", &recorded("4"), &["Patient/2"]),
        &provenance("2-unknown", "", &["Patient/2"]),
        // By the order of the source, if there is neither, or both are the same.
        &provenance("3-first", "", &["Patient/3"]),
        &provenance("3-last", "", &["Patient/3"]),
        &provenance("4-first", &recorded("5"), &["Patient/4"]),
        &provenance("4-last", &recorded("5"), &["Patient/4"]),
        // The latest of one, not of the other: it goes along once.
        &provenance("both", &recorded("4"), &["Patient/1", "Patient/4", "Patient/1"]),
    ];
    let instance = Instance::of(&[("a", &lines)]).await;
    let expected = ["2-last", "3-last", "4-last", "both"];
    assert_eq!(found(&instance, &latest(patient_level())).await, expected);
    assert_eq!(found(&instance, &latest(only(Kickoff::system(), &["Patient"]))).await, expected);
}

#[tokio::test]
async fn k_13_g_4_provenances_of_other_patients_stay_out_even_if_they_are_about_something_shared() {
    let lines = [
        r#"{"resourceType":"Patient","id":"p","managingOrganization":{"reference":"Organization/o"}}"#,
        r#"{"resourceType":"Observation","id":"q","subject":{"reference":"Patient/q"}}"#,
        r#"{"resourceType":"Organization","id":"o"}"#,
        &group("g", &["p"]),
        &provenance("of-o", &recorded("1"), &["Organization/o"]),
        &provenance("of-o-and-p", &recorded("2"), &["Organization/o", "Patient/p"]),
        &provenance("of-o-and-q", &recorded("3"), &["Organization/o", "Patient/q"]),
        &provenance("of-o-and-of-q", &recorded("4"), &["Organization/o", "Observation/q"]),
    ];
    let instance = Instance::of(&[("a", &lines)]).await;
    assert_eq!(found(&instance, &relevant(group_level("g"))).await, ["of-o", "of-o-and-p"]);
    assert_eq!(found(&instance, &latest(group_level("g"))).await, ["of-o-and-p"]);
    assert_eq!(found(&instance, &latest(patient_level())).await, ["of-o-and-of-q", "of-o-and-p"]);
}

#[tokio::test]
async fn k_13_a_provenance_that_is_superseded_or_deleted_does_not_go_along() {
    let lines = [
        r#"{"resourceType":"Patient","id":"p"}"#,
        &provenance("moved", &recorded("9"), &["Patient/p"]),
        &provenance("deleted", &recorded("8"), &["Patient/p"]),
        &provenance("stays", &recorded("1"), &["Patient/p"]),
        &provenance("moved", &recorded("9"), &["Organization/x"]),
        r#"{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"DELETE","url":"Provenance/deleted"}}]}"#,
    ];
    let instance = Instance::of(&[("a", &lines)]).await;
    for kickoff in [relevant(patient_level()), latest(patient_level())] {
        assert_eq!(found(&instance, &kickoff).await, ["stays"]);
        let kickoff = aged(kickoff, instant("2000-01-01T00:00:00Z"), None);
        let expected = ["-Provenance/deleted", "Patient/p", "Provenance/stays"];
        instance.expect(&kickoff, &expected).await;
        // That it is gone is told as it would have gone along.
        instance.expect(&only(kickoff, &["Patient"]), &expected).await;
    }
}
