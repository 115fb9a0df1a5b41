//! Whose compartment a resource is in: what its type's paths name, and nothing that only looks
//! like it.

use super::oracle::facts::COMPARTMENT;
use super::*;

/// An observation with these members beside its type and id.
fn observation(id: &str, members: &str) -> String {
    format!(r#"{{"resourceType":"Observation","id":"{id}",{members}}}"#)
}

/// Observations 1 to n with these members, a patient `p`, and `p` and `q` in groups of their own.
async fn observations(members: &[&str]) -> Instance {
    let mut lines: Vec<_> =
        members.iter().zip(1..).map(|(members, n)| observation(&n.to_string(), members)).collect();
    lines.extend([group("g", &["p"]), group("h", &["q"])]);
    lines.push(r#"{"resourceType":"Patient","id":"p"}"#.into());
    Instance::of(&[("a", &lines.iter().map(String::as_str).collect::<Vec<_>>())]).await
}

#[tokio::test]
async fn a_resource_is_in_no_compartment_by_what_its_text_extensions_or_contained_resources_say() {
    let instance = observations(&[
        r#""subject":{"reference":"Patient/p"}"#,
        r#""note":[{"text":"\"subject\":{\"reference\":\"Patient/p\"}"}]"#,
        r#""extension":[{"url":"x","valueReference":{"reference":"Patient/p"}}]"#,
        r#""subject":{"extension":[{"url":"x","valueReference":{"reference":"Patient/p"}}]}"#,
        r#""contained":[{"resourceType":"Observation","id":"x","subject":{"reference":"Patient/p"}}]"#,
        r##""subject":{"reference":"#x"},"contained":[{"resourceType":"Patient","id":"p"}]"##,
        r#""subject":{"display":"Patient/p"}"#,
        r#""subject":{"identifier":{"value":"Patient/p"}}"#,
        r#""subject":"Patient/p""#,
        r#""subject":{"reference":{"reference":"Patient/p"}}"#,
        r#""_subject":{"reference":"Patient/p"}"#,
        r#""focus":[{"reference":"Patient/p"}]"#,
        r#""component":[{"subject":{"reference":"Patient/p"}}]"#,
        r#""reference":"Patient/p""#,
    ])
    .await;
    let expected = ["Group/g", "Observation/1", "Patient/p"];
    instance.expect(&group_level("g"), &expected).await;
    instance.expect(&patient_level(), &["Group/g", "Group/h", "Observation/1", "Patient/p"]).await;
}

#[tokio::test]
async fn a_reference_names_a_patient_however_json_spells_it_and_nothing_else_does() {
    let subject = |text: &str| format!(r#""subject":{{"reference":"{text}"}}"#);
    let texts = [
        "Patient/p",
        "Patient\\/p",
        "\\u0050atient/\\u0070",
        "Patient/p/_history/7",
        "patient/p",
        "/Patient/p",
        "Patient/p/",
        "Patient/p/_history",
        "Patient/p#x",
        "Patient/p?x",
        "Patient?identifier=p",
        "Patient/%70",
        "Patient/p ",
        "Patient/",
        "#p",
        "urn:uuid:Patient/p",
        "https://fhir.example.org/r4/Patient/p",
        "r4/Patient/p",
    ];
    let members = texts.map(subject);
    let instance = observations(&members.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let observations = ["Observation/1", "Observation/2", "Observation/3", "Observation/4"];
    let expected = [&observations[..], &["Group/g", "Patient/p"]].concat();
    instance.expect(&group_level("g"), &expected).await;
}

#[tokio::test]
async fn a_reference_behind_the_base_url_counts_as_one_of_this_server() {
    let lines = [
        r#"{"resourceType":"Observation","id":"1","subject":{"reference":"https://x.org/r4/Patient/p"}}"#,
        r#"{"resourceType":"Observation","id":"2","subject":{"reference":"https:\/\/x.org\/r4\/Patient\/p\/_history\/1"}}"#,
        r#"{"resourceType":"Observation","id":"3","subject":{"reference":"https://x.org/r4x/Patient/p"}}"#,
        r#"{"resourceType":"Observation","id":"4","subject":{"reference":"https://x.org/Patient/p"}}"#,
        r#"{"resourceType":"Observation","id":"5","subject":{"reference":"https://x.org/r4//Patient/p"}}"#,
        r#"{"resourceType":"Observation","id":"6","subject":{"reference":"http://x.org/r4/Patient/p"}}"#,
        r#"{"resourceType":"Observation","id":"7","subject":{"reference":"Patient/p"}}"#,
        r#"{"resourceType":"Group","id":"g","actual":true,"member":[{"entity":{"reference":"https://x.org/r4/Patient/p"}}]}"#,
    ];
    let base_url = Some("https://x.org/r4".into());
    let settings = Settings { base_url, ..Settings::default() };
    let instance = Instance::start(&content(&[("a", &lines)]), settings).await;
    let expected = ["Group/g", "Observation/1", "Observation/2", "Observation/7"];
    instance.expect(&group_level("g"), &expected).await;
    instance.expect(&patient_level(), &expected).await;
}

#[tokio::test]
async fn k_12_a_reference_behind_the_servers_own_url_counts_as_one_of_this_server() {
    let lines = [
        r#"{"resourceType":"Patient","id":"p_1"}"#,
        r#"{"resourceType":"Observation","id":"1","subject":{"reference":"https://own.org/r4/default/Patient/p_1"},"performer":[{"reference":"https://own.org/r4/default/Organization/o"}]}"#,
        r#"{"resourceType":"Observation","id":"2","subject":{"reference":"https://x.org/r4/Patient/p_1/_history/2"}}"#,
        r#"{"resourceType":"Observation","id":"3","subject":{"reference":"https://own.org/r4/other/Patient/p_1"}}"#,
        r#"{"resourceType":"Organization","id":"o"}"#,
        r#"{"resourceType":"Group","id":"g","actual":true,"member":[{"entity":{"reference":"https://own.org/r4/default/Patient/p_1/_history/1"}}]}"#,
    ];
    let settings = Settings { base_url: Some("https://x.org/r4".into()), ..Settings::default() };
    let mut instance = Instance::start(&content(&[("a", &lines)]), settings).await;
    let mut config = config(&instance.source, &instance.settings);
    config.server.public_url = Some("https://own.org".into());
    let data = InstanceDir::in_memory();
    instance.evanesce = Evanesce::builder().config(config).data_dir(data.path()).start().await.unwrap();
    instance.data = data;
    let found = instance.export(&group_level("g")).await.unwrap();
    assert_eq!(names(&found), ["Group/g", "Observation/1", "Observation/2", "Organization/o", "Patient/p_1"]);
}

/// A resource with a reference at the end of a path, each step through arrays or objects.
fn at_path(resource_type: &str, path: &str, id: &str, patient: &str, arrays: bool) -> String {
    let mut value = serde_json::json!({"reference": format!("Patient/{patient}")});
    for step in path.split('.').rev() {
        value = match arrays {
            // Not the first item, nor the last.
            true => serde_json::json!({step: [{"x": 1}, value, {"display": "x"}]}),
            false => serde_json::json!({step: value}),
        };
    }
    value["resourceType"] = resource_type.into();
    value["id"] = id.into();
    value.to_string()
}

#[tokio::test]
async fn every_path_of_every_compartment_type_is_followed_through_objects_and_arrays() {
    let mut lines = vec![group("g", &["p"])];
    let mut expected = vec!["Group/g".to_string()];
    for (resource_type, paths) in COMPARTMENT {
        for path in *paths {
            for arrays in [false, true] {
                let id = format!("{path}-{arrays}");
                lines.push(at_path(resource_type, path, &id, "p", arrays));
                lines.push(at_path(resource_type, path, &format!("not-{id}"), "q", arrays));
                lines.push(at_path(resource_type, &format!("x.{path}"), &format!("x-{id}"), "p", arrays));
                // Of Groups the one alone that is asked for (P15).
                if *resource_type != "Group" {
                    expected.push(format!("{resource_type}/{id}"));
                }
            }
        }
    }
    assert!(expected.len() > 190);
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let instance = Instance::of(&[("a", &lines)]).await;
    instance.expect(&group_level("g"), &expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn a_resource_of_two_patients_is_in_both_compartments_and_once_in_an_export() {
    let lines = [
        r#"{"resourceType":"Coverage","id":"1","beneficiary":{"reference":"Patient/p"},"subscriber":{"reference":"Patient/q"},"payor":[{"reference":"Patient/p"}]}"#,
        r#"{"resourceType":"Patient","id":"p","link":[{"other":{"reference":"Patient/q"}}]}"#,
        r#"{"resourceType":"Patient","id":"q"}"#,
        &group("p", &["p"]),
        &group("q", &["q"]),
        &group("both", &["p", "q"]),
    ];
    let instance = Instance::of(&[("a", &lines)]).await;
    instance.expect(&group_level("p"), &["Coverage/1", "Group/p", "Patient/p"]).await;
    // A link from p to q puts p into the compartment of q.
    instance.expect(&group_level("q"), &["Coverage/1", "Group/q", "Patient/p", "Patient/q"]).await;
    let both = ["Coverage/1", "Group/both", "Patient/p", "Patient/q"];
    instance.expect(&group_level("both"), &both).await;
    instance.expect(&patient_level(), &[&both[..], &["Group/p", "Group/q"]].concat()).await;
}

#[tokio::test]
async fn a_provenance_is_where_its_targets_are_if_none_of_them_is_a_patient() {
    let provenance = |id: &str, targets: &[&str]| {
        let targets: Vec<_> = targets.iter().map(|name| serde_json::json!({"reference": name})).collect();
        serde_json::json!({"resourceType": "Provenance", "id": id, "target": targets}).to_string()
    };
    let lines = [
        observation("p", r#""subject":{"reference":"Patient/p"}"#),
        observation("q", r#""subject":{"reference":"Patient/q"}"#),
        observation("nobody", r#""status":"final""#),
        r#"{"resourceType":"Organization","id":"o"}"#.into(),
        group("g", &["p"]),
        provenance("patient", &["Patient/p"]),
        provenance("other-patient", &["Patient/q", "Observation/p"]),
        provenance("target", &["Observation/p"]),
        provenance("version", &["Organization/o", "Observation/p/_history/1"]),
        provenance("two", &["Observation/q", "Observation/p"]),
        provenance("other", &["Observation/q"]),
        provenance("none", &["Observation/nobody", "Organization/o", "Observation/missing"]),
        provenance("second-hand", &["Provenance/target"]),
    ];
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let instance = Instance::of(&[("a", &lines)]).await;
    let of_p = ["Provenance/patient", "Provenance/target", "Provenance/version"];
    instance.expect(&only(group_level("g"), &["Provenance"]), &of_p).await;
    let more = ["Provenance/other-patient", "Provenance/other", "Provenance/two"];
    instance.expect(&only(patient_level(), &["Provenance"]), &[&of_p[..], &more].concat()).await;
}

#[tokio::test]
async fn a_member_that_is_not_in_the_source_has_a_compartment_all_the_same() {
    let subject = r#""subject":{"reference":"Patient/nobody"}"#;
    let (observation, group) = (observation("1", subject), group("g", &["nobody"]));
    let instance = Instance::of(&[("a", &[&observation, &group])]).await;
    instance.expect(&group_level("g"), &["Group/g", "Observation/1"]).await;
    instance.expect(&patient_level(), &["Group/g", "Observation/1"]).await;
}
