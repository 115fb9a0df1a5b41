//! Whether every promise is kept right now, and what the last day did.

use std::time::Duration;

use actix_web::web::{self, ServiceConfig};
use jiff::Timestamp;
use maud::{Markup, html};

use super::error::ConsoleError;
use super::parts::Tone;
use super::plots::TimePlot;
use super::visit::Visit;
use super::{Console, ConsolePage, PageResult, live, parts};
use crate::evanesce::{PromiseEvidence, RecentActivity};
use crate::receipts::ReaperPause;

/// The page.
pub static PAGE: ConsolePage = ConsolePage { path: "", label: "Overview", mount };

/// What the page follows.
const LIVE: &str = "/console/live";

/// How far the overview looks back.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A reaper that has made no pass for so many intervals is late.
const LATE_PASSES: u32 = 3;

fn mount(config: &mut ServiceConfig) {
    config.service(web::resource(["", "/"]).get(show));
    config.service(web::resource("/live").get(follow));
}

/// What the page shows.
struct OverviewData {
    now: Timestamp,
    evidence: PromiseEvidence,
    activity: RecentActivity,
    alarm_after: Duration,
    interval: Duration,
    min_free: u64,
}

impl OverviewData {
    async fn gather(console: &Console) -> Self {
        let evanesce = &console.0.evanesce;
        let (now, config) = (evanesce.now(), evanesce.config());
        Self {
            now,
            evidence: evanesce.promise_evidence().await,
            activity: evanesce.activity_since(now - DAY).await,
            alarm_after: config.reaper.alarm_after.0,
            interval: config.reaper.interval.0,
            min_free: config.storage.min_free,
        }
    }
}

async fn show(visit: Visit) -> PageResult {
    let data = OverviewData::gather(&visit.console).await;
    let plots = visit.console.history().of_exports(data.now);
    Ok(visit.page("Overview", page(&visit, &data, &plots)))
}

async fn follow(visit: Visit) -> Result<actix_web::HttpResponse, ConsoleError> {
    let console = visit.console.clone();
    live::stream(&visit, LIVE, move || {
        let console = console.clone();
        async move { part(&OverviewData::gather(&console).await) }
    })
}

fn page(visit: &Visit, data: &OverviewData, plots: &[TimePlot]) -> Markup {
    let reaper = data.evidence.readiness.reaper.as_ref();
    html! {
        h1 { "Is every promise kept?" }
        (live::part("promises", LIVE, part(data)))
        h2 { "Exports over time" }
        div class="plots" { @for plot in plots { (plot.figure()) } }
        (visit.console.history().note(visit.console.started_at()))
        @if reaper.is_some_and(|reaper| reaper.clock_jumped) { (clock_form(visit)) }
        @if let Some(reaper) = reaper { (reaper_form(visit, reaper.pause.as_ref())) }
    }
}

/// Returns what changes by itself.
fn part(data: &OverviewData) -> Markup {
    let checks = checks(data);
    let broken = checks.iter().filter(|check| check.tone == Tone::Bad).count();
    let watched = checks.iter().filter(|check| check.tone == Tone::Warn).count();
    let (tone, verdict) = match (broken, watched) {
        (0, 0) => (Tone::Good, "Yes: every promise is kept.".to_owned()),
        (0, n) => (Tone::Warn, format!("Yes, but {n} of the lines below should be looked at.")),
        (n, _) => (Tone::Bad, format!("No: {n} of the lines below need somebody now.")),
    };
    let columns = ["Promise", "Now", "What is known"].map(parts::column);
    html! {
        p id="verdict" class={ "alert " (tone.class()) } role="status" { (verdict) }
        (parts::table("Each promise, and whether it is kept", &columns, html! {
            @for check in &checks {
                tr id={ "check-" (check.id) } {
                    th scope="row" { (check.promise) }
                    td { (parts::badge(check.tone, check.word())) }
                    td { (check.detail) }
                }
            }
        }))
        h2 { "The last 24 hours" }
        (day(&data.activity))
    }
}

/// One line: a promise, and whether it is kept.
struct PromiseCheck {
    id: &'static str,
    promise: &'static str,
    tone: Tone,
    detail: Markup,
}

impl PromiseCheck {
    fn word(&self) -> &'static str {
        match self.tone {
            Tone::Good => "kept",
            Tone::Warn => "look at it",
            Tone::Bad => "broken",
            Tone::Plain => "for information",
        }
    }
}

