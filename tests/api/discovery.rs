//! What the server says of itself: `metadata`, `/healthz`, `/readyz`, `/metrics`.

use super::*;

#[test]
fn metadata_names_the_operations_that_are_there() {
    let setup = Setup::new();
    let server = setup.start();
    let url = format!("{}/metadata", server.base);
    for accept in ["application/fhir+json", "application/json+fhir", "*/*", ""] {
        let answer = send("GET", &url, &[("Accept", accept)]);
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/fhir+json"), "CP-1");
    }
    assert_eq!(send("GET", &url, &[("Accept", "text/html")]).outcome(), outcome(406, "structure"));
    assert_eq!(get(&url.replace("default", "another")).outcome(), outcome(404, "not-found"));

    let statement = get(&url).json();
    assert_eq!(statement["resourceType"], "CapabilityStatement");
    for (key, value) in [("status", "active"), ("kind", "instance"), ("fhirVersion", "4.0.1")] {
        assert_eq!(statement[key], value, "{key}");
    }
    assert_eq!(statement["implementation"]["url"], server.base);
    assert!(statement["implementation"]["description"].is_string());
    let bulk = "http://hl7.org/fhir/uv/bulkdata";
    assert_eq!(statement["instantiates"][0], format!("{bulk}/CapabilityStatement/bulk-data"));
    let rest = &statement["rest"][0];
    let operations = |value: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_string();
        value.as_array().unwrap().iter().map(|o| (text(&o["name"]), text(&o["definition"]))).collect()
    };
    let defined = |name: &str| format!("{bulk}/OperationDefinition/{name}");
    assert_eq!(operations(&rest["operation"]), [("export".into(), defined("export"))]);
    let resources = rest["resource"].as_array().unwrap();
    for (name, operation) in [("Group", "group-export"), ("Patient", "patient-export")] {
        let resource = resources.iter().find(|resource| resource["type"] == name).unwrap();
        let offered = operations(&resource["operation"]);
        // Section 15: under both names.
        let both = ["export", operation].map(|name| (name.to_string(), defined(operation)));
        assert_eq!(offered, both, "{name}");
    }
    // CP-2: what is named is there.
    for path in ["$export", "Patient/$export", "Group/All_Patients/$export"] {
        server.kickoff(path);
    }
}

#[test]
fn metadata_says_what_is_exported_and_what_is_not() {
    let setup = Setup::new().set("export.max_file_bytes=123456").set("export.references=all");
    let server = setup.start();
    let statement = get(&format!("{}/metadata", server.base)).json();
    assert_eq!(statement["software"]["name"], "Evanesce");
    assert_eq!(statement["software"]["version"], env!("CARGO_PKG_VERSION"));
    let rest = &statement["rest"][0];
    assert!(rest["security"]["description"].as_str().unwrap().contains("No authentication"));
    // CP-6.
    let told = rest["documentation"].as_str().unwrap();
    for word in ["123456", "all of them", "_since", "_until", "_type", "_outputFormat", "ndjson"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let resources = rest["resource"].as_array().unwrap();
    let of = |name: &str| resources.iter().find(|resource| resource["type"] == name);
    let codes = |name: &str| -> Vec<String> {
        let interactions = of(name).unwrap()["interaction"].as_array();
        let codes = interactions.into_iter().flatten().map(|i| i["code"].as_str().unwrap().to_string());
        codes.collect()
    };
    assert_eq!(codes("Group"), ["search-type", "read"], "K-14");
    // What is listed of a type that is searched is what its search takes, and no more.
    let parameters = of("Group").unwrap()["searchParam"].as_array().unwrap();
    let names: Vec<_> = parameters.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["_id", "identifier", "name"]);
    for name in names {
        assert_eq!(get(&format!("{}/Group?{name}=x", server.base)).status, 200, "{name}");
    }
    assert_eq!(codes("OperationDefinition"), ["search-type", "read"], "CP-5");
    assert_eq!(codes("Binary"), ["read"], "O-4");
    assert_eq!(codes("Observation"), [""; 0]);
    // CP-3: what is told is what happens.
    let excluded_from = |name: &str, canonical: &str| {
        let extensions = of(name).unwrap()["extension"].as_array();
        let mut canonicals = extensions.into_iter().flatten().map(|e| e["valueCanonical"].as_str().unwrap());
        canonicals.any(|excluded| excluded.ends_with(canonical))
    };
    for (name, system, patient) in
        [("Observation", 202, 202), ("Organization", 202, 202), ("ValueSet", 202, 404), ("Binary", 404, 404)]
    {
        for (path, definition, status) in
            [("$export", "/export", system), ("Patient/$export", "/patient-export", patient)]
        {
            let answer = server.try_kickoff(&format!("{path}?_type={name}"));
            assert_eq!(answer.status, status, "{path} {name}");
            let is_excluded = excluded_from(name, definition) || excluded_from(name, "/bulk-data");
            assert_eq!(is_excluded, status == 404, "{path} {name}");
        }
    }
    assert!(of("MissingType").is_none() && of("Bundle").is_none());
}

