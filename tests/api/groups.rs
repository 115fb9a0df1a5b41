//! Groups that are read and searched for (K-14): the newest version of each, and the one that
//! is always there.

use super::*;

const LENIENT: [(&str, &str); 1] = [("Prefer", "handling=lenient")];

/// A source with Groups in several files; `cohort` stands there three times.
fn source_with_groups() -> TempDir {
    let folder = copy_of_source();
    let group = |id: &str, name: &str| {
        let member = r#"[{"entity":{"reference":"Patient/nobody"}}]"#;
        format!(
            r#"{{"resourceType":"Group","id":"{id}","actual":true,"type":"person",{name}"member":{member}}}"#
        )
    };
    let old = [group("cohort", "\"name\":\"Old\","), group("Ward 7, left", "\"name\":\"Ward 7\",")];
    let new =
        [group("cohort", "\"name\":\"Newer\","), group("cohort", "\"name\":\"New\","), group("nameless", "")];
    let odd = [
        r#"{"resourceType":"Group","actual":true,"type":"person","name":"without an id"}"#.to_string(),
        group("odd", "\"name\":[\"Old\"],"),
        group("All_Patients", "\"name\":\"Somebody's own\","),
    ];
    for (file, lines) in [("y1", &old[..]), ("y2", &new), ("y3", &odd)] {
        std::fs::write(folder.path().join(format!("{file}.ndjson")), lines.join("\n")).unwrap();
    }
    // A patient who stands there twice is one.
    let patients = std::fs::read_to_string(folder.path().join("Patient.ndjson")).unwrap();
    std::fs::write(folder.path().join("y4.ndjson"), patients.lines().next().unwrap()).unwrap();
    folder
}

/// Total, ids and the URL of the next page.
fn search(url: &str) -> (u64, Vec<String>, Option<String>) {
    let answer = get(url);
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/fhir+json"), "{url}");
    assert_eq!(answer.header("cache-control"), "no-store");
    let bundle = answer.json();
    assert_eq!((&bundle["resourceType"], &bundle["type"]), (&"Bundle".into(), &"searchset".into()));
    assert_ne!(bundle["entry"], serde_json::json!([]), "R4 has no empty arrays");
    let link = |relation: &str| {
        let links = bundle["link"].as_array().unwrap();
        let found = links.iter().find(|link| link["relation"] == relation)?;
        Some(found["url"].as_str().unwrap().to_string())
    };
    assert_eq!(get(&link("self").unwrap()).json(), bundle, "the link leads to the same");
    assert_eq!(get(&link("first").unwrap()).json()["total"], bundle["total"]);
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    for entry in &entries {
        assert_eq!(entry["search"]["mode"], "match");
        assert_eq!(get(entry["fullUrl"].as_str().unwrap()).json(), entry["resource"], "it is there");
    }
    let ids = entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap().to_string());
    (bundle["total"].as_u64().unwrap(), ids.collect(), link("next"))
}

#[test]
fn a_group_is_read_in_its_newest_version() {
    let source = source_with_groups();
    let setup = Setup::new().source(source.path());
    let server = setup.start();
    let at = |path: &str| format!("{}/Group/{path}", server.base);
    let cohort = get(&at("cohort"));
    assert_eq!((cohort.status, cohort.header("content-type")), (200, "application/fhir+json"));
    assert_eq!(cohort.header("cache-control"), "no-store");
    assert_eq!(cohort.json()["name"], "New");
    let lines = std::fs::read_to_string(source.path().join("y2.ndjson")).unwrap();
    assert_eq!(cohort.body, lines.lines().nth(1).unwrap().as_bytes(), "byte by byte");
    assert_eq!(get(&at("Ward%207%2C%20left")).json()["name"], "Ward 7");

    let tag = cohort.header("etag");
    let unchanged = send("GET", &at("cohort"), &[("If-None-Match", tag)]);
    assert_eq!((unchanged.status, unchanged.header("etag"), unchanged.body.len()), (304, tag, 0));
    assert_eq!(send("GET", &at("odd"), &[("If-None-Match", tag)]).status, 200);
    assert_eq!(send("GET", &at("cohort"), &[("If-Match", tag)]).status, 200);
    let other = [("If-Match", "\"other\"")];
    assert_eq!(send("GET", &at("cohort"), &other).outcome(), outcome(412, "conflict"));
    assert_eq!(send("HEAD", &at("cohort"), &other).status, 412);
    assert_eq!(send("GET", &at("nobody"), &other).status, 404, "what is not there goes first");
    let plain = send("GET", &at("cohort"), &[("Accept", "application/json")]);
    assert_eq!((plain.header("content-type"), plain.header("vary")), ("application/json", "Accept"));
    let head = send("HEAD", &at("cohort"), &[]);
    assert_eq!((head.status, head.header("etag"), head.body.len()), (200, tag, 0));

    // A version that comes later counts at once.
    assert_eq!(search(&format!("{}/Group?name=newest", server.base)).1, [""; 0]);
    let newest = lines.lines().nth(1).unwrap().replace("New", "Newest");
    std::fs::write(source.path().join("z.ndjson"), newest + "\n").unwrap();
    assert_eq!(send("GET", &at("cohort"), &[("If-None-Match", tag)]).json()["name"], "Newest");
    assert_eq!(search(&format!("{}/Group?name=newest", server.base)).1, ["cohort"]);
    std::fs::remove_file(source.path().join("y1.ndjson")).unwrap();
    assert_eq!(get(&at("Ward%207%2C%20left")).outcome(), outcome(404, "not-found"));
}

