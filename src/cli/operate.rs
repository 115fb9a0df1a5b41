//! Orders of operators to a running server: `evanesce status`, `jobs`, `cancel`, `hold`, `release`,
//! `reaper pause|resume`, `clock confirm`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::Value;

use super::CliError;
use super::control_socket::{ControlError, send};
use super::output::{print, print_all, report};
use crate::JobOverview;
use crate::control::OperatorRequest;
use crate::job::JobId;

/// The running server.
#[derive(Debug, clap::Args)]
pub struct ServerArgs {
    /// The data directory of the running server.
    #[arg(long, value_name = "DIR", default_value = "evanesce-data")]
    data_dir: PathBuf,
}

/// The arguments of `evanesce status` and `evanesce jobs`.
#[derive(Debug, clap::Args)]
pub struct QueryArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// One JSON document instead of lines for people.
    #[arg(long)]
    json: bool,
}

/// The arguments of `evanesce cancel`.
#[derive(Debug, clap::Args)]
pub struct CancelArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The job that is to end, whosever it is.
    job: JobId,
}

/// The arguments of `evanesce hold`.
#[derive(Debug, clap::Args)]
pub struct HoldArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The job whose files must stay.
    job: JobId,
    /// Why; it goes into the receipts, so it must not name a patient.
    #[arg(long)]
    reason: String,
}

/// The arguments of `evanesce release`.
#[derive(Debug, clap::Args)]
pub struct ReleaseArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The job whose hold ends.
    job: JobId,
}

/// `evanesce reaper ...`
#[derive(Debug, Subcommand)]
pub enum ReaperCommand {
    /// Sweep and expire nothing until `resume`; what is deleted is hidden at once all the same.
    Pause {
        #[command(flatten)]
        server: ServerArgs,
        /// Why; it goes into the receipts, so it must not name a patient.
        #[arg(long)]
        reason: String,
    },
    /// Go on.
    Resume {
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// `evanesce clock ...`
#[derive(Debug, Subcommand)]
pub enum ClockCommand {
    /// The wall clock is right although it jumped: what has expired goes now.
    Confirm {
        #[command(flatten)]
        server: ServerArgs,
    },
}

pub fn order(server: &ServerArgs, request: &OperatorRequest) -> Result<Value, CliError> {
    send(&server.data_dir, request).map_err(|error| match error {
        ControlError::NoServer(..) => CliError::usage(error),
        _ => CliError::failed(error),
    })
}

/// Prints what the reaper has done and has to do.
pub fn status(args: &QueryArgs) -> Result<(), CliError> {
    let status = order(&args.server, &OperatorRequest::Status)?;
    match &status {
        Value::Object(fields) if !args.json => {
            print_all(fields.iter().map(|(name, value)| format!("{:<14} {value}", name.replace('_', " "))))
        }
        status => print(status),
    }
}

/// Lists all jobs, the oldest first.
pub fn jobs(args: &QueryArgs) -> Result<(), CliError> {
    let jobs = order(&args.server, &OperatorRequest::Jobs)?;
    if args.json {
        return print(jobs);
    }
    let jobs: Vec<JobOverview> = serde_json::from_value(jobs).map_err(CliError::failed)?;
    print_all(jobs.into_iter().map(
        |JobOverview { job, state, tenant, owner, submitted_at, percent, held }| {
            let held = if held { "  held" } else { "" };
            let percent = percent.map_or_else(String::new, |percent| format!("{percent:.1} %"));
            format!("{job}  {submitted_at:.0}  {state:<9} {percent:>7}  {tenant}/{owner}{held}")
        },
    ))
}

/// Ends a job and has its files erased.
pub fn cancel(CancelArgs { server, job }: &CancelArgs) -> Result<(), CliError> {
    order(server, &OperatorRequest::Cancel { job: *job })?;
    report(format_args!(
        "{job} is deleted: it answers 404 from now on, and its receipt comes when its files are gone"
    ))
}

/// Puts a job under a hold.
pub fn hold(args: HoldArgs) -> Result<(), CliError> {
    let HoldArgs { server, job, reason } = args;
    order(&server, &OperatorRequest::Hold { job, reason })?;
    report(format_args!("{job} is under a hold: its files stay until it is released"))
}

/// Releases a job.
pub fn release(ReleaseArgs { server, job }: &ReleaseArgs) -> Result<(), CliError> {
    order(server, &OperatorRequest::Release { job: *job })?;
    report(format_args!("{job} is released"))
}

/// Confirms the clock.
pub fn clock(ClockCommand::Confirm { server }: &ClockCommand) -> Result<(), CliError> {
    order(server, &OperatorRequest::ConfirmClock)?;
    report("the clock is believed: expiry goes on")
}

/// Pauses or resumes the reaper.
pub fn reaper(args: ReaperCommand) -> Result<(), CliError> {
    match args {
        ReaperCommand::Pause { server, reason } => {
            order(&server, &OperatorRequest::Pause { reason })?;
            report("the reaper is paused: nothing is swept and nothing expires until it is resumed")
        }
        ReaperCommand::Resume { server } => {
            order(&server, &OperatorRequest::Resume)?;
            report("the reaper goes on")
        }
    }
}
