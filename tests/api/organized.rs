//! `organizeOutputBy=Patient` as a client meets it (O-3, MF-4, MF-7): the manifest, a server that
//! is killed in the middle, a source that changes meanwhile, a DELETE.

use evanesce::Evanesce;
use evanesce::config::Config;

use super::group::Served;
use super::partial::chain;
use super::*;

/// By the patient in the header: the lines of the block, over all files. Each block is there once.
fn blocks(manifest: &Value) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut blocks = BTreeMap::<String, Vec<Vec<u8>>>::new();
    let mut goes_on = None;
    for file in manifest["output"].as_array().unwrap() {
        let url = file["url"].as_str().unwrap();
        let mut patient = String::new();
        for (n, line) in get(url).body.strip_suffix(b"\n").unwrap().split(|b| *b == b'\n').enumerate() {
            let json: Value = serde_json::from_slice(line).unwrap();
            if json["resourceType"] == "Parameters" {
                let reference = &json["parameter"][0]["valueReference"]["reference"];
                patient = reference.as_str().unwrap().to_string();
                let is_next = n == 0 && goes_on.as_deref() == Some(url);
                let known = blocks.insert(patient.clone(), Vec::new());
                assert!(known.is_none() || is_next, "a second block: {patient}");
                blocks.insert(patient.clone(), known.unwrap_or_default());
            } else {
                blocks.get_mut(&patient).expect("a file begins with a header").push(line.to_vec());
            }
        }
        goes_on = file["continuesInFile"].as_str().map(str::to_string);
    }
    blocks
}

const PATH: &str = "Patient/$export?organizeOutputBy=Patient";

/// Sizes of parts: of one patient each, who is too large to be held in memory; of several stages,
/// which hold several patients.
const PARTS: [u64; 2] = [100_000, 800_000];

/// One whose exports stand still in the middle.
fn braked(part_bytes: u64) -> Setup {
    let setup = Setup::new().set(&format!("export.part_bytes={part_bytes}"));
    setup.set("export.max_file_bytes=80000").braked(300_000)
}

fn fast() -> (Setup, BTreeMap<String, Vec<Vec<u8>>>) {
    let setup = Setup::new();
    let blocks = blocks(&setup.start().export(PATH).1);
    assert_eq!(blocks.len(), 30);
    (setup, blocks)
}

#[test]
fn mf_7_the_manifest_of_an_organized_export_says_so_and_its_output_has_neither_types_nor_counts() {
    let setup = Setup::new();
    let server = setup.start();
    for path in ["$export", "Patient/$export", "Group/practice-1/$export"] {
        let manifest = server.export(&format!("{path}?organizeOutputBy=Patient")).1;
        assert_eq!(manifest["outputOrganizedBy"], "Patient", "{path}");
        for item in manifest["output"].as_array().unwrap() {
            let keys: Vec<_> = item.as_object().unwrap().keys().filter(|key| *key != "extension").collect();
            assert_eq!(keys, ["url"], "MF-4, O-3: neither a type nor a count");
            assert!(item["url"].as_str().unwrap().ends_with("_Patient.ndjson"));
        }
        assert!(!manifest["output"].as_array().unwrap().is_empty());
        for (url, body) in download_all(&manifest) {
            assert!(
                url.ends_with("_OperationOutcome.ndjson")
                    || body.starts_with(b"{\"resourceType\":\"Parameters\"")
            );
        }
    }
    let empty = server.export("Patient/$export?organizeOutputBy=Patient&_type=Flag").1;
    assert_eq!((&empty["outputOrganizedBy"], &empty["output"]), (&"Patient".into(), &Value::Array(vec![])));
    let plain = server.export("Patient/$export").1;
    assert_eq!(plain.get("outputOrganizedBy"), None);
    assert!(plain["output"].as_array().unwrap().iter().all(|item| item["type"].is_string()));
}

#[test]
fn o_3_a_block_that_is_larger_than_a_file_continues_in_the_next_one_of_the_manifest() {
    let setup = Setup::new().set("export.max_file_bytes=20000");
    let server = setup.start();
    let manifest = server.export(PATH).1;
    let output = manifest["output"].as_array().unwrap();
    let continued = output.iter().zip(output.iter().skip(1)).filter(|(item, next)| {
        let goes_on = item.get("continuesInFile");
        assert!(goes_on.is_none_or(|url| *url == next["url"]), "{item}, {next}");
        goes_on.is_some()
    });
    assert!(continued.count() > 30, "{output:?}");
    assert_eq!(output.last().unwrap().get("continuesInFile"), None);
    assert!(blocks(&manifest) == fast().1, "other blocks");
}

/// Kills an organized export in the middle, does something to the source and starts again.
fn resume(part_bytes: u64, change: impl FnOnce(&Path)) -> (Setup, TempDir, Server, String) {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(source()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    let setup = braked(part_bytes).source(folder.path());
    let server = setup.start();
    let polling = server.kickoff(PATH);
    server.wait_braked(&polling);
    server.kill();
    setup.release_brake();
    change(folder.path());
    let server = setup.start();
    let polling = format!("{}/bulk-api/request/{}", server.base, job_id(&polling));
    (setup, folder, server, polling)
}

#[test]
fn o_3_each_block_is_there_once_after_the_server_was_killed_in_the_middle() {
    let expected = fast().1;
    for part_bytes in PARTS {
        let (_setup, _folder, server, polling) = resume(part_bytes, |_| ());
        assert!(blocks(&server.wait_complete(&polling)) == expected, "other blocks: {part_bytes}");
    }
}

#[test]
fn o_3_no_block_is_made_of_a_source_that_is_not_what_was_planned() {
    for part_bytes in PARTS {
        let (setup, _folder, _server, polling) = resume(part_bytes, |folder| {
            let path = folder.join("Observation.ndjson");
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, text.replace("final", "FINAL")).unwrap();
        });
        let answer =
            eventually("the end of the export", || Some(get(&polling)).filter(|it| it.status != 202));
        assert_eq!(answer.status, 500, "parts of {part_bytes} bytes");
        assert_eq!(answer.issue().1, "processing");
        eventually("the partial files to go", || {
            let is_output = |path: &std::path::PathBuf| path.extension() == Some("ndjson".as_ref());
            (!setup.disk().files().iter().any(is_output)).then_some(())
        });
    }
}

