//! What an export holds that may not hold everything (SCP-3, G-4): told by name for each rule, and
//! held against exports that ask for the same by `_type` and `_typeFilter`.

mod generated;

use evanesce::Submission;
use evanesce::auth::Scopes;
use evanesce::job::{AssociatedData, ExportAccess, ExportRequest, OrganizeBy};
use serde_json::{Value, json};

use super::*;

const LAB: &str = "system/Observation.rs?category=laboratory";

/// What a token of these scopes may export.
fn access(scopes: &str) -> ExportAccess {
    scopes.parse::<Scopes>().unwrap().access()
}

fn observation(id: &str, patient: &str, category: &str, status: &str) -> String {
    json!({
        "resourceType": "Observation", "id": id, "status": status,
        "category": [{"coding": [{"code": category}]}],
        "subject": {"reference": format!("Patient/{patient}")},
        "performer": [{"reference": format!("Organization/{id}")}],
    })
    .to_string()
}

fn provenance(id: &str, target: &str) -> String {
    json!({
        "resourceType": "Provenance", "id": id, "recorded": "2024-01-01T00:00:00Z",
        "target": [{"reference": target}], "agent": [{"who": {"reference": "Organization/lab"}}],
    })
    .to_string()
}

fn organization(id: &str) -> String {
    json!({"resourceType": "Organization", "id": id}).to_string()
}

fn source() -> Vec<String> {
    let deleted = ["Observation/gone", "Patient/gone", "Condition/gone", "Organization/gone"];
    let entry = |name: &&str| json!({"request": {"method": "DELETE", "url": name}});
    let entries: Vec<_> = deleted.iter().map(entry).collect();
    let deletions = json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
    vec![
        r#"{"resourceType":"Patient","id":"p"}"#.into(),
        r#"{"resourceType":"Patient","id":"q"}"#.into(),
        observation("lab", "p", "laboratory", "final"),
        observation("early", "p", "laboratory", "preliminary"),
        observation("vital", "p", "vital-signs", "final"),
        observation("other", "q", "laboratory", "final"),
        r#"{"resourceType":"Condition","id":"c","subject":{"reference":"Patient/p"}}"#.into(),
        organization("lab"),
        organization("vital"),
        organization("nobody"),
        provenance("of-lab", "Observation/lab"),
        provenance("of-vital", "Observation/vital"),
        provenance("of-c", "Condition/c"),
        r#"{"resourceType":"ValueSet","id":"v"}"#.into(),
        group("g", &["p"]),
        deletions.to_string(),
    ]
}

async fn instance() -> Instance {
    let lines = source();
    Instance::of(&[("a", &lines.iter().map(String::as_str).collect::<Vec<_>>())]).await
}

fn request(kickoff: &Kickoff, access: &ExportAccess) -> ExportRequest {
    let (tenant, owner) = ("default".parse().unwrap(), "host".parse().unwrap());
    let request = ExportRequest::new(tenant, owner, kickoff.clone(), Timestamp::now());
    ExportRequest { access: access.clone(), ..request }
}

impl Instance {
    /// The job of a request with this access.
    async fn submit_within(&self, kickoff: &Kickoff, access: &ExportAccess) -> JobId {
        self.evanesce.submit_as(Submission::new(request(kickoff, access))).await.unwrap()
    }

    /// What an export with this access holds, and that it was not expected to write less.
    async fn within(&self, kickoff: &Kickoff, access: &ExportAccess) -> Selection {
        let job = self.submit_within(kickoff, access).await;
        let selection = self.finished(job).await;
        let (estimate, plan, written) = self.sizes(job);
        assert!(written <= plan && plan <= estimate, "{written}, {plan}, {estimate}: {kickoff:?}");
        selection
    }

    /// Bytes that a complete job was expected and planned to write, and wrote. A busy index is not
    /// waited for: without an estimate there is nothing to be less than.
    fn sizes(&self, job: JobId) -> (u64, u64, u64) {
        let folder = self.data.path().join("ready").join(job.to_string());
        let json = |name: &str| -> Value {
            serde_json::from_slice(&crate::support::read_stored(&folder.join(name)).unwrap()).unwrap()
        };
        let bytes = |value: &Value| value.as_u64().unwrap();
        let parts = json("job.json");
        let files =
            parts["parts"].as_array().unwrap().iter().flat_map(|part| part["files"].as_array().unwrap());
        let written = files.map(|file| bytes(&file["bytes"])).sum();
        let estimate = json("request.json")["estimate"].as_u64().unwrap_or(u64::MAX);
        (estimate, bytes(&json("plan.json")["bytes"]), written)
    }
}

