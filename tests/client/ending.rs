//! How exports end: DELETE when all is there, Ctrl-C on the way.

use rustix::process::{Pid, Signal, kill_process};

use super::*;

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

/// A server that takes its time, and a client that waits for it.
fn slow_export(out: &OutFolder, arguments: &[&str]) -> (Setup, Server, Child, String) {
    let setup = Setup::new().set("export.max_bytes_per_second=50000").set("export.part_bytes=65536");
    let server = setup.start();
    let client = out.start(&server.base, arguments);
    let job = eventually("a job", || setup.disk().jobs("building").pop());
    let polling = format!("{}/bulk-api/request/{job}", server.base);
    let state = out.path().join(".evanesce-export.json");
    eventually("the state", || state.exists().then_some(()));
    (setup, server, client, polling)
}

#[test]
fn an_export_is_deleted_when_all_of_it_is_there() {
    let setup = Setup::new();
    let server = setup.start();
    let out = OutFolder::new();
    let ended = out.export(&server.base, &["--delete-after"]).succeeded();
    assert!(ended.stdout.contains("deleted: the server answered 202: Cancellation of"), "{ended:?}");
    let receipt = eventually("the receipt", || setup.receipts().pop());
    assert_eq!(receipt["reason"], "deleted", "{receipt}");
    assert!(setup.disk().jobs("ready").is_empty());
    assert!(out.lines().len() > 1000, "what was loaded stays");
    let key =
        get(&format!("{}/receipts/key", server.base)).json()["public_key"].as_str().unwrap().to_string();
    assert!(
        ended.stdout.contains(&format!(
            "receipt: receipt.json, checked with the key that the server serves now, {key}"
        )),
        "{ended:?}"
    );
    let proof: Value = serde_json::from_slice(&out.read("receipt.json")).unwrap();
    let entry: Value = serde_json::from_str(proof["erasure"]["entry"].as_str().unwrap()).unwrap();
    assert_eq!(entry["job"], receipt["job"]);
    // It is not asked again.
    let again = out.export(&server.base, &["--delete-after"]).succeeded();
    assert!(!again.stdout.contains("receipt:"), "{again:?}");
    // A key that the caller has noted before.
    let ended = OutFolder::new().export(&server.base, &["--delete-after", "--receipt-key", &key]).succeeded();
    assert!(ended.stdout.contains("receipt.json, checked with the key that was given"), "{ended:?}");
    let out = OutFolder::new();
    let other = ["--delete-after", "--receipt-key", &"ab".repeat(32)];
    out.export(&server.base, &other).failed(7, "the receipt does not hold: the head was signed by the key");
    assert!(!out.names().contains(&"receipt.json".to_string()));
    // The same command asks again, with the right key.
    let ended = out.export(&server.base, &["--delete-after", "--receipt-key", &key]).succeeded();
    assert!(
        ended.stdout.contains("receipt: receipt.json") && !ended.stdout.contains("deleted:"),
        "{ended:?}"
    );
}

/// Servers that link something else, or a receipt that does not come.
#[test]
fn a_receipt_that_is_none_or_does_not_come_is_told() {
    let link = "Link: <receipt>; rel=\"describedby\"; type=\"application/json\"\r\n";
    for (status, field, body, code, says) in [
        (200, "", "{}", 7, "is none"),
        (
            202,
            "Retry-After: 2\r\n",
            "",
            0,
            "receipt: not there: the server took the DELETE, but the server has not erased all files yet",
        ),
        (404, "", "", 0, "receipt: not there"),
    ] {
        let server = ScriptedServer::new(move |asked| match asked.target.as_str() {
            "/$export" => scripted::kicked_off(asked),
            "/receipt" => answer(status, field, body.as_bytes()),
            _ if asked.method == "DELETE" => answer(202, link, b""),
            _ => json_answer(200, &scripted::manifest(Vec::new())),
        });
        let out = OutFolder::new();
        let ended = out.export(&server.url(), &["--delete-after", "--patience", "1s"]);
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(format!("{}{}", ended.stdout, ended.stderr).contains(says), "{ended:?}");
        assert_eq!(out.names(), ["manifest.json"]);
        let pinned = ["--delete-after", "--patience", "1s", "--receipt-key", &"ab".repeat(32)];
        let again = out.export(&server.url(), &pinned);
        assert!(matches!(again.code, Some(7 | 9)), "a key demands a receipt: {again:?}");
        assert_eq!(server.asked().iter().filter(|asked| asked.method == "DELETE").count(), 1);
    }
}