#[test]
fn d_2_an_organized_export_that_is_cancelled_in_the_middle_leaves_nothing() {
    let setup = braked(PARTS[0]);
    let server = setup.start();
    let polling = server.kickoff(PATH);
    server.wait_braked(&polling);
    assert_eq!(delete(&polling).status, 202);
    setup.disk().wait_gone(job_id(&polling));
    assert_eq!(get(&polling).outcome(), (404, "deleted".into()));
}

/// A host whose exporter knows nothing of blocks, and its folder.
fn plain_host() -> (InstanceDir, Served) {
    let data = InstanceDir::new();
    let mut config = Config::default();
    config.storage.min_free = 0;
    let builder =
        Evanesce::builder().config(config).data_dir(data.path()).exporter(FakeExporter::writes_patient("p"));
    let host = Served::start(builder);
    (data, host)
}

#[test]
fn mf_7_an_export_that_is_not_organized_although_it_was_asked_for_does_not_say_that_it_is() {
    let (_data, host) = plain_host();
    for path in [PATH.to_string(), format!("{PATH}&allowPartialManifests=true")] {
        let answer = send("GET", &format!("{}/{path}", host.base), &KICKOFF);
        let polling = answer.header("content-location");
        let manifest = eventually("the export", || Some(get(polling)).filter(|it| it.status == 200)).json();
        assert_eq!(manifest.get("outputOrganizedBy"), None, "{path}");
        assert_eq!(manifest["output"][0]["type"], "Patient", "{path}");
    }
}

#[test]
fn mf_8_each_page_of_a_partial_manifest_says_that_the_output_is_organized() {
    let expected = fast().1;
    // One of them has no output at all.
    for (setup, path) in [
        (braked(PARTS[0]), PATH.to_string()),
        (
            Setup::new().set("export.part_bytes=4096").braked(u64::MAX),
            format!("{PATH}&_typeFilter=Patient%3Fgender%3Dother&_type=Patient"),
        ),
    ] {
        let is_filtered = path != PATH;
        let server = setup.start();
        let polling = server.kickoff(&format!("{path}&allowPartialManifests=true"));
        let early = eventually("a page", || Some(chain(&polling)).filter(|pages| !pages.is_empty()));
        setup.release_brake();
        server.wait_complete(&polling);
        let pages = chain(&polling);
        assert!(is_filtered || pages.len() > early.len(), "{} pages", pages.len());
        assert!(early.iter().chain(&pages).all(|page| page["outputOrganizedBy"] == "Patient"), "{path}");
        let output = pages.iter().flat_map(|page| page["output"].as_array().unwrap()).cloned();
        let output: Vec<Value> = output.collect();
        assert!(output.iter().all(|item| item.get("type").is_none()), "MF-4");
        let whole = serde_json::json!({"output": output});
        assert!(if is_filtered { output.is_empty() } else { blocks(&whole) == expected }, "{path}");
    }
}

#[test]
fn o_3_blocks_are_stored_compressed_as_other_files_are() {
    let expected = fast().1;
    for (stored, suffix) in [("zstd", ".zst"), ("gzip", ".gz")] {
        let setup = Setup::new().set(&format!("export.stored={stored}"));
        let setup = setup.set("export.max_file_bytes=20000").set("export.checksums=true");
        let server = setup.start();
        let manifest = server.export(PATH).1;
        assert!(blocks(&manifest) == expected, "other blocks: {stored}");
        let output = manifest["output"].as_array().unwrap();
        assert!(output.iter().any(|item| item.get("continuesInFile").is_some()));
        let files = setup.disk().files();
        for item in output {
            let (url, extension) = (item["url"].as_str().unwrap(), &item["extension"]);
            let name = format!("{}{suffix}", url.rsplit('/').next().unwrap());
            assert!(files.iter().any(|file| file.ends_with(&name)), "{name}");
            assert_eq!(extension["fileSize"], get(url).body.len(), "{url}");
            assert_eq!(extension["sha256"].as_str().map(str::len), Some(64), "{url}");
        }
    }
}

#[test]
fn mf_7_files_of_deletions_and_of_errors_do_not_hide_that_the_output_is_organized() {
    let folder = tempfile::tempdir().unwrap();
    let lines = [
        r#"{"resourceType":"Patient","id":"p"}"#,
        r#"{"resourceType":"Patient","id":"q"}"#,
        r#"{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"DELETE","url":"Patient/q"}}]}"#,
        "broken",
    ];
    std::fs::write(folder.path().join("a.ndjson"), lines.join("\n")).unwrap();
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let manifest = server.export(&format!("{PATH}&_since=2020-01-01T00:00:00Z")).1;
    assert_eq!(manifest["outputOrganizedBy"], "Patient");
    assert_eq!(
        (&manifest["deleted"][0]["type"], &manifest["deleted"][0]["count"]),
        (&"Bundle".into(), &1.into())
    );
    assert_eq!(manifest["error"][0]["type"], "OperationOutcome");
    let blocks = blocks(&manifest);
    assert_eq!(blocks.keys().collect::<Vec<_>>(), ["Patient/p"]);
}