#[test]
fn metadata_takes_a_mode_and_a_format() {
    let setup = Setup::new();
    let server = setup.start();
    let at = |query: &str| get(&format!("{}/metadata?{query}", server.base));
    for query in [
        "mode=full",
        "mode=normative",
        "mode=terminology",
        "_format=json&mode=full",
        "_pretty=true",
        "_pretty=false",
    ] {
        assert_eq!(at(query).json()["resourceType"], "CapabilityStatement", "{query}");
    }
    for format in ["application/json", "application/fhir+json", "application/fhir%2Bjson", "JSON"] {
        assert_eq!(at(&format!("_format={format}")).status, 200, "{format}");
    }
    for (query, status, code) in [
        ("_format=xml", 406, "structure"),
        ("_format=application/fhir%2Bxml", 406, "structure"),
        ("_format=", 406, "structure"),
        ("_format=json&_format=xml", 406, "structure"),
        ("mode=some", 400, "invalid"),
        ("_format=%", 400, "structure"),
    ] {
        assert_eq!(at(query).outcome(), outcome(status, code), "{query}");
    }
    let url = format!("{}/metadata", server.base);
    let head = send("HEAD", &url, &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), get(&url).body.len().to_string());
    assert_eq!(at("nothing=true").outcome(), outcome(400, "not-supported"));
    let lenient = send("GET", &format!("{url}?nothing=true"), &[("Prefer", "handling=lenient")]);
    assert_eq!(lenient.status, 200, "K-5");
}

#[test]
fn what_does_not_change_has_a_tag() {
    let setup = Setup::new();
    let server = setup.start();
    let root = server.base.strip_suffix("/r4/default").unwrap();
    for url in [
        format!("{}/metadata", server.base),
        format!("{}/OperationDefinition", server.base),
        format!("{}/OperationDefinition/export", server.base),
        format!("{root}/openapi.json"),
    ] {
        let answer = get(&url);
        let tag = answer.header("etag");
        assert_eq!((answer.status, answer.header("cache-control")), (200, "no-cache"), "{url}");
        let unchanged = send("GET", &url, &[("If-None-Match", tag)]);
        assert_eq!(
            (unchanged.status, unchanged.header("etag"), unchanged.body.len()),
            (304, tag, 0),
            "{url}"
        );
        assert_eq!(
            send("GET", &url, &[("If-Match", "\"other\"")]).outcome(),
            outcome(412, "conflict"),
            "{url}"
        );
    }
}

#[test]
fn an_export_that_a_tenant_has_not_is_not_told_of() {
    let setup = Setup::new().set("protocol.patient_export=false").set("protocol.profile=soarian");
    let server = setup.start();
    let statement = get(&format!("{}/metadata", server.base)).json();
    let resources = statement["rest"][0]["resource"].as_array().unwrap();
    let of = |name: &str| resources.iter().find(|resource| resource["type"] == name);
    assert!(of("Patient").unwrap()["operation"].is_null() && of("Group").unwrap()["operation"].is_array());
    assert!(of("Claim").is_none(), "it is none of Soarian's types (K-16)");
    assert!(of("Patient").unwrap()["searchParam"].is_null(), "there is no _typeFilter");
    let patient_export = format!("{}/OperationDefinition/patient-export", server.base);
    assert_eq!(get(&patient_export).outcome(), outcome(404, "not-found"));
    assert_eq!(get(&format!("{}/OperationDefinition", server.base)).json()["total"], 2);
}

