//! What is recorded of requests: who asked for what, and how it went; with tokens and without.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::support::smart::Client;
use crate::support::{KICKOFF, delete, send};

/// The events of these kinds, as `kind:client:rest`.
fn told(setup: &Setup, rest: &str) -> Vec<String> {
    let events = export(setup, &[]);
    let agent = |event: &Value| {
        let who = &event["agent"][0]["who"]["identifier"]["value"];
        who.as_str().unwrap_or("-").to_string()
    };
    let line = |event: &Value| format!("{}:{}:{}", detail(event, "kind"), agent(event), detail(event, rest));
    events.iter().map(line).collect()
}

#[test]
fn each_request_about_a_job_is_recorded_with_its_id_and_address() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient");
    let url = manifest["output"][0]["url"].as_str().unwrap();
    let length = get(url).body.len();
    let answer = delete(&polling);
    let events = export(&setup, &["--job", job_id(&polling)]);
    for kind in ["kick-off", "manifest", "download-start", "download-end", "delete"] {
        let event = events.iter().find(|event| detail(event, "kind") == kind);
        let event = event.unwrap_or_else(|| panic!("{kind}: {:?}", kinds(&events)));
        assert_eq!(event["agent"][0]["network"]["address"], "127.0.0.1", "{event}");
        assert_eq!(event["agent"][0]["who"]["identifier"]["value"], "built-in", "{event}");
        assert_eq!(detail(event, "tenant"), "default");
        assert_eq!(detail(event, "request").len(), 36, "{event}");
    }
    let of = |kind: &str| events.iter().find(|event| detail(event, "kind") == kind).unwrap();
    assert_eq!(detail(of("delete"), "request"), answer.header("x-request-id"));
    assert_eq!(detail(of("download-end"), "bytes"), length.to_string());
    assert_eq!(detail(of("download-end"), "ending"), "whole");
}

#[test]
fn a_download_that_breaks_off_is_recorded_with_what_was_sent() {
    let setup = Setup::new();
    let server = setup.start();
    let (_, manifest) = server.export("$export?_type=Observation");
    let url = manifest["output"][0]["url"].as_str().unwrap();
    let path = url.strip_prefix(server.base.strip_suffix("/r4/default").unwrap()).unwrap();
    let address = server.base.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    // Many at once, so that what is sent does not fit into the buffers of the connection.
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.repeat(16).as_bytes()).unwrap();
    stream.read_exact(&mut [0; 100]).unwrap();
    drop(stream);
    let ends = eventually("the ends", || {
        let told: Vec<_> = told(&setup, "ending");
        let begun = told.iter().filter(|line| line.starts_with("download-start")).count();
        let ends: Vec<_> = told.into_iter().filter(|line| line.starts_with("download-end")).collect();
        (begun > 0 && ends.len() == begun).then_some(ends)
    });
    let known = ["download-end:built-in:whole", "download-end:built-in:broken-off"];
    assert!(ends.iter().all(|end| known.contains(&end.as_str())), "{ends:?}");
}

#[test]
fn tokens_and_refusals_are_recorded_and_no_token_is() {
    let client = Client::new("acme");
    let setup = Setup::new().smart_for(&client, "scopes = 'system/Patient.rs'\nsystem_export = true");
    let server = setup.start();
    let token = client.token(&server, "system/Patient.rs");
    Client::new("nobody").ask(&server, "system/*.rs");
    let kickoff = |query: &str, bearer: &str| {
        let url = format!("{}/$export?{query}", server.base);
        send("GET", &url, &[KICKOFF[0], KICKOFF[1], ("Authorization", bearer)]).status
    };
    assert_eq!(kickoff("_type=Patient", "Bearer nonsense"), 401);
    assert_eq!(kickoff("_type=Observation", &format!("Bearer {token}")), 403);
    assert_eq!(kickoff("_type=Patient", &format!("Bearer {token}")), 202);
    let wrong = [("Authorization", "Bearer wrong")];
    assert_eq!(send("GET", &format!("{}/metrics", server.operators), &wrong).status, 401);
    let told = told(&setup, "reason");
    for line in [
        "token:acme:",
        "token-refused:-:unknown",
        "authentication-refused:-:access-token",
        "scope-refused:acme:scope",
        "kick-off:acme:",
        "authentication-refused:-:operator-token",
    ] {
        assert!(told.iter().any(|told| told == line), "{line}: {told:?}");
    }
    for file in files(&setup) {
        let text = std::fs::read_to_string(file).unwrap();
        let signature = token.rsplit('.').next().unwrap();
        assert!(
            !text.contains(signature) && !text.contains("nonsense") && !text.contains("nobody"),
            "{text}"
        );
    }
}
