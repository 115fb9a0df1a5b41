//! Every segment of every URL, with what leads out of a folder if it is joined to a path.

use super::ask;
use crate::support::*;

/// Segments that mean something to a file system, to a proxy or to somebody who decodes twice.
const SEGMENTS: [&str; 20] = [
    "..",
    ".",
    "%2e%2e",
    ".%2e",
    "..%2f",
    "..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%2fetc%2fpasswd",
    "..%5c..%5c",
    "%252e%252e%252f",
    "%c0%ae%c0%ae%c0%af",
    "....%2f%2f",
    "%00",
    "x%00.ndjson",
    "request.json",
    "..%2f..%2f..%2foperator-token",
    "~root",
    "file:%2f%2f%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fstore%2fdb",
    "$(id)",
    "x%0d%0aSet-Cookie:%20a=b",
];

#[test]
fn no_segment_of_any_url_leads_anywhere_else() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient");
    let file = manifest["output"][0]["url"].as_str().unwrap();
    let name = file.rsplit('/').next().unwrap();
    let root = server.base.strip_suffix("/r4/default").unwrap();
    let document = get(&format!("{root}/openapi.json")).json();
    let secrets =
        [server.operator_token().replace("Bearer ", ""), "root:x:0:0".into(), "\"submitted_at\"".into()];
    let mut asked = 0;
    for template in document["paths"].as_object().unwrap().keys() {
        let path = template.replace("{tenant}", "default").replace("{job}", job_id(&polling));
        let path = path.replace("{file}", name).replace("{id}", "All_Patients");
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        for place in 0..segments.len() {
            for evil in SEGMENTS {
                let mut changed = segments.clone();
                changed[place] = evil;
                let line = format!("GET /{} HTTP/1.1", changed.join("/"));
                let fields = "Accept: */*\r\nPrefer: respond-async\r\n";
                let answer = ask(&server, &line, fields).unwrap_or_else(|| panic!("no answer: {line}"));
                assert!((400..500).contains(&answer.status), "{line}: {answer:?}");
                let text = String::from_utf8_lossy(&answer.body);
                assert!(secrets.iter().all(|secret| !text.contains(secret)), "{line}: {text}");
                assert!(!answer.headers.contains_key("set-cookie"), "{line}: {answer:?}");
                asked += 1;
            }
        }
    }
    assert!(asked > 800, "{asked}");
    assert_eq!(get(file).status, 200, "the file is where it was");
    assert_eq!(get(&polling).status, 200);
}
