//! Links that expire or are refused while an export is loaded (F-9): the manifest is asked for again, and
//! the download goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;

/// What a store of files says of a link that has expired: nothing in FHIR.
const EXPIRED: &[u8] = b"<?xml version=\"1.0\"?><Error><Message>Request has expired</Message></Error>";

/// A server that writes other links in each manifest: `/file/N/ROUND`, the rounds from 1. `files` says
/// what the manifest of a round lists, `file` what a link answers.
fn expiring(
    files: impl Fn(usize) -> Vec<Value> + Send + Sync + 'static,
    file: impl Fn(&Asked, usize, usize) -> Vec<u8> + Send + Sync + 'static,
) -> ScriptedServer {
    let rounds = AtomicUsize::new(0);
    ScriptedServer::new(move |asked| match asked.target.as_str() {
        "/$export" => scripted::kicked_off(asked),
        "/status" => {
            let round = rounds.fetch_add(1, Ordering::SeqCst) + 1;
            let mut items = files(round);
            for (n, item) in items.iter_mut().enumerate() {
                item["url"] = format!("{}/file/{n}/{round}?signature=secret", asked.base).into();
            }
            json_answer(200, &scripted::manifest(items))
        }
        target => {
            let numbers = target.strip_prefix("/file/").and_then(|rest| rest.split_once('?')).unwrap().0;
            let (n, round) = numbers.split_once('/').unwrap();
            file(asked, n.parse().unwrap(), round.parse().unwrap())
        }
    })
}

fn patients(count: usize) -> Vec<Value> {
    vec![json!({"type": "Patient", "count": 1}); count]
}

#[test]
fn f_9_a_link_that_expires_half_way_is_renewed_and_the_download_goes_on_by_range() {
    let text = "{\"resourceType\":\"Patient\"}\n".repeat(1000).into_bytes();
    let (half, whole) = (text.len() / 2, text.clone());
    let asked_old = Arc::new(AtomicUsize::new(0));
    let old = asked_old.clone();
    let server = expiring(
        |_| vec![json!({"type": "Patient", "count": 1000})],
        move |_, _, round| match (round, old.fetch_add(usize::from(round == 1), Ordering::SeqCst)) {
            (1, 0) => {
                let mut first = answer(200, "ETag: \"1\"\r\nConnection: close\r\n", &whole);
                first.truncate(first.len() - whole.len() + half);
                first
            }
            (1, _) => answer(403, "Content-Type: application/xml\r\n", EXPIRED),
            _ => {
                let range = format!("Content-Range: bytes {half}-{}/{}\r\n", whole.len() - 1, whole.len());
                answer(206, &range, &whole[half..])
            }
        },
    );
    let out = OutFolder::new();
    let ended = out.export(&server.url(), &["--token", "secret"]).succeeded();
    assert!(out.read("Patient.0001.ndjson") == text);
    let said = "the link of Patient.0001.ndjson is refused: ";
    assert!(
        ended.stderr.contains(said) && ended.stderr.contains("answered 403; asking for the manifest again")
    );
    assert!(!ended.stderr.contains("signature"), "a link opens a file to anybody: {ended:?}");
    assert_eq!((asked_old.load(Ordering::SeqCst), server.count("/status")), (2, 2));
    let asked = server.asked();
    let last = asked.last().unwrap();
    assert_eq!(last.field("range"), Some(&*format!("bytes={half}-")));
    assert_eq!(last.field("if-range"), Some("\"1\""));
    let files = asked.iter().filter(|asked| asked.target.starts_with("/file/"));
    assert!(files.into_iter().all(|asked| asked.field("authorization").is_none()), "F-1");
}

#[test]
fn f_9_whatever_a_store_says_of_an_expired_link_it_is_renewed_and_all_threads_have_it() {
    for status in [400, 401, 403, 404, 410] {
        let server = expiring(
            |_| patients(4),
            move |_, _, round| {
                if round == 1 { answer(status, "", EXPIRED) } else { answer(200, "", b"{}\n") }
            },
        );
        let out = OutFolder::new();
        out.export(&server.url(), &[]).succeeded();
        assert_eq!(out.manifest()["output"].as_array().unwrap().len(), 4);
        assert_eq!(server.count("/status"), 2, "{status}: one thread asks for all");
    }
}

