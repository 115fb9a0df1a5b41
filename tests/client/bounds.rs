//! What a manifest may cost, at its bounds (P13).

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;

/// A server whose manifest has this many pages, each with one file.
fn pages(number: usize) -> ScriptedServer {
    ScriptedServer::new(move |asked| match asked.target.as_str() {
        "/$export" => scripted::kicked_off(asked),
        "/file" => answer(200, "", b"{}\n"),
        page => {
            let n: usize = page.strip_prefix("/status?").map_or(1, |n| n.parse().unwrap());
            let mut page = scripted::manifest(Vec::new());
            if n == number {
                page["output"] = json!([{"type": "Patient", "url": format!("{}/file", asked.base)}]);
            } else {
                page["link"] =
                    json!([{"relation": "next", "url": format!("{}/status?{}", asked.base, n + 1)}]);
            }
            json_answer(200, &page)
        }
    })
}

#[test]
fn p13_a_manifest_has_at_most_1000_pages() {
    let (server, out) = (pages(1000), OutFolder::new());
    out.export(&server.url(), &[]).succeeded();
    assert_eq!(out.names(), ["Patient.0001.ndjson", "manifest.json"]);
    let (server, out) = (pages(1001), OutFolder::new());
    out.export(&server.url(), &[]).failed(3, "more than 1000 pages");
    assert_eq!(server.count("/status?1001"), 0);
    assert!(out.names().is_empty(), "{:?}", out.names());
}

#[test]
fn p13_a_page_of_a_manifest_has_at_most_32_mib() {
    const LONGEST: usize = 32 << 20;
    for (bytes, fits) in [(LONGEST - 1, true), (LONGEST, true), (LONGEST + 1, false)] {
        let server = ScriptedServer::new(move |asked| match asked.target.as_str() {
            "/$export" => scripted::kicked_off(asked),
            _ => {
                let mut page = scripted::manifest(Vec::new()).to_string().into_bytes();
                page.resize(bytes, b' ');
                answer(200, "Content-Type: application/json\r\n", &page)
            }
        });
        let out = OutFolder::new();
        let ended = out.export(&server.url(), &[]);
        if fits {
            ended.succeeded();
        } else {
            ended.failed(3, "more than 33554432 bytes");
            assert!(out.names().is_empty(), "{:?}", out.names());
        }
    }
}

/// Beyond the bound of a wait is the patience: nobody is kept for a year.
#[test]
fn p13_a_server_that_asks_for_a_year_is_left_at_once_or_at_the_time_limit() {
    let kickoffs = AtomicUsize::new(0);
    let server = ScriptedServer::new(move |asked| match asked.target.as_str() {
        "/$export" if kickoffs.fetch_add(1, Ordering::SeqCst) == 0 => {
            answer(503, "Retry-After: 31536000\r\n", b"")
        }
        "/$export" => scripted::kicked_off(asked),
        _ => answer(202, "Retry-After: 31536000\r\n", b""),
    });
    let out = OutFolder::new();
    out.export(&server.url(), &[]).failed(3, "asks to come again in 31536000 s, too late for --patience");
    let ended = out.export(&server.url(), &["--timeout", "1s"]).failed(8, "longer than --timeout");
    assert!(ended.stderr.contains("next look in 3600.0 s"), "{ended:?}");
}
