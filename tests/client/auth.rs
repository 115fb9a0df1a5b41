//! Who asks: SMART Backend Services, ready tokens, and where a token may go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::transport::Identity;

/// An export takes several lives of a token: nobody notices.
#[test]
fn tokens_that_expire_on_the_way_are_replaced() {
    let keys = ClientKeys::new();
    // 1.4 MB at 250 kB a second.
    let setup = keys.register(Setup::new()).set("auth.token_lifetime=2s").set("export.checksums=true");
    let setup = setup.set("export.max_bytes_per_second=250000").set("export.part_bytes=65536");
    let server = setup.start();
    let out = OutFolder::new();
    let arguments = keys.arguments();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).chain(["--delete-after"]).collect();
    let ended = out.export(&server.base, &arguments).succeeded();
    assert!(ended.stdout.contains("deleted: the server answered 202"), "{ended:?}");
    assert!(out.lines().len() > 1000);
    let tokens = setup.settled_log(&server).matches("an access token was given").count();
    assert!(tokens >= 2, "{tokens} tokens were asked for");
    let state = std::fs::read_to_string(out.path().join(".evanesce-export.json")).unwrap();
    assert!(!state.contains("eyJ"), "no token is kept: {state}");
}

/// What is there stays, and the same command goes on with another token.
#[test]
fn a_ready_token_that_expires_half_way_is_said_and_another_one_goes_on() {
    let expired = Arc::new(AtomicUsize::new(0));
    let now = expired.clone();
    let server = ScriptedServer::new(move |asked| {
        let good = if now.load(Ordering::SeqCst) == 0 { "Bearer one" } else { "Bearer two" };
        match asked.target.as_str() {
            _ if asked.field("authorization") != Some(good) => answer(401, "", b""),
            "/$export" => scripted::kicked_off(asked),
            "/status" => {
                let file = |n| serde_json::json!({"type": "Patient", "url": format!("{}/{n}", asked.base)});
                let mut manifest = scripted::manifest(vec![file(1), file(2)]);
                manifest["requiresAccessToken"] = true.into();
                json_answer(200, &manifest)
            }
            _ => {
                now.store(1, Ordering::SeqCst);
                answer(200, "", b"{}\n")
            }
        }
    });
    let out = OutFolder::new();
    let ended =
        out.export(&server.url(), &["--token", "one", "--parallel", "1"]).failed(4, "may have expired");
    assert!(ended.stderr.contains("goes on where this one stopped"), "{ended:?}");
    assert!(!ended.stderr.contains("the export failed"), "nobody knows: {ended:?}");
    assert!(!out.path().join("manifest.json").exists(), "nothing looks whole");
    out.export(&server.url(), &["--token", "two"]).succeeded();
    assert_eq!((server.count("/$export"), server.count("/1")), (1, 1), "what is there is not loaded again");
    assert_eq!(out.names(), ["Patient.0001.ndjson", "Patient.0002.ndjson", "manifest.json"]);
}

/// The server's clock may run ahead: a token is refused that should be good.
#[test]
fn a_token_that_is_refused_is_replaced_once() {
    let good = Arc::new(AtomicUsize::new(0));
    let tokens = good.clone();
    let server = ScriptedServer::new(move |asked| {
        let n = tokens.load(Ordering::SeqCst);
        match asked.target.as_str() {
            "/.well-known/smart-configuration" => {
                let url = format!("{}/token", asked.base);
                json_answer(200, &serde_json::json!({"token_endpoint": url}))
            }
            "/token" => {
                let token = format!("token-{}", tokens.fetch_add(1, Ordering::SeqCst) + 1);
                let body =
                    serde_json::json!({"access_token": token, "token_type": "bearer", "expires_in": 3600});
                json_answer(200, &body)
            }
            _ if asked.field("authorization") != Some(&format!("Bearer token-{n}")) => answer(401, "", b""),
            "/$export" => {
                tokens.fetch_add(1, Ordering::SeqCst);
                scripted::kicked_off(asked)
            }
            _ => json_answer(200, &scripted::manifest(Vec::new())),
        }
    });
    let keys = ClientKeys::new();
    let out = OutFolder::new();
    let arguments = keys.arguments();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    out.export(&server.url(), &arguments).succeeded();
    assert_eq!(server.count("/token"), 2);
    assert_eq!(good.load(Ordering::SeqCst), 3);
}

