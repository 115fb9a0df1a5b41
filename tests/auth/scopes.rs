//! What scopes and the settings of an application leave of what there is (SCP-3, G-4, F-2): over
//! HTTP, with real tokens. What they leave of each export is tested in `select`.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::ALL;
use crate::support::smart::{Client, jwks};
use crate::support::{Answer, KICKOFF, Server, Setup, eventually, post, send};

const LAB: &str = "system/Observation.rs?category=laboratory";

/// Two patients, each in a group, with an Observation of each of two categories and a document; a
/// photo; Binaries of both, and one that nothing refers to.
fn source() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = Vec::new();
    for (patient, group) in [("p", "g"), ("q", "h")] {
        let subject = json!({"reference": format!("Patient/{patient}")});
        let photo = json!([{"url": format!("Binary/photo-{patient}")}]);
        lines.push(json!({"resourceType": "Patient", "id": patient, "photo": photo}));
        for category in ["laboratory", "vital-signs"] {
            let (id, code) = (format!("{category}-{patient}"), json!([{"coding": [{"code": category}]}]));
            lines
                .push(json!({"resourceType": "Observation", "id": id, "category": code, "subject": subject}));
        }
        let content = json!([{"attachment": {"url": format!("Binary/letter-{patient}")}}]);
        let id = format!("d-{patient}");
        lines.push(
            json!({"resourceType": "DocumentReference", "id": id, "subject": subject, "content": content}),
        );
        for id in [format!("letter-{patient}"), format!("photo-{patient}"), format!("secret-{patient}")] {
            lines.push(
                json!({"resourceType": "Binary", "id": id, "contentType": "text/plain", "data": "RGVhcg=="}),
            );
        }
        let member = json!([{"entity": subject}]);
        let kind = if group == "g" { "cohort" } else { "other" };
        lines.push(json!({
            "resourceType": "Group", "id": group, "actual": true, "type": "person", "member": member,
            "code": {"coding": [{"code": kind}]},
        }));
    }
    let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
    std::fs::write(folder.path().join("all.ndjson"), lines.join("\n")).unwrap();
    folder
}

/// A server with a client that may have everything, and one with a group and nothing else.
fn two_clients(source: &Path) -> (Client, Client, Setup) {
    let (great, small) = (Client::new("great"), Client::new("small"));
    let setup = Setup::new().source(source);
    for client in [&great, &small] {
        setup.publish(&format!("{}.jwks.json", client.id), &jwks(&[&client.key]));
    }
    let little = "scopes = 'system/*.rs'\ngroups = ['g']";
    let setup = setup.smart(&format!("{}{}", great.registered(ALL), small.registered(little)));
    (great, small, setup)
}

/// A token at work.
struct With<'s> {
    server: &'s Server,
    bearer: String,
}

impl<'s> With<'s> {
    fn new(client: &Client, server: &'s Server, scope: &str) -> Self {
        Self { server, bearer: client.bearer(server, scope) }
    }

    fn send(&self, method: &str, url: &str, headers: &[(&str, &str)]) -> Answer {
        let url = if url.starts_with("http") { url.into() } else { format!("{}/{url}", self.server.base) };
        send(method, &url, &[headers, &[("Authorization", &self.bearer)]].concat())
    }

    fn get(&self, url: &str) -> Answer {
        self.send("GET", url, &[("Accept", "application/fhir+json, application/fhir+ndjson")])
    }

    fn kick_off(&self, path: &str) -> Answer {
        self.send("GET", path, &KICKOFF)
    }

    /// The polling location of a complete export, and its manifest.
    fn export(&self, path: &str) -> (String, Value) {
        let answer = self.kick_off(path);
        assert_eq!(answer.status, 202, "{answer:?}");
        let polling = answer.header("content-location").to_string();
        let manifest = eventually("the export", || {
            let answer = self.get(&polling);
            assert!(answer.status < 300, "{answer:?}");
            (answer.status == 200).then(|| answer.json())
        });
        (polling, manifest)
    }

    /// All lines of all files of an export.
    fn lines(&self, manifest: &Value) -> Vec<Value> {
        let urls = manifest["output"].as_array().unwrap().iter().map(|file| file["url"].as_str().unwrap());
        let texts = urls.map(|url| String::from_utf8(self.get(url).body).unwrap());
        let lines =
            |text: String| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>();
        texts.flat_map(lines).collect()
    }
}

