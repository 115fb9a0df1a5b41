//! Section 3: the kick-off.

use super::*;

fn with(server: &Server, headers: &[(&str, &str)]) -> Answer {
    send("GET", &format!("{}/Patient/$export?_type=Patient", server.base), headers)
}

#[test]
fn k_2_accept_is_demanded_and_may_be_a_wildcard() {
    let setup = Setup::new();
    let server = setup.start();
    let prefer = KICKOFF[1];
    assert_eq!(with(&server, &[prefer]).outcome(), outcome(406, "structure"), "C4, BDT");
    for accept in ["application/fhir+json", "*/*", "application/json", "application/fhir+json, */*; q=0.1"] {
        assert_eq!(with(&server, &[("Accept", accept), prefer]).status, 202, "{accept}");
    }
    assert_eq!(with(&server, &[("Accept", "text/html"), prefer]).outcome(), outcome(406, "structure"));
}

#[test]
fn k_3_prefer_is_a_list_that_may_repeat_and_has_respond_async() {
    let setup = Setup::new();
    let server = setup.start();
    let accept = KICKOFF[0];
    for headers in [
        &[accept, ("Prefer", "respond-async")][..],
        &[accept, ("Prefer", "respond-async, handling=lenient")],
        &[accept, ("Prefer", "handling=strict"), ("Prefer", "Respond-Async; wait=10")],
    ] {
        assert_eq!(with(&server, headers).status, 202, "{headers:?}");
    }
    for headers in
        [&[accept][..], &[accept, ("Prefer", "handling=lenient")], &[accept, ("Prefer", "wait=10")]]
    {
        assert_eq!(with(&server, headers).outcome(), outcome(406, "structure"), "{headers:?}");
    }
}

#[test]
fn k_6_lists_are_one_whether_by_comma_or_repeated() {
    let setup = Setup::new();
    let server = setup.start();
    let expected = ["Condition", "Observation", "Patient"];
    for query in [
        "_type=Patient,Observation,Condition",
        "_type=Patient&_type=Observation&_type=Condition",
        "_type=Patient,Observation&_type=Condition,Patient",
        "_type=Patient%2CObservation%2CCondition",
    ] {
        let (_, manifest) = server.export(&format!("Patient/$export?{query}"));
        assert_eq!(types(&manifest), expected, "{query}");
    }
    // Section 15: both by comma and repeated, without lenience.
    for query in [
        "includeAssociatedData=LatestProvenanceResources,RelevantProvenanceResources",
        "includeAssociatedData=LatestProvenanceResources&includeAssociatedData=RelevantProvenanceResources",
    ] {
        assert_eq!(server.try_kickoff(&format!("Patient/$export?{query}")).status, 202, "{query}");
    }
}

/// Also C12, C15, INF-4.
#[test]
fn k_7_success_is_a_202_with_the_polling_location_and_an_outcome() {
    let setup = Setup::new();
    let server = setup.start();
    for path in ["$export", "Patient/$export", "Group/All_Patients/$export", "Patient/%24export"] {
        let answer = server.try_kickoff(path);
        assert_eq!((answer.status, answer.issue().0.as_str()), (202, "information"), "{path}");
        let location = answer.header("content-location");
        assert!(location.starts_with("http://"), "absolute: {location}");
        assert!(matches!(get(location).status, 200 | 202));
    }
}

#[test]
fn k_8_the_error_table_but_for_what_tokens_and_applications_decide() {
    let setup = Setup::new().set("protocol.refuse_duplicates=true");
    let server = setup.start();
    let nobody = server.base.replace("/default", "/nobody");
    let good = format!("{}/Patient/$export", server.base);
    assert_eq!(server.try_kickoff("Patient/$export").status, 202);
    for (url, headers, status, code) in [
        (format!("{good}?%zz=1"), &KICKOFF[..], 400, "structure"),
        (format!("{good}?_outputFormat=xml"), &KICKOFF, 400, "invalid"),
        (format!("{good}?_since=yesterday"), &KICKOFF, 400, "invalid"),
        (format!("{nobody}/Patient/$export"), &KICKOFF, 404, "not-found"),
        (format!("{}/Group/nobody/$export", server.base), &KICKOFF, 404, "not-found"),
        (format!("{good}?_type=ValueSet"), &KICKOFF, 404, "not-supported"),
        (good.clone(), &[], 406, "structure"),
        (good.clone(), &KICKOFF, 409, "duplicate"),
    ] {
        assert_eq!(send("GET", &url, headers).outcome(), outcome(status, code), "{url}");
    }
}

