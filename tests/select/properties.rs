//! Random sources, all their exports compared with the oracle's. `PROPTEST_CASES` asks for
//! another number of sources than the default, for each of the properties.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::random::{Levels, Rich, case};
use evanesce::job::AssociatedData;

use super::*;

fn check(sources: u32, rich: Rich) {
    let mut config = Config { failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    config.max_shrink_time = 15_000;
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = sources;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&case(rich), |case| {
        runtime.block_on(async {
            let instance = Instance::start(&case.files, case.settings.clone()).await;
            instance.compare(&case.kickoffs).await.map_err(TestCaseError::fail)
        })
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

const PLAIN: Rich =
    Rich { versions: false, bounds: false, levels: Levels::System, settings: false, more: false };

const ALL: Rich = Rich { versions: true, bounds: true, levels: Levels::Any, settings: true, more: true };

#[test]
fn a_system_export_has_every_resource_of_the_types_asked_for() {
    check(10, PLAIN);
}

#[test]
fn a_system_export_has_the_last_version_of_each_resource() {
    check(10, Rich { versions: true, ..PLAIN });
}

#[test]
fn a_system_export_is_bounded_in_time() {
    check(10, Rich { bounds: true, ..PLAIN });
}

#[test]
fn a_patient_export_has_the_compartments_of_all_patients_and_what_they_refer_to() {
    check(10, Rich { levels: Levels::Patient, ..PLAIN });
}

#[test]
fn a_group_export_has_the_compartments_of_its_members_and_what_they_refer_to() {
    check(10, Rich { levels: Levels::Group, ..PLAIN });
}

#[test]
fn every_export_is_what_the_oracle_selects() {
    check(30, ALL);
}

/// A random source is worth something only if it has in it what can go wrong.
#[test]
fn the_random_sources_have_all_that_the_properties_are_about() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = case(ALL);
    let mut seen = BTreeMap::<&str, usize>::new();
    for _ in 0..300 {
        let case = strategy.new_tree(&mut runner).unwrap().current();
        let source = case.settings.source(&case.files);
        let mut see = |what, happened: bool| *seen.entry(what).or_default() += usize::from(happened);
        for kickoff in &case.kickoffs {
            let ask = |kickoff: &Kickoff, references| source.select(kickoff, references);
            let selection = match ask(kickoff, References::Referenced) {
                Ok(selection) => selection,
                Err(reason) => {
                    see("groups that are none", reason == FailureReason::GroupNotFound);
                    see("groups of groups", reason == FailureReason::GroupNested);
                    see("patients that are none", reason == FailureReason::PatientNotFound);
                    continue;
                }
            };
            see("broken lines", selection.broken > 0);
            see("deletions", !selection.deleted.is_empty());
            let asked = &kickoff.parameters;
            let untouched = Kickoff { base_url: String::new(), ..kickoff.clone() };
            let untouched = ask(&untouched, References::Referenced).unwrap();
            see("attachments", untouched != selection);
            let is_about_some = !asked.patients.is_empty();
            see("deletions told about some patients", is_about_some && !selection.deleted.is_empty());
            let with = |provenances| {
                let parameters = Parameters { provenances, ..asked.clone() };
                let asked = ask(&Kickoff { parameters, ..kickoff.clone() }, References::Referenced);
                asked.unwrap().lines.remove("Provenance")
            };
            let [none, relevant, latest] =
                [None, Some(AssociatedData::Relevant), Some(AssociatedData::Latest)].map(with);
            see("provenances that are not the latest", relevant != latest);
            see("provenances that are not asked for", none != relevant);
            let count = |selection: &Selection| names(selection).len();
            if kickoff.level != Level::System {
                let with = |references| count(&ask(kickoff, references).unwrap());
                let (none, all) = (with(References::None), with(References::All));
                see("references that go along", none < count(&selection));
                see("references that do not", count(&selection) < all);
            }
            let unbounded = aged(kickoff.clone(), None, None);
            let unbounded = ask(&unbounded, References::Referenced).unwrap();
            see("resources that are too old or too young", count(&selection) < count(&unbounded));
            see("resources that are neither", kickoff.parameters.since.is_some() && count(&selection) > 0);
            // Those that are in a compartment because of what they target.
            let provenances = |selection: &Selection| selection.lines.get("Provenance").map_or(0, Vec::len);
            if matches!(&kickoff.level, Level::Group { id } if id != "All_Patients") {
                let everybody = ask(&patient_level(), References::Referenced).unwrap();
                see("groups that have not everything", (1..count(&everybody)).contains(&count(&selection)));
                see("provenances", provenances(&selection) > 0);
            }
        }
    }
    assert_eq!(seen.len(), 15, "{seen:?}");
    assert!(seen.values().all(|times| *times >= 10), "{seen:?}");
}
