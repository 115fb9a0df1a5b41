//! The kick-off (requirements section 3): what is accepted, and every refusal with its
//! documented status and code.

use super::*;

/// A kick-off with the given query and headers.
fn call(server: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    send("GET", &format!("{}/{path}", server.base), headers)
}

/// K-7; and the job is ended, so that jobs do not pile up.
fn assert_accepted(server: &Server, answer: &Answer, what: &str) {
    assert_eq!(answer.status, 202, "{what}: {answer:?}");
    assert_eq!(answer.issue(), ("information".into(), "processing".into()), "{what}");
    assert_eq!(answer.header("cache-control"), "no-store", "{what}");
    let location = answer.header("content-location");
    let id = location.strip_prefix(&format!("{}/bulk-api/request/", server.base)).unwrap();
    assert!(is_uuid(id), "G-1: {location}");
    assert_eq!(delete(location).status, 202, "{what}");
}

#[test]
fn good_kickoffs_are_accepted_with_a_polling_location() {
    let setup = Setup::new();
    let server = setup.start();
    for path in [
        "$export",
        "%24export",
        "Patient/$export",
        "Patient/%24export",
        "Group/All_Patients/$export",
        "Group/All_Patients/%24export",
        "Group/%41ll_Patients/$export?_type=Patient",
        "$export?",
        "$export?_type=Patient",
        "$export?_type=Patient,Observation",
        "$export?_type=Patient%2CObservation",
        "$export?_type=Patient&_type=Observation",
        "$export?_type=Patient,Observation&_type=Observation,Patient,Patient",
        "$export?_type=ValueSet",
        "$export?%5Ftype=Patient",
        "$export?_outputFormat=application%2Ffhir%2Bndjson",
        "$export?_outputFormat=application/fhir%2Bndjson",
        "$export?_outputFormat=application/fhir+ndjson",
        "$export?_outputFormat=application%2Fndjson",
        "$export?_outputFormat=ndjson",
        "Patient/$export?&_type=Patient&&_outputFormat=ndjson&",
        "$export?_since=2024-02-29T00:00:00Z",
        "Patient/$export?_since=2024-02-29T00:00:00.000Z&_until=2024-02-29T00:00:00.001Z",
        "$export?_since=2024-01-01T00:00:00%2B14:00",
        // A raw plus is a space by the time it is read.
        "$export?_since=2024-01-01T00:00:00+01:00",
        "$export?_since=2024-01-01T00:00:00%2001:00",
        "$export?_since=2016-12-31T23:59:60-00:00",
        "$export?_since=0001-01-01T00:00:00Z&_until=9999-12-31T23:59:59.999Z",
        "Group/All_Patients/$export?_until=0001-01-01T00:00:00Z",
    ] {
        assert_accepted(&server, &call(&server, path, &KICKOFF), path);
    }
    for headers in [
        // C4: a wildcard is a valid Accept; section 15: lists with weights.
        &[("Accept", "*/*"), ("Prefer", "respond-async")][..],
        &[("Accept", "application/json"), ("Prefer", "respond-async")],
        &[("Accept", "application/json+fhir"), ("Prefer", "respond-async")],
        &[("Accept", "application/fhir+json, */*; q=0.1"), ("Prefer", "respond-async")],
        &[("Accept", "text/html;q=0.9, application/fhir+json;q=0.1"), ("Prefer", "respond-async")],
        &[("Accept", "text/html"), ("Accept", "application/json"), ("Prefer", "respond-async")],
        // Old Java's, and weights that cannot be read.
        &[("Accept", "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"), ("Prefer", "respond-async")],
        &[("Accept", "*/*;q=0.1234"), ("Prefer", "respond-async")],
        &[("Accept", "application/fhir+json; q=2x"), ("Prefer", "respond-async")],
        // K-3: lists, repeats, any case, parameters.
        &[("Accept", "*/*"), ("Prefer", "respond-async, handling=lenient")],
        &[("Accept", "*/*"), ("Prefer", "handling=lenient,RESPOND-ASYNC")],
        &[("Accept", "*/*"), ("Prefer", "handling=lenient"), ("Prefer", "Respond-Async")],
        &[("Accept", "*/*"), ("Prefer", "respond-async; wait=10")],
    ] {
        assert_accepted(&server, &call(&server, "$export", headers), &format!("{headers:?}"));
    }
}

