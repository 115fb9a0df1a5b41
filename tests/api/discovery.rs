//! What the server says of itself: `metadata`, `/healthz`, `/readyz`, `/metrics`.

use super::*;

#[test]
fn metadata_names_the_operations_that_are_there() {
    let setup = Setup::new();
    let server = setup.start();
    let url = format!("{}/metadata", server.base);
    for accept in ["application/fhir+json", "application/json", "application/json+fhir", "*/*"] {
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
    assert_eq!(resources.len(), 2);
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
        let answer = get(&format!("{root}/metrics"));
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
        String::from_utf8(answer.body).unwrap()
    };
    assert_eq!(get(&format!("{root}/healthz")).json(), serde_json::json!({"status": "ok"}));
    let ready = get(&format!("{root}/readyz"));
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &true.into()));
    assert!(ready.json()["reaper"]["passes"].as_u64() >= Some(1));

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
    let after = eventually("the metrics", || {
        Some(metrics()).filter(|text| sample(text, "evanesce_erased_files_total", "") > 0.0)
    });
    assert!(sample(&after, "evanesce_erased_bytes_total", "") >= bytes);
    assert_eq!(sample(&after, "evanesce_jobs_total", "state=\"erased\""), 1.0);
    assert_eq!(sample(&after, "evanesce_http_requests_total", "operation=\"request\",status=\"404\""), 1.0);
    assert_eq!(sample(&after, "evanesce_cancel_seconds_count", ""), 1.0);
    assert!(
        sample(&after, "evanesce_commit_seconds_count", "")
            > sample(&before, "evanesce_commit_seconds_count", "")
    );
    assert_eq!(sample(&after, "evanesce_marked_jobs", ""), 0.0);
    // P12, and no endless list of labels: no id and no path of a request.
    assert!(!after.contains(job_id(&polling)));
    for line in after.lines() {
        assert!(line.starts_with("evanesce_") || line.starts_with("# ") || line.is_empty(), "{line}");
    }
}
