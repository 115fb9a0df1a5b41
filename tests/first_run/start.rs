//! The first start of a server: what it says when it cannot begin, where it listens when another server
//! runs, and whom it tells that it is ready.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::*;

/// Runs a server that should not start. Returns what it complains of.
fn refused(command: &mut Command) -> String {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

/// A server on a data directory below `folder`, with free ports.
fn serve(folder: &Path, source: &Path) -> Command {
    let mut command = evanesce_command();
    command.args(["serve", "--auth", "none", "--listen", "127.0.0.1:0", "--data-dir"]);
    command.arg(folder.join("data")).arg("--source").arg(source);
    command.args(["--set", "admin.listen=127.0.0.1:0"]);
    command
}

/// A server without a setting of where operators are served.
fn on_the_default_port(setup: &Setup) -> Server {
    let mut command = evanesce_command();
    command.args(["serve", "--auth", "none", "--listen", "127.0.0.1:0", "--data-dir"]);
    command.arg(setup.data_dir()).arg("--source").arg(&setup.source);
    setup.launch(command)
}

#[test]
fn a_server_without_a_source_names_the_two_ways_to_one() {
    let folder = temporary_folder();
    let mut command = evanesce_command();
    command.args(["serve", "--listen", "127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0"]);
    let text = refused(command.current_dir(folder.path()));
    for way in ["data/sample is not there", "--source DIR", "evanesce generate --out data/sample"] {
        assert!(text.contains(way), "{text}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
}

#[test]
fn a_server_over_an_empty_folder_starts_and_warns_that_exports_will_be_empty() {
    let source = temporary_folder();
    let setup = Setup::new().source(source.path());
    let server = setup.start();
    setup.wait_logged("the source has no files to read");
    assert_eq!(server.export("$export").1["output"], serde_json::json!([]));
}

#[test]
fn a_folder_that_may_not_be_read_or_written_is_named_with_the_system_s_reason() {
    let folder = temporary_folder();
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
    let setpriv = || {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--bounding-set", "-dac_override,-dac_read_search", "--"]);
        setpriv
    };
    let is_root = rustix::process::geteuid().is_root();
    if is_root && !setpriv().arg("true").status().is_ok_and(|status| status.success()) {
        return skip(Need::Setpriv, "a folder that may not be read", "setpriv cannot take privileges away");
    }
    let below = |server: Command| {
        if !is_root {
            return server;
        }
        let mut command = setpriv();
        command.arg(server.get_program()).args(server.get_args());
        command
    };
    for (data, source, named) in [(folder.path(), &*closed, &*closed), (&*closed, source(), &*closed)] {
        let text = refused(&mut below(serve(data, source)));
        assert!(text.contains("ermission denied") && text.contains(named.to_str().unwrap()), "{text}");
    }
}

#[test]
fn two_servers_on_one_machine_need_no_setting_for_their_operators() {
    let setups = [Setup::new(), Setup::new()];
    // One of them at the most gets the default port.
    let servers = setups.each_ref().map(on_the_default_port);
    assert_ne!(servers[0].operators, servers[1].operators);
    for (setup, server) in setups.iter().zip(&servers) {
        assert_eq!(server.operator("readyz").status, 200);
        let output =
            evanesce_command().args(["status", "--json", "--data-dir"]).arg(setup.data_dir()).output();
        let status: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
        assert_eq!(status["operators"], *server.operators);
    }
    let has_default = |server: &Server| server.operators == "http://127.0.0.1:8081";
    for (setup, server) in setups.iter().zip(&servers).filter(|(_, server)| !has_default(server)) {
        let log = setup.settled_log(server);
        assert!(log.contains("another program has the operators' default port"), "{log}");
        assert!(log.contains(server.operators.strip_prefix("http://").unwrap()), "{log}");
    }
}

#[test]
fn an_operators_port_that_is_set_and_taken_is_an_error() {
    let folder = temporary_folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for by_environment in [false, true] {
        let mut command = evanesce_command();
        command.args(["serve", "--auth", "none", "--listen", "127.0.0.1:0"]);
        command.arg("--source").arg(source()).arg("--data-dir").arg(folder.path().join("data"));
        if by_environment {
            command.env("EVANESCE_ADMIN__LISTEN", &address);
        } else {
            command.args(["--set", &format!("admin.listen={address}")]);
        }
        let text = refused(&mut command);
        for part in [&address, "another program has this port", "admin.listen", "port 0 takes a free one"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[test]
fn programs_get_all_that_a_server_says_at_its_start_in_one_line_of_json() {
    let setup = Setup::new();
    let mut command = setup.command();
    command.args(["--ready-format", "json"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let base = ready["ready"].as_str().unwrap();
    assert_eq!(get(&format!("{base}/metadata")).status, 200);
    assert_eq!(get(&format!("{}/healthz", ready["operators"]["url"].as_str().unwrap())).status, 200);
    assert_eq!((&ready["auth"], &ready["pid"]), (&"none".into(), &child.id().into()));
    let tenant = &ready["tenants"][0];
    assert_eq!((&tenant["tenant"], &tenant["base"]), (&"default".into(), &base.into()));
    let files: Vec<_> = std::fs::read_dir(source()).unwrap().map(|file| file.unwrap()).collect();
    let bytes: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!((&tenant["files"], &tenant["bytes"]), (&files.len().into(), &bytes.into()));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(eventually("the end", || child.try_wait().unwrap()).code(), Some(0));
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
    assert_eq!(rest, "", "there is one line");
}

/// The server on a terminal of its own, made by script(1).
#[test]
fn people_on_a_terminal_are_told_more_than_programs_which_get_two_lines() {
    let setup = Setup::new();
    let mut command = setup.command();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().starts_with("ready http://"));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    let rest: Vec<_> = lines.collect();
    assert!(rest.len() == 1 && rest[0].starts_with("operators http://"), "{rest:?}");
    assert_eq!(child.wait().unwrap().code(), Some(0));

    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words: Vec<_> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut script = Command::new("script");
    script.args(["-qec", &format!("exec {} 2>/dev/null", words.join(" ")), "/dev/null"]);
    let mut child =
        script.env("SHELL", "/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut told = String::new();
    for line in &mut lines {
        told += &line;
        if line.contains("authentication") {
            break;
        }
    }
    for part in [
        "ready http://",
        "operators http://",
        "serves ",
        "data directory ",
        "console ",
        "operator token ",
        "NONE:",
    ] {
        assert!(told.contains(part), "no {part:?}: {told}");
    }
    let key = child.stdin.as_mut().unwrap();
    key.write_all(b"\x03").unwrap();
    assert_eq!(eventually("the end", || child.try_wait().unwrap()).code(), Some(0));
}

#[test]
fn systemd_is_told_when_the_server_is_ready_and_when_it_stops() {
    let setup = Setup::new();
    let address = setup.folder.path().join("notify");
    let socket = UnixDatagram::bind(&address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut text = [0; 256];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    let mut command = setup.command();
    command.env("NOTIFY_SOCKET", &address);
    let mut server = setup.launch(command);
    assert_eq!(told().trim_end(), "READY=1");
    server.signal(Signal::TERM);
    assert_eq!(told().trim_end(), "STOPPING=1");
    assert_eq!(server.wait_exit().code(), Some(0));
    // A supervisor that has gone harms nothing.
    let mut command = setup.command();
    command.env("NOTIFY_SOCKET", setup.folder.path().join("nobody"));
    let server = setup.launch(command);
    assert!(setup.settled_log(&server).contains("NOTIFY_SOCKET"));
}