#[test]
fn bad_kickoffs_are_refused_with_the_documented_status_and_code() {
    let setup = Setup::new();
    let server = setup.start();
    for (path, status, code) in [
        ("$export?_outputFormat=application/xml", 400, "invalid"),
        ("$export?_outputFormat=text/html", 400, "invalid"),
        ("$export?_outputFormat=x-custom", 400, "invalid"),
        ("$export?_outputFormat=", 400, "invalid"),
        ("$export?_outputFormat=NDJSON", 400, "invalid"),
        ("$export?_outputFormat=application/fhir%2Bndjson%20", 400, "invalid"),
        ("$export?_outputFormat=ndjson&_outputFormat=ndjson", 400, "not-supported"),
        // C9: no type of R4, and a type that is not exported.
        ("$export?_type=MissingType", 400, "invalid"),
        ("$export?_type=patient", 400, "invalid"),
        ("$export?_type=DomainResource", 400, "invalid"),
        ("$export?_type=Patient%20", 400, "invalid"),
        ("$export?_type=Patient,+Observation", 400, "invalid"),
        ("Patient/$export?_type=ValueSet", 404, "not-supported"),
        ("Patient/$export?_type=Library,ValueSet", 404, "not-supported"),
        ("Patient/$export?_type=Location,ValueSet", 400, "not-supported"),
        ("$export?_type=Bundle", 404, "not-supported"),
        // K-19
        ("$export?_type=", 400, "invalid"),
        ("$export?_type", 400, "invalid"),
        ("$export?_type=Patient,", 400, "invalid"),
        ("$export?_type=,Patient", 400, "invalid"),
        ("$export?_type=Patient&_type=", 400, "invalid"),
        ("$export?_since=", 400, "invalid"),
        ("$export?_since", 400, "invalid"),
        ("$export?_since=2024", 400, "invalid"),
        ("$export?_since=2024-01-01", 400, "invalid"),
        ("$export?_since=2024-01-01T00:00Z", 400, "invalid"),
        ("$export?_since=2024-01-01T00:00:00", 400, "invalid"),
        ("$export?_since=2024-01-01+00:00:00Z", 400, "invalid"),
        ("$export?_since=+2024-01-01T00:00:00Z", 400, "invalid"),
        ("$export?_since=2024-01-01T00:00:00Z+", 400, "invalid"),
        ("$export?_since=2024-01-01t00:00:00z", 400, "invalid"),
        ("$export?_since=2023-02-29T00:00:00Z", 400, "invalid"),
        ("$export?_since=2024-01-01T24:00:00Z", 400, "invalid"),
        ("$export?_since=2024-01-01T00:00:00%2B14:01", 400, "invalid"),
        ("$export?_since=0000-01-01T00:00:00Z", 400, "invalid"),
        ("$export?_since=9999-12-31T23:59:59Z", 400, "invalid"),
        ("$export?_since=2024-01-01T00:00:00Z,2024-01-01T00:00:00Z", 400, "invalid"),
        ("$export?_since=yesterday%00", 400, "invalid"),
        ("$export?_until=", 400, "invalid"),
        ("$export?_until=2024-13-01T00:00:00Z", 400, "invalid"),
        ("$export?_since=2024-01-01T00:00:00Z&_until=2024-01-01T00:00:00Z", 400, "invalid"),
        ("$export?_since=2024-01-01T00:00:00Z&_until=2024-01-01T00:59:59%2B01:00", 400, "invalid"),
        ("Group/All_Patients/$export?_since=2024-01-01", 400, "invalid"),
        ("$export?_since=2024-01-01T00:00:00Z&_since=2024-01-01T00:00:00Z", 400, "not-supported"),
        ("$export?_until=2024-01-01T00:00:00Z&_until=2024-01-02T00:00:00Z", 400, "not-supported"),
        ("Group/All_Patients/$export?_type=ValueSet", 404, "not-supported"),
        // What is not supported yet is refused, not ignored.
        ("$export?_TYPE=Patient", 400, "not-supported"),
        ("$export?_typ%65s=Patient", 400, "not-supported"),
        ("$export?=", 400, "not-supported"),
        ("$export?x", 400, "not-supported"),
        // A malformed URL is `structure`.
        ("$export?_type=%", 400, "structure"),
        ("$export?_type=%5", 400, "structure"),
        ("$export?_type=%zz", 400, "structure"),
        ("$export?_type=%ff", 400, "structure"),
        ("$export?%ff=Patient", 400, "structure"),
        ("$export?_since=%ff", 400, "structure"),
        ("Group/%ff/$export", 400, "structure"),
        ("Group/%zz/$export", 400, "structure"),
        // No such place.
        ("$Export", 404, "not-found"),
        ("$export/", 404, "not-found"),
        ("patient/$export", 404, "not-found"),
        ("Patient/1/$export", 404, "not-found"),
        ("Group/$export", 404, "not-found"),
        ("Group//$export", 404, "not-found"),
        ("Group/a/b/$export", 404, "not-found"),
        ("group/All_Patients/$export", 404, "not-found"),
        ("Group/All_Patients/$export/", 404, "not-found"),
        ("Export/KickoffRequest", 404, "not-found"),
    ] {
        let answer = call(&server, path, &KICKOFF);
        assert_eq!(answer.outcome(), outcome(status, code), "{path}");
        assert_eq!(answer.issue().0, "error", "{path}");
        assert_eq!(answer.header("content-location"), "", "{path}");
    }
    let foreign = send("GET", &format!("{}/$export", server.base.replace("default", "another")), &KICKOFF);
    assert_eq!(foreign.outcome(), outcome(404, "not-found"));
    for headers in [
        &[][..],
        &[("Accept", "application/fhir+json")],
        &[("Prefer", "respond-async")],
        &[("Accept", ""), ("Prefer", "respond-async")],
        &[("Accept", "application/fhir+json"), ("Prefer", "")],
        &[("Accept", "application/fhir+json"), ("Prefer", "respond-sync")],
        &[("Accept", "application/fhir+json"), ("Prefer", "handling=respond-async")],
        &[("Accept", "application/fhir+json"), ("Prefer", "respond-asyncs")],
        &[("Accept", "text/html"), ("Prefer", "respond-async")],
        &[("Accept", "application/fhir+ndjson"), ("Prefer", "respond-async")],
        &[("Accept", "application/fhir+json;q=0, application/json;q=0.0"), ("Prefer", "respond-async")],
        &[("Accept", "*/*;q=0"), ("Prefer", "respond-async")],
    ] {
        // Before the parameters and the tenant are looked at (G-7).
        let answer = call(&server, "$export?_type=MissingType", headers);
        assert_eq!(answer.outcome(), outcome(406, "structure"), "{headers:?}");
    }
    assert_eq!(setup.disk().files(), Vec::<std::path::PathBuf>::new(), "nothing was started");
}

