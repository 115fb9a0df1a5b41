//! Whatever a client sends, no 5xx (G-9) and no panic: the real server, asked at random.

use proptest::prelude::*;

use super::*;

/// Pieces that parsers trip over.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,30}",
        "\\PC{0,10}",
        prop::sample::select(vec![
            "Patient",
            "Patient,",
            "Observation",
            "2024-01-01T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "true",
            "ndjson",
            "LatestProvenanceResources",
            "Observation?status=final",
            "Observation?code=|,",
            "Patient?_id=a|b",
            "Patient.name",
            "Patient.name.given",
            "Patient/1",
            "\u{0}",
            "%",
            "+",
            "&",
            "=",
            "\\",
            "\"",
        ])
        .prop_map(String::from),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(vec![
            "_type", "_since", "_until", "_outputFormat", "_elements", "_typeFilter", "patient",
            "includeAssociatedData", "organizeOutputBy", "allowPartialManifests", "page", "request",
        ])
        .prop_map(String::from),
        1 => "[ -~]{0,10}",
    ]
}

fn escaped(text: &str, raw: bool) -> String {
    let keep = |byte: &u8| {
        byte.is_ascii_alphanumeric() || (raw && byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(byte))
    };
    text.bytes()
        .map(|byte| if keep(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Asks and gives the status; a job that came of it is ended.
fn ask(answer: &Answer) -> u16 {
    let location = answer.header("content-location");
    if answer.status == 202 && !location.is_empty() {
        assert_eq!(delete(location).status, 202);
    }
    if answer.status >= 400 {
        answer.issue();
    }
    answer.status
}

#[test]
fn whatever_stands_in_a_query_or_a_body_no_answer_is_a_5xx() {
    let setup = Setup::new();
    let server = setup.start();
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 300, ..ProptestConfig::default() });
    let given = prop::collection::vec((name(), value(), any::<bool>()), 0..4);
    let kinds = prop::sample::select(vec![
        "valueString",
        "valueCode",
        "valueInstant",
        "valueBoolean",
        "valueReference",
        "value",
        "part",
    ]);
    let levels = prop::sample::select(vec![
        "$export",
        "Patient/$export",
        "Group/All_Patients/$export",
        "Group/x/$export",
        "Export/DeleteRequest",
        "bulk-api/request/00000000-0000-4000-8000-000000000000",
    ]);
    let outcome = runner.run(&(levels, given, kinds, any::<bool>()), |(level, given, kind, lenient)| {
        let prefer = if lenient { "respond-async, handling=lenient" } else { "respond-async" };
        let headers = [KICKOFF[0], ("Prefer", prefer), ("Content-Type", "application/fhir+json")];
        let query: Vec<_> = given
            .iter()
            .map(|(name, value, raw)| format!("{}={}", escaped(name, *raw), escaped(value, *raw)))
            .collect();
        let answer = send("GET", &format!("{}/{level}?{}", server.base, query.join("&")), &headers);
        let status = ask(&answer);
        prop_assert!(matches!(status, 202 | 400 | 404 | 406 | 429), "{status} {query:?}");
        let parameters: Vec<_> =
            given.iter().map(|(name, value, _)| serde_json::json!({"name": name, kind: value})).collect();
        let body = serde_json::json!({"resourceType": "Parameters", "parameter": parameters}).to_string();
        let answer = post(&format!("{}/{level}", server.base), &headers, &body);
        let status = ask(&answer);
        prop_assert!(matches!(status, 202 | 400 | 404 | 405 | 406 | 429), "{status} {body}");
        Ok(())
    });
    outcome.unwrap();
    assert_eq!(get(&server.base.replace("/r4/default", "/healthz")).status, 200);
}

#[test]
fn whatever_stands_in_a_header_field_no_answer_is_a_5xx() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient");
    let file = manifest["output"][0]["url"].as_str().unwrap().to_string();
    let base = server.base.clone();
    let urls = vec![
        polling,
        file,
        format!("{base}/$export"),
        format!("{base}/metadata"),
        format!("{base}/Group"),
        format!("{base}/Binary/x"),
    ];
    let names = prop::sample::select(vec![
        "Accept",
        "Accept-Encoding",
        "Prefer",
        "Range",
        "If-Range",
        "If-None-Match",
        "If-Modified-Since",
        "Content-Type",
        "X-Request-Id",
    ]);
    let values = prop_oneof![
        "[ -~]{0,40}",
        "[a-z*/;=,q0-9. -]{0,40}",
        prop::sample::select(vec![
            "bytes=0-0",
            "bytes=-0",
            "bytes=5-2",
            "bytes=0-1,3-4",
            "bytes=18446744073709551615-",
            "gzip;q=0, *",
            "zstd, gzip;q=0.5",
            "*/*;q=0",
            "W/\"x\"",
            "\"",
            "respond-async;;=,",
        ])
        .prop_map(String::from),
    ];
    let fields = prop::collection::vec((names, values), 0..4);
    let methods = prop::sample::select(vec!["GET", "HEAD", "POST"]);
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 400, ..ProptestConfig::default() });
    let outcome = runner.run(&(methods, prop::sample::select(urls), fields), |(method, url, fields)| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.trim())).collect();
        let answer = send(method, &url, &fields);
        prop_assert!(answer.status < 500, "{} {method} {url} {fields:?}", answer.status);
        let location = answer.header("content-location");
        if !location.is_empty() {
            assert_eq!(delete(location).status, 202);
        }
        Ok(())
    });
    outcome.unwrap();
}
