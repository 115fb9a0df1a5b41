//! A server with tenants in its settings.

use super::*;

#[test]
fn a_server_with_tenants_and_without_default_starts_and_default_is_not_there() {
    let folder = source().display();
    let setup = Setup::new()
        .set(&format!("tenants.a.source.folder={folder}"))
        .set(&format!("tenants.b.source.folder={folder}"));
    let server = setup.start();
    let (origin, tenant) = server.base.split_once("/r4/").unwrap();
    assert_eq!(tenant, "a");
    assert_eq!(get(&format!("{origin}/readyz")).status, 200);
    let default = format!("{origin}/r4/default");
    for path in ["$export", "Group", "Group/practice-1"] {
        let answer = send("GET", &format!("{default}/{path}"), &KICKOFF);
        assert_eq!(answer.outcome(), (404, "not-found".into()), "{path}");
    }
    let resources: usize = std::fs::read_dir(source())
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap().lines().count())
        .sum();
    let resources = 2.0 * resources as f64;
    eventually("both indexes", || (server.metric("evanesce_index_resources") == resources).then_some(()));
}

#[test]
fn k_15_patient_export_is_switched_by_tenant() {
    let off = Setup::new().set("tenants.default.patient_export=false");
    let server = off.start();
    let answer = server.try_kickoff("Patient/$export");
    assert_eq!(answer.status, 501);
    let on = Setup::new().set("protocol.patient_export=false").set("tenants.default.patient_export=true");
    on.start().export("Patient/$export?_type=Patient");
}

#[test]
fn each_tenant_has_its_own_data_jobs_and_urls() {
    let other = tempfile::tempdir().unwrap();
    let patient = r#"{"resourceType":"Patient","id":"of-b"}"#;
    std::fs::write(other.path().join("Patient.ndjson"), format!("{patient}\n")).unwrap();
    let setup = Setup::new()
        .set(&format!("tenants.a.source.folder={}", source().display()))
        .set(&format!("tenants.b.source.folder={}", other.path().display()));
    let server = setup.start();
    let origin = server.base.strip_suffix("/r4/a").unwrap();
    let base_b = format!("{origin}/r4/b");
    let (polling_a, _) = server.export("$export?_type=Patient");
    let answer = send("GET", &format!("{base_b}/Patient/$export"), &KICKOFF);
    let polling_b = answer.header("content-location").to_string();
    assert!(polling_b.starts_with(&format!("{base_b}/bulk-api/request/")), "{polling_b}");
    let manifest = server.wait_complete(&polling_b);
    assert_eq!(manifest["request"], format!("{base_b}/Patient/$export"));
    let (url, text) = download_all(&manifest).remove(0);
    assert!(url.starts_with(&base_b), "{url}");
    assert_eq!(String::from_utf8(text).unwrap().trim_end(), patient);
    // P10: at the other tenant each is unknown.
    let unknown = outcome(404, "not-found");
    for wrong in [polling_a.replace("/r4/a/", "/r4/b/"), polling_b.replace("/r4/b/", "/r4/a/")] {
        assert_eq!(get(&wrong).outcome(), unknown, "{wrong}");
        assert_eq!(delete(&wrong).outcome(), unknown, "{wrong}");
    }
    assert_eq!(get(&url.replace("/r4/b/", "/r4/a/")).outcome(), unknown);
    assert_eq!(get(&format!("{base_b}/Group/practice-1")).outcome(), unknown);
    assert_eq!((get(&polling_a).status, get(&polling_b).status), (200, 200));
}
