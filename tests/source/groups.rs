//! Groups over HTTP: whatever the id, the answer is an export or an OperationOutcome that says why
//! not, and never a fault of the server.

use evanesce::config::{Config, DevicePolicy, ReferencePolicy};
use evanesce::export::{
    CancelToken, ExportError, Exporter, Part, PartSummary, PartWriter, Plan, SourceExporter, SourceOptions,
};
use evanesce::fhir::reference::BaseUrls;
use evanesce::index::{Index, IndexCipher, IndexOptions};
use evanesce::job::{ExportRequest, FailureReason, JobState, Level};
use evanesce::source::NdjsonFolder;
use evanesce::{Evanesce, Kickoff};
use serde_json::json;

use super::*;

/// Each byte as a URL has it.
fn encoded(id: &str) -> String {
    id.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn odd_ids() -> Vec<String> {
    let texts = [
        "a b",
        "ü",
        "%",
        "%25",
        "'\";--",
        "..",
        ".",
        "$export",
        "a\\b",
        "\u{1F9EA}",
        "\u{0}",
        "\n",
        "a+b",
        "?x=y",
        "#x",
        "all_patients",
    ];
    texts.iter().map(ToString::to_string).chain(["x".repeat(1000)]).collect()
}

fn kick_off(server: &Server, id: &str) -> Answer {
    server.try_kickoff(&format!("Group/{id}/$export"))
}

const OBSERVATION: &str = r#"{"resourceType":"Observation","id":"o","subject":{"reference":"Patient/p"}}"#;

/// A source of two patients, an observation of the first, and these groups.
fn folder_with(groups: &[Value]) -> TempDir {
    let groups: String = groups.iter().map(|group| format!("{group}\n")).collect();
    folder_of(groups + &resource("Patient", "p", "x") + &resource("Patient", "q", "x") + OBSERVATION)
}

fn group(id: &str, reference: &str) -> Value {
    json!({"resourceType": "Group", "id": id, "actual": true, "member": [{"entity": {"reference": reference}}]})
}

#[test]
fn a_group_is_found_by_any_id_that_it_has_and_by_no_other() {
    let ids = odd_ids();
    // Every other one has another patient.
    let patient = |n: usize| ["p", "q"][n % 2];
    let groups: Vec<_> =
        ids.iter().enumerate().map(|(n, id)| group(id, &format!("Patient/{}", patient(n)))).collect();
    let (there, empty) = (folder_with(&groups), folder_with(&[]));
    let setups = [&there, &empty].map(|folder| Setup::new().source(folder.path()));
    let servers = setups.each_ref().map(Setup::start);
    for (n, id) in ids.iter().enumerate() {
        let answer = kick_off(&servers[0], &encoded(id));
        assert_eq!(answer.status, 202, "{id:?}: {answer:?}");
        let lines = exported(&servers[0].wait_complete(answer.header("content-location")));
        // The patient, his observation if he has one, and the group (P15).
        let group = format!("{}\n", groups[n]);
        let others = [resource("Patient", patient(n), "x"), [OBSERVATION, ""][n % 2].into()];
        let expected: String = [group].into_iter().chain(others).collect();
        assert_same(&lines, &lines_of(expected.as_bytes()));
        assert_eq!(kick_off(&servers[1], &encoded(id)).outcome(), (404, "not-found".into()), "{id:?}");
    }
    for id in ["P", "p", "Group%2Fa", "%FF", "%C3", "%"] {
        let (status, code) = kick_off(&servers[0], id).outcome();
        assert!(matches!((status, code.as_str()), (404, "not-found") | (400, "structure")), "{id}: {status}");
    }
}

#[test]
fn groups_that_are_not_actual_active_or_flat_are_refused() {
    let of = |id: &str, changes: Value| {
        let mut group = group(id, "Patient/p");
        group.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        group
    };
    let folder = folder_with(&[
        of("descriptive", json!({"actual": false})),
        of("unsaid", json!({"actual": null})),
        of("text", json!({"actual": "true"})),
        of("inactive", json!({"active": false})),
        of("nested", json!({"member": [{"entity": {"reference": "Group/inactive"}}]})),
        of("itself", json!({"member": [{"entity": {"reference": "Group/itself"}}]})),
        of("shapeless", json!({"member": {"entity": []}})),
        of("empty", json!({"member": []})),
        of("unknown", json!({"member": [{"entity": {"reference": "Patient/nobody"}}, {}, 7, null]})),
        of("good", json!({"active": true})),
    ]);
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    for (id, status, code) in [
        ("descriptive", 404, "not-found"),
        ("unsaid", 404, "not-found"),
        ("text", 404, "not-found"),
        ("inactive", 404, "not-found"),
        ("nested", 400, "not-supported"),
        ("itself", 400, "not-supported"),
        ("shapeless", 404, "not-found"),
    ] {
        let answer = kick_off(&server, id);
        assert_eq!(
            (answer.outcome(), answer.header("content-location")),
            ((status, code.into()), ""),
            "{id}"
        );
    }
    // A group is in the compartments of its members, also of those that are not there; of groups
    // only the one that is asked for is exported (P15).
    for (id, count) in [("empty", 0), ("unknown", 1), ("good", 3)] {
        let lines = exported(&server.export(&format!("Group/{id}/$export")).1);
        assert_eq!(lines.len(), count, "{id}");
    }
}

#[test]
fn all_patients_is_there_when_nobody_is() {
    let folder = scratch();
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    assert_eq!(kick_off(&server, "All_Patient").outcome(), (404, "not-found".into()));
    let (_, manifest) = server.export("Group/All_Patients/$export");
    assert_eq!(manifest["output"], json!([]));
    std::fs::write(folder.path().join("a"), resource("Patient", "p", "x")).unwrap();
    assert_eq!(exported(&server.export("Group/All_Patients/$export").1).len(), 1);
}

/// Removes a file after the look at a kick-off and before its plan.
struct RemovesFileAtPlan {
    exporter: SourceExporter,
    file: PathBuf,
}

impl Exporter for RemovesFileAtPlan {
    fn check(&self, request: &ExportRequest, cancel: &CancelToken) -> Result<Option<u64>, ExportError> {
        self.exporter.check(request, cancel)
    }

    fn plan(&self, request: &ExportRequest, cancel: &CancelToken) -> Result<Plan, ExportError> {
        std::fs::remove_file(&self.file).unwrap();
        self.exporter.plan(request, cancel)
    }

    fn run(
        &self,
        part: &Part,
        out: &mut PartWriter,
        cancel: &CancelToken,
    ) -> Result<PartSummary, ExportError> {
        self.exporter.run(part, out, cancel)
    }
}

#[tokio::test]
async fn a_group_that_vanishes_behind_the_kick_off_fails_the_export() {
    let (folder, data) = (folder_with(&[group("g", "Patient/p")]), InstanceDir::in_memory());
    let options = IndexOptions {
        folder: data.path().join("host"),
        bases: BaseUrls::default(),
        cipher: IndexCipher::none().into(),
    };
    let source = std::sync::Arc::new(NdjsonFolder::open(folder.path()).unwrap());
    let index = Index::open(source, options).unwrap();
    let options = SourceOptions {
        part_bytes: 1 << 20,
        max_file_bytes: 1 << 30,
        references: ReferencePolicy::Referenced,
        devices: DevicePolicy::ByPatient,
        drop_pages: false,
    };
    let exporter = SourceExporter::new(index, options, false).unwrap();
    let exporter = RemovesFileAtPlan { exporter, file: folder.path().join("a.ndjson") };
    let builder = Evanesce::builder().config(Config::default()).data_dir(data.path()).exporter(exporter);
    let evanesce = builder.start().await.unwrap();
    let kickoff = Kickoff::new(Level::Group { id: "g".into() });
    let job = evanesce.submit(kickoff, "host".parse().unwrap()).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, evanesce.wait_finished(job)).await.unwrap();
    match ended {
        Some(JobState::Failed(failure)) => assert_eq!(failure.reason, FailureReason::GroupNotFound),
        other => panic!("{other:?}"),
    }
}
