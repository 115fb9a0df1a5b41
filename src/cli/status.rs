//! `evanesce status`: whether a running server is well, and what it has before it.

use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::CliError;
use super::data_dir::DataDirArgs;
use super::operate::{ask, order};
use super::output::{OutputArgs, print, print_all};
use super::table::{FieldList, TextTone, age, count, counted, instant, size, toned};
use crate::JobOverview;
use crate::control::OperatorRequest;
use crate::job::{JobId, StateName};
use crate::receipts::ReaperPause;

/// The arguments of `evanesce status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The exit code is 1 if somebody should act, so a supervisor can ask.")]
pub struct StatusArgs {
    #[command(flatten)]
    server: DataDirArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What is read of the server's answer.
#[derive(Deserialize)]
struct ServerHealth {
    ready: bool,
    reaper: Option<ReaperHealth>,
    workers: ThreadHealth,
    planners: ThreadHealth,
}

#[derive(Deserialize)]
struct ThreadHealth {
    count: u64,
    starved: bool,
}

#[derive(Deserialize)]
struct ReaperHealth {
    last_pass: Option<Timestamp>,
    swept: u64,
    failed: u64,
    marked: u64,
    bytes: u64,
    oldest_mark: Option<Timestamp>,
    overdue: bool,
    orphans: u64,
    strangers: u64,
    missing: Vec<String>,
    clock_jumped: bool,
    pause: Option<ReaperPause>,
    held: u64,
    failing: Vec<FailingErasure>,
}

#[derive(Deserialize)]
struct FailingErasure {
    job: JobId,
    attempts: u64,
    error: String,
    next_try: Timestamp,
}

/// Prints the status. Fails if somebody should act.
pub fn run(args: &StatusArgs) -> Result<(), CliError> {
    let health: ServerHealth = ask(&args.server, &OperatorRequest::Readiness)?;
    let status = order(&args.server, &OperatorRequest::Status)?;
    if args.output.is_json() {
        print(status)?;
    } else {
        let jobs: Vec<JobOverview> = ask(&args.server, &OperatorRequest::Jobs)?;
        print_all(page(&health, &jobs, &status, &args.server.of_server()?, Timestamp::now()))?;
    }
    match &faults(&health)[..] {
        [] => Ok(()),
        faults if args.output.is_json() => Err(CliError::failed(faults.join("; "))),
        _ => Err(CliError::failed("not all is well")),
    }
}

/// Returns what somebody should act upon.
fn faults(health: &ServerHealth) -> Vec<String> {
    let mut faults = Vec::new();
    match &health.reaper {
        None => faults.push("the server is stopping".to_owned()),
        Some(reaper) => {
            if reaper.overdue {
                faults.push("files wait for their erasure for longer than reaper.alarm_after".into());
            }
            if !reaper.missing.is_empty() {
                faults.push(format!("files of the server are missing: {}", reaper.missing.join(", ")));
            }
        }
    }
    if health.workers.starved {
        faults.push("ended jobs keep all workers: nothing is exported".into());
    }
    if health.planners.starved {
        faults.push("ended jobs keep all planners: nothing is planned".into());
    }
    if !health.ready && faults.is_empty() {
        faults.push("the store or the audit log cannot be written; the server's log says why".into());
    }
    faults
}

/// Returns what somebody should know, and what can be done about it.
fn notes(reaper: &ReaperHealth, now: Timestamp) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(pause) = &reaper.pause {
        let (since, reason) = (instant(pause.at, now), pause.reason.escape_debug());
        notes.push(format!(
            "the reaper is paused by {} since {since}: {reason}; `evanesce reaper resume` ends it",
            pause.by
        ));
    }
    if reaper.clock_jumped {
        notes.push("the clock jumped, and nothing expires; `evanesce clock confirm` if it is right".into());
    }
    if reaper.held > 0 {
        notes.push(format!("{} under a hold; `evanesce holds` lists them", counted(reaper.held, "job")));
    }
    for FailingErasure { job, attempts, error, next_try } in &reaper.failing {
        let (failed, next) = (counted(*attempts, "sweep"), instant(*next_try, now));
        notes.push(format!("{failed} of {job} failed: {error}; the next one is at {next}"));
    }
    if reaper.orphans > 0 {
        notes.push(format!("{} without a record, being watched", counted(reaper.orphans, "folder")));
    }
    if reaper.strangers > 0 {
        notes.push(format!("{} that the server did not make, left alone", counted(reaper.strangers, "name")));
    }
    notes
}

fn page(
    health: &ServerHealth,
    jobs: &[JobOverview],
    status: &Value,
    data_dir: &Path,
    now: Timestamp,
) -> Vec<String> {
    let faults = faults(health);
    let mut lines = match &faults[..] {
        [] => vec![toned(TextTone::Good, "Everything is well.")],
        faults => vec![toned(TextTone::Bad, format_args!("Not all is well: {}.", faults.join("; ")))],
    };
    if let Some(reaper) = &health.reaper {
        let notes = notes(reaper, now);
        lines.extend(notes.iter().map(|note| format!("{} {note}", toned(TextTone::Warning, "Note:"))));
    }
    let mut section = |title: &str, fields: FieldList| {
        lines.push(format!("\n{}\n{fields}", toned(TextTone::Strong, title)));
    };
    section("Exports", exports(jobs));
    if let Some(reaper) = &health.reaper {
        section("Erasures", erasures(reaper, now));
    }
    section("Server", server(health, status, data_dir));
    lines
}

