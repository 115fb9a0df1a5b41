//! Whether the server is ready, check by check, with what to do when it is not; what runs here, for how long,
//! and under which settings. No secret and no name of a file that holds one is shown.

use std::time::Duration;

use actix_web::web::{self, ServiceConfig};
use jiff::Timestamp;
use maud::{Markup, html};

use super::history::metric_sum;
use super::parts::{self, Tone};
use super::visit::Visit;
use super::{ConsolePage, PageResult, ROOT};
use crate::clock::between;
use crate::config::Config;
use crate::evanesce::PromiseEvidence;

/// The page.
pub static PAGE: ConsolePage = ConsolePage { path: "/health", label: "Health", mount };

fn mount(config: &mut ServiceConfig) {
    config.service(web::resource("/health").get(show));
}

/// What the page shows.
struct HealthData {
    now: Timestamp,
    started_at: Timestamp,
    evidence: PromiseEvidence,
    /// Lines of the log that were lost; `None` if nobody counts.
    lost_log_lines: Option<f64>,
    config: Config,
    /// The host that the page was asked for at.
    host: String,
}

async fn show(visit: Visit) -> PageResult {
    let (console, evanesce) = (&visit.console, visit.evanesce());
    let text = match console.metrics().cloned() {
        Some(metrics) => web::block(move || metrics.render()).await.ok(),
        None => None,
    };
    let data = HealthData {
        now: evanesce.now(),
        started_at: console.started_at(),
        evidence: evanesce.promise_evidence().await,
        lost_log_lines: text.map(|text| metric_sum(&text, "evanesce_lost_log_lines_total")),
        config: evanesce.config().clone(),
        host: visit.host().to_owned(),
    };
    Ok(visit.page("Health", page(&data)))
}

/// One thing that `/readyz` looks at.
struct ReadinessCheck {
    name: &'static str,
    is_good: bool,
    /// How it is now.
    now: String,
    /// What to do if it is not good.
    todo: &'static str,
}

fn checks(data: &HealthData) -> Vec<ReadinessCheck> {
    let evidence = &data.evidence;
    let readiness = &evidence.readiness;
    let reaper = readiness.reaper.as_ref();
    let check = |name, is_good, good: &str, bad: String, todo| ReadinessCheck {
        name,
        is_good,
        now: if is_good { good.into() } else { bad },
        todo,
    };
    let missing = reaper.map_or_else(String::new, |reaper| reaper.missing.join(", "));
    vec![
        check(
            "The store takes commits",
            evidence.takes_commits,
            "Kick-offs and deletions are made durable.",
            "A write or a sync failed, and nothing can be promised any more.".into(),
            "The process ends by itself. Look at the disk (dmesg, df), then start it again: the start reconciles.",
        ),
        check(
            "The audit log is written",
            evidence.is_audited,
            "Each access is recorded and synced.",
            "Events could not be written or synced.".into(),
            "Look at the disk and at the folder audit in the data directory; the log says what failed.",
        ),
        check(
            "The actors answer",
            reaper.is_some(),
            "Jobs and the reaper take messages.",
            "The instance is going down.".into(),
            "If it does not end within server.shutdown_grace, restart it.",
        ),
        check(
            "Our own files are in place",
            missing.is_empty(),
            "Store, receipts and audit log are where they should be.",
            format!("Missing or replaced: {missing}."),
            "Somebody moved or removed them under the running server. Put them back; do not restart before that.",
        ),
        check(
            "No mark waits for too long",
            reaper.is_some_and(|reaper| !reaper.overdue),
            "What is deleted goes in time.",
            "The oldest mark has waited for longer than reaper.alarm_after.".into(),
            "The page Erasures shows what keeps it.",
        ),
        check(
            "There is a thread for exports",
            !readiness.workers.is_starved,
            "Workers are free, or come free.",
            format!("{} parts of ended jobs hold all workers.", readiness.workers.count),
            "They are stuck in system calls: look at the disk of the source (dmesg), then restart.",
        ),
        check(
            "There is a thread for plans",
            !readiness.planners.is_starved,
            "Planners are free, or come free.",
            format!("{} plans of ended jobs hold all planners.", readiness.planners.count),
            "They are stuck in system calls: look at the disk of the source (dmesg), then restart.",
        ),
    ]
}

