//! The parameter `patient`: only the compartments of these, all of whom must be known.

use super::*;

fn of(patients: &[&str], kickoff: Kickoff) -> Kickoff {
    let patients = patients.iter().map(|id| id.to_string()).collect();
    Kickoff { parameters: Parameters { patients, ..kickoff.parameters }, ..kickoff }
}

const LINES: [&str; 8] = [
    r#"{"resourceType":"Patient","id":"p"}"#,
    r#"{"resourceType":"Patient","id":"q"}"#,
    r#"{"resourceType":"Observation","id":"1","subject":{"reference":"Patient/p"},"performer":[{"reference":"Practitioner/a"}]}"#,
    r#"{"resourceType":"Observation","id":"2","subject":{"reference":"Patient/q"}}"#,
    r#"{"resourceType":"Observation","id":"3","subject":{"reference":"Patient/r"}}"#,
    r#"{"resourceType":"Practitioner","id":"a"}"#,
    r#"{"resourceType":"Practitioner","id":"b"}"#,
    r#"{"resourceType":"Group","id":"g","actual":true,"member":[{"entity":{"reference":"Patient/p"}},{"entity":{"reference":"Patient/r"}},{"entity":{"reference":"Patient/nobody"}}]}"#,
];

#[tokio::test]
async fn only_the_compartments_of_the_patients_that_are_named_are_exported() {
    let instance = Instance::of(&[("a", &LINES)]).await;
    for kickoff in [patient_level(), group_level("g"), group_level("All_Patients")] {
        let expected = ["Observation/1", "Patient/p", "Practitioner/a"];
        instance.expect(&of(&["p"], kickoff.clone()), &expected).await;
        // A compartment without its Patient is one.
        instance.expect(&of(&["r"], kickoff.clone()), &["Observation/3"]).await;
        instance.expect(&of(&["nobody"], kickoff.clone()), &[]).await;
        let both = [&expected[..], &["Observation/3"]].concat();
        instance.expect(&of(&["r", "p"], kickoff), &both).await;
    }
    instance.expect(&of(&["q"], patient_level()), &["Observation/2", "Patient/q"]).await;
}

#[tokio::test]
async fn patients_that_are_unknown_or_no_members_are_refused_at_the_kick_off() {
    let instance = Instance::of(&[("a", &LINES)]).await;
    let not_found = FailureReason::PatientNotFound;
    let unknown: [&[&str]; 4] = [&["x"], &["p", "x"], &["P"], &["p/_history/1"]];
    for patients in unknown {
        instance.expect_refusal(&of(patients, patient_level()), not_found).await;
        instance.expect_refusal(&of(patients, group_level("g")), not_found).await;
    }
    let others: [&[&str]; 2] = [&["q"], &["p", "q"]];
    for patients in others {
        instance.expect_refusal(&of(patients, group_level("g")), not_found).await;
    }
    // The group is looked at first.
    instance.expect_refusal(&of(&["x"], group_level("x")), FailureReason::GroupNotFound).await;
}

#[tokio::test]
async fn mf_6_a_patient_that_was_deleted_is_known() {
    let deleted = r#"{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"DELETE","url":"Patient/gone"}}]}"#;
    let instance = Instance::of(&[("a", &LINES), ("b", &[deleted])]).await;
    let kickoff = of(&["gone"], patient_level());
    instance.expect(&kickoff, &[]).await;
    instance.expect(&aged(kickoff, instant("2024-01-01T00:00:00Z"), None), &["-Patient/gone"]).await;
}
