//! What one accepted request can cost (P13), at the bounds of requests: memory and disk of the real
//! binary, whatever is then done with the job; and what is answered beyond the bounds.

use evanesce::job::bounds::{MAX_ELEMENTS, MAX_FILTER_BYTES, MAX_FILTERS, MAX_NOTICES, MAX_PATIENTS};
use serde_json::json;

use super::*;

const HEADERS: [(&str, &str); 3] = [
    ("Accept", "application/fhir+json"),
    ("Prefer", "respond-async, handling=lenient"),
    ("Content-Type", "application/fhir+json"),
];

/// The patients of the source: as many as one request may name.
fn patient(n: usize) -> String {
    format!("patient-of-the-bounds-{n:05}")
}

/// A folder with them.
fn patients() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let line = |n| format!("{{\"resourceType\":\"Patient\",\"id\":\"{}\"}}\n", patient(n));
    std::fs::write(folder.path().join("a.ndjson"), (0..MAX_PATIENTS).map(line).collect::<String>()).unwrap();
    folder
}

fn parameters(parameters: Vec<Value>) -> String {
    let body = json!({"resourceType": "Parameters", "parameter": parameters}).to_string();
    assert!(body.len() <= 1 << 20, "{} is more than a body may have by default", body.len());
    body
}

/// All patients that may be named, and shown while they are written.
fn most_patients() -> String {
    let name =
        |n| json!({"name": "patient", "valueReference": {"reference": format!("Patient/{}", patient(n))}});
    let mut all: Vec<_> = (0..MAX_PATIENTS).map(name).collect();
    all.push(json!({"name": "allowPartialManifests", "valueBoolean": true}));
    parameters(all)
}

/// The longest filters that may be given, all elements, and more to be ignored than is told.
fn most_of_the_rest() -> String {
    let text = |name: &str, value: &str| json!({"name": name, "valueString": value});
    let each = MAX_FILTER_BYTES / MAX_FILTERS;
    let filter = |n: usize| {
        let filter = format!("Patient?_id={n:03}{}", format!(",{}", "x".repeat(37)).repeat(12));
        assert!((each - 60..=each).contains(&filter.len()), "{}", filter.len());
        text("_typeFilter", &filter)
    };
    // Every patient passes the first, and so is kept.
    let mut all = vec![text("_typeFilter", "Patient?_id:not=x")];
    all.extend((1..MAX_FILTERS).map(filter));
    let wrong = |n| format!("Observation.colour{n}{}", "\u{7}".repeat(40));
    let mut elements = vec!["Patient.birthDate".to_string()];
    elements.extend((1..MAX_ELEMENTS).map(wrong));
    all.push(text("_elements", &elements.join(",")));
    parameters(all)
}

/// A line of `/proc/{pid}/status` in bytes: `VmRSS` now, `VmHWM` at the most so far.
fn memory(server: &Server, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    1024 * line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
}

/// Bytes in the directory of a complete job that are not of its output.
fn documents(setup: &Setup, job: &str) -> u64 {
    let folder = setup.data_dir().join("ready").join(job);
    let documents = ["request.json", "plan.json", "job.json"].map(|name| folder.join(name));
    documents.iter().map(|path| path.metadata().unwrap().len()).sum()
}

const MIB: u64 = 1 << 20;

