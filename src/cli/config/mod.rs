//! `evanesce config`: the settings as they are in force, what is wrong or dangerous about them, and the
//! tables of the manual that are made of the code.

mod check;
mod docs;
mod print;
mod reference;

use clap::Subcommand;

use super::CliError;

/// `evanesce config ...`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the settings in force, and where each was given.
    Print(print::PrintArgs),
    /// Say what is wrong with the settings, and what is dangerous about them. Changes nothing.
    Check(check::CheckArgs),
    /// Print the tables of settings and metrics of the manual.
    Docs(docs::DocsArgs),
}

/// Runs one of the commands.
pub fn run(command: &ConfigCommand) -> Result<(), CliError> {
    match command {
        ConfigCommand::Print(args) => print::run(args),
        ConfigCommand::Check(args) => check::run(args),
        ConfigCommand::Docs(args) => docs::run(args),
    }
}
