//! The polling URL (requirements section 4).

use super::*;

/// The number of `N.N% complete` (C20).
fn percent(answer: &Answer) -> f64 {
    let number = answer.header("x-progress").strip_suffix("% complete").unwrap();
    assert_eq!(number.split('.').nth(1).unwrap().len(), 1, "one decimal: {number}");
    number.parse().unwrap()
}

#[test]
fn progress_only_grows_until_the_manifest_comes() {
    let setup = Setup::new().set("export.part_bytes=65536").braked(0);
    let server = setup.start();
    let polling = server.kickoff("$export");
    let (mut last, mut different) = (0.0, 0);
    let mut seen_running = jiff::Timestamp::now();
    let mut brake = 0;
    let manifest = eventually("the manifest", || {
        let asked = jiff::Timestamp::now();
        let answer = get(&polling);
        if answer.status == 200 {
            return Some(answer);
        }
        assert_eq!(answer.status, 202);
        assert!(answer.body.is_empty(), "ST-1");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1, "ST-3");
        assert_eq!(answer.header("expires"), "");
        let now = percent(&answer);
        assert!(last <= now && now < 100.0, "ST-2: {last} -> {now}");
        different += u32::from(now > last);
        // It is seen at each step, whatever the machine does meanwhile.
        if server.is_braked(&polling) {
            brake += 100_000;
            setup.brake(brake);
        }
        (last, seen_running) = (now, asked);
        None
    });
    assert!(different > 5, "it should be seen to move: {different}");
    for header in ["x-progress", "retry-after"] {
        assert_eq!(manifest.header(header), "");
    }
    // P8: counted from the end, which lies between two polls; an HTTP date has whole seconds.
    let expires = jiff::fmt::rfc2822::parse(manifest.header("expires")).unwrap().timestamp();
    let [least, most] = [seen_running, jiff::Timestamp::now()].map(|at| at.as_second() + 24 * 3600);
    assert!(
        (least..=most + 1).contains(&expires.as_second()),
        "{expires} should be between {least} s and {most} s"
    );
}

/// C3: what DELETE and GET take; the same list in both, sent by GET.
const ACCEPTED: [&[(&str, &str)]; 11] = [
    &[],
    &[("Accept", "")],
    &[("Accept", "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2")],
    &[("Accept", "*/*")],
    &[("Accept", "application/*")],
    &[("Accept", "application/json")],
    &[("Accept", "application/fhir+json")],
    &[("Accept", "application/json+fhir")],
    &[("Accept", "text/html, application/json;q=0.1")],
    &[("Accept", "application/json;q=0, application/fhir+json")],
    // C2: Prefer is not looked at.
    &[("Prefer", "respond-async"), ("Accept", "APPLICATION/JSON; charset=utf-8")],
];

const REFUSED: [&[(&str, &str)]; 7] = [
    &[("Accept", "text/html")],
    &[("Accept", "application/fhir+ndjson")],
    &[("Accept", "application/xml, text/*")],
    &[("Accept", "application/json;q=0")],
    &[("Accept", "*/*;q=0")],
    &[("Accept", "*/*, application/json;q=0, application/fhir+json;q=0, application/json+fhir;q=0")],
    &[("Accept", "nonsense")],
];

/// Also C3.
#[test]
fn accept_is_honoured_and_head_follows_get_in_every_state() {
    let sources = copy_of_source();
    let setup = Setup::new().source(sources.path()).braked(200_000);
    let server = setup.start();
    let (complete, _) = server.export("$export?_type=Organization");
    let failed = server.kickoff("$export");
    server.wait_braked(&failed);
    touch_all(sources.path());
    setup.release_brake();
    let failure = eventually("the failure", || Some(get(&failed)).filter(|answer| answer.status != 202));
    setup.brake(200_000);
    let running = server.kickoff("$export");
    server.wait_braked(&running);

    for (polling, status) in [(&running, 202), (&complete, 200), (&failed, 500)] {
        for headers in ACCEPTED {
            let answer = send("GET", polling, headers);
            assert_eq!(answer.status, status, "{headers:?}");
            let head = send("HEAD", polling, headers);
            assert_eq!((head.status, head.body.len()), (status, 0), "D-9: {headers:?}");
            for name in ["content-type", "content-length", "expires", "cache-control"] {
                assert_eq!(head.header(name), answer.header(name), "{status}: {name}");
            }
            assert_eq!(head.header("x-progress").is_empty(), status != 202);
        }
        for headers in REFUSED {
            assert_eq!(send("GET", polling, headers).outcome(), outcome(406, "structure"), "{headers:?}");
            assert_eq!(send("HEAD", polling, headers).status, 406, "{headers:?}");
        }
    }

    // ST-5, ST-6: a failure for good, with a reason, and nothing of the source in it.
    assert_eq!(failure.issue(), ("fatal".into(), "processing".into()));
    let text = failure.json()["issue"][0]["details"]["text"].to_string();
    assert!(
        text.contains("source data changed") && !text.contains(sources.path().to_str().unwrap()),
        "{text}"
    );
    eventually("partial files to go", || {
        let files = setup.disk().files();
        let of_failed = |f: &std::path::PathBuf| {
            f.to_str().unwrap().contains(job_id(&failed)) && f.to_str().unwrap().ends_with(".ndjson")
        };
        (!files.iter().any(of_failed)).then_some(())
    });
    // The failed job does not come in the way of the next.
    assert_eq!(delete(&running).status, 202);
    assert_eq!(server.export("$export?_type=Patient").1["error"], serde_json::json!([]));
}

