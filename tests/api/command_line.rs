//! `evanesce serve`: what it refuses to start with, and which setting wins.

use std::process::{Command, Stdio};

use super::*;

/// Runs the command to its end and gives its exit code, standard output and standard error.
fn run(mut command: Command) -> (i32, String, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let waited = eventually("the end of the process", || child.try_wait().unwrap());
    let read = |pipe: &mut dyn std::io::Read| std::io::read_to_string(pipe).unwrap();
    let out = read(child.stdout.as_mut().unwrap());
    (waited.code().unwrap(), out, read(child.stderr.as_mut().unwrap()))
}

fn evanesce(arguments: &[&str]) -> Command {
    let mut command = evanesce_command();
    command.args(arguments);
    command
}

/// Another server may have the port that operators have by default.
const ANY_OPERATORS_PORT: [&str; 2] = ["--set", "admin.listen=127.0.0.1:0"];

#[test]
fn a_server_that_cannot_begin_says_why_and_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (data, source) = (path("data"), source().to_str().unwrap());
    std::fs::write(path("not-toml"), "[export\nworkers").unwrap();
    std::fs::write(path("unknown.toml"), "[export]\nworker = 3\n").unwrap();
    std::fs::write(path("type.toml"), "[retention]\ncompleted = 3\n").unwrap();
    std::fs::write(path("file"), "").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let cases: [(&[&str], &[&str]); 31] = [
        (&["--set", "export.worker=3"], &["export", "worker"]),
        (&["--set", "exports.workers=3"], &["exports"]),
        (&["--set", "workers=3"], &["workers=3", "section.key=value"]),
        (&["--set", "export.workers"], &["export.workers", "section.key=value"]),
        (&["--set", "export.workers=0"], &["export.workers", "at least 1"]),
        (&["--set", "export.workers=-1"], &["-1"]),
        (&["--set", "export.workers=many"], &["many"]),
        (&["--set", "export.part_bytes=4095"], &["export.part_bytes", "at least 4096"]),
        (&["--set", "retention.completed=soon"], &["soon", "500ms"]),
        (&["--set", "retention.completed=5"], &["5"]),
        (&["--set", "reaper.interval=1ms"], &["reaper.interval", "at least 10ms"]),
        (&["--set", "reaper.watch=perhaps"], &["perhaps"]),
        (&["--set", "server.public_url=example.org"], &["server.public_url", "https://"]),
        (&["--set", "server.max_url_bytes=10"], &["server.max_url_bytes", "256"]),
        (&["--listen", "0.0.0.0:0", "--auth", "none"], &["0.0.0.0:0", "without authentication", "loopback"]),
        (&["--listen", "[::]:0", "--auth", "none"], &["[::]:0", "loopback"]),
        (&["--listen", "192.0.2.1:8080", "--auth", "none"], &["192.0.2.1", "loopback", "auth.mode=smart"]),
        (&["--auth", "basic"], &["basic", "smart, none"]),
        (&["--set", "auth.applications=/nowhere.toml"], &["/nowhere.toml"]),
        (&["--set", "auth.jwks_ca_file=/nowhere.pem"], &["auth.jwks_ca_file"]),
        (
            &["--listen", "0.0.0.0:0"],
            &["0.0.0.0:0", "tls.certificate", "server.trusted_proxies", "127.0.0.1"],
        ),
        (&["--listen", "[::]:0"], &["[::]:0", "tls.certificate"]),
        (&["--listen", "192.0.2.1:8080"], &["192.0.2.1", "tls.certificate"]),
        (&["--listen", "nowhere"], &["server.listen"]),
        (&["--listen", &taken], &[&taken, "in use", "--listen"]),
        (&["--config", &path("missing.toml")], &["missing.toml"]),
        (&["--config", &path("not-toml")], &["not-toml"]),
        (&["--config", &path("unknown.toml")], &["worker"]),
        (&["--config", &path("type.toml")], &["completed"]),
        (&["--config", folder.path().to_str().unwrap()], &["configuration"]),
        (&["--log-format", "loud"], &["loud"]),
    ];
    for (arguments, expected) in cases {
        let mut command = evanesce(&["serve", "--data-dir", &data, "--source", source]);
        if arguments[0] != "--listen" {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(ANY_OPERATORS_PORT);
        command.args(arguments);
        let (code, out, error) = run(command);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {error}");
        for part in expected {
            assert!(error.contains(part), "{arguments:?} should name {part}: {error}");
        }
        assert!(!error.contains("panicked"), "{arguments:?}: {error}");
    }
    for (data, source, expected) in [
        (data.as_str(), path("nowhere").as_str(), &["nowhere"][..]),
        (&data, &path("file"), &["file"]),
        (&path("file"), source, &["file"]),
        (&path("file/below"), source, &["file/below"]),
    ] {
        let mut command =
            evanesce(&["serve", "--listen", "127.0.0.1:0", "--data-dir", data, "--source", source]);
        command.args(ANY_OPERATORS_PORT);
        let (code, out, error) = run(command);
        assert_eq!((code, out.as_str()), (2, ""), "{expected:?}: {error}");
        assert!(expected.iter().all(|part| error.contains(part)), "{expected:?}: {error}");
    }
    for arguments in [&[][..], &["serves"], &["serve", "--port", "1"]] {
        assert_eq!(run(evanesce(arguments)).0, 2, "{arguments:?}");
    }
    assert_eq!(run(evanesce(&["serve", "--help"])).0, 0);
}

