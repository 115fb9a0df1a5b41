//! Output that is organized by Patient (O-3), held against the oracle: whose block has what, in
//! which order, and how blocks stand in files.

mod combined;
mod reader;

use evanesce::job::OrganizeBy;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config as ProptestConfig, TestCaseError, TestRunner};
use serde_json::Value;

use super::oracle::Organized;
use super::random::{Levels, Rich, case};
use super::*;
use crate::support::source;

use reader::Reader;

fn organized(kickoff: Kickoff) -> Kickoff {
    let organize_by = Some(OrganizeBy::Patient);
    Kickoff { parameters: Parameters { organize_by, ..kickoff.parameters }, ..kickoff }
}

/// Sizes in bytes: of parts, and of files.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    part: u64,
    file: u64,
}

const LARGE: Sizes = Sizes { part: 64 << 20, file: 1 << 30 };

/// Every block is too large for a stage, or nearly; many are too large for a file.
const TINY: Sizes = Sizes { part: 4096, file: 4096 };

/// Parts of several stages, stages of several blocks.
const MIDDLING: Sizes = Sizes { part: 400_000, file: 150_000 };

impl Instance {
    async fn sized(source: &Path, settings: Settings, sizes: Sizes) -> Self {
        let data = InstanceDir::in_memory();
        let mut config = config(source, &settings);
        (config.export.part_bytes, config.export.max_file_bytes) = (sizes.part, sizes.file);
        let evanesce = Evanesce::builder().config(config).data_dir(data.path()).start().await.unwrap();
        Self { evanesce, settings, source: source.into(), data, _source: None }
    }

    /// An organized export, or why it was refused.
    async fn organize(&self, kickoff: &Kickoff, sizes: Sizes) -> Result<Organized, FailureReason> {
        let submitted = self.submit(organized(kickoff.clone())).await;
        let job = match submitted {
            Ok(job) => job,
            Err(SubmitError::Refused(reason)) => return Err(reason),
            Err(error) => panic!("{error}"),
        };
        let finished = tokio::time::timeout(PATIENCE, self.evanesce.wait_finished(job)).await.unwrap();
        let Some(JobState::Complete(completion)) = finished else { panic!("not complete: {finished:?}") };
        let folder = self.data.path().join("ready").join(job.to_string());
        let read = |name: &str| crate::support::read_stored(&folder.join(name)).unwrap();
        let json = |name: &str| serde_json::from_slice::<Value>(&read(name)).unwrap();
        let (estimate, plan) = (&json("request.json")["estimate"], &json("plan.json")["bytes"]);
        // A busy index is not waited for: without an estimate there is nothing to be less than.
        let (estimate, plan) = (estimate.as_u64().unwrap_or(u64::MAX), plan.as_u64().unwrap());
        let written = completion.bytes;
        assert!(written <= plan && plan <= estimate, "{written}, {plan}, {estimate}: {kickoff:?}");
        let document: JobDocument = serde_json::from_slice(&read("job.json")).unwrap();
        let mut reader = Reader::new(sizes);
        for file in document.parts.iter().flat_map(|part| &part.files) {
            reader.file(file, &read(&file.name));
        }
        Ok(reader.end())
    }

    /// Compares what these give with what the oracle says; only what is there now counts.
    async fn check(&self, kickoffs: &[Kickoff], sizes: Sizes) -> Result<(), String> {
        let references = self.settings.references.unwrap_or(References::Referenced);
        let files = self.files();
        let source = self.settings.source(&files);
        for kickoff in kickoffs {
            let expected = source.organize(kickoff, references);
            let actual = self.organize(kickoff, sizes).await;
            if actual != expected {
                return Err(format!("{sizes:?}: {kickoff:?}\n{}", organized_difference(&actual, &expected)));
            }
        }
        Ok(())
    }
}