fn page(data: &HealthData) -> Markup {
    let checks = checks(data);
    let bad = checks.iter().filter(|check| !check.is_good).count();
    let columns = ["Check", "Now", "What is known"].map(parts::column);
    html! {
        h1 { "Health" }
        @if data.evidence.readiness.is_ready {
            p class="alert good" role="status" { "Ready: " code { "/readyz" } " answers 200." }
        } @else {
            p class="alert bad" role="alert" { "Not ready: " code { "/readyz" } " answers 503, and a load balancer sends nobody here. " (bad) " of these checks failed." }
        }
        (parts::table("What /readyz looks at", &columns, html! {
            @for check in &checks {
                tr {
                    th scope="row" { (check.name) }
                    td { (parts::badge(if check.is_good { Tone::Good } else { Tone::Bad }, if check.is_good { "good" } else { "bad" })) }
                    td { (check.now) @if !check.is_good { " " strong { (check.todo) } } }
                }
            }
        }))
        h2 { "This process" }
        (process(data))
        h2 { "Settings that matter" }
        (settings(&data.config))
        h2 { "Elsewhere" }
        (elsewhere(data))
    }
}

fn process(data: &HealthData) -> Markup {
    let reaper = data.evidence.readiness.reaper.as_ref();
    let build = if cfg!(debug_assertions) { "for development: slow" } else { "for production" };
    let clock = match reaper {
        Some(reaper) if reaper.clock_jumped => {
            html! { (parts::badge(Tone::Warn, "jumped")) " Nothing expires until it was steady for an hour, or is confirmed on the " a href=(ROOT) { "overview" } "." }
        }
        _ => html! { (parts::badge(Tone::Good, "steady")) " It is " (parts::instant(data.now)) " here." },
    };
    let lost = match data.lost_log_lines {
        None => html! { "not counted here" },
        Some(0.0) => html! { "none" },
        Some(lost) => {
            html! { (parts::badge(Tone::Warn, "some")) " " (format!("{lost:.0}")) " since the start: whoever reads the log is too slow, or its disk is full." }
        }
    };
    let free = match &data.evidence.free {
        Ok(free) => html! { (parts::bytes(*free)) " free" },
        Err(error) => html! { (parts::badge(Tone::Bad, "unknown")) " " (error) },
    };
    parts::facts(&[
        ("Version", html! { (env!("CARGO_PKG_VERSION")) }),
        ("Build", html! { (build) ", " (std::env::consts::ARCH) "-" (std::env::consts::OS) }),
        ("Running since", html! { (parts::instant(data.started_at)) }),
        ("Up for", html! { (parts::duration(between(data.started_at, data.now))) }),
        ("Process id", html! { (std::process::id()) }),
        ("Clock", clock),
        ("Disk", free),
        ("Log lines lost", lost),
        (
            "Passes of the reaper",
            html! { @match reaper { Some(reaper) => (parts::count(reaper.passes)), None => "–" } },
        ),
    ])
}