#[test]
fn the_group_of_all_patients_is_always_there() {
    for folder in [source_with_groups(), tempfile::tempdir().unwrap()] {
        let setup = Setup::new().source(folder.path());
        let server = setup.start();
        let group = get(&format!("{}/Group/All_Patients", server.base)).json();
        for (key, value) in [("resourceType", "Group"), ("id", "All_Patients"), ("type", "person")] {
            assert_eq!(group[key], value, "{key}");
        }
        assert_eq!((&group["actual"], &group["active"]), (&true.into(), &true.into()));
        assert_eq!(group["name"], "All patients", "not the source's own");
        let (_, manifest) = server.export("Group/All_Patients/$export?_type=Patient");
        let patients = exported(&manifest).get("Patient").map_or(0, Vec::len);
        assert_eq!(group["quantity"], patients);
        assert_eq!(search(&format!("{}/Group?_id=All_Patients", server.base)).1, ["All_Patients"]);
    }
}

#[test]
fn groups_are_found_by_id_and_by_name() {
    let source = source_with_groups();
    let setup = Setup::new().source(source.path());
    let server = setup.start();
    let find = |query: &str| search(&format!("{}/Group?{query}", server.base)).1;
    let mut all = find("_count=100");
    let sorted = std::mem::take(&mut all);
    for id in ["All_Patients", "Ward 7, left", "cohort", "nameless", "odd"] {
        assert_eq!(sorted.iter().filter(|found| *found == id).count(), 1, "{id}: {sorted:?}");
    }
    assert!(sorted.is_sorted());
    assert_eq!(find("_id=cohort,odd,nobody"), ["cohort", "odd"]);
    assert_eq!(find("_id=Ward%207%5C%2C%20left"), ["Ward 7, left"]);
    assert_eq!(find("name=new"), ["cohort"]);
    assert_eq!(find("name=old"), [""; 0], "what is superseded is not found");
    assert_eq!(find("name=ward&_id=cohort"), [""; 0]);
    assert_eq!(find("name=all%20p,NEW&_format=json"), ["All_Patients", "cohort"]);
}

