//! What is on its way out, what keeps it, and how fast it goes: the backlog, failures with what to do about
//! them, holds and the pause, and plots of the past.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{self, ServiceConfig};
use jiff::Timestamp;
use maud::{Markup, html};

use super::error::ConsoleError;
use super::parts::{self, Tone};
use super::visit::Visit;
use super::{Console, ConsolePage, PageResult, ROOT, live};
use crate::evanesce::MarkedJob;
use crate::job::JobId;
use crate::receipts::JobHold;
use crate::{FailingSweep, ReaperStatus};

/// The page.
pub static PAGE: ConsolePage = ConsolePage { path: "/erasures", label: "Erasures", mount };

/// What the page follows.
const LIVE: &str = "/console/erasures/live";

/// The most rows of a table (P13).
const MOST_ROWS: usize = 100;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn mount(config: &mut ServiceConfig) {
    config.service(web::resource("/erasures").get(show));
    config.service(web::resource("/erasures/live").get(follow));
}

/// What the page shows.
struct ErasuresData {
    now: Timestamp,
    reaper: Option<ReaperStatus>,
    backlog: Vec<MarkedJob>,
    holds: Vec<JobHold>,
    erased_today: usize,
}

impl ErasuresData {
    async fn gather(console: &Console) -> Self {
        let evanesce = console.evanesce();
        let now = evanesce.now();
        Self {
            now,
            reaper: evanesce.reaper_status().await,
            backlog: evanesce.backlog(MOST_ROWS).await,
            holds: evanesce.holds(),
            erased_today: evanesce.erased_since(now - DAY),
        }
    }
}

async fn show(visit: Visit) -> PageResult {
    let console = &visit.console;
    let data = ErasuresData::gather(console).await;
    let plots = console.history().of_erasures(data.now);
    let content = html! {
        h1 { "Erasures" }
        (live::part("erasures", LIVE, part(&data)))
        h2 { "Over time" }
        div class="plots" { @for plot in &plots { (plot.figure()) } }
        (console.history().note(console.started_at()))
    };
    Ok(visit.page("Erasures", content))
}

async fn follow(visit: Visit) -> Result<HttpResponse, ConsoleError> {
    let console = visit.console.clone();
    live::stream(&visit, LIVE, move || {
        let console = console.clone();
        async move { part(&ErasuresData::gather(&console).await) }
    })
}

/// Returns what changes by itself.
fn part(data: &ErasuresData) -> Markup {
    let Some(reaper) = &data.reaper else {
        return html! { p class="alert bad" role="status" { "The reaper does not answer: the instance is going down." } };
    };
    html! {
        (verdict(data, reaper))
        (tiles(data, reaper))
        @if !reaper.failing.is_empty() {
            h2 { "Failures" }
            (failures(data, &reaper.failing))
        }
        h2 { "Backlog" }
        @if data.backlog.is_empty() {
            (parts::empty("Nothing waits for its erasure.", "Jobs come here when they are deleted or expire, and leave with their receipt."))
        } @else {
            (backlog(data, reaper))
        }
        h2 { "Holds" }
        @if data.holds.is_empty() {
            (parts::empty("No job is under a hold.", "A hold keeps the files of a job for a legal inquiry. It is placed on the page of the job."))
        } @else {
            (holds(data))
        }
    }
}

fn verdict(data: &ErasuresData, reaper: &ReaperStatus) -> Markup {
    let (tone, text) = if let Some(pause) = &reaper.pause {
        let text = html! {
            "The reaper is paused by " (pause.by) " since " (parts::ago(pause.at, data.now)) ": “" (pause.reason)
            "”. Nothing is removed and nothing expires until it is resumed on the " a href=(ROOT) { "overview" } "."
        };
        (Tone::Warn, text)
    } else if reaper.overdue {
        (
            Tone::Bad,
            html! { "The oldest mark has waited for longer than " code { "reaper.alarm_after" } ". See what keeps it below." },
        )
    } else if !reaper.failing.is_empty() {
        (
            Tone::Warn,
            html! { "Some files could not be removed. They are hidden from clients, and it is tried again." },
        )
    } else if reaper.marked > reaper.held {
        (Tone::Plain, html! { "Files are being removed." })
    } else {
        (Tone::Good, html! { "What was deleted is gone." })
    };
    html! { p id="erasures-verdict" class={ "alert " (tone.class()) } role="status" { (text) } }
}