#[test]
fn other_methods_are_refused_with_those_that_are_allowed() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient");
    let file = first_file(&manifest);
    let at = |path: &str| format!("{}/{path}", server.base);
    for (url, allow, methods) in [
        (at("$export"), "GET, POST", &["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"][..]),
        (at("Patient/$export"), "GET, POST", &["PUT", "DELETE"]),
        (at("Group/All_Patients/$export"), "GET, POST", &["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]),
        (at("Group/All_Patients"), "GET, HEAD", &["POST", "PUT", "DELETE"]),
        (at("Group"), "GET, HEAD", &["POST", "PUT", "DELETE"]),
        (at("Binary/x"), "GET, HEAD", &["POST", "PUT", "DELETE"]),
        (at("OperationDefinition/export"), "GET, HEAD", &["POST", "PUT", "DELETE"]),
        (polling.clone(), "GET, HEAD, DELETE", &["POST", "PUT", "PATCH", "OPTIONS"]),
        // D-9
        (file.clone(), "GET, HEAD", &["DELETE", "POST", "PUT"]),
        (at("metadata"), "GET, HEAD", &["DELETE", "POST"]),
        (at("bulk-api/request"), "", &["DELETE", "GET"]),
        (at("bulk-api/request/unknown"), "GET, HEAD, DELETE", &["POST"]),
        // The method before Accept (G-7).
        (server.base.replace("/r4/default", "/healthz"), "GET", &["DELETE", "POST"]),
    ] {
        for method in methods {
            let answer = send(method, &url, &[("Accept", "image/png")]);
            assert_eq!((answer.status, answer.header("allow")), (405, allow), "{method} {url}");
            if *method != "HEAD" {
                assert_eq!(answer.outcome(), outcome(405, "not-supported"), "{method} {url}");
            }
        }
    }
    assert_eq!(get(&polling).status, 200);
    assert_eq!(get(&file).status, 200);
}

#[test]
fn too_many_active_jobs_are_throttled_until_one_is_deleted() {
    let setup = Setup::new().set("export.max_active_jobs=2").braked(0);
    let server = setup.start();
    // Of many at once, exactly as many as there is room for.
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..12).map(|_| scope.spawn(|| call(&server, "$export", &KICKOFF))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let accepted: Vec<_> = answers.iter().filter(|answer| answer.status == 202).collect();
    let [first, second] = accepted[..] else { panic!("{answers:?}") };
    let [first, second] = [first, second].map(|answer| answer.header("content-location").to_string());
    assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 10);
    for _ in 0..3 {
        let refused = call(&server, "$export", &KICKOFF);
        assert_eq!(refused.outcome(), outcome(429, "throttled"), "K-9");
        assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
        assert_eq!(refused.header("content-location"), "");
    }
    assert_eq!(setup.disk().jobs("building").len(), 2, "a refused kick-off leaves nothing");
    // D-7: a deleted job does not count, from its 202 on.
    assert_eq!(delete(&first).status, 202);
    let third = server.kickoff("$export");
    assert_eq!(call(&server, "$export", &KICKOFF).outcome(), outcome(429, "throttled"));
    for polling in [second, third] {
        assert_eq!(delete(&polling).status, 202, "a DELETE is never refused for load");
    }
}