fn names(lines: &[Value]) -> Vec<String> {
    let name =
        |line: &Value| format!("{}/{}", line["resourceType"].as_str().unwrap(), line["id"].as_str().unwrap());
    let mut names: Vec<_> = lines.iter().map(name).collect();
    names.sort();
    names
}

fn forbidden(answer: &Answer) -> String {
    assert_eq!(answer.outcome(), (403, "security".into()), "{answer:?}");
    let challenge = answer.header("www-authenticate");
    assert!(
        challenge.starts_with("Bearer realm=\"") && challenge.ends_with("error=\"insufficient_scope\""),
        "{challenge}"
    );
    answer.json()["issue"][0]["details"]["text"].as_str().unwrap().into()
}

fn url_of(manifest: &Value, kind: &str) -> String {
    let output = manifest["output"].as_array().unwrap();
    output.iter().find(|file| file["type"] == kind).unwrap()["url"].as_str().unwrap().into()
}

#[test]
fn scp_3_what_the_scopes_do_not_cover_is_forbidden_if_it_is_named_and_left_out_if_not() {
    let source = source();
    let (great, _, setup) = two_clients(source.path());
    let server = setup.start();
    let some = With::new(&great, &server, &format!("system/Patient.read {LAB}"));
    let named = [KICKOFF[0], ("Prefer", "respond-async, handling=lenient")];
    for query in [
        "_type=Patient,Condition,DocumentReference",
        "_typeFilter=DocumentReference%3Fstatus=current",
        "_elements=DocumentReference.status",
        "includeAssociatedData=LatestProvenanceResources",
    ] {
        for headers in [&KICKOFF[..], &named] {
            let text = forbidden(&some.send("GET", &format!("$export?{query}&nonsense=1"), headers));
            assert!(text.contains("DocumentReference") || text.contains("Provenance"), "{text}");
        }
    }
    let body = r#"{"resourceType":"Parameters","parameter":[{"name":"_type","valueString":"Condition"}]}"#;
    let headers =
        [KICKOFF[0], KICKOFF[1], ("Content-Type", "application/fhir+json"), ("Authorization", &some.bearer)];
    forbidden(&post(&format!("{}/Patient/$export", server.base), &headers, body));
    // G-7: what comes before, and what after.
    let asked = "$export?_type=Condition";
    assert_eq!(some.send("GET", asked, &[KICKOFF[0]]).outcome(), (406, "structure".into()));
    let elsewhere = server.base.replace("/r4/default", "/r4/nowhere");
    assert_eq!(some.kick_off(&format!("{elsewhere}/{asked}")).status, 401, "a token is of one tenant");
    assert_eq!(some.kick_off("$export?_type=Nonsense").outcome(), (400, "invalid".into()));
    let (_, manifest) = some.export("Patient/$export");
    let expected = ["Observation/laboratory-p", "Observation/laboratory-q", "Patient/p", "Patient/q"];
    assert_eq!(names(&some.lines(&manifest)), expected);
    for nothing in ["system/Slot.rs", "system/Patient.r"] {
        forbidden(&With::new(&great, &server, nothing).kick_off("Patient/$export"));
    }
}

#[test]
fn f_2_a_file_needs_the_scopes_of_the_token_that_asks_for_it() {
    let source = source();
    let (great, _, setup) = two_clients(source.path());
    let server = setup.start();
    let all = With::new(&great, &server, "system/*.rs");
    let restricted = With::new(&great, &server, &format!("{LAB} system/Patient.rs"));
    let [patients, lab, observations, more] = [
        "system/Patient.rs",
        LAB,
        "system/Observation.read",
        "system/Observation.rs?category=laboratory&_id=x",
    ]
    .map(|scope| With::new(&great, &server, scope));
    let ((polling, whole), (_, part)) = (all.export("Patient/$export"), restricted.export("Patient/$export"));
    let (whole, part) = (url_of(&whole, "Observation"), url_of(&part, "Observation"));
    for (token, of_whole, of_part) in [
        (&all, true, true),
        (&observations, true, true),
        (&lab, false, true),
        (&restricted, false, true),
        (&more, false, false),
        (&patients, false, false),
    ] {
        for (url, may) in [(&whole, of_whole), (&part, of_part)] {
            for (method, header) in [
                ("GET", ("Accept", "*/*")),
                ("HEAD", ("Accept", "*/*")),
                ("GET", ("Range", "bytes=0-3")),
                ("GET", ("If-None-Match", "*")),
            ] {
                let answer = token.send(method, url, &[header]);
                assert_eq!(answer.status == 403, !may, "{method} {header:?}: {answer:?}");
            }
            if !may {
                forbidden(&token.get(url));
            }
        }
    }
    // What is not there is told before what may not be had (G-7).
    assert_eq!(patients.get(&whole.replace("_Observation", "_Slot")).outcome(), (404, "not-found".into()));
    // C19: whose it is matters, and nothing else.
    assert_eq!(patients.get(&polling).status, 200);
    assert_eq!(patients.send("DELETE", &polling, &[]).status, 202);
    assert_eq!(patients.get(&whole).outcome(), (404, "deleted".into()));
}

