//! The command line, one file per sub-command. Exit codes: 0 success, 1 the command failed, 2 it
//! could not begin (arguments, configuration, data directory, source), 70 the server can promise
//! nothing any more, 130 stopped by a second signal. `export` has more.

mod about;
mod app;
mod audit;
mod cancel;
mod chain;
mod config;
mod control_socket;
mod data_dir;
#[cfg(feature = "generate")]
mod demo;
#[cfg(feature = "client")]
mod export;
mod follow;
mod fsck;
#[cfg(feature = "generate")]
mod generate;
mod jobs;
mod keygen;
mod keys;
mod log_level;
mod operate;
mod operators;
mod output;
mod ready;
mod receipts;
mod serve;
mod settings;
mod status;
mod table;
#[cfg(feature = "client")]
mod token;

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A FHIR Bulk Data export server whose files are gone when it says they are gone.
#[derive(Debug, Parser)]
#[command(version, after_help = about::AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Run the server, until a signal stops it.
    Serve(serve::ServeArgs),
    /// Watch exports being started, cancelled, deleted and erased, in a temporary directory.
    #[cfg(feature = "generate")]
    Demo(demo::DemoArgs),
    /// Export from a FHIR Bulk Data server into a folder.
    #[cfg(feature = "client")]
    Export(Box<export::ExportArgs>),
    /// Make synthetic FHIR data.
    #[cfg(feature = "generate")]
    Generate(generate::GenerateArgs),
    /// Say whether a running server is well, and what it has before it.
    Status(status::StatusArgs),
    /// Check the data directory of a stopped server, and repair it.
    Fsck(fsck::FsckArgs),
    /// List the jobs of a running server, show one, or watch them.
    Jobs(jobs::JobsArgs),
    /// End jobs, whosever they are, and have their files erased.
    Cancel(cancel::CancelArgs),
    /// Put jobs under a legal hold: their files stay.
    Hold(operate::HoldArgs),
    /// List the holds that are in force.
    Holds(operate::HoldsArgs),
    /// Release jobs from their hold.
    Release(operate::ReleaseArgs),
    /// Pause or resume the reaper of a running server.
    #[command(subcommand)]
    Reaper(operate::ReaperCommand),
    /// Tell a running server about its clock.
    #[command(subcommand)]
    Clock(operate::ClockCommand),
    /// Show the keys of a running server, or turn their epoch.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Show or change what a running server logs.
    LogLevel(log_level::LogLevelArgs),
    /// Look into the receipts of erasures, check and export them.
    Receipts(receipts::ReceiptsArgs),
    /// Check and export the audit log.
    Audit(audit::AuditArgs),
    /// Add, list, disable and enable the population applications.
    App(app::AppArgs),
    /// Print the settings in force, check them, or document all there are.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Make a key pair for a population application.
    Keygen(keygen::KeygenArgs),
    /// Ask a server for an access token, as a population application.
    #[cfg(feature = "client")]
    Token(token::TokenArgs),
    /// Print the completions of a shell.
    Completions(about::CompletionsArgs),
    /// Print the manual page, or write one a sub-command.
    Man(about::ManArgs),
}

/// Why a command fails.
#[derive(Debug)]
struct CliError {
    code: u8,
    message: String,
}

impl CliError {
    /// Creates the error of a command that could not begin.
    fn usage(message: impl Display) -> Self {
        Self { code: 2, message: message.to_string() }
    }

    /// Creates the error of a command that failed.
    fn failed(message: impl Display) -> Self {
        Self { code: 1, message: message.to_string() }
    }
}

/// Runs the command that the arguments of the process name.
pub fn main() -> ExitCode {
    let done = match Cli::try_parse() {
        Ok(cli) => run(cli.command),
        Err(wrong) if wrong.use_stderr() => {
            // A failure to print is ignored.
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

fn run(command: CliCommand) -> Result<(), CliError> {
    match command {
        CliCommand::Serve(args) => serve::run(args),
        #[cfg(feature = "generate")]
        CliCommand::Demo(args) => demo::run(&args),
        #[cfg(feature = "generate")]
        CliCommand::Generate(args) => generate::run(&args),
        #[cfg(feature = "client")]
        CliCommand::Export(args) => export::run(*args),
        CliCommand::Fsck(args) => fsck::run(&args),
        CliCommand::Status(args) => status::run(&args),
        CliCommand::Jobs(args) => jobs::run(&args),
        CliCommand::Cancel(args) => cancel::run(&args),
        CliCommand::Hold(args) => operate::hold(&args),
        CliCommand::Holds(args) => operate::holds(&args),
        CliCommand::Release(args) => operate::release(&args),
        CliCommand::Reaper(args) => operate::reaper(args),
        CliCommand::Clock(args) => operate::clock(&args),
        CliCommand::Keys(args) => keys::run(args),
        CliCommand::LogLevel(args) => log_level::run(args),
        CliCommand::Receipts(args) => receipts::run(&args),
        CliCommand::Audit(args) => audit::run(&args),
        CliCommand::App(args) => app::run(args),
        CliCommand::Config(command) => config::run(&command),
        CliCommand::Keygen(args) => keygen::run(args),
        #[cfg(feature = "client")]
        CliCommand::Token(args) => token::run(&args),
        CliCommand::Completions(args) => about::completions(&args),
        CliCommand::Man(args) => about::man(&args),
    }
}