#[test]
fn the_time_left_and_the_end_of_an_export_are_told() {
    let setup = Setup::new().set("export.max_bytes_per_second_per_job=60000");
    let server = setup.start();
    let gauge = |name: &str| {
        let metrics = server.operator("metrics");
        let text = String::from_utf8(metrics.body).unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap().to_string();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert_eq!((gauge("evanesce_work_planned"), gauge("evanesce_work_done")), (0.0, 0.0));
    // Over 20 seconds in all: half of what is left is far from both bounds.
    let long = server.kickoff("$export");
    eventually("an estimate", || {
        let left: u32 = get(&long).header("retry-after").parse().unwrap();
        assert!(left <= 30, "ST-3");
        (6..=25).contains(&left).then_some(())
    });
    setup.brake(0);
    let (planned, done) = (gauge("evanesce_work_planned"), gauge("evanesce_work_done"));
    assert!(planned > 1e6 && done > 0.0 && done < planned, "{done} of {planned}");
    assert_eq!(delete(&long).status, 202);
    setup.release_brake();
    assert_eq!(gauge("evanesce_work_planned"), 0.0, "a deleted export is no work any more");

    let (short, manifest) = server.export("$export?_type=Organization");
    let line = eventually("the log line", || {
        let log = setup.log();
        let line = log.lines().find(|line| line.contains("job completed"))?;
        Some(serde_json::from_str::<Value>(line).unwrap())
    });
    let bytes: usize = download_all(&manifest).iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(line["job"], job_id(&short));
    assert_eq!((&line["bytes"], &line["written"]), (&bytes.into(), &bytes.into()));
    let number = |key: &str| line[key].as_f64().unwrap();
    let expected = 1000.0 * number("written") / number("milliseconds").max(1.0);
    assert!((number("bytes_per_second") - expected).abs() <= 1.0, "{line}");
}

#[test]
fn k_4_the_status_of_the_export_is_told_apart_from_that_of_the_poll() {
    let setup = Setup::new().braked(0);
    let server = setup.start();
    let headers = [KICKOFF[0], ("Prefer", "respond-async, separate-export-status")];
    let url = format!("{}/Patient/$export", server.base);
    let answer = send("GET", &url, &headers);
    assert_eq!(
        (answer.status, answer.header("preference-applied")),
        (202, "respond-async, separate-export-status")
    );
    let polling = answer.header("content-location").to_string();
    let running = get(&polling);
    assert_eq!((running.status, running.header("x-export-status")), (200, "202 Accepted"));
    assert!(!running.header("x-progress").is_empty() && !running.header("retry-after").is_empty());
    setup.release_brake();
    let complete = eventually("the export", || {
        let answer = get(&polling);
        assert_eq!(answer.status, 200);
        (answer.header("x-export-status") == "200 OK").then_some(answer)
    });
    assert!(complete.json()["output"].is_array());
    assert_eq!(delete(&polling).status, 202);
    let gone = get(&polling);
    assert_eq!((gone.outcome(), gone.header("x-export-status")), (outcome(404, "deleted"), ""));
    // Nobody else is told so.
    let answer = send("GET", &url, &KICKOFF);
    assert_eq!(answer.header("preference-applied"), "");
    assert_eq!(get(answer.header("content-location")).header("x-export-status"), "");
}

#[test]
fn k_4_the_failure_of_an_export_is_no_failure_of_the_poll() {
    let setup = Setup::new();
    let server = setup.start_with(&["--fault", "write:5:ever:12"]);
    let headers = [KICKOFF[0], ("Prefer", "separate-export-status, respond-async")];
    let answer = send("GET", &format!("{}/$export", server.base), &headers);
    let polling = answer.header("content-location").to_string();
    let failed = eventually("the failure", || {
        let answer = get(&polling);
        assert_eq!(answer.status, 200);
        (answer.header("x-export-status") != "202 Accepted").then_some(answer)
    });
    assert_eq!(failed.header("x-export-status"), "500 Internal Server Error");
    assert_eq!(failed.issue(), ("fatal".into(), "processing".into()));
}

#[test]
fn a_manifest_that_the_client_has_is_not_sent_again() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    let first = get(&polling);
    let tag = first.header("etag").to_string();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    let again = send("GET", &polling, &[("If-None-Match", &tag)]);
    assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, tag.as_str()));
    assert_eq!(send("GET", &polling, &[("If-None-Match", "\"other\"")]).body, first.body);
    assert_eq!(delete(&polling).status, 202);
    assert_eq!(send("GET", &polling, &[("If-None-Match", &tag)]).status, 404, "P2");
}
