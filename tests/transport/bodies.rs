//! Bodies that are small and become huge, or that are huge to begin with.

use std::io::Write as _;

use super::*;

const HEADERS: [(&str, &str); 3] = [
    ("Accept", "application/fhir+json"),
    ("Prefer", "respond-async"),
    ("Content-Type", "application/fhir+json"),
];

fn kickoff(server: &Server, fields: &[(&str, &str)], body: &[u8]) -> (u16, String, Vec<u8>) {
    let fields = HEADERS.iter().chain(fields).map(|(name, value)| format!("{name}: {value}\r\n"));
    let fields: String = fields.collect();
    let head = format!(
        "POST /r4/default/$export HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {}\r\n\r\n",
        body.len()
    );
    ask(&mut tcp(server), &[head.as_bytes(), body].concat())
}

fn issue(body: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap();
    json["issue"][0]["code"].as_str().unwrap().to_string()
}

#[test]
fn a_compressed_body_is_refused_and_never_expanded() {
    let setup = Setup::new();
    let server = setup.start();
    let pressed = |text: &[u8]| {
        let mut press = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        press.write_all(text).unwrap();
        press.finish().unwrap()
    };
    let bomb = pressed(&vec![b' '; 200 << 20]);
    assert!(bomb.len() < 1 << 20);
    let good = br#"{"resourceType":"Parameters"}"#;
    let before = slow::resident(&server);
    for body in [&bomb, &pressed(good)] {
        for coding in ["gzip", "GZIP", "x-gzip", "deflate", "br", "zstd", "identity, gzip", "", "chunked"] {
            let (status, _, answer) = kickoff(&server, &[("Content-Encoding", coding)], body);
            assert_eq!((status, issue(&answer).as_str()), (415, "structure"), "{coding:?}");
        }
        // Without a word about it, it is no JSON.
        assert_eq!(kickoff(&server, &[], body).0, 400);
    }
    assert!(slow::resident(&server) < before + (64 << 20), "nothing was expanded");
    assert_eq!(kickoff(&server, &[("Content-Encoding", "identity")], good).0, 202);
}

#[test]
fn deep_and_wide_json_is_refused_quickly() {
    let setup = Setup::new();
    let server = setup.start();
    let parameter = |value: &str| format!(r#"{{"resourceType":"Parameters","parameter":[{value}]}}"#);
    let nested = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
    let names = (0..50_000).map(|n| format!("\"k{n}\":0")).collect::<Vec<_>>().join(",");
    for (body, status) in [
        (nested("[", "]"), 400),
        (nested("{\"a\":", "}"), 400),
        (parameter(&nested("[", "]")), 400),
        (parameter(&format!(r#"{{"name":"_type","valueString":{}}}"#, nested("[", "]"))), 400),
        (parameter(&vec!["{}"; 300_000].join(",")), 400),
        (parameter(&format!("{{\"name\":\"_type\",{names}}}")), 400),
        (parameter(&vec![r#"{"name":"_type","valueString":"Patient"}"#; 1000].join(",")), 202),
        (parameter(&vec![r#"{"name":"_type","valueString":"Patient"}"#; 20_000].join(",")), 400),
        (parameter(&format!(r#"{{"name":"_type","valueString":"{}"}}"#, "Patient,".repeat(100_000))), 400),
        (format!("[{}", "1,".repeat(500_000)), 400),
        ("9".repeat(1_000_000), 400),
        ("\"".to_string() + &"\\u0000".repeat(150_000) + "\"", 400),
        (" ".repeat(1_000_000), 400),
        (" ".repeat(1_100_000), 413),
    ] {
        let (answered, _, answer) = kickoff(&server, &[], body.as_bytes());
        let what = format!("{}... of {} bytes", &body[..60.min(body.len())], body.len());
        assert_eq!(answered, status, "{what}: {}", answer.escape_ascii());
        assert!(answer.len() < 1000, "{what}: nothing is echoed without bounds");
    }
    assert_eq!(get(&format!("{}/metadata", server.base)).status, 200);
    assert!(!setup.settled_log(&server).contains("panicked"));
}
