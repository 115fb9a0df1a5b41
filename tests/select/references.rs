//! Which organizations, practitioners, devices... go along with the compartments.

use super::*;

/// An observation of patient `p` refers to a role, that to a practitioner and an organization,
/// that to an organization it is part of and back; others are of `q`, or of nobody.
const LINES: [&str; 13] = [
    r#"{"resourceType":"Patient","id":"p"}"#,
    r#"{"resourceType":"Observation","id":"1","subject":{"reference":"Patient/p"},"performer":[{"reference":"PractitionerRole/r"}],"meta":{"lastUpdated":"2020-01-01T00:00:00Z"}}"#,
    r#"{"resourceType":"Observation","id":"2","subject":{"reference":"Patient/q"},"performer":[{"reference":"Practitioner/q"}]}"#,
    r#"{"resourceType":"PractitionerRole","id":"r","practitioner":{"reference":"Practitioner/a"},"organization":{"reference":"Organization/a\u002f_history/2"},"meta":{"lastUpdated":"2020-01-01T00:00:00Z"}}"#,
    r#"{"resourceType":"Practitioner","id":"a","meta":{"lastUpdated":"2024-01-01T00:00:00Z"}}"#,
    r#"{"resourceType":"Organization","id":"a","partOf":{"reference":"Organization/b"},"meta":{"lastUpdated":"2020-01-01T00:00:00Z"}}"#,
    r#"{"resourceType":"Organization","id":"b","partOf":{"reference":"Organization/a"},"endpoint":[{"reference":"Endpoint/e"}]}"#,
    r#"{"resourceType":"Endpoint","id":"e","meta":{"lastUpdated":"2024-01-01T00:00:00Z"}}"#,
    r#"{"resourceType":"Practitioner","id":"q"}"#,
    r#"{"resourceType":"Organization","id":"nobody","partOf":{"reference":"Organization/a"}}"#,
    r#"{"resourceType":"Location"}"#,
    r#"{"resourceType":"Group","id":"g","actual":true,"member":[{"entity":{"reference":"Patient/p"}}],"meta":{"lastUpdated":"2020-01-01T00:00:00Z"}}"#,
    r#"{"resourceType":"ValueSet","id":"v","x":{"reference":"Practitioner/v"}}"#,
];

async fn with(references: Option<References>) -> Instance {
    let settings = Settings { references, ..Settings::default() };
    Instance::start(&content(&[("a", &LINES)]), settings).await
}

const OF_P: [&str; 3] = ["Group/g", "Observation/1", "Patient/p"];
const REACHED_FROM_P: [&str; 5] =
    ["Endpoint/e", "Organization/a", "Organization/b", "Practitioner/a", "PractitionerRole/r"];

#[tokio::test]
async fn by_default_what_can_be_reached_from_the_selected_resources_goes_along() {
    let instance = with(None).await;
    let expected = [&OF_P[..], &REACHED_FROM_P].concat();
    instance.expect(&group_level("g"), &expected).await;
    let all = [&expected[..], &["Observation/2", "Practitioner/q"]].concat();
    instance.expect(&patient_level(), &all).await;
}

#[tokio::test]
async fn the_setting_referenced_is_the_default() {
    let expected = [&OF_P[..], &REACHED_FROM_P].concat();
    with(Some(References::Referenced)).await.expect(&group_level("g"), &expected).await;
}

#[tokio::test]
async fn with_the_setting_all_every_reference_resource_goes_along() {
    let instance = with(Some(References::All)).await;
    let more = ["Location/-", "Organization/nobody", "Practitioner/q"];
    instance.expect(&group_level("g"), &[&OF_P[..], &REACHED_FROM_P, &more].concat()).await;
    let types = only(group_level("g"), &["Location", "Patient"]);
    instance.expect(&types, &["Location/-", "Patient/p"]).await;
    let since = aged(group_level("g"), instant("2023-01-01T00:00:00Z"), None);
    let young = ["Patient/p", "Endpoint/e", "Organization/b", "Practitioner/a"];
    instance.expect(&since, &[&young[..], &more].concat()).await;
}

#[tokio::test]
async fn with_the_setting_none_no_reference_resource_goes_along_but_a_system_export_has_them() {
    let instance = with(Some(References::None)).await;
    instance.expect(&group_level("g"), &OF_P).await;
    instance.expect(&only(patient_level(), &["Organization"]), &[]).await;
    let organizations = ["Organization/a", "Organization/b", "Organization/nobody"];
    instance.expect(&only(Kickoff::system(), &["Organization"]), &organizations).await;
}