fn organized_difference(
    actual: &Result<Organized, FailureReason>,
    expected: &Result<Organized, FailureReason>,
) -> String {
    let (Ok(actual), Ok(expected)) = (actual, expected) else {
        return format!("{:?}, should be {:?}", actual.as_ref().err(), expected.as_ref().err());
    };
    let mut text = format!(
        "left out {}, should be {}; broken {}, should be {}; deleted {:?}, should be {:?}\n",
        actual.left_out, expected.left_out, actual.broken, expected.broken, actual.deleted, expected.deleted
    );
    let show = |lines: Option<&Vec<Vec<u8>>>| {
        let show = |line: &Vec<u8>| clipped(&String::from_utf8_lossy(line), 200);
        lines.map(|lines| lines.iter().map(show).collect::<Vec<_>>().join("\n  ")).unwrap_or_default()
    };
    let ids: BTreeSet<_> = actual.blocks.keys().chain(expected.blocks.keys()).collect();
    for id in ids.into_iter().filter(|id| actual.blocks.get(*id) != expected.blocks.get(*id)).take(3) {
        let (actual, expected) = (show(actual.blocks.get(id)), show(expected.blocks.get(id)));
        writeln!(text, " {id:?}:\n  {actual}\n should be\n  {expected}").unwrap();
    }
    text
}

