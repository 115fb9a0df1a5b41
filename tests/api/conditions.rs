//! Conditional requests (RFC 9110, 13): a condition that does not hold is a 412, and nothing is
//! changed. The order of conditions is a table in `src/http/negotiation/conditions.rs`.

use super::*;

const OTHER: &str = "\"another\"";

/// What both ways of deleting answer: DELETE, and the operation of Oracle's page.
fn delete_both(server: &Server, polling: &str, condition: (&str, &str)) -> [Answer; 2] {
    let operation = format!("{}/Export/DeleteRequest?request={polling}", server.base);
    [
        send("DELETE", polling, &[condition]),
        send("GET", &operation, &[condition, ("Prefer", "respond-async"), ("Accept", "application/json")]),
    ]
}

#[test]
fn a_delete_whose_condition_does_not_hold_changes_nothing() {
    let sources = copy_of_source();
    let setup = Setup::new().source(sources.path()).braked(200_000);
    let server = setup.start();
    let (complete, manifest) = server.export("$export?_type=Organization");
    let failed = server.kickoff("$export");
    server.wait_braked(&failed);
    touch_all(sources.path());
    setup.release_brake();
    eventually("the failure", || (get(&failed).status == 500).then_some(()));
    setup.brake(200_000);
    let running = server.kickoff("$export");
    server.wait_braked(&running);
    let tag = get(&complete).header("etag").to_string();

    let failing = [("If-Match", OTHER), ("If-Match", "garbage"), ("If-None-Match", "*")];
    for (polling, status) in [(&complete, 200), (&failed, 500), (&running, 202)] {
        let of_tag = [("If-None-Match", tag.as_str())];
        let of_tag = of_tag.iter().filter(|_| status == 200);
        // What has no tag has not this one.
        let of_others = [("If-Match", tag.as_str())];
        let of_others = of_others.iter().filter(|_| status != 200);
        for condition in failing.iter().chain(of_tag).chain(of_others) {
            for answer in delete_both(&server, polling, *condition) {
                assert_eq!(answer.outcome(), outcome(412, "conflict"), "{status} {condition:?}");
                assert_eq!(answer.header("cache-control"), "no-store");
            }
            assert_eq!(get(polling).status, status, "{condition:?}: it is still there");
        }
    }
    assert_eq!(get(&first_file(&manifest)).status, 200);
    assert!(setup.receipts().is_empty());

    // What is not there, or not any more, is that first.
    let nobody = format!("{}/bulk-api/request/00000000-0000-4000-8000-000000000000", server.base);
    assert_eq!(send("DELETE", &nobody, &[("If-Match", OTHER)]).outcome(), outcome(404, "not-found"));
    for (polling, condition) in [
        (&complete, ("If-Match", tag.as_str())),
        (&failed, ("If-Match", "*")),
        (&running, ("If-None-Match", OTHER)),
    ] {
        assert_eq!(send("DELETE", polling, &[condition]).status, 202, "{condition:?}");
        assert_eq!(send("DELETE", polling, &[("If-Match", OTHER)]).outcome(), outcome(404, "deleted"));
    }
}

#[test]
fn the_operation_deletes_if_its_condition_holds() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Organization");
    let tag = get(&polling).header("etag").to_string();
    let operation =
        format!("{}/Export/DeleteRequest?request={polling}&_format=json&_pretty=true", server.base);
    let fields = [("If-Match", tag.as_str()), ("Prefer", "respond-async")];
    assert_eq!(send("GET", &operation, &fields).status, 202);
    assert_eq!(get(&polling).outcome(), outcome(404, "deleted"));
}

#[test]
fn a_manifest_is_given_if_it_is_the_one_that_is_meant() {
    let setup = Setup::new();
    let server = setup.start();
    for prefer in ["respond-async", "respond-async, separate-export-status"] {
        let url = format!("{}/$export?_type=Organization", server.base);
        let kickoff = send("GET", &url, &[("Accept", "*/*"), ("Prefer", prefer)]);
        let polling = kickoff.header("content-location");
        let manifest = eventually("the manifest", || {
            Some(get(polling)).filter(|answer| !answer.header("etag").is_empty())
        });
        for method in ["GET", "HEAD"] {
            assert_eq!(send(method, polling, &[("If-Match", manifest.header("etag"))]).status, 200);
            let refused = send(method, polling, &[("If-Match", OTHER)]);
            assert_eq!((refused.status, refused.header("x-export-status")), (412, ""), "of the poll itself");
            assert_eq!(send(method, polling, &[("If-None-Match", "*")]).status, 304);
        }
    }
}

