//! Partial manifests (ST-9, MF-8): what can be had before all is written, page by page. What was
//! shown of an export once never changes, whatever happens to the server.

use super::*;

/// How many bytes an export writes whose first pages are looked at: half of them.
const HALF: u64 = 700_000;

fn setup() -> Setup {
    Setup::new().set("export.part_bytes=4096").set("download.delete_grace=0s")
}

fn urls(manifest: &Value) -> Vec<String> {
    let files = manifest["output"].as_array().unwrap().iter();
    files.map(|file| file["url"].as_str().unwrap().to_string()).collect()
}

fn next(manifest: &Value) -> Option<String> {
    let link = manifest["link"].as_array()?;
    assert_eq!((link.len(), &link[0]["relation"]), (1, &"next".into()), "MF-8");
    Some(link[0]["url"].as_str().unwrap().to_string())
}

/// The manifests that there are now, by their links from the polling URL on.
pub fn chain(polling: &str) -> Vec<Value> {
    let (mut url, mut manifests) = (Some(polling.to_string()), Vec::new());
    while let Some(page) = url {
        let answer = get(&page);
        assert!(matches!(answer.status, 200 | 202), "{answer:?}");
        if answer.body.is_empty() {
            assert!(manifests.is_empty(), "a link leads to what is there");
            break;
        }
        assert_eq!(answer.header("content-type"), "application/json");
        url = next(&answer.json());
        manifests.push(answer.json());
    }
    manifests
}

/// The same but for the link, which may be gained.
fn same(before: &Value, after: &Value) -> bool {
    let (mut before, mut after) = (before.clone(), after.clone());
    for manifest in [&mut before, &mut after] {
        manifest.as_object_mut().unwrap().remove("link");
    }
    before == after
}

/// The same file or manifest at a server that listens elsewhere.
fn moved(text: &str, server: &Server) -> String {
    let path = text.split_once("/r4/default").unwrap().1;
    format!("{}{path}", server.base)
}

#[test]
fn st_9_files_can_be_had_while_the_export_runs_and_never_change() {
    let setup = setup().braked(HALF);
    let server = setup.start();
    let polling = server.kickoff("Patient/$export?allowPartialManifests=true");
    let early = eventually("some manifests", || Some(chain(&polling)).filter(|chain| chain.len() >= 3));
    assert_eq!(get(&polling).status, 202, "the export should still run");
    let files: Vec<_> = early.iter().flat_map(urls).map(|url| (get(&url), url)).collect();
    assert!(
        files.iter().all(|(answer, url)| answer.status == 200 && !answer.body.is_empty() && !url.is_empty())
    );
    setup.release_brake();
    server.wait_complete(&polling);
    let all = chain(&polling);
    assert!(all.len() > early.len() && all.len() <= 100, "{}", all.len());
    assert!(early.iter().zip(&all).all(|(before, after)| same(before, after)));
    for (before, url) in &files {
        assert_eq!(get(url).body, before.body, "{url}");
    }
    // All pages together are the export.
    let (_, whole) = server.export("Patient/$export");
    let mut lines = Lines::new();
    for (resource_type, of_page) in all.iter().flat_map(exported) {
        lines.entry(resource_type).or_default().extend(of_page);
    }
    assert_eq!(sorted(lines), exported(&whole));
    assert!(whole["link"].is_null(), "MF-8: only if it was allowed");
}

#[test]
fn what_a_partial_manifest_listed_is_the_same_after_a_sigkill() {
    let setup = setup().braked(HALF / 2);
    let server = setup.start();
    let polling = server.kickoff("Patient/$export?allowPartialManifests=true");
    let early = eventually("some manifests", || Some(chain(&polling)).filter(|chain| chain.len() >= 3));
    let files: Vec<_> = early.iter().flat_map(urls).map(|url| (get(&url).body, url)).collect();
    server.kill();

    let server = setup.start();
    let polling = moved(&polling, &server);
    eventually("the pages", || (chain(&polling).len() >= early.len()).then_some(()));
    for (body, url) in &files {
        assert_eq!(get(&moved(url, &server)).body, *body, "{url}");
    }
    assert_eq!(get(&polling).status, 202, "as long as it still runs");
    setup.release_brake();
    server.wait_complete(&polling);
    let paths = |manifest: &Value| urls(manifest).iter().map(|url| moved(url, &server)).collect::<Vec<_>>();
    for (before, after) in early.iter().zip(chain(&polling)) {
        assert_eq!(paths(before), paths(&after));
        assert_eq!(before["transactionTime"], after["transactionTime"]);
    }
}