#[test]
fn k_10_a_patient_export_has_compartments_and_what_they_refer_to() {
    let folder = source_of(&[
        r#"{"resourceType":"Patient","id":"p"}"#,
        r#"{"resourceType":"Encounter","id":"e","subject":{"reference":"Patient/p"},"serviceProvider":{"reference":"Organization/o"}}"#,
        r#"{"resourceType":"Encounter","id":"nobodys"}"#,
        r#"{"resourceType":"Organization","id":"o"}"#,
        r#"{"resourceType":"Organization","id":"other"}"#,
        r#"{"resourceType":"ValueSet","id":"v"}"#,
    ]);
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let ids = |path: &str| {
        let (_, manifest) = server.export(path);
        let mut ids: Vec<_> =
            resources(&manifest).iter().map(|it| it["id"].as_str().unwrap().to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids("Patient/$export"), ["e", "o", "p"]);
    assert_eq!(ids("$export"), ["e", "nobodys", "o", "other", "p", "v"]);
}

#[test]
fn k_12_references_go_out_as_they_stand_in_the_source() {
    let line = r#"{"resourceType":"Observation","id":"o","subject":{"reference":"https://h/fhir/Patient/p"},"encounter":{"reference":"Encounter/e"}}"#;
    let folder = source_of(&[r#"{"resourceType":"Patient","id":"p"}"#, line]);
    let setup = Setup::new().source(folder.path()).set("source.base_url=https://h/fhir");
    let server = setup.start();
    let (_, manifest) = server.export("Patient/$export?_type=Observation");
    assert_eq!(get(manifest["output"][0]["url"].as_str().unwrap()).body, format!("{line}\n").as_bytes());
}

#[test]
fn k_19_repeats_collapse_or_are_refused() {
    let setup = Setup::new();
    let server = setup.start();
    let (_, manifest) = server.export("Patient/$export?_type=Patient,Patient&_type=Patient");
    assert_eq!(types(&manifest), ["Patient"]);
    for (query, code) in [
        ("_type=Patient,", "invalid"),
        ("_type=,Patient", "invalid"),
        ("_since=2024-01-01T00:00:00Z&_since=2024-01-01T00:00:00Z", "not-supported"),
        ("_outputFormat=ndjson&_outputFormat=ndjson", "not-supported"),
        ("organizeOutputBy=Patient&organizeOutputBy=Patient", "not-supported"),
        ("allowPartialManifests=true&allowPartialManifests=true", "not-supported"),
    ] {
        assert_eq!(
            server.try_kickoff(&format!("Patient/$export?{query}")).outcome(),
            outcome(400, code),
            "{query}"
        );
    }
}

#[test]
fn k_20_what_is_created_after_the_transaction_time_is_not_returned() {
    let folder = source_of(&[r#"{"resourceType":"Patient","id":"before"}"#]);
    let setup = Setup::new().source(folder.path());
    // Held after its plan, which took the view of the source.
    let server = setup.start_with(&["--breakpoint", "plan-written=hold"]);
    let polling = server.kickoff("$export");
    eventually("the plan", || {
        setup.disk().files().iter().any(|file| file.ends_with("plan.json")).then_some(())
    });
    std::fs::write(folder.path().join("later.ndjson"), "{\"resourceType\":\"Patient\",\"id\":\"after\"}\n")
        .unwrap();
    server.kill();
    let server = setup.start();
    let polling = format!("{}/bulk-api/request/{}", server.base, job_id(&polling));
    let manifest = server.wait_complete(&polling);
    assert_eq!(resources(&manifest).len(), 1, "K-20");
    assert_eq!(resources(&server.export("$export").1).len(), 2);
}

#[test]
fn inf_13_a_since_of_a_week_ago_with_an_offset_is_accepted_and_deleted() {
    let setup = Setup::new();
    let server = setup.start();
    let week_ago = jiff::ZonedDateTime::now().with_time_zone(jiff::tz::TimeZone::fixed(jiff::tz::offset(-5)));
    let week_ago = week_ago.checked_sub(jiff::Span::new().days(7)).unwrap().strftime("%Y-%m-%dT%H:%M:%S%:z");
    let since = week_ago.to_string().replace('+', "%2B");
    let answer = server.try_kickoff(&format!("Patient/$export?_since={since}"));
    assert_eq!(answer.status, 202, "{since} {answer:?}");
    assert_eq!(delete(answer.header("content-location")).status, 202);
}