/// A DELETE whose 202 was lost, or an export that somebody else deleted.
#[test]
fn an_export_that_is_gone_already_is_deleted() {
    for (status, code) in [(404, 0), (204, 0), (500, 9)] {
        let server = ScriptedServer::new(move |asked| match asked.target.as_str() {
            "/$export" => scripted::kicked_off(asked),
            _ if asked.method == "DELETE" => answer(status, "", b""),
            _ => json_answer(200, &scripted::manifest(Vec::new())),
        });
        let out = OutFolder::new();
        let ended = out.export(&server.url(), &["--delete-after", "--patience", "1s"]);
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert_eq!(out.names(), ["manifest.json"]);
        if code == 9 {
            ended.failed(9, "all files are loaded and verified, but");
            let deletes = server.asked().len();
            out.export(&server.url(), &["--delete-after", "--patience", "1s"]).failed(9, "again");
            assert!(server.asked().len() > deletes, "it is asked again");
        }
    }
}

#[test]
fn ctrl_c_asks_the_server_to_cancel_and_says_so() {
    let out = OutFolder::new();
    let (setup, server, client, polling) = slow_export(&out, &[]);
    interrupt(&client);
    let ended = Ended::of(client).failed(130, "the export was cancelled: the server answered 202");
    assert!(ended.stderr.contains("Cancellation of Bulkdata request"), "{ended:?}");
    assert_eq!(get(&polling).outcome(), outcome(404, "deleted"));
    let receipt = setup.receipt(job_id(&polling));
    assert_eq!(receipt["reason"], "cancelled", "{receipt}");
    assert!(out.names().is_empty(), "{:?}", out.names());
    // The same command begins another one.
    let client = out.start(&server.base, &[]);
    let job = eventually("another job", || setup.disk().jobs("building").pop());
    assert!(!polling.ends_with(&job));
    interrupt(&client);
    assert_eq!(Ended::of(client).code, Some(130));
}

#[test]
fn ctrl_c_in_a_download_leaves_no_part_behind() {
    let proxy = Proxy::new(proxy::Mischief::StallAfter(3 << 20));
    let setup = Setup::new().source(random_source()).set(&proxy.setting());
    let server = setup.start();
    let out = OutFolder::new();
    let client = out.start(&proxy.lead_to(&server.base), &[]);
    eventually("a part of the file", || (out.part_bytes() > 2 << 20).then_some(()));
    interrupt(&client);
    Ended::of(client).failed(130, "the export was cancelled: the server answered 202");
    assert!(out.names().is_empty(), "{:?}", out.names());
    assert_eq!(eventually("the receipt", || setup.receipts().pop())["reason"], "deleted");
}

#[test]
fn an_export_can_be_left_to_the_server() {
    let server = ScriptedServer::new(|asked| match asked.target.as_str() {
        "/$export" => scripted::kicked_off(asked),
        _ if asked.method == "DELETE" => answer(202, "", b""),
        _ => answer(202, "Retry-After: 60\r\n", b""),
    });
    let out = OutFolder::new();
    let client = out.start(&server.url(), &["--keep-on-interrupt"]);
    eventually("a poll", || (server.count("/status") == 1).then_some(()));
    interrupt(&client);
    Ended::of(client).failed(130, "the export goes on at the server");
    // The same command goes on with it, and may end it.
    let client = out.start(&server.url(), &[]);
    eventually("another poll", || (server.count("/status") == 2).then_some(()));
    interrupt(&client);
    Ended::of(client).failed(130, "was cancelled").stderr.contains("going on with");
    assert_eq!(server.count("/$export"), 1);
}

#[test]
fn a_second_ctrl_c_leaves_at_once() {
    let server = ScriptedServer::new(|asked| match asked.target.as_str() {
        "/$export" => scripted::kicked_off(asked),
        // It never answers.
        _ if asked.method == "DELETE" => Vec::new(),
        _ => answer(202, "Retry-After: 60\r\n", b""),
    });
    let out = OutFolder::new();
    let client = out.start(&server.url(), &[]);
    eventually("a poll", || (server.count("/status") > 0).then_some(()));
    interrupt(&client);
    eventually("the DELETE", || server.asked().iter().any(|it| it.method == "DELETE").then_some(()));
    interrupt(&client);
    assert_eq!(Ended::of(client).code, Some(130));
}
