//! Section 2: rules that all calls share.

use actix_web::{App, test};
use evanesce::http::{self, Api};
use evanesce::job::JobId;
use evanesce::{Evanesce, Kickoff};

use super::*;

#[test]
fn g_1_urls_have_the_models_shape() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, manifest) = server.export("Patient/$export?_type=Patient");
    assert!(server.base.ends_with("/r4/default"));
    let job = polling.strip_prefix(&format!("{}/bulk-api/request/", server.base)).unwrap();
    let url = manifest["output"][0]["url"].as_str().unwrap();
    let name = url.strip_prefix(&format!("{}/bulk-api/download/{job}/", server.base)).unwrap();
    let (uuid, rest) = name.split_once('_').unwrap();
    assert_eq!((uuid, rest), (uuid.to_uppercase().as_str(), "Patient.ndjson"));
    assert_eq!(uuid::Uuid::parse_str(uuid).unwrap().get_version_num(), 4);
    assert_eq!(job.parse::<JobId>().unwrap().to_string(), job);
}

#[test]
fn g_4_a_group_export_has_nothing_of_anybody_else() {
    let of = |patient: &str| {
        format!(
            r#"{{"resourceType":"Condition","id":"c{patient}","subject":{{"reference":"Patient/{patient}"}}}}"#
        )
    };
    let group = r#"{"resourceType":"Group","id":"g","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/a"}}]}"#;
    let patient = |id: &str| format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#);
    let folder = source_of(&[group, &patient("a"), &patient("b"), &of("a"), &of("b")]);
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let (_, manifest) = server.export("Group/g/$export?_type=Patient,Condition");
    let mut ids: Vec<_> =
        resources(&manifest).iter().map(|it| it["id"].as_str().unwrap().to_string()).collect();
    ids.sort();
    assert_eq!(ids, ["a", "ca"]);
    assert_eq!(server.try_kickoff("Group/other/$export").outcome(), outcome(404, "not-found"));
}

/// Also P10.
#[actix::test]
async fn g_5_a_job_of_another_client_answers_as_one_that_nobody_knows() {
    let folder = InstanceDir::new();
    let evanesce = Evanesce::builder().data_dir(folder.path()).start().await.unwrap();
    let theirs = evanesce.submit(Kickoff::system(), "somebody-else".parse().unwrap()).await.unwrap();
    evanesce.wait_finished(theirs).await;
    let app = App::new().configure(http::configure(Api::new(evanesce, "http://h")));
    let app = test::init_service(app).await;
    let unknown = JobId::random();
    for path in ["request/{}", "download/{}/X_Patient.ndjson"] {
        for method in ["GET", "HEAD", "DELETE"] {
            let ask = async |job: JobId| {
                let uri = format!("/r4/default/bulk-api/{}", path.replace("{}", &job.to_string()));
                let method = actix_web::http::Method::from_bytes(method.as_bytes()).unwrap();
                let request = test::TestRequest::default().method(method).uri(&uri).to_request();
                let answer = test::call_service(&app, request).await;
                let status = answer.status().as_u16();
                let text = String::from_utf8(test::read_body(answer).await.to_vec()).unwrap();
                // Each answer has an id of its own, which stands in it twice.
                let json: Value = serde_json::from_str(&text).unwrap_or_default();
                (status, text.replace(json["id"].as_str().unwrap_or("none"), ""))
            };
            assert_eq!(ask(theirs).await, ask(unknown).await, "{method} {path}");
        }
    }
}

#[test]
fn g_6_every_answer_has_a_request_id_of_the_servers_own() {
    let setup = Setup::new();
    let server = setup.start();
    let mut ids = std::collections::HashSet::new();
    for path in ["metadata", "$export", "bulk-api/request/x", "nowhere"] {
        let answer = send("GET", &format!("{}/{path}", server.base), &[("X-Request-Id", "mine")]);
        let id = answer.header("x-request-id").to_string();
        assert_eq!(id, answer.header("opc-request-id"), "{path}");
        assert!(id != "mine" && ids.insert(id), "{path}");
    }
}

#[test]
fn g_7_what_is_wrong_is_told_in_a_fixed_order() {
    let setup = Setup::new().set("export.max_active_jobs=1").set("protocol.refuse_duplicates=true");
    let setup = setup.braked(0).set("protocol.patient_export=false");
    let server = setup.start();
    let job = server.kickoff("$export");
    let root = server.base.strip_suffix("/default").unwrap();
    let everything = "_type=Elephant,ValueSet&_since=x";
    // Each request has all the faults of those below it.
    for (method, url, headers, status) in [
        ("PUT", format!("{root}/nobody/nowhere/$export?{everything}"), &[][..], 404),
        ("PUT", format!("{root}/nobody/Patient/$export?{everything}"), &[], 405),
        ("GET", format!("{root}/nobody/Patient/$export?{everything}"), &[], 406),
        ("GET", format!("{root}/nobody/Patient/$export?{everything}"), &KICKOFF[..1], 406),
        ("GET", format!("{root}/nobody/Patient/$export?{everything}"), &KICKOFF, 404),
        ("GET", format!("{root}/default/Patient/$export?{everything}"), &KICKOFF, 400),
        ("GET", format!("{root}/default/Patient/$export"), &KICKOFF, 501),
        ("GET", format!("{root}/default/Group/nobody/$export?_type=ValueSet"), &KICKOFF, 404),
        ("GET", format!("{root}/default/$export"), &KICKOFF, 429),
    ] {
        assert_eq!(send(method, &url, headers).status, status, "{method} {url} {headers:?}");
    }
    assert_eq!(delete(&job).status, 202);
}

#[test]
fn g_9_severity_follows_the_status() {
    let setup = Setup::new().set("protocol.patient_export=false");
    let server = setup.start();
    for (path, status, severity) in [
        ("$export", 202, "information"),
        ("$export?_type=Elephant", 400, "error"),
        ("Group/nobody/$export", 404, "error"),
        ("Patient/$export", 501, "fatal"),
    ] {
        let answer = server.try_kickoff(path);
        assert_eq!((answer.status, answer.issue().0.as_str()), (status, severity), "{path}");
    }
}

#[test]
fn g_10_each_kind_of_answer_has_its_media_type() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient");
    let file = manifest["output"][0]["url"].as_str().unwrap();
    assert_eq!(server.try_kickoff("$export").header("content-type"), "application/fhir+json");
    assert_eq!(get(&polling).header("content-type"), "application/json");
    assert_eq!(get(file).header("content-type"), "application/fhir+ndjson");
    assert_eq!(get(&format!("{file}x")).header("content-type"), "application/fhir+json");
    assert_eq!(delete(&polling).header("content-type"), "application/fhir+json");
}

#[test]
fn g_12_nothing_of_a_job_is_kept_in_a_cache() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient");
    let file = manifest["output"][0]["url"].as_str().unwrap();
    for answer in
        [server.try_kickoff("$export"), get(&polling), get(file), get(&format!("{file}x")), delete(&polling)]
    {
        assert_eq!(answer.header("cache-control"), "no-store", "{answer:?}");
    }
}

#[test]
fn c8_issue_codes_and_severities_are_of_r4_and_in_lower_case() {
    let setup = Setup::new();
    let server = setup.start();
    for path in ["$export", "$export?_type=Elephant", "Patient/$export?_type=ValueSet", "$export?%zz"] {
        let (severity, code) = server.try_kickoff(path).issue();
        assert!(["information", "error", "fatal"].contains(&severity.as_str()));
        assert_eq!(code, code.to_lowercase());
    }
}
