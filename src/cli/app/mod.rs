//! `evanesce app`: edits the file of population applications, keeping its comments and its order. A
//! running server notices the change by itself.

mod add;
mod edit;
mod list;
mod switch;

use std::path::PathBuf;

use super::CliError;
use crate::config::Config;

/// The arguments of `evanesce app`.
#[derive(Debug, clap::Args)]
pub struct AppArgs {
    #[command(flatten)]
    place: FileArgs,
    #[command(subcommand)]
    command: AppCommand,
}

/// Which file.
#[derive(Debug, clap::Args)]
struct FileArgs {
    /// The file of applications [auth.applications].
    #[arg(long, value_name = "FILE", global = true)]
    applications: Option<PathBuf>,
    /// A TOML file of settings, which may name it.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum AppCommand {
    /// Add an application.
    Add(Box<add::AddArgs>),
    /// List the applications.
    List(list::ListArgs),
    /// Deactivate an application: from now on it answers as one that is not defined.
    Disable(switch::SwitchArgs),
    /// Activate an application again.
    Enable(switch::SwitchArgs),
}

impl FileArgs {
    fn file(&self) -> Result<PathBuf, CliError> {
        if let Some(file) = &self.applications {
            return Ok(file.clone());
        }
        let config = Config::load(self.config.as_deref(), &[]).map_err(CliError::usage)?;
        config.auth.applications.ok_or_else(|| {
            CliError::usage("which file? Use --applications, or --config with auth.applications in it")
        })
    }
}

/// Runs `evanesce app`.
pub fn run(args: AppArgs) -> Result<(), CliError> {
    let file = args.place.file()?;
    match args.command {
        AppCommand::Add(args) => add::run(&file, *args),
        AppCommand::List(args) => list::run(&file, &args),
        AppCommand::Disable(args) => switch::run(&file, &args, switch::SwitchState::No),
        AppCommand::Enable(args) => switch::run(&file, &args, switch::SwitchState::Yes),
    }
}
