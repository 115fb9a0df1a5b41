//! DELETE by state and what follows (DESIGN section 3): the answer of the DELETE, then of the
//! next GET, HEAD, DELETE and file GET, at once and when the files are erased.

use super::*;

/// One row: a job in a state, what DELETE answers, and the issue code of everything after it.
struct Row {
    state: &'static str,
    polling: String,
    file: String,
    delete: (u16, &'static str),
    after: &'static str,
}

/// A file URL of the job, whether or not there is such a file.
fn some_file(polling: &str) -> String {
    let name = "00000000-0000-4000-8000-000000000000_Patient.ndjson";
    format!("{}/{name}", polling.replace("/request/", "/download/"))
}

/// D-5, to the letter.
fn assert_accepted(answer: &Answer, job: &str, state: &str) {
    assert_eq!(answer.status, 202, "{state}: {answer:?}");
    assert_eq!(answer.issue(), ("information".into(), "processing".into()), "{state}");
    assert_eq!(answer.header("cache-control"), "no-store", "G-12");
    let json = answer.json();
    assert!(is_uuid(json["id"].as_str().unwrap()));
    let text = json["issue"][0]["details"]["text"].as_str().unwrap();
    let (first, second) = text.split_once('\n').unwrap();
    assert_eq!(first, format!("Cancellation of Bulkdata request <{job}> has been accepted."));
    let instant = second.strip_prefix("\t\t\t\t\tCancellation requested at : ").unwrap();
    assert_eq!(instant.len(), "2024-05-10T03:14:12Z".len(), "{instant}");
    let instant: jiff::Timestamp = instant.parse().unwrap();
    assert!((jiff::Timestamp::now().as_second() - instant.as_second()).abs() < 60);
}

/// What everything answers about a job that is not there (any more).
fn assert_gone(row: &Row) {
    let Row { state, polling, file, after, .. } = row;
    for (method, url) in
        [("GET", polling), ("DELETE", polling), ("GET", file), ("GET", polling), ("DELETE", polling)]
    {
        let answer = send(method, url, &[]);
        assert_eq!(answer.outcome(), outcome(404, after), "{state}: {method} {url}");
        assert_eq!(answer.issue().0, "error", "G-9");
        // A code of its own with each answer, which the text quotes.
        let json = answer.json();
        let reference = format!("Reference id for support: [{}].", json["id"].as_str().unwrap());
        assert!(json["issue"][0]["details"]["text"].as_str().unwrap().ends_with(&reference), "{json}");
    }
    for url in [polling, file] {
        let head = send("HEAD", url, &[]);
        assert_eq!((head.status, head.body.len()), (404, 0), "{state}: HEAD {url}");
        assert_eq!(head.header("content-type"), "application/fhir+json", "D-9: HEAD follows GET");
    }
    // A bad Accept is refused before any job is looked up.
    let refused = send("DELETE", polling, &[("Accept", "text/html")]);
    assert_eq!(refused.outcome(), outcome(406, "structure"), "{state}");
}

fn walk_through(row: &Row) {
    let Row { state, polling, delete, .. } = row;
    let before = get(polling);
    let refused = send("DELETE", polling, &[("Accept", "application/fhir+ndjson")]);
    assert_eq!(refused.outcome(), outcome(406, "structure"), "{state}");
    let foreign = polling.replace("/r4/default/", "/r4/another/");
    for method in ["DELETE", "GET"] {
        assert_eq!(send(method, &foreign, &[]).outcome(), outcome(404, "not-found"), "{state}, other tenant");
    }
    let unchanged = get(polling);
    assert_eq!(before.status, unchanged.status, "{state}: nothing has happened yet");

    let answer = send("DELETE", polling, &[("Accept", "application/json")]);
    match delete {
        (202, _) => assert_accepted(&answer, job_id(polling), state),
        (status, code) => assert_eq!(answer.outcome(), outcome(*status, code), "{state}"),
    }
    assert_gone(row);
}

#[test]
fn every_state_answers_delete_and_what_follows_as_in_the_table() {
    let sources = copy_of_source();
    let setup = Setup::new().source(sources.path()).braked(200_000);
    let server = setup.start();
    let accepted = |state, polling: String, file| Row {
        state,
        polling,
        file,
        delete: (202, "processing"),
        after: "deleted",
    };

    let (complete, manifest) = server.export("$export?_type=Organization");
    let file = first_file(&manifest);
    assert_eq!(get(&file).status, 200);
    let complete = accepted("complete", complete, file);

    let failed = server.kickoff("$export");
    server.wait_braked(&failed);
    touch_all(sources.path());
    setup.release_brake();
    eventually("the failure", || (get(&failed).status == 500).then_some(()));
    assert_eq!(get(&failed).issue(), ("fatal".into(), "processing".into()), "ST-5, ST-6");
    assert_eq!(get(&some_file(&failed)).outcome(), outcome(404, "not-found"));
    let failed = accepted("failed", failed.clone(), some_file(&failed));

    setup.brake(200_000);
    let running = server.kickoff("$export");
    server.wait_braked(&running);
    // Whatever the workers take up next writes nothing.
    setup.brake(0);
    let queued = server.kickoff("Patient/$export");
    let progress = get(&queued);
    assert_eq!((progress.status, progress.header("x-progress")), (202, "0.0% complete"), "ST-2");
    assert_eq!(get(&some_file(&running)).outcome(), outcome(404, "not-found"), "no file before the manifest");

    let file = some_file(&queued);
    let queued = accepted("queued", queued, file);
    let file = some_file(&running);
    let running = accepted("running", running, file);
    for row in [queued, running, complete, failed] {
        walk_through(&row);
        // Marked by now; and the same answers when it is erased.
        let receipt = setup.receipt(job_id(&row.polling));
        let reason = if ["queued", "running"].contains(&row.state) { "cancelled" } else { "deleted" };
        assert_eq!(receipt["reason"], reason, "{}", row.state);
        assert!(!setup.disk().has(job_id(&row.polling)), "{}", row.state);
        walk_through(&Row { state: "erased", delete: (404, "deleted"), ..row });
    }
    assert_eq!(setup.disk().files(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn ids_that_nobody_knows_are_not_found() {
    let setup = Setup::new();
    let server = setup.start();
    let (live, _) = server.export("$export?_type=Patient");
    let id = job_id(&live).to_string();
    let upper = id.to_uppercase();
    let ids = [
        "6ccfb23c-34ff-4f4f-9f77-d54b92e10bd4",
        "00000000-0000-0000-0000-000000000000",
        "not-an-id",
        "1",
        "%00",
        "..%2f..",
        "%7B6ccfb23c-34ff-4f4f-9f77-d54b92e10bd4%7D",
        &id[..35],
        &format!("{id}0"),
        &format!("{id}%20"),
        &id.replace('-', ""),
        &format!("%7B{id}%7D"),
        &format!("urn:uuid:{id}"),
    ];
    for id in ids.into_iter().chain((upper != id).then_some(upper.as_str())) {
        let polling = format!("{}/bulk-api/request/{id}", server.base);
        let file = some_file(&polling);
        assert_gone(&Row { state: "unknown", polling, file, delete: (404, "not-found"), after: "not-found" });
    }
    assert_eq!(get(&live).status, 200);
}

#[test]
fn a_delete_succeeds_when_the_files_are_gone_already() {
    let setup = Setup::new();
    let server = setup.start();
    for all in [false, true] {
        let (polling, manifest) = server.export("$export?_type=Patient,Goal");
        let (job, file) = (job_id(&polling), first_file(&manifest));
        let directory = setup.data_dir().join("ready").join(job);
        if all {
            std::fs::remove_dir_all(&directory).unwrap();
        } else {
            std::fs::remove_file(directory.join(file.rsplit('/').next().unwrap())).unwrap();
        }
        // Somebody has been at our files: the fault is ours, until the job is marked as lost.
        let answer = get(&file);
        if answer.status == 500 {
            assert_eq!(answer.issue(), ("fatal".into(), "exception".into()));
            assert!(!answer.json().to_string().contains(setup.data_dir().to_str().unwrap()));
        } else {
            assert_eq!(answer.outcome(), outcome(404, "deleted"));
        }
        let answer = delete(&polling);
        match answer.status {
            202 => assert_accepted(&answer, job, "gone"),
            _ => assert_eq!((all, answer.outcome()), (true, outcome(404, "deleted")), "D-8"),
        }
        assert_gone(&Row {
            state: "gone",
            polling: polling.clone(),
            file,
            delete: (404, ""),
            after: "deleted",
        });
        setup.receipt(job);
    }
}

#[test]
fn a_job_whose_sweep_fails_is_deleted_for_everybody_all_the_same() {
    let setup = Setup::new();
    // EBUSY, for ever.
    let server = setup.start_with(&["--fault", "unlink:16:4000000000"]);
    let (polling, manifest) = server.export("$export?_type=Patient");
    let row =
        Row { state: "marked", polling, file: first_file(&manifest), delete: (202, ""), after: "deleted" };
    walk_through(&row);
    eventually("a failed sweep", || {
        server.operator("readyz").json()["reaper"]["failed"].as_u64().filter(|n| *n > 0)
    });
    assert!(setup.disk().has(job_id(&row.polling)));
    walk_through(&Row { delete: (404, "deleted"), ..row });
}

/// Also C5.
#[test]
fn an_expired_job_is_deleted_and_when_its_tombstone_is_over_it_is_not_found() {
    let setup = Setup::new().set("retention.completed=300ms").set("reaper.interval=50ms");
    let server = setup.start();
    server.pause_reaper();
    let (polling, manifest) = server.export("$export?_type=Patient");
    let file = first_file(&manifest);
    server.resume_reaper();
    eventually("the expiry", || (get(&polling).status == 404).then_some(()));
    let row = Row { state: "expired", polling, file, delete: (404, "deleted"), after: "deleted" };
    walk_through(&row);
    assert_eq!(setup.receipt(job_id(&row.polling))["reason"], "expired");
    walk_through(&row);
    drop(server);

    let setup = setup.set("retention.tombstones=200ms");
    let server = setup.start();
    let polling = row
        .polling
        .replace(row.polling.split("/r4").next().unwrap(), server.base.split("/r4").next().unwrap());
    let mut seen = Vec::new();
    eventually("the end of the tombstone", || {
        let (status, code) = get(&polling).outcome();
        assert_eq!(status, 404);
        if seen.last() != Some(&code) {
            seen.push(code);
        }
        seen.contains(&"not-found".to_string()).then_some(())
    });
    assert!(seen == ["not-found"] || seen == ["deleted", "not-found"], "{seen:?}");
    let file = some_file(&polling);
    let row = Row { state: "forgotten", polling, file, delete: (404, "not-found"), after: "not-found" };
    walk_through(&row);
    // The receipt outlives the tombstone.
    assert_eq!(setup.receipt(job_id(&row.polling))["reason"], "expired");
}

#[test]
fn export_delete_request_is_the_same_operation_behind_a_preference() {
    let setup = Setup::new();
    let server = setup.start();
    let call = |request: &str, headers: &[(&str, &str)]| {
        send("GET", &format!("{}/Export/DeleteRequest{request}", server.base), headers)
    };
    const PREFER: (&str, &str) = ("Prefer", "respond-async");
    let (polling, manifest) = server.export("$export?_type=Patient");
    let id = job_id(&polling).to_string();
    let escaped = polling.replace(':', "%3A").replace('/', "%2F");

    for (request, headers, status, code) in [
        // C1: what a link, a crawler or a prefetch can send deletes nothing.
        (format!("?request={id}"), &[][..], 406, "structure"),
        (format!("?request={id}"), &[("Prefer", "return=minimal")], 406, "structure"),
        (format!("?request={id}"), &[PREFER, ("Accept", "text/html")], 406, "structure"),
        (String::new(), &[PREFER], 400, "invalid"),
        (format!("?request={id}&request={id}"), &[PREFER], 400, "invalid"),
        (format!("?job={id}"), &[PREFER], 400, "not-supported"),
        ("?request=".into(), &[PREFER], 404, "not-found"),
        ("?request=nonsense".into(), &[PREFER], 404, "not-found"),
        ("?request=%zz".into(), &[PREFER], 400, "structure"),
        (format!("?request=http://other.example/{id}"), &[PREFER], 404, "not-found"),
        (format!("?request={}/status", polling), &[PREFER], 404, "not-found"),
        (format!("?request={}", escaped.replace("default", "another")), &[PREFER], 404, "not-found"),
    ] {
        assert_eq!(call(&request, headers).outcome(), outcome(status, code), "{request} {headers:?}");
    }
    let wrong = format!("{}/Export/DeleteRequest?request={id}", server.base.replace("default", "another"));
    assert_eq!(send("GET", &wrong, &[PREFER]).outcome(), outcome(404, "not-found"));
    let posted = send("DELETE", &format!("{}/Export/DeleteRequest?request={id}", server.base), &[PREFER]);
    assert_eq!((posted.outcome(), posted.header("allow")), (outcome(405, "not-supported"), "GET"));
    assert_eq!(get(&polling).status, 200, "nothing of that has deleted anything");

    assert_accepted(&call(&format!("?request={escaped}"), &[PREFER]), &id, "by URL");
    let file = first_file(&manifest);
    let row = Row { state: "by URL", polling, file, delete: (404, "deleted"), after: "deleted" };
    assert_gone(&row);
    for request in [&id, &escaped] {
        let again = call(&format!("?request={request}"), &[PREFER]);
        assert_eq!(again.outcome(), outcome(404, "deleted"));
    }

    let (polling, _) = server.export("Patient/$export?_type=Patient");
    assert_accepted(&call(&format!("?request={}", job_id(&polling)), &[PREFER]), job_id(&polling), "by id");
    assert_eq!(get(&polling).outcome(), outcome(404, "deleted"));
}