#[test]
fn f_2_a_file_of_blocks_needs_scopes_for_all_that_may_be_in_it() {
    let source = source();
    let (great, _, setup) = two_clients(source.path());
    let server = setup.start();
    let [two, all, patients] =
        ["system/Patient.rs system/Observation.rs", "system/*.read", "system/Patient.rs"]
            .map(|scope| With::new(&great, &server, scope));
    let (_, narrow) = two.export("Group/g/$export?organizeOutputBy=Patient");
    let (_, wide) = all.export("Group/g/$export?organizeOutputBy=Patient");
    let url = |manifest: &Value| manifest["output"][0]["url"].as_str().unwrap().to_string();
    let text = String::from_utf8(two.get(&url(&narrow)).body).unwrap();
    assert_eq!(text.lines().count(), 4, "a header, a Patient, two Observations: {text}");
    assert_eq!((two.get(&url(&narrow)).status, all.get(&url(&narrow)).status), (200, 200));
    forbidden(&two.get(&url(&wide)));
    forbidden(&patients.get(&url(&narrow)));
}

#[test]
fn g_4_k_15_an_application_exports_and_reads_its_own_groups_and_knows_of_no_other() {
    let source = source();
    let (great, small, setup) = two_clients(source.path());
    let server = setup.start();
    let [all, few] = [&great, &small].map(|client| With::new(client, &server, "system/*.read"));
    assert_eq!(names(&few.lines(&few.export("Group/g/$export?_type=Patient").1)), ["Patient/p"]);
    let same = |answer: Answer| {
        let mut json = answer.json();
        for text in ["/issue/0/details/text", "/issue/0/diagnostics"] {
            let text = json.pointer_mut(text).unwrap();
            *text = text.as_str().unwrap().split(" Reference id").next().unwrap().into();
        }
        json["id"] = Value::Null;
        (answer.status, json)
    };
    for suffix in ["", "?_type=Nonsense"] {
        let [unknown, theirs, everybody] = ["nobody", "h", "All_Patients"]
            .map(|id| same(few.kick_off(&format!("Group/{id}/$export{suffix}"))));
        assert_eq!((unknown.0, &theirs, &everybody), (404, &unknown, &unknown));
    }
    assert_eq!(same(all.kick_off("Group/nobody/$export")), same(few.kick_off("Group/h/$export")));
    for path in ["$export", "Patient/$export", "Patient/$export?_type=Nonsense"] {
        assert_eq!(few.kick_off(path).outcome(), (404, "not-found".into()), "{path}");
    }
    let [unknown, theirs, everybody] =
        ["nobody", "h", "All_Patients"].map(|id| same(few.get(&format!("Group/{id}"))));
    assert_eq!((unknown.0, &theirs, &everybody), (404, &unknown, &unknown));
    assert_eq!(few.get("Group/g").status, 200);
    let found = |with: &With<'_>, query: &str| {
        let bundle = with.get(&format!("Group?{query}")).json();
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        let resources: Vec<_> = entries.into_iter().map(|mut entry| entry["resource"].take()).collect();
        (bundle["total"].as_u64().unwrap(), names(&resources))
    };
    assert_eq!(found(&all, "").0, 3);
    for query in ["", "_id=g,h,All_Patients", "_count=1"] {
        assert_eq!(found(&few, query), (1, vec!["Group/g".into()]), "{query}");
    }
    let cohorts = With::new(&great, &server, "system/Group.rs?code=cohort");
    assert_eq!(found(&cohorts, ""), (1, vec!["Group/g".into()]));
    assert_eq!(["g", "h"].map(|id| cohorts.get(&format!("Group/{id}")).status), [200, 404]);
    let [reader, searcher, neither] = ["system/Group.r", "system/Group.s", "system/Patient.rs"]
        .map(|scope| With::new(&great, &server, scope));
    assert_eq!((reader.get("Group/g").status, searcher.get("Group").status), (200, 200));
    for answer in [reader.get("Group"), searcher.get("Group/g"), neither.get("Group/g"), neither.get("Group")]
    {
        forbidden(&answer);
    }
}

