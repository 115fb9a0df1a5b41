//! What the packages ship: example settings, the dashboard and the unit are true of the program. That
//! a package installs and goes again is tried by `scripts/packaging/check-deb`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use evanesce::config::{AuthMode, Config};
use serde_json::Value;

use crate::support::{Need, skip};
use crate::transport::Identity;

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/packaging")
}

fn load(name: &str) -> Config {
    Config::load(Some(&packaging().join(name)), &[]).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_example_of_settings_is_one_that_the_program_takes() {
    let files = std::fs::read_dir(packaging().join("examples")).unwrap();
    let names: BTreeSet<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let settings = names.iter().filter(|name| name.ends_with(".toml"));
    assert_eq!(settings.clone().count(), 4, "{names:?}");
    for name in settings {
        load(&format!("examples/{name}"));
    }
}

#[test]
fn nobody_gets_data_from_an_example_without_a_token_but_on_a_laptop() {
    for name in ["evanesce.toml", "examples/proxy.toml", "examples/hospital.toml"] {
        assert_eq!(load(name).auth.mode, AuthMode::Smart, "{name}");
    }
    let laptop = load("examples/laptop.toml");
    assert_eq!(laptop.auth.mode, AuthMode::None);
    assert!(laptop.server.listen.ip().is_loopback());
}

#[test]
fn the_unit_and_the_image_start_the_program_with_the_settings_of_the_package() {
    let config = load("evanesce.toml");
    assert_eq!(config.storage.data_dir, Path::new("/var/lib/evanesce"));
    for name in ["evanesce.service", "Dockerfile"] {
        let text = std::fs::read_to_string(packaging().join(name)).unwrap();
        assert!(text.contains("/etc/evanesce/evanesce.toml"), "{name}");
    }
    let unit = std::fs::read_to_string(packaging().join("evanesce.service")).unwrap();
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    let stop: humantime::Duration = stop.parse().unwrap();
    assert!(*stop > config.server.shutdown_grace.0, "it would be killed before it has stopped in order");
}

/// `operator::signs` compares the names of its metrics with those of the server.
#[test]
fn each_panel_of_the_dashboard_asks_for_something_of_the_chosen_instances() {
    let text = std::fs::read_to_string(packaging().join("grafana.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            let query = target["expr"].as_str().unwrap();
            assert!(query.contains("evanesce_") && query.contains("instance=~\"$instance\""), "{query}");
        }
    }
}

/// The names of metrics in a text, without what the parts of a histogram end with.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("evanesce_")).map(|word| word.trim_end_matches("_bucket")).collect()
}

#[test]
fn the_dashboard_shows_what_each_alert_is_about() {
    let read = |path: &str| std::fs::read_to_string(packaging().join(path)).unwrap();
    let (alerts, dashboard) = (read("../alerts.yml"), read("grafana.json"));
    let shown = metrics(&dashboard);
    let rules: Vec<_> = alerts.split("- alert: ").skip(1).collect();
    assert!(rules.len() >= 19, "{}", rules.len());
    for rule in rules {
        let asked = metrics(rule);
        assert!(!asked.is_empty(), "{rule}");
        assert!(asked.is_subset(&shown), "not on the dashboard: {:?}", asked.difference(&shown));
        for part in ["expr: ", "severity: ", "summary: ", "description: "] {
            assert!(rule.contains(part), "an alert has no `{part}`: {rule}");
        }
    }
}

#[test]
fn nginx_takes_the_example_of_a_proxy() {
    let identity = Identity::new();
    let folder = identity.folder.path();
    let text = std::fs::read_to_string(packaging().join("examples/proxy.nginx.conf")).unwrap();
    let (certificate, key) = (identity.certificate(), identity.key());
    // Checking binds what it listens on: a socket of this test.
    let socket = format!("unix:{}/socket ssl", folder.display());
    let site = text
        .replace("listen [::]:443 ssl;", "")
        .replace("443 ssl", &socket)
        .replace("/etc/ssl/certs/fhir.example.org.pem", certificate.to_str().unwrap())
        .replace("/etc/ssl/private/fhir.example.org.key", key.to_str().unwrap());
    assert!(!site.contains("/etc/ssl") && site.contains(&socket), "{site}");
    let main = "pid pid; error_log stderr; events {} http { access_log off; include site.conf; }";
    std::fs::write(folder.join("site.conf"), site).unwrap();
    std::fs::write(folder.join("nginx.conf"), main).unwrap();
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap());
    let mut nginx = std::process::Command::new("nginx");
    let checked = nginx.arg("-t").arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
    match checked.env("PATH", path).output() {
        Ok(checked) => {
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        }
        Err(error) => skip(Need::Nginx, "the example of a proxy", &error.to_string()),
    }
}
