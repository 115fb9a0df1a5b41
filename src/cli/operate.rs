//! Orders of operators to a running server: `evanesce hold`, `release`, `holds`, `reaper
//! pause|resume`, `clock confirm`; and how any command talks to the server.

use clap::Subcommand;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::CliError;
use super::control_socket::{ControlError, send};
use super::data_dir::DataDirArgs;
use super::output::{OutputArgs, print, print_json, report, report_as};
use super::table::{ColumnKind, TextTable, age};
use crate::control::OperatorRequest;
use crate::job::JobId;
use crate::receipts::JobHold;

/// The arguments of `evanesce hold`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  evanesce hold 0b7c8f0e-5b0a-4f3e-9d52-8f3c5a1b2c3d --reason 'case 17'")]
pub struct HoldArgs {
    #[command(flatten)]
    server: DataDirArgs,
    /// The jobs whose files must stay.
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<JobId>,
    /// Why; it goes into the receipts, so it must not name a patient.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// The arguments of `evanesce release`.
#[derive(Debug, clap::Args)]
pub struct ReleaseArgs {
    #[command(flatten)]
    server: DataDirArgs,
    /// The jobs whose hold ends.
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<JobId>,
    #[command(flatten)]
    output: OutputArgs,
}

/// The arguments of `evanesce holds`.
#[derive(Debug, clap::Args)]
pub struct HoldsArgs {
    #[command(flatten)]
    server: DataDirArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// `evanesce reaper ...`
#[derive(Debug, Subcommand)]
pub enum ReaperCommand {
    /// Sweep and expire nothing until `resume`; what is deleted is hidden at once all the same.
    Pause {
        #[command(flatten)]
        server: DataDirArgs,
        /// Why; it goes into the receipts, so it must not name a patient.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// End the pause: sweep and expire again.
    Resume {
        #[command(flatten)]
        server: DataDirArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// `evanesce clock ...`
#[derive(Debug, Subcommand)]
pub enum ClockCommand {
    /// The wall clock is right although it jumped: what has expired goes now.
    Confirm {
        #[command(flatten)]
        server: DataDirArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// Sends a request to the server, and returns its response.
pub fn order(server: &DataDirArgs, request: &OperatorRequest) -> Result<Value, CliError> {
    send(&server.of_server()?, request).map_err(|error| match error {
        ControlError::NoServer(..) | ControlError::AnotherUsers(..) => CliError::usage(error),
        _ => CliError::failed(error),
    })
}

/// Asks the server for a document.
pub fn ask<T: DeserializeOwned>(server: &DataDirArgs, request: &OperatorRequest) -> Result<T, CliError> {
    serde_json::from_value(order(server, request)?).map_err(|error| {
        CliError::failed(format!(
            "the answer of the server is of another version ({error}); update this program"
        ))
    })
}

/// What became of an order for one job.
pub struct OrderOutcome {
    job: JobId,
    done: Result<(), CliError>,
}

/// Gives the server an order for each job. An order that fails does not keep the next one from being
/// given, unless there is no server.
pub fn order_each(
    server: &DataDirArgs,
    jobs: &[JobId],
    request: impl Fn(JobId) -> OperatorRequest,
) -> Result<Vec<OrderOutcome>, CliError> {
    let mut outcomes = Vec::new();
    for job in jobs {
        let done = match order(server, &request(*job)) {
            Err(error) if error.code == 2 && outcomes.is_empty() => return Err(error),
            done => done.map(drop),
        };
        outcomes.push(OrderOutcome { job: *job, done });
    }
    Ok(outcomes)
}

/// Prints what became of each job, `done` for those that were ordered. Fails if one was not.
pub fn report_each(outcomes: &[OrderOutcome], output: &OutputArgs, done: &str) -> Result<(), CliError> {
    let failed: Vec<_> =
        outcomes.iter().filter_map(|one| one.done.as_ref().err().map(|e| (one.job, e))).collect();
    if output.is_json() {
        let document = |one: &OrderOutcome| match &one.done {
            Ok(()) => json!({"job": one.job, "done": true}),
            Err(error) => json!({"job": one.job, "done": false, "error": error.message}),
        };
        report(Value::from(outcomes.iter().map(document).collect::<Vec<_>>()))?;
    } else {
        let done = outcomes.iter().filter(|one| one.done.is_ok()).map(|one| format!("{} {done}", one.job));
        let done: Vec<_> = done.collect();
        if !done.is_empty() {
            report(done.join("\n"))?;
        }
    }
    match &failed[..] {
        [] => Ok(()),
        [(job, error)] if outcomes.len() == 1 => Err(CliError::failed(format!("{job}: {}", error.message))),
        failed => {
            let lines = failed.iter().map(|(job, error)| format!("\n  {job}: {}", error.message));
            let lines: String = lines.collect();
            Err(CliError::failed(format!("{} of {} failed:{lines}", failed.len(), outcomes.len())))
        }
    }
}

/// Puts jobs under a hold.
pub fn hold(args: &HoldArgs) -> Result<(), CliError> {
    let reason = || args.reason.clone();
    let outcomes =
        order_each(&args.server, &args.jobs, |job| OperatorRequest::Hold { job, reason: reason() })?;
    report_each(&outcomes, &args.output, "is under a hold: its files stay until it is released")
}

/// Releases jobs.
pub fn release(args: &ReleaseArgs) -> Result<(), CliError> {
    let outcomes = order_each(&args.server, &args.jobs, |job| OperatorRequest::Release { job })?;
    report_each(&outcomes, &args.output, "is released")
}

/// Lists the holds that are in force.
pub fn holds(args: &HoldsArgs) -> Result<(), CliError> {
    let holds: Vec<JobHold> = ask(&args.server, &OperatorRequest::Holds)?;
    if args.output.is_json() {
        return print_json(&holds);
    }
    let now = Timestamp::now();
    let columns = [
        ("JOB", ColumnKind::Key),
        ("AGE", ColumnKind::Number),
        ("BY", ColumnKind::Text),
        ("REASON", ColumnKind::Text),
    ];
    let mut table = TextTable::new(&columns);
    for hold in holds {
        let reason = hold.reason.escape_debug().to_string();
        table.row([hold.job.to_string(), age(hold.at, now), hold.by, reason]);
    }
    print(table)
}

/// Confirms the clock.
pub fn clock(ClockCommand::Confirm { server, output }: &ClockCommand) -> Result<(), CliError> {
    order(server, &OperatorRequest::ConfirmClock)?;
    report_as(output, "the clock is believed: expiry goes on", &json!({"clock": "believed"}))
}

/// Pauses or resumes the reaper.
pub fn reaper(args: ReaperCommand) -> Result<(), CliError> {
    match args {
        ReaperCommand::Pause { server, reason, output } => {
            order(&server, &OperatorRequest::Pause { reason })?;
            let sentence = "the reaper is paused: nothing is swept and nothing expires until it is resumed";
            report_as(&output, sentence, &json!({"reaper": "paused"}))
        }
        ReaperCommand::Resume { server, output } => {
            order(&server, &OperatorRequest::Resume)?;
            report_as(&output, "the reaper goes on", &json!({"reaper": "running"}))
        }
    }
}