#[test]
fn p13_the_largest_requests_cost_little_of_memory_and_disk_in_every_operation() {
    let folder = patients();
    // Many parts: what each of them named would be there a hundred times and more.
    let setup = Setup::new().source(folder.path()).set("export.part_bytes=4096");
    // What the allocator keeps for each thread depends on what else this machine does.
    let mut command = setup.command();
    command.env("MALLOC_ARENA_MAX", "1");
    let server = setup.launch(command);
    let url = format!("{}/Patient/$export", server.base);
    let bodies = [most_patients(), most_of_the_rest()];
    let export = |body: &str| {
        let answer = post(&url, &HEADERS, body);
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.header("content-location").to_string()
    };
    // What the process needs once is there after the first ones.
    for body in &bodies {
        server.wait_complete(&export(body));
    }
    server.export("Patient/$export?_type=Patient");
    let before = memory(&server, "VmRSS");

    let mut jobs = Vec::new();
    for _ in 0..8 {
        for body in &bodies {
            let polling = export(body);
            // The partial manifests, page by page.
            get(&polling);
            get(&format!("{polling}?page=3"));
            let manifest = server.wait_complete(&polling);
            assert_eq!(get(&format!("{polling}?page=3")).status, if body == &bodies[0] { 200 } else { 404 });
            jobs.push((polling, manifest));
        }
        // By GET at the bound of a URL.
        let query = format!("_elements={}{}", "x,".repeat(400), "y".repeat(7000));
        let answer = send("GET", &format!("{url}?{query}"), &HEADERS[..2]);
        assert_eq!(answer.status, 202, "{answer:?}");
        let polling = answer.header("content-location").to_string();
        let manifest = server.wait_complete(&polling);
        jobs.push((polling, manifest));
    }
    for (n, (polling, manifest)) in jobs.iter().enumerate() {
        let (files, most) = (manifest["output"].as_array().unwrap().len(), 3 * MIB);
        assert!(files > 0, "{manifest}");
        let bytes = documents(&setup, job_id(polling));
        assert!(bytes < most, "job {n}: {bytes} bytes of documents");
    }
    let told = &jobs[1].1["error"];
    assert_eq!(told[0]["count"], MAX_NOTICES + 1, "K-5: {told}");
    let listed = server.operator("admin/jobs");
    assert!(listed.body.len() < 20_000, "{}", listed.body.len());
    let (after, peak) = (memory(&server, "VmRSS"), memory(&server, "VmHWM"));
    eprintln!("before {} MiB, after {} MiB, peak {} MiB", before / MIB, after / MIB, peak / MIB);
    // 24 jobs of up to a MiB of parameters: what is kept of each is small beside them.
    assert!(after.saturating_sub(before) < 24 * MIB, "{before} before, {after} after");
    assert!(peak < 300 * MIB, "{peak}");

    // The next process starts with them as they are.
    server.kill();
    let server = setup.start();
    let peak = memory(&server, "VmHWM");
    eprintln!("restarted: peak {} MiB", peak / MIB);
    assert!(peak < 200 * MIB, "{peak}");
    for (polling, manifest) in &jobs {
        let again = get(&format!("{}/bulk-api/request/{}", server.base, job_id(polling)));
        assert_eq!(again.json()["request"], manifest["request"], "MF-2");
        assert_eq!(
            again.json()["output"].as_array().unwrap().len(),
            manifest["output"].as_array().unwrap().len()
        );
    }
    for (polling, _) in &jobs {
        let job = job_id(polling);
        assert_eq!(delete(&format!("{}/bulk-api/request/{job}", server.base)).status, 202);
        setup.disk().wait_gone(job);
    }
}

#[test]
fn p13_the_largest_requests_that_run_are_taken_up_again_within_a_bound_of_memory() {
    let folder = patients();
    let slow = |setup: Setup| setup.set("export.max_bytes_per_second=4096").set("export.part_bytes=4096");
    let setup = slow(Setup::new().source(folder.path()));
    let server = setup.start();
    let url = format!("{}/Patient/$export", server.base);
    let bodies = [most_patients(), most_of_the_rest()];
    let kick_off = |n: usize| {
        let answer = post(&url, &HEADERS, &bodies[n % 2]);
        assert_eq!(answer.status, 202, "{answer:?}");
        job_id(answer.header("content-location")).to_string()
    };
    let jobs: Vec<_> = (0..20).map(kick_off).collect();
    let peak = memory(&server, "VmHWM");
    eprintln!("running: peak {} MiB", peak / MIB);
    assert!(peak < 300 * MIB, "{peak}");
    server.kill();
    let server = setup.start();
    for job in &jobs {
        let polling = format!("{}/bulk-api/request/{job}", server.base);
        let running = || Some(get(&polling)).filter(|answer| answer.header("x-progress") != "0.0% complete");
        // Some wait for their turn for long: those that have had one are enough.
        if job == &jobs[0] {
            assert_eq!(eventually("the export to go on", running).status, 202);
        }
        assert_eq!(get(&polling).status, 202);
    }
    let peak = memory(&server, "VmHWM");
    eprintln!("resumed: peak {} MiB", peak / MIB);
    assert!(peak < 300 * MIB, "{peak}");
    for job in &jobs {
        assert_eq!(delete(&format!("{}/bulk-api/request/{job}", server.base)).status, 202);
        setup.disk().wait_gone(job);
    }
}