#[test]
fn f_9_p13_a_link_that_stays_refused_is_renewed_three_times() {
    for (status, code) in [(404, 5), (403, 5)] {
        let server = expiring(|_| patients(1), move |_, _, _| answer(status, "", EXPIRED));
        let out = OutFolder::new();
        let ended = out.export(&server.url(), &[]);
        let ended =
            ended.failed(code, "the server does not give Patient.0001.ndjson, which its manifest names");
        assert!(ended.stderr.contains("tell its operator"), "{ended:?}");
        assert_eq!((server.count("/status"), server.asked().len()), (4, 1 + 4 + 4));
        assert!(!out.path().join("manifest.json").exists(), "nothing looks whole");
    }
}

#[test]
fn f_9_p13_the_manifest_is_asked_for_again_at_most_300_times_a_run() {
    // Each link is good for one file, so each further file wants another manifest.
    let export = |files: usize| {
        let server = expiring(
            move |_| patients(files),
            |_, n, round| if round == n + 1 { answer(200, "", b"{}\n") } else { answer(403, "", b"") },
        );
        let out = OutFolder::new();
        let ended = out.export(&server.url(), &["--parallel", "1"]);
        assert_eq!(server.count("/status"), 301);
        (out, ended)
    };
    export(301).1.succeeded();
    let (out, ended) = export(302);
    ended.failed(3, "the manifest was asked for again 300 times");
    assert!(!out.path().join("manifest.json").exists(), "nothing looks whole");
}

/// The manifest that is asked for again lists `then` in place of one file with one Patient.
fn renewed_as(then: Vec<Value>) -> Ended {
    let server = expiring(
        move |round| if round == 1 { patients(1) } else { then.clone() },
        |_, _, round| if round == 1 { answer(403, "", b"") } else { answer(200, "", b"{}\n") },
    );
    let out = OutFolder::new();
    let ended = out.export(&server.url(), &[]);
    assert_eq!(out.path().join("manifest.json").exists(), ended.code == Some(0));
    ended
}

#[test]
fn f_9_a_new_manifest_must_list_the_same_files() {
    renewed_as(patients(1)).succeeded();
    let other = [
        vec![],
        patients(2),
        vec![json!({"type": "Condition", "count": 1})],
        vec![json!({"type": "Patient", "count": 2})],
        vec![json!({"type": "Patient", "count": 1, "fileSize": 3})],
        vec![json!({"type": "Patient", "count": 1, "extension": {"sha256": "00".repeat(32)}})],
    ];
    for then in other {
        renewed_as(then).failed(7, "lists other files than before").stderr.contains("--restart");
    }
}

#[test]
fn f_9_an_export_that_is_gone_when_its_links_are_renewed_is_said_to_be_gone() {
    let polls = AtomicUsize::new(0);
    let server = ScriptedServer::new(move |asked| match asked.target.as_str() {
        "/$export" => scripted::kicked_off(asked),
        "/status" if polls.fetch_add(1, Ordering::SeqCst) == 0 => {
            let url = format!("{}/file", asked.base);
            json_answer(200, &scripted::manifest(vec![json!({"type": "Patient", "url": url})]))
        }
        "/status" => json_answer(
            404,
            &json!({"resourceType": "OperationOutcome",
            "issue": [{"code": "deleted", "details": {"text": "It was deleted."}}]}),
        ),
        _ => answer(404, "", b""),
    });
    let out = OutFolder::new();
    let ended = out.export(&server.url(), &[]).failed(5, "has the export no more");
    assert!(ended.stderr.contains("It was deleted.; with --restart"), "{ended:?}");
    assert!(out.names().iter().all(|name| name.ends_with(".part")), "{:?}", out.names());
}
