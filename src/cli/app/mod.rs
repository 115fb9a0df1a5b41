//! `evanesce app`: the file of population applications, edited so that its comments and its
//! order stay. A running server takes the change at once; it need not be told.

mod add;
mod edit;
mod list;
mod switch;

use std::path::PathBuf;

use super::CliError;
use crate::config::Config;

/// The arguments of `evanesce app`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// Which file.
#[derive(Debug, clap::Args)]
struct Place {
    /// The file of applications [auth.applications].
    #[arg(long, value_name = "FILE", global = true)]
    applications: Option<PathBuf>,
    /// A TOML file of settings, which may name it.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add an application.
    Add(Box<add::Args>),
    /// List the applications.
    List(list::Args),
    /// Deactivate an application: from now on it answers as one that is not defined.
    Disable(switch::Args),
    /// Activate an application again.
    Enable(switch::Args),
}

impl Place {
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

/// Does what is asked.
pub fn run(args: Args) -> Result<(), CliError> {
    let file = args.place.file()?;
    match args.command {
        Command::Add(args) => add::run(&file, *args),
        Command::List(args) => list::run(&file, &args),
        Command::Disable(args) => switch::run(&file, &args, switch::Active::No),
        Command::Enable(args) => switch::run(&file, &args, switch::Active::Yes),
    }
}