fn tiles(data: &ErasuresData, reaper: &ReaperStatus) -> Markup {
    let tile = |id: &str, label: &str, figure: Markup| {
        html! { div class="tile" id={ "tile-" (id) } { span class="figure" { (figure) } span class="label" { (label) } } }
    };
    let oldest = match reaper.oldest_mark {
        Some(at) => parts::ago(at, data.now),
        None => html! { "–" },
    };
    html! {
        div class="grid" {
            (tile("marked", "waiting for erasure", parts::count(reaper.marked as u64)))
            (tile("bytes", "waiting with them", parts::bytes(reaper.bytes)))
            (tile("oldest", "oldest mark", oldest))
            (tile("failing", "with a failed sweep", parts::count(reaper.failing.len() as u64)))
            (tile("held", "under a hold", parts::count(reaper.held as u64)))
            (tile("today", "erased in the last 24 hours", parts::count(data.erased_today as u64)))
        }
    }
}

fn failures(data: &ErasuresData, failing: &[FailingSweep]) -> Markup {
    let columns = ["Job", "What happened", "What to do", "Next try"].map(parts::column);
    parts::table(
        "Sweeps that failed and are tried again",
        &columns,
        html! {
            @for sweep in failing {
                @let (what, todo) = in_words(&sweep.errno);
                tr id={ "failing-" (sweep.job) } {
                    th scope="row" { (link(sweep.job)) }
                    td data-label="What happened" { (what) " (" code { (sweep.errno) } "), " (times(sweep.attempts)) "." }
                    td data-label="What to do" { (todo) }
                    td class="nowrap" data-label="Next try" { (parts::until(sweep.next_try, data.now)) }
                }
            }
        },
    )
}

fn backlog(data: &ErasuresData, reaper: &ReaperStatus) -> Markup {
    let columns = ["Job", "Client", "Why", "Marked", "Waits for"].map(parts::column);
    html! {
        (parts::table("Jobs that are marked and not erased yet", &columns, html! {
            @for job in &data.backlog {
                tr id={ "marked-" (job.job) } {
                    th scope="row" { (link(job.job)) }
                    td data-label="Client" { (job.owner) }
                    td data-label="Why" { (job.reason.as_str()) }
                    td class="nowrap" data-label="Marked" { (parts::ago(job.marked_at, data.now)) }
                    td data-label="Waits for" { (waits_for(job, reaper)) }
                }
            }
        }))
        @if reaper.marked > data.backlog.len() {
            p class="quiet" { "The " (data.backlog.len()) " oldest of " (reaper.marked) " are shown." }
        }
    }
}

fn waits_for(job: &MarkedJob, reaper: &ReaperStatus) -> Markup {
    let failing = reaper.failing.iter().find(|sweep| sweep.job == job.job);
    if job.is_held {
        return html! { (parts::badge(Tone::Warn, "held")) " an operator's release" };
    }
    if reaper.pause.is_some() {
        return html! { (parts::badge(Tone::Warn, "paused")) " the reaper to be resumed" };
    }
    match (failing, &job.failure) {
        (Some(sweep), _) => {
            html! { (parts::badge(Tone::Bad, "failed")) " the next try; the last one said " code { (sweep.errno) } }
        }
        (None, Some(failure)) => {
            html! { (parts::badge(Tone::Bad, "failed")) " the next try after " (times(failure.attempts)) }
        }
        _ if job.downloads > 0 => html! { "open downloads to end: " (job.downloads) },
        _ => html! { "its turn" },
    }
}

fn holds(data: &ErasuresData) -> Markup {
    let columns = ["Job", "Since", "By", "Reason"].map(parts::column);
    let shown = data.holds.iter().take(MOST_ROWS);
    html! {
        (parts::table("Jobs under a hold", &columns, html! {
            @for hold in shown {
                tr id={ "hold-" (hold.job) } {
                    th scope="row" { (link(hold.job)) }
                    td class="nowrap" data-label="Since" { (parts::instant(hold.at)) }
                    td data-label="By" { (hold.by) }
                    td data-label="Reason" { (hold.reason) }
                }
            }
        }))
        p class="quiet" {
            @if data.holds.len() > MOST_ROWS { "The first " (MOST_ROWS) " of " (data.holds.len()) " are shown. " }
            "A job is released on its own page."
        }
    }
}

fn link(job: JobId) -> Markup {
    html! { a class="id" href={ (ROOT) "/jobs/" (job) } { (job) } }
}

