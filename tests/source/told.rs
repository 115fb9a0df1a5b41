//! Over HTTP: deletions, attachments, Provenances and single patients, as a client meets them.

use super::*;

const DELETED_AT: &str = "2024-05-05T12:00:00Z";

fn patient(id: &str) -> String {
    format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\"}}\n")
}

fn deletes(names: &[String]) -> String {
    let entry = |name: &String| serde_json::json!({"request": {"method": "DELETE", "url": name}});
    let entries: Vec<_> = names.iter().map(entry).collect();
    let meta = serde_json::json!({"lastUpdated": DELETED_AT});
    let bundle =
        serde_json::json!({"resourceType": "Bundle", "type": "transaction", "meta": meta, "entry": entries});
    format!("{bundle}\n")
}

/// A Bundle as it is told, as text with its keys in order.
fn told(names: &[String]) -> String {
    let bundle: Value = serde_json::from_str(&deletes(names)).unwrap();
    bundle.to_string()
}

/// Lines of the files of one list of the manifest, sorted, and that each count is right.
fn listed(manifest: &Value, list: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for file in manifest[list].as_array().map(Vec::as_slice).unwrap_or_default() {
        let answer = get(file["url"].as_str().unwrap());
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/fhir+ndjson"));
        let lines = lines_of(&answer.body);
        assert_eq!(file["count"], lines.len(), "{file}");
        for line in &lines {
            let json: Value = serde_json::from_slice(line).unwrap();
            assert_eq!(json["resourceType"], file["type"], "{file}");
            all.push(json);
        }
    }
    all.sort_by_key(Value::to_string);
    all
}

/// Kicks an export off by POST with these members of `Parameters.parameter`.
fn post(server: &Server, path: &str, parameters: Value) -> Answer {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
    let agent: ureq::Agent = config.build().into();
    let body = serde_json::json!({"resourceType": "Parameters", "parameter": parameters}).to_string();
    let mut request = agent.post(format!("{}/{path}", server.base));
    for (name, value) in KICKOFF {
        request = request.header(name, value);
    }
    let mut response = request.content_type("application/fhir+json").send(body).unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: response.body_mut().read_to_vec().unwrap() }
}

#[test]
fn mf_6_the_manifest_lists_bundles_of_deletions_to_those_who_ask_for_changes() {
    let names = ["Patient/q".to_string(), "Patient/r".into()];
    let folder = folder_of(patient("p") + &patient("q") + &deletes(&names));
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let manifest = server.export("$export").1;
    assert_eq!(listed(&manifest, "output"), [serde_json::from_str::<Value>(&patient("p")).unwrap()]);
    assert!(manifest.get("deleted").is_none(), "{manifest}");
    let manifest = server.export("$export?_since=2024-01-01T00:00:00Z").1;
    let files = manifest["deleted"].as_array().unwrap();
    assert_eq!((files.len(), &files[0]["type"]), (1, &"Bundle".into()), "{manifest}");
    assert!(files[0]["url"].as_str().unwrap().ends_with("_Bundle.ndjson"), "G-1: {manifest}");
    assert_eq!(listed(&manifest, "deleted"), [serde_json::from_str::<Value>(&told(&names)).unwrap()]);
    let types: Vec<_> = manifest["output"].as_array().unwrap().iter().map(|file| &file["type"]).collect();
    assert_eq!(types, ["Patient"]);
    let manifest = server.export(&format!("$export?_since={DELETED_AT}")).1;
    assert!(manifest.get("deleted").is_none(), "{manifest}");
}

#[test]
fn p12_what_is_deleted_stands_in_no_index_and_no_log_and_a_restart_still_knows_it() {
    let names = ["Patient/mrn-4711".to_string()];
    let folder = folder_of(patient("mrn-4711") + &patient("p"));
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    assert_eq!(listed(&server.export("$export").1, "output").len(), 2);
    append(&folder.path().join("a.ndjson"), deletes(&names).as_bytes());
    let expected = [serde_json::from_str::<Value>(&told(&names)).unwrap()];
    let check = |server: &Server| {
        let manifest = server.export("Patient/$export?_since=2024-01-01T00:00:00Z").1;
        assert_eq!(listed(&manifest, "deleted"), expected);
        assert_eq!(listed(&manifest, "output").len(), 1);
    };
    check(&server);
    server.kill();
    let server = setup.start();
    check(&server);
    assert_eq!(indexed_bytes(&server), 0, "the index was kept");
    for file in index_files(&setup) {
        let content = std::fs::read(&file).unwrap();
        assert!(memchr::memmem::find(&content, b"mrn-4711").is_none(), "{file:?}");
    }
    assert!(!setup.settled_log(&server).contains("mrn-4711"));
}

