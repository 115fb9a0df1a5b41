//! Kick-offs by POST (K-1) and with `Prefer: handling=lenient` (K-5): the same parameters by
//! another way, and what becomes of those that cannot be served.

use serde_json::json;

use super::*;

const HEADERS: [(&str, &str); 3] = [
    ("Accept", "application/fhir+json"),
    ("Prefer", "respond-async"),
    ("Content-Type", "application/fhir+json"),
];

const LENIENT: [(&str, &str); 3] = [
    ("Accept", "application/fhir+json"),
    ("Prefer", "respond-async, handling=lenient"),
    ("Content-Type", "application/fhir+json"),
];

fn body(parameters: &[Value]) -> String {
    json!({"resourceType": "Parameters", "parameter": parameters}).to_string()
}

/// The types of a manifest, each once, sorted.
fn types(manifest: &Value) -> Vec<String> {
    let files = manifest["output"].as_array().unwrap();
    let mut types: Vec<_> = files.iter().map(|file| file["type"].as_str().unwrap().to_string()).collect();
    types.sort();
    types.dedup();
    types
}

/// The texts of the outcomes in the `error` files.
fn notices(manifest: &Value) -> Vec<String> {
    let files = manifest["error"].as_array().unwrap();
    let lines = files.iter().flat_map(|file| {
        let body = get(file["url"].as_str().unwrap()).body;
        String::from_utf8(body).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let outcomes = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    outcomes.map(|outcome| outcome["issue"][0]["details"]["text"].as_str().unwrap().to_string()).collect()
}

/// Also C16.
#[test]
fn k_1_a_post_with_parameters_exports_the_same_as_a_get() {
    let setup = Setup::new();
    let server = setup.start();
    let (_, by_get) = server.export("Patient/$export?_type=Patient,Observation&_since=2020-01-01T00:00:00Z");
    let url = format!("{}/Patient/$export", server.base);
    let parameters = [
        json!({"name": "_type", "valueString": "Patient"}),
        json!({"name": "_type", "valueCode": "Observation"}),
        json!({"name": "_since", "valueInstant": "2020-01-01T00:00:00Z"}),
        json!({"name": "_outputFormat", "valueString": "ndjson"}),
    ];
    let answer = post(&url, &HEADERS, &body(&parameters));
    assert_eq!(answer.status, 202, "{answer:?}");
    let by_post = server.wait_complete(answer.header("content-location"));
    assert_eq!(exported(&by_post), exported(&by_get));
    // MF-2: without the parameters.
    assert_eq!(by_post["request"], url);
    assert_eq!(by_get["request"], format!("{url}?_type=Patient,Observation&_since=2020-01-01T00:00:00Z"));
}

#[test]
fn a_post_without_a_body_may_have_its_parameters_in_the_query() {
    let setup = Setup::new();
    let server = setup.start();
    for path in ["$export", "Patient/$export", "Group/All_Patients/$export"] {
        let url = format!("{}/{path}?_type=Patient", server.base);
        let answer = post(&url, &KICKOFF, "");
        assert_eq!(answer.status, 202, "{answer:?}");
        let manifest = server.wait_complete(answer.header("content-location"));
        assert_eq!(types(&manifest), ["Patient"]);
        assert_eq!(manifest["request"], url);
    }
}

#[test]
fn bodies_that_cannot_be_read_are_refused_and_told_what_would_be_right() {
    let setup = Setup::new().set("server.max_body_bytes=1000");
    let server = setup.start();
    let url = format!("{}/Patient/$export", server.base);
    let parameter = |name: &str, key: &str, value: Value| {
        json!({"resourceType": "Parameters", "parameter": [{"name": name, key: value}]}).to_string()
    };
    let text = |name: &str, value: &str| parameter(name, "valueString", value.into());
    for (body, status, code) in [
        ("{".into(), 400, "structure"),
        ("null".into(), 400, "structure"),
        (r#"{"resourceType":"Patient"}"#.into(), 400, "structure"),
        (r#"{"resourceType":"Parameters","parameter":[{"name":"_type"}]}"#.into(), 400, "invalid"),
        (text("_type", "MissingType"), 400, "invalid"),
        (text("_type", ""), 400, "invalid"),
        (text("_type", "ValueSet"), 404, "not-supported"),
        (text("_since", "2024-01-01"), 400, "invalid"),
        (text("_outputFormat", "text/html"), 400, "invalid"),
        (text("_sort", "date"), 400, "not-supported"),
        (text("includeAssociatedData", "_custom"), 400, "not-supported"),
        (text("organizeOutputBy", "Group"), 400, "not-supported"),
        (text("allowPartialManifests", "yes"), 400, "invalid"),
        (parameter("_type", "valueInteger", 7.into()), 400, "invalid"),
        (parameter("patient", "valueString", "x".into()), 400, "invalid"),
        (parameter("patient", "valueReference", json!({"reference": "Group/1"})), 400, "invalid"),
        (parameter("patient", "valueReference", json!({"reference": "Patient/a b"})), 400, "invalid"),
        (parameter("patient", "valueReference", json!({"reference": "https://h/Patient/1"})), 400, "invalid"),
        (text("_type", &"x".repeat(1000)), 413, "too-long"),
    ] {
        let answer = post(&url, &HEADERS, &body);
        assert_eq!(answer.outcome(), outcome(status, code), "{body}");
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/xml", "nonsense", ""]
    {
        let headers = [KICKOFF[0], KICKOFF[1], ("Content-Type", content_type)];
        assert_eq!(post(&url, &headers, &body(&[])).outcome(), outcome(415, "structure"), "{content_type}");
    }
    assert_eq!(
        post(&format!("{url}?_type=Patient"), &HEADERS, &body(&[])).outcome(),
        outcome(400, "structure")
    );
    // G-7: Accept and Prefer come before the body.
    assert_eq!(post(&url, &HEADERS[..1], "{").outcome(), outcome(406, "structure"));
    assert_eq!(post(&url, &HEADERS[1..], "{").outcome(), outcome(406, "structure"));
    // `patient` is not for GET, and not for a system export; and never ignored.
    let patient = parameter("patient", "valueReference", json!({"reference": "Patient/1"}));
    for headers in [HEADERS, LENIENT] {
        let answer = post(&format!("{}/$export", server.base), &headers, &patient);
        assert_eq!(answer.outcome(), outcome(400, "invalid"), "BDT");
        let answer = send("GET", &format!("{url}?patient=Patient/1"), &headers);
        assert_eq!(answer.outcome(), outcome(400, "not-supported"));
    }
    assert!(setup.disk().files().is_empty());
}

#[test]
fn c9_types_that_the_level_does_not_have_are_told_in_an_error_file_without_lenience_too() {
    let setup = Setup::new();
    let server = setup.start();
    let (_, manifest) = server.export("Patient/$export?_type=Patient,ActivityDefinition");
    assert_eq!(types(&manifest), ["Patient"]);
    let notices = notices(&manifest);
    assert!(notices.len() == 1 && notices[0].contains("ActivityDefinition"), "{notices:?}");
    let (_, manifest) = server.export("$export?_type=Patient,Binary");
    assert_eq!(types(&manifest), ["Patient"]);
}

#[test]
fn k_12_a_client_names_a_patient_as_the_source_does_or_as_it_knows_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let lines = [
        r#"{"resourceType":"Patient","id":"p_1"}"#,
        r#"{"resourceType":"Patient","id":"q"}"#,
        r#"{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/p_1/_history/3"}}"#,
        r#"{"resourceType":"Observation","id":"o2","subject":{"reference":"https://h/fhir/Patient/p_1"}}"#,
        r#"{"resourceType":"Observation","id":"o3","subject":{"reference":"Patient/q"}}"#,
    ];
    std::fs::write(folder.path().join("a.ndjson"), lines.join("\n")).unwrap();
    let setup = Setup::new().source(folder.path()).set("source.base_url=https://h/fhir");
    let server = setup.start();
    let url = format!("{}/Patient/$export", server.base);
    let ids = |answer: Answer| {
        assert_eq!(answer.status, 202, "{answer:?}");
        let manifest = server.wait_complete(answer.header("content-location"));
        let lines = exported(&manifest).into_values().flatten();
        let id = |line: Vec<u8>| serde_json::from_slice::<Value>(&line).unwrap()["id"].clone();
        let mut ids: Vec<_> = lines.map(|line| id(line).as_str().unwrap().to_string()).collect();
        ids.sort();
        ids
    };
    let own = format!("{}/Patient/p_1", server.base);
    for reference in ["Patient/p_1", "https://h/fhir/Patient/p_1", &own, &format!("{own}/_history/7")] {
        let patient = json!({"name": "patient", "valueReference": {"reference": reference}});
        assert_eq!(ids(post(&url, &HEADERS, &body(&[patient]))), ["o1", "o2", "p_1"], "{reference}");
        if !reference.contains("/_history/") {
            let filter = format!("Observation?subject={reference}");
            let asked = [("_type", "Observation"), ("_typeFilter", &filter)]
                .map(|(name, value)| json!({"name": name, "valueString": value}));
            assert_eq!(ids(post(&url, &HEADERS, &body(&asked))), ["o1", "o2"], "{filter}");
        }
    }
}

#[test]
fn k_5_a_lenient_kick_off_names_each_ignored_parameter_in_an_error_file() {
    let setup = Setup::new();
    let server = setup.start();
    let url = format!(
        "{}/Patient/$export?_type=Patient,ValueSet,Elephant&_sort=date&includeAssociatedData=_custom\
         &organizeOutputBy=Group&allowPartialManifests=perhaps",
        server.base
    );
    assert_eq!(send("GET", &url, &KICKOFF).status, 400, "the first thing that is wrong, without lenience");
    let answer = send("GET", &url, &LENIENT);
    assert_eq!(answer.status, 202, "{answer:?}");
    let manifest = server.wait_complete(answer.header("content-location"));
    assert_eq!(types(&manifest), ["Patient"]);
    let notices = notices(&manifest);
    let named = ["ValueSet", "Elephant", "_sort", "_custom", "organizeOutputBy", "allowPartialManifests"];
    assert_eq!(notices.len(), named.len(), "one outcome a parameter: {notices:?}");
    for (notice, name) in notices.iter().zip(named) {
        assert!(notice.starts_with("Ignored: ") && notice.contains(name), "{notice}");
    }
    assert_eq!(manifest["error"][0]["count"], named.len());
    assert!(!setup.settled_log(&server).contains("_sort"), "P12");
    // What is malformed is refused all the same, and what would export more than was asked for.
    for query in [
        "_since=yesterday",
        "_outputFormat=xml",
        "_type=ValueSet",
        "_type=",
        "_since=2024-01-01T00:00:00Z&_since=2024-01-01T00:00:00Z",
    ] {
        let answer = send("GET", &format!("{}/Patient/$export?{query}", server.base), &LENIENT);
        assert!(matches!(answer.status, 400 | 404), "{query}: {answer:?}");
    }
}
