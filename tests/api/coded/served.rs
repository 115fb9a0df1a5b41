//! Negotiation, entity tags, ranges and the manifest.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sha2::{Digest, Sha256};

use super::*;

type Headers = &'static [(&'static str, &'static str)];

/// What a client sends, and the coding that it gets of a file that is stored plain, as gzip, as
/// zstd.
const WISHES: [(Headers, [&str; 3]); 11] = [
    (&[], ["", "", ""]),
    (&[("Accept-Encoding", "identity")], ["", "", ""]),
    (&[("Accept-Encoding", "gzip")], ["gzip"; 3]),
    (&[("Accept-Encoding", "zstd")], ["zstd"; 3]),
    (&[("Accept-Encoding", "gzip, deflate")], ["gzip"; 3]),
    (&[("Accept-Encoding", "gzip, deflate, br, zstd")], ["zstd", "gzip", "zstd"]),
    (&[("Accept-Encoding", "gzip;q=0.5, zstd;q=0.4")], ["gzip"; 3]),
    (&[("Accept-Encoding", "*")], ["", "gzip", "zstd"]),
    (&[("Accept-Encoding", "identity;q=0, *")], ["zstd", "gzip", "zstd"]),
    (&[("Accept-Encoding", "gzip;q=0, *;q=0.1")], ["", "", "zstd"]),
    (&[("Accept-Encoding", "br")], ["", "", ""]),
];

#[test]
fn every_form_is_served_out_of_every_form() {
    let text = std::fs::read(small_source().join("Media.ndjson")).unwrap();
    for (n, (form, suffix)) in STORED.into_iter().enumerate() {
        let setup = stored_as(form).source(small_source());
        let server = setup.start();
        let (polling, manifest) = server.export("$export");
        let files = on_disk(&setup, &polling);
        assert!(files.len() == 1 && files[0].0.ends_with(&format!(".ndjson{suffix}")), "{files:?}");
        let url = first_file(&manifest);
        let mut tags = BTreeMap::new();
        for (headers, codings) in WISHES {
            let (what, coding) = (format!("{form}: {headers:?}"), codings[n]);
            let answer = send("GET", &url, headers);
            assert_eq!((answer.status, answer.header("content-encoding")), (200, coding), "{what}");
            assert_eq!(answer.header("content-type"), "application/fhir+ndjson", "{what}");
            assert_eq!(answer.header("vary"), "Accept-Encoding", "{what}");
            assert!(decode(coding, &answer.body).unwrap() == text, "{what}: another text");
            // Only what is compressed on its way does not tell its length.
            let length = if coding.is_empty() || coding == form {
                answer.body.len().to_string()
            } else {
                String::new()
            };
            assert_eq!(answer.header("content-length"), length, "{what}");
            let tag = answer.header("etag");
            assert!(tag.starts_with('"'), "strong: {tag}");
            assert_eq!(tags.entry(coding).or_insert(tag.to_string()), tag, "{what}");

            let head = send("HEAD", &url, headers);
            assert_eq!((head.status, head.body.len()), (200, 0), "{what}");
            for name in
                ["content-encoding", "content-length", "content-type", "etag", "vary", "accept-ranges"]
            {
                assert_eq!(head.header(name), answer.header(name), "{what}: {name}");
            }
            let unchanged = send("GET", &url, &[headers, &[("If-None-Match", tag)]].concat());
            assert_eq!((unchanged.status, unchanged.body.len()), (304, 0), "{what}");
            assert_eq!(
                (unchanged.header("etag"), unchanged.header("vary")),
                (tag, "Accept-Encoding"),
                "{what}"
            );
        }
        // One tag a coding, none that says the same of two.
        assert_eq!(tags.values().collect::<std::collections::BTreeSet<_>>().len(), tags.len(), "{tags:?}");
        let other = send("GET", &url, &[("If-None-Match", &tags["gzip"])]);
        assert_eq!(other.status, 200, "{form}: the client has another form");
    }
}