#[test]
fn p13_others_are_answered_while_the_largest_requests_are_read() {
    let folder = patients();
    let setup = Setup::new().source(folder.path()).set("export.max_bytes_per_second=4096");
    let server = setup.start();
    let url = format!("{}/Patient/$export", server.base);
    let (bodies, root) = ([most_patients(), most_of_the_rest()], server.base.replace("/r4/default", ""));
    let done = std::sync::atomic::AtomicBool::new(false);
    let began = std::time::Instant::now();
    let slowest = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..32)
            .map(|n| {
                scope.spawn({
                    let (url, body) = (&url, &bodies[n % 2]);
                    move || post(url, &HEADERS, body)
                })
            })
            .collect();
        let watcher = scope.spawn(|| {
            let mut slowest = std::time::Duration::ZERO;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let asked = std::time::Instant::now();
                assert_eq!(get(&format!("{root}/healthz")).status, 200);
                slowest = slowest.max(asked.elapsed());
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            slowest
        });
        for sender in senders {
            assert!(matches!(sender.join().unwrap().status, 202 | 429));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        watcher.join().unwrap()
    });
    eprintln!("slowest answer of /healthz: {slowest:?}");
    // Whoever waits for the largest requests waits for most of them.
    let whole = began.elapsed();
    assert!(slowest < std::time::Duration::from_secs(3).max(whole / 4), "{slowest:?} of {whole:?}");
}

#[test]
fn p13_beyond_a_bound_a_kick_off_is_refused_and_says_what_it_is() {
    let setup = Setup::new();
    let server = setup.start();
    let url = format!("{}/Patient/$export", server.base);
    let repeated = |name: &str, key: &str, value: Value, n: usize| {
        parameters(vec![json!({"name": name, key: value}); n])
    };
    let reference = json!({"reference": "Patient/1"});
    for (body, text) in [
        (
            repeated("patient", "valueReference", reference, MAX_PATIENTS + 1),
            "patient has more than 10000 values",
        ),
        (repeated("_elements", "valueString", "x,".repeat(500_000).into(), 1), "a parameter has more than"),
        (
            repeated("_elements", "valueString", "x,".repeat(1000).into(), 1),
            "_elements has more than 1000 values",
        ),
        (
            repeated("_typeFilter", "valueString", "Patient?_id=1".into(), 501),
            "_typeFilter has more than 500 values",
        ),
        (repeated("x", "valueString", "x".into(), 12_001), "more than 12000 values"),
    ] {
        let answer = post(&url, &HEADERS, &body);
        assert_eq!(answer.outcome(), outcome(400, "too-costly"));
        let told = answer.json()["issue"][0]["details"]["text"].as_str().unwrap().to_string();
        assert!(told.contains(text) && answer.body.len() < 1000, "{told}");
    }
    assert!(setup.disk().files().is_empty());
}

#[test]
fn p13_who_keeps_too_many_finished_exports_gets_429_with_links_and_can_delete_one() {
    for profile in ["standard", "soarian"] {
        let profile = format!("protocol.profile={profile}");
        let setup = Setup::new().set("export.max_finished_jobs_per_client=3").set(&profile);
        let server = setup.start();
        let call = |server: &Server, day: usize| {
            let path = format!("Patient/$export?_type=Patient&_since=2020-01-0{day}T00:00:00Z");
            server.try_kickoff(&path)
        };
        let export = |server: &Server, day: usize| {
            let answer = call(server, day);
            assert_eq!(answer.status, 202, "{profile}: {answer:?}");
            let polling = answer.header("content-location").to_string();
            let complete = || (send("GET", &polling, &KICKOFF).status == 200).then_some(());
            eventually("the export", complete);
            polling
        };
        let jobs: Vec<_> = (1..4).map(|day| export(&server, day)).collect();
        let refused = call(&server, 4);
        assert_eq!(refused.outcome(), outcome(429, "throttled"));
        assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
        let links = refused.headers.get_all("link").iter();
        let mut links: Vec<_> = links.map(|link| link.to_str().unwrap().to_string()).collect();
        links.sort_unstable();
        let mut expected: Vec<_> = jobs.iter().map(|job| format!("<{job}>; rel=\"related\"")).collect();
        expected.sort_unstable();
        assert_eq!(links, expected);
        // Over a restart as well.
        server.kill();
        let server = setup.start();
        assert_eq!(call(&server, 4).status, 429);
        let first = format!("{}/bulk-api/request/{}", server.base, job_id(&jobs[0]));
        assert_eq!(send("DELETE", &first, &KICKOFF).status, 202);
        export(&server, 4);
    }
}

