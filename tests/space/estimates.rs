//! The built-in exporter's estimates against what is written: over all levels and parameters,
//! never less, and not much more. Where the sums of the index do not say enough there is none.

use std::path::Path;

use evanesce::config::{Config, ReferencePolicy};
use evanesce::fhir::ResourceType;
use evanesce::job::{AssociatedData, JobState, Level, Parameters};
use evanesce::{Evanesce, Kickoff};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{InstanceDir, PATIENCE, generate};

const MIDDLE: &str = "2026-01-01T00:00:00Z";

/// What an export was expected to write, planned to write, and wrote.
struct Sizes {
    estimate: Option<u64>,
    plan: u64,
    written: u64,
}

/// Whether an export has an estimate, which the sums of the index decide.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    /// It has one, within a few percent of the truth.
    Closely,
    /// If it has one, it is within an eighth of the truth, or 64 KiB.
    Perhaps,
}

impl Sizes {
    fn check(&self, known: Known, what: &str) {
        let Self { estimate, plan, written } = *self;
        assert!(written <= plan && plan <= written + written / 50 + 1000, "{written}, {plan}: {what}");
        let most = match known {
            Known::Closely => written + written / 50 + 1000,
            Known::Perhaps => written + written / 7 + (64 << 10) + 1000,
        };
        let is_right = |estimate| plan <= estimate && estimate <= most;
        assert!(estimate.map_or(known == Known::Perhaps, is_right), "{plan}, {estimate:?}: {what}");
    }
}

/// Whether the export is about everybody, and nothing in it goes by what else is in it.
fn known(kickoff: &Kickoff, references: ReferencePolicy) -> Known {
    let Parameters { types, provenances, patients, .. } = &kickoff.parameters;
    let is_of_some =
        matches!(&kickoff.level, Level::Group { id } if id == "cohort-1") || !patients.is_empty();
    let is_reference = |it: &ResourceType| ["Organization", "Practitioner", "Slot"].contains(&it.as_str());
    let follows = kickoff.level != Level::System
        && references == ReferencePolicy::Referenced
        && (types.is_empty() || types.iter().any(is_reference));
    if is_of_some || follows || provenances.is_some() { Known::Perhaps } else { Known::Closely }
}

fn sources() -> Vec<(&'static str, TempDir)> {
    let source = |patients, mess: bool| {
        let folder = tempfile::tempdir().unwrap();
        let mut arguments = vec!["--groups", "1", "--undated", "0.1", "--recent", "0.3"];
        arguments.extend(mess.then_some("--mess"));
        generate(folder.path(), patients, 5, &arguments);
        folder
    };
    vec![("tidy", source(60, false)), ("messy", source(60, true)), ("few", source(3, true))]
}

fn kickoffs() -> Vec<Kickoff> {
    let group = |id: &str| Level::Group { id: id.into() };
    let levels = [Level::System, Level::Patient, group("All_Patients"), group("cohort-1")];
    let types =
        ["", "Patient", "Observation,Organization", "Organization,Practitioner", "Provenance", "Slot"];
    let ages = [(None, None), (Some(MIDDLE), None), (None, Some(MIDDLE))];
    let mut kickoffs = Vec::new();
    for level in &levels {
        for types in types {
            for (since, until) in ages {
                let types: Vec<_> = types.split(',').filter(|it| !it.is_empty()).collect();
                let instant = |text: &str| text.parse().unwrap();
                let (since, until) = (since.map(instant), until.map(instant));
                let parameters = Parameters { since, until, ..Parameters::default() };
                let parameters = parameters.with_types(&types).unwrap();
                kickoffs.push(Kickoff { parameters, ..Kickoff::new(level.clone()) });
            }
        }
    }
    kickoffs
}