#[test]
fn a_client_that_the_server_does_not_know_is_told_so() {
    let keys = ClientKeys::new();
    let setup = keys.register(Setup::new());
    let server = setup.start();
    let out = OutFolder::new();
    let strangers = ClientKeys::new();
    let arguments = strangers.arguments();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let ended = out.export(&server.base, &arguments).failed(4, "invalid_client");
    assert!(ended.stderr.contains("is the client registered there with this key"), "{ended:?}");
    out.export(&server.base, &[]).failed(4, "give --client-id and --key");
    out.export(&server.base, &["--token", "stale"]).failed(4, "may have expired");
    let key = keys.private();
    let key = key.to_str().unwrap();
    let arguments = ["--client-id", "acme", "--key", key, "--scope", "system/Nonsense.rs"];
    out.export(&server.base, &arguments).failed(4, "invalid_scope");
    assert!(out.names().is_empty());
    let public = key.replace("client-key.pem", "client-jwks.json");
    out.export(&server.base, &["--client-id", "acme", "--key", &public]).failed(2, "not a private key");
}

#[test]
fn a_ready_token_comes_from_an_argument_a_file_or_the_environment() {
    let keys = ClientKeys::new();
    let setup = keys.register(Setup::new());
    let server = setup.start();
    let mut command = evanesce_command();
    command.args(["token", "--url", &server.base]).args(keys.arguments());
    let token = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let token = token.trim();
    OutFolder::new().export(&server.base, &["--token", token, "--type", "Patient"]).succeeded();
    let file = setup.folder.path().join("token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let file = file.to_str().unwrap();
    OutFolder::new().export(&server.base, &["--token-file", file, "--type", "Patient"]).succeeded();
    let out = OutFolder::new();
    let mut command = out.command(&server.base, &["--type", "Patient"]);
    command.env("EVANESCE_TOKEN", token).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ended::of(command.spawn().unwrap()).succeeded();
}

#[test]
fn a_private_authority_is_trusted_if_it_is_given() {
    let identity = Identity::new();
    let setup = identity.setup();
    let server = setup.start();
    let out = OutFolder::new();
    out.export(&server.base, &[]).failed(3, "give that with --ca");
    let certificate = identity.certificate();
    out.export(&server.base, &["--ca", certificate.to_str().unwrap()]).succeeded();
    out.export(&server.base, &["--ca", "/etc/hostname"]).failed(2, "cannot use the certificates");
}

/// A server, its store of files on another origin, and who got the token.
fn who_got_the_token(requires: Value, redirect: bool, arguments: &[&str]) -> (i32, bool) {
    let store = ScriptedServer::new(|_| answer(200, "", b"{}\n"));
    let url = format!("{}/file", store.url());
    let server = ScriptedServer::new(move |asked| match asked.target.as_str() {
        "/$export" => scripted::kicked_off(asked),
        "/status" => {
            let file = if redirect { format!("{}/moved", asked.base) } else { url.clone() };
            let mut manifest = scripted::manifest(vec![serde_json::json!({"type": "Patient", "url": file})]);
            manifest["requiresAccessToken"] = requires.clone();
            json_answer(200, &manifest)
        }
        _ => answer(307, &format!("Location: {url}\r\n"), b""),
    });
    let arguments: Vec<_> = ["--token", "secret"].into_iter().chain(arguments.iter().copied()).collect();
    let ended = OutFolder::new().export(&server.url(), &arguments);
    assert!(server.asked().iter().all(|asked| {
        asked.field("authorization") == Some("Bearer secret")
            || asked.target == "/moved" && requires_none(asked)
    }));
    let asked = store.asked();
    (ended.code.unwrap(), asked.iter().any(|asked| asked.field("authorization").is_some()))
}

fn requires_none(asked: &Asked) -> bool {
    asked.field("authorization").is_none()
}

#[test]
fn f_1_another_origin_gets_the_token_only_if_the_manifest_demands_it() {
    assert_eq!(who_got_the_token(true.into(), false, &[]), (0, true));
    assert_eq!(who_got_the_token("true".into(), false, &[]), (0, true), "C6");
    assert_eq!(who_got_the_token(false.into(), false, &[]), (0, false));
    assert_eq!(who_got_the_token(Value::Null, false, &[]), (0, false));
}

#[test]
fn f_6_a_redirect_to_another_origin_never_gets_the_token() {
    for requires in [Value::Null, true.into(), false.into()] {
        assert_eq!(who_got_the_token(requires, true, &[]), (0, false));
    }
}

#[test]
fn g_2_plain_http_to_other_machines_is_refused() {
    let out = OutFolder::new();
    out.export("http://fhir.example.org/r4", &["--token", "x"]).failed(2, "is not https");
    let server = ScriptedServer::new(|asked| match asked.target.as_str() {
        "/$export" => scripted::kicked_off(asked),
        _ => {
            let file = serde_json::json!({"type": "Patient", "url": "http://fhir.example.org/file"});
            json_answer(200, &scripted::manifest(vec![file]))
        }
    });
    out.export(&server.url(), &[]).failed(3, "is not https");
}
