//! `evanesce config`: the settings in force, what is wrong or dangerous about them, and the manual's tables.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::{evanesce_command, temporary_folder};

fn config(arguments: &[&str]) -> Command {
    let mut command = evanesce_command();
    command.arg("config").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn text(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn config_print_tells_where_each_setting_was_given() {
    let folder = temporary_folder();
    let file = folder.path().join("evanesce.toml");
    std::fs::write(&file, "[export]\nworkers = 3\n[source]\nbase_url = 'https://me:pass@h.example/r4'")
        .unwrap();
    let arguments =
        ["print", "--config", file.to_str().unwrap(), "--set", "export.nice=5", "--listen", "[::1]:1"];
    let run = |format| {
        let mut command = config(&arguments);
        command.args(["--output", format]).env("EVANESCE_EXPORT__PART_BYTES", "8000");
        text(&command.output().unwrap())
    };
    let (code, printed, complaint) = run("json");
    assert_eq!(code, Some(0), "{complaint}");
    let settings: Value = serde_json::from_str(&printed).unwrap();
    let given = |value: Value, from: &str| json!({ "value": value, "from": from });
    let file_of = format!("file {}", file.display());
    assert_eq!(settings["export.workers"], given(3.into(), &file_of));
    assert_eq!(settings["source.base_url"], given("https://***@h.example/r4".into(), &file_of));
    assert_eq!(settings["export.part_bytes"], given(8000.into(), "environment EVANESCE_EXPORT__PART_BYTES"));
    assert_eq!(settings["export.nice"], given(5.into(), "flag"));
    assert_eq!(settings["server.listen"], given("[::1]:1".into(), "flag"));
    assert_eq!(settings["retention.completed"], given("1day".into(), "default"));
    assert_eq!(settings["server.public_url"], given(Value::Null, "default"));
    let (_, printed, _) = run("toml");
    assert!(printed.contains("[export]") && !printed.contains("pass"), "{printed}");
    let line = printed.lines().find(|line| line.starts_with("workers = 3")).unwrap();
    assert!(line.ends_with(&format!("# {file_of}")), "{line}");
}

#[test]
fn config_check_says_what_a_start_would_refuse_and_makes_nothing() {
    let folder = temporary_folder();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let check = |sets: &[&str]| {
        let data_dir = place("data");
        let mut command = config(&["check", "--data-dir", &data_dir]);
        command.args(sets.iter().flat_map(|set| ["--set", set]));
        text(&command.output().unwrap())
    };
    let set = |key: &str, name: &str| format!("{key}={}", place(name));
    std::fs::write(place("file"), "no PEM and no TOML [").unwrap();
    for (sets, expected) in [
        (vec![set("source.folder", "nowhere")], "source.folder: "),
        (vec![set("tenants.north.source.folder", "file")], "tenants.north.source.folder: "),
        (vec![set("source.folder", "data"), set("storage.data_dir", "file")], "is not a directory"),
        (vec![set("auth.applications", "nowhere")], "nowhere"),
        (vec![set("auth.applications", "file")], "file"),
        (vec![set("tls.certificate", "file"), set("tls.key", "file")], "tls.certificate"),
        (vec![set("auth.jwks_ca_file", "nowhere")], "auth.jwks_ca_file"),
        (vec!["export.workers=0".into()], "export.workers is 0"),
        (vec!["export.worker=1".into()], "worker"),
    ] {
        // The last data directory counts: that of the flag.
        let sets: Vec<_> = sets.iter().map(String::as_str).collect();
        let is_of_data_dir = expected == "is not a directory";
        let (code, _, complaint) = if is_of_data_dir {
            let file = place("file");
            text(&config(&["check", "--data-dir", &file]).output().unwrap())
        } else {
            check(&sets)
        };
        assert_eq!(code, Some(2), "{sets:?}: {complaint}");
        assert!(complaint.contains(expected), "{sets:?}: {complaint}");
    }
    let (code, said, complaint) = check(&[]);
    assert_eq!(code, Some(0), "{complaint}");
    assert!(said.starts_with("a server can start with these settings: 1 given"), "{said}");
    assert!(!Path::new(&place("data")).exists(), "it made the data directory");
}

#[test]
fn config_check_warns_of_what_is_dangerous() {
    let folder = temporary_folder();
    let file = folder.path().join("evanesce.toml");
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    let sets = [
        ("auth.mode=none", "auth.mode is none"),
        ("auth.jwks_allow_private_addresses=true", "auth.jwks_allow_private_addresses"),
        ("server.trusted_proxies=0.0.0.0/0", "server.trusted_proxies has every address"),
        ("limits.exempt=0.0.0.0/0", "limits.exempt has every address"),
        ("audit.enabled=false", "audit.enabled is false"),
        ("admin.enabled=false", "admin.enabled is false"),
        ("limits.downloads=0", "limits.downloads is switched off"),
        ("limits.head_timeout=0s", "limits.head_timeout is switched off"),
        ("storage.min_free=0", "storage.min_free is 0"),
        ("retention.completed=1year", "retention.completed is 1year"),
        ("retention.receipts=1year", "retention.receipts is 1year"),
    ];
    let mut command = config(&["check", "--output", "json", "--config", file.to_str().unwrap()]);
    command.args(sets.iter().flat_map(|(set, _)| ["--set", set]));
    let (code, said, complaint) = text(&command.output().unwrap());
    assert_eq!(code, Some(0), "{complaint}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["wrong"], json!([]));
    let dangerous: Vec<_> =
        said["dangerous"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let modes = ("", "--config: other users may change");
    let public_url = ("", "server.public_url is not set");
    for (set, expected) in sets.iter().chain([&modes, &public_url]) {
        assert!(dangerous.iter().any(|text| text.starts_with(expected)), "{set}: {dangerous:#?}");
    }
    assert_eq!(dangerous.len(), sets.len() + 2, "{dangerous:#?}");
}

#[test]
fn the_tables_of_the_manual_are_what_the_code_says() {
    let pages = ["docs/settings.md", "docs/metrics.md"];
    let (code, _, complaint) = text(&config(&[&["docs", "--check"], &pages[..]].concat()).output().unwrap());
    assert_eq!(code, Some(0), "{complaint}");
    let folder = temporary_folder();
    for page in pages {
        let whole = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
        let copy = folder.path().join("page.md");
        let copy = copy.to_str().unwrap();
        let stale = whole.replacen("| evanesce_", "| evanescent_", 1).replacen("`30s`", "`31s`", 1);
        let stale = stale.replacen("bytes were erased", "bytes", 1).replacen("Bytes that", "Octets that", 1);
        assert_ne!(whole, stale);
        std::fs::write(copy, stale).unwrap();
        let (code, _, complaint) = text(&config(&["docs", "--check", copy]).output().unwrap());
        assert_eq!(code, Some(1), "{complaint}");
        assert!(complaint.contains(&format!("evanesce config docs --write {copy}")), "{complaint}");
        assert!(config(&["docs", "--write", copy]).status().unwrap().success());
        assert!(std::fs::read_to_string(copy).unwrap() == whole, "{page}");
    }
    std::fs::write(folder.path().join("page.md"), "no place").unwrap();
    let copy = folder.path().join("page.md");
    assert_eq!(config(&["docs", "--check", copy.to_str().unwrap()]).status().unwrap().code(), Some(2));
}