fn exports(jobs: &[JobOverview]) -> FieldList {
    let mut list = FieldList::new();
    let mut group = |name: &str, chosen: &dyn Fn(&JobOverview) -> bool| {
        let chosen: Vec<_> = jobs.iter().filter(|job| chosen(job)).collect();
        let bytes: u64 = chosen.iter().filter_map(|job| job.bytes).sum();
        let bytes = if bytes > 0 { format!(", {}", size(bytes)) } else { String::new() };
        list.field(name, format!("{}{bytes}", count(chosen.len() as u64)));
    };
    group("active", &|job| job.state.is_active());
    group("complete", &|job| job.state == StateName::Complete);
    group("failed", &|job| job.state == StateName::Failed);
    list
}

fn erasures(reaper: &ReaperHealth, now: Timestamp) -> FieldList {
    let mut list = FieldList::new();
    let waiting = match reaper.oldest_mark {
        Some(at) => format!(
            "{}, {}, the oldest for {}",
            counted(reaper.marked, "job"),
            size(reaper.bytes),
            age(at, now)
        ),
        None => counted(reaper.marked, "job"),
    };
    list.field("waiting", waiting);
    let failed = if reaper.failed > 0 {
        format!(", {}", counted(reaper.failed, "failed sweep"))
    } else {
        String::new()
    };
    list.field("done", format!("{}{failed} since the start", counted(reaper.swept, "job")));
    list.field("last pass", reaper.last_pass.map_or_else(|| "none yet".into(), |at| instant(at, now)));
    list
}

fn server(health: &ServerHealth, status: &Value, data_dir: &Path) -> FieldList {
    let mut list = FieldList::new();
    list.field("data", data_dir.display());
    if let Some(url) = status["operators"].as_str() {
        list.field("operators", url);
    }
    if let Some(filter) = status["log_filter"].as_str() {
        list.field("log", filter);
    }
    if let Ok(disk) = rustix::fs::statvfs(data_dir) {
        let of = |blocks: u64| size(blocks.saturating_mul(disk.f_frsize));
        list.field("disk", format!("{} free of {}", of(disk.f_bavail), of(disk.f_blocks)));
    }
    let (workers, planners) = (health.workers.count, health.planners.count);
    if workers + planners > 0 {
        let kept = format!("{}, {}", counted(workers, "worker"), counted(planners, "planner"));
        list.field("kept", format!("{kept} by jobs that ended"));
    }
    list
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn health(changes: &[(&str, Value)]) -> ServerHealth {
        let mut health = json!({
            "ready": true, "workers": {"count": 0, "starved": false}, "planners": {"count": 0, "starved": false},
            "reaper": {
                "passes": 3, "last_pass": "2026-01-01T00:00:00Z", "swept": 2, "failed": 0, "marked": 0, "bytes": 0,
                "oldest_mark": null, "overdue": false, "orphans": 0, "strangers": 0, "missing": [],
                "clock_jumped": false, "pause": null, "held": 0, "failing": [],
            },
        });
        for (pointer, value) in changes {
            *health.pointer_mut(pointer).unwrap() = value.clone();
        }
        serde_json::from_value(health).unwrap()
    }

    fn text(health: &ServerHealth) -> String {
        dialoguer::console::set_colors_enabled(false);
        page(health, &[], &Value::Null, Path::new("/nowhere"), "2026-01-01T00:05:00Z".parse().unwrap())
            .join("\n")
    }

    #[test]
    fn the_first_line_says_that_all_is_well() {
        let text = text(&health(&[]));
        let expected = "Everything is well.\n\nExports\nactive    0\ncomplete  0\nfailed    0\n\nErasures\n\
                        waiting    0 jobs\ndone       2 jobs since the start\n\
                        last pass  2026-01-01T00:00:00Z (5m ago)\n\nServer\ndata  /nowhere";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_first_line_says_what_is_not_well_and_the_next_ones_what_should_be_known() {
        let ill = [
            ("/reaper/overdue", json!(true), "reaper.alarm_after"),
            ("/reaper/missing", json!(["LOCK", "store"]), "LOCK, store"),
            ("/reaper", Value::Null, "stopping"),
            ("/workers/starved", json!(true), "workers"),
            ("/planners/starved", json!(true), "planners"),
            ("/ready", json!(false), "audit log"),
        ];
        for (pointer, value, expected) in ill {
            let text = text(&health(&[(pointer, value)]));
            let first = text.lines().next().unwrap();
            assert!(first.starts_with("Not all is well") && first.contains(expected), "{text}");
        }
        let pause = json!({"at": "2026-01-01T00:00:00Z", "by": "ops", "reason": "an\naudit"});
        let failing = json!({
            "job": "0b7c8f0e-5b0a-4f3e-9d52-8f3c5a1b2c3d", "attempts": 2, "errno": "EACCES", "error": "EACCES",
            "next_try": "2026-01-01T00:10:00Z",
        });
        let known = [
            ("/reaper/pause", pause, "paused by ops since 2026-01-01T00:00:00Z (5m ago): an\\naudit"),
            ("/reaper/clock_jumped", json!(true), "clock confirm"),
            ("/reaper/held", json!(2), "2 jobs under a hold"),
            (
                "/reaper/failing",
                json!([failing]),
                "2 sweeps of 0b7c8f0e-5b0a-4f3e-9d52-8f3c5a1b2c3d failed: EACCES",
            ),
            ("/reaper/orphans", json!(1), "1 folder without a record"),
            ("/reaper/strangers", json!(3), "3 names"),
        ];
        for (pointer, value, expected) in known {
            let text = text(&health(&[(pointer, value)]));
            let mut lines = text.lines();
            assert_eq!(lines.next(), Some("Everything is well."));
            assert!(lines.next().unwrap().contains(expected), "{text}");
        }
    }
}