fn with(kickoff: Kickoff, change: impl FnOnce(&mut Parameters)) -> Kickoff {
    let mut kickoff = kickoff;
    change(&mut kickoff.parameters);
    kickoff
}

fn filtered(kickoff: Kickoff, filters: &[&str]) -> Kickoff {
    with(kickoff, |asked| *asked = std::mem::take(asked).with_type_filters(filters).unwrap())
}

#[tokio::test]
async fn scp_3_an_export_holds_what_the_scopes_cover_and_nothing_else() {
    let instance = instance().await;
    let observations = ["Observation/early", "Observation/lab", "Observation/other", "Observation/vital"];
    let organizations = ["Organization/lab", "Organization/vital"];
    for (kickoff, scopes, expected) in [
        (Kickoff::system(), "system/Patient.rs", vec!["Patient/p", "Patient/q"]),
        (Kickoff::system(), "system/ValueSet.read system/Condition.rs", vec!["Condition/c", "ValueSet/v"]),
        (Kickoff::system(), "system/Patient.r system/Patient.s system/Condition.rs", vec!["Condition/c"]),
        (only(Kickoff::system(), &["Patient", "Condition"]), "system/Condition.read", vec!["Condition/c"]),
        (patient_level(), "system/Observation.rs", observations.to_vec()),
        // Those that are not covered still do not show what they refer to.
        (patient_level(), "system/Condition.rs system/Organization.rs", vec!["Condition/c"]),
        (
            patient_level(),
            "system/Observation.rs system/Organization.rs",
            [&observations[..], &organizations].concat(),
        ),
        // The members of a group are known without a scope for Groups or Patients.
        (group_level("g"), "system/Condition.rs", vec!["Condition/c"]),
        (group_level("g"), LAB, vec!["Observation/early", "Observation/lab"]),
        (group_level("g"), "system/Slot.rs", vec![]),
    ] {
        assert_eq!(
            names(&instance.within(&kickoff, &access(scopes)).await),
            expected,
            "{kickoff:?} {scopes}"
        );
    }
}

#[tokio::test]
async fn scp_2_restrictions_are_alternatives_that_the_clients_own_filters_narrow() {
    let instance = instance().await;
    let vital = "system/Observation.rs?category=vital-signs&status=final";
    let both = format!("{LAB} {vital} system/Patient.rs");
    let observed =
        |ids: &[&str]| -> Vec<String> { ids.iter().map(|id| format!("Observation/{id}")).collect() };
    let kickoff = |filters: &[&str]| filtered(only(Kickoff::system(), &["Observation"]), filters);
    for (scopes, filters, expected) in [
        (LAB, &[][..], &["early", "lab", "other"][..]),
        (vital, &[], &["vital"]),
        (&both, &[], &["early", "lab", "other", "vital"]),
        (LAB, &["Observation?status=final"], &["lab", "other"]),
        (LAB, &["Observation?category=vital-signs"], &[]),
        (LAB, &["Observation?category=vital-signs", "Observation?status=preliminary"], &["early"]),
        (&both, &["Observation?status=final"], &["lab", "other", "vital"]),
        (
            "system/Observation.read system/Observation.rs?status=final",
            &[],
            &["early", "lab", "other", "vital"],
        ),
    ] {
        let selection = instance.within(&kickoff(filters), &access(scopes)).await;
        assert_eq!(names(&selection), observed(expected), "{scopes} {filters:?}");
    }
    // What is filtered for is not in what is left of a resource.
    let cut = with(kickoff(&[]), |asked| {
        *asked = std::mem::take(asked).with_elements(&["Observation.subject"]).unwrap()
    });
    let selection = instance.within(&cut, &access(LAB)).await;
    assert_eq!(names(&selection), observed(&["early", "lab", "other"]));
    assert!(
        selection.lines["Observation"]
            .iter()
            .all(|line| !String::from_utf8_lossy(line).contains("laboratory"))
    );
}

#[tokio::test]
async fn g_4_provenances_go_along_only_if_scopes_cover_them() {
    let instance = instance().await;
    for which in [AssociatedData::Latest, AssociatedData::Relevant] {
        let kickoff = |types| with(only(patient_level(), types), |asked| asked.provenances = Some(which));
        for (types, scopes, expected) in [
            (&["Condition"][..], "system/Condition.rs", &["Condition/c"][..]),
            (&["Condition"], "system/Condition.rs system/Provenance.rs", &["Condition/c", "Provenance/of-c"]),
            (&[], "system/Provenance.rs system/Condition.rs", &["Condition/c", "Provenance/of-c"]),
            (&[], "system/Condition.rs system/Provenance.rs?target=Condition/x", &["Condition/c"]),
        ] {
            let selection = instance.within(&kickoff(types), &access(scopes)).await;
            assert_eq!(names(&selection), expected, "{which:?} {types:?} {scopes}");
        }
    }
}