#[test]
fn groups_are_found_by_identifier_and_by_post() {
    let source = copy_of_source();
    let group = |id: &str, identifier: &str| {
        format!(
            r#"{{"resourceType":"Group","id":"{id}","actual":true,"type":"person",{identifier}"name":"{id}"}}"#
        )
    };
    let lines = [
        group("east", r#""identifier":[{"system":"urn:site","value":"E,1"},{"value":"old"}],"#),
        group("west", r#""identifier":[{"system":"urn:site","value":"w|2"}],"#),
        group("odd", r#""identifier":"E","#),
        group("plain", ""),
    ];
    std::fs::write(source.path().join("y.ndjson"), lines.join("\n")).unwrap();
    let setup = Setup::new().source(source.path());
    let server = setup.start();
    let own = |ids: Vec<String>| ids.into_iter().filter(|id| !id.starts_with("cohort")).collect::<Vec<_>>();
    for (query, expected) in [
        ("identifier=old", &["east"][..]),
        ("identifier=OLD", &["east"]),
        ("identifier=urn:site%7C", &["east", "west"]),
        ("identifier=urn:site%7CE%5C,1", &["east"]),
        ("identifier=old,w%5C%7C2", &["east", "west"]),
        ("identifier=%7Cold", &["east"]),
        ("identifier=%7CE%5C,1", &[]),
        ("identifier=urn:other%7Cold", &[]),
        ("identifier=old&_id=west", &[]),
        ("identifier=old&_total=none&_pretty=true&_format=json", &["east"]),
    ] {
        assert_eq!(own(search(&format!("{}/Group?{query}", server.base)).1), expected, "{query}");
        // The same by POST, with the parameters in the body, in the URL, or in both.
        let form = ("Content-Type", "application/x-www-form-urlencoded");
        let url = format!("{}/Group/_search", server.base);
        let (first, rest) = query.split_once('&').unwrap_or((query, ""));
        for (url, body) in
            [(url.clone(), query), (format!("{url}?{query}"), ""), (format!("{url}?{first}"), rest)]
        {
            let answer = post(&url, &[form], body);
            assert_eq!(answer.status, 200, "{answer:?}");
            let entries = answer.json()["entry"].as_array().cloned().unwrap_or_default();
            let ids = entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap().to_string());
            assert_eq!(own(ids.collect()), expected, "{url} {body}");
        }
    }
    let url = format!("{}/Group/_search", server.base);
    let plain = [("Content-Type", "application/json")];
    assert_eq!(post(&url, &plain, "{}").outcome(), outcome(415, "structure"));
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(post(&url, &form, "name=%ff").outcome(), outcome(400, "structure"));
    assert_eq!(post(&url, &form, "x=y").outcome(), outcome(400, "not-supported"));
    assert_eq!(post(&url, &form, "_format=xml").outcome(), outcome(406, "structure"));
    let long = format!("name={}", "x".repeat(1 << 20));
    assert_eq!(post(&url, &form, &long).outcome(), outcome(413, "too-long"));
    assert_eq!(get(&url).header("allow"), "POST");
    let url = format!("{}/OperationDefinition/_search", server.base);
    assert_eq!(post(&url, &form, "").json()["total"], 3);
}

#[test]
fn pages_hold_every_group_once() {
    let source = source_with_groups();
    let setup = Setup::new().source(source.path());
    let server = setup.start();
    let all = search(&format!("{}/Group?_count=100", server.base));
    assert_eq!((all.0, all.2), (all.1.len() as u64, None));
    for count in [1, 2, 3] {
        let mut url = Some(format!("{}/Group?_count={count}", server.base));
        let mut found = Vec::new();
        while let Some(page) = url {
            let (total, ids, next) = search(&page);
            assert_eq!(total, all.0, "on each page");
            assert!(ids.len() <= count && !ids.is_empty());
            found.extend(ids);
            assert!(found.len() <= all.1.len(), "no page comes twice");
            url = next;
        }
        assert_eq!(found, all.1, "by {count}");
    }
    assert_eq!(search(&format!("{}/Group?_count=0", server.base)), (all.0, vec![], None));
}

#[test]
fn bad_reads_and_searches_are_told_what_would_be_right() {
    let setup = Setup::new();
    let server = setup.start();
    for (path, status, code) in [
        ("Group/nobody-knows-0815", 404, "not-found"),
        ("Group/%ff", 400, "structure"),
        ("Group/%zz", 400, "structure"),
        ("Group/All_Patients?_elements=id", 400, "not-supported"),
        ("Group/All_Patients?_format=xml", 406, "structure"),
        ("Group?nobody=knows-0815", 400, "not-supported"),
        ("Group?name:exact=x", 400, "not-supported"),
        ("Group?_sort=name", 400, "not-supported"),
        ("Group?_count=x", 400, "invalid"),
        ("Group?_count=-1", 400, "invalid"),
        ("Group?_total=all", 400, "invalid"),
        ("Group?identifier=a%7Cb%7Cc", 400, "invalid"),
        ("Group?identifier:not=a", 400, "not-supported"),
        ("Group?characteristic=x", 400, "not-supported"),
        ("Group?_count=1&_count=2", 400, "not-supported"),
        ("Group?_after=a&_after=b", 400, "not-supported"),
        ("Group?_id=", 400, "invalid"),
        ("Group?name=a,,b", 400, "invalid"),
        ("Group?name=%ff", 400, "structure"),
        ("Group?_format=ttl", 406, "structure"),
    ] {
        assert_eq!(get(&format!("{}/{path}", server.base)).outcome(), outcome(status, code), "{path}");
    }
    for path in ["Group/All_Patients?x=y", "Group?nobody=knows-0815&_count=1"] {
        assert_eq!(send("GET", &format!("{}/{path}", server.base), &LENIENT).status, 200, "K-5: {path}");
    }
    for path in ["Group", "Group/All_Patients"] {
        let url = format!("{}/{path}", server.base);
        assert_eq!(send("GET", &url, &[("Accept", "image/png")]).outcome(), outcome(406, "structure"));
        let another = url.replace("/default/", "/another/");
        assert_eq!(get(&another).outcome(), outcome(404, "not-found"));
    }
    let log = setup.settled_log(&server);
    assert!(log.contains("\"group\"") && !log.contains("knows-0815"), "P12");
}
