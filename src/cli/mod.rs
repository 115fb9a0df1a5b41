//! The command line: one file a sub-command. Exit codes: 0 done, 1 the command failed, 2 it
//! could not begin (arguments, configuration, data directory, source), 70 the server could
//! promise nothing any more, 130 stopped by a second signal.

mod app;
mod audit;
mod chain;
mod control_socket;
#[cfg(feature = "generate")]
mod demo;
mod follow;
mod fsck;
#[cfg(feature = "generate")]
mod generate;
mod keygen;
mod operate;
mod operators;
mod output;
mod receipts;
mod serve;
mod token;

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A FHIR Bulk Data export server whose files are gone when it says they are gone.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::Args),
    /// Watch exports being started, cancelled, deleted and erased, in a temporary directory.
    #[cfg(feature = "generate")]
    Demo(demo::Args),
    /// Make synthetic FHIR data.
    #[cfg(feature = "generate")]
    Generate(generate::Args),
    /// What the reaper of a running server has done and has before it.
    Status(operate::Show),
    /// Check the data directory of a stopped server, and repair it.
    Fsck(fsck::Args),
    /// The jobs of a running server.
    Jobs(operate::Show),
    /// End a job, whosever it is, and have its files erased.
    Cancel(operate::Cancel),
    /// Put a job under a legal hold: its files stay.
    Hold(operate::Hold),
    /// Release a job from its hold.
    Release(operate::Release),
    /// Pause or resume the reaper of a running server.
    #[command(subcommand)]
    Reaper(operate::Reaper),
    /// Tell a running server about its clock.
    #[command(subcommand)]
    Clock(operate::Clock),
    /// Look into the receipts of erasures, check and export them.
    Receipts(receipts::Args),
    /// Check and export the audit log.
    Audit(audit::Args),
    /// Add, list, disable and enable the population applications.
    App(app::Args),
    /// Make a key pair for a population application.
    Keygen(keygen::Args),
    /// Ask a server for an access token, as a population application.
    Token(token::Args),
}

/// Why a command ends without success.
struct CliError {
    code: u8,
    message: String,
}

impl CliError {
    /// The command could not begin.
    fn usage(message: impl Display) -> Self {
        Self { code: 2, message: message.to_string() }
    }

    /// The command failed.
    fn failed(message: impl Display) -> Self {
        Self { code: 1, message: message.to_string() }
    }
}

/// Runs the command of the process's arguments.
pub fn main() -> ExitCode {
    let done = match Cli::try_parse() {
        Ok(cli) => run(cli.command),
        Err(wrong) if wrong.use_stderr() => {
            // Nobody is told if it cannot be said.
            let _ = wrong.print();
            return ExitCode::from(2);
        }
        // Help, or the version.
        Err(text) => output::printed(text.print()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error.message);
            ExitCode::from(error.code)
        }
    }
}

fn run(command: Command) -> Result<(), CliError> {
    match command {
        Command::Serve(args) => serve::run(args),
        #[cfg(feature = "generate")]
        Command::Demo(args) => demo::run(&args),
        #[cfg(feature = "generate")]
        Command::Generate(args) => generate::run(&args),
        Command::Fsck(args) => fsck::run(&args),
        Command::Status(args) => operate::status(&args),
        Command::Jobs(args) => operate::jobs(&args),
        Command::Cancel(args) => operate::cancel(&args),
        Command::Hold(args) => operate::hold(args),
        Command::Release(args) => operate::release(&args),
        Command::Reaper(args) => operate::reaper(args),
        Command::Clock(args) => operate::clock(&args),
        Command::Receipts(args) => receipts::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::App(args) => app::run(args),
        Command::Keygen(args) => keygen::run(args),
        Command::Token(args) => token::run(&args),
    }
}