#[test]
fn p13_who_has_deleted_too_many_exports_waits_until_they_are_forgotten() {
    let setup = Setup::new().set("export.max_known_jobs_per_client=2").set("reaper.interval=20ms");
    let server = setup.start();
    for _ in 0..2 {
        let (polling, _) = server.export("$export?_type=Slot");
        assert_eq!(delete(&polling).status, 202);
    }
    let call = |server: &Server| server.try_kickoff("$export?_type=Slot");
    assert_eq!(call(&server).outcome(), outcome(429, "throttled"));
    server.kill();
    let setup = setup.set("retention.tombstones=1s");
    let server = setup.start();
    eventually("the end of a tombstone", || (call(&server).status == 202).then_some(()));
}

#[test]
fn p13_an_export_of_more_files_than_may_be_fails_and_says_so() {
    let setup = Setup::new().set("export.max_files=2");
    let server = setup.start();
    server.export("$export?_type=Patient,Encounter");
    let polling = server.kickoff("$export?_type=Patient,Encounter,Observation");
    let failed = eventually("the end", || Some(get(&polling)).filter(|answer| answer.status != 202));
    assert_eq!(failed.outcome(), (500, "processing".into()));
    let text = failed.json()["issue"][0]["details"]["text"].as_str().unwrap().to_string();
    assert!(text.contains("more files"), "{text}");
    eventually("its files to go", || (setup.disk().files().len() < 10).then_some(()));
}

#[test]
fn p13_a_document_beyond_its_bound_fails_its_job_and_not_the_start() {
    for (document, bytes) in [("request.json", 4 << 20), ("plan.json", 256 << 20)] {
        let setup = Setup::new().braked(200_000);
        let server = setup.start();
        let polling = server.kickoff("$export");
        server.wait_braked(&polling);
        server.kill();
        let path = setup.data_dir().join("building").join(job_id(&polling)).join(document);
        std::fs::OpenOptions::new()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(bytes + bytes / 4096 + 33)
            .unwrap();
        setup.release_brake();
        let server = setup.start();
        let polling = format!("{}/bulk-api/request/{}", server.base, job_id(&polling));
        let failed = eventually("the end", || Some(get(&polling)).filter(|answer| answer.status != 202));
        assert_eq!(failed.outcome(), (500, "processing".into()), "{document}");
        let text = failed.json()["issue"][0]["details"]["text"].as_str().unwrap().to_string();
        assert!(text.contains("longer plan"), "{text}");
        assert!(memory(&server, "VmHWM") < 200 * MIB);
        server.export("$export?_type=Patient");
    }
}

#[test]
fn p13_of_a_source_with_many_broken_lines_the_first_are_named_and_the_rest_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..11 {
        let good = "{\"resourceType\":\"Patient\",\"id\":\"p\"}\n";
        std::fs::write(folder.path().join(format!("{n}.ndjson")), format!("{good}{}", "[]\n".repeat(200)))
            .unwrap();
    }
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let (_, manifest) = server.export("$export");
    assert_eq!(manifest["error"][0]["count"], 1001);
    let body = String::from_utf8(get(manifest["error"][0]["url"].as_str().unwrap()).body).unwrap();
    assert!(body.lines().last().unwrap().contains("more lines of the source"), "{body}");
}