#[test]
fn what_excludes_every_form_is_refused() {
    let setup = stored_as("gzip").set("download.compression_level=0");
    let server = setup.start();
    let (_, manifest) = server.export("$export?_type=Patient");
    let url = first_file(&manifest);
    for (value, status) in [
        ("identity;q=0", 406),
        ("*;q=0", 406),
        ("zstd, *;q=0", 406),
        ("zstd, identity;q=0", 406),
        ("gzip, *;q=0", 200),
        ("zstd", 200),
        ("", 200),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = send(method, &url, &[("Accept-Encoding", value)]);
            assert_eq!((answer.status, answer.header("vary")), (status, "Accept-Encoding"), "{value}");
            if status == 406 && method == "GET" {
                assert_eq!(answer.outcome(), outcome(406, "structure"), "{value}");
                let text = String::from_utf8(answer.body).unwrap();
                assert!(text.contains("gzip, identity"), "it says what there is: {text}");
            }
        }
    }
    // Nothing is compressed on its way.
    assert_eq!(send("GET", &url, &[("Accept-Encoding", "zstd")]).header("content-encoding"), "");
}

#[test]
fn a_client_of_http_1_0_gets_only_what_tells_its_length() {
    for (form, _) in STORED {
        let setup = stored_as(form);
        let server = setup.start();
        let (_, manifest) = server.export("$export?_type=Patient");
        let url = first_file(&manifest);
        let path = url.split_once(raw::address(&server)).unwrap().1;
        for (accepted, expected) in [("gzip", form == "gzip"), ("zstd", form == "zstd")] {
            let request =
                format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept-Encoding: {accepted}\r\n\r\n");
            let answer = raw::exchange(&server, request.as_bytes()).unwrap();
            assert_eq!(answer.header("content-encoding"), if expected { accepted } else { "" });
            assert_eq!(answer.header("content-length"), answer.body.len().to_string());
            let text = decode(answer.header("content-encoding"), &answer.body).unwrap();
            assert!(text == get(&url).body, "{form} {accepted}");
        }
    }
}

/// A range as a client may write it.
fn ranges(size: u64) -> impl Strategy<Value = (String, std::ops::Range<u64>)> {
    let bounds = (0..size, 0..size).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let from_to = bounds.prop_map(|(a, b)| (format!("bytes={a}-{b}"), a..b + 1));
    let short = (0..size, 1..5000_u64).prop_map(move |(a, n)| {
        let end = size.min(a + n);
        (format!("bytes={a}-{}", a + n - 1), a..end)
    });
    let from = (0..size).prop_map(move |a| (format!("bytes={a}-"), a..size));
    let last = (1..size).prop_map(move |n| (format!("bytes=-{n}"), size - n..size));
    // Around the ends of pieces.
    let edge = (1..size >> 20, 0..3_u64, 0..3_u64).prop_map(|(n, before, after)| {
        let at = n << 20;
        (format!("bytes={}-{}", at - before, at + after), at - before..at + after + 1)
    });
    prop_oneof![from_to, short, from, last, edge]
}

