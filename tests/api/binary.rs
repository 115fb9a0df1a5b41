//! Binaries (O-4): as FHIR JSON, or as they are.

use super::*;

/// A source with some Binaries.
fn source_with_binaries() -> TempDir {
    let folder = copy_of_source();
    let lines = [
        r#"{"resourceType":"Binary","id":"letter","contentType":"text/plain","data":"b2xk"}"#,
        r#"{"resourceType":"Binary","id":"letter","contentType":"text/plain","data":"RGVhciBBbm4="}"#,
        r#"{"resourceType":"Binary","id":"page","contentType":"text/html; charset=utf-8","data":"PGI+"}"#,
        r#"{"resourceType":"Binary","id":"empty","contentType":"image/png"}"#,
        r#"{"resourceType":"Binary","id":"odd","contentType":"text/plain\r\nX-Evil: 1","data":"?"}"#,
    ];
    std::fs::write(folder.path().join("binaries.ndjson"), lines.join("\n")).unwrap();
    folder
}

#[test]
fn a_binary_is_given_as_it_is_or_as_a_resource() {
    let source = source_with_binaries();
    let setup = Setup::new().source(source.path());
    let server = setup.start();
    let at = |path: &str| format!("{}/Binary/{path}", server.base);
    let native = [("text/plain", "text/plain"), ("text/*", "text/plain"), ("*/*", "text/plain")];
    for (accept, media_type) in native {
        let answer = send("GET", &at("letter"), &[("Accept", accept)]);
        assert_eq!((answer.status, answer.header("content-type")), (200, media_type), "{accept}");
        assert_eq!(answer.body, b"Dear Ann", "the newest version");
        for (name, value) in
            [("cache-control", "no-store"), ("vary", "Accept"), ("x-content-type-options", "nosniff")]
        {
            assert_eq!(answer.header(name), value, "{accept}");
        }
        assert_eq!(answer.header("content-security-policy"), "default-src 'none'; sandbox");
    }
    for (accept, media_type) in [
        ("application/fhir+json", "application/fhir+json"),
        ("application/json, */*;q=0.1", "application/json"),
        ("application/json, */*", "application/fhir+json"),
        ("text/plain, application/fhir+json", "application/fhir+json"),
    ] {
        let answer = send("GET", &at("letter"), &[("Accept", accept)]);
        assert_eq!((answer.status, answer.header("content-type")), (200, media_type), "{accept}");
        assert_eq!(answer.json()["data"], "RGVhciBBbm4=");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    assert_eq!(get(&at("letter?_format=json")).json()["resourceType"], "Binary");
    assert_eq!(get(&at("letter")).body, b"Dear Ann", "without Accept");
    let page = get(&at("page"));
    assert_eq!((page.header("content-type"), &page.body[..]), ("text/html; charset=utf-8", &b"<b>"[..]));
    let empty = get(&at("empty"));
    assert_eq!((empty.status, empty.header("content-type"), empty.body.len()), (200, "image/png", 0));
}

#[test]
fn no_browser_runs_what_a_binary_holds() {
    let active =
        ["text/html", "image/svg+xml", "application/xml", "text/xml", "application/xhtml+xml", "text/plain"];
    let lines = active.iter().enumerate().map(|(id, media_type)| {
        format!(r#"{{"resourceType":"Binary","id":"{id}","contentType":"{media_type}","data":"PGI+"}}"#)
    });
    let source = copy_of_source();
    std::fs::write(source.path().join("binaries.ndjson"), lines.collect::<Vec<_>>().join("\n")).unwrap();
    let setup = Setup::new().source(source.path());
    let server = setup.start();
    let shut = |answer: &Answer, context: &str| {
        for (name, value) in [
            ("content-disposition", "attachment"),
            ("content-security-policy", "default-src 'none'; sandbox"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(answer.header(name), value, "{context}");
        }
    };
    for (id, media_type) in active.iter().enumerate() {
        let url = format!("{}/Binary/{id}", server.base);
        let answer = get(&url);
        assert_eq!((answer.status, answer.header("content-type")), (200, *media_type));
        shut(&answer, media_type);
        shut(&send("HEAD", &url, &[]), media_type);
        shut(&send("GET", &url, &[("If-None-Match", answer.header("etag"))]), media_type);
    }
    // Nor what it says anywhere else.
    let (polling, manifest) = server.export("$export?_type=Patient");
    let file = manifest["output"][0]["url"].as_str().unwrap();
    let root = server.base.split("/r4/").next().unwrap();
    for url in [
        polling.as_str(),
        file,
        &format!("{}/Binary/0?_format=json", server.base),
        &format!("{}/Binary/nobody", server.base),
        &format!("{}/metadata", server.base),
        &format!("{root}/healthz"),
        &format!("{root}/openapi.json"),
        &format!("{root}/%3Cscript%3E"),
        &format!("{}/healthz", server.operators),
    ] {
        assert_eq!(get(url).header("x-content-type-options"), "nosniff", "{url}");
    }
}

#[test]
fn what_a_client_has_is_not_sent_again() {
    let source = source_with_binaries();
    let setup = Setup::new().source(source.path());
    let server = setup.start();
    let url = format!("{}/Binary/letter", server.base);
    let json = [("Accept", "application/json")];
    let tags = [get(&url), send("GET", &url, &json)].map(|answer| answer.header("etag").to_string());
    assert_ne!(tags[0], tags[1], "each form has its own");
    for tag in [&tags[0], &format!("W/{}, \"x\"", tags[0]), "*"] {
        let answer = send("GET", &url, &[("If-None-Match", tag)]);
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{tag}");
        assert_eq!(answer.header("etag"), tags[0]);
    }
    assert_eq!(send("GET", &url, &[("If-None-Match", &tags[1])]).status, 200);
    let head = send("HEAD", &url, &[]);
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "8", 0));
    for method in ["GET", "HEAD"] {
        assert_eq!(send(method, &url, &[("If-Match", &tags[0])]).status, 200);
        assert_eq!(send(method, &url, &[("If-Match", &tags[1])]).status, 412, "of another form");
    }
}

#[test]
fn bad_reads_of_binaries_are_told_what_would_be_right() {
    let source = source_with_binaries();
    let setup = Setup::new().source(source.path());
    let server = setup.start();
    for (path, accept, status, code) in [
        ("Binary/nobody-knows-0815", "*/*", 404, "not-found"),
        ("Binary/", "*/*", 404, "not-found"),
        ("Binary/%ff", "*/*", 400, "structure"),
        ("Binary/letter", "image/png", 406, "structure"),
        ("Binary/letter", "text/plain;q=0, */*", 406, "structure"),
        ("Binary/letter", "application/fhir+xml", 406, "structure"),
        ("Binary/letter?x=y", "*/*", 400, "not-supported"),
        ("Binary/letter?_format=xml", "*/*", 406, "structure"),
        ("Binary/odd", "*/*", 406, "structure"),
    ] {
        let answer = send("GET", &format!("{}/{path}", server.base), &[("Accept", accept)]);
        assert_eq!(answer.outcome(), outcome(status, code), "{path} {accept}");
    }
    let odd = send("GET", &format!("{}/Binary/odd", server.base), &[("Accept", "application/fhir+json")]);
    assert_eq!(odd.json()["data"], "?", "as it stands in the source");
    let log = setup.settled_log(&server);
    assert!(log.contains("\"binary\"") && !log.contains("knows-0815"), "P12");
    // K-11: it is never a file of an export.
    assert!(!exported(&server.export("$export").1).contains_key("Binary"));
}