/// An index that is busy for longer than a kick-off waits gives no estimate; then the export is asked
/// for again.
async fn sizes(evanesce: &Evanesce, data: &Path, kickoff: Kickoff, known: Known) -> Sizes {
    for _ in 0..100 {
        let job = evanesce.submit(kickoff.clone(), "host".parse().unwrap()).await.unwrap();
        let finished = tokio::time::timeout(PATIENCE, evanesce.wait_finished(job)).await.unwrap();
        let Some(JobState::Complete(completion)) = finished else { panic!("{finished:?}") };
        let document = |name: &str| -> Value {
            let path = data.join("ready").join(job.to_string()).join(name);
            serde_json::from_slice(&crate::support::read_stored(&path).unwrap()).unwrap()
        };
        let estimate = document("request.json")["estimate"].as_u64();
        if estimate.is_some() || known == Known::Perhaps {
            let plan = document("plan.json")["bytes"].as_u64().unwrap();
            return Sizes { estimate, plan, written: completion.bytes };
        }
    }
    panic!("no estimate: {kickoff:?}");
}

#[tokio::test]
async fn an_estimate_is_never_less_than_what_is_written_and_not_much_more() {
    let (mut seen, mut unknown) = (0, 0);
    for (name, source) in sources() {
        for references in [ReferencePolicy::Referenced, ReferencePolicy::All, ReferencePolicy::None] {
            let data = InstanceDir::new();
            let mut config = Config::default();
            config.storage.min_free = 0;
            config.source.folder = source.path().into();
            config.export.references = references;
            let evanesce = Evanesce::builder().config(config).data_dir(data.path()).start().await.unwrap();
            let mut most = 1.0_f64;
            for kickoff in kickoffs() {
                let what = format!("{name}, {references:?}, {kickoff:?}");
                let known = known(&kickoff, references);
                let sizes = sizes(&evanesce, data.path(), kickoff, known).await;
                sizes.check(known, &what);
                if let Some(estimate) = sizes.estimate.filter(|_| sizes.written > 100_000) {
                    most = most.max(estimate as f64 / sizes.written as f64);
                }
                unknown += usize::from(sizes.estimate.is_none());
                seen += 1;
            }
            println!("{name}, {references:?}: at most {most:.4} of what was written");
        }
    }
    assert_eq!(seen, 3 * 3 * 72);
    assert!(unknown < seen / 4, "{unknown} have no estimate");
}

/// Of each patient ten documents, six of them with URLs of Binaries, and ten Observations that
/// were deleted, one of each in each Bundle.
fn with_attachments_and_deletions() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), 60, 5, &["--groups", "1"]);
    let patients = std::fs::read_to_string(folder.path().join("Patient.ndjson")).unwrap();
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_string();
    let patients: Vec<_> = patients.lines().map(id).collect();
    let (mut lines, mut bundles) = (Vec::new(), vec![Vec::new(); 10]);
    for patient in &patients {
        let subject = serde_json::json!({"reference": format!("Patient/{patient}")});
        for (n, entries) in bundles.iter_mut().enumerate() {
            let url = match n {
                0..4 => format!("Binary/{patient}-{n}"),
                4 | 5 => format!("Binary/{n}/_history/1"),
                _ => format!("https://elsewhere.example.org/Binary/{n}"),
            };
            let content = serde_json::json!([{"attachment": {"url": url}}, {"attachment": {"url": url}}]);
            let document = serde_json::json!({
                "resourceType": "DocumentReference", "id": format!("with-{patient}-{n}"), "subject": subject,
                "description": "x".repeat(100), "content": content,
            });
            lines.push(document.to_string());
            let id = format!("gone-{patient}-{n}");
            let observation =
                serde_json::json!({"resourceType": "Observation", "id": id, "subject": subject});
            lines.push(observation.to_string());
            let request = serde_json::json!({"method": "DELETE", "url": format!("Observation/{id}")});
            entries.push(serde_json::json!({"request": request}));
        }
    }
    for (n, entries) in bundles.iter().enumerate() {
        let timestamp = if n % 2 == 0 { "2025-01-01T00:00:00Z" } else { "2026-02-01T00:00:00.25+01:00" };
        let bundle = serde_json::json!({
            "resourceType": "Bundle", "type": "transaction", "timestamp": timestamp, "entry": entries,
        });
        lines.push(bundle.to_string());
    }
    std::fs::write(folder.path().join("more.ndjson"), lines.join("\n")).unwrap();
    std::fs::write(folder.path().join("patients"), patients.join("\n")).unwrap();
    folder
}

