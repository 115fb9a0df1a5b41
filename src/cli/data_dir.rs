//! Where the data directory is, for the commands that read it or talk to the server that runs on it.

use std::path::PathBuf;

use super::CliError;
use crate::config::Config;

/// Where the data directory is: as for `serve`.
#[derive(Debug, Clone, clap::Args)]
pub struct DataDirArgs {
    /// Where exports are kept [storage.data_dir].
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// A TOML file of settings.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// One setting; may be repeated.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", global = true)]
    sets: Vec<String>,
}

impl DataDirArgs {
    /// Returns the settings.
    pub fn config(&self) -> Result<Config, CliError> {
        let mut sets = self.sets.clone();
        sets.extend(self.data_dir.as_ref().map(|dir| format!("storage.data_dir={}", dir.display())));
        Config::load(self.config.as_deref(), &sets).map_err(CliError::usage)
    }

    /// Returns the data directory of a server that runs. A mistake in the settings does not keep an
    /// operator who names the directory from it.
    pub fn of_server(&self) -> Result<PathBuf, CliError> {
        match &self.data_dir {
            Some(dir) if self.config.is_none() && self.sets.is_empty() => Ok(dir.clone()),
            _ => Ok(self.config()?.storage.data_dir),
        }
    }

    /// Returns the data directory, which must exist.
    pub fn existing(&self) -> Result<PathBuf, CliError> {
        let data_dir = self.config()?.storage.data_dir;
        if data_dir.is_dir() {
            return Ok(data_dir);
        }
        let reason = format!("there is no data directory {}; use --data-dir", data_dir.display());
        Err(CliError::usage(reason))
    }
}