#[tokio::test]
async fn what_is_too_old_or_not_of_a_wanted_type_leads_on_or_does_not() {
    let instance = with(None).await;
    // The observation and the role are too old to be exported, and lead to what is not.
    let since = aged(group_level("g"), instant("2023-01-01T00:00:00Z"), None);
    let young = ["Endpoint/e", "Organization/b", "Patient/p", "Practitioner/a"];
    instance.expect(&since, &young).await;
    // A type that is not asked for leads nowhere, be it selected by compartment or by reference.
    let types = only(group_level("g"), &["Patient", "Organization", "PractitionerRole"]);
    instance.expect(&types, &["Patient/p"]).await;
    let types = only(group_level("g"), &["Observation", "Organization", "Endpoint"]);
    instance.expect(&types, &["Observation/1"]).await;
    let types = only(group_level("g"), &["Observation", "PractitionerRole", "Endpoint", "Organization"]);
    let expected = ["Endpoint/e", "Observation/1", "Organization/a", "Organization/b", "PractitionerRole/r"];
    instance.expect(&types, &expected).await;
    instance.expect(&only(group_level("g"), &["Organization"]), &[]).await;
}

#[tokio::test]
async fn a_reference_leads_on_from_wherever_it_stands_if_it_is_one() {
    let patient = |id: &str, members: &str| format!(r#"{{"resourceType":"Patient","id":"{id}",{members}}}"#);
    let practitioner = |n: usize| format!(r#"{{"resourceType":"Practitioner","id":"{n}"}}"#);
    let members = [
        r#""contained":[{"resourceType":"Device","id":"x","owner":{"reference":"Practitioner/0"}}]"#,
        r#""extension":[{"url":"x","valueReference":{"reference":"Practitioner/1"}}]"#,
        r#""x":{"y":[[{"z":{"reference":"Practitioner\/2"}}]]}"#,
        r#""reference":"Practitioner/3""#,
        r#""x":{"r\u0065ference":"Practitioner/4"}"#,
        r#""x":{"reference":"Practitioner/5/_history/1"}"#,
        // None of these is one.
        r#""x":{"display":"Practitioner/6"}"#,
        r#""x":"\"reference\":\"Practitioner/7\"""#,
        r#""x":{"reference":["Practitioner/8"]}"#,
        r##""x":{"reference":"Practitioner/9#x"}"##,
        r#""x":{"reference":"https://x.org/Practitioner/10"}"#,
        r#""x":{"references":"Practitioner/11","Reference":"Practitioner/11"}"#,
        r#""x":{"reference":{"value":"Practitioner/12"}}"#,
    ];
    let mut lines: Vec<_> = (0..members.len()).map(practitioner).collect();
    lines.extend(members.iter().enumerate().map(|(n, members)| patient(&n.to_string(), members)));
    let instance = Instance::of(&[("a", &lines.iter().map(String::as_str).collect::<Vec<_>>())]).await;
    let mut expected: Vec<_> = (0..members.len()).map(|n| format!("Patient/{n}")).collect();
    expected.extend((0..6).map(|n| format!("Practitioner/{n}")));
    instance.expect(&patient_level(), &expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn a_superseded_version_neither_refers_to_anything_nor_is_referred_to() {
    let lines = [
        r#"{"resourceType":"Patient","id":"p","x":{"reference":"Organization/old"}}"#,
        r#"{"resourceType":"Organization","id":"old"}"#,
        r#"{"resourceType":"Organization","id":"new","x":{"reference":"Endpoint/old"}}"#,
        r#"{"resourceType":"Endpoint","id":"old"}"#,
        r#"{"resourceType":"Endpoint","id":"new"}"#,
        r#"{"resourceType":"Patient","id":"p","x":{"reference":"Organization/new"}}"#,
        r#"{"resourceType":"Organization","id":"new","x":{"reference":"Endpoint/new"}}"#,
    ];
    let instance = Instance::of(&[("a", &lines)]).await;
    let expected = ["Endpoint/new", "Organization/new", "Patient/p"];
    instance.expect(&patient_level(), &expected).await;
    let patients = instance.export(&patient_level()).await.unwrap().lines.remove("Patient").unwrap();
    assert_eq!(patients, [lines[5].as_bytes()]);
}

#[tokio::test]
async fn a_long_chain_of_references_is_followed_to_its_end() {
    let mut lines = vec![r#"{"resourceType":"Patient","id":"p","x":{"reference":"Location/0"}}"#.to_string()];
    let location = |n: usize| {
        let next = n + 1;
        format!(r#"{{"resourceType":"Location","id":"{n}","partOf":{{"reference":"Location/{next}"}}}}"#)
    };
    // Backwards, so that one reading of the file in its order does not do.
    lines.extend((0..300).rev().map(location));
    let instance = Instance::of(&[("a", &lines.iter().map(String::as_str).collect::<Vec<_>>())]).await;
    let mut expected: Vec<_> = (0..300).map(|n| format!("Location/{n}")).collect();
    expected.push("Patient/p".into());
    instance.expect(&patient_level(), &expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
}