#[tokio::test]
async fn an_estimate_holds_with_attachments_deletions_provenances_and_single_patients() {
    let source = with_attachments_and_deletions();
    let patients = std::fs::read_to_string(source.path().join("patients")).unwrap();
    let patients: Vec<_> = patients.lines().map(String::from).collect();
    let data = InstanceDir::new();
    let mut config = Config::default();
    config.storage.min_free = 0;
    config.source.folder = source.path().into();
    let evanesce = Evanesce::builder().config(config).data_dir(data.path()).start().await.unwrap();
    let base_url = format!("https://{}.example.org/r4/tenant", "long-name-".repeat(5));
    let mut seen = 0;
    for kickoff in kickoffs() {
        for provenances in [None, Some(AssociatedData::Latest), Some(AssociatedData::Relevant)] {
            for count in [0, 1, 7] {
                let is_of_members = matches!(&kickoff.level, Level::Group { id } if id == "cohort-1");
                if count > 0 && (kickoff.level == Level::System || is_of_members) {
                    continue;
                }
                let patients = patients[..count].to_vec();
                let parameters = Parameters { provenances, patients, ..kickoff.parameters.clone() };
                let kickoff = Kickoff { parameters, base_url: base_url.clone(), ..kickoff.clone() };
                let what = format!("{kickoff:?}");
                let known = known(&kickoff, ReferencePolicy::Referenced);
                sizes(&evanesce, data.path(), kickoff, known).await.check(known, &what);
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 3 * (4 * 18 + 2 * 2 * 18));
}

#[tokio::test]
async fn an_estimate_holds_with_filters_and_with_elements_that_make_resources_longer() {
    let source = tempfile::tempdir().unwrap();
    // The tag is longer than these resources; some cannot be tagged and are told of instead.
    let patient = |n: usize| match n % 10 {
        0 => format!(r#"{{"resourceType":"Patient","id":"p{n}","meta":[],"gender":"male"}}"#),
        n if n % 2 == 0 => format!(r#"{{"resourceType":"Patient","id":"p{n}","gender":"male"}}"#),
        _ => format!(r#"{{"resourceType":"Patient","id":"p{n}","name":[{{"text":"x"}}]}}"#),
    };
    let lines: Vec<_> = (0..1000).map(patient).collect();
    std::fs::write(source.path().join("patients.ndjson"), lines.join("\n")).unwrap();
    let data = InstanceDir::new();
    let mut config = Config::default();
    config.storage.min_free = 0;
    config.source.folder = source.path().into();
    let evanesce = Evanesce::builder().config(config).data_dir(data.path()).start().await.unwrap();
    let mut longest = 0;
    for elements in [&[][..], &["name"], &["Patient.gender"], &["Observation.status"]] {
        for filters in [&[][..], &["Patient?gender=male"], &["Patient?gender=other"]] {
            let parameters = Parameters::default().with_elements(elements).unwrap();
            let parameters = parameters.with_type_filters(filters).unwrap();
            let kickoff = Kickoff { parameters, ..Kickoff::new(Level::Patient) };
            let sizes = sizes(&evanesce, data.path(), kickoff, Known::Closely).await;
            let Sizes { estimate: Some(estimate), plan, written } = sizes else { panic!("no estimate") };
            assert!(
                written <= plan && plan <= estimate,
                "{written}, {plan}, {estimate}: {elements:?} {filters:?}"
            );
            longest = longest.max(written);
        }
    }
    let source = std::fs::metadata(source.path().join("patients.ndjson")).unwrap().len();
    assert!(longest > source + source / 2, "{longest} {source}");
}