fn checks(data: &OverviewData) -> Vec<PromiseCheck> {
    let evidence = &data.evidence;
    let mut checks = vec![
        PromiseCheck {
            id: "store",
            promise: "Deletions are durable (P1)",
            tone: good_if(evidence.takes_commits),
            detail: html! {
                @if evidence.takes_commits { "The store takes commits." }
                @else { "The store takes no commits. The process ends, and its next start reconciles." }
            },
        },
        PromiseCheck {
            id: "audit",
            promise: "Everything is recorded (P9)",
            tone: good_if(evidence.is_audited),
            detail: html! {
                @if evidence.is_audited { "The audit log is written and synced." }
                @else { "The audit log cannot be written; the log of the server says why." }
            },
        },
    ];
    checks.extend(reaper_checks(data));
    checks.push(disk_check(data));
    let (workers, planners) = (evidence.readiness.workers, evidence.readiness.planners);
    let is_starved = workers.is_starved || planners.is_starved;
    let outliving = workers.count + planners.count;
    checks.push(PromiseCheck {
        id: "workers",
        promise: "Cancelled work stops (P3, P4)",
        tone: if is_starved {
            Tone::Bad
        } else if outliving > 0 {
            Tone::Warn
        } else {
            Tone::Good
        },
        detail: html! {
            @if outliving == 0 { "No thread outlives its job." }
            @else { (outliving) " threads are still at work for jobs that have ended." }
            @if is_starved { " They are all that there may be: no export gets one." }
        },
    });
    checks
}

fn reaper_checks(data: &OverviewData) -> Vec<PromiseCheck> {
    let Some(reaper) = &data.evidence.readiness.reaper else {
        let detail = html! { "The reaper does not answer: the instance is going down." };
        return vec![PromiseCheck {
            id: "reaper",
            promise: "Nothing is forgotten (P5)",
            tone: Tone::Bad,
            detail,
        }];
    };
    let late = reaper.last_pass.is_none_or(|at| at + data.interval * LATE_PASSES < data.now);
    vec![
        PromiseCheck {
            id: "reaper",
            promise: "Nothing is forgotten (P5)",
            tone: if reaper.overdue {
                Tone::Bad
            } else if late || reaper.pause.is_some() || !reaper.failing.is_empty() {
                Tone::Warn
            } else {
                Tone::Good
            },
            detail: html! {
                @match reaper.oldest_mark {
                    None => "No marked job waits for its erasure.",
                    Some(oldest) => {
                        "Marked jobs that wait: " (reaper.marked) ", with " (parts::bytes(reaper.bytes)) "; the oldest mark is from "
                        (parts::ago(oldest, data.now)) ". The alarm is at " (parts::duration(data.alarm_after)) "."
                    }
                }
                @if let Some(pause) = &reaper.pause {
                    " The reaper is paused by " (pause.by) " since " (parts::instant(pause.at)) ": " (pause.reason)
                }
                @if let Some(last) = reaper.last_pass { " The last pass was " (parts::ago(last, data.now)) "." }
                @if reaper.failed > 0 { " Sweeps that failed since the start and were tried again: " (reaper.failed) "." }
            },
        },
        PromiseCheck {
            id: "files",
            promise: "Our own files are in place (P1, P9)",
            tone: good_if(reaper.missing.is_empty()),
            detail: html! {
                @if reaper.missing.is_empty() { "Store, receipts and audit log stand where they should." }
                @else { "Removed, replaced or cut off: " (reaper.missing.join(", ")) "." }
            },
        },
        PromiseCheck {
            id: "strangers",
            promise: "Nothing live is lost (P6)",
            tone: if reaper.orphans + reaper.strangers > 0 { Tone::Warn } else { Tone::Good },
            detail: html! {
                @if reaper.orphans + reaper.strangers == 0 { "Disk and store tell of the same jobs." }
                @else {
                    (reaper.orphans) " directories without a record, which go after the grace; "
                    (reaper.strangers) " names that this server did not make, which are left alone."
                }
            },
        },
        PromiseCheck {
            id: "clock",
            promise: "Expiry is honest (P8)",
            tone: if reaper.clock_jumped { Tone::Warn } else { Tone::Good },
            detail: html! {
                @if reaper.clock_jumped { "The wall clock jumped: nothing expires until it was steady for an hour, or is confirmed below." }
                @else { "The wall clock is steady." }
                @if reaper.held > 0 { " Jobs under a hold, which do not expire: " (reaper.held) "." }
            },
        },
    ]
}

fn disk_check(data: &OverviewData) -> PromiseCheck {
    let (tone, detail) = match &data.evidence.free {
        Err(error) => (Tone::Bad, html! { "The free space cannot be told: " (error) }),
        Ok(free) => {
            let tone = if *free < data.min_free { Tone::Warn } else { Tone::Good };
            let detail = html! {
                (parts::bytes(*free)) " are free. Exports are refused below " (parts::bytes(data.min_free))
                "; running ones will still write " (parts::bytes(data.evidence.reserved)) "."
            };
            (tone, detail)
        }
    };
    PromiseCheck { id: "disk", promise: "There is room (P13)", tone, detail }
}

fn good_if(is_good: bool) -> Tone {
    if is_good { Tone::Good } else { Tone::Bad }
}

