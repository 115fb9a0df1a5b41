//! The flags that are settings: those of `evanesce serve`, and of the commands that look at its settings.

use std::path::PathBuf;

use super::CliError;
use crate::config::{AuthMode, Config, SettingOrigins};

/// Where settings come from. Each can be given by flag, environment, file or default, in this order of
/// precedence.
#[derive(Debug, clap::Args)]
pub struct SettingsArgs {
    /// Address to listen on; port 0 takes a free one [server.listen].
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    /// Where exports are kept [storage.data_dir].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A folder of FHIR NDJSON files [source.folder].
    #[arg(long, value_name = "DIR")]
    source: Option<PathBuf>,
    /// How clients say who they are [auth.mode].
    #[arg(long, value_enum, value_name = "MODE")]
    auth: Option<AuthMode>,
    /// A TOML file of settings.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting; may be repeated.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    sets: Vec<String>,
}

impl SettingsArgs {
    /// Returns the flags as `section.key=value` texts, in the order in which they are taken.
    fn sets(&self) -> Vec<String> {
        let text = |path: &PathBuf| path.display().to_string();
        let flags = [
            ("server.listen", self.listen.clone()),
            ("storage.data_dir", self.data_dir.as_ref().map(text)),
            ("source.folder", self.source.as_ref().map(text)),
            ("auth.mode", self.auth.map(|mode| mode.as_str().into())),
        ];
        let flags = flags.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?)));
        self.sets.iter().cloned().chain(flags).collect()
    }

    /// Returns the effective settings.
    pub fn load(&self) -> Result<Config, CliError> {
        Config::load(self.config.as_deref(), &self.sets()).map_err(CliError::usage)
    }

    /// Returns where each setting was given.
    pub fn origins(&self) -> Result<SettingOrigins, CliError> {
        SettingOrigins::find(self.config.as_deref(), &self.sets()).map_err(CliError::usage)
    }
}