fn times(count: u32) -> String {
    match count {
        1 => "once".into(),
        2 => "twice".into(),
        count => format!("{count} times"),
    }
}

/// Returns what an error of the system means for a sweep, and what to do about it.
fn in_words(errno: &str) -> (&'static str, &'static str) {
    match errno {
        "EACCES" => (
            "The server may not remove a file",
            "Give the data directory and all in it back to the server's user (chown, chmod u+rwx).",
        ),
        "EPERM" => (
            "The system forbids the removal",
            "Look for an immutable flag (lsattr; chattr -i), a security policy, or another owner.",
        ),
        "EBUSY" => {
            ("Something is mounted or in use there", "Find it with findmnt and fuser, and unmount it.")
        }
        "EROFS" => (
            "The file system is read-only",
            "See dmesg: a damaged disk is remounted so. Repair it and mount it read-write.",
        ),
        "EIO" => (
            "The disk does not answer",
            "See dmesg and the disk's health (smartctl). Replace it if it fails.",
        ),
        "ENOSPC" | "EDQUOT" => {
            ("There is no room, not even to remove", "Free some on the file system of the data directory.")
        }
        "ENOTEMPTY" | "EEXIST" => (
            "A directory is filled again while it is emptied",
            "Find who writes into the data directory, and stop them.",
        ),
        "EMFILE" | "ENFILE" => {
            ("There are no descriptors left", "Raise the limit of open files (ulimit -n, LimitNOFILE).")
        }
        "ESTALE" => (
            "The file system went away under the server",
            "A network file system is not supported: move the data directory to a local one.",
        ),
        "ELOOP" | "ENOTDIR" => (
            "Something else stands where a directory was",
            "Look into trash/ in the data directory; remove what the server did not make.",
        ),
        _ => {
            ("The files could not be removed", "The log of the server says more; search it for the job's id.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::MarkReason;
    use crate::receipts::ReaperPause;

    fn data() -> ErasuresData {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let reaper = Some(ReaperStatus::default());
        ErasuresData { now, reaper, backlog: Vec::new(), holds: Vec::new(), erased_today: 3 }
    }

    fn marked(data: &mut ErasuresData) -> &mut ReaperStatus {
        let backlog = MarkedJob {
            job: JobId::random(),
            owner: "acme".parse().unwrap(),
            reason: MarkReason::Deleted,
            marked_at: data.now,
            failure: None,
            is_held: false,
            downloads: 0,
        };
        data.backlog.push(backlog);
        let reaper = data.reaper.as_mut().unwrap();
        reaper.marked += 1;
        reaper
    }

    #[test]
    fn what_keeps_a_job_is_said_with_what_to_do() {
        let mut idle = data();
        assert!(part(&idle).into_string().contains("What was deleted is gone"));
        idle.reaper = None;
        assert!(part(&idle).into_string().contains("going down"));

        let mut waiting = data();
        marked(&mut waiting);
        assert!(part(&waiting).into_string().contains("its turn"));

        let mut failed = data();
        let (job, next_try) = (marked(&mut failed).marked, failed.now + Duration::from_secs(30));
        assert_eq!(job, 1);
        let (job, errno) = (failed.backlog[0].job, "EPERM".to_string());
        let sweep = FailingSweep { job, attempts: 2, errno, error: "sweep".into(), next_try };
        failed.reaper.as_mut().unwrap().failing.push(sweep);
        let shown = part(&failed).into_string();
        for text in ["forbids the removal", "chattr -i", "twice", "in 30 seconds", "could not be removed"] {
            assert!(shown.contains(text), "{text}: {shown}");
        }

        let mut paused = data();
        let pause = ReaperPause { at: paused.now, by: "ops".into(), reason: "<b>backup".into() };
        marked(&mut paused).pause = Some(pause);
        let shown = part(&paused).into_string();
        assert!(
            shown.contains("paused by ops")
                && shown.contains("&lt;b&gt;backup")
                && shown.contains("to be resumed")
        );
    }

    #[test]
    fn p13_a_long_list_of_holds_is_cut_and_says_so() {
        let mut many = data();
        let hold = || JobHold {
            job: JobId::random(),
            at: Timestamp::UNIX_EPOCH,
            by: "o".into(),
            reason: "r".into(),
        };
        many.holds = (0..=MOST_ROWS).map(|_| hold()).collect();
        let shown = part(&many).into_string();
        assert_eq!(shown.matches("id=\"hold-").count(), MOST_ROWS);
        assert!(shown.contains("The first 100 of 101"));
    }
}