#[test]
fn a_delete_takes_partial_files_away_and_cuts_their_downloads() {
    let setup = setup().braked(HALF);
    let server = setup.start();
    let polling = server.kickoff("Patient/$export?allowPartialManifests=true");
    let manifest = eventually("a manifest", || chain(&polling).into_iter().find(|it| !urls(it).is_empty()));
    let file = urls(&manifest).remove(0);
    assert_eq!(get(&file).status, 200);
    assert_eq!(delete(&polling).status, 202);
    for url in [&polling, &file, &format!("{polling}?page=1")] {
        assert_eq!(get(url).outcome(), outcome(404, "deleted"), "{url}");
    }
    setup.disk().wait_gone(job_id(&polling));
}

#[test]
fn without_the_parameter_nothing_is_shown_before_the_export_is_complete() {
    let setup = setup().braked(HALF);
    let server = setup.start();
    let polling = server.kickoff("Patient/$export");
    server.wait_braked(&polling);
    let answer = get(&polling);
    assert_eq!((answer.status, answer.body.len()), (202, 0), "ST-1");
    assert_eq!(get(&format!("{polling}?page=1")).outcome(), outcome(404, "not-found"));
    // A file that is sealed and not shown is none.
    let sealed = eventually("a sealed file", || {
        let files = setup.disk().files();
        let name = files.iter().find(|file| file.to_str().unwrap().ends_with(".ndjson"))?;
        Some(name.file_name().unwrap().to_str().unwrap().to_string())
    });
    let url = format!("{}/bulk-api/download/{}/{sealed}", server.base, job_id(&polling));
    assert_eq!(get(&url).outcome(), outcome(404, "not-found"));
}

#[test]
fn pages_that_do_not_exist_are_not_found() {
    let setup = setup();
    let server = setup.start();
    let polling = server.kickoff("Patient/$export?_type=Patient&allowPartialManifests=true");
    server.wait_complete(&polling);
    let pages = chain(&polling).len();
    for page in [
        pages.to_string(),
        "100".into(),
        "18446744073709551616".into(),
        "-1".into(),
        "x".into(),
        String::new(),
    ] {
        let answer = get(&format!("{polling}?page={page}"));
        assert_eq!(answer.outcome(), outcome(404, "not-found"), "{page}");
    }
    assert_eq!(get(&format!("{polling}?page=0")).body, get(&polling).body);
    assert_eq!(get(&format!("{polling}?page=%zz")).outcome(), outcome(400, "structure"));
}

#[test]
fn an_export_that_fails_says_so_on_every_page_and_takes_its_files_away() {
    let setup = setup();
    let server = setup.start_with(&["--fault", "write:5:ever:12"]);
    let polling = server.kickoff("Patient/$export?allowPartialManifests=true");
    let failed = eventually("the failure", || Some(get(&polling)).filter(|answer| answer.status != 202));
    assert_eq!(failed.outcome(), outcome(500, "processing"), "ST-5");
    assert_eq!(get(&format!("{polling}?page=1")).outcome(), outcome(500, "processing"), "MF-8");
    eventually("the files to go", || {
        let files = setup.disk().files();
        let left = files.iter().filter(|file| file.to_str().unwrap().ends_with(".ndjson")).count();
        (left == 0).then_some(())
    });
}

#[test]
fn st_9_what_was_shown_is_there_at_every_moment_of_the_completion() {
    let setup = setup().set("export.max_bytes_per_second=3000000");
    let server = setup.start();
    for _ in 0..3 {
        let polling = server.kickoff("Patient/$export?allowPartialManifests=true");
        let first = eventually("a manifest", || chain(&polling).into_iter().find(|it| !urls(it).is_empty()));
        let file = urls(&first).remove(0);
        eventually("the end", || {
            assert_eq!(send("HEAD", &file, &[]).status, 200, "{file}");
            let page = get(&polling);
            assert!(!page.body.is_empty(), "{page:?}");
            (page.status == 200).then_some(())
        });
        assert_eq!(delete(&polling).status, 202);
    }
}
