//! P12: what may name a patient lives in the job's directory and goes with it.

use std::path::Path;

use crate::support::{KICKOFF, Setup, delete, get, job_id, send};

/// Stands in a resource, in a broken line and in a kick-off's parameters.
const PLANTED: &str = "Mrn-4711-Wintergreen";

/// The files below `folder` that hold the planted text.
fn holders(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holders(&path));
        } else {
            let content = std::fs::read(&path).unwrap_or_default();
            if memchr::memmem::find(&content, PLANTED.as_bytes()).is_some() {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn a_planted_identifier_is_in_the_jobs_directory_only_and_goes_with_it() {
    let source = tempfile::tempdir().unwrap();
    let patient = format!("{{\"resourceType\":\"Patient\",\"id\":\"{PLANTED}\"}}\n");
    let broken = format!("{{\"resourceType\":\"Patient\",\"name\":\"{PLANTED}\n");
    std::fs::write(source.path().join("patients.ndjson"), patient + &broken).unwrap();
    let setup = Setup::new().source(source.path());
    let server = setup.start();
    // Refused, and what it asked for is not logged.
    for path in [
        format!("$export?patient={PLANTED}&_type={PLANTED}"),
        format!("Patient/$export?_since={PLANTED}"),
        format!("Group/{PLANTED}/$export?_until={PLANTED}"),
    ] {
        let refused = send("GET", &format!("{}/{path}", server.base), &KICKOFF);
        assert_eq!(refused.status, 400, "{path}");
    }
    let (polling, manifest) = server.export("$export");
    let url = manifest["output"][0]["url"].as_str().unwrap();
    assert!(String::from_utf8(get(url).body).unwrap().contains(PLANTED), "it was exported");
    assert_eq!(manifest["error"].as_array().unwrap().len(), 1, "the broken line was counted");

    let job = job_id(&polling);
    let held = holders(setup.folder.path());
    assert_eq!(held.len(), 1, "{held:?}");
    assert!(held[0].contains(&format!("/ready/{job}/")), "{held:?}");

    assert_eq!(delete(&polling).status, 202);
    setup.receipt(job);
    assert_eq!(holders(setup.folder.path()), Vec::<String>::new());
}
