//! `protocol.profile = "soarian"`: Oracle Health's rules where they differ from the standard's
//! (C2 to C4, C10, K-15 to K-18).

use super::*;

fn soarian() -> Setup {
    Setup::new().set("protocol.profile=soarian")
}

/// Polls as Soarian wants it.
fn wait_complete(polling: &str) -> Value {
    eventually("the export", || {
        let answer = send("GET", polling, &KICKOFF);
        assert!(matches!(answer.status, 200 | 202), "{answer:?}");
        (answer.status == 200).then(|| answer.json())
    })
}

#[test]
fn k_16_the_types_are_soarians() {
    let setup = soarian();
    let server = setup.start();
    for (types, status, code) in [
        ("Patient,Device,Location", 202, "processing"),
        ("Goal,CareTeam,Provenance", 202, "processing"),
        ("Patient,Claim", 404, "not-supported"),
        ("Medication,Patient", 404, "not-supported"),
        ("Elephant,Patient", 400, "invalid"),
        ("ValueSet", 404, "not-supported"),
    ] {
        let answer = server.try_kickoff(&format!("Patient/$export?_type={types}"));
        assert_eq!(answer.outcome(), outcome(status, code), "{types}");
    }
    // Without `_type` all of them, and nothing else.
    let answer = server.try_kickoff("Patient/$export");
    let manifest = wait_complete(answer.header("content-location"));
    let files = manifest["output"].as_array().unwrap();
    let types: Vec<_> = files.iter().map(|file| file["type"].as_str().unwrap()).collect();
    assert!(types.contains(&"Patient") && types.contains(&"Organization"), "{types:?}");
    assert!(!types.contains(&"Claim") && !types.contains(&"Medication"), "{types:?}");
}

#[test]
fn k_17_reference_resources_need_a_clinical_type_beside_them() {
    let setup = soarian();
    let server = setup.start();
    for types in [
        "Location",
        "Organization,Practitioner",
        "Location,Organization,Practitioner,Provenance",
        "Provenance,Binary",
    ] {
        let answer = server.try_kickoff(&format!("Patient/$export?_type={types}"));
        assert_eq!(answer.outcome(), outcome(400, "not-supported"), "{types}");
    }
    assert_eq!(server.try_kickoff("Patient/$export?_type=Location,Patient").status, 202);
    // The standard's rule is that something has to come of it (C9).
    let standard = Setup::new();
    let server = standard.start();
    assert_eq!(server.try_kickoff("Patient/$export?_type=Location").outcome(), outcome(400, "not-supported"));
    assert_eq!(server.try_kickoff("Patient/$export?_type=Provenance").status, 202);
    assert_eq!(server.try_kickoff("$export?_type=Location").status, 202);
    drop((server, standard));
    let setup = Setup::new().set("export.references=all");
    assert_eq!(setup.start().try_kickoff("Patient/$export?_type=Location").status, 202);
}

#[test]
fn k_18_binary_is_accepted_and_has_no_file() {
    let setup = soarian();
    let server = setup.start();
    let answer = server.try_kickoff("Patient/$export?_type=Patient,Binary");
    assert_eq!((answer.status, answer.issue()), (202, ("information".into(), "structure".into())));
    assert!(answer.json()["issue"][0]["details"]["text"].as_str().unwrap().contains("handled as contained"));
    let manifest = wait_complete(answer.header("content-location"));
    assert_eq!(manifest["output"][0]["type"], "Patient");
    assert_eq!(manifest["output"].as_array().unwrap().len(), 1);
}

#[test]
fn c2_c3_accept_and_prefer_are_demanded_of_status_and_delete_too() {
    let setup = soarian();
    let server = setup.start();
    let job = server.try_kickoff("Patient/$export").header("content-location").to_string();
    for method in ["GET", "DELETE"] {
        for headers in [&[][..], &KICKOFF[..1], &KICKOFF[1..], &[("Accept", "text/html"), KICKOFF[1]]] {
            let answer = send(method, &job, headers);
            assert_eq!(answer.outcome(), outcome(406, "structure"), "{method} {headers:?}");
        }
    }
    assert!(matches!(send("GET", &job, &KICKOFF).status, 200 | 202));
    assert_eq!(send("DELETE", &job, &KICKOFF).status, 202);
    assert_eq!(send("GET", &job, &KICKOFF).outcome(), outcome(404, "deleted"));
}

#[test]
fn c16_kick_offs_are_by_get_only_and_have_three_parameters() {
    let setup = soarian();
    let server = setup.start();
    let answer = post(&format!("{}/Patient/$export", server.base), &KICKOFF, "");
    assert_eq!((answer.outcome(), answer.header("allow")), (outcome(405, "not-supported"), "GET"));
    for parameter in ["_until=2024-01-01T00:00:00Z", "allowPartialManifests=true", "organizeOutputBy=Patient"]
    {
        let answer = server.try_kickoff(&format!("Patient/$export?{parameter}"));
        assert_eq!(answer.outcome(), outcome(400, "not-supported"), "{parameter}");
        let text = answer.json()["issue"][0]["details"]["text"].as_str().unwrap().to_string();
        assert!(text.contains("supported are _outputFormat, _since, _type."), "{text}");
    }
    let good = "Patient/$export?_type=Patient&_since=2024-01-01T00:00:00Z&_outputFormat=ndjson";
    assert_eq!(server.try_kickoff(good).status, 202);
    assert_eq!(server.try_kickoff(good).outcome(), outcome(409, "duplicate"), "C10: by default");
}

#[test]
fn k_15_exports_of_all_patients_can_be_switched_off() {
    let setup = Setup::new().set("protocol.patient_export=false");
    let server = setup.start();
    let answer = server.try_kickoff("Patient/$export");
    assert_eq!((answer.status, answer.issue()), (501, ("fatal".into(), "not-found".into())));
    assert_eq!(server.try_kickoff("Group/practice-1/$export").status, 202);
}
