//! Sections 7 and 8: files and what is in them.

use super::*;

fn export(path: &str) -> (Setup, Server, String, String) {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, manifest) = server.export(path);
    let file = manifest["output"][0]["url"].as_str().unwrap().to_string();
    (setup, server, polling, file)
}

/// Also C13, INF-8.
#[test]
fn f_3_a_file_is_ndjson() {
    let (_setup, _server, _, file) = export("$export?_type=Patient");
    let answer = get(&file);
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/fhir+ndjson"));
}

#[test]
fn f_4_accept_is_optional_and_may_be_any_name_of_ndjson() {
    let (_setup, _server, _, file) = export("$export?_type=Patient");
    for accept in ["*/*", "application/*", "application/fhir+ndjson", "application/ndjson", "ndjson"] {
        assert_eq!(send("GET", &file, &[("Accept", accept)]).status, 200, "{accept}");
    }
    for accept in ["application/json", "text/html", "*/*;q=0"] {
        assert_eq!(
            send("GET", &file, &[("Accept", accept)]).outcome(),
            outcome(406, "structure"),
            "{accept}"
        );
    }
}

#[test]
fn f_7_the_newest_version_alone_is_exported() {
    let folder = source_of(&[
        r#"{"resourceType":"Patient","id":"p","active":false}"#,
        r#"{"resourceType":"Patient","id":"q"}"#,
        r#"{"resourceType":"Patient","id":"p","active":true}"#,
    ]);
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let (_, manifest) = server.export("$export");
    let versions = resources(&manifest);
    assert_eq!(versions.len(), 2);
    assert!(
        versions.iter().any(|it| it["active"] == true) && !versions.iter().any(|it| it["active"] == false)
    );
}

#[test]
fn f_8_every_row_of_the_error_table() {
    let (_setup, _server, polling, file) = export("$export?_type=Patient");
    let unknown = "00000000-0000-4000-8000-000000000000";
    for (url, headers, status, code) in [
        (file.replace("/default/", "/nobody/"), &[][..], 404, "not-found"),
        (file.replace(job_id(&polling), unknown), &[], 404, "not-found"),
        (format!("{file}x"), &[], 404, "not-found"),
        (file.clone(), &[("Accept", "text/html")], 406, "structure"),
    ] {
        assert_eq!(send("GET", &url, headers).outcome(), outcome(status, code), "{url}");
    }
    assert_eq!(delete(&polling).status, 202);
    assert_eq!(get(&file).outcome(), outcome(404, "deleted"));
}

#[test]
fn f_9_a_file_can_be_had_in_ranges() {
    let (_setup, _server, _, file) = export("$export?_type=Patient");
    let whole = get(&file);
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let part = send("GET", &file, &[("Range", "bytes=10-19")]);
    assert_eq!((part.status, part.body.as_slice()), (206, &whole.body[10..20]));
    let end = send("GET", &file, &[("Range", "bytes=-5")]);
    assert_eq!(end.body, whole.body[whole.body.len() - 5..]);
    assert_eq!(send("GET", &file, &[("Range", "bytes=999999999-")]).status, 416);
}

#[test]
fn f_10_the_name_of_a_file_is_compared_and_never_joined_to_a_path() {
    let (setup, _server, polling, file) = export("$export?_type=Patient");
    let folder = file.rsplit_once('/').unwrap().0;
    assert!(setup.data_dir().join(format!("ready/{}/job.json", job_id(&polling))).exists());
    for name in ["job.json", "../job.json", "..%2fjob.json", ".", "%2e%2e", "%00", "", "./job.json"] {
        let answer = get(&format!("{folder}/{name}"));
        assert_eq!(answer.status, 404, "{name}");
    }
    assert_eq!(get(&file.to_lowercase().replace("_patient", "_Patient")).status, 404, "exactly");
}

/// Also INF-8.
#[test]
fn o_1_a_file_has_resources_of_one_type() {
    let setup = Setup::new();
    let server = setup.start();
    let (_, manifest) = server.export("Patient/$export");
    for file in items(&manifest, "output") {
        let body = String::from_utf8(get(file["url"].as_str().unwrap()).body).unwrap();
        for line in body.lines() {
            let resource: Value = serde_json::from_str(line).unwrap();
            assert_eq!(resource["resourceType"], file["type"]);
        }
    }
}

#[test]
fn o_2_a_file_is_lines_of_one_object_each() {
    let setup = Setup::new();
    let server = setup.start();
    let (_, manifest) = server.export("Patient/$export?_type=Patient,Observation");
    for file in items(&manifest, "output") {
        let body = String::from_utf8(get(file["url"].as_str().unwrap()).body).unwrap();
        assert!(
            body.ends_with('\n') && !body.contains('\r') && !body.contains("\n\n") && !body.starts_with('\n')
        );
        assert!(body.lines().all(|line| serde_json::from_str::<Value>(line).unwrap().is_object()));
    }
}

#[test]
fn f_5_a_file_is_coded_only_if_the_client_offers_that() {
    let (_setup, _server, _, file) = export("$export?_type=Observation");
    let plain = get(&file);
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), ("", "Accept-Encoding"));
    for (offered, coding) in [("gzip", "gzip"), ("zstd", "zstd"), ("identity", ""), ("br", "")] {
        let answer = send("GET", &file, &[("Accept-Encoding", offered)]);
        assert_eq!((answer.status, answer.header("content-encoding")), (200, coding), "{offered}");
        let text = match coding {
            "zstd" => zstd::stream::decode_all(&answer.body[..]).unwrap(),
            // The client has undone it.
            "gzip" if answer.body == plain.body => answer.body,
            "gzip" => {
                let mut text = Vec::new();
                std::io::copy(&mut flate2::read::GzDecoder::new(&answer.body[..]), &mut text).unwrap();
                text
            }
            _ => answer.body,
        };
        assert_eq!(text, plain.body, "{offered}");
    }
}

#[test]
fn k_11_an_attachments_binary_is_served_at_the_url_that_the_export_gives_it() {
    let folder = source_of(&[
        r#"{"resourceType":"Patient","id":"p"}"#,
        r#"{"resourceType":"DocumentReference","id":"d","status":"current","subject":{"reference":"Patient/p"},"content":[{"attachment":{"contentType":"text/plain","url":"Binary/b"}},{"attachment":{"contentType":"text/plain","data":"aGk="}}]}"#,
        r#"{"resourceType":"Binary","id":"b","contentType":"text/plain","data":"aGVsbG8="}"#,
    ]);
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let (_, manifest) = server.export("Patient/$export?_type=DocumentReference");
    let document = resources(&manifest).remove(0);
    let url = document["content"][0]["attachment"]["url"].as_str().unwrap();
    assert_eq!(url, format!("{}/Binary/b", server.base), "O-4: absolute");
    let binary = send("GET", url, &[("Accept", "text/plain")]);
    assert_eq!((binary.status, binary.body.as_slice()), (200, &b"hello"[..]), "O-4: dereferenceable");
    assert_eq!(document["content"][1]["attachment"]["data"], "aGk=", "inline data passes through");
}
