//! P12: what may name a patient lives in the job's directory and goes with it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use evanesce::JobOverview;
use memchr::memmem::find;

use crate::audit::audit_of;
use crate::console::http::{PAGES, SignedIn};
use crate::operator::order;
use crate::receipts::receipts_of;
use crate::support::{KICKOFF, Server, Setup, delete, get, job_id, post, send};

/// Stands in resources, in a broken line, in URLs, in parameters and in header fields.
const PLANTED: &str = "Mrn-4711-Wintergreen";

/// The files below `folder` that hold the planted text, and those whose names do.
fn holders(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holders(&path));
        } else {
            let content = std::fs::read(&path).unwrap_or_default();
            let path = path.display().to_string();
            if find(&content, PLANTED.as_bytes()).is_some() || path.contains(PLANTED) {
                found.push(path);
            }
        }
    }
    found
}

/// Store, receipts, audit log, index and logs on disk, the operator's answers and what the commands
/// print: none has the planted text but what is in these places of the job.
fn assert_nowhere_but(setup: &Setup, server: &Server, places: &[String]) {
    let held = holders(setup.folder.path());
    for holder in &held {
        assert!(places.iter().any(|place| holder.contains(place)), "{holder}");
    }
    for place in places {
        assert!(held.iter().any(|holder| holder.contains(place)), "{place} should have it: {held:?}");
    }
    let operator =
        ["healthz", "readyz", "metrics", "admin/status", "admin/jobs"].map(|name| server.operator(name));
    for answer in operator.into_iter().chain([get(&format!("{}/metadata", server.base))]) {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(find(&answer.body, PLANTED.as_bytes()).is_none(), "{answer:?}");
    }
    for arguments in [&["jobs", "--all"][..], &["jobs", "--output", "json"], &["status"], &["holds"]] {
        let printed = order(setup, arguments);
        assert!(!printed.is_empty() && !printed.contains(PLANTED), "{arguments:?}: {printed}");
    }
    let jobs: Vec<JobOverview> = serde_json::from_str(&order(setup, &["jobs", "--json"])).unwrap();
    for job in jobs {
        let printed = order(setup, &["jobs", "show", &job.job.to_string(), "--output", "json"]);
        assert!(!printed.contains(PLANTED), "{printed}");
    }
    let (signed_in, jobs) = (SignedIn::new(server), server.operator("admin/jobs").json());
    let jobs = jobs.as_array().unwrap().iter().flat_map(|job| {
        let page = format!("/console/jobs/{}", job["job"].as_str().unwrap());
        [page.clone(), format!("{page}/cancel"), format!("{page}/hold")]
    });
    for page in PAGES.into_iter().map(String::from).chain(jobs) {
        assert!(!signed_in.page(&page).contains(PLANTED), "{page}");
    }
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["verify"],
        &["export", "--format", "ndjson"],
        &["export", "--format", "fhir"],
    ] {
        let printed = receipts_of(&setup.data_dir(), arguments);
        assert!(!printed.contains(PLANTED), "{arguments:?}: {printed}");
    }
    for arguments in [&["verify"][..], &["export"], &["export", "--format", "fhir"]] {
        let printed = audit_of(&setup.data_dir(), arguments);
        assert!(!printed.is_empty() && !printed.contains(PLANTED), "{arguments:?}: {printed}");
    }
}

/// A server that logs all that it can, its libraries included.
fn start(setup: &Setup, arguments: &[&str]) -> Server {
    let mut command = setup.command();
    command.env("RUST_LOG", "trace").args(arguments);
    setup.launch(command)
}