#[test]
fn o_4_attachments_go_out_with_urls_below_the_base_that_the_client_called() {
    let content = "[{\"attachment\":{\"url\":\"Binary/1\"}}]";
    let document = format!("{{\"resourceType\":\"DocumentReference\",\"id\":\"d\",\"content\":{content}}}\n");
    let folder = folder_of(document);
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let documents = listed(&server.export("$export").1, "output");
    let url = format!("{}/Binary/1", server.base);
    assert_eq!(documents[0]["content"][0]["attachment"]["url"], url);
}

#[test]
fn k_13_the_manifest_lists_provenances_that_are_asked_for_beside_the_types() {
    let provenance = |id: &str, recorded: &str| {
        let target = "[{\"reference\":\"Patient/p\"}]";
        format!(
            "{{\"resourceType\":\"Provenance\",\"id\":\"{id}\",\"recorded\":\"{recorded}\",\"target\":{target}}}\n"
        )
    };
    let (new, old) = (provenance("new", DELETED_AT), provenance("old", "2001-01-01T00:00:00Z"));
    let folder = folder_of(patient("p") + &new + &old);
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    for (asked, expected) in [
        ("", &["p"][..]),
        ("&includeAssociatedData=LatestProvenanceResources", &["p", "new"]),
        ("&includeAssociatedData=RelevantProvenanceResources", &["p", "new", "old"]),
        (
            "&includeAssociatedData=LatestProvenanceResources,RelevantProvenanceResources",
            &["p", "new", "old"],
        ),
    ] {
        let manifest = server.export(&format!("Patient/$export?_type=Patient{asked}")).1;
        let lines = listed(&manifest, "output");
        let ids: Vec<_> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected, "{asked}");
    }
}

#[test]
fn patients_are_exported_by_themselves_and_unknown_ones_are_refused_without_their_id() {
    let group = "{\"resourceType\":\"Group\",\"id\":\"g\",\"actual\":true,\"member\":[{\"entity\":{\"reference\":\"Patient/p\"}}]}\n";
    let folder = folder_of(patient("p") + &patient("q") + group);
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let named = |id: &str| serde_json::json!([{"name": "patient", "valueReference": {"reference": format!("Patient/{id}")}}]);
    let answer = post(&server, "Patient/$export", named("q"));
    assert_eq!(answer.status, 202, "{answer:?}");
    let manifest = server.wait_complete(answer.header("content-location"));
    assert_eq!(listed(&manifest, "output"), [serde_json::from_str::<Value>(&patient("q")).unwrap()]);
    for (path, id) in
        [("Patient/$export", "mrn-4711"), ("Group/g/$export", "mrn-4711"), ("Group/g/$export", "q")]
    {
        let answer = post(&server, path, named(id));
        assert_eq!(answer.outcome(), (404, "not-found".into()), "{path}");
        let text = answer.json()["issue"][0]["details"]["text"].as_str().unwrap().to_string();
        assert!(text.contains("patient") && !text.contains("mrn-4711"), "P12: {text}");
    }
    assert!(!setup.settled_log(&server).contains("mrn-4711"), "P12");
}

#[test]
fn an_export_of_deletions_and_attachments_goes_on_after_a_restart() {
    let document = |n: u32| {
        let (text, url) = ("x".repeat(1000), format!("{{\"url\":\"Binary/{n}\"}}"));
        format!("{{\"resourceType\":\"Media\",\"id\":\"{n}\",\"content\":{url},\"note\":\"{text}\"}}\n")
    };
    let mut content: String = (0..400).map(document).collect();
    let names: Vec<_> = (0..6000).map(|n| format!("Patient/{n}")).collect();
    content.extend(names.chunks(60).map(deletes));
    let folder = folder_of(&content);
    let setup = Setup::new().source(folder.path()).set("export.part_bytes=30000").braked(150_000);
    let server = setup.start();
    let polling = server.kickoff("$export?_since=2024-01-01T00:00:00Z");
    server.wait_braked(&polling);
    server.kill();
    setup.release_brake();
    let server = setup.start();
    let polling = format!("{}/bulk-api/request/{}", server.base, job_id(&polling));
    let manifest = server.wait_complete(&polling);
    let documents = listed(&manifest, "output");
    let is_absolute = |document: &&Value| {
        let url = document["content"]["url"].as_str().unwrap();
        url.ends_with(&format!("/r4/default/Binary/{}", document["id"].as_str().unwrap()))
    };
    assert_eq!(documents.iter().filter(is_absolute).count(), 400);
    let mut expected: Vec<Value> =
        names.chunks(60).map(|names| serde_json::from_str(&told(names)).unwrap()).collect();
    expected.sort_by_key(Value::to_string);
    assert!(listed(&manifest, "deleted") == expected);
}
