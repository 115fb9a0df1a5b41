//! `evanesce jobs`: the jobs of a running server, as a list, one by one, and live.

mod filter;
mod show;
mod watch;

use std::io::{self, IsTerminal};
use std::time::Duration;

use jiff::Timestamp;

use super::CliError;
use super::data_dir::DataDirArgs;
use super::operate::ask;
use super::output::{OutputArgs, print, print_json};
use super::table::{ColumnKind, NOTHING, TextTable, TextTone, age, count, counted, rough, size, toned};
use crate::JobOverview;
use crate::control::OperatorRequest;
use crate::job::StateName;

pub use filter::{JobFilter, JobOrder};

/// The arguments of `evanesce jobs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evanesce jobs --state running,queued
  evanesce jobs show 0b7c8f0e-5b0a-4f3e-9d52-8f3c5a1b2c3d
  evanesce jobs watch --client acme
  evanesce jobs --output json | jq '.[] | select(.held)'")]
pub struct JobsArgs {
    #[command(flatten)]
    server: DataDirArgs,
    #[command(flatten)]
    list: JobListArgs,
    #[command(subcommand)]
    command: Option<JobsCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum JobsCommand {
    /// List the jobs, as `evanesce jobs` alone does.
    List(JobListArgs),
    /// Show the life of one job: what happened when, what it wrote, what it waits for, its receipt.
    Show(show::JobShowArgs),
    /// Watch the jobs until Ctrl-C: bars on a terminal, a line a change elsewhere.
    Watch(watch::JobWatchArgs),
}

/// The arguments of `evanesce jobs list`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct JobListArgs {
    #[command(flatten)]
    filter: JobFilter,
    /// Also jobs whose files are gone.
    #[arg(long, short)]
    all: bool,
    /// What the list is sorted by.
    #[arg(long, value_enum, value_name = "KEY", default_value_t)]
    sort: JobOrder,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs `evanesce jobs`.
pub fn run(args: &JobsArgs) -> Result<(), CliError> {
    let server = &args.server;
    match &args.command {
        None => list(server, &args.list),
        Some(_) if !args.list.is_default() => Err(CliError::usage(
            "options of jobs stand behind its sub-command, such as `evanesce jobs watch --client ID`",
        )),
        Some(JobsCommand::List(args)) => list(server, args),
        Some(JobsCommand::Show(args)) => show::run(server, args),
        Some(JobsCommand::Watch(args)) => watch::run(server, args),
    }
}

impl JobListArgs {
    fn is_default(&self) -> bool {
        self.filter.is_open() && !self.all && self.sort == JobOrder::default() && self.output.is_default()
    }
}

/// Returns the jobs that a filter lets through, the oldest first.
pub fn jobs(server: &DataDirArgs, filter: &JobFilter) -> Result<Vec<JobOverview>, CliError> {
    let mut jobs: Vec<JobOverview> = ask(server, &OperatorRequest::Jobs)?;
    jobs.retain(|job| filter.wants(job));
    Ok(jobs)
}

fn list(server: &DataDirArgs, args: &JobListArgs) -> Result<(), CliError> {
    let mut jobs = jobs(server, &args.filter)?;
    args.sort.sort(&mut jobs);
    if args.output.is_json() {
        return print_json(&jobs);
    }
    let all = jobs.len();
    if !args.all && !args.filter.has_states() {
        jobs.retain(|job| job.state != StateName::Erased);
    }
    let erased = (all - jobs.len()) as u64;
    print(table(&jobs, Timestamp::now()))?;
    if erased > 0 && io::stdout().is_terminal() {
        let more = format!("{} whose files are gone: --all", counted(erased, "more job"));
        print(toned(TextTone::Faint, more))?;
    }
    Ok(())
}

/// Returns a table of jobs.
pub fn table(jobs: &[JobOverview], now: Timestamp) -> TextTable {
    let columns = [
        ("JOB", ColumnKind::Key),
        ("STATE", ColumnKind::Key),
        ("DONE", ColumnKind::Number),
        ("FILES", ColumnKind::Number),
        ("SIZE", ColumnKind::Number),
        ("AGE", ColumnKind::Number),
        ("CLIENT", ColumnKind::Text),
        ("NOTE", ColumnKind::Text),
    ];
    let mut table = TextTable::new(&columns).spare(&[3, 5, 7]);
    for job in jobs {
        let nothing = || NOTHING.to_owned();
        table.row([
            job.job.to_string(),
            state(job.state),
            job.percent.map_or_else(nothing, percent),
            job.files.map_or_else(nothing, count),
            job.bytes.map_or_else(nothing, size),
            age(job.submitted_at, now),
            who(job),
            note(job, now),
        ]);
    }
    table
}

/// Returns a state in its colour.
pub fn state(state: StateName) -> String {
    let tone = match state {
        StateName::Queued | StateName::Running | StateName::Finishing => TextTone::Busy,
        StateName::Complete => TextTone::Good,
        StateName::Failed => TextTone::Bad,
        StateName::Marked => TextTone::Warning,
        StateName::Erased => TextTone::Faint,
    };
    toned(tone, state.as_str())
}

/// Returns whole percent. Nothing but a complete job shows 100.
fn percent(percent: f64) -> String {
    format!("{}%", percent.floor())
}

/// Returns whose a job is.
fn who(job: &JobOverview) -> String {
    format!("{}/{}", job.tenant, job.owner)
}

/// Returns what else is worth knowing of a job at a glance.
fn note(job: &JobOverview, now: Timestamp) -> String {
    let mut notes = Vec::new();
    if job.held {
        notes.push(toned(TextTone::Warning, "held"));
    }
    notes.extend(job.reason.map(|reason| reason.as_str().to_owned()));
    notes.extend(
        job.failure.and_then(|failure| failure.text().split(['.', ';', ':']).next()).map(str::to_owned),
    );
    notes.extend(job.expires_at.map(|at| format!("expires in {}", age(now, at))));
    notes.extend(job.seconds_left.map(|seconds| format!("{} left", rough(Duration::from_secs(seconds)))));
    notes.join(", ")
}
