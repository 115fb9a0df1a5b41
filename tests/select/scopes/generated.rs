//! The same over a generated source: exports with scopes against exports that ask for no more, and
//! the URLs of Binaries that are handed out.

use evanesce::config::StoredForm;
use evanesce::job::ProofSigner;

use super::*;
use crate::support::generate;

/// A generated source, with attachments.
fn generated() -> TempDir {
    let folder = scratch();
    generate(folder.path(), 40, 5, &["--groups", "1", "--recent", "0.3", "--mess"]);
    let patients = std::fs::read_to_string(folder.path().join("Patient.ndjson")).unwrap();
    let document = |(n, line): (usize, &str)| {
        let patient: Value = serde_json::from_str(line).ok()?;
        let subject = json!({"reference": format!("Patient/{}", patient["id"].as_str()?)});
        let content =
            json!([{"attachment": {"url": "Binary/a"}}, {"attachment": {"url": format!("Binary/{n}")}}]);
        let status = if n.is_multiple_of(2) { "current" } else { "superseded" };
        Some(json!({"resourceType": "DocumentReference", "id": format!("d{n}"), "status": status, "subject": subject, "content": content}).to_string())
    };
    let documents: Vec<_> = patients.lines().enumerate().filter_map(document).collect();
    assert!(documents.len() > 30);
    std::fs::write(folder.path().join("zdocuments.ndjson"), documents.join("\n")).unwrap();
    folder
}

#[tokio::test]
async fn scp_3_scopes_leave_what_asking_for_no_more_would_have_given() {
    let source = generated();
    let part = "system/Patient.rs system/Observation.rs?status=final system/Practitioner.rs \
                system/DocumentReference.rs?status=current system/Provenance.rs system/Encounter.read";
    let types = ["Patient", "Observation", "Practitioner", "DocumentReference", "Provenance", "Encounter"];
    let filters = ["Observation?status=final", "DocumentReference?status=current"];
    for (small, references) in
        [(false, None), (true, None), (false, Some(References::All)), (false, Some(References::None))]
    {
        let settings = Settings { small, references, ..Settings::default() };
        let instance = Instance::over(source.path(), settings).await;
        for level in [Level::System, Level::Patient, Level::Group { id: "cohort-1".into() }] {
            for which in [None, Some(AssociatedData::Latest)] {
                for elements in [&[][..], &["Observation.status", "id"]] {
                    let asked = with(at_level(level.clone()), |asked| {
                        asked.provenances = which;
                        *asked = std::mem::take(asked).with_elements(elements).unwrap();
                    });
                    let expected =
                        instance.export(&filtered(only(asked.clone(), &types), &filters)).await.unwrap();
                    let actual = instance.within(&asked, &access(part)).await;
                    assert!(actual.lines.contains_key("Observation"), "{asked:?}");
                    let (actual, expected) = (Ok(actual), Ok(expected));
                    assert!(actual == expected, "{asked:?}\n{}", difference(&actual, &expected));
                }
            }
        }
    }
}

/// The URLs of Binaries in the files of a job, which are compressed, by what stands behind the last
/// part of their path.
fn handed_out(folder: &Path) -> Vec<(String, String)> {
    let mut urls = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "zst") {
            let text = zstd::decode_all(&crate::support::read_stored(&path).unwrap()[..]).unwrap();
            for line in String::from_utf8(text).unwrap().lines() {
                let json: Value = serde_json::from_str(line).unwrap();
                for content in json["content"].as_array().into_iter().flatten() {
                    let Some(url) = content["attachment"]["url"].as_str() else { continue };
                    let path = url.strip_prefix(&format!("{BASE_URL}/Binary/")).unwrap();
                    let (id, query) = path.split_once('?').unwrap();
                    urls.push((id.to_string(), format!("?{query}")));
                }
            }
        }
    }
    urls
}

const BASE_URL: &str = "https://h.example.org/r4/default";

#[tokio::test]
async fn o_4_urls_of_binaries_are_handed_out_with_a_proof_and_estimates_know() {
    let source = generated();
    let mut instance = Instance::over(source.path(), Settings::default()).await;
    let mut config = config(source.path(), &Settings::default());
    (config.storage.min_free, config.export.stored) = (0, StoredForm::Zstd);
    let data = InstanceDir::in_memory();
    instance.evanesce = Evanesce::builder().config(config).data_dir(data.path()).start().await.unwrap();
    instance.data = data;
    for organize_by in [None, Some(OrganizeBy::Patient)] {
        for (scopes, expected) in [("system/*.rs", 80), ("system/DocumentReference.rs?status=current", 40)] {
            let job = JobId::random();
            let handout = ProofSigner::new("default".parse().unwrap(), job);
            let kickoff = only(patient_level(), &["DocumentReference"]);
            let kickoff = with(kickoff, |asked| asked.organize_by = organize_by);
            let kickoff = Kickoff { base_url: BASE_URL.into(), ..kickoff };
            let request = request(&kickoff, &access(scopes));
            let request = ExportRequest { handout: Some(handout.clone()), ..request };
            instance.evanesce.submit_as(Submission { job, ..Submission::new(request) }).await.unwrap();
            let finished =
                tokio::time::timeout(PATIENCE, instance.evanesce.wait_finished(job)).await.unwrap();
            assert!(matches!(finished, Some(JobState::Complete(_))), "{finished:?}");
            let (estimate, plan, written) = instance.sizes(job);
            assert!(written <= plan && plan <= estimate, "{written}, {plan}, {estimate}: {scopes}");
            let urls = handed_out(&instance.data.path().join("ready").join(job.to_string()));
            assert!(urls.len() >= expected * 3 / 4 && urls.len() <= expected, "{} {scopes}", urls.len());
            for (id, query) in urls {
                assert_eq!(query, handout.query("DocumentReference", &id));
            }
        }
    }
}