/// Requests of all sorts that are refused; what they ask for may name a patient.
fn be_refused(server: &Server, file: &str) {
    let root = server.base.split("/r4/").next().unwrap();
    let named = [
        ("X-Request-Id", PLANTED),
        ("opc-request-id", PLANTED),
        ("User-Agent", PLANTED),
        ("Referer", PLANTED),
        ("Authorization", "Bearer Mrn-4711-Wintergreen"),
        ("Cookie", "patient=Mrn-4711-Wintergreen"),
    ];
    for path in [
        format!("$export?patient={PLANTED}&_type={PLANTED}"),
        format!("$export?{PLANTED}=1"),
        format!("$export?_typeFilter=Patient%3Fbirthdate%3D{PLANTED}"),
        format!("$export?_typeFilter={PLANTED}%3Fname%3D{PLANTED}"),
        format!("$export?_typeFilter=Patient%3F{PLANTED}%3D1"),
        format!("$export?_elements={PLANTED}"),
        format!("$export?includeAssociatedData={PLANTED}&organizeOutputBy={PLANTED}"),
        format!("Group/no-{PLANTED}"),
        format!("Group?{PLANTED}={PLANTED}"),
        format!("Binary/{PLANTED}"),
        format!("OperationDefinition/{PLANTED}"),
        format!("Patient/$export?_since={PLANTED}"),
        format!("Patient/$export?_since=2020-01-01T00:00:00Z{PLANTED}"),
        format!("Patient/$export?_outputFormat={PLANTED}"),
        format!("Group/{PLANTED}/$export?_until={PLANTED}"),
        format!("Group/no-{PLANTED}/$export"),
        format!("Group/{PLANTED}%zz/$export"),
        format!("Export/DeleteRequest?request={PLANTED}"),
        format!("bulk-api/request/{PLANTED}"),
        format!("bulk-api/download/{PLANTED}/{PLANTED}"),
        format!("Patient/{PLANTED}"),
    ] {
        let refused = send("GET", &format!("{}/{path}", server.base), &[&KICKOFF[..], &named].concat());
        assert!((400..500).contains(&refused.status), "{path}: {refused:?}");
    }
    for path in [format!("Group/{PLANTED}"), format!("Group?_id={PLANTED}&name={PLANTED}")] {
        assert_eq!(get(&format!("{}/{path}", server.base)).status, 200, "{path}");
    }
    let patient = format!(
        r#"{{"resourceType":"Parameters","parameter":[{{"name":"patient","valueReference":{{"reference":"Patient/no-{PLANTED}"}}}}]}}"#
    );
    let headers = [KICKOFF[0], KICKOFF[1], ("Content-Type", "application/fhir+json")];
    assert_eq!(post(&format!("{}/Patient/$export", server.base), &headers, &patient).status, 404);
    assert_eq!(post(&format!("{}/Patient/$export", server.base), &headers, PLANTED).status, 400);
    for url in [format!("{root}/r4/{PLANTED}/$export"), format!("{root}/{PLANTED}?{PLANTED}")] {
        assert!((400..500).contains(&get(&url).status), "{url}");
    }
    for name in ["Accept", "Range", "If-Range", "If-None-Match"] {
        assert!(send("GET", file, &[(name, PLANTED)]).status < 500, "{name}");
    }
    // No HTTP at all: the library turns it away.
    for head in [format!("{PLANTED}\r\n\r\n"), format!("GET /{PLANTED} HTTP/1.1\r\n{PLANTED}\r\n\r\n")] {
        let mut stream = TcpStream::connect(root.strip_prefix("http://").unwrap()).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    let prefer = [KICKOFF[0], ("Prefer", PLANTED)];
    assert!((400..500).contains(&send("GET", &format!("{}/$export", server.base), &prefer).status));
}

#[test]
fn p14_a_planted_identifier_can_be_seen_nowhere() {
    assert_eq!(places_of_a_planted_identifier("aes-256-gcm"), [""; 0]);
}

#[test]
fn without_encryption_a_planted_identifier_is_in_the_jobs_directory_only_and_goes_with_it() {
    assert_eq!(places_of_a_planted_identifier("none").len(), 3);
}

/// Where it is, from the kick-off to the receipt.
fn places_of_a_planted_identifier(encryption: &str) -> Vec<String> {
    let source = tempfile::tempdir().unwrap();
    let patient = format!(
        "{{\"resourceType\":\"Patient\",\"id\":\"{PLANTED}\",\"name\":[{{\"text\":\"{PLANTED}\"}}]}}\n"
    );
    let broken = format!("{{\"resourceType\":\"Patient\",\"name\":\"{PLANTED}\n");
    let group = format!(
        "{{\"resourceType\":\"Group\",\"id\":\"{PLANTED}\",\"actual\":true,\"type\":\"person\",\
         \"member\":[{{\"entity\":{{\"reference\":\"Patient/{PLANTED}\"}}}}]}}\n"
    );
    let observation = format!(
        "{{\"resourceType\":\"Observation\",\"subject\":{{\"reference\":\"Patient/{PLANTED}\"}},\
         \"valueString\":\"{}\"}}\n",
        "x".repeat(1000)
    );
    let text = patient + &broken + &group + &observation.repeat(1000);
    std::fs::write(source.path().join("patients.ndjson"), text).unwrap();
    let setup = Setup::new().source(source.path()).set(&format!("storage.encryption={encryption}"));

    // While it runs: the request names the group.
    setup.brake(200_000);
    let server = start(&setup, &[]);
    let polling = server.kickoff(&format!("Group/{PLANTED}/$export?_typeFilter=Patient%3Fname%3D{PLANTED}"));
    let job = job_id(&polling).to_string();
    let in_place = |place: &str| match encryption {
        "none" => vec![format!("/{place}/{job}/")],
        _ => Vec::new(),
    };
    server.wait_braked(&polling);
    assert_nowhere_but(&setup, &server, &in_place("building"));
    server.kill();
    setup.release_brake();

    // Complete, downloaded, and asked about in many ways.
    let server = start(&setup, &["--breakpoint", "sweep-begins=hold"]);
    let polling = format!("{}/bulk-api/request/{job}", server.base);
    let manifest = server.wait_complete(&polling);
    assert!(manifest["request"].as_str().unwrap().contains(PLANTED), "its owner may know");
    let url = manifest["output"][0]["url"].as_str().unwrap().to_string();
    assert!(String::from_utf8(get(&url).body).unwrap().contains(PLANTED), "it was exported");
    be_refused(&server, &url);
    assert_nowhere_but(&setup, &server, &in_place("ready"));

    // Marked, and not swept yet.
    assert_eq!(delete(&polling).status, 202);
    assert_nowhere_but(&setup, &server, &in_place("trash"));
    server.kill();

    // Erased.
    let server = start(&setup, &[]);
    setup.receipt(&job);
    assert_nowhere_but(&setup, &server, &[]);
    assert!(receipts_of(&setup.data_dir(), &["show", &job]).contains("deleted"));
    ["building", "ready", "trash"].map(in_place).concat()
}