/// Returns the settings that an operator asks for at night. None of them is a secret.
fn settings(config: &Config) -> Markup {
    // As operators write it: a rounded one would not be what is in force.
    let duration = |time: Duration| humantime::format_duration(time).to_string();
    let rate = |rate: u64| html! { @if rate == 0 { "without a limit" } @else { (parts::bytes(rate)) "/s" } };
    let rows: Vec<(&str, Markup)> = vec![
        ("auth.mode", html! { (config.auth.mode.as_str()) }),
        ("server.listen", html! { (config.server.listen) }),
        (
            "server.public_url",
            html! { @match &config.server.public_url { Some(url) => (url), None => "by the request" } },
        ),
        (
            "admin.listen",
            html! { @match config.admin.listen { Some(listen) => (listen), None => "127.0.0.1:8081, or a free port" } },
        ),
        ("storage.data_dir", html! { (config.storage.data_dir.display()) }),
        ("storage.min_free", parts::bytes(config.storage.min_free)),
        ("source.folder", html! { (config.source.folder.display()) }),
        ("export.workers", html! { (config.export.workers) }),
        ("export.max_bytes_per_second", rate(config.export.max_bytes_per_second)),
        ("export.max_active_jobs", html! { (config.export.max_active_jobs) }),
        ("retention.completed", html! { (duration(config.retention.completed.0)) }),
        ("retention.tombstones", html! { (duration(config.retention.tombstones.0)) }),
        ("retention.receipts", html! { (duration(config.retention.receipts.0)) }),
        ("reaper.interval", html! { (duration(config.reaper.interval.0)) }),
        ("reaper.alarm_after", html! { (duration(config.reaper.alarm_after.0)) }),
        ("download.delete_grace", html! { (duration(config.download.delete_grace.0)) }),
    ];
    let columns = ["Setting", "Value"].map(parts::column);
    parts::table(
        "Settings in force",
        &columns,
        html! {
            @for (name, value) in rows { tr { th scope="row" { code { (name) } } td { (value) } } }
        },
    )
}

fn elsewhere(data: &HealthData) -> Markup {
    let data_dir = data.config.storage.data_dir.display();
    html! {
        p { "Metrics for Prometheus are at " code { "/metrics" } " on this listener, and need the token:" }
        pre class="log" { "curl -H \"Authorization: Bearer $(cat " (data_dir) "/operator-token)\" " (data.host) "/metrics" }
        p {
            a href="/healthz" { code { "/healthz" } } " says whether the process answers. Alert rules are in " code { "scripts/alerts.yml" }
            ", and what each metric and each alarm means is in the manual: " code { "docs/metrics.md" } "."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReaperStatus;
    use crate::evanesce::Readiness;
    use crate::export::OutlivingWork;

    fn data() -> HealthData {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let none = OutlivingWork { count: 0, is_starved: false };
        let readiness = Readiness {
            is_ready: true,
            reaper: Some(ReaperStatus::default()),
            workers: none,
            planners: none,
        };
        let evidence = PromiseEvidence {
            readiness,
            takes_commits: true,
            is_audited: true,
            free: Ok(1 << 40),
            reserved: 0,
        };
        HealthData {
            now,
            started_at: now,
            evidence,
            lost_log_lines: Some(0.0),
            config: Config::default(),
            host: "localhost:8081".into(),
        }
    }

    #[test]
    fn each_check_that_fails_says_what_to_do() {
        assert!(checks(&data()).iter().all(|check| check.is_good));
        assert!(page(&data()).into_string().contains("answers 200"));
        type Change = fn(&mut PromiseEvidence);
        let changes: [(usize, Change); 7] = [
            (0, |it| it.takes_commits = false),
            (1, |it| it.is_audited = false),
            (2, |it| it.readiness.reaper = None),
            (3, |it| it.readiness.reaper.as_mut().unwrap().missing = vec!["store"]),
            (4, |it| it.readiness.reaper.as_mut().unwrap().overdue = true),
            (5, |it| it.readiness.workers.is_starved = true),
            (6, |it| it.readiness.planners.is_starved = true),
        ];
        for (failed, change) in changes {
            let mut data = data();
            change(&mut data.evidence);
            data.evidence.readiness.is_ready = false;
            let checks = checks(&data);
            assert!(!checks[failed].is_good, "{}", checks[failed].name);
            let shown = page(&data).into_string();
            assert!(shown.contains(checks[failed].todo) && shown.contains("503"), "{}", checks[failed].name);
        }
    }

    #[test]
    fn durations_of_settings_are_not_rounded() {
        let shown = page(&data()).into_string();
        assert!(shown.contains("6years 1day") && shown.contains("30days"), "{shown}");
    }

    #[test]
    fn lost_lines_of_the_log_are_shown() {
        let lost = HealthData { lost_log_lines: Some(12.0), ..data() };
        assert!(page(&lost).into_string().contains("12 since the start"));
    }
}
