//! P10: somebody else's job answers exactly as one that nobody knows, whatever is asked of it; and
//! what a page of another site can make a browser send does nothing.

use super::ALL;
use crate::support::smart::{Client, jwks};
use crate::support::{Answer, KICKOFF, Server, Setup, eventually, get, job_id, send};

/// Two applications that may have the same.
fn two_clients() -> (Client, Client, Setup) {
    let (one, other) = (Client::new("one"), Client::new("other"));
    let setup = Setup::new();
    for client in [&one, &other] {
        setup.publish(&format!("{}.jwks.json", client.id), &jwks(&[&client.key]));
    }
    let setup = setup.smart(&format!("{}{}", one.registered(ALL), other.registered(ALL)));
    (one, other, setup)
}

/// The polling location of a complete export, and the URL of a file.
fn export(server: &Server, bearer: &str) -> (String, String) {
    let fields = [KICKOFF[0], KICKOFF[1], ("Authorization", bearer)];
    let answer = send("GET", &format!("{}/$export?_type=Patient", server.base), &fields);
    let polling = answer.header("content-location").to_string();
    let manifest = eventually("the export", || {
        let answer = send("GET", &polling, &[("Authorization", bearer)]);
        (answer.status == 200).then(|| answer.json())
    });
    (polling, manifest["output"][0]["url"].as_str().unwrap().into())
}

/// What an answer tells, without the ids that each has of its own.
fn told(answer: &Answer) -> (u16, String, Vec<String>) {
    let mut text = String::from_utf8_lossy(&answer.body).into_owned();
    if let Some(id) = serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap()["id"].as_str() {
        text = text.replace(id, "ID");
    }
    let own = ["x-request-id", "opc-request-id", "date"];
    let fields = answer.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    let mut fields: Vec<_> = fields.map(|(name, value)| format!("{name}: {value:?}")).collect();
    fields.sort();
    (answer.status, text, fields)
}

#[test]
fn p_10_a_job_of_somebody_else_answers_as_one_that_nobody_knows() {
    let (one, other, setup) = two_clients();
    let server = setup.start();
    let (theirs, bearer) = (one.bearer(&server, "system/*.rs"), other.bearer(&server, "system/*.rs"));
    let (polling, file) = export(&server, &theirs);
    let (job, unknown) = (job_id(&polling).to_string(), uuid::Uuid::new_v4().to_string());
    let delete_request = format!("{}/Export/DeleteRequest?request=", server.base);
    let binary = format!("{}/Binary/b?proof=00&request={job}", server.base);
    let requests = [
        ("GET", polling.clone()),
        ("GET", format!("{polling}?page=0")),
        ("DELETE", polling.clone()),
        ("GET", file.clone()),
        ("GET", format!("{delete_request}{polling}")),
        ("GET", format!("{delete_request}{job}")),
        ("GET", binary),
    ];
    let ask = |method: &str, url: &str| {
        let fields = [("Prefer", "respond-async"), ("Authorization", &*bearer)];
        told(&send(method, url, &fields))
    };
    for (method, url) in &requests {
        let of_theirs = ask(method, url);
        assert_eq!(of_theirs, ask(method, &url.replace(&job, &unknown)), "{method} {url}");
        assert_eq!(of_theirs.0, 404, "{method} {url}");
        assert!(!of_theirs.1.contains(&job) && !of_theirs.1.contains("one"), "{of_theirs:?}");
    }
    let fields = [("Authorization", &*theirs)];
    assert_eq!((send("GET", &polling, &fields).status, send("GET", &file, &fields).status), (200, 200));
    // Deleted, it is still unknown to the other.
    assert_eq!(send("DELETE", &polling, &fields).status, 202);
    assert_eq!(send("GET", &polling, &fields).outcome(), (404, "deleted".into()));
    for (method, url) in &requests {
        assert_eq!(ask(method, url), ask(method, &url.replace(&job, &unknown)), "{method} {url}");
    }
}

#[test]
fn c_1_no_page_of_another_site_can_delete_through_a_browser() {
    let (one, _, setup) = two_clients();
    let server = setup.start();
    let bearer = one.bearer(&server, "system/*.rs");
    let (polling, _) = export(&server, &bearer);
    let url = format!("{}/Export/DeleteRequest?request={polling}", server.base);
    let origin = ("Origin", "https://evil.example");
    // A link, an image, a form: a browser adds cookies, and neither of the two fields.
    for fields in [vec![origin], vec![origin, ("Cookie", "a=b")], vec![origin, ("Prefer", "respond-async")]] {
        assert_eq!(send("GET", &url, &fields).outcome(), (401, "login".into()), "{fields:?}");
    }
    let token_alone = send("GET", &url, &[origin, ("Authorization", &bearer)]);
    assert_eq!(token_alone.outcome(), (406, "structure".into()));
    // A script has to ask first whether it may send them, and is not told so.
    let asked = [
        origin,
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "authorization, prefer"),
    ];
    for (method, url) in [("OPTIONS", &url), ("OPTIONS", &polling), ("GET", &polling)] {
        let answer = send(method, url, &asked);
        let allows = |name: &str| name.starts_with("access-control-");
        assert!(!answer.headers.keys().any(|name| allows(name.as_str())), "{method} {url}: {answer:?}");
        assert!(matches!(answer.status, 401 | 405), "{method} {url}: {answer:?}");
    }
    assert_eq!(get(&polling).status, 401);
    assert_eq!(send("GET", &polling, &[("Authorization", &bearer)]).status, 200, "it is still there");
}