#[test]
fn a_file_is_given_if_the_conditions_of_the_client_hold() {
    let setup = Setup::new();
    let server = setup.start();
    let (_, manifest) = server.export("$export?_type=Patient");
    let url = first_file(&manifest);
    let whole = get(&url);
    let (tag, modified) = (whole.header("etag"), whole.header("last-modified"));
    let (before, after) = ("Mon, 01 Jan 2024 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT");
    for (fields, status) in [
        (&[("If-Match", tag)][..], 200),
        (&[("If-Match", "*")], 200),
        (&[("If-Match", OTHER)], 412),
        (&[("If-Match", tag), ("Range", "bytes=0-9")], 206),
        (&[("If-Match", OTHER), ("Range", "bytes=0-9")], 412),
        (&[("If-Match", OTHER), ("If-None-Match", tag)], 412),
        (&[("If-Unmodified-Since", before)], 412),
        (&[("If-Unmodified-Since", modified)], 200),
        (&[("If-Unmodified-Since", after), ("Range", "bytes=0-9")], 206),
        (&[("If-Modified-Since", before)], 200),
        (&[("If-Modified-Since", modified)], 304),
        (&[("If-Modified-Since", after), ("Range", "bytes=0-9")], 304),
        (&[("If-Modified-Since", after), ("If-None-Match", OTHER)], 200),
        (&[("If-Modified-Since", "yesterday")], 200),
        // A range that is not there matters no more than one that is.
        (&[("If-Match", OTHER), ("Range", "bytes=99999999-")], 412),
    ] {
        let answer = send("GET", &url, fields);
        assert_eq!(answer.status, status, "{fields:?}");
        match status {
            412 => assert_eq!(answer.issue().1, "conflict", "{fields:?}"),
            304 => assert_eq!((answer.header("etag"), answer.body.len()), (tag, 0), "{fields:?}"),
            _ => assert!(whole.body.starts_with(&answer.body), "{fields:?}"),
        }
        let head = send("HEAD", &url, fields);
        assert_eq!(
            (head.status, head.body.len()),
            (if status == 206 { 200 } else { status }, 0),
            "{fields:?}"
        );
    }
    // Each coding is a representation of its own.
    let gzip = [("Accept-Encoding", "gzip"), ("If-Match", tag)];
    assert_eq!(send("GET", &url, &gzip).status, 412);
}

#[test]
fn general_parameters_are_taken_at_every_url() {
    let setup = Setup::new();
    let server = setup.start();
    let general = "_format=application/fhir%2Bjson&_pretty=true";
    let with = |url: &str| format!("{url}{}{general}", if url.contains('?') { '&' } else { '?' });
    let url = with(&format!("{}/$export?_type=Organization", server.base));
    for accept in ["application/fhir+json", "text/html"] {
        let kickoff = send("GET", &url, &[("Prefer", "respond-async"), ("Accept", accept)]);
        assert_eq!(kickoff.status, 202, "_format goes before Accept: {kickoff:?}");
    }
    let kickoff = send("GET", &url, &[("Prefer", "respond-async")]);
    let polling = kickoff.header("content-location");
    let manifest = server.wait_complete(&with(polling));
    assert_eq!(manifest["request"], url, "C7: as it was received");
    assert_eq!(manifest["error"], serde_json::json!([]), "nothing was ignored");
    assert_eq!(get(&with(&first_file(&manifest))).status, 200);
    for path in
        ["metadata", "Group", "Group/All_Patients", "OperationDefinition", "OperationDefinition/export"]
    {
        assert_eq!(get(&with(&format!("{}/{path}", server.base))).status, 200, "{path}");
    }
    let body = r#"{"resourceType":"Parameters","parameter":[{"name":"_type","valueString":"Organization"}]}"#;
    let url = with(&format!("{}/$export", server.base));
    let fields = [("Prefer", "respond-async"), ("Content-Type", "application/fhir+json")];
    assert_eq!(post(&url, &fields, body).status, 202);
    assert_eq!(post(&url, &fields, "").status, 202);
    assert_eq!(post(&format!("{url}&_since=x"), &fields, body).outcome(), outcome(400, "structure"));
    for url in [polling, &format!("{}/$export", server.base)] {
        let answer = send("GET", &format!("{url}?_format=xml"), &KICKOFF);
        assert_eq!(answer.outcome(), outcome(406, "structure"), "{url}");
    }
    assert_eq!(delete(&with(polling)).status, 202);
}
