//! What becomes of a folder that holds something, and of a disk that is full.

use super::*;

#[test]
fn the_same_command_over_a_finished_export_asks_nobody() {
    let server = ScriptedServer::with_files(vec![(serde_json::json!({"type": "Patient"}), b"{}\n".to_vec())]);
    let out = OutFolder::new();
    out.export(&server.url(), &[]).succeeded();
    let asked = server.asked().len();
    out.export(&server.url(), &[]).succeeded();
    assert_eq!(server.asked().len(), asked);
    // Other parameters are another export.
    out.export(&server.url(), &["--patient"]).failed(2, "holds another export");
    out.export(&server.url(), &["--restart"]).succeeded();
    assert_eq!(server.count("/$export"), 2);
}

#[test]
fn a_folder_with_anything_in_it_is_refused_and_left_alone() {
    let out = OutFolder::new();
    std::fs::create_dir(out.path()).unwrap();
    std::fs::write(out.path().join("Patient.0001.ndjson"), "precious").unwrap();
    let server = ScriptedServer::with_files(Vec::new());
    out.export(&server.url(), &[]).failed(2, "overwrites nothing");
    assert_eq!(server.asked().len(), 0);
    assert_eq!(out.read("Patient.0001.ndjson"), b"precious");
}

#[test]
fn two_clients_do_not_write_to_one_folder() {
    let server = ScriptedServer::new(|asked| match asked.target.as_str() {
        "/$export" => scripted::kicked_off(asked),
        _ => answer(202, "Retry-After: 1\r\n", b""),
    });
    let out = OutFolder::new();
    let mut first = out.start(&server.url(), &[]);
    eventually("a poll", || (server.count("/status") > 0).then_some(()));
    out.export(&server.url(), &[]).failed(2, "at this moment");
    first.kill().unwrap();
    first.wait().unwrap();
}

/// Nobody would find it again: not this command, and not another one.
#[test]
fn an_export_that_the_folder_cannot_remember_is_cancelled_at_the_server() {
    if !is_root("a disk without room for a state") {
        return;
    }
    let out = OutFolder::new();
    std::fs::create_dir(out.path()).unwrap();
    let _mounted = match Mounted::new(&["-t", "tmpfs", "-o", "size=4k", "none"], &out.path()) {
        Ok(mounted) => mounted,
        Err(why) => return skip(Need::Mount, "a disk without room for a state", &why),
    };
    std::fs::write(out.path().join("full"), [0; 4096]).unwrap();
    let place = out.path().join("out");
    let server = ScriptedServer::with_files(Vec::new());
    let mut command = evanesce_command();
    command.args(["export", &server.url(), "--out"]).arg(&place).stdin(Stdio::null());
    let ended = Ended::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let ended = ended.failed(6, "the new export was cancelled (the server answered 202)");
    assert!(ended.stderr.contains("no room left"), "{ended:?}");
    assert!(server.asked().iter().any(|asked| asked.method == "DELETE"));
}

#[test]
fn a_full_disk_is_said_and_the_same_command_goes_on_when_there_is_room() {
    if !is_root("a full disk") {
        return;
    }
    let out = OutFolder::new();
    std::fs::create_dir(out.path()).unwrap();
    let size = format!("size={}", RANDOM_BYTES / 2);
    let _mounted = match Mounted::new(&["-t", "tmpfs", "-o", &size, "none"], &out.path()) {
        Ok(mounted) => mounted,
        Err(why) => return skip(Need::Mount, "a full disk", &why),
    };
    let setup = Setup::new().source(random_source()).set("export.checksums=true");
    let server = setup.start();
    let ended = out.export(&server.base, &[]).failed(6, "no room left");
    assert!(ended.stderr.contains("goes on where this one stopped"));
    assert_eq!(out.names(), ["Media.0001.ndjson.part"], "nothing looks whole");
    run(Command::new("mount").args(["-o", "remount,size=64m"]).arg(out.path())).unwrap();
    let again = out.export(&server.base, &[]).succeeded();
    assert!(again.stderr.contains("going on with"), "{again:?}");
    assert_eq!(out.manifest()["output"][0]["file"], "Media.0001.ndjson");
}