#[test]
fn a_data_directory_belongs_to_one_server_at_a_time() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    let (code, out, error) = run(setup.command());
    assert_eq!((code, out.as_str()), (2, ""), "{error}");
    assert!(error.contains(setup.data_dir().to_str().unwrap()) && error.contains("another"), "{error}");
    assert_eq!(get(&polling).status, 200, "the first one is not disturbed");
    // However it ends, the directory is free at once.
    server.kill();
    setup.start();
}

#[test]
fn a_flag_beats_the_environment_beats_the_file() {
    let setup = Setup::new();
    let file = setup.folder.path().join("evanesce.toml");
    std::fs::write(&file, "[server]\nmax_url_bytes = 300\n").unwrap();
    let start = |environment: bool, flag: bool| {
        let mut command = setup.command();
        command.arg("--config").arg(&file);
        if environment {
            command.env("EVANESCE_SERVER__MAX_URL_BYTES", "400");
        }
        if flag {
            command.args(["--set", "server.max_url_bytes=500"]);
        }
        setup.launch(command)
    };
    for (environment, flag, limit) in
        [(false, false, 300), (true, false, 400), (true, true, 500), (false, true, 500)]
    {
        let server = start(environment, flag);
        let of_length = |length: usize| {
            let path = "/r4/default/";
            let url = format!("{}/{}", server.base, "x".repeat(length - path.len()));
            get(&url).outcome()
        };
        assert_eq!(of_length(limit), outcome(404, "not-found"));
        assert_eq!(of_length(limit + 1), outcome(414, "too-long"));
        server.kill();
    }
}

#[test]
fn the_variables_of_a_kubernetes_service_of_the_same_name_are_not_settings() {
    let setup = Setup::new();
    let mut command = setup.command();
    for (name, value) in [
        ("EVANESCE_PORT", "tcp://10.0.0.1:8080"),
        ("EVANESCE_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("EVANESCE_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("EVANESCE_SERVICE_HOST", "10.0.0.1"),
        ("EVANESCE_SERVICE_PORT_HTTP", "8080"),
        ("EVANESCE_", ""),
        ("EVANESCEX__Y", "x"),
    ] {
        command.env(name, value);
    }
    command.env("EVANESCE_SERVER__MAX_URL_BYTES", "300");
    let server = setup.launch(command);
    assert_eq!(get(&format!("{}/{}", server.base, "x".repeat(400))).outcome(), outcome(414, "too-long"));
}

#[test]
fn a_variable_that_is_no_setting_is_named() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let cases: [(&str, &OsStr); 7] = [
        ("EVANESCE_EXPORT__WORKER", OsStr::new("3")),
        ("EVANESCE_EXPORTS__WORKERS", OsStr::new("3")),
        ("EVANESCE_EXPORT__WORKERS", OsStr::new("many")),
        ("EVANESCE_EXPORT__WORKERS__X", OsStr::new("3")),
        ("EVANESCE_RETENTION__COMPLETED", OsStr::new("soon")),
        ("EVANESCE_TENANTS__A__SOURCE__FOLDERS", OsStr::new("x")),
        ("EVANESCE_SOURCE__FOLDER", OsStr::from_bytes(b"\xff")),
    ];
    for (name, value) in cases {
        let setup = Setup::new();
        let mut command = setup.command();
        command.env(name, value).env("EVANESCE_AUDIT__ENABLED", "true");
        let (code, out, error) = run(command);
        assert_eq!((code, out.as_str()), (2, ""), "{name}: {error}");
        assert!(error.contains(&format!("{name} ")) && !error.contains("AUDIT"), "{name}: {error}");
    }
}