#[test]
fn two_slashes_at_the_end_of_the_base_url_are_one() {
    let setup = Setup::new();
    let server = setup.start();
    let base = format!("{}/", server.base);
    assert_eq!(get(&format!("{base}/metadata")).json()["implementation"]["url"], server.base);
    let url = format!("{base}/Group/All_Patients/$export?_type=Goal");
    let kickoff = send("GET", &url, &KICKOFF);
    assert_eq!(kickoff.status, 202);
    let polling = kickoff.header("content-location");
    let manifest = server.wait_complete(&polling.replace("/default/", "/default//"));
    assert_eq!(manifest["request"], url, "C7: as it was received");
    assert_eq!(get(&first_file(&manifest).replace("/default/", "/default//")).status, 200);
    assert_eq!(
        get(&format!("{base}//metadata")).outcome(),
        outcome(404, "not-found"),
        "three are two too many"
    );
    assert_eq!(get(&format!("{}//export", server.base)).outcome(), outcome(404, "not-found"));
}

/// The sum of all samples of a metric whose line contains `labels`.
fn sample(text: &str, name: &str, labels: &str) -> f64 {
    let of_metric = |line: &&str| {
        let rest = line.strip_prefix(name).unwrap_or_default();
        rest.starts_with(['{', ' ']) && line.contains(labels)
    };
    text.lines().filter(of_metric).map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[test]
fn health_readiness_and_metrics_follow_what_happens() {
    let setup = Setup::new();
    let server = setup.start();
    let root = server.base.strip_suffix("/r4/default").unwrap();
    let metrics = || {
        let answer = server.operator("metrics");
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
        String::from_utf8(answer.body).unwrap()
    };
    assert_eq!(get(&format!("{root}/healthz")).json(), serde_json::json!({"status": "ok"}));
    let ready = get(&format!("{root}/readyz"));
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &true.into()));
    assert_eq!(ready.json(), serde_json::json!({"ready": true}), "clients are told no more");
    let ready = server.operator("readyz").json();
    assert!(ready["ready"] == true && ready["reaper"]["passes"].as_u64() >= Some(1));

    let (polling, manifest) = server.export("$export?_type=Patient");
    let bytes = get(&first_file(&manifest)).body.len() as f64;
    let before = metrics();
    assert_eq!(sample(&before, "evanesce_written_bytes_total", ""), bytes);
    assert_eq!(sample(&before, "evanesce_jobs_total", "state=\"complete\""), 1.0);
    assert_eq!(sample(&before, "evanesce_jobs_total", "state=\"erased\""), 0.0);
    assert_eq!(sample(&before, "evanesce_http_requests_total", "operation=\"download\",status=\"200\""), 1.0);
    assert_eq!(delete(&polling).status, 202);
    assert_eq!(get(&polling).status, 404);
    setup.receipt(job_id(&polling));
    // The mark is dropped after the files are gone and counted.
    let after = eventually("the metrics", || {
        let is_over = |text: &String| {
            sample(text, "evanesce_erased_files_total", "") > 0.0
                && sample(text, "evanesce_marked_jobs", "") == 0.0
        };
        Some(metrics()).filter(is_over)
    });
    assert!(sample(&after, "evanesce_erased_bytes_total", "") >= bytes);
    assert_eq!(sample(&after, "evanesce_jobs_total", "state=\"erased\""), 1.0);
    assert_eq!(sample(&after, "evanesce_http_requests_total", "operation=\"request\",status=\"404\""), 1.0);
    assert_eq!(sample(&after, "evanesce_cancel_seconds_count", ""), 1.0);
    assert!(
        sample(&after, "evanesce_commit_seconds_count", "")
            > sample(&before, "evanesce_commit_seconds_count", "")
    );
    // P12, and no endless list of labels: no id and no path of a request.
    assert!(!after.contains(job_id(&polling)));
    for line in after.lines() {
        assert!(line.starts_with("evanesce_") || line.starts_with("# ") || line.is_empty(), "{line}");
    }
}