#[test]
fn p15_an_application_gets_no_group_that_it_may_not_read_whatever_it_exports() {
    let source = source();
    let client = Client::new("some");
    let setup = Setup::new().source(source.path());
    let registered = ALL.replace("'*'", "['g']");
    let setup = setup.smart_for(&client, &registered);
    let server = setup.start();
    let some = With::new(&client, &server, "system/*.read");
    for path in [
        "$export",
        "Patient/$export",
        "Patient/$export?_type=Group",
        "Patient/$export?_elements=Group.member",
        "Patient/$export?organizeOutputBy=Patient",
        "$export?organizeOutputBy=Patient&_type=Group",
        "Group/g/$export",
        "Group/g/$export?organizeOutputBy=Patient",
    ] {
        let lines = some.lines(&some.export(path).1);
        let groups: Vec<_> = lines.iter().filter(|line| line["resourceType"] == "Group").collect();
        assert_eq!(groups.len(), 1, "{path}: {groups:?}");
        assert_eq!(groups[0]["id"], "g", "{path}");
    }
}

#[test]
fn o_4_a_binary_is_for_whom_an_export_of_its_own_handed_it_out_and_only_as_long_as_that_is_there() {
    let source = source();
    let (great, small, setup) = two_clients(source.path());
    let server = setup.start();
    let few = With::new(&small, &server, "system/*.read");
    let (polling, manifest) = few.export("Group/g/$export");
    let url = |kind: &str| {
        let lines = few.lines(&manifest);
        let line = lines.iter().find(|line| line["resourceType"] == kind).unwrap().clone();
        let url = line["photo"][0]["url"].as_str().or(line["content"][0]["attachment"]["url"].as_str());
        url.unwrap().to_string()
    };
    let (letter, photo) = (url("DocumentReference"), url("Patient"));
    for url in [&letter, &photo, &format!("{letter}&_format=json")] {
        assert_eq!(few.get(url).status, 200, "{url}");
    }
    assert_eq!(few.send("GET", &letter, &[("Accept", "text/plain")]).body, b"Dear");
    // Of nobody else, and of nothing else.
    let other = With::new(&great, &server, "system/*.read");
    let (bare, _) = letter.split_once('?').unwrap();
    let not_there = (404, "not-found".to_string());
    for url in [
        bare.to_string(),
        letter.split_once("&proof").unwrap().0.into(),
        letter.replace("letter-p", "letter-q"),
        letter.replace("letter-p", "secret-p"),
        letter.replace("proof=", "proof=00"),
        letter.replace("request=", "request=0"),
        photo.replace("photo-p", "letter-p"),
        "Binary/nobody".into(),
    ] {
        assert_eq!(few.get(&url).outcome(), not_there, "{url}");
    }
    assert_eq!(other.get(&letter).outcome(), not_there, "another's export");
    // Who may have all may have each by its name.
    assert_eq!(other.get(bare).status, 200);
    forbidden(&With::new(&great, &server, "system/DocumentReference.rs").get(bare));
    // The scopes of who asks count.
    let [documents, patients] =
        ["system/DocumentReference.rs", "system/Patient.rs"].map(|scope| With::new(&small, &server, scope));
    assert_eq!((documents.get(&letter).status, patients.get(&photo).status), (200, 200));
    forbidden(&patients.get(&letter));
    forbidden(&documents.get(&photo));
    let restarted = {
        let base = server.base.clone();
        drop(server);
        let server = setup.start();
        (base, server)
    };
    let (base, server) = (restarted.0, &restarted.1);
    let few = With::new(&small, server, "system/*.read");
    let moved = |url: &str| url.replace(&base, &server.base);
    assert_eq!(few.get(&moved(&letter)).status, 200, "after a restart");
    assert_eq!(few.send("DELETE", &moved(&polling), &[]).status, 202);
    for url in [&letter, &photo] {
        assert_eq!(few.get(&moved(url)).outcome(), (404, "deleted".into()), "P2");
    }
    // The secret went with the job; nothing outside of its directory ever had it.
    assert!(!setup.settled_log(server).contains("proof="), "P12");
}
