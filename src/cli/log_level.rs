//! `evanesce log-level`: shows and changes what a running server logs.

use serde::Deserialize;

use super::CliError;
use super::data_dir::DataDirArgs;
use super::operate::order;
use super::output::{OutputArgs, print, report};
use crate::control::OperatorRequest;

/// The arguments of `evanesce log-level`.
#[derive(Debug, clap::Args)]
pub struct LogLevelArgs {
    #[command(flatten)]
    server: DataDirArgs,
    /// What is to be logged from now on, as RUST_LOG has it: a level such as debug, or targets with
    /// levels such as info,evanesce::erase=debug. Without it what is logged now is shown.
    filter: Option<String>,
    /// Log what was logged at the start.
    #[arg(long, conflicts_with = "filter")]
    reset: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// What the server answers.
#[derive(Deserialize)]
struct LogLevel {
    filter: String,
    at_start: String,
}

/// Shows or changes what is logged.
pub fn run(args: LogLevelArgs) -> Result<(), CliError> {
    let LogLevelArgs { server, filter, reset, output } = args;
    let is_change = reset || filter.is_some();
    let request = if is_change { OperatorRequest::SetLogLevel { filter } } else { OperatorRequest::LogLevel };
    let answer = order(&server, &request)?;
    if output.is_json() {
        return report(answer);
    }
    let LogLevel { filter, at_start } = serde_json::from_value(answer).map_err(CliError::failed)?;
    let since =
        if filter == at_start { "as at the start".into() } else { format!("{at_start} at the start") };
    let line = format!("{filter} ({since})");
    if is_change { report(line) } else { print(line) }
}
