//! Connections that are cut, servers that restart, and clients that are killed: the same export goes on,
//! and nothing is loaded twice.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::proxy::Mischief;
use super::*;

const MIB: u64 = 1 << 20;

/// What may pass beside the one file: answers, heads, and what was under way when it was cut.
const BESIDE: u64 = MIB;

fn setup(proxy: &Proxy) -> Setup {
    Setup::new().source(random_source()).set("export.checksums=true").set(&proxy.setting())
}

fn is_whole(out: &OutFolder) {
    let source = std::fs::read(random_source().join("Media.ndjson")).unwrap();
    assert!(out.read("Media.0001.ndjson") == source, "other bytes than the source's");
    assert_eq!(out.names(), ["Media.0001.ndjson", "manifest.json"]);
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_was() {
    let proxy = Proxy::new(Mischief::CutAfter(5 * MIB));
    let setup = setup(&proxy);
    let server = setup.start();
    let out = OutFolder::new();
    let ended = out.export(&proxy.lead_to(&server.base), &[]).succeeded();
    is_whole(&out);
    assert!(ended.stderr.contains("Media.0001.ndjson broke off: "), "{ended:?}");
    let passed = proxy.passed();
    assert!(passed < RANDOM_BYTES + BESIDE, "{passed} bytes for a file of {RANDOM_BYTES}");
}

/// The tag of what came compressed is not that of the text, which is what goes on.
#[test]
fn a_coded_download_that_is_cut_goes_on_as_text() {
    for stored in ["gzip", "zstd"] {
        let proxy = Proxy::new(Mischief::CutAfter(4 * MIB));
        let setup = setup(&proxy).set(&format!("export.stored={stored}"));
        let server = setup.start();
        let out = OutFolder::new();
        out.export(&proxy.lead_to(&server.base), &[]).succeeded();
        is_whole(&out);
        // 4 MiB of the coded file are 8 MiB of text; what is left is 4 MiB.
        let passed = proxy.passed();
        assert!(passed < 10 * MIB, "{stored}: {passed} bytes");
    }
}

#[test]
fn a_server_that_restarts_half_way_is_waited_for() {
    let proxy = Proxy::new(Mischief::StallAfter(5 * MIB));
    let setup = setup(&proxy);
    let server = setup.start();
    let out = OutFolder::new();
    let client = out.start(&proxy.lead_to(&server.base), &[]);
    eventually("a part of the file", || (out.part_bytes() > 4 * MIB).then_some(()));
    assert!(!out.path().join("manifest.json").exists(), "nothing looks whole");
    proxy.lead_nowhere();
    proxy.set(Mischief::CutAfter(0));
    server.kill();
    let connections = proxy.connections();
    eventually("attempts in vain", || (proxy.connections() > connections + 1).then_some(()));
    let server = setup.start();
    proxy.set(Mischief::None);
    proxy.lead_to(&server.base);
    Ended::of(client).succeeded();
    is_whole(&out);
    assert!(proxy.passed() < RANDOM_BYTES + BESIDE, "{}", proxy.passed());
}

#[test]
fn a_client_that_was_killed_goes_on_where_it_was() {
    let proxy = Proxy::new(Mischief::StallAfter(5 * MIB));
    let setup = setup(&proxy);
    let server = setup.start();
    let out = OutFolder::new();
    let base = proxy.lead_to(&server.base);
    let mut client = out.start(&base, &[]);
    eventually("a part of the file", || (out.part_bytes() > 4 * MIB).then_some(()));
    client.kill().unwrap();
    client.wait().unwrap();
    assert_eq!(out.names(), ["Media.0001.ndjson.part"], "nothing looks whole");
    proxy.set(Mischief::None);
    let before = proxy.passed();
    let again = out.export(&base, &[]).succeeded();
    assert!(again.stderr.contains("going on with "), "{again:?}");
    is_whole(&out);
    let passed = proxy.passed() - before;
    assert!(passed < RANDOM_BYTES - 4 * MIB + BESIDE, "{passed} bytes for what was left");
    assert_eq!(setup.disk().jobs("ready").len(), 1, "there was one export");
}

/// What a crash of the machine may leave at the end of a file that was not synced.
#[test]
fn a_part_that_a_crash_damaged_is_begun_anew() {
    let proxy = Proxy::new(Mischief::StallAfter(3 * MIB));
    let setup = setup(&proxy);
    let server = setup.start();
    let out = OutFolder::new();
    let base = proxy.lead_to(&server.base);
    let mut client = out.start(&base, &[]);
    eventually("a part of the file", || (out.part_bytes() > 2 * MIB).then_some(()));
    client.kill().unwrap();
    client.wait().unwrap();
    let part = std::fs::OpenOptions::new().append(true).open(out.path().join("Media.0001.ndjson.part"));
    std::io::Write::write_all(&mut part.unwrap(), &[0; 4096]).unwrap();
    proxy.set(Mischief::None);
    out.export(&base, &[]).succeeded();
    is_whole(&out);
}

/// A finished file is looked at again, and loaded only if it is not what it was.
#[test]
fn finished_files_are_kept_and_a_damaged_one_is_loaded_again() {
    let files =
        |n: u64| (serde_json::json!({"type": "Patient", "count": n}), "{}\n".repeat(n as usize).into());
    let server = ScriptedServer::with_files(vec![files(1), files(2), files(3)]);
    let out = OutFolder::new();
    out.export(&server.url(), &[]).succeeded();
    // As if it had been killed before the manifest.
    std::fs::remove_file(out.path().join("manifest.json")).unwrap();
    let state = out.path().join(".evanesce-export.json");
    let text = std::fs::read_to_string(&state).unwrap();
    std::fs::write(&state, text.replace("\"complete\"", "\"kicked-off\"")).unwrap();
    std::fs::write(out.path().join("Patient.0002.ndjson"), "{}\n").unwrap();
    out.export(&server.url(), &[]).succeeded();
    let loaded: Vec<_> = (0..3).map(|n| server.count(&format!("/file/{n}"))).collect();
    assert_eq!(loaded, [1, 2, 1]);
    assert_eq!(out.read("Patient.0002.ndjson"), b"{}\n{}\n");
}

/// A server of one file of 1000 lines, which cuts the first answer and answers the second like this.
fn cut_once(
    fields: &'static str,
    second: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> OutFolder {
    let text = "{\"resourceType\":\"Patient\"}\n".repeat(1000).into_bytes();
    let whole = text.clone();
    let attempts = AtomicUsize::new(0);
    let server = ScriptedServer::new(move |asked| match asked.target.as_str() {
        "/$export" => scripted::kicked_off(asked),
        "/status" => {
            let file = serde_json::json!({"type": "Patient", "url": format!("{}/file", asked.base)});
            json_answer(200, &scripted::manifest(vec![file]))
        }
        _ => match attempts.fetch_add(1, Ordering::SeqCst) {
            0 => {
                let mut bytes = answer(200, &format!("{fields}Connection: close\r\n"), &whole);
                bytes.truncate(bytes.len() - 10_000);
                bytes
            }
            1 => second(&whole).unwrap_or_else(|| answer(200, fields, &whole)),
            _ => answer(200, fields, &whole),
        },
    });
    let out = OutFolder::new();
    out.export(&server.url(), &[]).succeeded();
    assert!(out.read("Patient.0001.ndjson") == text);
    let asked = server.asked();
    let files: Vec<_> = asked.iter().filter(|asked| asked.target == "/file").collect();
    let range = files[1].field("range").map(str::to_owned);
    assert_eq!(
        range.is_some(),
        !fields.is_empty(),
        "without a validator nothing tells whether it is the same"
    );
    if let Some(range) = range {
        assert_eq!(files[1].field("if-range"), Some("\"1\""));
        assert_eq!(range, format!("bytes={}-", text.len() - 10_000));
    }
    out
}

#[test]
fn a_server_that_takes_no_ranges_sends_the_file_again() {
    cut_once("ETag: \"1\"\r\n", |_| None);
    cut_once("", |_| None);
}

#[test]
fn a_part_that_was_not_asked_for_is_not_taken() {
    cut_once("ETag: \"1\"\r\n", |text| {
        Some(answer(206, "Content-Range: bytes 7-99/27000\r\n", &text[7..100]))
    });
    cut_once("ETag: \"1\"\r\n", |_| Some(answer(416, "Content-Range: bytes */5\r\n", b"")));
}
