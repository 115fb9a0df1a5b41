//! The built-in exporter's estimates against what is written: over all levels and parameters,
//! never less, and not much more.

use std::path::Path;

use evanesce::config::{Config, References};
use evanesce::generate::{Options, generate};
use evanesce::job::{JobState, Level, Parameters};
use evanesce::{Evanesce, Kickoff};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::PATIENCE;

const MIDDLE: &str = "2026-01-01T00:00:00Z";

/// What an export was expected to write, planned to write, and wrote.
struct Sizes {
    estimate: u64,
    plan: u64,
    written: u64,
}

fn sources() -> Vec<(&'static str, TempDir)> {
    let source = |patients, mess| {
        let folder = tempfile::tempdir().unwrap();
        let share = |text: &str| text.parse().unwrap();
        let options = Options {
            groups: 1,
            undated: share("0.1"),
            recent: share("0.3"),
            mess,
            ..Options::new(patients, 5, folder.path())
        };
        generate(&options, &mut |_| {}).unwrap();
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
                let types = types.split(',').filter(|it| !it.is_empty()).map(String::from).collect();
                let instant = |text: &str| text.parse().unwrap();
                let (since, until) = (since.map(instant), until.map(instant));
                let parameters = Parameters { types, since, until, ..Parameters::default() };
                kickoffs.push(Kickoff { parameters, ..Kickoff::new(level.clone()) });
            }
        }
    }
    kickoffs
}

async fn sizes(evanesce: &Evanesce, data: &Path, kickoff: Kickoff) -> Sizes {
    let job = evanesce.submit(kickoff, "host".parse().unwrap()).await.unwrap();
    let finished = tokio::time::timeout(PATIENCE, evanesce.wait_finished(job)).await.unwrap();
    let Some(JobState::Complete(completion)) = finished else { panic!("{finished:?}") };
    let document = |name: &str| -> Value {
        let path = data.join("ready").join(job.to_string()).join(name);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let estimate = document("request.json")["estimate"].as_u64().unwrap();
    let plan = document("plan.json")["bytes"].as_u64().unwrap();
    Sizes { estimate, plan, written: completion.bytes }
}

#[tokio::test]
async fn an_estimate_is_never_less_than_what_is_written_and_not_much_more() {
    let mut seen = 0;
    for (name, source) in sources() {
        for references in [References::Referenced, References::All, References::None] {
            let data = tempfile::tempdir().unwrap();
            let mut config = Config::default();
            config.storage.min_free = 0;
            config.source.folder = source.path().into();
            config.export.references = references;
            let evanesce = Evanesce::builder().config(config).data_dir(data.path()).start().await.unwrap();
            let mut most = 1.0_f64;
            for kickoff in kickoffs() {
                let what = format!("{name}, {references:?}, {kickoff:?}");
                // Which of them go with everybody is not looked at before the plan.
                let is_bound = references == References::Referenced
                    && !matches!(&kickoff.level, Level::Group { id } if id == "cohort-1");
                let Sizes { estimate, plan, written } = sizes(&evanesce, data.path(), kickoff).await;
                assert!(written <= plan && plan <= estimate, "{written}, {plan}, {estimate}: {what}");
                let slack = if is_bound { 100_000 } else { 1000 };
                assert!(estimate <= written + written / 50 + slack, "{written}, {estimate}: {what}");
                assert!(plan <= written + written / 50 + 1000, "{written}, {plan}: {what}");
                if written > 100_000 {
                    most = most.max(estimate as f64 / written as f64);
                }
                seen += 1;
            }
            println!("{name}, {references:?}: at most {most:.4} of what was written");
        }
    }
    assert_eq!(seen, 3 * 3 * 72);
}