fn check_random(sources: u32, rich: Rich) {
    let mut config =
        ProptestConfig { failure_persistence: None, max_shrink_iters: 500, ..ProptestConfig::default() };
    config.max_shrink_time = 15_000;
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = sources;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let strategy = (case(rich), proptest::sample::select(vec![LARGE, MIDDLING, TINY]));
    let outcome = TestRunner::new(config).run(&strategy, |(case, sizes)| {
        let folder = scratch();
        for (name, content) in &case.files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        runtime.block_on(async {
            let instance = Instance::sized(folder.path(), case.settings.clone(), sizes).await;
            instance.check(&case.kickoffs, sizes).await.map_err(TestCaseError::fail)
        })
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn o_3_the_blocks_of_random_sources_are_those_of_the_oracle() {
    check_random(25, Rich { versions: true, bounds: true, levels: Levels::Any, settings: true, more: true });
}

#[test]
fn o_3_the_blocks_of_everybody_in_random_sources_are_those_of_the_oracle() {
    check_random(
        10,
        Rich { versions: true, bounds: true, levels: Levels::System, settings: true, more: true },
    );
}

/// What the properties are about happens in the random sources.
#[test]
fn o_3_the_random_sources_have_blocks_of_every_kind() {
    let mut runner = TestRunner::deterministic();
    let strategy =
        case(Rich { versions: true, bounds: true, levels: Levels::Any, settings: true, more: true });
    let mut seen = BTreeMap::<&str, usize>::new();
    for _ in 0..40 {
        let case = strategy.new_tree(&mut runner).unwrap().current();
        let source = case.settings.source(&case.files);
        for kickoff in &case.kickoffs {
            let Ok(found) = source.organize(kickoff, References::Referenced) else { continue };
            let mut see = |what, happened: bool| *seen.entry(what).or_default() += usize::from(happened);
            let mut times = BTreeMap::<&Vec<u8>, usize>::new();
            found.blocks.values().flatten().for_each(|line| *times.entry(line).or_default() += 1);
            see("several blocks", found.blocks.len() > 1);
            see("lines in several blocks", times.values().any(|times| *times > 1));
            see("lines in no block", found.left_out > 0);
            see("deletions", !found.deleted.is_empty());
            see("Provenances that come along", kickoff.parameters.provenances.is_some());
            see("some patients", !kickoff.parameters.patients.is_empty());
            let is_own = |(id, lines): (&String, &Vec<Vec<u8>>)| {
                let json = serde_json::from_slice::<Value>(&lines[0]);
                json.is_ok_and(|json| json["resourceType"] == "Patient" && json["id"] == id.as_str())
            };
            see("blocks without the Patient", found.blocks.iter().any(|block| !is_own(block)));
            see("blocks with the Patient", found.blocks.iter().any(is_own));
        }
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
    assert!(seen.values().all(|times| *times >= 10), "{seen:?}");
}

async fn check_generated(sizes: Sizes, references: References) {
    let instance = Instance::sized(source(), Settings::references(references), sizes).await;
    let mut kickoffs = Vec::new();
    for level in [Level::System, Level::Patient, group_level("practice-1").level] {
        for types in [&[][..], &["Observation", "Organization"]] {
            for since in [None, instant("2024-06-01T00:00:00Z")] {
                kickoffs.push(aged(only(at_level(level.clone()), types), since, None));
            }
        }
    }
    instance.check(&kickoffs, sizes).await.unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[tokio::test]
async fn o_3_the_blocks_of_the_generated_set_are_those_of_the_oracle() {
    check_generated(LARGE, References::Referenced).await;
}

#[tokio::test]
async fn o_3_the_blocks_of_the_generated_set_are_split_over_files_only_if_they_are_larger() {
    check_generated(TINY, References::Referenced).await;
}

#[tokio::test]
async fn o_3_the_blocks_of_the_generated_set_are_written_in_stages() {
    check_generated(MIDDLING, References::All).await;
}

#[tokio::test]
async fn o_3_a_block_has_what_a_group_export_of_its_patient_alone_has() {
    let folder = scratch();
    for file in std::fs::read_dir(source()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    let patients = std::fs::read_to_string(folder.path().join("Patient.ndjson")).unwrap();
    let patients = patients.lines().take(8).map(|line| serde_json::from_str::<Value>(line).unwrap());
    let ids: Vec<_> = patients.map(|json| json["id"].as_str().unwrap().to_string()).collect();
    let groups = ids.iter().map(|id| group(&format!("only-{id}"), &[id]));
    std::fs::write(folder.path().join("zz.ndjson"), groups.collect::<Vec<_>>().join("\n")).unwrap();
    let instance = Instance::sized(folder.path(), Settings::default(), MIDDLING).await;
    let blocks = instance.organize(&patient_level(), MIDDLING).await.unwrap().blocks;
    assert_eq!(blocks.len(), 30);
    for id in ids {
        let selection = instance.export(&group_level(&format!("only-{id}"))).await.unwrap();
        let mut alone: Vec<_> = selection.lines.into_values().flatten().collect();
        let mut block = blocks[&id].clone();
        // Of Groups each export has its own (P15).
        for lines in [&mut alone, &mut block] {
            lines.retain(|line| !String::from_utf8_lossy(line).contains(r#""resourceType":"Group""#));
        }
        [&mut alone, &mut block].into_iter().for_each(|lines| lines.sort());
        assert!(alone == block && block.len() > 10, "{id}: {} lines, {}", alone.len(), block.len());
    }
}

/// The text of the only output file of an export of these lines.
async fn text(kickoff: Kickoff, lines: &[&str]) -> String {
    let folder = scratch();
    std::fs::write(folder.path().join("a"), lines.join("\n")).unwrap();
    let instance = Instance::sized(folder.path(), Settings::default(), LARGE).await;
    instance.check(std::slice::from_ref(&kickoff), LARGE).await.unwrap_or_else(|wrong| panic!("{wrong}"));
    let job = instance.evanesce.submit(organized(kickoff), "host".parse().unwrap()).await.unwrap();
    instance.evanesce.wait_finished(job).await;
    let files = std::fs::read_dir(instance.data.path().join("ready").join(job.to_string())).unwrap();
    let paths =
        files.map(|file| file.unwrap().path()).filter(|path| path.to_str().unwrap().ends_with(".ndjson"));
    let is_output = |path: &PathBuf| path.to_str().unwrap().ends_with("_Patient.ndjson");
    paths.filter(is_output).map(|path| crate::support::read_stored_text(&path)).collect()
}

fn header_of(id: &str) -> String {
    format!(
        r#"{{"resourceType":"Parameters","parameter":[{{"name":"header","valueReference":{{"reference":"Patient/{id}"}}}}]}}"#
    )
}

const ABOUT_P: &str = r#"{"resourceType":"Observation","id":"1","subject":{"reference":"Patient/p"},"performer":[{"reference":"Organization/x"}]}"#;
const ABOUT_NOBODY: &str =
    r#"{"resourceType":"Observation","id":"2","subject":{"reference":"Patient\/nobody"}}"#;
const OF_BOTH: &str = r#"{"resourceType":"RelatedPerson","id":"3","patient":{"reference":"Patient/p"}}"#;
const P: &str = r#"{"resourceType":"Patient","id":"p","link":[{"other":{"reference":"Patient/q"}}]}"#;
const Q: &str =
    r#"{"resourceType":"Patient","id":"q","managingOrganization":{"reference":"Organization/x"}}"#;
const X: &str = r#"{"resourceType":"Organization","id":"x","endpoint":[{"reference":"Endpoint/y"}]}"#;
const Y: &str = r#"{"resourceType":"Endpoint","id":"y"}"#;
const Z: &str = r#"{"resourceType":"Organization","id":"z"}"#;
const ALL: [&str; 8] = [ABOUT_P, ABOUT_NOBODY, OF_BOTH, P, Q, X, Y, Z];

fn lines(of: &[&str]) -> String {
    of.iter().map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn o_3_a_block_is_a_header_the_patient_its_compartment_and_what_that_refers_to() {
    let [p, q, nobody] = ["p", "q", "nobody"].map(header_of);
    let expected = lines(&[&nobody, ABOUT_NOBODY, &p, P, ABOUT_P, OF_BOTH, X, Y, &q, Q, P, X, Y]);
    for level in [Level::System, Level::Patient] {
        assert_eq!(text(at_level(level.clone()), &ALL).await, expected, "{level:?}");
    }
}

#[tokio::test]
async fn o_3_a_block_whose_patient_is_not_selected_still_has_its_header() {
    let kickoff = only(patient_level(), &["Observation", "RelatedPerson"]);
    let [p, nobody] = ["p", "nobody"].map(header_of);
    assert_eq!(text(kickoff, &ALL).await, lines(&[&nobody, ABOUT_NOBODY, &p, ABOUT_P, OF_BOTH]));
}

#[tokio::test]
async fn o_3_a_group_has_the_blocks_of_its_members_only_and_a_patient_without_anything_has_none() {
    let members = group("g", &["q", "r"]);
    let kickoff = only(group_level("g"), &["Patient"]);
    let lines_with = [&ALL[..], &[&members]].concat();
    assert_eq!(text(kickoff, &lines_with).await, lines(&[&header_of("q"), Q, P]));
    assert_eq!(text(only(patient_level(), &["Slot"]), &ALL).await, "");
}

#[tokio::test]
async fn o_3_what_is_in_no_block_is_told_in_the_error_file() {
    let folder = scratch();
    std::fs::write(folder.path().join("a"), ALL.join("\n")).unwrap();
    let mut left_out = Vec::new();
    for references in [References::Referenced, References::All, References::None] {
        let instance = Instance::sized(folder.path(), Settings::references(references), LARGE).await;
        for level in [Level::System, Level::Patient] {
            left_out.push(instance.organize(&at_level(level), LARGE).await.unwrap().left_out);
        }
    }
    // Organization z: everything has it, and so have all references.
    assert_eq!(left_out, [1, 0, 1, 1, 1, 0]);
}

#[tokio::test]
async fn o_3_the_bound_of_a_plan_is_not_much_more_than_what_is_written() {
    let instance = Instance::sized(source(), Settings::default(), LARGE).await;
    let job = instance.evanesce.submit(organized(patient_level()), "host".parse().unwrap()).await.unwrap();
    let Some(JobState::Complete(done)) = instance.evanesce.wait_finished(job).await else { panic!() };
    let plan = instance.data.path().join("ready").join(job.to_string()).join("plan.json");
    let plan = crate::support::read_stored(&plan).unwrap();
    let bound = serde_json::from_slice::<Value>(&plan).unwrap()["bytes"].as_u64().unwrap();
    assert!(done.bytes <= bound && bound <= done.bytes + done.bytes / 20, "{bound}, {}", done.bytes);
    assert!((plan.len() as u64) < 10 * done.resources, "{} bytes, {} lines", plan.len(), done.resources);
}

/// A Group of everybody is in as many blocks as there are patients; its size grows with them too.
#[tokio::test]
async fn o_3_what_belongs_to_a_whole_population_is_in_no_block() {
    for (patients, left_out) in [(100, 0), (101, 3)] {
        let ids: Vec<_> = (0..patients).map(|n| format!("p-{n}")).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let patient = |id: &&str| format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#);
        let group = group("g", &ids)
            .replace("{\"actual", r#"{"managingEntity":{"reference":"Organization/x"},"actual"#);
        assert!(group.contains("managingEntity"));
        let of_group = r#"{"resourceType":"Provenance","id":"v","target":[{"reference":"Group/g"}]}"#;
        let mut all: Vec<_> = ids.iter().map(patient).collect();
        all.extend([group, of_group.into(), X.into()]);
        let folder = scratch();
        std::fs::write(folder.path().join("a"), all.join("\n")).unwrap();
        let instance = Instance::sized(folder.path(), Settings::default(), LARGE).await;
        let kickoffs = [at_level(Level::System), patient_level(), group_level("g")];
        instance.check(&kickoffs, LARGE).await.unwrap_or_else(|wrong| panic!("{wrong}"));
        let found = instance.organize(&kickoffs[0], LARGE).await.unwrap();
        assert_eq!((found.left_out, found.blocks.len()), (left_out, patients));
    }
}