#[test]
fn any_range_of_any_form_is_that_of_the_plain_text() {
    let text = std::fs::read(small_source().join("Media.ndjson")).unwrap();
    let size = text.len() as u64;
    for (form, _) in STORED {
        let setup = stored_as(form).source(small_source());
        let server = setup.start();
        let (_, manifest) = server.export("$export");
        let url = first_file(&manifest);
        let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
        let wishes = prop_oneof![Just("identity"), Just("gzip, zstd"), Just("*"), Just("gzip;q=0.1")];
        TestRunner::new(config)
            .run(&(ranges(size), wishes), |((range, expected), wish)| {
                let answer = send("GET", &url, &[("Range", &range), ("Accept-Encoding", wish)]);
                prop_assert_eq!((answer.status, answer.header("content-encoding")), (206, ""));
                let (first, last) = (expected.start, expected.end - 1);
                let described = format!("bytes {first}-{last}/{size}");
                prop_assert_eq!(answer.header("content-range"), &described);
                prop_assert_eq!(answer.header("vary"), "Accept-Encoding");
                let expected = &text[expected.start as usize..expected.end as usize];
                prop_assert!(answer.body == expected, "{}: other bytes", range);
                Ok(())
            })
            .unwrap();

        let gzip = send("HEAD", &url, &[("Accept-Encoding", "gzip")]).header("etag").to_string();
        let plain = send("HEAD", &url, &[]).header("etag").to_string();
        let accepts = ("Accept-Encoding", "gzip");
        let some = ("Range", "bytes=1000000-1100000");
        // The status, and whether all of it comes.
        for (headers, status, coding) in [
            (&[some, accepts, ("If-Range", &plain)][..], 206, ""),
            // A client that goes on with a coded download gets the whole.
            (&[some, accepts, ("If-Range", &gzip)], 200, ""),
            // Plain text is excluded: then there are no ranges.
            (&[some, ("Accept-Encoding", "gzip, identity;q=0")], 200, "gzip"),
            (&[("Range", "bytes=0-1,5-6"), accepts], 200, ""),
            (&[("Range", "bytes=99999999999-"), accepts], 416, ""),
        ] {
            let answer = send("GET", &url, headers);
            assert_eq!((answer.status, answer.header("content-encoding")), (status, coding), "{headers:?}");
            assert_eq!(answer.header("vary"), "Accept-Encoding");
            if status == 200 {
                assert!(decode(coding, &answer.body).unwrap() == text, "{headers:?}");
            }
            // Range is for GET alone (RFC 9110, 14.2): a HEAD is as one without it.
            let head = send("HEAD", &url, headers);
            let without: Vec<_> = headers.iter().filter(|(name, _)| *name != "Range").copied().collect();
            let without = send("HEAD", &url, &without);
            for name in ["content-encoding", "content-length", "content-range", "etag"] {
                assert_eq!(head.header(name), without.header(name), "{headers:?} {name}");
            }
            assert_eq!((head.status, head.header("vary")), (200, "Accept-Encoding"), "{headers:?}");
        }
    }
}

#[test]
fn the_manifest_tells_the_length_and_the_checksum_of_each_text() {
    for (form, _) in STORED {
        for checksums in [false, true] {
            let setup = stored_as(form).set(&format!("export.checksums={checksums}"));
            let setup = setup.set("export.max_file_bytes=100000");
            let server = setup.start();
            let (polling, manifest) = server.export("$export?_type=Patient,Observation");
            let files = manifest["output"].as_array().unwrap();
            assert!(files.len() > 5, "{files:?}");
            for file in files {
                let text = get(file["url"].as_str().unwrap()).body;
                assert!(text.len() <= 100_000, "max_file_bytes are those of the text");
                let told = &file["extension"];
                assert_eq!(told["fileSize"], text.len(), "MF-9");
                let sum = hex::encode(Sha256::digest(&text));
                assert_eq!(told["sha256"], if checksums { Value::from(sum) } else { Value::Null });
            }
            // It is told by the record, which a restart does not change.
            server.kill();
            let server = setup.start();
            let again = get(&crate::support::polling_url(&server, job_id(&polling))).json();
            let told = |manifest: &Value| {
                let files = manifest["output"].as_array().unwrap().iter();
                files.map(|file| file["extension"].clone()).collect::<Vec<_>>()
            };
            assert_eq!(told(&again), told(&manifest));
        }
    }
}

#[test]
fn a_manifest_that_the_client_has_is_not_sent_again() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    let (other, _) = server.export("$export?_type=Patient");
    let (first, second) = (get(&polling), get(&polling));
    let tag = first.header("etag");
    assert!(tag.len() > 2 && tag.starts_with('"') && tag == second.header("etag"), "{tag}");
    let unchanged = send("GET", &polling, &[("If-None-Match", tag)]);
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    for name in ["etag", "expires", "cache-control"] {
        assert_eq!(unchanged.header(name), first.header(name), "{name}");
    }
    assert_eq!(send("HEAD", &polling, &[("If-None-Match", tag)]).status, 304);
    assert_eq!(send("GET", &polling, &[("If-None-Match", "\"another\"")]).status, 200);
    assert_eq!(send("GET", &other, &[("If-None-Match", tag)]).status, 200, "another job's is another");
    assert_eq!(delete(&polling).status, 202);
    assert_eq!(send("GET", &polling, &[("If-None-Match", tag)]).outcome(), outcome(404, "deleted"));
}