fn day(activity: &RecentActivity) -> Markup {
    let tiles = [
        ("kicked off", activity.submitted, "submitted"),
        ("complete and kept", activity.complete, "complete"),
        ("failed", activity.failed, "failed"),
        ("deleted or cancelled, and erased", activity.erased, "erased"),
        ("expired, and erased", activity.expired, "expired"),
    ];
    html! {
        div class="grid" {
            @for (label, number, id) in tiles {
                div class="tile" id={ "day-" (id) } {
                    span class="figure" { (parts::count(number as u64)) }
                    span class="label" { (label) }
                }
            }
            div class="tile" id="day-latency" {
                span class="figure" {
                    @match activity.median_erasure { Some(took) => (parts::duration(took)), None => "–" }
                }
                span class="label" { "from mark to gone (median)" }
            }
        }
    }
}

fn clock_form(visit: &Visit) -> Markup {
    html! {
        section class="card" {
            h2 { "The clock jumped" }
            p { "If the wall clock is right now, say so: what has expired meanwhile goes at once." }
            (visit.form("/console/clock/confirm", html! { button type="submit" { "The clock is right" } }))
        }
    }
}

fn reaper_form(visit: &Visit, pause: Option<&ReaperPause>) -> Markup {
    html! {
        details class="card" open[pause.is_some()] {
            summary { "Pause or resume the reaper" }
            @if pause.is_some() {
                p { "Nothing is removed and nothing expires until the reaper is resumed. What is deleted is hidden at once all the same." }
                (visit.form("/console/reaper/resume", html! { button type="submit" { "Resume the reaper" } }))
            } @else {
                p { "While it is paused, nothing is removed and nothing expires. What is deleted is hidden at once all the same." }
                (visit.form("/console/reaper/pause", parts::reason_field("Pause the reaper")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::erase::ReaperStatus;
    use crate::evanesce::Readiness;
    use crate::export::OutlivingWork;

    fn data() -> OverviewData {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let none = OutlivingWork { count: 0, is_starved: false };
        let reaper = ReaperStatus { last_pass: Some(now), ..ReaperStatus::default() };
        let readiness = Readiness { is_ready: true, reaper: Some(reaper), workers: none, planners: none };
        OverviewData {
            now,
            evidence: PromiseEvidence {
                readiness,
                takes_commits: true,
                is_audited: true,
                free: Ok(1 << 40),
                reserved: 0,
            },
            activity: RecentActivity::default(),
            alarm_after: Duration::from_secs(600),
            interval: Duration::from_secs(60),
            min_free: 1 << 30,
        }
    }

    fn failing() -> crate::FailingSweep {
        let (job, next_try) = (crate::job::JobId::random(), Timestamp::UNIX_EPOCH);
        crate::FailingSweep { job, attempts: 1, errno: "EIO".into(), error: "sweep".into(), next_try }
    }

    fn bad(data: &OverviewData) -> Vec<&'static str> {
        checks(data).iter().filter(|check| check.tone != Tone::Good).map(|check| check.id).collect()
    }

    #[test]
    fn each_broken_promise_shows_in_its_own_line_and_in_the_verdict() {
        let good = data();
        assert_eq!(bad(&good), [""; 0]);
        assert!(part(&good).into_string().contains("every promise is kept"));

        let reaper = |data: &mut OverviewData, change: fn(&mut ReaperStatus)| {
            change(data.evidence.readiness.reaper.as_mut().unwrap());
        };
        type Change = fn(&mut OverviewData, &dyn Fn(&mut OverviewData, fn(&mut ReaperStatus)));
        let cases: [(&str, Change); 12] = [
            ("reaper", |data, reaper| reaper(data, |status| status.failing = vec![failing()])),
            ("store", |data, _| data.evidence.takes_commits = false),
            ("audit", |data, _| data.evidence.is_audited = false),
            ("reaper", |data, reaper| reaper(data, |status| status.overdue = true)),
            ("reaper", |data, reaper| reaper(data, |status| status.last_pass = None)),
            ("reaper", |data, _| data.now += Duration::from_secs(181)),
            ("files", |data, reaper| reaper(data, |status| status.missing = vec!["store"])),
            ("strangers", |data, reaper| reaper(data, |status| status.strangers = 1)),
            ("clock", |data, reaper| reaper(data, |status| status.clock_jumped = true)),
            ("disk", |data, _| data.evidence.free = Ok(0)),
            ("disk", |data, _| data.evidence.free = Err("EIO".into())),
            ("workers", |data, _| data.evidence.readiness.planners.count = 1),
        ];
        for (id, change) in cases {
            let mut data = data();
            change(&mut data, &reaper);
            assert_eq!(bad(&data), [id]);
            assert!(!part(&data).into_string().contains("Yes: every promise is kept"), "{id}");
        }
        let mut down = data();
        down.evidence.readiness.reaper = None;
        assert!(part(&down).into_string().contains("No: 1 of"));
    }

    #[test]
    fn what_an_operator_wrote_is_shown_as_text() {
        let mut data = data();
        let pause =
            ReaperPause { at: data.now, by: "<i>".into(), reason: "<script>alert(1)</script>".into() };
        data.evidence.readiness.reaper.as_mut().unwrap().pause = Some(pause);
        let shown = part(&data).into_string();
        assert!(shown.contains("&lt;script&gt;") && !shown.contains("<script") && !shown.contains("<i>"));
    }
}