#[tokio::test]
async fn g_4_deletions_are_told_of_types_only_that_scopes_cover_whole() {
    let instance = instance().await;
    let since = aged(Kickoff::system(), instant("2020-01-01T00:00:00Z"), None);
    for (kickoff, scopes, expected) in [
        (since.clone(), "system/Condition.rs", &["-Condition/gone", "Condition/c"][..]),
        (since.clone(), "system/Condition.rs?code=x", &[]),
        (since.clone(), "system/Slot.rs system/Organization.rs?name=x system/Group.rs?code=x", &[]),
        (
            only(since, &["Condition", "Patient"]),
            "system/Condition.rs system/Observation.rs",
            &["-Condition/gone", "Condition/c"],
        ),
    ] {
        let selection = instance.within(&kickoff, &access(scopes)).await;
        assert_eq!(names(&selection), expected, "{scopes}");
    }
}

/// Names of resources in the blocks of an organized export, each after that of its patient.
async fn blocks(instance: &Instance, kickoff: &Kickoff, access: &ExportAccess) -> (Vec<String>, Vec<String>) {
    let kickoff = with(kickoff.clone(), |asked| asked.organize_by = Some(OrganizeBy::Patient));
    let job = instance.submit_within(&kickoff, access).await;
    let finished = tokio::time::timeout(PATIENCE, instance.evanesce.wait_finished(job)).await.unwrap();
    assert!(matches!(finished, Some(JobState::Complete(_))), "{finished:?}");
    let (estimate, plan, written) = instance.sizes(job);
    assert!(written <= plan && plan <= estimate, "{written}, {plan}, {estimate}: {kickoff:?}");
    let folder = instance.data.path().join("ready").join(job.to_string());
    let (mut named, mut told) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "ndjson") {
            continue;
        }
        let mut patient = String::new();
        for line in crate::support::read_stored_text(&path).lines() {
            let json: Value = serde_json::from_str(line).unwrap();
            match json["resourceType"].as_str().unwrap() {
                "Parameters" => {
                    let reference = &json["parameter"][0]["valueReference"]["reference"];
                    patient = reference.as_str().unwrap().into();
                }
                "OperationOutcome" => {
                    told.push(json["issue"][0]["details"]["text"].as_str().unwrap().to_string());
                }
                kind => named.push(format!("{patient}: {kind}/{}", json["id"].as_str().unwrap())),
            }
        }
    }
    named.sort();
    (named, told)
}

#[tokio::test]
async fn g_4_blocks_of_patients_hold_what_the_scopes_cover_and_nothing_else() {
    let instance = instance().await;
    let of_p =
        |names: &[&str]| -> Vec<String> { names.iter().map(|name| format!("Patient/p: {name}")).collect() };
    let whole = "system/Condition.rs system/Organization.rs system/Provenance.rs system/Observation.read";
    for (scopes, provenances, expected) in [
        ("system/Patient.rs", None, &["Patient/p"][..]),
        ("system/Condition.rs", None, &["Condition/c"]),
        ("system/Slot.rs", None, &[]),
        (LAB, None, &["Observation/early", "Observation/lab"]),
        ("system/Condition.rs", Some(AssociatedData::Relevant), &["Condition/c"]),
        (
            "system/Condition.rs system/Provenance.rs",
            Some(AssociatedData::Relevant),
            &["Condition/c", "Provenance/of-c"],
        ),
        (
            whole,
            None,
            &[
                "Condition/c",
                "Observation/early",
                "Observation/lab",
                "Observation/vital",
                "Organization/lab",
                "Organization/vital",
                "Provenance/of-c",
                "Provenance/of-lab",
                "Provenance/of-vital",
            ],
        ),
    ] {
        let kickoff = with(group_level("g"), |asked| asked.provenances = provenances);
        let (named, told) = blocks(&instance, &kickoff, &access(scopes)).await;
        assert_eq!(named, of_p(expected), "{scopes}");
        // How many resources there are that the scopes may not cover is not told.
        let has_numbers = told.iter().any(|text| text.starts_with(|first: char| first.is_ascii_digit()));
        assert!(scopes != LAB || (told.len() == 1 && !has_numbers), "{told:?}");
    }
    let (named, _) =
        blocks(&instance, &Kickoff::system(), &access("system/ValueSet.rs system/Patient.rs")).await;
    assert_eq!(named, ["Patient/p: Patient/p", "Patient/q: Patient/q"]);
}
