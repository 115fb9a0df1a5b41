//! What an operator sees: the alarm of a backlog, and the metrics that the alert rules name.

use evanesce::telemetry::all_metrics;

use crate::support::{Setup, delete, eventually, job_id};

#[test]
fn readyz_is_red_while_a_mark_waits_for_longer_than_the_alarm() {
    let setup = Setup::new()
        .set("reaper.interval=20ms")
        .set("reaper.retry_min=20ms")
        .set("reaper.retry_max=20ms")
        .set("reaper.alarm_after=100ms");
    let server = setup.start();
    let readyz = || server.operator("readyz");
    assert_eq!(readyz().status, 200);
    let (polling, _) = server.export("$export?_type=Patient");
    // No sweep can remove it, until somebody does.
    let planted = |place: &str| setup.data_dir().join(place).join(job_id(&polling)).join("planted");
    std::fs::create_dir(planted("ready")).unwrap();
    assert_eq!(delete(&polling).status, 202);
    let red = eventually("the alarm", || Some(readyz()).filter(|answer| answer.status == 503)).json();
    assert_eq!(red["ready"], false);
    assert_eq!(red["reaper"]["overdue"], true);
    let metrics = server.metrics();
    assert!(metrics.contains("evanesce_sweep_failures_total{errno=\"EISDIR\"}"), "{metrics}");
    std::fs::remove_dir(planted("trash")).unwrap();
    setup.disk().wait_gone(job_id(&polling));
    eventually("the end of the alarm", || (readyz().status == 200).then_some(()));
}

#[test]
fn a_job_that_is_held_is_no_alarm() {
    let setup = Setup::new().set("reaper.interval=20ms").set("reaper.alarm_after=10ms");
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    super::order(&setup, &["hold", job_id(&polling), "--reason", "case 17"]);
    assert_eq!(delete(&polling).status, 202);
    let readyz = || server.operator("readyz");
    let passes = || readyz().json()["reaper"]["passes"].as_u64().unwrap();
    let before = passes();
    eventually("two passes of the reaper", || (passes() >= before + 2).then_some(()));
    assert_eq!(readyz().status, 200);
}

/// The names of metrics in a text: words that begin with `evanesce_`.
fn metric_names(text: &str) -> Vec<&str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !word(c)).filter(|name| name.starts_with("evanesce_"));
    let mut names: Vec<_> = words.collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn every_metric_of_the_alert_rules_and_of_the_dashboard_is_one_that_the_server_has() {
    let known: Vec<_> = all_metrics().map(|metric| metric.name).collect();
    for text in
        [include_str!("../../scripts/alerts.yml"), include_str!("../../scripts/packaging/grafana.json")]
    {
        let names = metric_names(text);
        assert!(names.len() > 10, "{names:?}");
        for name in names {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            assert!(known.contains(&name) || base.is_some_and(|base| known.contains(&base)), "{name}");
        }
    }
}

#[test]
fn a_server_says_of_each_metric_what_it_means() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    assert_eq!(delete(&polling).status, 202);
    setup.disk().wait_gone(job_id(&polling));
    let text = server.metrics();
    let told: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    assert!(told.len() >= 25, "{told:?}");
    for (name, kind) in told {
        let metric = all_metrics().find(|metric| metric.name == name);
        let metric =
            metric.unwrap_or_else(|| panic!("{name} is not in the list of src/telemetry/metrics.rs"));
        assert_eq!(metric.kind.to_string(), kind, "{name}");
        assert!(text.contains(&format!("# HELP {name} {}", metric.help)), "{name}");
    }
}
